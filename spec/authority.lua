--- A CA in memory, for specs that need certificates of every kind.
local engine = require("fulcio.engine")

local draft, x509 = engine.draft, engine.x509

local Authority = {}
Authority.__index = Authority

local DAY = 86400

local function parsed(der) return assert(x509.parse(der))[1] end

local function ca_profile(name, key)
  local now = engine.system.now()
  return {
    key = key, ca = true, not_before = now - DAY, not_after = now + 365 * DAY,
    subject = { { "O", "example.com" }, { "CN", name } },
    key_usage = { "cert_sign", "crl_sign" },
  }
end

local function leaf_profile(self, about)
  local now = engine.system.now()
  about = about or {}
  return {
    key = about.key or self.subject_key, issuer = self.chain[1],
    signer = self.key, not_before = about.not_before or now - 60,
    not_after = about.not_after or now + 600,
    key_usage = { "digital_signature" },
    extended_key_usage = { "code_signing" },
    san = { type = "email", value = about.email or "a@example.com" },
    extensions = about.extensions,
  }
end

--- A draft of a leaf: { key?, email?, extensions?, not_before?, not_after? }.
function Authority:draft(about)
  return assert(draft.new(leaf_profile(self, about)))
end

--- A precertificate, DER.
function Authority:precertificate(about)
  return assert(draft.sign(self:draft(about):poisoned(), self.key))
end

--- A certificate without an SCT, DER.
function Authority:certificate(about)
  return assert(draft.sign(self:draft(about):plain(), self.key))
end

--- A CA below this one: another authority.
function Authority:below(name, profile)
  local key = assert(engine.pkey.generate("P-256"))
  local about = ca_profile(name, key)
  about.issuer, about.signer = self.chain[1], self.key
  for field, value in pairs(profile or {}) do about[field] = value end
  local der = assert(draft.sign(assert(draft.new(about)):plain(), self.key))
  return setmetatable({
    key = key, subject_key = self.subject_key, root = self.root,
    chain = { parsed(der), table.unpack(self.chain) },
  }, Authority)
end

--- The chain above a leaf, DER, issuer first.
function Authority:ders()
  local ders = {}
  for i, certificate in ipairs(self.chain) do ders[i] = certificate.der end
  return ders
end

local authority = {}

--- A root CA; `root` is its certificate, `chain` what is above its leaves.
function authority.new(name)
  local key = assert(engine.pkey.generate("P-256"))
  local tbs = assert(draft.new(ca_profile(name or "root", key))):plain()
  local root = parsed(assert(draft.sign(tbs, key)))
  return setmetatable({
    key = key, root = root, chain = { root },
    subject_key = assert(engine.pkey.generate("P-256")),
  }, Authority)
end

return authority
