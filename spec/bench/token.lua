--- A CA in SoftHSM for the bench, and what one raw signature of it costs.

local files = require("spec.files")

local build = os.getenv("BUILD") or "build"

local MODULE = "/usr/lib/softhsm/libsofthsm2.so"
local PIN = "12345678"

local sizes = { ["P-256"] = 32, ["P-384"] = 48 }

local write = files.write

local M = {}

local function output(directory, command)
  local pipe = assert(io.popen(("SOFTHSM2_CONF='%s/softhsm2.conf' %s 2>&1")
    :format(directory, command)))
  local text = pipe:read("a")
  assert(pipe:close(), text)
  return text
end

--- Makes the token, its key and its root, which goes to ca/chain.pem.
function M.prepare(directory, algorithm)
  assert(os.execute(("mkdir -p %s/tokens %s/ca"):format(directory,
                                                        directory)))
  write(directory .. "/softhsm2.conf", "directories.tokendir = " .. directory
    .. "/tokens\nlog.level = ERROR\n")
  write(directory .. "/crypto11.conf", ('{"Path":"%s","TokenLabel":"bench",'
    .. '"Pin":"%s"}'):format(MODULE, PIN))
  output(directory, "softhsm2-util --init-token --free --label bench --pin "
    .. PIN .. " --so-pin 00000000")
  output(directory, ("%s/fulcio createca --hsm-caroot-id 99 --generate-key %s"
    .. " --pkcs11-config-path %s/crypto11.conf --out %s/ca/chain.pem")
    :format(build, algorithm, directory, directory))
end

--- What `serve` is started with: words before it, and flags.
function M.words(directory)
  return { "env", "SOFTHSM2_CONF=" .. directory .. "/softhsm2.conf" },
    { "--ca", "pkcs11ca", "--hsm-caroot-id", "99", "--pkcs11-config-path",
      directory .. "/crypto11.conf" }
end

--- CPU seconds of C_SignInit and C_Sign, a mean over so many seconds.
function M.signature(directory, algorithm, seconds)
  return assert(tonumber((output(directory,
    ("%s/hsm_speed %s PKCS11CA %s %d %g"):format(build, MODULE, PIN,
      sizes[algorithm], seconds)))))
end

return M
