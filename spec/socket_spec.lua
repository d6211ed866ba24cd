local engine = require("fulcio.engine")
local process = require("spec.process")
local socket = require("fulcio.socket")

describe("socket", function()
  it("waits for a process that is about to let go", function()
    local first = assert(engine.server.listen({ host = "127.0.0.1",
                                                port = 0 }))
    local port = first.port
    first:close()
    local holder = process.start({ "python3", "-c", ([[
import socket, sys, time
s = socket.create_server(("127.0.0.1", %d))
print("ready", flush=True)
time.sleep(0.5)
]]):format(port) })
    holder:wait_for("ready")
    local listener = assert(socket.listen({ host = "127.0.0.1",
                                            port = port }))
    assert.equal(port, listener.port)
    listener:close()
    holder:stop()
  end)

  it("gives up on one that stays in use", function()
    local first = assert(engine.server.listen({ host = "127.0.0.1",
                                                port = 0 }))
    local listener, _, code = socket.listen({ host = "127.0.0.1",
                                              port = first.port })
    assert.is_nil(listener)
    assert.equal("in_use", code)
    first:close()
  end)

  it("does not wait for what will never be", function()
    local listener, _, code = socket.listen({ host = "192.0.2.1", port = 1 })
    assert.is_nil(listener)
    assert.equal("bad_address", code)
  end)
end)
