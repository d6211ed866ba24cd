--- SoftHSM tokens for specs, and Lua that runs in a process of its own with
--- one: a PKCS#11 module reads its environment when it is loaded.
local files = require("spec.files")
local process = require("spec.process")

local write = files.write

local Token = {}
Token.__index = Token

local M = {}

--- SoftHSM's library.
M.softhsm = "/usr/lib/softhsm/libsofthsm2.so"
--- p11-kit's client, which speaks to a server over a socket.
M.remote = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
--- The module that behaves as other vendors' do.
M.shim = (os.getenv("BUILD") or "build") .. "/hsm_shim.so"
M.pin = "12345678"

-- Modules leak by themselves (SoftHSM 37 bytes an EdDSA signature, NSS its
-- tables), and are gone when the sanitizer looks who it was.
local NO_LEAKS = "detect_leaks=0"

--- Environment in which known leaks of a module, and no others, are no
--- findings: see the file.
M.known_leaks = {
  ASAN_OPTIONS = "fast_unwind_on_malloc=0",
  LSAN_OPTIONS = "print_suppressions=0:suppressions=spec/hsm/softhsm.supp",
}

local PRELUDE = [[
package.path = "./lua/?.lua;./?.lua;" .. package.path
package.cpath = "%s/module/?.so;" .. package.cpath
local engine = require("fulcio.engine")
local function open(options)
  options.module = options.module or "%s"
  options.label = options.label or "%s"
  options.pin = options.pin or "%s"
  options.init = %s
  return engine.pkcs11.open(options)
end
]]

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a shell command in the token's environment: what it printed, and
--- whether it succeeded.
function Token:shell(command, more)
  local words = { "env" }
  for _, from in ipairs({ self.environment, more or {} }) do
    for name, value in pairs(from) do
      words[#words + 1] = quoted(name .. "=" .. value)
    end
  end
  words[#words + 1] = "sh -c " .. quoted(command .. " 2>&1")
  local pipe = io.popen(table.concat(words, " "))
  local output = pipe:read("a")
  return output, pipe:close() == true
end

function Token:prelude()
  return PRELUDE:format(os.getenv("BUILD") or "build", self.module,
    self.label or "spec", M.pin,
    self.init and ("%q"):format(self.init) or "nil")
end

--- Runs Lua in its own process, with `engine` and `open` at hand; what it
--- printed. Throws when it fails.
function Token:lua(code, more)
  local path = self.directory .. "/run.lua"
  write(path, self:prelude() .. code)
  local output, ok = self:shell("exec lua5.4 " .. quoted(path), more)
  if not ok then error(output, 2) end
  return (output:gsub("\n$", ""))
end

-- Remembers a process that ends with the token.
local function keep(self, one)
  self.processes[#self.processes + 1] = one
  return one
end

--- Starts such a process in the background.
function Token:start(code, more)
  local path = self.directory .. "/background.lua"
  write(path, self:prelude() .. code)
  local environment = {}
  for _, from in ipairs({ self.environment, more or {} }) do
    for name, value in pairs(from) do environment[name] = value end
  end
  return keep(self, process.start({ "lua5.4", path }, environment))
end

--- Adds a token to the same store.
function Token:add(label, pin)
  local output, ok = self:shell(("softhsm2-util --init-token --free"
    .. " --label %s --pin %s --so-pin 00000000")
    :format(label, pin or M.pin))
  assert(ok, output)
end

--- A store with one token, "spec".
function M.new(module)
  local directory = process.directory()
  os.execute("mkdir -p " .. directory .. "/tokens")
  write(directory .. "/softhsm2.conf",
        "directories.tokendir = " .. directory .. "/tokens\n"
        .. "objectstore.backend = file\nlog.level = ERROR\n")
  local self = setmetatable({
    directory = directory, processes = {},
    module = module or M.softhsm,
    environment = {
      SOFTHSM2_CONF = directory .. "/softhsm2.conf",
      XDG_RUNTIME_DIR = directory,
      ASAN_OPTIONS = NO_LEAKS,
    },
  }, Token)
  self:add("spec")
  return self
end

--- A token "spec" of NSS's softokn, whose module wants a text at start.
function M.nss()
  local directory = process.directory()
  write(directory .. "/pin", M.pin .. "\n")
  local self = setmetatable({
    directory = directory, processes = {},
    module = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
    label = "NSS Certificate DB",
    init = ("configdir='sql:%s' certPrefix='' keyPrefix=''"
      .. " secmod='secmod.db' flags="):format(directory),
    environment = { XDG_RUNTIME_DIR = directory, ASAN_OPTIONS = NO_LEAKS },
  }, Token)
  local output, ok = self:shell(("certutil -N -d sql:%s -f %s/pin")
    :format(directory, directory))
  assert(ok, output)
  return self
end

-- Why a spec cannot have a module: nil when all files are there.
local function missing(paths, remedy)
  for _, path in ipairs(paths) do
    local file = io.open(path)
    if not file then return ("%s is not there: %s"):format(path, remedy) end
    file:close()
  end
end

-- Makes the token "spec" of the module in its first slot.
local function initialize(self)
  local tool = "pkcs11-tool --module " .. quoted(self.module)
  local output, ok = self:shell("{ " .. tool .. " --slot-index 0 --init-token"
    .. " --label spec --so-pin 00000000 && " .. tool .. " --token-label spec"
    .. " --login --login-type so --so-pin 00000000 --init-pin --pin "
    .. M.pin .. "; }")
  assert(ok, output)
  return self
end

--- A token of Kryoptic, where `make kryoptic` was done; nil and why not.
function M.kryoptic()
  local module = (os.getenv("BUILD") or "build")
    .. "/kryoptic/release/libkryoptic_module.so"
  local why = missing({ module }, "make kryoptic")
  if why then return nil, why end
  local directory = process.directory()
  write(directory .. "/kryoptic.conf", ('[[slots]]\nslot = 0\n'
    .. 'dbtype = "sqlite"\ndbargs = "%s/token.sql"\n'):format(directory))
  return initialize(setmetatable({
    directory = directory, module = module, processes = {},
    environment = { KRYOPTIC_CONF = directory .. "/kryoptic.conf",
                    XDG_RUNTIME_DIR = directory },
  }, Token))
end

-- A TPM in software, and the broker that shares it, on a bus of its own.
local function start_tpm(self)
  local directory = self.directory
  assert(os.execute(("mkdir %s/tpm %s/store"):format(directory, directory)))
  local bus = keep(self, process.start({ "dbus-daemon", "--session", "--nofork",
                              "--print-address" }))
  local socket = directory .. "/tpm.sock"
  local tpm = keep(self, process.start({ "swtpm", "socket", "--tpm2",
    "--tpmstate", "dir=" .. directory .. "/tpm", "--server",
    "type=unixio,path=" .. socket,
    "--ctrl", "type=unixio,path=" .. socket .. ".ctrl", "--flags",
    "not-need-init", "--log", "file=-,level=1" }))
  self.environment = {
    DBUS_SESSION_BUS_ADDRESS = bus:wait_for("(unix:%S+)"),
    TPM2_PKCS11_STORE = directory .. "/store",
    TPM2_PKCS11_TCTI = "tabrmd:bus_type=session",
    XDG_RUNTIME_DIR = directory, TSS2_LOG = "all+none",
    ASAN_OPTIONS = M.known_leaks.ASAN_OPTIONS,
    LSAN_OPTIONS = M.known_leaks.LSAN_OPTIONS,
  }
  assert(os.execute(("for i in $(seq 100); do test -S %s && exit;"
    .. " sleep 0.05; done; exit 1"):format(socket)), tpm:output())
  keep(self, process.start({ "tpm2-abrmd", "--session", "--allow-root",
    "--tcti=swtpm:path=" .. socket }, self.environment))
end

--- A token in a software TPM; nil and why not.
function M.tpm()
  local libraries = "/usr/lib/x86_64-linux-gnu/"
  local module = libraries .. "libtpm2_pkcs11.so.1"
  local why = missing({ "/usr/bin/swtpm", "/usr/sbin/tpm2-abrmd", module,
    "/usr/bin/dbus-daemon", libraries .. "libtss2-tcti-tabrmd.so.0" },
    "apt-get install swtpm tpm2-abrmd libtpm2-pkcs11-1 dbus"
    .. " libtss2-tcti-tabrmd0")
  if why then return nil, why end
  local directory = process.directory()
  local self = setmetatable({ directory = directory, module = module,
    processes = {} }, Token)
  start_tpm(self)
  for _ = 1, 100 do
    local _, up = self:shell("pkcs11-tool -L --module " .. module)
    if up then break end
    os.execute("sleep 0.1")
  end
  return initialize(self)
end

--- Serves the token over a socket, and uses it through that. Returns the
--- server's process. `provider`: another module than SoftHSM.
function Token:serve(provider)
  local socket = self.directory .. "/p11.sock"
  os.remove(socket)
  local server = keep(self, process.start({ "p11-kit", "server", "-f",
    "--provider", provider or M.softhsm, "-n", socket,
    "pkcs11:token=spec" },
    self.environment))
  self.environment.P11_KIT_SERVER_ADDRESS = "unix:path=" .. socket
  self.module = M.remote
  server:wait_for("P11_KIT_SERVER_PID")
  return server
end

--- Kills what `serve` started, with the processes of its connections. It is
--- stopped first: a connection made meanwhile would outlive it. Logins under
--- way are let end: SoftHSM rewrites token.object, and is lost without it.
function Token.lose(server)
  server:signal("STOP")
  os.execute("sleep 0.3")
  for _, child in ipairs(server:children()) do
    os.execute("kill -9 " .. child)
  end
  server:signal("KILL")
end

--- Ends everything and removes the store.
function Token:remove()
  for _, one in ipairs(self.processes) do one:stop() end
  os.execute("rm -rf " .. quoted(self.directory))
end

return M
