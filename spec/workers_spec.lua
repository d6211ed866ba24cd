local engine = require("fulcio.engine")
local program = require("spec.server_program")
local wire = require("spec.wire")

local server = engine.server

local function body(port, path)
  return wire.send(port, wire.get(path)):match("\r\n\r\n(.*)$")
end

local function eventually(found)
  local last = os.time() + 20
  repeat
    local value = found()
    if value then return value end
    os.execute("sleep 0.02")
  until os.time() > last
  error("never happened", 2)
end

local function is_alive(pid)
  local stat = io.open("/proc/" .. pid .. "/stat")
  if not stat then return false end
  local state = stat:read("a"):match("%) (%a)")
  stat:close()
  return state ~= "Z" and state ~= "X"
end

-- Two workers that tell their process and number, and a keeper of nothing
-- that must outlive them.
local PROGRAM = [[
local listener = listen()
local function pid()
  return io.open("/proc/self/stat"):read("n")
end
local function work(index)
  local id = pid()
  server.http(listener, function(request)
    server.count("requests")
    if request.path == "/slow" then
      print("slow")
      server.sleep(0.4)
    elseif request.path == "/requests" then
      return { status = 200, body = tostring(server.counts().requests) }
    elseif request.path == "/text" then
      local text, generation = server.published()
      return { status = 200, body = generation .. " " .. tostring(text) }
    end
    return { status = 200, body = "worker " .. index .. " " .. id }
  end)
  server.run()
  print("worker " .. index .. " ended")
end
local reloads = 0
print("result", server.supervise({
  grace = 2,
  roles = {
    { name = "keeper", count = 1, run = function()
      server.run()
      print("keeper ended")
    end },
    { name = "spec-worker", count = 2, run = work },
  },
  on_ready = function() print("ready") end,
  on_tick = function() print("tick") end,
  on_reload = function()
    reloads = reloads + 1
    if reloads == 2 then error("bad reload") end
    print("published " .. server.publish("text " .. reloads))
  end,
  on_error = function(trace) print("error: " .. trace) end,
}))
]]

