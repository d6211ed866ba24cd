--- Makes a certificate authority in files: a root, and an intermediate that
--- signs. The root's key is not kept.
---
--- Usage: build/fulcio run examples/authority.lua DIR [ORGANISATION]
--- Writes DIR/chain.pem, DIR/key.pem (for --fileca-cert, --fileca-key) and
--- DIR/root.pem (for those who verify).
local engine = require("fulcio.engine")

local YEAR = 365 * 24 * 3600

local directory, organisation = ...
organisation = organisation or "fulcio development"

local function certificate(profile)
  local now = engine.system.now()
  profile.not_before, profile.not_after = now - 60, now + 10 * YEAR
  profile.ca = true
  profile.key_usage = { "cert_sign", "crl_sign" }
  local draft = assert(engine.draft.new(profile))
  local der = assert(engine.draft.sign(draft:plain(), profile.signer))
  return assert(engine.x509.parse(der))[1]
end

local root_key = assert(engine.pkey.generate("P-256"))
local root = certificate({ key = root_key, signer = root_key, path_length = 1,
  subject = { { "O", organisation }, { "CN", organisation .. " root" } } })

local key = assert(engine.pkey.generate("P-256"))
local intermediate = certificate({ key = key, signer = root_key, issuer = root,
  path_length = 0, extended_key_usage = { "code_signing" },
  subject = { { "O", organisation }, { "CN", organisation .. " CA" } } })

assert(engine.system.mkdir(directory))
assert(key:save(directory .. "/key.pem"))
assert(engine.system.write(directory .. "/root.pem", root.pem))
assert(engine.system.write(directory .. "/chain.pem",
  intermediate.pem .. root.pem))
