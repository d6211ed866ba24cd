--- Keys, signatures and requests made with OpenSSL's own command, so that
--- what we verify was not made by what verifies it.

local engine = require("fulcio.engine")
local files = require("spec.files")

local read = files.read

local PSS = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1"

local directory
local made = {}

local function write(name, bytes)
  local path = directory .. "/" .. name
  files.write(path, bytes)
  return path
end

local function run(command, ...)
  local line = command:format(...) .. " 2>" .. directory .. "/stderr"
  if not os.execute(line) then
    error(line .. "\n" .. read(directory .. "/stderr"), 0)
  end
end

-- genpkey's arguments for a key's name, or nil.
local function arguments(name)
  local curve = name:match("^ecdsa%-(%w+)$")
  if curve then
    local nist = curve:match("^p(%d+)$")
    return "EC -pkeyopt ec_paramgen_curve:"
      .. (nist and "P-" .. nist or curve)
  end
  local bits, e = name:match("^rsa%-(%d+)(.*)$")
  if bits and (e == "" or e:find("^%-e%d+$")) then
    local exponent = e:match("%d+")
    return "RSA -pkeyopt rsa_keygen_bits:" .. bits .. (exponent
      and " -pkeyopt rsa_keygen_pubexp:" .. exponent or "")
  end
  if name == "ed25519" or name == "ed448" then return name end
end

local M = {}

--- The path of a private key by the recordings' name for its kind, made
--- once; nil and why when nothing is known by that name.
function M.key(name)
  local how = arguments(name)
  if not how then return nil, "no key is known as " .. name end
  if not directory then
    local pipe = io.popen("mktemp -d")
    directory = pipe:read("*l")
    pipe:close()
  end
  if not made[name] then
    local private = directory .. "/" .. name .. ".pem"
    run("openssl genpkey -quiet -algorithm %s -out %s", how, private)
    made[name] = private
  end
  return made[name]
end

--- The public half: "PEM", "DER" (both SPKI) or "PKCS1" (PEM).
function M.public(key, form)
  local output = directory .. "/public"
  if form == "PKCS1" then
    run("openssl rsa -in %s -RSAPublicKey_out -out %s", key, output)
  else
    run("openssl pkey -in %s -pubout -outform %s -out %s", key, form, output)
  end
  return read(output)
end

--- A signature with a hash; `pss` instead of PKCS#1 v1.5.
function M.sign(key, data, hash, pss)
  local output = directory .. "/output"
  run("openssl dgst -%s %s -sign %s -out %s %s", hash, pss and PSS or "",
      key, output, write("input", data))
  return read(output)
end

--- A signature without one: Ed25519, Ed448.
function M.sign_pure(key, data)
  local output = directory .. "/output"
  run("openssl pkeyutl -sign -rawin -inkey %s -in %s -out %s", key,
      write("input", data), output)
  return read(output)
end

--- The digest of some data.
function M.digest(data, hash)
  local output = directory .. "/output"
  run("openssl dgst -%s -binary -out %s %s", hash, output,
      write("input", data))
  return read(output)
end

--- A DER ECDSA signature as r||s (IEEE P1363), `width` bytes each.
function M.raw(der, width)
  local from = der:byte(2) >= 128 and 4 or 3
  local out = ""
  for _ = 1, 2 do
    local size = der:byte(from + 1)
    local number = der:sub(from + 2, from + 1 + size):gsub("^%z+", "")
    out = out .. ("\0"):rep(width - #number) .. number
    from = from + 2 + size
  end
  return out
end

--- A certificate signing request, "PEM" or "DER".
function M.request(key, hash, pss, form)
  local config = write("config",
    "[req]\ndistinguished_name=n\nprompt=no\n[n]\nCN=x\n")
  run("openssl req -new -config %s -key %s %s %s -out %s/request", config,
      key, hash and "-" .. hash or "", pss and PSS or "", directory)
  local pem = read(directory .. "/request")
  if form ~= "DER" then return pem end
  return engine.bytes.unbase64((pem:gsub("%-%-+[^\n]*", "")
    :gsub("%s", "")))
end

--- Removes the keys.
function M.finish()
  if directory then os.execute("rm -rf " .. directory) end
  directory, made = nil, {}
end

return M
