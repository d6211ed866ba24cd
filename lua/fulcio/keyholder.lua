--- Where createca's key is, and where its certificate goes: a token, or a
--- file.

local engine = require("fulcio.engine")
local hsm = require("fulcio.hsm")

-- Fulcio's, for what a URI names by its ID alone.
local LABEL = "PKCS11CA"

-- token ------------------------------------------------------------------

local Token = {}
Token.__index = Token

-- DER of an INTEGER from its hexadecimal digits.
local function serial_der(serial)
  if #serial % 2 == 1 then serial = "0" .. serial end
  local bytes = serial:gsub("..", function(pair)
    return string.char(tonumber(pair, 16))
  end)
  if bytes:byte(1) >= 128 then bytes = "\0" .. bytes end
  return "\2" .. string.char(#bytes) .. bytes
end

-- The signing certificate gets the operator's ID, the others their own.
local function store(holder, certificate, id)
  return holder.token:store({
    id = id, label = holder.label, der = certificate.der,
    subject = certificate.subject_der, issuer = certificate.issuer_der,
    serial = serial_der(certificate.serial),
  })
end

--- Stores a chain in the token, unless it takes no certificates.
function Token:store(chain)
  if not self.keeps then
    io.stderr:write("the certificate is not in the HSM: give it to fulcio",
                    " serve with --aws-hsm-root-ca-path FILE\n")
    return true
  end
  for i, certificate in ipairs(chain) do
    local ok, message = store(self, certificate, i == 1 and self.id
      or certificate.ski or certificate.fingerprint)
    if not ok then return nil, message end
  end
  return true
end

local function unused(token, id)
  local found, message = token:certificates({ id = id })
  if not found then return nil, message end
  if not found[1] then return true end
  return nil, ('there is a certificate with CKA_ID "%s" in the token'
               .. " already: choose another --hsm-caroot-id"):format(id)
end

local function generate(token, settings, name)
  if settings.generate_key == "" then return true end
  if token:key(name) then
    return nil, ('there is a key "%s" in the token already: leave out'
                 .. " --generate-key to use it"):format(name.label or name.id)
  end
  return token:generate({ algorithm = settings.generate_key,
    label = name.label or LABEL, id = name.id or settings.hsm_caroot_id })
end

local function open_token(settings)
  local where, name = hsm.named(settings)
  if not where then return nil, name end
  local token, message = engine.pkcs11.open(where)
  if not token then return nil, message end
  local keeps = settings.hsm ~= "aws" and token:info().certificates
  if not keeps and settings.out == "" then
    return nil, "--out must be set: the HSM keeps no certificates"
  end
  local ok, key = true, nil
  if keeps and not settings.csr then
    ok, message = unused(token, settings.hsm_caroot_id)
  end
  if ok then ok, message = generate(token, settings, name) end
  if ok then key, message = token:key(name) end
  if not key then return nil, message end
  return setmetatable({
    token = token, key = key, keeps = keeps, label = name.label or LABEL,
    id = settings.hsm_caroot_id,
  }, Token)
end

-- file -------------------------------------------------------------------

local File = {}
File.__index = File

--- Nothing more to do: the certificate is in --out.
function File.store()
  return true
end

local function make_file(settings)
  local algorithm = settings.generate_key
  if algorithm == "" then algorithm = "P-256" end
  local key, message = engine.pkey.generate(algorithm)
  if not key then return nil, message end
  local ok
  ok, message = key:save(settings.key, settings.key_passwd)
  if ok then return key end
  return nil, message
end

local function open_file(settings)
  if settings.out == "" then
    return nil, "--out must be set: the certificate goes there"
  end
  local key, message
  if engine.system.stat(settings.key) then
    if settings.generate_key ~= "" then
      return nil, ("--key: %s is there already and is not overwritten: leave"
                   .. " out --generate-key to use it"):format(settings.key)
    end
    key, message = engine.pkey.open(settings.key, settings.key_passwd)
  else
    key, message = make_file(settings)
  end
  if not key then return nil, "--key: " .. message end
  return setmetatable({ key = key }, File)
end

local M = {}

--- Opens the key that createca's flags name: { key, store }; nil and a
--- message.
function M.open(settings)
  local algorithm = settings.generate_key
  local known = { [""] = true, ["P-256"] = true, ["P-384"] = true,
                  ["P-521"] = true, ["RSA-2048"] = true,
                  ["RSA-3072"] = true, ["RSA-4096"] = true,
                  Ed25519 = true }
  if not known[algorithm] then
    return nil, ("--generate-key: unknown algorithm %q"):format(algorithm)
  end
  if settings.key ~= "" then return open_file(settings) end
  return open_token(settings)
end

return M
