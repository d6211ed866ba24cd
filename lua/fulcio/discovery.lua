--- Reads what an issuer publishes: its discovery document and its keys.
---
--- Stateless; issuers.lua remembers. What is fetched is as hostile as the
--- address it comes from: https only, no redirects, 256 KiB, 50 keys.

local engine = require("fulcio.engine")

local MAX_BODY = 262144
local MAX_KEYS = 50
local MAX_URL = 2048
local TRIED_WITHOUT_KID = 10

-- What a key must be for an algorithm (RFC 7518 section 3.1, RFC 8037).
local fits = {
  RS256 = "RSA", RS384 = "RSA", RS512 = "RSA",
  PS256 = "RSA", PS384 = "RSA", PS512 = "RSA",
  ES256 = "P-256", ES384 = "P-384", ES512 = "P-521", EdDSA = "Ed25519",
}

local M = {}

--- The signature algorithms a token may name at all. "none" and the HMAC
--- family are not among them and cannot be added.
M.algorithms = fits

--- Whether we may ask this address: https, or http on 127.0.0.1 in
--- development; nil and a message when not.
function M.permitted(url, development)
  if type(url) ~= "string" or #url > MAX_URL then
    return nil, "not an address"
  end
  local uri, message = engine.uri.parse(url)
  if not uri then return nil, message end
  if uri.user or uri.fragment or not uri.host or uri.host == "" then
    return nil, "not an address that can be asked"
  end
  if uri.scheme == "https" then return uri end
  if uri.scheme == "http" and uri.host == "127.0.0.1" and development then
    return uri
  end
  return nil, "only https is asked, and http://127.0.0.1 in development"
end

local function fetch(url, how)
  local uri, message = M.permitted(url, how.development)
  if not uri then return nil, ("%s: %s"):format(tostring(url), message) end
  local headers = { accept = "application/json" }
  if how.bearer and uri.host == how.host and uri.scheme == "https" then
    headers.authorization = "Bearer " .. how.bearer
  end
  local response
  response, message = how.request({
    url = url, headers = headers, timeout = how.timeout(),
    max_body = MAX_BODY, ca_file = how.ca_file, ca_pem = how.ca_pem,
    addresses = how.addresses,
  })
  if not response then return nil, message end  -- which names the address
  if response.status ~= 200 then
    return nil, ("%s: status %d, wanted 200"):format(url, response.status)
  end
  local value
  value, message = engine.claims.parse(response.body)
  if type(value) ~= "table" then
    return nil, ("%s: %s"):format(url, message or "not a JSON object")
  end
  return value
end

local function advertised(list)
  local allowed = {}
  if type(list) == "table" then
    for _, name in ipairs(list) do
      if fits[name] then allowed[name] = true end
    end
    if list[1] ~= nil then return allowed end
  end
  return { RS256 = true }
end

--- The discovery document (OpenID Connect Discovery 1.0 section 4) of an
--- issuer: its `algorithms` as a set and its `jwks_uri`; nil and a message
--- when there is none that says the same issuer. `how` has `request`,
--- `timeout()` in seconds, and what engine.http.request takes besides.
function M.document(issuer, how)
  if issuer:find("?", 1, true) then
    return nil, "an issuer has no query"
  end
  local url = issuer:gsub("/$", "") .. "/.well-known/openid-configuration"
  local value, message = fetch(url, how)
  if not value then return nil, message end
  if value.issuer ~= issuer then
    return nil, ("%s: says it is issuer %q"):format(url,
                                                    tostring(value.issuer))
  end
  local uri
  uri, message = M.permitted(value.jwks_uri, how.development)
  if not uri then return nil, ("%s: jwks_uri: %s"):format(url, message) end
  return {
    algorithms = advertised(value.id_token_signing_alg_values_supported),
    jwks_uri = value.jwks_uri,
  }
end

local function says_verify(operations)
  if type(operations) ~= "table" then return operations == nil end
  for _, operation in ipairs(operations) do
    if operation == "verify" then return true end
  end
  return false
end

-- A key for other uses, of another kind or too small is not an error: an
-- issuer may publish what we do not know.
local function usable(jwk)
  if type(jwk) ~= "table" or (jwk.use ~= nil and jwk.use ~= "sig")
    or not says_verify(jwk.key_ops)
    or (jwk.alg ~= nil and not fits[jwk.alg])
    or (jwk.kid ~= nil and type(jwk.kid) ~= "string") then
    return nil
  end
  local key = engine.jws.key(jwk)
  if not key or (key.kind == "RSA" and key.bits < 2048) then return nil end
  return { key = key, kid = jwk.kid, alg = jwk.alg,
           kind = key.kind == "RSA" and "RSA" or key.name }
end

--- The issuer's keys (RFC 7517) as a keyset for `pick`; nil and a message
--- when there are none that we could use.
function M.keyset(document, how)
  local url = document.jwks_uri
  local value, message = fetch(url, how)
  if not value then return nil, message end
  if type(value.keys) ~= "table" then
    return nil, url .. ': no list "keys"'
  end
  if #value.keys > MAX_KEYS then
    return nil, ("%s: %d keys, at most %d are read"):format(url, #value.keys,
                                                            MAX_KEYS)
  end
  local keys = {}
  for _, jwk in ipairs(value.keys) do
    keys[#keys + 1] = usable(jwk)
  end
  if #keys == 0 then return nil, url .. ": no key that we can use" end
  return { keys = keys, picked = {} }
end

--- The keys of a keyset that may have signed a token with this algorithm
--- and key identifier (nil: any; at most ten are tried).
function M.pick(keyset, kid, algorithm)
  local by_kid = keyset.picked[algorithm]
  if not by_kid then
    by_kid = {}
    keyset.picked[algorithm] = by_kid
  end
  local found = by_kid[kid or false]
  if found then return found end
  found = {}
  for _, entry in ipairs(keyset.keys) do
    if entry.kind == fits[algorithm]
      and (entry.alg == nil or entry.alg == algorithm)
      and (kid == nil or entry.kid == kid)
      and #found < TRIED_WITHOUT_KID then
      found[#found + 1] = entry.key
    end
  end
  -- Only identifiers that exist are remembered: tokens name any.
  if found[1] then by_kid[kid or false] = found end
  return found
end

return M
