--- Fuzzing: base64 of both alphabets, and checkpoints of logs.

local engine = require("fulcio.engine")

local bytes_of, text_of = engine.bytes.unbase64, engine.bytes.base64

return function(bytes)
  assert(bytes_of(text_of(bytes)) == bytes)
  assert(bytes_of(engine.bytes.base64url(bytes)) == bytes)
  local decoded = bytes_of(bytes)
  if decoded then
    assert(bytes_of(text_of(decoded)) == decoded)
    local plain = bytes:gsub("[%s=]", ""):gsub("-", "+"):gsub("_", "/")
    assert(text_of(decoded):gsub("=", "") == plain, "it has two spellings")
  end
end
