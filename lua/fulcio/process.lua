--- What the processes of a running server use together, read from /proc.

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

--- Processor seconds, resident bytes and number of all processes of the
--- server that this process is a worker of.
function M.usage()
  local seconds, bytes, count = 0, 0, 0
  for _, pid in ipairs(family()) do
    local fields = stat(pid)
    local status = fields and read("/proc/" .. pid .. "/status")
    if status then
      seconds = seconds + (fields[12] + fields[13]) / TICKS
      bytes = bytes + (status:match("VmRSS:%s*(%d+)") or 0) * 1024
      count = count + 1
    end
  end
  return { seconds = seconds, bytes = bytes, count = count }
end

--- When this process started, in seconds since 1970; nil without /proc.
function M.started()
  local fields, system = stat("self"), read("/proc/stat")
  local boot = system and system:match("btime (%d+)")
  return fields and boot and boot + fields[20] / TICKS
end

return M
