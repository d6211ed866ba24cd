--- Fuzzing: JSON that is accepted says one thing only, and the same to
--- lua-cjson.

local cjson = require("cjson")
local engine = require("fulcio.engine")
local json = require("fulcio.json")

local null, parse = engine.claims.null, engine.claims.parse

local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) ~= "table" then return a == b end
  for name, value in pairs(a) do
    if not same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if a[name] == nil then return false end
  end
  return true
end

-- What our writer does not know is left out.
local function writable(value)
  if value == null or value == cjson.null then return "null" end
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, member in pairs(value) do copy[name] = writable(member) end
  return copy
end

-- What `texts` finds, as an object.
local function found(bytes)
  local good, a, c, d, g = engine.claims.texts(bytes, "a", "b.c", "b.d",
                                               "e.f.g")
  if not good then return nil end
  return { a = a, b = (c or d) and { c = c, d = d },
           e = g and { f = { g = g } } }
end

return function(bytes)
  local texts = found(bytes)
  if texts then assert(same(texts, parse(bytes)), "texts reads another") end
  local value, message, code = parse(bytes)
  if value == nil then
    assert(type(message) == "string" and type(code) == "string")
    assert(engine.bytes.is_utf8(message), "the message is not UTF-8")
    return
  end
  assert(engine.bytes.is_utf8(bytes), "accepted and not UTF-8")
  value = writable(value)
  assert(same(value, writable(cjson.decode(bytes))), "cjson reads another")
  local again = parse(json.encode(value)) -- false is a value, too
  assert(again ~= nil and same(value, again), "it says otherwise when written")
end
