--- Fuzzing: messages of protobuf. Another reader, in Lua, says the same of
--- them, and what is written is read as it was.

local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf
local oracle = require("spec.protobuf")

local nested = { { 1, "text", "string" }, { 2, "number", "int32" },
                 { 3, "yes", "bool" } }
nested[4] = { 4, "inner", "message", nested }
nested[5] = { 5, "many", "message", nested, repeated = true }
nested[6] = { 6, "one", "message", nested, oneof = "choice" }
nested[7] = { 7, "other", "bytes", oneof = "choice" }
nested[8] = { 8, "numbers", "enum", nil, repeated = true }

local kinds = { messages.v2.CreateSigningCertificateRequest,
                messages.v1.CreateSigningCertificateRequest,
                messages.reflection.ServerReflectionRequest,
                messages.v2.Configuration, nested }

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for name, value in pairs(a) do
    if not same(value, b[name]) then return false end
  end
  for name in pairs(b) do
    if a[name] == nil then return false end
  end
  return true
end

return function(bytes)
  local kind = kinds[(bytes:byte(1) or 0) % #kinds + 1]
  bytes = bytes:sub(2)
  local message, why, code = protobuf.decode(kind, bytes)
  local other, reason = oracle.decode(kind, bytes)
  assert(why == reason, "refused otherwise")
  assert(same(message, other), "read otherwise")
  if not message then
    assert(code == "bad_message")
    return
  end
  local written = protobuf.encode(kind, message)
  assert(written == oracle.encode(kind, message), "written otherwise")
  local again = assert(protobuf.decode(kind, written))
  assert(protobuf.encode(kind, again) == written, "not read as written")
end
