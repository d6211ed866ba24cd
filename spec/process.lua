--- Starts programs that a spec needs, and ends those it started.
local Process = {}
Process.__index = Process

local process = {}
local started = {}

local function pause() os.execute("sleep 0.05") end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Starts `words` (the program and its arguments) in the background, with
--- its output in a file of its own. `environment` is added to ours.
function process.start(words, environment)
  local command = { "exec" , "env" }
  for name, value in pairs(environment or {}) do
    command[#command + 1] = quoted(name .. "=" .. value)
  end
  for _, word in ipairs(words) do command[#command + 1] = quoted(word) end
  local log = os.tmpname()
  local shell = io.popen(("%s >%s 2>&1 </dev/null & echo $!"):format(
    table.concat(command, " "), quoted(log)))
  local self = setmetatable({ log = log }, Process)
  self.pid = tonumber(shell:read("l"))
  shell:close()
  started[self] = true
  return self
end

--- What it wrote so far.
function Process:output()
  local file = assert(io.open(self.log, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- Whether it runs; one that nobody has waited for yet counts as ended.
function Process:running()
  local file = io.open("/proc/" .. self.pid .. "/stat")
  if not file then return false end
  local state = (file:read("a") or ""):match("^%d+ %b() (%a)")
  file:close()
  return state ~= nil and state ~= "Z" and state ~= "X"
end

--- Waits for output that matches a pattern and returns its captures. Throws
--- when it ends first, or after `seconds` (default 30).
function Process:wait_for(pattern, seconds)
  local last = os.time() + (seconds or 30)
  while true do
    local running = self:running()
    local found = { self:output():match(pattern) }
    if found[1] then return table.unpack(found) end
    if not running or os.time() > last then
      error(("%s before %q:\n%s"):format(running and "nothing" or "ended",
        pattern, self:output()), 2)
    end
    pause()
  end
end

--- Sends a signal (default TERM) to this one process.
function Process:signal(name)
  os.execute(("kill -%s %d 2>/dev/null"):format(name or "TERM", self.pid))
end

--- Ends it and waits; after `seconds` (default 15) with KILL. True when it
--- went by itself.
function Process:stop(seconds)
  local last = os.time() + (seconds or 15)
  self:signal("TERM")
  while self:running() and os.time() <= last do pause() end
  local went = not self:running()
  if not went then self:signal("KILL") end
  os.remove(self.log)
  started[self] = nil
  return went
end

--- Processes whose parent it is, by id.
function Process:children()
  local path = ("/proc/%d/task/%d/children"):format(self.pid, self.pid)
  local list = {}
  local file = io.open(path)
  if file then
    for pid in file:read("a"):gmatch("%d+") do
      list[#list + 1] = tonumber(pid)
    end
    file:close()
  end
  return list
end

--- Ends all that are left, newest or not.
function process.stop_all()
  for one in pairs(started) do one:stop() end
end

--- A new directory that only we can read.
function process.directory()
  local shell = io.popen("mktemp -d")
  local path = shell:read("l")
  shell:close()
  return path
end

return process
