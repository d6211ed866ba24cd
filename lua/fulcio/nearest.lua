--- The name that somebody who mistyped one probably meant.

local EDITS = 8 -- with more of them it is another name

-- Edits (insert, delete, replace, exchange two neighbours) from one text to
-- the other: optimal string alignment. nil: not below `limit`.
local function distance(a, b, limit)
  if math.abs(#a - #b) >= limit then return nil end
  local above, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local before, smallest = above, i
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
      smallest = math.min(smallest, least)
    end
    if smallest > limit then return nil end
  end
  return row[#b] < limit and row[#b] or nil
end

local M = {}

--- The name in a list that is nearest to `typed`, nil when none is near.
function M.name(typed, names)
  local best = nil
  local limit = math.min(math.max(1, math.floor(#typed / 3)), EDITS) + 1
  for _, name in ipairs(names) do
    local edits = distance(typed, name, limit)
    if edits then best, limit = name, edits end
  end
  return best
end

--- ` (did you mean "name"?)`, or the empty text.
function M.hint(typed, names)
  local name = M.name(typed, names)
  return name and (' (did you mean "%s"?)'):format(name) or ""
end

return M
