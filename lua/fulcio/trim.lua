--- A text without the blanks around it, as files and clients add them.
---
--- A pattern for both ends at once looks at every blank inside again and
--- again: seconds for what a request may hold.

local byte, find, sub = string.byte, string.find, string.sub

local SPACE = 32

return function(text)
  local first, after = byte(text, 1) or SPACE, byte(text, -1) or SPACE
  if first > SPACE and after > SPACE then return text end
  first = find(text, "[^ \t\r\n]")
  if not first then return "" end
  after = find(text:reverse(), "[^ \t\r\n]")
  return sub(text, first, #text + 1 - after)
end
