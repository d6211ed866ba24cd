--- Reads when to come back: the header Retry-After (RFC 9110 10.2.3).

local engine = require("fulcio.engine")

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
                 Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

-- Days from 0000-12-31 to 1970-01-01.
local EPOCH = 719163

local M = {}

--- Seconds since 1970 of a date and time, UTC. A year begins in March
--- here, so that the day that some have too many is its last.
function M.seconds_of(year, month, day, hour, minute, second)
  if month <= 2 then year, month = year - 1, month + 12 end
  local floor = math.floor
  local days = 365 * year + floor(year / 4) - floor(year / 100)
    + floor(year / 400) + floor((153 * month - 457) / 5) + day - 306
  return (days - EPOCH) * 86400 + hour * 3600 + minute * 60 + second
end

--- Seconds to wait, of a number or a date; nil when it is neither.
function M.parse(text)
  if not text then return nil end
  if text:match("^%d+$") and #text < 10 then return tonumber(text) end
  local day, name, year, hour, minute, second = text:match(
    "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local month = months[name]
  if not month then return nil end
  local at = M.seconds_of(tonumber(year), month, tonumber(day),
    tonumber(hour), tonumber(minute), tonumber(second))
  return math.max(0, at - engine.system.now())
end

return M
