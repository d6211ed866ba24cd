--- A log in this process, for specs, without the network.
local authority = require("spec.authority")
local cjson = require("cjson")
local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local process = require("spec.process")

local server = engine.server

local Transparency = {}
Transparency.__index = Transparency

--- Runs a function on the loop, beside the log's sequencer; throws what it
--- throws.
function Transparency:on_loop(run)
  local sequencer, ok, trace = self.context.sequencer, nil, nil
  server.spawn(function()
    sequencer:run()
    server.stop()
  end)
  server.spawn(function()
    ok, trace = xpcall(run, debug.traceback)
    sequencer:stop()
  end)
  server.run()
  sequencer.stopped = nil
  if not ok then error(trace, 2) end
end

--- One request: the JSON answer decoded (nil when it is no 200), and the
--- whole answer.
function Transparency:ask(method, path, query, body)
  local answer = ctlog.handle(self.context, { method = method, path = path,
    query = query, body = body or "", headers = {} })
  local value = answer.status == 200 and cjson.decode(answer.body)
  return value or nil, answer
end

--- GET /ct/v1/NAME?QUERY
function Transparency:get(name, query)
  return self:ask("GET", "/ct/v1/" .. name, query)
end

--- What a worker is answered.
function Transparency:hear(question)
  return ctlog.hear(self.context, question)
end

local function body_of(der, chain)
  local texts = { engine.bytes.base64(der) }
  for i = 1, #chain do texts[i + 1] = engine.bytes.base64(chain[i]) end
  return cjson.encode({ chain = texts })
end

--- POST to add-pre-chain; the chain, DER, is the authority's unless given.
function Transparency:add(der, chain)
  return self:ask("POST", "/ct/v1/add-pre-chain", nil,
    body_of(der, chain or self.ca:ders()))
end

--- POST to add-chain.
function Transparency:add_final(der, chain)
  return self:ask("POST", "/ct/v1/add-chain", nil,
    body_of(der, chain or self.ca:ders()))
end

--- Runs a function with 1 to count, all at once, and waits for all; throws
--- what one of them throws. In a coroutine of the loop.
function Transparency.together(count, run)
  local left, signal, failed = count, server.signal(), nil
  for i = 1, count do
    server.spawn(function()
      local ok, trace = xpcall(run, debug.traceback, i)
      if not ok then failed = trace end
      left = left - 1
      signal:wake()
    end)
  end
  while left > 0 do signal:wait() end
  if failed then error(failed, 2) end
end

--- Logs so many new precertificates at once: their DER and the answers.
function Transparency:fill(count)
  local ders, answers = {}, {}
  for i = 1, count do ders[i] = self.ca:precertificate() end
  self:on_loop(function()
    self.together(count, function(i)
      answers[i] = assert(self:add(ders[i]))
    end)
  end)
  return ders, answers
end

--- Entries made up for a ledger, from number `first` on.
function Transparency:invent(first, count)
  local chain, entries = self.ca:ders(), {}
  for i = 1, count do
    local number = ("%d"):format(first + i - 1)
    entries[i] = {
      identity = engine.bytes.sha256(number), timestamp = 1, chain = chain,
      signature = "s", leaf = "leaf " .. number, precertificate = number,
    }
  end
  return entries
end

--- Opens the same directory again, as a new process would.
function Transparency:reopen(roots)
  if self.context then self.context.ledger:close() end
  local context, message, code = ctlog.open({ data_dir = self.directory,
    roots = roots or { self.ca.root.pem } })
  self.context = context
  return context, message, code
end

--- Ends it and removes what it kept.
function Transparency:remove()
  if self.context then self.context.ledger:close() end
  os.execute("rm -r " .. self.directory)
  log.open({ mode = "prod" })
end

local transparency = {}

--- A new log that accepts a new authority, `ca`. What is written to the
--- operator's log is in `said`.
function transparency.open()
  local self = setmetatable({ ca = authority.new(), said = {},
                              directory = process.directory() },
    Transparency)
  log.open({ mode = "prod", write = function(line)
    self.said[#self.said + 1] = line
  end })
  assert(self:reopen())
  return self
end

return transparency
