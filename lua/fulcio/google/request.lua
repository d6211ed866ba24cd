--- What is asked of Google CA Service for one certificate
--- (privateca.v1.Certificate as JSON).

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local list = json.list

local key_usages = {
  digital_signature = "digitalSignature",
  content_commitment = "contentCommitment",
  key_encipherment = "keyEncipherment",
  data_encipherment = "dataEncipherment",
  key_agreement = "keyAgreement",
  cert_sign = "certSign", crl_sign = "crlSign",
  encipher_only = "encipherOnly", decipher_only = "decipherOnly",
}

local extended = {
  code_signing = "codeSigning", server_auth = "serverAuth",
  client_auth = "clientAuth", email_protection = "emailProtection",
  time_stamping = "timeStamping", ocsp_signing = "ocspSigning",
}

local subject_fields = {
  C = "countryCode", ST = "province", L = "locality",
  street = "streetAddress", postalCode = "postalCode", O = "organization",
  OU = "organizationalUnit", CN = "commonName",
}

local ANY = "2.5.29.37.0"

local function object_id(oid)
  local path = list({})
  for number in oid:gmatch("%d+") do path[#path + 1] = tonumber(number) end
  return { objectIdPath = path }
end

local function usage_of(profile)
  local base, known, unknown = {}, {}, list({})
  for _, name in ipairs(profile.key_usage or {}) do
    base[key_usages[name] or name] = true
  end
  for _, name in ipairs(profile.extended_key_usage or {}) do
    if extended[name] then
      known[extended[name]] = true
    else
      unknown[#unknown + 1] = object_id(name == "any" and ANY or name)
    end
  end
  local usage = { baseKeyUsage = base, extendedKeyUsage = known }
  if unknown[1] then usage.unknownExtendedKeyUsages = unknown end
  return usage
end

local function subject_of(profile)
  local subject = {}
  for _, part in ipairs(profile.subject or {}) do
    subject[subject_fields[part[1]] or part[1]] = part[2]
  end
  return subject
end

local function names_of(san)
  if not san then return nil end
  if san.type == "email" then
    return { emailAddresses = list({ san.value }) }
  elseif san.type == "uri" then
    return { uris = list({ san.value }) }
  end
  return { customSans = list({ {
    objectId = object_id(san.oid), critical = false,
    value = engine.bytes.base64(assert(engine.extension.utf8(san.value))),
  } }) }
end

local function extensions_of(profile)
  local found = list({})
  for i, extension in ipairs(profile.extensions or {}) do
    local text = profile.texts and profile.texts[i] or extension.text
    local value = extension.value or extension.raw and text
      or assert(engine.extension.utf8(text))
    found[i] = {
      objectId = object_id(extension.oid),
      critical = extension.critical or false,
      value = engine.bytes.base64(value),
    }
  end
  return found
end

local function options_of(profile)
  if profile.ca == nil then return nil end
  return { isCa = profile.ca, maxIssuerPathLength = profile.path_length }
end

local M = {}

--- A new UUID (RFC 9562, version 4), as Google wants a requestId.
function M.uuid()
  local hex = engine.bytes.hex(engine.bytes.random(16))
  local variant = ("89ab"):sub(hex:byte(17) % 4 + 1, hex:byte(17) % 4 + 1)
  return table.concat({ hex:sub(1, 8), hex:sub(9, 12), "4" .. hex:sub(14, 16),
                        variant .. hex:sub(18, 20), hex:sub(21) }, "-")
end

--- JSON text of a certificate with the profile that engine.draft.new takes.
function M.body(profile)
  return json.encode({
    lifetime = ("%ds"):format(profile.not_after - profile.not_before),
    config = {
      publicKey = { format = "PEM",
                    key = engine.bytes.base64(profile.key:pem()) },
      subjectConfig = { subject = subject_of(profile),
                        subjectAltName = names_of(profile.san) },
      x509Config = {
        keyUsage = usage_of(profile),
        caOptions = options_of(profile),
        additionalExtensions = extensions_of(profile),
      },
    },
  })
end

return M
