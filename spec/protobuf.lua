--- What engine.protobuf is compared with: the same, written in Lua.

local engine = require("fulcio.engine")

local byte, char, sub = string.byte, string.char, string.sub

local max_depth = 16

local M = {}

local wire_types = {
  string = 2, bytes = 2, message = 2, bool = 0, int32 = 0, enum = 0,
}

-- Fields by number, made once a message type.
local by_number = setmetatable({}, { __mode = "k" })

local function fields_of(message)
  local fields = by_number[message]
  if fields then return fields end
  fields = {}
  for _, field in ipairs(message) do fields[field[1]] = field end
  by_number[message] = fields
  return fields
end

local function bad(what)
  return nil, "protobuf: " .. what, "bad_message"
end

-- A varint at `at`: its value, which is exact below 2^53, and the position
-- after it; nil when it is cut short or longer than ten bytes.
local function varint(bytes, at, last)
  local value, scale = 0, 1
  for i = at, at + 9 do
    if i > last then return nil end
    local b = byte(bytes, i)
    if i == at + 9 and b > 1 then return nil end -- more than 64 bits
    if b < 128 then return value + b * scale, i + 1 end
    value = value + (b - 128) * scale
    scale = scale * 128
  end
end

-- The length of what begins at the position after it, which is there too;
-- nil when there is less. 64 bits may read as a negative number.
local function length(bytes, at, last)
  local size, start = varint(bytes, at, last)
  if size and size >= 0 and size <= last - start + 1 then
    return size, start
  end
end

-- int32 and enum are sent as 64 bits of two's complement.
local function signed(value)
  value = value % 4294967296
  return value >= 2147483648 and value - 4294967296 or value
end

local decode_range

-- The position after an unknown field, nil when it is malformed.
local function skip(bytes, at, last, wire)
  local size
  if wire == 0 then
    local _, after = varint(bytes, at, last)
    return after
  elseif wire == 1 then
    size = 8
  elseif wire == 5 then
    size = 4
  elseif wire == 2 then
    size, at = length(bytes, at, last)
  end
  -- Groups (3, 4) are not in proto3.
  if not size or size > last - at + 1 then return nil end
  return at + size
end

local function keep(result, field, value)
  local name = field[2]
  if field.repeated then
    local list = result[name]
    if not list then
      list = {}
      result[name] = list
    end
    list[#list + 1] = value
    return
  end
  if field.oneof then -- the last member sent wins
    local before = result[field.oneof]
    if before and before ~= name then result[before] = nil end
    result[field.oneof] = name
  end
  result[name] = value
end

local function delimited(bytes, at, last, field, before, depth)
  local size, start = length(bytes, at, last)
  if not size then
    return bad("field " .. field[2] .. " is cut short")
  end
  local stop = start + size - 1
  if field[3] == "message" then
    -- A message sent in parts is merged.
    local value, message, code =
      decode_range(field[4], bytes, start, stop, before, depth + 1)
    if not value then return nil, message, code end
    return value, stop + 1
  end
  local value = sub(bytes, start, stop)
  if field[3] == "string" and not engine.bytes.is_utf8(value) then
    return bad("field " .. field[2] .. " is not UTF-8")
  end
  return value, stop + 1
end

local function scalar(bytes, at, last, field)
  local value, after = varint(bytes, at, last)
  if not value then return bad("field " .. field[2] .. " is cut short") end
  if field[3] == "bool" then
    value = value ~= 0
  else
    value = signed(value)
  end
  return value, after
end

function decode_range(message, bytes, at, last, result, depth)
  if depth > max_depth then return bad("nested too deep") end
  local fields = fields_of(message)
  result = result or {}
  while at <= last do
    local key
    key, at = varint(bytes, at, last)
    if not key then return bad("field key is cut short") end
    local wire = key % 8
    local number = (key - wire) / 8
    if number < 1 or number > 536870911 then
      return bad("field number out of range")
    end
    local field = fields[number]
    if field and wire_types[field[3]] == wire then
      local before = not field.repeated and result[field[2]] or nil
      local value, after, code
      if wire == 2 then
        value, after, code = delimited(bytes, at, last, field, before, depth)
      else
        value, after, code = scalar(bytes, at, last, field)
      end
      if value == nil then return nil, after, code end
      keep(result, field, value)
      at = after
    else
      at = skip(bytes, at, last, wire)
      if not at then return bad("unknown field is malformed") end
    end
  end
  return result
end

--- Decodes; unknown fields are passed over. nil, message, "bad_message"
--- when the bytes are malformed.
function M.decode(message, bytes)
  return decode_range(message, bytes, 1, #bytes, nil, 1)
end

local function put_varint(out, value)
  while value < 0 or value >= 128 do
    out[#out + 1] = char(value & 127 | 128)
    value = value >> 7
  end
  out[#out + 1] = char(value)
end

local function put_field(out, field, value)
  local kind = field[3]
  put_varint(out, field[1] * 8 + wire_types[kind])
  if kind == "bool" then
    out[#out + 1] = value and "\1" or "\0"
  elseif kind == "int32" or kind == "enum" then
    put_varint(out, value)
  else
    if kind == "message" then value = M.encode(field[4], value) end
    put_varint(out, #value)
    out[#out + 1] = value
  end
end

local function is_default(value)
  return value == "" or value == 0 or value == false
end

--- Encodes; absent fields and proto3 defaults are left out, but a member
--- of a oneof is always written when it is set.
function M.encode(message, value)
  local out = {}
  for _, field in ipairs(message) do
    local item = value[field[2]]
    if field.repeated then
      for _, each in ipairs(item or {}) do put_field(out, field, each) end
    elseif item ~= nil and (field.oneof or not is_default(item)) then
      put_field(out, field, item)
    end
  end
  return table.concat(out)
end

return M
