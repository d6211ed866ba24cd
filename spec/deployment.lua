--- A whole deployment for a spec, on loopback and free ports: development
--- issuer, file CA and log, as `make serve` has them.
local cjson = require("cjson")
local engine = require("fulcio.engine")
local process = require("spec.process")
local program = require("spec.program")

local Deployment = {}
Deployment.__index = Deployment

local deployment = {}

--- The program under test.
deployment.program = program.path

--- Writes a file.
function deployment.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- Reads a file.
function deployment.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- Runs a program that has nothing to say; throws with what it says.
function deployment.run(words)
  local one = process.start(words)
  while one:running() do os.execute("sleep 0.02") end
  local output = one:output()
  one:stop()
  assert(output == "", output)
end

-- Policies are given as texts by name, where ISSUER is the issuer's URL.
local function write_policies(self, policies)
  os.execute("mkdir -p " .. self.directory .. "/policies")
  for name, text in pairs(policies) do
    deployment.write(self.directory .. "/policies/" .. name .. ".lua",
      (text:gsub("ISSUER", self.issuer)))
  end
end

local function healthy(url)
  local answer = engine.http.request({ url = url .. "/healthz", timeout = 2 })
  return answer ~= nil and answer.status == 200
end

local function command(self)
  local words = { deployment.program, "serve", "--development",
    "--policies", self.directory .. "/policies",
    "--data-dir", self.directory .. "/data",
    "--host", "127.0.0.1", "--grpc-host", "127.0.0.1",
    "--grpc-port", ("%d"):format(self.ports.grpc),
    "--port", ("%d"):format(self.ports.http),
    "--metrics-port", ("%d"):format(self.ports.metrics),
    "--ctlog-port", ("%d"):format(self.ports.ctlog) }
  for _, flag in ipairs(self.backend) do words[#words + 1] = flag end
  for _, flag in ipairs(self.flags) do words[#words + 1] = flag end
  return words
end

local function file_ca(directory)
  return { "--ca", "fileca", "--fileca-cert", directory .. "/ca/chain.pem",
           "--fileca-key", directory .. "/ca/key.pem" }
end

--- Waits until it could issue a certificate; throws when it does not come to
--- that within `seconds` (default 20).
function Deployment:wait(seconds)
  local last = os.time() + (seconds or 20)
  local file = self.directory .. "/data/ports.json"
  while not (engine.system.stat(file) and self.fulcio
             and healthy(self.fulcio)) do
    local text = engine.system.stat(file) and deployment.read(file)
    if text and text:find("}") then
      self.ports = cjson.decode(text)
      self.fulcio = ("http://127.0.0.1:%d"):format(self.ports.http)
      self.log = ("http://127.0.0.1:%d"):format(self.ports.ctlog)
    end
    if not self.ca:running() or os.time() > last then
      error("it does not serve:\n" .. self.ca:output(), 2)
    end
    os.execute("sleep 0.05")
  end
end

--- Starts the CA and its log, on the ports that it had before.
function Deployment:serve()
  os.remove(self.directory .. "/data/ports.json")
  self.ca = process.start(command(self), self.environment)
  self:wait()
end

-- A port below those that the kernel gives to clients, so that nobody takes
-- it while the CA is down.
local function free_port()
  while true do
    local port = math.random(20000, 32000)
    local listener = engine.server.listen({ host = "127.0.0.1", port = port })
    if listener then
      listener:close()
      return port
    end
  end
end

--- Starts issuer, CA and log. Options: `policies`, texts by name; `flags`,
--- a list for `fulcio serve`; `backend`, a function that is given the
--- directory, where ca/ has a chain, and returns flags for another CA, and
--- `environment`, variables for it.
function deployment.start(options)
  local self = setmetatable({ flags = options.flags or {},
    ports = { http = free_port(), grpc = free_port(), metrics = free_port(),
              ctlog = free_port() } }, Deployment)
  self.directory = process.directory()
  deployment.run({ deployment.program, "run", "examples/authority.lua",
    self.directory .. "/ca" })
  self.issuer_process = process.start({ deployment.program, "run",
    "examples/issuer/issuer.lua", "--port", "0",
    "--keys", self.directory .. "/issuer" })
  self.issuer = self.issuer_process:wait_for("issuer (http://%S+)")
  self.backend = (options.backend or file_ca)(self.directory)
  self.environment = options.environment
  write_policies(self, options.policies)
  self:serve()
  return self
end

--- Ends everything and removes its files. True when the CA went by itself.
function Deployment:stop()
  local went = self.ca:stop()
  self.issuer_process:stop()
  os.execute("rm -rf " .. self.directory)
  return went
end

return deployment
