--- What clients of the HTTP API send, as a request for signing.issue.
---
--- As protojson reads it: unknown members are ignored, null is absent, a
--- name may be written in camelCase or snake_case, bytes are base64 of
--- either alphabet.

local engine = require("fulcio.engine")
local refusal = require("fulcio.refusal")

local null = engine.claims.null

-- Where a member stands, as protojson counts.
local function position(body, name)
  local at = body:find('"' .. name .. '"', 1, true) or 1
  local line, start = 1, 1
  while true do
    local newline = body:find("\n", start, true)
    if not newline or newline > at then break end
    line, start = line + 1, newline + 1
  end
  return ("(line %d:%d)"):format(line, at - start + 1)
end

local function malformed(message, ...)
  error(refusal("request_malformed", { message = message:format(...) }), 0)
end

-- The other spelling of a name, as in the proto file.
local snake = {
  certificateSigningRequest = "certificate_signing_request",
  oidcIdentityToken = "oidc_identity_token",
  proofOfPossession = "proof_of_possession",
  publicKey = "public_key",
  publicKeyRequest = "public_key_request",
  signedEmailAddress = "signed_email_address",
}

-- A member by its name, in either spelling; nil when absent or null.
local function member(object, name)
  local value = object[name]
  if value == nil and snake[name] then
    name = snake[name]
    value = object[name]
  end
  if value == null then return nil end
  return value, name
end

local function text(object, name, body)
  local value, written = member(object, name)
  if value == nil or type(value) == "string" then return value end
  malformed("proto: %s: invalid value for string field %s",
            position(body, written), name)
end

local function bytes(object, name, body)
  local value, written = member(object, name)
  if value == nil then return nil end
  local decoded = type(value) == "string" and engine.bytes.unbase64(value)
  if decoded then return decoded end
  malformed("proto: %s: invalid value for bytes field %s",
            position(body, written), name)
end

local function message(object, name, body)
  local value, written = member(object, name)
  if value == nil then return nil end
  if type(value) == "table" and value[1] == nil then return value end
  malformed("proto: %s: unexpected token for message field %s",
            position(body, written), name)
end

-- An empty body is an empty message.
local function parse(body)
  if body:find("^%s*$") then return {} end
  local object, why = engine.claims.parse(body)
  if object == nil then malformed("%s", why) end
  if type(object) ~= "table" or not body:find("^%s*{") then
    malformed("proto: syntax error (line 1:1): unexpected token %s",
              body:match("%S"))
  end
  return object
end

-- The token of an Authorization header: all of it, less the first "Bearer ".
local function bearer(headers)
  return ((headers.authorization or ""):gsub("Bearer ", "", 1))
end

-- Only one member of a oneof may be there.
local function one_of(object, body)
  local key, first = member(object, "publicKeyRequest")
  local csr, second = member(object, "certificateSigningRequest")
  if key == nil or csr == nil then return end
  local a = body:find('"' .. first .. '"', 1, true)
  local b = body:find('"' .. second .. '"', 1, true)
  local later = (a or 0) < (b or 0) and second or first
  malformed('proto: %s: error parsing "%s", oneof %s.key is already set',
            position(body, later), later,
            "dev.sigstore.fulcio.v2.CreateSigningCertificateRequest")
end

local M = {}

--- A v2 request (CreateSigningCertificateRequest). Throws a refusal when
--- the body is none.
function M.v2(request)
  local body = request.body or ""
  local object = parse(body)
  one_of(object, body)
  local credentials = message(object, "credentials", body) or {}
  local key = message(object, "publicKeyRequest", body) or {}
  local public = message(key, "publicKey", body) or {}
  local token = text(credentials, "oidcIdentityToken", body)
  if not token or token == "" then token = bearer(request.headers) end
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
  return {
    token = bearer(request.headers),
    public_key = public and bytes(public, "content", body),
    proof = bytes(object, "signedEmailAddress", body),
    csr = csr,
  }
end

return M
