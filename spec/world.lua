--- A whole CA in memory, for specs: issuer, policies, CA, log.

local engine = require("fulcio.engine")
local ephemeral = require("fulcio.ca.ephemeral")
local issuers = require("fulcio.issuers")
local json = require("fulcio.json")
local policy = require("fulcio.policy")
local refusal = require("fulcio.refusal")

local ISSUER = "https://issuer.example"

local EMAIL = [[
return {
  issuer   = "https://issuer.example",
  audience = "sigstore",
  must     = { email = present },
  san      = { email = "{email}" },
}
]]

local World = {}
World.__index = World

-- The issuer's discovery document and keys, as engine.http.request gives
-- them.
local function network(key)
  local jwk = engine.jws.jwk(key)
  jwk.kid, jwk.use, jwk.alg = "one", "sig", "RS256"
  local pages = {
    [ISSUER .. "/.well-known/openid-configuration"] = {
      issuer = ISSUER, jwks_uri = ISSUER .. "/keys",
      id_token_signing_alg_values_supported = { "RS256" },
    },
    [ISSUER .. "/keys"] = { keys = { jwk } },
  }
  return function(request)
    local page = pages[request.url]
    if not page then return nil, "no such page", "refused" end
    return { status = 200, headers = {}, body = json.encode(page) }
  end
end

local Log = {}
Log.__index = Log

--- A log's answer, without a log.
function Log:submit(der, chain, kind, tbs)
  if self.down then
    return nil, refusal("ct_unavailable", { log = { error = "it is down" } })
  end
  local skimmed = assert(engine.x509.skim(der))
  assert(skimmed.poisoned == (kind == "precert"))
  assert(tbs == skimmed.defanged or kind == "x509")
  local now, id = engine.system.now_ms(), engine.bytes.sha256(self.key:spki())
  local signed = engine.sct.leaf({
    timestamp_ms = now, kind = kind, certificate = der,
    tbs = skimmed.defanged,
    issuer_key_hash = engine.bytes.sha256(chain[1]:pkey():spki()),
  })
  local signature = assert(engine.sct.sign(signed, self.key))
  return engine.sct.serialize({
    log_id = id, timestamp_ms = now, signature = signature,
  }), { log_id = id, timestamp_ms = now, extensions = "",
        signature = signature }
end

function Log:ready()
  if self.down then return nil, "it is down" end
  return true
end

--- A token of the issuer; `claims` replace or add to the usual ones.
function World:token(claims)
  local now = engine.system.now()
  local all = { iss = ISSUER, aud = "sigstore", iat = now, exp = now + 600,
                sub = "someone", email = "a@example.com",
                email_verified = true }
  for name, value in pairs(claims or {}) do all[name] = value end
  return assert(engine.jws.sign(
    json.encode({ alg = "RS256", kid = "one" }), json.encode(all),
    self.issuer_key, "RS256"))
end

--- A request for signing.issue, good unless `changes` make it bad.
function World:asked(changes)
  local key = assert(engine.pkey.generate("P-256"))
  local asked = { token = self:token(), public_key = key:pem(),
                  proof = assert(key:sign("a@example.com")) }
  for name, value in pairs(changes or {}) do asked[name] = value end
  return asked, key
end

--- The body of a v2 request for what `asked` gave.
function World:v2(asked)
  return json.encode({
    credentials = { oidcIdentityToken = asked.token },
    publicKeyRequest = {
      publicKey = { algorithm = "ECDSA", content = asked.public_key },
      proofOfPossession = engine.bytes.base64(asked.proof),
    },
  })
end

local M = {}

--- `options`: policy (a text instead of the usual one), log (false: none).
function M.new(options)
  options = options or {}
  local world = setmetatable({
    issuer_key = assert(engine.pkey.generate("RSA-2048")),
  }, World)
  world.log = setmetatable({ key = assert(engine.pkey.generate("P-256")) },
                           Log)
  world.context = {
    ca = assert(ephemeral.open()),
    policies = assert(policy.load({ { name = "email.lua",
                                      text = options.policy or EMAIL } })),
    issuers = issuers.new({ request = network(world.issuer_key) }),
  }
  if options.log ~= false then world.context.log = world.log end
  return world
end

return M
