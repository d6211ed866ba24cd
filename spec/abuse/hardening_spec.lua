local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local program = require("spec.program")

local PASSWORD = "correct horse battery staple"

local POLICY = [[
return {
  issuer = "https://issuer.example", audience = "sigstore",
  must = { email = present }, san = { email = "{email}" },
}
]]

describe("a running CA", function()
  local directory, remove, process, urls
  local is_root = io.popen("id -u"):read("n") == 0

  setup(function()
    directory, remove = authority.directory()
    for _, name in ipairs({ "policies", "data" }) do
      assert(engine.system.mkdir(directory .. "/" .. name))
    end
    assert(engine.system.write(directory .. "/policies/a.lua", POLICY))
    local pair, root = authority.pair()
    authority.files(directory, { pair, root })
    os.remove(directory .. "/key.pem")
    assert(pair.key:save(directory .. "/key.pem", PASSWORD))
    if is_root then
      os.execute("chown -R nobody " .. directory)
    end
    process, urls = program.serve(directory .. "/data", {
      "--policies", directory .. "/policies", "--ca", "fileca",
      "--fileca-cert", directory .. "/chain.pem",
      "--fileca-key", directory .. "/key.pem",
      "--fileca-key-passwd", PASSWORD, "--host", "0.0.0.0",
      table.unpack(is_root and { "--user", "nobody" } or {}) })
  end)

  teardown(function()
    process:stop()
    remove()
  end)

  -- Calls `look` with each of its processes, the supervisor among them.
  local function each(look)
    local pids = process:children()
    assert.is_true(#pids >= 3)
    pids[#pids + 1] = process.pid
    for _, pid in ipairs(pids) do look("/proc/" .. pid .. "/") end
  end

  it("is nobody, can become nobody else, and leaves no core", function()
    each(function(proc)
      local status = program.read(proc .. "status")
      assert.matches("\nNoNewPrivs:%s+1\n", status)
      assert.matches("\nUmask:%s+0077\n", status)
      assert.matches("\nMax core file size%s+0%s+0%s",
                     program.read(proc .. "limits"))
      if is_root then
        assert.matches("\nUid:%s+65534%s+65534%s+65534%s+65534\n", status)
        assert.matches("\nGroups:%s*%d*%s*\n", status)
        assert.matches("\nCapEff:%s+0+\n", status)
      end
    end)
  end)

  it("shows no password to those who list processes", function()
    each(function(proc)
      local line = program.read(proc .. "cmdline")
      assert.matches("--fileca-key-passwd", line, 1, true)
      assert.is_nil(line:find("horse", 1, true))
      assert.is_nil(line:find("staple", 1, true))
    end)
  end)

  it("listens on loopback with its metrics and its log", function()
    local open = {}
    for line in io.lines("/proc/" .. process.pid .. "/net/tcp") do
      local address, port = line:match("^%s*%d+: (%x+):(%x+) %x+:%x+ 0A ")
      if port then open[tonumber(port, 16)] = address end
    end
    local function address(name)
      return open[tonumber(urls[name]:match("%d+$"))]
    end
    assert.equal("00000000", address("http"))
    assert.equal("0100007F", address("metrics"))
    assert.equal("0100007F", address("ctlog"))
  end)

  it("keeps its data and its log's socket to itself", function()
    local data = directory .. "/data"
    assert.equal(448, engine.system.stat(data).mode % 512)
    local found = engine.system.list(data)
    assert.is_true(#found > 2)
    for _, name in ipairs(found) do
      local mode = engine.system.stat(data .. "/" .. name).mode
      assert.equal(name == "ctlog.pub.pem" and 36 or 0, mode % 64, name)
    end
    if not is_root then return pending("needs root") end
    local pipe = io.popen(("setpriv --reuid 65533 --clear-groups curl -sS"
      .. " --unix-socket %s/ctlog.sock http://localhost/ct/v1/get-sth 2>&1")
      :format(data))
    local answer = pipe:read("a")
    pipe:close()
    assert.is_nil(answer:find("tree_size", 1, true))
  end)

  local function refuses(message, ...)
    local status, printed = program.run({ "serve", "--development",
      "--host", "127.0.0.1", "--grpc-host", "127.0.0.1", "--port", "0",
      "--grpc-port", "0", "--metrics-port", "0", "--ctlog-port", "0",
      "--policies", directory .. "/policies", ... })
    assert.equal(1, status)
    assert.matches(message, printed, 1, true)
  end

  it("does not start with a key or a folder that is open to others",
  function()
    local other = directory .. "/other"
    assert(engine.system.mkdir(other))
    local options = authority.files(other, { authority.pair() })
    os.execute("chmod 644 " .. options.fileca_key)
    refuses("key.pem", "--data-dir", other .. "/data", "--ca", "fileca",
      "--fileca-cert", options.fileca_cert, "--fileca-key",
      options.fileca_key)
    os.execute("mkdir -m 777 " .. other .. "/open")
    refuses("/open: others can write in it (chmod 700 ", "--data-dir",
            other .. "/open", "--ca", "ephemeralca")
  end)
end)
