--- A CA whose chain and key are PEM files.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")
local software = require("fulcio.ca.software")

local MAX_CHAIN = 1048576  -- bytes

local function required(options)
  for _, name in ipairs({ "fileca-cert", "fileca-key" }) do
    if (options[name:gsub("-", "_")] or "") == "" then
      return nil, ("--%s must be set when using fileca"):format(name)
    end
  end
  if options.fileca_key:find("^pkcs11:") then
    return nil, "--fileca-key names a key in an HSM: use --ca pkcs11ca"
      .. " --hsm-key-label 'pkcs11:…' --aws-hsm-root-ca-path CHAIN"
  end
  return true
end

local function read(path)
  local found = engine.system.stat(path)
  if found and (found.kind ~= "file" or found.size > MAX_CHAIN) then
    return nil, path .. ": is no file of at most 1 MiB"
  end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read("*a")
  file:close()
  if not text then return nil, path .. ": cannot be read" end
  return text
end

local function stamp(path)
  local found = engine.system.stat(path)
  return found and found.stamp or "none"
end

local function paired(certificates, key, pem)
  local ca = software.new(certificates, key)
  ca.pem = pem
  return ca
end

local M = {}

--- A text that changes when either file does.
function M.stamp(options)
  return stamp(options.fileca_cert) .. " " .. stamp(options.fileca_key)
end

--- Opens `fileca_cert` and `fileca_key`, which must belong together and
--- form a chain that may sign code signing certificates now. nil and a
--- message naming the file.
function M.open(options)
  local ok, message = required(options)
  if not ok then return nil, message end
  local pem, certificates, key
  pem, message = read(options.fileca_cert)
  if not pem then return nil, message end
  certificates, message = engine.x509.parse(pem)
  if not certificates then
    return nil, ("%s: %s"):format(options.fileca_cert, message)
  end
  key, message = engine.pkey.open(options.fileca_key,
                                  options.fileca_key_passwd)
  if not key then return nil, message end
  ok, message = chain.check(certificates, key, engine.system.now())
  if not ok then
    return nil, ("%s: %s"):format(options.fileca_cert, message)
  end
  return paired(certificates, key, pem)
end

--- The key of an opened CA as a text that only `seal` makes a key again;
--- nil and a message.
function M.seal(ca, seal)
  local bytes, message = seal:shut(ca.key)
  if not bytes then return nil, message end
  return engine.bytes.base64(bytes)
end

--- The CA that another process has opened, of its chain and sealed key: what
--- that one has checked is not judged again, so all have the same, whatever
--- is in the files by now. nil and a message.
function M.take(pem, sealed, seal)
  local certificates, key, message
  certificates, message = engine.x509.parse(pem)
  if not certificates then return nil, message end
  key, message = seal:open(engine.bytes.unbase64(sealed) or "")
  if not key then return nil, message end
  return paired(certificates, key, pem)
end

return M
