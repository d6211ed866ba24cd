--- What went wrong at Google, in an operator's words: which permission,
--- which field, and when to come back.

local engine = require("fulcio.engine")
local retry_after = require("fulcio.retry_after")

local WORDS = 300

local types = {
  ["type.googleapis.com/google.rpc.ErrorInfo"] = function(found, detail)
    local metadata = detail.metadata
    if type(metadata) == "table" and type(metadata.permission) == "string"
    then
      found.permission = metadata.permission
    end
  end,
  ["type.googleapis.com/google.rpc.RetryInfo"] = function(found, detail)
    local delay = detail.retryDelay
    local seconds = type(delay) == "string"
      and delay:match("^(%d+%.?%d*)s$")
    found.retry_after = tonumber(seconds) or found.retry_after
  end,
  ["type.googleapis.com/google.rpc.BadRequest"] = function(found, detail)
    local violations = detail.fieldViolations
    local first = type(violations) == "table" and violations[1]
    if type(first) == "table" and type(first.field) == "string" then
      found.field = first.field
    end
  end,
}

local function read_error(found, body)
  local value = engine.claims.parse(body)
  local wrong = type(value) == "table" and value.error
  if type(wrong) ~= "table" then return end
  if type(wrong.status) == "string" then found.status = wrong.status end
  if type(wrong.message) == "string" then
    found.words = wrong.message:sub(1, WORDS)
  end
  if type(wrong.details) ~= "table" then return end
  for _, detail in ipairs(wrong.details) do
    local read = type(detail) == "table" and types[detail["@type"]]
    if read then read(found, detail) end
  end
end

local function message_of(found, call)
  local parts = { ("%s: %s"):format(call.name,
    found.status or "status " .. found.http) }
  local function say(text) parts[#parts + 1] = text end
  if found.words then say(found.words) end
  if found.http == 403 and not found.permission then
    found.permission = call.permission
  end
  if found.permission then
    say(("permission %s is needed on %s"):format(found.permission,
                                                 call.resource))
  end
  if found.field then say("field " .. found.field) end
  return table.concat(parts, "; ")
end

local M = {}

--- What an answer that is no success says: { http, message, status?,
--- permission?, field?, retry_after? (seconds) }. `call` has name,
--- resource and permission, for the words.
function M.of(answer, call)
  local found = { http = answer.status,
    retry_after = retry_after.parse(answer.headers["retry-after"]) }
  local asked = found.retry_after
  read_error(found, answer.body)
  if asked and found.retry_after then
    found.retry_after = math.max(asked, found.retry_after)
  end
  found.message = message_of(found, call)
  return found
end

--- When there was no answer, or no usable one.
function M.none(message, call)
  return { message = ("%s: %s"):format(call.name, message) }
end

return M
