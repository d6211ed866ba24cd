--- One question to a key service: within its time, and again where the
--- trouble may pass.

local engine = require("fulcio.engine")
local retry_after = require("fulcio.retry_after")

-- Seconds of one attempt, of the first pause, which doubles; attempts; what
-- an attempt is worth.
local ATTEMPT, PAUSE, ATTEMPTS, WORTH = 2, 0.1, 3, 0.1

local M = {}

local function passes(status)
  return status == 408 or status == 429 or status >= 500 and status ~= 501
end

local function pause_after(answer, number)
  local asked = answer and retry_after.parse(answer.headers["retry-after"])
  if asked then return asked end
  return PAUSE * 2 ^ number * (0.5 + engine.bytes.random(1):byte() / 510)
end

local function once(asked, how)
  local left = how.deadline - engine.system.monotonic()
  asked.timeout = math.max(0.01, math.min(how.attempt or ATTEMPT, left))
  return engine.http.request(asked)
end

--- Asks: `how` has name (of the service, for messages), deadline (on the
--- monotonic clock), attempt? (seconds), passing? (a function that says of
--- an answer whether asking again may help; default by its status). The
--- answer, good or bad; nil, message, "hsm_gone" when there was none.
function M.run(asked, how)
  local answer, message
  for number = 1, ATTEMPTS do
    answer, message = once(asked, how)
    local again = not answer or passes(answer.status)
    if answer and how.passing then again = how.passing(answer) end
    if not again then break end
    local pause = pause_after(answer, number)
    local left = how.deadline - engine.system.monotonic()
    if number == ATTEMPTS or pause + WORTH > left then break end
    if engine.server then engine.server.sleep(pause) end
  end
  if answer then return answer end
  return nil, ("%s: %s"):format(how.name, message), "hsm_gone"
end

--- What a bad answer means: message, code, and seconds to wait where the
--- service says so. `words` is what it said.
function M.refused(how, answer, words)
  local code = answer.status == 429 and "hsm_busy"
    or answer.status >= 500 and "hsm_gone" or "sign_failed"
  return ("%s: status %d, %s"):format(how.name, answer.status, words), code,
    retry_after.parse(answer.headers["retry-after"])
end

--- The JSON object of an answer, an empty one where there is none.
function M.object(answer)
  local value = engine.claims.parse(answer.body)
  return type(value) == "table" and value or {}
end

return M
