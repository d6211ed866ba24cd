--- On which line of a JSON or YAML file a key first stands: what reads such
--- files gives back data without lines, and messages need them.

-- Keys that are written with escapes, or as in JSON inside YAML, are looked
-- for in the whole text, which takes its time: so many of them.
local SEARCHES = 100

-- The first line of each quoted text, and of each word before a colon.
local function index(text)
  local first, line = {}, 1
  for row in (text .. "\n"):gmatch("([^\n]*)\n") do
    for _, name in row:gmatch("([\"'])(.-)%1") do
      first[name] = first[name] or line
    end
    local name = row:match("^%s*(%S+):%s") or row:match("^%s*(%S+):$")
    if name then first[name] = first[name] or line end
    line = line + 1
  end
  return first
end

local function search(text, key)
  local at = text:find(key, 1, true)
  if not at then return 1 end
  return 1 + select(2, text:sub(1, at - 1):gsub("\n", ""))
end

--- A function from a key to the line where it first stands; 1 when that is
--- not to be found. Reads the text when it is first asked.
return function(text)
  local first, searches
  return function(key)
    first, searches = first or index(text), searches or 0
    if not first[key] and searches < SEARCHES then
      searches = searches + 1
      first[key] = search(text, key)
    end
    return first[key] or 1
  end
end
