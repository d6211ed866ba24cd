local engine = require("fulcio.engine")
local on_loop = require("spec.on_loop")
local process = require("spec.process")
local program = require("spec.server_program")

local server = engine.server

describe("a dialog", function()
  local directory, path

  setup(function() directory = process.directory() end)
  teardown(function() os.execute("rm -r " .. directory) end)
  before_each(function() path = directory .. "/socket" end)
  after_each(function() program.stop() end)

  -- The side that answers, in this process, and the side that asks.
  local function between(handler, run)
    local errors = {}
    local listener = assert(server.listen({ unix = path }))
    server.answer(listener, handler, function(trace)
      errors[#errors + 1] = trace
    end)
    on_loop(function() run(server.dialog(path), errors) end)
  end

  it("brings each question its own answer, in whatever order", function()
    between(function(question)
      server.sleep(question == "late" and 0.05 or 0)
      return question:upper()
    end, function(dialog)
      local said, left, done = {}, 3, server.signal()
      for _, text in ipairs({ "late", "first", "second" }) do
        server.spawn(function()
          local answer = dialog:ask(text, 5)
          said[#said + 1] = answer
          left = left - 1
          if left == 0 then done:wake() end
        end)
      end
      done:wait(5)
      assert.same({ "FIRST", "SECOND", "LATE" }, said)
    end)
  end)

  it("carries any bytes, up to a mebibyte", function()
    between(function(question) return question end, function(dialog)
      for _, text in ipairs({ "", "\0\1\255", ("x"):rep(200000),
                              ("y"):rep(1 << 20) }) do
        assert.is_true(text == dialog:ask(text, 5), #text)
      end
      local answer, message, code = dialog:ask(("z"):rep((1 << 20) + 1), 5)
      assert.same({ nil, "too_long" }, { answer, code })
      assert.matches("more than 1048576 bytes", message)
    end)
  end)

  it("has 4096 questions under way at once, and others after them",
  function()
    local inside, most, gate = 0, 0, nil
    between(function(question)
      inside = inside + 1
      most = math.max(most, inside)
      gate = gate or server.signal()
      if inside == 4096 then gate:wake() else gate:wait(5) end
      inside = inside - 1
      return question
    end, function(dialog)
      local left, done = 5000, server.signal()
      for i = 1, 5000 do
        server.spawn(function()
          assert(dialog:ask(tostring(i), 9) == tostring(i))
          left = left - 1
          if left == 0 then done:wake() end
        end)
      end
      assert.is_true(done:wait(9))
      assert.equal(4096, most)
    end)
  end)

  it("gives an empty answer when the handler fails, and tells of it",
  function()
    between(function(question)
      if question == "throw" then error("no idea") end
      return question == "string" and "good" or nil
    end, function(dialog, errors)
      assert.equal("", dialog:ask("throw", 5))
      assert.equal("", dialog:ask("nothing", 5))
      assert.equal("good", dialog:ask("string", 5))
      assert.equal(1, #errors)
      assert.matches("no idea.*stack traceback", errors[1])
    end)
  end)

  it("ends a question that is not answered in time", function()
    between(function(question)
      if question == "slow" then server.sleep(0.1) end
      return question
    end, function(dialog)
      local answer, message, code = dialog:ask("slow", 0.02)
      assert.same({ nil, "timeout" }, { answer, code })
      assert.equal(path .. ": no answer in time", message)
      -- The answer that comes too late is nobody's.
      server.sleep(0.12)
      assert.equal("quick", dialog:ask("quick", 5))
    end)
  end)

  it("says so when nobody answers there, and connects when somebody does",
  function()
    on_loop(function()
      local dialog = server.dialog(path)
      local answer, message, code = dialog:ask("anybody", 1)
      assert.same({ nil, "unavailable" }, { answer, code })
      assert.equal(path .. ": No such file or directory", message)
      server.answer(assert(server.listen({ unix = path })),
        function(question) return question end)
      assert.equal("anybody", dialog:ask("anybody", 1))
    end)
  end)

  local ANSWERS = [[
    local listener = listen({ unix = %q })
    server.answer(listener, function(question)
      if question == "wait" then server.sleep(60) end
      return question
    end)
    server.run()
  ]]

  it("ends what is under way when the other process dies", function()
    local other = program.start(ANSWERS:format(path))
    on_loop(function()
      local dialog = server.dialog(path)
      assert.equal("there", dialog:ask("there", 5))
      server.spawn(function()
        server.sleep(0.05)
        other:signal("KILL")
      end)
      local answer, message, code = dialog:ask("wait", 20)
      assert.same({ nil, "unavailable" }, { answer, code })
      assert.equal(path .. ": the other end has gone", message)
      repeat server.sleep(0.01) until not other:running()
      program.start(ANSWERS:format(path))
      assert.equal("again", dialog:ask("again", 5))
    end)
  end)

  it("is answered to the end when the process that answers stops", function()
    local other = program.start([[
      server.answer(listen({ unix = "]] .. path .. [[" }),
        function(question)
          print("asked")
          server.sleep(0.2)
          return question
        end)
      server.run()
    ]])
    on_loop(function()
      local dialog, answer = server.dialog(path), nil
      local done = server.signal()
      server.spawn(function()
        answer = dialog:ask("last", 5)
        done:wake()
      end)
      server.sleep(0.05)
      assert.is_true(program.finish(other))
      done:wait(5)
      assert.equal("last", answer)
    end)
  end)

  it("is closed on who sends a frame that is too long", function()
    local other = program.start(ANSWERS:format(path))
    local answer = io.popen(([[python3 -c '
import socket, struct
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("%s")
s.sendall(struct.pack("=II", (1 << 20) + 1, 1) + b"x" * 1000)
print(repr(s.recv(10)))
']]):format(path)):read("a")
    assert.equal("b''\n", answer)
    assert.is_true(other:running())
  end)

  it("is closed on another user", function()
    local uid = io.popen("id -u"):read("n")
    if uid ~= 0 then return pending("root alone can be another user") end
    local name = "@fulcio-dialog-spec-" .. tostring(os.time())
    program.start(ANSWERS:format(name))
    local asks = ([[/usr/bin/python3 -c '
import socket, struct
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("\0%s")
try:
  s.sendall(struct.pack("=II", 3, 7) + b"abc")
  print(repr(s.recv(100)[8:]))
except OSError: print("closed")
']]):format(name:sub(2))
    assert.equal("b'abc'\n", io.popen(asks):read("a"))
    local other = io.popen("setpriv --reuid=65534 --clear-groups "
      .. asks):read("a")
    assert.is_true(other == "closed\n" or other == "b''\n", other)
  end)

  it("is read bit by bit", function()
    program.start(ANSWERS:format(path))
    local answer = io.popen(([[python3 -c '
import socket, struct
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("%s")
for byte in struct.pack("=II", 3, 7) + b"abc": s.sendall(bytes([byte]))
print(struct.unpack("=II3s", s.recv(100)))
']]):format(path)):read("a")
    assert.equal("(3, 7, b'abc')\n", answer)
  end)

  it("is for coroutines of the loop", function()
    assert.has_error(function() server.dialog(path):ask("x", 1) end,
      "dialog:ask outside a coroutine of the server")
    local none, message, code = server.dialog("/" .. ("x"):rep(107))
    assert.same({ nil, "bad_address" }, { none, code })
    assert.matches("at most 107 bytes", message)
  end)
end)
