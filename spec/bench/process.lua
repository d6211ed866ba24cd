--- A server under measurement: started, watched through /proc, ended.

local engine = require("fulcio.engine")
local files = require("spec.files")

local read = files.found

local M = {}

local Process = {}
Process.__index = Process

-- A process and all that it forked.
local function family(pid, into)
  into[#into + 1] = pid
  local children = read(("/proc/%d/task/%d/children"):format(pid, pid))
  for child in (children or ""):gmatch("%d+") do
    family(tonumber(child), into)
  end
  return into
end

--- Starts a command in the background; its output goes to `log`.
function M.start(command, log)
  local pipe = assert(io.popen(
    ("exec 3>&1; %s >%s 2>&1 3>&- & echo $!"):format(command, log)))
  local pid = tonumber(pipe:read("*l"))
  pipe:close()
  return setmetatable({ pid = pid, log = log }, Process)
end

--- CPU seconds that all its processes have used, from the scheduler's
--- nanoseconds.
function Process:cpu()
  local total = 0
  for _, pid in ipairs(family(self.pid, {})) do
    for _, task in ipairs(engine.system.list(
        ("/proc/%d/task"):format(pid)) or {}) do
      local text = read(("/proc/%d/task/%s/schedstat"):format(pid, task))
      total = total + (tonumber((text or ""):match("^%d+")) or 0)
    end
  end
  return total / 1e9
end

--- Proportional set size of all its processes, MiB; and of each.
function Process:pss()
  local total, each = 0, {}
  for _, pid in ipairs(family(self.pid, {})) do
    local text = read(("/proc/%d/smaps_rollup"):format(pid)) or ""
    local kib = tonumber(text:match("\nPss:%s+(%d+)")) or 0
    total = total + kib
    each[#each + 1] = kib / 1024
  end
  return total / 1024, each
end

--- Whether it has not ended by itself. Who ended stays in the list (Z)
--- until init, whose child it is now, has looked.
function Process:running()
  local stat = read(("/proc/%d/stat"):format(self.pid))
  return stat ~= nil and stat:match("^.*%) (%a)") ~= "Z"
end

--- Ends it and waits until it is gone.
function Process:stop()
  os.execute(("kill -TERM %d 2>/dev/null"):format(self.pid))
  for _ = 1, 200 do
    if not self:running() then return end
    os.execute("sleep 0.05")
  end
  error("process " .. self.pid .. " does not end, see " .. self.log)
end

--- What it printed.
function Process:output()
  return read(self.log) or ""
end

return M
