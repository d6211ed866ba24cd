--- Fuzzing: tokens and JSON Web Keys.

local engine = require("fulcio.engine")

local base64url = engine.bytes.base64url
local jws = engine.jws

local keys = {
  ES256 = assert(engine.pkey.generate("P-256")),
  EdDSA = assert(engine.pkey.generate("Ed25519")),
}

-- No input is a token of a key that was made a moment ago.
local function check_token(parts, token)
  assert(base64url(parts.header) .. "." .. base64url(parts.payload)
         == parts.input, "a part has two spellings")
  assert(parts.input .. "." .. base64url(parts.signature) == token)
  for algorithm, key in pairs(keys) do
    assert(not jws.verify(parts, key, algorithm), "it verifies")
  end
end

local function check_key(jwk)
  local key = jws.key(jwk)
  if not key then return end
  local again = assert(jws.key(jws.jwk(key)))
  assert(again:spki() == key:spki(), "a JWK is another key")
end

return function(bytes)
  local parts = jws.parse(bytes)
  if parts then check_token(parts, bytes) end
  local value = engine.claims.parse(bytes)
  if type(value) == "table" then check_key(value) end
end
