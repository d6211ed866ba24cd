--- A CA whose key is in an HSM.
---
--- The supervisor never loads a PKCS#11 module (a fork would break it): it
--- has everything checked in a child process and keeps the chain alone.
--- Each worker logs in for itself.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")
local hsm = require("fulcio.hsm")
local shelf = require("fulcio.shelf")

-- Seconds between attempts to log in, after the HSM was away at start.
local RETRY = 1

local Hsm = {}
Hsm.__index = Hsm

local function parse_all(ders)
  local list = {}
  for _, der in ipairs(ders) do
    local found = engine.x509.parse(der)
    if found then list[#list + 1] = found[1] end
  end
  return list
end

-- From a certificate up to its root, among those the token keeps.
local function climb(first, others)
  local path, current = { first }, first
  while current.subject_der ~= current.issuer_der do
    local above
    for _, other in ipairs(others) do
      if other.subject_der == current.issuer_der
         and other:signed(current.der) then
        above = other
      end
    end
    if not above or #path > 8 then return path end
    path[#path + 1], current = above, above
  end
  return path
end

local function chain_in_token(token, id)
  local found, message = token:certificates({ id = id })
  if not found then return nil, message end
  if not found[1] then
    return nil, ('no certificate with CKA_ID "%s" in the token: make one'
                 .. " with fulcio createca"):format(id)
  end
  local all
  all, message = token:certificates({})
  if not all then return nil, message end
  local first = engine.x509.parse(found[1])
  if not first then return nil, "the certificate cannot be parsed" end
  return climb(first[1], parse_all(all))
end

local function chain_in_file(path)
  local text, message = shelf.read(path)
  if not text then return nil, message end
  local certificates
  certificates, message = engine.x509.parse(text)
  if certificates then return certificates end
  return nil, path .. ": " .. message
end

local function read_chain(token, options)
  if options.aws_hsm_root_ca_path ~= "" then
    return chain_in_file(options.aws_hsm_root_ca_path)
  end
  return chain_in_token(token, options.hsm_caroot_id)
end

-- Opens token, chain and key: { token, chain, key }; nil, message, code.
local function connect(options)
  local settings, name = hsm.named(options)
  if not settings then return nil, name end
  settings.lock = options.data_dir .. "/pkcs11.lock"
  settings.verify = options.verify_signatures
  local token, message, code = engine.pkcs11.open(settings)
  if not token then return nil, message, code end
  local certificates, key
  certificates, message, code = read_chain(token, options)
  if not certificates then return nil, message, code end
  name.public = certificates[1]:pkey()
  key, message, code = token:key(name)
  if not key then return nil, message, code end
  return { token = token, chain = certificates, key = key }
end

-- What a start must be sure of; the chain as PEM.
local function prove(options)
  local found, message, code = connect(options)
  if not found then return nil, message, code end
  local ok
  ok, message = chain.check(found.chain, found.key, engine.system.now())
  if not ok then return nil, message, "bad_chain" end
  local text = "fulcio start " .. engine.system.now()
  local signature
  signature, message, code = found.key:sign(text)
  if not signature then return nil, message, code end
  ok, message = found.chain[1]:pkey():verify(text, signature)
  if not ok then return nil, "a test signature: " .. message end
  local pems = {}
  for i, certificate in ipairs(found.chain) do pems[i] = certificate.pem end
  found.token:close()
  return table.concat(pems)
end

-- Logs in when it is time to; nil, message, code while there is no key.
local function attach(ca)
  if ca.key then return true end
  local now = engine.system.monotonic()
  if ca.refused or now < ca.retry_at then return nil, ca.why, ca.code end
  ca.retry_at = now + RETRY
  local found
  found, ca.why, ca.code = connect(ca.options)
  if found then
    ca.token, ca.key = found.token, found.key
    return true
  end
  -- A PIN that was refused once is never tried again.
  ca.refused = ca.code == "bad_pin" or ca.code == "pin_locked"
  return nil, ca.why, ca.code
end

--- Logs in, in a worker; a token that is away is tried again when a
--- certificate is asked for.
function Hsm:start()
  attach(self)
end

--- Signs a TBSCertificate: DER; nil, message, code.
function Hsm:sign(tbs)
  local ok, message, code = attach(self)
  if not ok then return nil, message, code end
  return engine.draft.sign(tbs, self.key)
end

--- Every chain that a verifier may need.
function Hsm:bundle()
  return { self.chain }
end

--- Whether it can sign what lives for `seconds`; nil and why not.
function Hsm:ready(seconds)
  local ok, message = attach(self)
  if ok then ok, message = self.token:ready() end
  if not ok then return nil, message end
  if engine.system.now() + seconds <= self.expires then return true end
  return nil, "the CA's chain ends "
    .. os.date("!%Y-%m-%dT%H:%M:%SZ", self.expires)
end

--- Nothing to let go of: the supervisor has no key.
function Hsm:close()
  if self.token then self.token:close() end
  self.token, self.key = nil, nil
end

local M = {}

--- Checks the HSM of `options` in a child process: the key is there, is
--- the certificate's, and signs. nil and a message.
function M.open(options)
  if options.hsm_caroot_id == "" and options.aws_hsm_root_ca_path == "" then
    return nil, "--hsm-caroot-id must be set when using pkcs11ca"
  end
  local ok, message = engine.system.mkdir(options.data_dir)
  if not ok then return nil, "--data-dir: " .. message end
  local pem, wrong = engine.system.apart(function() return prove(options) end)
  if not pem then return nil, "--ca pkcs11ca: " .. wrong end
  local certificates = engine.x509.parse(pem)
  return setmetatable({
    chain = certificates, embeds = true, pem = pem, options = options,
    expires = chain.expires(certificates), retry_at = 0,
  }, Hsm)
end

return M
