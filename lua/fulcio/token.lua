--- Verifies an OpenID Connect identity token: who issued it, for whom, when,
--- and that the issuer signed it.
---
--- The cheap questions come first, in go-oidc's order; nothing a token says
--- is believed, and no address in it is asked.

local discovery = require("fulcio.discovery")
local engine = require("fulcio.engine")
local refusal = require("fulcio.refusal")
local trim = require("fulcio.trim")

local null = engine.claims.null
local parse_claims = engine.claims.parse
local parse_token, verify_token = engine.jws.parse, engine.jws.verify

local MAX_TOKEN = 65536      -- bytes
local MAX_ISSUER = 2048      -- bytes
local MAX_KID = 256          -- bytes
local HEADERS = 64           -- texts that are remembered
local MAX_HEADER = 1024      -- bytes of one
local NOT_BEFORE = 300       -- seconds a token may be ahead of our clock
local MAX_TIME = 2 ^ 53

local function malformed(error, claim, issuer)
  return nil, refusal("token_malformed", {
    client = claim and { claim = claim }, log = { error = error,
                                                  issuer = issuer } })
end

local function object(json)
  local value, message = parse_claims(json)
  if type(value) ~= "table" or not json:find("^%s*{") then
    return nil, message or "not a JSON object"
  end
  return value
end

-- The header says which algorithm and key. Its jku, x5u, jwk and x5c are
-- offers to believe the token itself, and are not looked at.
local function parse_header(json)
  local header, message = object(json)
  if not header then return malformed("header: " .. message) end
  if header.crit ~= nil then return malformed("header: crit") end
  -- RFC 7797: false says that the payload is not base64url.
  if header.b64 ~= nil and header.b64 ~= true then
    return malformed("header: b64")
  end
  local kid = header.kid
  if kid == null or kid == "" then kid = nil end
  if kid ~= nil and (type(kid) ~= "string" or #kid > MAX_KID) then
    return malformed("header: kid is not a text of at most 256 bytes")
  end
  local alg = header.alg
  if type(alg) ~= "string" or not discovery.algorithms[alg] then
    return nil, refusal("token_algorithm", {
      log = { algorithm = tostring(alg) } })
  end
  return { alg = alg, kid = kid }
end

-- An issuer writes the same header in front of every token: what a header's
-- text says, for some texts of the last ones.
local headers, header_count = {}, 0

local function read_header(json)
  local header, refused = headers[json]
  if header then return header end
  header, refused = parse_header(json)
  if not header or #json > MAX_HEADER then return header, refused end
  if header_count == HEADERS then headers, header_count = {}, 0 end
  headers[json], header_count = header, header_count + 1
  return header
end

local function known_issuer(claims, set)
  local iss = claims.iss
  if type(iss) ~= "string" then
    return malformed("iss is not a text", "iss")
  end
  local match = #iss <= MAX_ISSUER and set:match(iss)
  if not match then
    return nil, refusal("unknown_issuer", {
      client = { claim = "iss" }, log = { issuer = iss } })
  end
  return match
end

local function audience_fits(claims, match)
  local aud = claims.aud
  local wanted = match.audiences
  if type(aud) == "string" then
    if wanted[aud] then return true end
  elseif type(aud) == "table" then
    local fits = false
    for key, one in pairs(aud) do
      if type(key) ~= "number" or type(one) ~= "string" then
        return malformed("aud is not a list of texts", "aud", claims.iss)
      end
      fits = fits or wanted[one]
    end
    if fits then return true end
  elseif aud ~= nil and aud ~= null then
    return malformed("aud is neither a text nor a list", "aud", claims.iss)
  end
  return nil, refusal("wrong_audience", {
    client = { claim = "aud" },
    log = { issuer = claims.iss, audience = aud ~= null and aud or nil } })
end

-- JSON's number in a text, which Go reads as one: from its first byte to its
-- last, for JSON would have blanks around it.
local function number_in(text)
  local first, last = text:byte(1), text:byte(-1)
  if not first or first <= 32 or last <= 32 then return nil end
  local value = engine.claims.parse(text)
  return type(value) == "number" and value or nil
end

-- A NumericDate (RFC 7519 section 2) may have a fraction, which Go drops.
-- `nullable`: null is as good as none.
local function seconds(claims, name, nullable)
  local value = claims[name]
  if value == nil or value == null and nullable then return nil end
  if type(value) == "string" then value = number_in(value) end
  if type(value) ~= "number" or value ~= value
    or value > MAX_TIME or value < -MAX_TIME then
    return malformed(name .. " is not a time", name, claims.iss)
  end
  return value - value % 1
end

-- `now` is a whole second that has begun: a token that ends with it is over.
local function in_time(claims, now)
  local exp, refused = seconds(claims, "exp", true)
  if refused then return nil, refused end
  if not exp or exp <= now then
    return nil, refusal("token_expired", {
      client = { claim = "exp" },
      log = { issuer = claims.iss, exp = exp or "absent" } })
  end
  local nbf
  nbf, refused = seconds(claims, "nbf", true)
  if not refused then refused = select(2, seconds(claims, "iat")) end
  if refused then return nil, refused end
  if nbf and nbf > now + NOT_BEFORE then
    return nil, refusal("token_not_yet_valid", {
      client = { claim = "nbf" }, log = { issuer = claims.iss, nbf = nbf } })
  end
  return true
end

local function verified(parts, keys, alg)
  for i = 1, #keys do
    if verify_token(parts, keys[i], alg) then return true end
  end
  return false
end

-- Keys that do not verify it may be yesterday's: asks the issuer again, when
-- it may be asked.
local function signed(parts, claims, match, issuers, alg, kid)
  local iss = claims.iss
  local keys, refused = issuers:keys(iss, match, kid, alg)
  if not keys then return nil, refused end
  if verified(parts, keys, alg) then return true end
  keys, refused = issuers:keys(iss, match, kid, alg, true)
  if keys and verified(parts, keys, alg) then return true end
  return nil, refused or refusal("token_signature", {
    log = { issuer = iss, kid = kid, algorithm = alg } })
end

local function subject_fits(claims)
  local sub = claims.sub
  if sub == nil or sub == null or type(sub) == "string" then return true end
  return nil, refusal("claim_invalid", {
    client = { claim = "sub" },
    log = { issuer = claims.iss, error = "sub is not a text" } })
end

local M = {}

--- The claims of a token that one of the policies' issuers signed for one
--- of its audiences and that is valid at `now`; nil and a refusal
--- otherwise. `set` are the policies, `issuers` the cache of their keys.
function M.verify(jwt, set, issuers, now)
  if type(jwt) ~= "string" or #jwt > MAX_TOKEN then
    return malformed("no token, or more than 64 KiB")
  end
  -- Clients send files of tokens as they are, with their last newline.
  local parts, message = parse_token(trim(jwt))
  if not parts then return malformed(message) end
  local header, wrong = read_header(parts.header)
  if not header then return nil, wrong end
  local alg, kid = header.alg, header.kid
  local claims
  claims, message = object(parts.payload)
  if not claims then return malformed("claims: " .. message) end
  local match, fine, refused
  match, refused = known_issuer(claims, set)
  if not match then return nil, refused end
  fine, refused = audience_fits(claims, match)
  if fine then fine, refused = in_time(claims, now) end
  if fine then fine, refused = subject_fits(claims) end
  if fine then
    fine, refused = signed(parts, claims, match, issuers, alg, kid)
  end
  if fine then return claims end
  if match.wildcard and refused.log.issuer then
    refused.log.wildcard = true
  end
  return nil, refused
end

return M
