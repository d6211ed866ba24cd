--- The real program, for specs: started on free ports, asked, stopped.

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local PROGRAM = (os.getenv("BUILD") or "build") .. "/fulcio"

local Process = {}
Process.__index = Process

local M = {}

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Polls until `found()` is true or a minute is over; returns what it gave.
function M.wait(found)
  for _ = 1, 1200 do
    local value = found()
    if value then return value end
    os.execute("sleep 0.05")
  end
end

function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- Starts `build/fulcio ARGUMENTS`; its output goes to a file.
function M.start(arguments, environment)
  local words = {}
  for i, word in ipairs(arguments) do words[i] = quoted(word) end
  local output = os.tmpname()
  local command = ("%s exec %s %s >%s 2>&1 & echo $!"):format(
    environment or "", PROGRAM, table.concat(words, " "), output)
  local pipe = assert(io.popen(command))
  local pid = pipe:read("*n")
  pipe:close()
  return setmetatable({ pid = pid, output = output }, Process)
end

--- Runs `build/fulcio ARGUMENTS` to its end: exit status and output.
function M.run(arguments, environment)
  local words = {}
  for i, word in ipairs(arguments) do words[i] = quoted(word) end
  local pipe = assert(io.popen(("%s %s %s 2>&1; echo $?"):format(
    environment or "", PROGRAM, table.concat(words, " "))))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.-)(%d+)\n$")
  return tonumber(status), output
end

--- What it has printed so far.
function Process:printed()
  return M.read(self.output) or ""
end

--- Waits until a pattern was printed; its captures.
function Process:expect(pattern)
  local found = M.wait(function()
    local captures = { self:printed():match(pattern) }
    if captures[1] then return captures end
    return not self:alive() and {} or nil
  end)
  if not found or not found[1] then
    error(("never printed %q:\n%s"):format(pattern, self:printed()), 2)
  end
  return table.unpack(found)
end

--- Whether it runs: one that has ended and nobody waited for does not.
function Process:alive()
  local stat = M.read(("/proc/%d/stat"):format(self.pid))
  return stat ~= nil and not stat:find("^%d+ %b() Z")
end

function Process:signal(name)
  os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))
end

--- Asks it to stop and waits until it has; whether it did.
function Process:stop()
  self:signal("TERM")
  local gone = M.wait(function() return not self:alive() end)
  if not gone then self:signal("KILL") end
  os.remove(self.output)
  return gone
end

--- Pids of its children, by what they were forked from.
function Process:children()
  local pipe = assert(io.popen("pgrep -P " .. self.pid))
  local pids = {}
  for pid in pipe:lines() do pids[#pids + 1] = tonumber(pid) end
  pipe:close()
  return pids
end

--- The development issuer: its process and URL.
function M.issuer()
  local process = M.start({ "run", "examples/issuer/issuer.lua",
                            "--port", "0" })
  return process, process:expect("issuer (http://[%d.:]+)\n")
end

--- Starts `serve` on free loopback ports and waits until it answers:
--- process, and URLs by service ("http", "metrics", "ctlog").
function M.serve(directory, arguments, environment)
  local all = { "serve", "--data-dir", directory, "--development",
                "--workers", "2", "--host", "127.0.0.1", "--port", "0",
                "--metrics-port", "0", "--ctlog-port", "0",
                "--grpc-host", "127.0.0.1" }
  for _, word in ipairs(arguments) do all[#all + 1] = word end
  os.remove(directory .. "/ports.json")
  local process = M.start(all, environment)
  local ports = M.wait(function()
    local text = M.read(directory .. "/ports.json")
    return text or not process:alive()
  end)
  if type(ports) ~= "string" then
    error("does not start:\n" .. process:printed(), 2)
  end
  local urls = {}
  for name, port in pairs(assert(engine.claims.parse(ports))) do
    urls[name] = ("http://127.0.0.1:%d"):format(port)
  end
  M.wait(function() return M.get(urls.http .. "/healthz") end)
  return process, urls
end

--- GET: the response, or nil.
function M.get(url)
  return (engine.http.request({ url = url, timeout = 10 }))
end

--- POST of a value as JSON: the response, or nil.
function M.post(url, value, headers)
  return (engine.http.request({
    url = url, method = "POST", headers = headers, timeout = 20,
    body = type(value) == "string" and value or json.encode(value) }))
end

--- Parsed JSON of a response's body.
function M.parsed(response)
  return assert(engine.claims.parse(response.body))
end

return M
