--- Plays recorded identities: a configuration of Fulcio's and a token's
--- claims become a certificate here, or a refusal, as they did there.
---
--- Nothing is left out on the way: the configuration is imported, a real
--- token is signed and verified with keys from an issuer in memory, the
--- policy decides, the proof is made over what Fulcio's client signs, and
--- the certificate is written, signed and read again.

local cjson = require("cjson")
local config_import = require("fulcio.config_import")
local deliberate = require("spec.compat.deliberate")
local engine = require("fulcio.engine")
local issuers = require("fulcio.issuers")
local log = require("fulcio.log")
local new_issuer = require("spec.issuer")
local policy = require("fulcio.policy")
local proof = require("fulcio.proof")
local recorded = require("spec.compat.recorded")
local refusal = require("fulcio.refusal")
local template = require("fulcio.template")
local token = require("fulcio.token")

local NOW = 1800000000

local grpc_codes = { InvalidArgument = 3, Internal = 13, Unavailable = 14 }
local kinds = { otherName = "other" }

local keys, authority = {}, nil

local function key_of(algorithm)
  local kind = algorithm:find("^ES256") and "P-256"
    or algorithm:find("^ES384") and "P-384"
    or algorithm:find("^ES512") and "P-521"
    or algorithm == "EdDSA" and "Ed25519" or "RSA-2048"
  keys[kind] = keys[kind] or assert(engine.pkey.generate(kind))
  return keys[kind]
end

-- A root that signs leaves.
local function ca()
  if authority then return authority end
  local key = assert(engine.pkey.generate("P-256"))
  local draft = assert(engine.draft.new({
    key = key, not_before = NOW - 60, not_after = NOW + 86400, ca = true,
    subject = { { "O", "compat" } }, key_usage = { "cert_sign" } }))
  local der = assert(engine.draft.sign(draft:plain(), key))
  authority = { key = key, root = engine.x509.parse(der)[1] }
  return authority
end

-- Tokens ---------------------------------------------------------------

