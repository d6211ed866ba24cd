--- What the fake of Google CA Service certifies, and with which keys.

local engine = require("fulcio.engine")
local schema = require("spec.google.schema")

local DAY = 86400

local M = {}

local function now() return engine.system.now() end

local function certificate(name, above)
  local key = assert(engine.pkey.generate("P-256"))
  local draft = assert(engine.draft.new({
    key = key, signer = above and above.key or key,
    issuer = above and above.certificate, ca = true,
    subject = { { "O", "fake of Google" }, { "CN", name } },
    key_usage = { "cert_sign", "crl_sign" },
    path_length = above and 0 or nil,
    extended_key_usage = above and { "code_signing" } or nil,
    not_before = now() - DAY, not_after = now() + 365 * DAY,
  }))
  local der = assert(engine.draft.sign(draft:plain(),
                                       above and above.key or key))
  return { key = key, certificate = assert(engine.x509.parse(der))[1] }
end

--- A CA: { id, key, certificate, chain (PEM texts) }.
function M.authority(id, root)
  root = root or certificate("root of " .. id)
  local made = certificate(id, root)
  made.id, made.root = id, root
  made.chain = { made.certificate.pem, root.certificate.pem }
  return made
end

local base = {
  digitalSignature = "digital_signature", certSign = "cert_sign",
  contentCommitment = "content_commitment", crlSign = "crl_sign",
  keyEncipherment = "key_encipherment", keyAgreement = "key_agreement",
  dataEncipherment = "data_encipherment",
}
local extended = {
  codeSigning = "code_signing", serverAuth = "server_auth",
  clientAuth = "client_auth", emailProtection = "email_protection",
  timeStamping = "time_stamping", ocspSigning = "ocsp_signing",
}

