--- A CA whose key is made at start and is nowhere but in memory.

local engine = require("fulcio.engine")
local software = require("fulcio.ca.software")

local LIFETIME = 10 * 365 * 86400

-- The subject that Fulcio's own ephemeralca has, but for its "USA": a
-- country has two letters (X.520).
local subject = {
  { "C", "US" }, { "ST", "WA" }, { "L", "Kirkland" },
  { "street", "767 6th St S" }, { "postalCode", "98033" },
  { "O", "sigstore" },
}

local function root(key, now)
  local draft, message = engine.draft.new({
    key = key, subject = subject, ca = true, path_length = 1,
    key_usage = { "cert_sign", "crl_sign" },
    not_before = now, not_after = now + LIFETIME,
  })
  if not draft then return nil, message end
  local der, why = engine.draft.sign(draft:plain(), key)
  if not der then return nil, why end
  return engine.x509.parse(der)
end

local M = {}

--- Makes a P-256 key and its root, for ten years; nil and a message.
function M.open()
  local key, message = engine.pkey.generate("P-256")
  if not key then return nil, message end
  local certificates, why = root(key, engine.system.now())
  if not certificates then return nil, why end
  return software.new(certificates, key)
end

return M