describe("workers", function()
  after_each(program.stop)

  it("answer on one listener, and are named after their role", function()
    local running, port = program.start(PROGRAM)
    running:wait_for("ready")
    local children = running:children()
    assert.equal(3, #children)
    local names = {}
    for _, child in ipairs(children) do
      local file = io.open("/proc/" .. child .. "/comm")
      names[#names + 1] = file:read("l")
      file:close()
    end
    table.sort(names)
    assert.same({ "keeper", "spec-worker", "spec-worker" }, names)
    assert.matches("^worker [12] %d+$", body(port, "/"))
    assert.is_true(program.finish(running))
  end)

  it("end in the reverse order of their roles", function()
    local running, port = program.start(PROGRAM)
    running:wait_for("ready")
    local slow = wire.start(port, wire.get("/slow"))
    running:wait_for("slow")
    local went, text = program.finish(running)
    assert.is_true(went)
    assert.matches("worker [12] ended\n.*worker [12] ended\n.*" ..
      "keeper ended\nresult\ttrue\n$", text)
    assert.matches("\r\n\r\nworker", slow())
  end)

  it("are replaced when they die, and nothing else is lost", function()
    local running, port = program.start(PROGRAM)
    running:wait_for("ready")
    local seen = {}
    for _ = 1, 5 do
      local killed = body(port, "/"):match("%d+$")
      os.execute("kill -9 " .. killed)
      seen[killed] = true
      assert.is_true(#body(port, "/") > 0)
    end
    eventually(function() return #running:children() == 3 end)
    for _, child in ipairs(running:children()) do
      assert.is_nil(seen[tostring(child)])
    end
    assert.equal("11", body(port, "/requests"))
    assert.is_true(program.finish(running))
  end)

  it("die with the supervisor", function()
    local running = program.start(PROGRAM)
    running:wait_for("ready")
    local children = running:children()
    assert.equal(3, #children)
    running:signal("KILL")
    for _, child in ipairs(children) do
      eventually(function() return not is_alive(child) end)
    end
  end)

  it("obey no SIGTERM but the supervisor's", function()
    local running, port = program.start(PROGRAM)
    running:wait_for("ready")
    local children = running:children()
    for _, child in ipairs(children) do
      os.execute("kill -TERM " .. child .. "; kill -INT " .. child
        .. "; kill -HUP " .. child)
    end
    assert.matches("^worker", body(port, "/"))
    assert.same(children, running:children())
    assert.is_true(program.finish(running))
  end)

  -- As systemd and terminals do. Of two such signals that wait for a process
  -- it sees only the first, and who sent that.
  it("end when everybody is sent SIGTERM at once", function()
    local running = program.start(PROGRAM)
    running:wait_for("ready")
    local all = table.concat(running:children(), " ")
    os.execute("kill -STOP " .. all .. "; kill -TERM " .. all)
    os.execute("(sleep 0.5; kill -CONT " .. all .. ") &")
    local went, text = program.finish(running)
    assert.is_true(went)
    assert.matches("worker 1 ended", text)
    assert.matches("worker 2 ended", text)
    assert.matches("keeper ended\nresult\ttrue\n$", text)
  end)

  it("see what on_reload publishes, new ones too", function()
    local running, port = program.start(PROGRAM)
    running:wait_for("ready")
    assert.equal("0 nil", body(port, "/text"))
    running:signal("HUP")
    running:wait_for("published 1")
    assert.equal("1 text 1", body(port, "/text"))
    os.execute("kill -9 " .. body(port, "/"):match("%d+$"))
    os.execute("kill -9 " .. body(port, "/"):match("%d+$"))
    assert.equal("1 text 1", body(port, "/text"))
    running:signal("HUP")
    running:wait_for("error: [^\n]*bad reload\nstack traceback:")
    assert.equal("1 text 1", body(port, "/text"))
    running:signal("HUP")
    running:wait_for("published 2")
    assert.is_true(program.finish(running))
  end)

  it("leave the supervisor time for on_tick", function()
    local running = program.start(PROGRAM)
    running:wait_for("tick.*tick")
    assert.is_true(program.finish(running))
  end)

  it("are killed when the grace is over", function()
    local running = program.start([[
      print("port 0")
      print("result", server.supervise({ grace = 0.1, roles = {
        { name = "deaf", count = 1, run = function()
          server.spawn(function() repeat until false end)
          server.run()
        end } } }))
    ]])
    eventually(function() return #running:children() == 1 end)
    local went, text = program.finish(running)
    assert.is_true(went)
    assert.matches("result\ttrue\n$", text)
  end)

  it("that cannot start stop the start", function()
    local running = program.start([[
      print("port 0")
      local listener = listen()
      print("result", server.supervise({ roles = {
        { name = "good", count = 1, run = server.run },
        { name = "bad", count = 1, run = function() error("no key") end },
      } }))
    ]])
    running:wait_for("no key\nstack traceback:")
    running:wait_for("result\tnil\tbad 1 ended before it was ready\n")
    eventually(function() return not running:running() end)
  end)

  it("that die at once, again and again, are started less often",
  function()
    local running = program.start([[
      print("port 0")
      local ticks = 0
      server.supervise({ roles = {
        { name = "weak", count = 1, run = function()
          server.count("starts")
          os.execute("kill -9 $PPID")
        end } },
        on_tick = function()
          ticks = ticks + 1
          if ticks == 2 then print("starts " .. server.counts().starts) end
        end })
    ]])
    local starts = tonumber(running:wait_for("starts (%d+)"))
    assert.is_true(starts > 1 and starts < 10)
    assert.is_true(program.finish(running))
  end)

  it("cannot be supervised with options that make no sense", function()
    local function refused(options, pattern)
      assert.error_matches(function() server.supervise(options) end, pattern)
    end
    refused({ roles = {} }, "no roles")
    refused({}, "table expected")
    refused({ roles = { { name = "a", count = 1 } } }, "function expected")
    refused({ roles = { { name = "a", count = 999, run = print } } },
      "too many processes")
    refused({ roles = { { name = "a", count = -1, run = print } } },
      "too many processes")
    refused({ roles = { { naem = "a" } } }, "naem")
    refused({ roles = {}, on_redy = print }, "on_redy")
  end)
end)