local function chosen(from, names)
  local list = {}
  for name, value in pairs(from or {}) do
    if value then list[#list + 1] = names[name] end
  end
  table.sort(list)
  return list
end

local function dotted(object)
  local path = object and object.objectIdPath or {}
  if #path < 2 then return nil end
  local parts = {}
  for i, number in ipairs(path) do parts[i] = ("%d"):format(number) end
  return table.concat(parts, ".")
end

local function name_of(san)
  if not san then return nil end
  if san.emailAddresses and san.emailAddresses[1] then
    return { type = "email", value = san.emailAddresses[1] }
  elseif san.uris and san.uris[1] then
    return { type = "uri", value = san.uris[1] }
  elseif san.customSans and san.customSans[1] then
    local custom = san.customSans[1]
    local der = engine.bytes.unbase64(custom.value)
    return { type = "other", oid = dotted(custom.objectId),
             value = der:sub(3) }
  end
end

local function extensions_of(list)
  local found, seen = {}, {}
  for i, one in ipairs(list or {}) do
    local where = ("certificate.config.x509_config.additional_extensions"
      .. "[%d].object_id"):format(i - 1)
    local oid = dotted(one.objectId)
    if not oid then return nil, "an empty object ID", where end
    if seen[oid] then return nil, "duplicate extension " .. oid, where end
    seen[oid] = true
    found[i] = { oid = oid, critical = one.critical or false,
                 value = engine.bytes.unbase64(one.value or "") }
  end
  return found
end

local function key_of(config)
  local public = config.publicKey or {}
  if public.format ~= "PEM" and public.format ~= 1 then
    return nil, "unsupported format"
  end
  local pem = engine.bytes.unbase64(public.key or "")
  if not pem or not pem:find("^%-%-%-%-%-BEGIN PUBLIC KEY%-%-%-%-%-") then
    return nil, "not a PEM-encoded public key"
  end
  local key, message = engine.pkey.parse(pem)
  if not key then return nil, message end
  if key.name == "P-521" then return nil, "unsupported key type P-521" end
  return key
end

local subject_names = { { "countryCode", "C" }, { "province", "ST" },
  { "locality", "L" }, { "organization", "O" }, { "commonName", "CN" } }

local function subject_of(config)
  local given, list = (config.subjectConfig or {}).subject or {}, {}
  for _, pair in ipairs(subject_names) do
    if given[pair[1]] then
      list[#list + 1] = { pair[2], given[pair[1]] }
    end
  end
  return list
end

--- The profile for engine.draft.new of a Certificate's JSON, decoded; nil,
--- message, field.
function M.profile(value)
  local wrong, where = schema.certificate(value)
  if wrong then return nil, wrong, where end
  local lifetime = tonumber((value.lifetime or ""):match("^(.*)s$"))
  if not lifetime or lifetime <= 0 then
    return nil, "lifetime must be positive", "certificate.lifetime"
  end
  if (value.pemCsr ~= nil) == (value.config ~= nil) then
    return nil, "exactly one of config and pem_csr", "certificate.config"
  end
  local config = value.config or {}
  local key, message = key_of(config)
  if not key then
    return nil, message, "certificate.config.public_key.key"
  end
  local x509 = config.x509Config or {}
  local extensions
  extensions, message, where = extensions_of(x509.additionalExtensions)
  if not extensions then return nil, message, where end
  local usage = x509.keyUsage or {}
  local begins = now()
  return {
    key = key, not_before = begins,
    not_after = begins + math.floor(lifetime), ca = false,
    subject = subject_of(config),
    key_usage = chosen(usage.baseKeyUsage, base),
    extended_key_usage = chosen(usage.extendedKeyUsage, extended),
    san = name_of((config.subjectConfig or {}).subjectAltName),
    extensions = extensions,
  }
end

-- An extension that becomes the name, which a draft writes once alone.
local PLACEHOLDER, IT, NAME = "2.5.29.99", "\6\3\85\29\99", "\6\3\85\29\17"

-- Two names where one was asked for.
local function two_names(profile)
  local first = assert(engine.extension.san(profile.san))
  local other = assert(engine.extension.san({ type = "uri",
    value = "https://evil.example" }))
  local names = first:sub(3) .. other:sub(3)
  return { oid = PLACEHOLDER, critical = true,
           value = "\48" .. string.char(#names) .. names }
end

--- What may be wrong with a certificate, by name: changes its profile.
M.spoilers = {
  wrong_key = function(profile)
    profile.key = assert(engine.pkey.generate("P-256"))
  end,
  dropped = function(profile) table.remove(profile.extensions) end,
  altered = function(profile)
    profile.extensions[1].value = "\12\1x"
  end,
  critical = function(profile) profile.extensions[1].critical = true end,
  added = function(profile)
    profile.extensions[#profile.extensions + 1] = {
      oid = "1.3.6.1.4.1.57264.1.99", value = "\12\1x" }
  end,
  two_names = function(profile)
    local name = two_names(profile)
    profile.san = nil
    table.insert(profile.extensions, 1, name)
  end,
  other_name = function(profile)
    profile.san = { type = "email", value = "evil@example.com" }
  end,
  eku = function(profile)
    profile.extended_key_usage = { "client_auth", "code_signing" }
  end,
  usage = function(profile)
    profile.key_usage = { "digital_signature", "key_agreement" }
  end,
  longer = function(profile) profile.not_after = profile.not_after + 1 end,
  backdated = function(profile)
    profile.not_before = profile.not_before - 3600
  end,
  future = function(profile)
    profile.not_before = profile.not_before + 300
  end,
  past = function(profile)
    profile.not_before = profile.not_before - 1000
    profile.not_after = profile.not_before + 10
  end,
  subject = function(profile)
    profile.subject = { { "CN", "somebody" } }
  end,
  ca = function(profile) profile.ca = true end,
  shorter = function(profile) profile.not_after = profile.not_after - 60 end,
}

--- A certificate of a profile by an authority, PEM.
function M.issue(profile, authority)
  profile.issuer, profile.signer = authority.certificate, authority.key
  local draft = assert(engine.draft.new(profile))
  local tbs = draft:plain():gsub(IT, NAME)
  return engine.draft.pem(assert(engine.draft.sign(tbs, authority.key)))
end

return M
