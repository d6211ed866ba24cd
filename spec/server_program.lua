--- Starts a Lua text on the engine in a process of its own.
local process = require("spec.process")

local M = {}
local scripts = {}

--- Runs `text` with `engine` and `server` as locals. It says "port N" when
--- it listens; returns the process and that port.
function M.start(text)
  local path = os.tmpname()
  scripts[#scripts + 1] = path
  local file = assert(io.open(path, "w"))
  file:write(("package.path = %q\npackage.cpath = %q\n"):format(
    package.path, package.cpath), [[
io.stdout:setvbuf("line")
local engine = require("fulcio.engine")
local server = engine.server
local function listen(where)
  local listener = assert(server.listen(where or {}))
  print("port " .. listener.port)
  return listener
end
]], text)
  file:close()
  local started = process.start({ "lua5.4", path })
  return started, tonumber(started:wait_for("port (%d+)"))
end

--- Ends one with SIGTERM: whether it went by itself, and all it wrote. What
--- a sanitizer found in it is an error.
function M.finish(running)
  running:signal("TERM")
  local last = os.time() + 15
  while running:running() and os.time() < last do
    os.execute("sleep 0.02")
  end
  local text = running:output()
  if text:find("Sanitizer") or text:find("runtime error") then
    error(text)
  end
  return running:stop(), text
end

--- Ends all and removes their scripts.
function M.stop()
  process.stop_all()
  for _, path in ipairs(scripts) do os.remove(path) end
  scripts = {}
end

return M
