local engine = require("fulcio.engine")
local program = require("spec.server_program")
local process = require("spec.process")
local wire = require("spec.wire")

local server = engine.server

local function get(port, path)
  return wire.send(port, wire.get(path))
end

-- Runs `main` as a coroutine of the loop, then the loop until it stops.
local function on_loop(main)
  server.spawn(function()
    main()
    server.stop()
  end)
  server.run()
end

describe("server.listen", function()
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

describe("server's coroutines", function()
  it("wait for a signal in the order in which they came", function()
    local signal, order = server.signal(), {}
    on_loop(function()
      for i = 1, 3 do
        server.spawn(function()
          local woken = signal:wait()
          order[#order + 1] = tostring(woken) .. i
        end)
      end
      server.sleep(0)
      signal:wake()
      server.sleep(0)
    end)
    assert.same({ "true1", "true2", "true3" }, order)
  end)

  it("give up waiting, and are not woken then", function()
    local signal, seen = server.signal(), {}
    on_loop(function()
      server.spawn(function() seen.early = signal:wait(0) end)
      server.spawn(function() seen.late = signal:wait(60) end)
      server.sleep(0.01)
      signal:wake()
      server.sleep(0)
    end)
    assert.same({ early = false, late = true }, seen)
  end)

  it("may wait in what they call, and in a pcall", function()
    local result
    on_loop(function()
      result = { pcall(function()
        server.sleep(0)
        error("after")
      end) }
    end)
    assert.is_false(result[1])
    assert.matches("after$", result[2])
  end)

  it("make run throw what they throw, with a traceback", function()
    server.spawn(function() error("lost") end)
    assert.error_matches(server.run, "lost\nstack traceback:")
  end)

  it("tell their own on_error", function()
    local trace
    on_loop(function()
      server.spawn(function() error("told") end,
        function(text) trace = text end)
      server.sleep(0)
    end)
    assert.matches("told\nstack traceback:", trace)
  end)

  it("may not yield to nobody", function()
    server.spawn(function() coroutine.yield() end)
    local ok, message = pcall(server.run)
    assert.is_false(ok)
    assert.matches("^coroutine%.yield outside", message)
  end)

  it("may make coroutines, in which the engine blocks", function()
    local values = {}
    on_loop(function()
      local each = coroutine.wrap(function()
        for i = 1, 2 do
          server.sleep(0)
          coroutine.yield(i)
        end
      end)
      values = { each(), each() }
    end)
    assert.same({ 1, 2 }, values)
  end)

  it("cannot wait for a signal where nobody would resume them", function()
    assert.error_matches(function() server.signal():wait(1) end,
      "outside a coroutine")
  end)

  it("know when they are to stop", function()
    local before, after
    server.spawn(function()
      before = server.stopping()
      server.stop()
      after = server.stopping()
    end)
    server.run()
    assert.same({ false, true }, { before, after })
    assert.is_false(server.stopping())
  end)

  it("cannot run the loop in the loop", function()
    local ok, message
    on_loop(function() ok, message = pcall(server.run) end)
    assert.is_false(ok)
    assert.matches("runs already", message)
  end)
end)

describe("server.http", function()
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
      wire.statuses(wire.send(port, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n")))
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

describe("server's shared pages", function()
  it("count from any number, in one place", function()
    server.count("spec_one")
    server.count("spec_one", 2)
    server.count("spec_part", 0.25)
    server.count("spec_part", 0.5)
    local counts = server.counts()
    assert.equal(3, counts.spec_one)
    assert.equal("integer", math.type(counts.spec_one))
    assert.equal(0.75, counts.spec_part)
  end)

  it("take keys of 1 to 240 bytes", function()
    server.count(("k"):rep(240))
    assert.equal(1, server.counts()[("k"):rep(240)])
    assert.error(function() server.count(("k"):rep(241)) end)
    assert.error(function() server.count("") end)
  end)

  it("forget no text that was published, and give each only once", function()
    local before = select(2, server.published())
    assert.equal(before + 1, server.publish("first, and long"))
    assert.same({ "first, and long", before + 1 }, { server.published(before) })
    assert.equal(before + 2, server.publish("a\0b"))
    assert.same({ "a\0b", before + 2 }, { server.published(before + 1) })
    local text, generation = server.published(before + 2)
    assert.is_nil(text)
    assert.equal(before + 2, generation)
    server.publish("")
    assert.equal("", (server.published(before)))
  end)
end)
