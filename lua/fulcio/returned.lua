--- What the sandbox gives back for a file, before anything reads it.
---
--- A word is a table, and so could be written by hand, with odd things in
--- it: whatever reads words may trust those that passed here.

local words = require("fulcio.words")

local M = {}

-- Words, and whether each is called: glob("…"), but present.
local called = {
  anyone = false, present = false, integer = false,
  glob = true, match = true, within = true, spiffe = true, has = true,
  pick = true, url = true,
}

local function is_whole(value, least)
  return type(value) == "number" and value % 1 == 0 and value >= least
end

-- Whether a table with __word is as the word itself makes it.
local function is_genuine(value)
  local is_called, count = called[value.__word], value.count
  if is_called == nil then return false end
  if is_called and not is_whole(count, 0) then return false end
  for key in pairs(value) do
    local known = key == "__word"
      or is_called and (key == "count"
                        or is_whole(key, 1) and key <= count)
    if not known then return false end
  end
  return true
end

local function place(path)
  local parts = {}
  for i, key in ipairs(path) do parts[i] = words.text(tostring(key)) end
  return parts[1] and table.concat(parts, ".") or "what it returns"
end

local function is_finite(value)
  return value == value and value ~= math.huge and value ~= -math.huge
end

local function walk(value, path, report)
  if type(value) == "number" and not is_finite(value) then
    report(path, ("%s is %s: no claim has such a number"):format(
      place(path), tostring(value)))
    return false
  end
  if type(value) ~= "table" then return true end
  if value.__word ~= nil and not is_genuine(value) then
    report(path, ("%s is no word of a policy: write glob(…), present and the"
      .. " like as they are"):format(place(path)))
    return false
  end
  local good = true
  for key, item in pairs(value) do
    path[#path + 1] = key
    good = walk(item, path, report) and good
    path[#path] = nil
  end
  return good
end

--- Whether all words in a file's data are genuine, and all numbers finite;
--- what is not is reported by `report(path, message)`.
function M.check(data, report)
  return walk(data, {}, report)
end

--- Whether a table is a list: its keys are 1 to n.
function M.is_list(value)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count == #value
end

return M
