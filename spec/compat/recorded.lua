--- Reads recorded identity vectors, and keeps each token's claims as the
--- bytes that were recorded: no number is rounded on the way.

local cjson = require("cjson")

-- The position behind the JSON value at `at`.
local function skip(text, at)
  local first = text:sub(at, at)
  if first == '"' then
    at = text:find('["\\]', at + 1)
    while text:sub(at, at) == "\\" do at = text:find('["\\]', at + 2) end
    return at + 1
  elseif first == "{" or first == "[" then
    local depth = 0
    repeat
      at = text:find('["%[%]{}]', at)
      local mark = text:sub(at, at)
      if mark == '"' then
        at = skip(text, at)
      else
        depth = depth + ((mark == "{" or mark == "[") and 1 or -1)
        at = at + 1
      end
    until depth == 0
    return at
  end
  return text:match("^[%w+.-]+()", at)
end

-- The raw members of the JSON object at `at`: name to text.
local function members(text, at)
  local found = {}
  at = text:match("^%s*{%s*()", at)
  while text:sub(at, at) == '"' do
    local behind = skip(text, at)
    local name = cjson.decode("[" .. text:sub(at, behind - 1) .. "]")[1]
    local start = text:match("^%s*:%s*()", behind)
    local stop = skip(text, start)
    found[name] = text:sub(start, stop - 1)
    at = text:match("^%s*,?%s*()", stop)
  end
  return found
end

local M = { members = members }

--- The vectors of a file: decoded, with `raw_claims` and `raw_config` as
--- they stand there.
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  local vectors = cjson.decode(text)
  local at = text:match("^%s*%[%s*()")
  for _, vector in ipairs(vectors) do
    local stop = skip(text, at)
    local raw = members(text:sub(at, stop - 1), 1)
    vector.raw_claims, vector.raw_config = raw.claims, raw.config
    at = text:match("^%s*,?%s*()", stop)
  end
  return vectors
end

return M
