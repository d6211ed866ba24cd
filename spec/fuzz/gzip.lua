--- Fuzzing: what gzip holds is as long as it may be, and whatever is longer
--- than that is refused as such.

local gunzip = require("fulcio.engine").bytes.gunzip

local LIMIT = 100000

return function(bytes)
  local text, message, code = gunzip(bytes, LIMIT)
  if not text then
    assert(message and (code == "bad_gzip" or code == "too_large"))
    return
  end
  assert(gunzip(bytes, #text) == text)
  if text == "" then return end
  local none, _, why = gunzip(bytes, #text - 1)
  assert(not none and why == "too_large")
end
