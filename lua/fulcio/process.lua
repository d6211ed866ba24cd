--- What the processes of a running server use together, read from /proc.

local engine = require("fulcio.engine")

local TICKS = 100  -- a second, in /proc/PID/stat, on every Linux

local M = {}

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- Fields of /proc/PID/stat after the name in parentheses: [1] is the state.
local function stat(pid)
  local text = read("/proc/" .. pid .. "/stat")
  if not text then return nil end
  local fields = {}
  for word in text:match("^.*%)%s+(.*)$"):gmatch("%S+") do
    fields[#fields + 1] = word
  end
  return fields
end

-- The supervisor and its children: our siblings and we.
local function family()
  local own = stat("self")
  if not own then return {} end
  local parent = own[2]
  local pids = { parent }
  local children = read(("/proc/%s/task/%s/children"):format(parent, parent))
  for pid in (children or "self"):gmatch("%w+") do pids[#pids + 1] = pid end
  return pids
end

-- Open descriptors of a process, 0 of one that we may not look at.
local function descriptors(pid)
  return #(engine.system.list("/proc/" .. pid .. "/fd") or {})
end

local function kilobytes(status, name)
  return (status:match(name .. ":%s*(%d+)") or 0) * 1024
end

--- What all processes of the server that this one is a worker of use:
--- processor `seconds`, `resident` and `virtual` bytes; their `count`; and
--- the most `descriptors` that one of them has, because each has its own
--- limit of them.
function M.usage()
  local usage = { seconds = 0, resident = 0, virtual = 0, count = 0,
                  descriptors = 0 }
  for _, pid in ipairs(family()) do
    local fields = stat(pid)
    local status = fields and read("/proc/" .. pid .. "/status")
    if status then
      usage.seconds = usage.seconds + (fields[12] + fields[13]) / TICKS
      usage.resident = usage.resident + kilobytes(status, "VmRSS")
      usage.virtual = usage.virtual + kilobytes(status, "VmSize")
      usage.descriptors = math.max(usage.descriptors, descriptors(pid))
      usage.count = usage.count + 1
    end
  end
  return usage
end

--- How many descriptors one process may have; nil without /proc.
function M.descriptor_limit()
  local limits = read("/proc/self/limits")
  return tonumber(limits and limits:match("Max open files%s+(%d+)"))
end

--- When the server started, in seconds since 1970: a worker that is
--- replaced counts on where the one before it stopped. nil without /proc.
function M.started()
  local fields, system = stat(family()[1] or "self"), read("/proc/stat")
  local boot = system and system:match("btime (%d+)")
  return fields and boot and boot + fields[20] / TICKS
end

return M
