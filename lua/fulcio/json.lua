--- Writes JSON: lists and objects told apart, whole numbers whole.
---
--- lua-cjson reads; it cannot write `[]`, and escapes every slash.

local engine = require("fulcio.engine")

local concat, format, sort = table.concat, string.format, table.sort
local quoted = engine.bytes.json
local huge = math.huge

local List = {}

local M = {}

--- Marks a table as a list, so that an empty one becomes `[]`.
function M.list(table)
  return setmetatable(table, List)
end

--- A string as a JSON string, quotes included. Throws when it is not UTF-8.
function M.text(text)
  return quoted(text) or error("JSON text is not UTF-8")
end

local text = M.text
local write

local function number(value)
  if value ~= value or value == huge or value == -huge then
    error("JSON has no " .. tostring(value))
  end
  if value % 1 == 0 and value < 1e15 and value > -1e15 then
    return format("%d", value)
  end
  local short = format("%.14g", value)
  return tonumber(short) == value and short or format("%.17g", value)
end

local function write_list(out, value)
  out[#out + 1] = "["
  for i = 1, #value do
    if i > 1 then out[#out + 1] = "," end
    write(out, value[i])
  end
  out[#out + 1] = "]"
end

local function write_object(out, value)
  local names = {}
  for name in pairs(value) do
    if type(name) ~= "string" then
      error("a JSON member needs a name, not " .. tostring(name))
    end
    names[#names + 1] = name
  end
  sort(names)
  out[#out + 1] = "{"
  for i = 1, #names do
    local name = names[i]
    out[#out + 1] = (i > 1 and "," or "") .. text(name) .. ":"
    write(out, value[name])
  end
  out[#out + 1] = "}"
end

function write(out, value)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = text(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "true" or "false"
  elseif kind ~= "table" then
    error("JSON cannot hold a " .. kind)
  elseif value[1] ~= nil or getmetatable(value) == List then
    write_list(out, value)
  else
    write_object(out, value)
  end
end

--- JSON text of a value; members of an object are sorted by name. Throws on
--- what JSON cannot say.
function M.encode(value)
  local out = {}
  write(out, value)
  return concat(out)
end

return M
