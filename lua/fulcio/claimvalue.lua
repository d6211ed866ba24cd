--- Reading a token's claims: by name or path, and as text.

local engine = require("fulcio.engine")

local null = engine.claims.null
local format = string.format

local NAME, STEPS = 256, 16

local M = {}

-- Absent, null and "" are the same: absent.
local function known(value)
  if value == null or value == "" then return nil end
  return value
end

-- Collects what `name` may mean below `object`: the member of that very
-- name, and each way to walk there by the slashes in it.
local function walk(object, name, found)
  local value = known(object[name])
  if value ~= nil then found[#found + 1] = value end
  local slash = name:find("/", 1, true)
  while slash do
    local inner = object[name:sub(1, slash - 1)]
    if type(inner) == "table" then walk(inner, name:sub(slash + 1), found) end
    slash = name:find("/", slash + 1, true)
  end
end

--- Why no claim can be read by this name, nil when one can: each step of a
--- path doubles the ways to walk it.
function M.unfit(name)
  if #name <= NAME and select(2, name:gsub("/", "")) < STEPS then return nil end
  return ("a claim has a name of at most %d bytes and %d steps"):format(
    NAME, STEPS)
end

--- The value of a claim, nil when it is absent; nil and true when a path
--- has two meanings in this token.
function M.find(claims, name)
  if not name:find("/", 1, true) then return known(claims[name]) end
  local found = {}
  walk(claims, name, found)
  if #found > 1 then return nil, true end
  return found[1]
end

-- The shortest decimal that reads back as the same number, no exponent.
local function fraction(value)
  for digits = 1, 17 do
    local text = format("%." .. digits .. "g", value)
    if tonumber(text) == value then
      if not text:find("e", 1, true) then return text end
      local mantissa, exponent = text:match("^(.-)e([-+]%d+)$")
      local decimals = mantissa:match("%.(%d+)") or ""
      local places = #decimals - tonumber(exponent)
      return format("%." .. places .. "f", value)
    end
  end
end

local function number(value)
  if value % 1 ~= 0 then return fraction(value) end
  if value > 2 ^ 53 or value < -2 ^ 53 then
    return nil, "is beyond 2^53 and not exact"
  end
  if value == 0 and 1 / value < 0 then return "-0" end
  return format("%d", value)
end

--- What kind of value it is, for people.
function M.kind(value)
  if type(value) == "string" then return "text" end
  if type(value) ~= "table" then return type(value) end
  return value[1] ~= nil and "list" or "table"
end

--- A claim's value as text: whole numbers exact, true and false in words;
--- nil and the reason when it is a list or a table.
function M.text(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then return number(value) end
  return nil, "is a " .. M.kind(value) .. ", not a text"
end

local truths = { [true] = true, ["true"] = true, ["True"] = true,
                 [false] = false, ["false"] = false, ["False"] = false }

--- email_verified as true or false, nil when it is neither: providers send
--- it as JSON's true or as a text.
function M.boolean(value)
  if value == nil then return false end
  return truths[value]
end

--- Whether such a claim is true.
function M.is_true(value)
  return truths[value] == true
end

--- A copy without null and "", as a policy's check sees the claims.
function M.plain(value)
  if type(value) ~= "table" then return known(value) end
  local copy = {}
  if value[1] ~= nil then
    for _, item in ipairs(value) do
      copy[#copy + 1] = M.plain(item)
    end
    return copy
  end
  for name, member in pairs(value) do copy[name] = M.plain(member) end
  return copy
end

return M
