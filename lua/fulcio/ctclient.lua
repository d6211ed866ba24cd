--- Submits to a Certificate Transparency log and verifies what it promises.

local cttransport = require("fulcio.cttransport")
local engine = require("fulcio.engine")
local gate = require("fulcio.gate")
local refusal = require("fulcio.refusal")
local retry_after = require("fulcio.retry_after")
local timestamp = require("fulcio.timestamp")

-- Seconds for everything, and between attempts.
local BUDGET, PAUSES = 8, { 0.2, 1 }
-- After so many failed submissions in a row, one a second is still tried.
local PATIENCE, PROBE = 5, 1
-- Seconds for which an answer about the log's roots is good; a bad one.
local READY, NOT_READY = 5, 1
-- Seconds for which a submission waits for its turn.
local MAX_WAIT = 1

-- Worth another attempt.
local passing = { [408] = true, [429] = true, [503] = true }

local Log = {}
Log.__index = Log

-- Details for our own log; a stranger's words are cut short.
local function details(log, error, answer)
  return { log = {
    ct_log = log.url, error = error, status = answer and answer.status,
    body = answer and answer.body and answer.body:sub(1, 200),
  } }
end

local function unavailable(log, error, answer, seconds)
  local about = details(log, error, answer)
  if seconds then about.retry_after = math.min(math.ceil(seconds), 60) end
  return nil, refusal("ct_unavailable", about)
end

local function failed(log, error, answer)
  return nil, refusal("ct_failed", details(log, error, answer))
end

-- Seconds to wait before the next attempt; nil: there is none.
local function pause_after(attempt, answer, left)
  local headers = answer and answer.headers
  local asked = headers and retry_after.parse(headers["retry-after"])
  local pause = PAUSES[attempt] and (asked or PAUSES[attempt])
  if pause and answer and answer.status == 408 then pause = 0 end
  if not pause or pause >= left then return nil, asked end
  return pause
end

local function sleep(seconds)
  if seconds > 0 and engine.server then engine.server.sleep(seconds) end
end

-- The log's answer, good or final; nil, refusal when there was none in time.
local function exchange(log, asked)
  local clock = engine.system.monotonic
  local deadline = clock() + log.budget
  for attempt = 1, #PAUSES + 1 do
    local left = deadline - clock()
    local answer, message = log.transport:submit(asked, left)
    if answer and not passing[answer.status] then return answer end
    local pause, later = pause_after(attempt, answer, deadline - clock())
    if not pause then return unavailable(log, message, answer, later) end
    sleep(pause)
  end
end

-- Whether a log that keeps failing is left alone just now.
local function resting(log)
  local now = engine.system.monotonic()
  if log.failures < PATIENCE then return false end
  if now < log.next_probe then return true end
  log.next_probe = now + PROBE
  return false
end

local function known_chain(log, chain)
  local known = log.chains[chain]
  if not known then
    known = cttransport.chain(chain)
    log.chains[chain] = known
  end
  return known
end

-- As exchange, in turn: libcurl would keep no order among those who wait.
local function submit(log, asked)
  if not log.gate:enter(MAX_WAIT) then
    return nil, refusal("overloaded", { log = {
      error = "too many wait for the log", ct_log = log.url } })
  end
  local answer, refused = exchange(log, asked)
  log.gate:leave()
  return answer, refused
end

local function use(log, key)
  log.key, log.id = key, engine.bytes.sha256(key:spki())
end

-- The key that is configured, read when the log has written it.
local function public_key(log)
  if log.key or not log.key_file then return log.key end
  local file, message = io.open(log.key_file, "rb")
  if not file then return nil, message end
  local pem = file:read("*a")
  file:close()
  local key
  key, message = engine.pkey.parse(pem)
  if not key then return nil, log.key_file .. ": " .. message end
  use(log, key)
  return key
end

-- The SCT that an answer brings: a SerializedSCT and its parts, or nil,
-- refusal.
local function promised(log, answer, asked)
  local key, message = public_key(log)
  if message then return failed(log, message) end
  local sct = answer
  if answer.body then
    sct, message = timestamp.read(answer.body)
    if not sct then return failed(log, message, answer) end
  else
    sct.log_id, sct.extensions = log.id, ""
  end
  local signed
  signed, message = timestamp.verify(sct, {
    der = asked.der, kind = asked.kind, tbs = asked.tbs,
    key_hash = asked.chain.key_hash, key = key, log_id = log.id,
  })
  if not signed then return failed(log, message, answer) end
  return signed, sct
end

--- Submits a precertificate ("precert") or a certificate ("x509") with its
--- chain (x509 objects, issuer first); `tbs`: a precertificate's, without
--- the poison. A SerializedSCT and its parts as timestamp.read has them;
--- nil, refusal.
function Log:submit(der, chain, kind, tbs)
  if resting(self) then
    return unavailable(self, "the log keeps failing", nil, PROBE)
  end
  local asked = { der = der, kind = kind, tbs = tbs,
                  chain = known_chain(self, chain) }
  local answer, refused = submit(self, asked)
  if not answer and refused.code == "overloaded" then return nil, refused end
  if not answer then
    self.failures = self.failures + 1
    self.asked = nil
    return nil, refused
  end
  self.failures = 0
  if answer.status >= 500 then
    return unavailable(self, "the log failed", answer)
  elseif answer.status ~= 200 then
    self.asked = nil
    return failed(self, "the log refused", answer)
  end
  return promised(self, answer, asked)
end

local function ask(log, root)
  local answer, message = log.transport:roots()
  if not answer then return nil, "CT log: " .. message end
  local value = answer.status == 200 and engine.claims.parse(answer.body)
  local list = type(value) == "table" and value.certificates
  if type(list) ~= "table" then
    return nil, ("CT log %s: get-roots was answered with status %d")
      :format(log.url, answer.status)
  end
  local wanted = root and engine.bytes.base64(root.der)
  for i = 1, #list do
    if list[i] == wanted then return true end
  end
  return not root or nil, ("CT log %s does not accept our root %q")
    :format(log.url, root and root.subject or "")
end

--- Whether the log answers and accepts our root (an x509 object); the answer
--- is remembered for some seconds, until a submission fails.
function Log:ready(root)
  local now = engine.system.monotonic()
  local asked = self.asked
  if asked and asked.root == root and now < asked.good_until then
    return asked.ok, asked.message
  end
  local ok, message = ask(self, root)
  self.asked = { root = root, ok = ok, message = not ok and message or nil,
                 good_until = now + (ok and READY or NOT_READY) }
  return ok, self.asked.message
end

local M = {}

--- A log by its address: { url, unix? (socket), dialog? (socket of our own
--- log, for submissions), public_key? (PEM), public_key_file?, ca_file?,
--- origin? (Host header) }. Without a key the log's signatures are not
--- verified.
function M.new(options)
  local key, message
  if options.public_key then
    key, message = engine.pkey.parse(options.public_key)
    if not key then return nil, "CT log's public key: " .. message end
  end
  local transport
  transport, message = cttransport.new(options)
  if not transport then return nil, "CT log: " .. message end
  local log = setmetatable({
    url = transport.url, transport = transport,
    key_file = options.public_key_file,
    gate = gate.new(transport.at_once), budget = BUDGET,
    failures = 0, next_probe = 0,
    chains = setmetatable({}, { __mode = "k" }),
  }, Log)
  if key then use(log, key) end
  return log
end

return M
