local engine = require("fulcio.engine")
local process = require("spec.process")
local program = require("spec.server_program")

local server = engine.server

describe("listener", function()
  it("says where it listens", function()
    local listener = assert(server.listen({ port = 0 }))
    assert.equal("127.0.0.1:" .. listener.port, listener.address)
    listener:close()
  end)

  it("refuses a port that is taken, and a host that is not here", function()
    local listener = assert(server.listen({}))
    local _, message, code = server.listen({ port = listener.port })
    assert.equal("in_use", code)
    assert.matches("cannot listen on 127%.0%.0%.1 port %d+: ", message)
    listener:close()
    assert.equal("bad_address",
      select(3, server.listen({ host = "192.0.2.1" })))
    assert.equal("bad_address",
      select(3, server.listen({ host = "no such host" })))
  end)

  it("takes the place of a dead unix socket, not of a live one", function()
    local path = process.directory() .. "/socket"
    local listener = assert(server.listen({ unix = path }))
    assert.equal(path, listener.address)
    assert.equal("in_use", select(3, server.listen({ unix = path })))
    listener:close()
    assert.is_nil(engine.system.stat(path))
    local dead = program.start(([[
      assert(server.listen({ unix = %q, mode = 438 }))
      print("port 1")
      server.sleep(60)
    ]]):format(path))
    assert.equal(438, engine.system.stat(path).mode % 512)
    dead:signal("KILL")
    repeat until not dead:running()
    assert.is_truthy(engine.system.stat(path))
    listener = assert(server.listen({ unix = path }))
    listener:close()
    program.stop()
  end)

  it("takes a name that is in no file system", function()
    local name = "@fulcio-spec-" .. tostring(os.time())
    local listener = assert(server.listen({ unix = name }))
    assert.equal(name, listener.address)
    local _, message, code = server.listen({ unix = name })
    assert.equal("in_use", code)
    assert.matches(name, message, 1, true)
    listener:close()
    assert(server.listen({ unix = name })):close()
  end)

  it("refuses a path that is no absolute one", function()
    assert.equal("bad_address",
      select(3, server.listen({ unix = "relative" })))
    assert.equal("bad_address",
      select(3, server.listen({ unix = "/" .. ("x"):rep(108) })))
    assert.equal("bad_address",
      select(3, server.listen({ unix = "/no/such/directory/socket" })))
  end)

  it("throws at options that make no sense", function()
    assert.error_matches(function() server.listen({ prot = 1 }) end, "prot")
    assert.error_matches(function() server.listen({ port = 70000 }) end,
      "no such port")
    local listener = assert(server.listen({}))
    assert.error_matches(function()
      server.http(listener, print, { max_body = -1 })
    end, "max_body")
    assert.error_matches(function()
      server.http(listener, print, { timeout = 1 })
    end, "timeout")
    listener:close()
    assert.error_matches(function() server.http(listener, print) end,
      "closed")
  end)

  it("takes over the socket of a service manager", function()
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(([[
import os, socket
opened = socket.socket()
opened.bind(("127.0.0.1", 0))
opened.listen()
os.dup2(opened.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1",
                  PORT=str(opened.getsockname()[1]))
os.execvp("lua5.4", ["lua5.4", "-e", r'''
package.cpath = %q
local server = require("fulcio.engine").server
local port = tonumber(os.getenv("PORT"))
local listener = assert(server.listen({ port = port }))
local other = server.listen({ port = port })
print(listener.port == port, other ~= nil)
''']) ]]):format(package.cpath))
    file:close()
    local pipe = io.popen("python3 " .. script .. " 2>&1")
    assert.equal("true\ttrue\n", pipe:read("a"))
    pipe:close()
    os.remove(script)
  end)
end)
