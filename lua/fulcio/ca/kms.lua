--- A CA whose key is in a key service and whose chain is a file. The
--- service signs digests; certificates are written here, so that SCTs are
--- embedded.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")
local options = require("fulcio.options")
local shelf = require("fulcio.shelf")

-- Seconds for a signature, for the start, and between looks at a token's
-- end; how long an answer of `ready` holds, and a bad one.
local BUDGET, START, TEND, GOOD, BAD = 4, 9, 5, 30, 2
-- One signature in so many is verified, once one has been good.
local SAMPLE = 64

local providers = {
  openbao = "fulcio.kms.openbao", hashivault = "fulcio.kms.openbao",
  awskms = "fulcio.kms.aws", gcpkms = "fulcio.kms.gcp",
  azurekms = "fulcio.kms.azure",
}

-- What a key signs with, as draft.lua writes it into certificates.
local hashes = { ["P-256"] = "SHA-256", ["P-384"] = "SHA-384",
                 ["P-521"] = "SHA-512" }

local Kms = {}
Kms.__index = Kms

local function monotonic() return engine.system.monotonic() end

-- Whether this signature is one to verify: each until one was good, since
-- the service was last away, then a sample.
local function is_due(self)
  self.count = self.count + 1
  return self.all or not self.proven or self.count % SAMPLE == 0
end

local function sign(self, text, deadline)
  local digest = engine.bytes.digest(text, self.hash)
  local signature, message, code, seconds = self.signer:sign(digest,
    self.hash, deadline, text)
  if not signature then
    self.proven = false
    self.asked = nil
    return nil, message, code, seconds
  end
  if is_due(self) then
    local ok = self.public:verify(text, signature, self.hash)
    self.proven = ok == true
    if not ok then
      return nil, self.signer.name .. ": its signature does not verify",
        "sign_failed"
    end
  end
  return signature
end

--- Signs a TBSCertificate: DER; nil, message, code, and seconds where the
--- service says when to come back.
function Kms:sign(tbs)
  local signature, message, code, seconds = sign(self, tbs,
                                                 monotonic() + BUDGET)
  if not signature then return nil, message, code, seconds end
  return engine.draft.join(tbs, signature)
end

--- Begins in a worker, where tokens are kept alive.
function Kms:start()
  local signer = self.signer
  if signer.on_loop then signer:on_loop(engine.server) end
  if not signer.tend then return end
  engine.server.spawn(function()
    while not engine.server.stopping() do
      signer:tend(monotonic() + BUDGET)
      engine.server.sleep(TEND)
    end
  end)
end

--- Every chain that a verifier may need.
function Kms:bundle()
  return { self.chain }
end

--- Whether it can sign what lives for `seconds`; nil and why not.
function Kms:ready(seconds)
  if not self.signer then return nil, "the key service is closed" end
  if engine.system.now() + seconds > self.expires then
    return nil, "the CA's chain ends "
      .. os.date("!%Y-%m-%dT%H:%M:%SZ", self.expires)
  end
  local asked, now = self.asked, monotonic()
  if not asked or now > asked.good_until then
    -- Others get the last answer meanwhile.
    self.asked = { ok = asked == nil or asked.ok,
                   message = asked and asked.message,
                   good_until = now + BUDGET }
    local signature, message = sign(self, "fulcio ready", now + BUDGET)
    self.asked = { ok = signature ~= nil, message = message,
                   good_until = now + (signature and GOOD or BAD) }
  end
  if self.asked.ok then return true end
  return nil, self.asked.message
end

--- Lets go of the service's token: for a process that must not have it.
function Kms:close()
  self.signer = nil
  collectgarbage()
end

local function read_chain(settings)
  local path = settings.kms_cert_chain_path
  if path == "" then
    return nil, "--kms-cert-chain-path must be set when using kmsca"
  end
  local text, message = shelf.read(path)
  if not text then return nil, "--kms-cert-chain-path: " .. message end
  local certificates, public, ok
  certificates, message = engine.x509.parse(text)
  if not certificates then return nil, path .. ": " .. message end
  public, message = certificates[1]:pkey()
  if public then
    ok, message = chain.check(certificates, public, engine.system.now())
  end
  if not ok then return nil, path .. ": " .. message end
  return certificates, public
end

local function hash_of(public)
  local hash = public.kind == "RSA" and "SHA-256" or hashes[public.name]
  if hash then return hash end
  return nil, ("--kms-cert-chain-path: a key service does not sign digests"
    .. " with a key of kind %s"):format(public.name)
end

local function open_signer(settings)
  local resource = settings.kms_resource
  if resource == "" then
    return nil, "--kms-resource must be set when using kmsca"
  end
  local provider = providers[resource:match("^(%l+)://") or ""]
  if not provider then
    return nil, ("--kms-resource: %q begins with none of openbao://,"
      .. " hashivault://, awskms://, gcpkms:// and azurekms://")
      :format(resource)
  end
  return require(provider).open(resource,
    settings.environment or options.environment(), settings)
end

local M = {}

--- Opens the key of `options`: it is there, is the chain's first
--- certificate's, and signs. nil and a message.
function M.open(settings)
  local certificates, public = read_chain(settings)
  if not certificates then return nil, public end
  local hash, message = hash_of(public)
  if not hash then return nil, message end
  local signer, ok
  signer, message = open_signer(settings)
  if not signer then return nil, message end
  ok, message = signer:bind(public, monotonic() + START)
  if not ok then return nil, "--kms-resource: " .. message end
  local self = setmetatable({
    chain = certificates, public = public, hash = hash, embeds = true,
    expires = chain.expires(certificates), signer = signer, count = 0,
    all = settings.verify_signatures == "all",
  }, Kms)
  ok, message = self:ready(0)
  if not ok then return nil, "--kms-resource: " .. message end
  return self
end

return M
