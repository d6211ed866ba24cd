--- Puts submissions in order, many at a time; an SCT is given once they
--- are committed.
---
--- Requests wait while a batch is written, and make the next one meanwhile.

local engine = require("fulcio.engine")
local log = require("fulcio.log")
local lookup = require("fulcio.ctlog.lookup")
local metrics = require("fulcio.metrics")

-- Submissions that may wait; more are told to come back.
local MAX_WAITING = 4096
-- Seconds without new attempts after the disk has failed one.
local PAUSE = 1
-- A clock that far behind the newest entry is worth an alarm.
local CLOCK_MS = 10000

local count_entries = metrics.series("fulcio_ctlog_entries_total")

local Sequencer = {}
Sequencer.__index = Sequencer

-- Opens the ledger again after a failure; when that fails too, once in
-- PAUSE seconds.
local function recover(self)
  local ledger, now = self.ledger, engine.system.monotonic()
  if ledger.db then return true end
  if now < self.next_open then return nil, self.trouble end
  local ok, message = ledger:open()
  if not ok then
    self.next_open, self.trouble = now + PAUSE, message
    log.error("log storage does not open", { error = message })
  end
  return ok, message
end

-- Milliseconds that never go back, whatever the clock does.
local function now_ms(self)
  local now, newest = engine.system.now_ms(), self.ledger.timestamp
  if now >= newest then return now end
  if newest - now > CLOCK_MS and not self.clock_told then
    self.clock_told = true
    log.error("the clock is behind the log's newest entry",
      { milliseconds = newest - now })
  end
  return newest
end

-- Completes the entries of a batch: time, leaf, SCT's signature.
local function sign(self, batch, timestamp)
  for i = 1, #batch do
    local entry = batch[i]
    entry.timestamp, entry.content.timestamp_ms = timestamp, timestamp
    entry.leaf = engine.sct.leaf(entry.content)
    local signature, message = engine.sct.sign(entry.leaf, self.key)
    if not signature then return nil, message end
    entry.signature = signature
  end
  return true
end

local function commit(self, batch)
  local timestamp = now_ms(self)
  local ok, message, code = sign(self, batch, timestamp)
  if ok then ok, message, code = self.ledger:append(batch, timestamp) end
  if ok then
    metrics.count("fulcio_ctlog_commits_total", "ok")
    count_entries(#batch)
  else
    metrics.count("fulcio_ctlog_commits_total", "failed")
    batch.message, self.trouble = message, message
    self.next_commit = engine.system.monotonic() + PAUSE
    log.error("entries were not committed",
      { entries = #batch, error = message, code = code })
    recover(self)
  end
  batch.done = true
  batch.signal:wake()
end

local function new_batch()
  return { signal = engine.server.signal(), by_identity = {} }
end

--- Takes entries as they come and commits them; ends when `stop` is called.
function Sequencer:run()
  while true do
    while #self.waiting == 0 do
      if self.stopped then return end
      self.work:wait()
    end
    engine.server.sleep(0)   -- others may have arrived in the same turn
    local batch = self.waiting
    self.waiting = new_batch()
    commit(self, batch)
  end
end

local function wait(batch, entry)
  while not batch.done do batch.signal:wait() end
  if batch.message then return nil, batch.message, "failed" end
  return entry
end

--- Logs an entry and waits until it is safe: its timestamp and signature,
--- those of the first time when it was logged before. An entry is
--- { identity, chain, precertificate?, content = what sct.leaf takes }.
function Sequencer:submit(entry)
  local ok, message = recover(self)
  if not ok then return nil, message, "failed" end
  if engine.system.monotonic() < self.next_commit then
    return nil, self.trouble, "failed"
  end
  local waiting = self.waiting
  local twin = waiting.by_identity[entry.identity]
  if twin then return wait(waiting, twin) end
  local known, code
  known, message, code = lookup.sct(self.ledger, entry.identity)
  if known == nil then return nil, message, code end
  if known then return known end
  if #waiting >= MAX_WAITING then
    return nil, "too many submissions wait", "overloaded"
  end
  waiting[#waiting + 1] = entry
  waiting.by_identity[entry.identity] = entry
  self.work:wake()
  return wait(waiting, entry)
end

--- Whether the ledger is open, or opens again now; nil, message.
function Sequencer:ready()
  return recover(self)
end

--- A tree head no older than `seconds`, when the disk lets us:
--- { size, timestamp, root }.
function Sequencer:head(seconds)
  local ledger = self.ledger
  local old = now_ms(self) - ledger.timestamp > seconds * 1000
  if old and engine.system.monotonic() >= self.next_commit then
    commit(self, new_batch())
    local ok, message = recover(self)
    if not ok then return nil, message, "failed" end
  end
  return { size = ledger.tree.size, timestamp = ledger.timestamp,
           root = ledger.tree:root() }
end

--- Ends `run` once nothing waits.
function Sequencer:stop()
  self.stopped = true
  self.work:wake()
end

local M = {}

--- A sequencer over an open ledger, signing with the log's key.
function M.new(ledger, key)
  return setmetatable({
    ledger = ledger, key = key, work = engine.server.signal(),
    waiting = new_batch(), next_open = 0, next_commit = 0,
  }, Sequencer)
end

return M
