--- The name that somebody who mistyped one probably meant.

-- Edits (insert, delete, replace, exchange two neighbours) from one text to
-- the other: optimal string alignment.
local function distance(a, b)
  local above, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local before = above
    above, row = row, { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local least = math.min(row[j - 1] + 1, above[j] + 1,
                             above[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1)
         and a:byte(i - 1) == b:byte(j) then
        least = math.min(least, before[j - 2] + 1)
      end
      row[j] = least
    end
  end
  return row[#b]
end

local M = {}

--- The name in a list that is nearest to `typed`, nil when none is near.
function M.name(typed, names)
  if #typed > 64 then return nil end
  local best, least = nil, math.max(1, math.floor(#typed / 3)) + 1
  for _, name in ipairs(names) do
    local edits = distance(typed, name)
    if edits < least then best, least = name, edits end
  end
  return best
end

--- ` (did you mean "name"?)`, or the empty text.
function M.hint(typed, names)
  local name = M.name(typed, names)
  return name and (' (did you mean "%s"?)'):format(name) or ""
end

return M
