--- Asks the endpoints that give out access tokens, and reads what they say.

local engine = require("fulcio.engine")

-- Seconds of one attempt, of the pause before the second, and of a token
-- whose answer does not say how long it lives.
local ATTEMPT, PAUSE, LIFETIME = 3, 0.3, 300

local function escape(byte)
  return ("%%%02X"):format(byte:byte())
end

local function escaped(text)
  return (text:gsub("[^%w%-%._~ ]", escape):gsub(" ", "+"))
end

-- Errors come as { error: "invalid_grant", error_description: … } or as
-- { error: { status, message } }. Only these words are repeated.
local function reason(answer)
  local value = engine.claims.parse(answer.body)
  local wrong = type(value) == "table" and value.error
  if type(wrong) == "table" then
    return ("%s: %s"):format(tostring(wrong.status), tostring(wrong.message))
  elseif type(wrong) == "string" then
    local more = value.error_description
    return type(more) == "string" and wrong .. ": " .. more or wrong
  end
  return "no reason given"
end

local function passing(status)
  return status == 408 or status == 429 or status >= 500
end

local function once(asked, how)
  local left = how.deadline - engine.system.monotonic()
  if left <= 0 then return nil, asked.url .. ": no time left" end
  asked.timeout = math.min(ATTEMPT, left)
  return engine.http.request(asked)
end

local function tell(field, url, answer)
  return ("%s %s: status %d, %s"):format(field, url:match("^[^?]*"),
    answer.status, reason(answer))
end

local M = {}

--- The scope that everything here is asked for.
M.SCOPE = "https://www.googleapis.com/auth/cloud-platform"

--- A form of { name, value } pairs, as browsers send it.
function M.form(pairs_of)
  local out = {}
  for i, pair in ipairs(pairs_of) do
    out[i] = pair[1] .. "=" .. escaped(pair[2])
  end
  return table.concat(out, "&")
end

--- One exchange, repeated once when it may pass. `how`: deadline (on the
--- monotonic clock). The answer; nil, message, and "refused" when
--- asking again is useless or "unavailable" when it is not. `field` names
--- the address in messages.
function M.exchange(field, asked, how)
  local answer, message
  for attempt = 1, 2 do
    answer, message = once(asked, how)
    if answer and not passing(answer.status) then break end
    if attempt == 1 and engine.server then engine.server.sleep(PAUSE) end
  end
  if not answer then return nil, field .. " " .. message, "unavailable" end
  if answer.status == 200 then return answer end
  return nil, tell(field, asked.url, answer),
    passing(answer.status) and "unavailable" or "refused"
end

--- As exchange, for an answer that is a JSON object.
function M.ask(field, asked, how)
  local answer, message, code = M.exchange(field, asked, how)
  if not answer then return nil, message, code end
  local value = engine.claims.parse(answer.body)
  if type(value) == "table" then return value, answer end
  return nil, ("%s %s: the answer is no JSON object")
    :format(field, asked.url:match("^[^?]*")), "unavailable"
end

--- POSTs a form of pairs; as ask.
function M.post(field, url, fields, how)
  return M.ask(field, {
    url = url, method = "POST", body = M.form(fields),
    headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
  }, how)
end

--- { token, expires } of an endpoint's answer, `expires` on the monotonic
--- clock; nil, message, code.
function M.token(field, value)
  local token = value.access_token
  if type(token) ~= "string" or token == "" or token:find("[%c ]") then
    return nil, field .. ": the answer has no access_token", "refused"
  end
  local lifetime = tonumber(value.expires_in) or LIFETIME
  return { token = token,
           expires = engine.system.monotonic() + lifetime }
end

return M
