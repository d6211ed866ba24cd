local server = require("fulcio.engine").server

-- Runs `main` as a coroutine of the loop, then the loop until it stops.
local function on_loop(main)
  server.spawn(function()
    main()
    server.stop()
  end)
  server.run()
end

describe("coroutine", function()
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

  it("run at once when they are begun, until they first wait", function()
    local order = {}
    on_loop(function()
      server.begin(function()
        order[#order + 1] = "begun"
        server.sleep(0)
        order[#order + 1] = "went on"
      end)
      order[#order + 1] = "after"
      local trace
      server.begin(function() error("lost") end,
                   function(text) trace = text end)
      assert.matches("lost", trace)
      server.sleep(0.01)
    end)
    assert.same({ "begun", "after", "went on" }, order)
    assert.error_matches(function() server.begin(print) end,
                         "outside a coroutine")
  end)

  it("say what they write in one piece at the end of a turn", function()
    local program = [[
      local server = require("fulcio.engine").server
      server.spawn(function()
        server.gather()
        io.stderr:write("a", "b")
        io.stdout:write("c", "d")
        os.execute("printf early >&2")
        server.sleep(0)
        os.execute("printf late >&2")
        server.stop()
      end)
      server.run()]]
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(program)
    file:close()
    local pipe = assert(io.popen(("%s/fulcio run %s 2>&1"):format(
      os.getenv("BUILD") or "build", path)))
    local output = pipe:read("a")
    pipe:close()
    os.remove(path)
    assert.equal("earlycdablate", output)
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
