--- The ways to a Certificate Transparency log: its HTTP API (RFC 6962
--- section 4) and, to our own, a dialog.

local engine = require("fulcio.engine")
local inside = require("fulcio.ctlog.inside")

-- Seconds for one attempt.
local ATTEMPT = 3
-- Submissions at once from one process.
local OVER_HTTP, IN_DIALOG = 60, 1000
local MAX_ROOTS = 4 * 1024 * 1024

local paths = { precert = "/ct/v1/add-pre-chain", x509 = "/ct/v1/add-chain" }

local Transport = {}
Transport.__index = Transport

local function send(self, path, body, seconds, max_body)
  return engine.http.request({
    url = self.url .. path, method = body and "POST" or "GET", body = body,
    headers = { Host = self.origin,
                ["Content-Type"] = body and "application/json" or nil },
    timeout = math.min(self.attempt, seconds), unix_socket = self.unix,
    ca_file = self.ca_file, max_body = max_body,
  })
end

local function post(self, asked, seconds)
  return send(self, paths[asked.kind], '{"chain":["'
    .. engine.bytes.base64(asked.der) .. '"' .. asked.chain.json, seconds)
end

-- Our log may not know the chain by its name.
local function converse(self, asked, seconds)
  local clock = engine.system.monotonic
  local ends = clock() + math.min(self.attempt, seconds)
  local answer, text, message
  for _, chain in ipairs({ asked.chain.name, asked.chain.ders }) do
    text, message = self.dialog:ask(inside.question(asked.kind, chain,
      asked.der), math.max(ends - clock(), 0.001))
    answer = text and inside.read_answer(text)
    if text and not answer then message = "the log failed" end
    if not answer or answer.status ~= 404 then break end
  end
  return answer, message
end

--- One attempt: submits `asked.der` of `asked.kind` ("precert", "x509") with
--- `asked.chain` (from M.chain), in so many seconds at most. The log's answer
--- with its `status`, and a `body` or (dialog) an SCT's fields; nil, message.
function Transport:submit(asked, seconds)
  return (self.dialog and converse or post)(self, asked, seconds)
end

--- The log's answer to get-roots; nil, message.
function Transport:roots()
  return send(self, "/ct/v1/get-roots", nil, self.attempt, MAX_ROOTS)
end

local M = {}

--- What of a chain (x509 objects, issuer first) is the same in every
--- submission.
function M.chain(chain)
  local texts, ders = {}, {}
  for i = 1, #chain do
    ders[i] = chain[i].der
    texts[i] = ',"' .. engine.bytes.base64(ders[i]) .. '"'
  end
  ders = inside.chain(ders)
  return {
    json = table.concat(texts) .. "]}", ders = ders,
    name = inside.name(ders),
    key_hash = engine.bytes.sha256(chain[1]:pkey():spki()),
  }
end

--- The way to a log: { url, unix? (socket), dialog? (socket of our own log,
--- for submissions), ca_file?, origin? (Host header) }. `at_once`: how many
--- submissions may be under way. nil, message when there can be no dialog.
function M.new(options)
  local dialog, why
  if options.dialog then
    dialog, why = engine.server.dialog(options.dialog)
    if not dialog then return nil, why end
  end
  return setmetatable({
    url = (options.url or "http://localhost"):gsub("/+$", ""),
    unix = options.unix, ca_file = options.ca_file, dialog = dialog,
    -- As Go does: a Host header has no path.
    origin = options.origin and options.origin:match("^[^/ ]+"),
    attempt = ATTEMPT, at_once = dialog and IN_DIALOG or OVER_HTTP,
  }, Transport)
end

return M
