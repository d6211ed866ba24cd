--- What clients of the HTTP API send, as a request for signing.issue.
---
--- As protojson reads it: unknown members are ignored, null is absent, a
--- name may be written in camelCase or snake_case, bytes are base64 of
--- either alphabet.

local engine = require("fulcio.engine")
local protojson = require("fulcio.protojson")
local refusal = require("fulcio.refusal")

local null, texts = engine.claims.null, engine.claims.texts
local unbase64 = engine.bytes.unbase64

local malformed = protojson.malformed

-- The other spelling of a name, as in the proto file.
local snake = {
  certificateSigningRequest = "certificate_signing_request",
  oidcIdentityToken = "oidc_identity_token",
  proofOfPossession = "proof_of_possession",
  publicKey = "public_key",
  publicKeyRequest = "public_key_request",
  signedEmailAddress = "signed_email_address",
}

local known = { credentials = true, content = true, algorithm = true }
for name, other in pairs(snake) do known[name], known[other] = true, true end

-- A member by its name, in either spelling; nil when absent or null.
local function member(object, name, body)
  local value, other = object[name], snake[name]
  if other and object[other] ~= nil then
    if value ~= nil then protojson.duplicate(body, name, other) end
    name, value = other, object[other]
  end
  if value == null then return nil end
  return value, name
end

local function text(object, name, body)
  local value, written = member(object, name, body)
  if value == nil or type(value) == "string" then return value end
  protojson.invalid(body, written, "string", name)
end

local function bytes(object, name, body)
  local value, written = member(object, name, body)
  if value == nil then return nil end
  local decoded = type(value) == "string" and unbase64(value)
  if decoded then return decoded end
  protojson.invalid(body, written, "bytes", name)
end

-- Names that are none are passed over, as all that is unknown.
local function check_enum(object, name, body)
  local value = object[name]
  if value == nil or value == null or type(value) == "string" then return end
  if type(value) ~= "number" or value % 1 ~= 0
     or value < -2147483648 or value > 2147483647 then
    protojson.invalid(body, name, "enum", name)
  end
end

local function message(object, name, body)
  local value, written = member(object, name, body)
  if value == nil then return nil end
  if type(value) ~= "table" or value[1] ~= nil
     or next(value) == nil and not protojson.is_object(body, written) then
    protojson.unexpected(body, written)
  end
  return value
end

-- An empty body is an empty message.
local function parse(body)
  if body:find("^%s*$") then return {} end
  local object, why = engine.claims.parse(body)
  if object == nil then
    local name = why:match("([%w_]+): duplicate member$")
    if known[name] then protojson.duplicate(body, name) end
    malformed("%s", why)
  end
  if type(object) ~= "table" or not body:find("^%s*{") then
    malformed("proto: syntax error (line 1:1): unexpected token %s",
              body:match("^%s*(%a+)") or body:match("%S"))
  end
  return object
end

-- The token of an Authorization header: all of it, less the first "Bearer ".
local function bearer(headers)
  local token = (headers.authorization or ""):gsub("Bearer ", "", 1)
  return token:match("^ *(.*)$")
end

-- Only one member of a oneof may be there.
local function one_of(object, body)
  local key, first = member(object, "publicKeyRequest", body)
  local csr, second = member(object, "certificateSigningRequest", body)
  if key == nil or csr == nil then return end
  protojson.already_set(body, first, second,
    "dev.sigstore.fulcio.v2.CreateSigningCertificateRequest.key")
end

-- What clients send: nothing but these, and not both kinds of key. Nil when
-- it is anything else, which may have to be told what is wrong with it.
local function usual(body)
  local good, token, algorithm, key, proof, csr = texts(body,
    "credentials.oidcIdentityToken", "publicKeyRequest.publicKey.algorithm",
    "publicKeyRequest.publicKey.content",
    "publicKeyRequest.proofOfPossession", "certificateSigningRequest")
  if not good or not token or token == ""
    or csr and (algorithm or key or proof) then
    return nil
  end
  local proven, requested = proof and unbase64(proof), csr and unbase64(csr)
  if proof and not proven or csr and not requested then return nil end
  return { token = token, public_key = key, proof = proven, csr = requested }
end

local M = {}

--- A v2 request (CreateSigningCertificateRequest). Throws a refusal when
--- the body is none.
function M.v2(request)
  local body = request.body or ""
  local asked = usual(body)
  if asked then return asked end
  local object = parse(body)
  one_of(object, body)
  local credentials = message(object, "credentials", body) or {}
  local key = message(object, "publicKeyRequest", body) or {}
  local public = message(key, "publicKey", body) or {}
  local token = text(credentials, "oidcIdentityToken", body)
  if not token or token == "" then token = bearer(request.headers) end
  check_enum(public, "algorithm", body)
  return {
    token = token,
    public_key = text(public, "content", body),
    proof = bytes(key, "proofOfPossession", body),
    csr = bytes(object, "certificateSigningRequest", body),
  }
end

--- A v1 request, of older clients. Throws a refusal when the body is none,
--- or has no key: v1 looks for it before the token.
function M.v1(request)
  local body = request.body or ""
  local object = parse(body)
  local public = message(object, "publicKey", body)
  local csr = bytes(object, "certificateSigningRequest", body)
  if csr == "" then csr = nil end
  if not public and not csr then error(refusal("key_unparsable"), 0) end
  if public then text(public, "algorithm", body) end
  return {
    token = bearer(request.headers),
    public_key = public and bytes(public, "content", body),
    proof = bytes(object, "signedEmailAddress", body),
    csr = csr,
  }
end

return M
