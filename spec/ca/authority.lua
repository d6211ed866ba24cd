--- Certificates and key files for the specs of CA backends.

local engine = require("fulcio.engine")

local YEAR = 365 * 86400

local M = {}

--- A CA certificate: { certificate, key }. `above` signs it (nil: itself);
--- `changes` go to engine.draft.new.
function M.certificate(name, above, changes)
  local now = engine.system.now()
  local key = changes and changes.key or assert(engine.pkey.generate("P-256"))
  local profile = {
    key = key, signer = above and above.key or key,
    issuer = above and above.certificate,
    subject = { { "O", "spec" }, { "CN", name } }, ca = true,
    key_usage = { "cert_sign", "crl_sign" },
    not_before = now - 60, not_after = now + YEAR,
  }
  for field, value in pairs(changes or {}) do profile[field] = value end
  if profile.ca == false then profile.ca = nil end
  local draft = assert(engine.draft.new(profile))
  local der = assert(engine.draft.sign(draft:plain(), profile.signer))
  return { certificate = assert(engine.x509.parse(der))[1], key = key }
end

--- Root and intermediate, the intermediate first.
function M.pair(changes)
  local root = M.certificate("root")
  local usual = { extended_key_usage = { "code_signing" }, path_length = 0 }
  for field, value in pairs(changes or {}) do usual[field] = value end
  return M.certificate("intermediate", root, usual), root
end

--- An empty directory that is removed when the test is over.
function M.directory()
  local path = os.tmpname()
  os.remove(path)
  assert(engine.system.mkdir(path))
  return path, function() os.execute("rm -rf '" .. path .. "'") end
end

--- Writes chain.pem and key.pem; returns the options that name them.
function M.files(directory, entries, key)
  local pems = {}
  for i, entry in ipairs(entries) do pems[i] = entry.certificate.pem end
  local options = { fileca_cert = directory .. "/chain.pem",
                    fileca_key = directory .. "/key.pem" }
  os.remove(options.fileca_key)
  assert(engine.system.write(options.fileca_cert, table.concat(pems)))
  assert((key or entries[1].key):save(options.fileca_key))
  return options
end

return M
