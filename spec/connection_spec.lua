local program = require("spec.server_program")
local wire = require("spec.wire")

local function get(port, path)
  return wire.send(port, wire.get(path))
end

describe("connection", function()
  after_each(program.stop)

  it("runs each request in a coroutine of its own", function()
    local running, port = program.start([[
      local signal = server.signal()
      server.http(listen(), function(request)
        if request.path == "/wake" then signal:wake() end
        if request.path == "/wait" then
          print("waiting")
          signal:wait()
        end
        return { status = 200, body = request.path }
      end)
      server.run()
    ]])
    local waiting = wire.start(port, wire.get("/wait"))
    running:wait_for("waiting")
    assert.matches("/wake$", get(port, "/wake"))
    assert.matches("/wait$", waiting())
  end)

  it("words its own refusals as it is told", function()
    local running, port = program.start([[
      server.http(listen(), function() error("broken") end, {
        refuse = function(status)
          if status == 501 then error("no words") end
          return { status = status, headers = { ["x-mine"] = "yes" },
                   body = "refused: " .. status }
        end,
        on_error = function(trace) print(trace) end })
      server.run()
    ]])
    local answer = get(port, "/")
    assert.matches("^HTTP/1%.1 500 .*\r\nx%-mine: yes\r\n.*refused: 500$",
      answer)
    assert.matches("refused: 400$", wire.send(port, "?\r\n\r\n"))
    assert.same({ 501 },
      wire.statuses(wire.send(port, "POST / HTTP/1.1\r\nHost: a\r\n"
        .. "Transfer-Encoding: tea\r\n\r\n")))
    running:wait_for("no words\nstack traceback:")
    assert.is_true(program.finish(running))
  end)

  it("survives clients that leave while their requests run", function()
    local running, port = program.start([[
      local ended = 0
      server.http(listen(), function(request)
        if request.path == "/count" then
          return { status = 200, body = "ended: " .. ended }
        end
        server.sleep(0.3)
        ended = ended + 1
        return { status = 200, body = ("x"):rep(100000) }
      end)
      server.run()
    ]])
    os.execute(([[bash -c 'for i in {1..20}; do
      exec 3<>/dev/tcp/127.0.0.1/%d
      printf "GET / HTTP/1.1\r\nHost: a\r\n\r\n" >&3; exec 3>&-
      done']]):format(port))
    local answer
    repeat answer = get(port, "/count") until answer:find("ended: 20")
    assert.is_true(program.finish(running))
  end)

  it("answers who has only closed his sending side", function()
    local _, port = program.start([[
      server.http(listen(), function()
        server.sleep(0.1)
        return { status = 200, body = "here" }
      end)
      server.run()
    ]])
    local pipe = io.popen(([[python3 -c '
import socket
peer = socket.create_connection(("127.0.0.1", %d))
peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
peer.shutdown(socket.SHUT_WR)
print(peer.makefile("rb").read().decode())']]):format(port))
    assert.matches("here\n$", pipe:read("a"))
    pipe:close()
  end)

  it("closes connections on which nothing comes", function()
    local _, port = program.start([[
      server.http(listen(), print, { idle_seconds = 0.2 })
      server.run()
    ]])
    assert.equal("", wire.send(port))
  end)

  it("makes room by closing the oldest idle connection", function()
    local running, port = program.start([[
      server.http(listen(), function()
        return { status = 200, body = "served" }
      end, { max_connections = 5 })
      server.run()
    ]])
    local pipe = io.popen(([[python3 -c '
import socket
def open():
  return socket.create_connection(("127.0.0.1", %d))
idle = [open() for i in range(8)]
last = idle[-1]
last.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
print(last.recv(1000).decode().splitlines()[0])
print(idle[0].recv(1), idle[2].recv(1))']]):format(port))
    assert.equal("HTTP/1.1 200 OK\nb'' b''\n", pipe:read("a"))
    pipe:close()
    assert.is_true(program.finish(running))
  end)

  it("refuses a connection too many when all are busy", function()
    local running, port = program.start([[
      local signal = server.signal()
      server.http(listen(), function()
        print("busy")
        signal:wait(0.5)
        return { status = 200 }
      end, { max_connections = 1 })
      server.run()
    ]])
    local first = wire.start(port, wire.get("/"))
    running:wait_for("busy")
    local answer = get(port, "/")
    assert.matches("^HTTP/1%.1 503 ", answer)
    assert.matches("\r\nretry%-after: 1\r\n", answer)
    assert.same({ 200 }, wire.statuses(first()))
    assert.is_true(program.finish(running))
  end)

  it("refuses at once what would wait too long in the queue", function()
    local running, port = program.start([[
      server.http(listen(), function()
        local last = engine.system.monotonic() + 0.6
        repeat until engine.system.monotonic() > last
        return { status = 200 }
      end)
      server.run()
    ]])
    get(port, "/")
    local waiting, answers = {}, ""
    for i = 1, 10 do waiting[i] = wire.start(port, wire.get("/")) end
    for i = 1, 10 do answers = answers .. waiting[i]() end
    local count = { [200] = 0, [503] = 0 }
    for _, status in ipairs(wire.statuses(answers)) do
      count[status] = count[status] + 1
    end
    assert.equal(10, count[200] + count[503])
    assert.is_true(count[200] >= 1 and count[503] >= 1)
    local retries = select(2, answers:gsub("retry%-after: 1\r\n", ""))
    assert.equal(count[503], retries)
    assert.is_true(program.finish(running))
  end)

  it("hears only its own user on a socket, if asked to", function()
    local path = os.tmpname()
    os.remove(path)
    program.start(([[
      local listener = assert(server.listen({ unix = %q, mode = 511 }))
      server.http(listener, function(request)
        return { status = 200, body = request.peer }
      end, { same_user = true })
      print("port 1")
      server.run()
    ]]):format(path))
    local function ask(prefix)
      local pipe = io.popen(("%s curl -s --unix-socket %s http://a/"):format(
        prefix, path))
      local text = pipe:read("a")
      pipe:close()
      return text
    end
    assert.matches("^uid:%d+$", ask(""))
    if ask("") == "uid:0" then
      assert.equal("", ask("setpriv --reuid=65534 --clear-groups"))
    end
  end)

  it("finishes what runs when it is told to stop, and nothing new",
  function()
    local running, port = program.start([[
      server.http(listen(), function(request)
        print("in " .. request.path)
        server.sleep(0.4)
        return { status = 200, body = "done" }
      end)
      server.run()
      print("ended")
    ]])
    local idle = io.popen(([[bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d
      echo open; timeout 10 cat <&3; echo closed']]):format(port))
    assert.equal("open", idle:read("l"))
    local busy = wire.start(port, wire.get("/last"))
    running:wait_for("in /last")
    running:signal("TERM")
    assert.equal("closed", idle:read("l"))
    idle:close()
    assert.equal("", get(port, "/late"))
    local answer = busy()
    assert.matches("\r\nconnection: close\r\n", answer)
    assert.matches("done$", answer)
    running:wait_for("ended")
    local went, text = program.finish(running)
    assert.is_true(went)
    assert.is_nil(text:find("/late", 1, true))
  end)
end)
