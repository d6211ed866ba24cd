--- Times as Google writes them (RFC 3339).

local retry_after = require("fulcio.retry_after")

local M = {}

--- Seconds since 1970 of a text like 2026-11-23T19:00:42Z, or with a
--- fraction; nil when it is none.
function M.parse(text)
  if type(text) ~= "string" then return nil end
  local year, month, day, hour, minute, second = text:match(
    "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)%.?%d*Z$")
  if not year then return nil end
  return retry_after.seconds_of(tonumber(year), tonumber(month),
    tonumber(day), tonumber(hour), tonumber(minute), tonumber(second))
end

return M
