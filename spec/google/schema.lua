--- Checks JSON as Google's front end does: unknown names and wrong types are
--- refused in its words.

local engine = require("fulcio.engine")

local M = {}
local messages = {}

local scalars = {
  string = function(value) return type(value) == "string" end,
  bool = function(value) return type(value) == "boolean" end,
  int = function(value)
    local number = tonumber(value)
    return number ~= nil and number % 1 == 0 and number >= -2147483648
      and number <= 2147483647
  end,
  bytes = function(value)
    return type(value) == "string" and engine.bytes.unbase64(value) ~= nil
  end,
  duration = function(value)
    return type(value) == "string"
      and value:find("^%-?%d+%.?%d*s$") ~= nil
  end,
  enum = function(value)
    return type(value) == "string" or type(value) == "number"
  end,
  map = function(value) return type(value) == "table" end,
}

local function unknown(name, path)
  return ("Invalid JSON payload received. Unknown name %q at '%s': Cannot"
    .. " find field."):format(name, path), path
end

local function invalid(value, path, kind)
  return ("Invalid value at '%s' (TYPE_%s), %q"):format(path, kind:upper(),
    tostring(value)), path
end

local check_message

local function check_value(value, kind, path)
  if scalars[kind] then
    if scalars[kind](value) then return nil end
    return invalid(value, path, kind)
  end
  if type(value) ~= "table" or value[1] ~= nil then
    return invalid(value, path, "message")
  end
  return check_message(value, kind, path)
end

local function check_field(value, kind, path)
  local element = kind:match("^repeated (.*)$")
  if not element then return check_value(value, kind, path) end
  if type(value) ~= "table" then return invalid(value, path, "array") end
  for i, one in ipairs(value) do
    local wrong, where = check_value(one, element,
                                     ("%s[%d]"):format(path, i - 1))
    if wrong then return wrong, where end
  end
end

-- Names in sorted order, so that the first error is always the same.
function check_message(value, kind, path)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local field = messages[kind][name]
    if not field then return unknown(name, path) end
    local under = path .. "." .. name:gsub("%u", function(upper)
      return "_" .. upper:lower()
    end)
    local wrong, where = check_field(value[name], field, under)
    if wrong then return wrong, where end
  end
end

messages.Certificate = {
  name = "string", pemCsr = "string", config = "CertificateConfig",
  lifetime = "duration", certificateTemplate = "string",
  subjectMode = "enum", labels = "map", requestedNotBeforeTime = "string",
}
messages.CertificateConfig = {
  subjectConfig = "SubjectConfig", x509Config = "X509Parameters",
  publicKey = "PublicKey", subjectKeyId = "KeyId",
}
messages.KeyId = { keyId = "string" }
messages.PublicKey = { key = "bytes", format = "enum" }
messages.SubjectConfig = {
  subject = "Subject", subjectAltName = "SubjectAltNames",
}
messages.Subject = {
  commonName = "string", countryCode = "string", organization = "string",
  organizationalUnit = "string", locality = "string", province = "string",
  streetAddress = "string", postalCode = "string", rdnSequence = "map",
}
messages.SubjectAltNames = {
  dnsNames = "repeated string", uris = "repeated string",
  emailAddresses = "repeated string", ipAddresses = "repeated string",
  customSans = "repeated X509Extension",
}
messages.X509Extension = {
  objectId = "ObjectId", critical = "bool", value = "bytes",
}
messages.ObjectId = { objectIdPath = "repeated int" }
messages.X509Parameters = {
  keyUsage = "KeyUsage", caOptions = "CaOptions",
  policyIds = "repeated ObjectId", aiaOcspServers = "repeated string",
  nameConstraints = "map", additionalExtensions = "repeated X509Extension",
}
messages.CaOptions = { isCa = "bool", maxIssuerPathLength = "int" }
messages.KeyUsage = {
  baseKeyUsage = "KeyUsageOptions",
  extendedKeyUsage = "ExtendedKeyUsageOptions",
  unknownExtendedKeyUsages = "repeated ObjectId",
}
messages.KeyUsageOptions = {
  digitalSignature = "bool", contentCommitment = "bool",
  keyEncipherment = "bool", dataEncipherment = "bool",
  keyAgreement = "bool", certSign = "bool", crlSign = "bool",
  encipherOnly = "bool", decipherOnly = "bool",
}
messages.ExtendedKeyUsageOptions = {
  serverAuth = "bool", clientAuth = "bool", codeSigning = "bool",
  emailProtection = "bool", timeStamping = "bool", ocspSigning = "bool",
}

--- nil when a Certificate is well formed; else a message and the field.
function M.certificate(value)
  return check_message(value, "Certificate", "certificate")
end

return M
