--- Calls of Google's REST services: with a token, within a deadline, again
--- where that helps and where Google asks for it.

local engine = require("fulcio.engine")
local failure = require("fulcio.google.failure")

-- Seconds of one attempt; of the first pause, which doubles, and its most;
-- of a pause after 429 that says nothing; what an attempt is worth.
local ATTEMPT, PAUSE, MOST, BUSY, WORTH = 4, 0.1, 1, 1, 0.2
local ATTEMPTS = 6

local Client = {}
Client.__index = Client

local function headers(self, call, token)
  return {
    Authorization = "Bearer " .. token,
    ["Content-Type"] = call.body and "application/json" or nil,
    ["x-goog-request-params"] = call.params,
    ["X-Goog-User-Project"] = self.credentials.quota_project,
  }
end

-- A decoded answer; nil, failure, and whether there was an answer at all.
local function attempt(self, call, token)
  local left = call.deadline - engine.system.monotonic()
  local answer, message = engine.http.request({
    url = self.endpoint .. call.path, method = call.body and "POST" or "GET",
    headers = headers(self, call, token), body = call.body,
    timeout = math.max(0.01, math.min(self.attempt, left)),
    max_body = 1024 * 1024,
  })
  if not answer then return nil, failure.none(message, call) end
  if answer.status ~= 200 then return nil, failure.of(answer, call) end
  local value, why = engine.claims.parse(answer.body)
  if type(value) == "table" then return value end
  return nil, failure.none("its answer is no JSON object: "
    .. tostring(why), call)
end

local function passes(failed)
  local http = failed.http
  return not http or http == 408 or http >= 500 and http ~= 501
end

local function backoff(number)
  local most = math.min(MOST, PAUSE * 2 ^ number)
  return most * engine.bytes.random(1):byte() / 255
end

-- Seconds until the next attempt; nil: there is none.
local function pause_after(state, failed, number)
  if failed.http == 401 and not state.refreshed then
    state.refreshed = true
    return 0
  elseif failed.http == 429 and not state.waited then
    state.waited = true
    return failed.retry_after or BUSY
  elseif passes(failed) then
    return failed.retry_after or backoff(number)
  end
end

local function no_token(message, code, call)
  local failed = failure.none(message, call)
  failed.credentials, failed.final = true, code == "refused"
  return failed
end

--- Calls: { name, method, path, body? (JSON text), deadline (monotonic),
--- resource, permission, params? }. The answer decoded; nil and a failure
--- as failure.lua has it, with `final` true when asking again is useless.
function Client:call(call)
  local state, failed = {}, nil
  for number = 1, ATTEMPTS do
    local token, message, code = self.credentials:token(call.deadline)
    if not token then return nil, no_token(message, code, call) end
    local value
    value, failed = attempt(self, call, token)
    if value then return value end
    if failed.http == 401 then self.credentials:drop(token) end
    local pause = pause_after(state, failed, number)
    local left = call.deadline - engine.system.monotonic()
    if not pause or pause + WORTH > left then break end
    if pause > 0 and engine.server then engine.server.sleep(pause) end
  end
  failed.final = not passes(failed) and failed.http ~= 429
  return nil, failed
end

local M = {}

--- Of an endpoint (no slash at its end) and credentials.
function M.new(options)
  return setmetatable({
    endpoint = options.endpoint, credentials = options.credentials,
    attempt = ATTEMPT,
  }, Client)
end

return M