local function payload(vector)
  local how, claims = vector.token or {}, vector.raw_claims
  local omit, add = {}, {}
  for _, name in ipairs(how.omit or {}) do omit[name] = true end
  local members = recorded.members(claims, 1)
  local function default(name, value)
    if not members[name] and not omit[name] then
      add[#add + 1] = ('"%s":%s'):format(name, value)
    end
  end
  default("aud", '"sigstore"')
  default("exp", NOW + (how.exp_offset or 600))
  default("iat", NOW + (how.iat_offset or -5))
  if how.nbf_offset then default("nbf", NOW + how.nbf_offset) end
  local rest = claims:match("^%s*{(.*)$")
  if rest:find("%S") and not rest:find("^%s*}") and #add > 0 then
    add[#add + 1] = ""
  end
  return "{" .. table.concat(add, ",") .. rest
end

local known = { alg = true, exp_offset = true, nbf_offset = true,
  iat_offset = true, omit = true, bad_signature = true, raw = true,
  discovery_algs = true, discovery_issuer = true, discovery_down = true,
  signed_challenge = true }

-- What a vector asks of its token that we cannot make, nil when we can.
local function unknown(vector)
  for name in pairs(vector.token or {}) do
    if not known[name] then return "no token is known with " .. name end
  end
end

local function jwt_of(vector)
  local how = vector.token or {}
  if how.raw then return how.raw end
  local algorithm = how.alg or "RS256"
  local header = ('{"alg":"%s","kid":"k"}'):format(algorithm)
  if algorithm == "none" or algorithm:find("^HS") then
    local base64url = engine.bytes.base64url
    return base64url(header) .. "." .. base64url(payload(vector)) .. "."
  end
  local jwt = assert(engine.jws.sign(header, payload(vector),
                                     key_of(algorithm), algorithm))
  if how.bad_signature then
    local head, signature = jwt:match("^(.*%.)([^.]*)$")
    jwt = head .. (signature:sub(1, 1) == "A" and "B" or "A")
      .. signature:sub(2)
  end
  return jwt
end

local function issuer_of(vector)
  local how = vector.token or {}
  local issuer = new_issuer((vector.claims or {}).iss or "https://none.test")
  issuer:add("k", how.alg, key_of(how.alg or "RS256"))
  issuer.keys[1].alg = nil
  issuer.document.id_token_signing_alg_values_supported = how.discovery_algs
  issuer.document.issuer = how.discovery_issuer or issuer.document.issuer
  issuer.down = how.discovery_down
  return issuers.new({ request = function(asked)
    return issuer:request(asked)
  end })
end

-- Issuing --------------------------------------------------------------

local function load_policies(vector)
  local sources, errors = config_import.parse("config.json",
                                              vector.raw_config)
  if not sources then
    return nil, { stage = "config", message = errors[1].message,
                  fulcio = errors[1].fulcio }
  end
  local set
  set, errors = policy.load(sources, {})
  if not set then
    return nil, { stage = "config", message = errors[1].message }
  end
  return set
end

local function refused_at(stage, refused)
  if not refusal.is(refused) then error(refused, 0) end
  return { stage = stage, refused = refused }
end

-- What we do with a vector: { certificate, challenge }, or { stage, refused }
-- or, for a configuration, { stage, message }.
local function issue(vector)
  local set, done = load_policies(vector)
  if not set then return done end
  local claims, refused = token.verify(jwt_of(vector), set,
                                       issuer_of(vector), NOW)
  if not claims then return refused_at("authenticate", refused) end
  local grant
  grant, refused = set:decide(claims)
  if not grant then return refused_at("decide", refused) end
  local client = key_of("ES256")
  local key
  local signed = (vector.token or {}).signed_challenge or grant.challenge
  key, refused = proof.verify({
    public_key = client:pem(), proof = client:sign(signed) }, grant)
  if not key then return refused_at("issue", refused) end
  local draft
  draft, refused = template.fill(grant, key, ca().root, NOW)
  if not draft then return refused_at("issue", refused) end
  local der = assert(engine.draft.sign(draft:plain(), ca().key))
  return { certificate = assert(engine.x509.parse(der))[1],
           challenge = grant.challenge }
end

-- Comparing ------------------------------------------------------------

local function same_names(wanted, certificate)
  local name, other = wanted[1], certificate.san[1]
  if #wanted ~= #certificate.san then return false end
  return (kinds[name.type] or name.type) == other.type
    and name.value == other.value and certificate.san_critical
    and (not name.oid or name.oid == other.oid)
end

local function encoded(wanted)
  if wanted.encoding == "raw" then return wanted.value end
  return assert(engine.extension.utf8(wanted.value))
end

-- What differs between an expected certificate and ours, nil when nothing
-- does. Ours has a subject key identifier besides.
local function difference(expected, done)
  local certificate = done.certificate
  if expected.principal_name ~= done.challenge then
    return "challenge " .. done.challenge
  end
  if not same_names(expected.san, certificate) then
    return "SAN " .. (certificate.san[1] or {}).value
  end
  local order = {}
  for _, extension in ipairs(certificate.extensions) do
    if extension.oid ~= "2.5.29.14" then
      order[#order + 1] = extension.oid
      local wanted = expected.extensions[extension.oid]
      if wanted and (encoded(wanted) ~= extension.value
                     or extension.critical ~= wanted.critical) then
        return extension.oid .. " is " .. extension.value
      end
    end
  end
  -- A root made here has an identifier; the recording's had one as well.
  local wanted = table.concat(expected.extension_order, " ")
  if table.concat(order, " ") ~= wanted then
    return "order " .. table.concat(order, " ")
  end
end

local function wrong_refusal(wanted, done)
  if wanted.stage == "config" or done.stage == "config" then
    if wanted.stage ~= done.stage then
      return "refused at " .. done.stage .. ": "
        .. (done.message or done.refused.reason)
    end
    return nil
  end
  local refused = done.refused
  if refused.http ~= wanted.http_status
     or refused.grpc ~= grpc_codes[wanted.grpc_code]
     or refused.message ~= wanted.client_message then
    return ("%s: %d %d %s"):format(refused.reason, refused.http,
                                   refused.grpc, refused.message)
  end
end

local function described(done)
  return done.message or done.refused
    and tostring(done.refused) .. " " .. cjson.encode(done.refused.log)
end

local function compare(vector, done)
  local wanted = vector.expected.error
  if wanted and done.certificate then return "issued" end
  if wanted then return wrong_refusal(wanted, done) end
  if not done.certificate then return "refused: " .. described(done) end
  return difference(vector.expected, done)
end

local function play(vector)
  local odd = unknown(vector)
  if odd then return "skipped", odd end
  local done = issue(vector)
  local why = compare(vector, done)
  if not why then return "matched" end
  local decision = deliberate(vector, done, function(raw_claims)
    local other = setmetatable({ raw_claims = raw_claims },
                               { __index = vector })
    return compare(other, issue(other))
  end)
  if decision then return "deliberate", decision end
  return "differ", why
end

local M = { play = play }

--- Lets the log speak again.
function M.finish()
  log.open({ mode = "prod" })
end

--- The cases of a file of vectors, of all types or those asked for.
function M.cases(path, types)
  log.open({ mode = "prod", write = function() end })
  local cases = {}
  for _, vector in ipairs(recorded.read(path)) do
    if not types or types[vector.issuer_type] then
      cases[#cases + 1] = {
        name = "identity: " .. vector.name,
        run = function() return play(vector) end,
      }
    end
  end
  return cases
end

return M
