--- A whole deployment for a spec, on loopback and free ports: development
--- issuer, file CA and log, as `make serve` has them.
local process = require("spec.process")

local Deployment = {}
Deployment.__index = Deployment

local deployment = {}

--- The program under test: BUILD names another build than build/.
deployment.program = (os.getenv("BUILD") or "build") .. "/fulcio"

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

--- Starts the CA and its log; `flags` are added to the command line.
function Deployment:serve()
  local words = { deployment.program, "serve", "--development",
    "--ca", "fileca", "--fileca-cert", self.directory .. "/ca/chain.pem",
    "--fileca-key", self.directory .. "/ca/key.pem",
    "--policies", self.directory .. "/policies",
    "--data-dir", self.directory .. "/data",
    "--host", "127.0.0.1", "--port", self.port or "0",
    "--grpc-host", "127.0.0.1", "--grpc-port", "0",
    "--metrics-port", "0", "--ctlog-port", "0" }
  for _, flag in ipairs(self.flags) do words[#words + 1] = flag end
  self.ca = process.start(words)
  self.fulcio = "http://" .. self.ca:wait_for("serving.-http=\"?([%d.:]+)")
  self.log = "http://" .. self.ca:wait_for("serving.-ctlog=\"?([%d.:]+)")
end

--- Starts issuer, CA and log. Options: `policies`, texts by name; `flags`,
--- a list for `fulcio serve`.
function deployment.start(options)
  local self = setmetatable({ flags = options.flags or {} }, Deployment)
  self.directory = process.directory()
  deployment.run({ deployment.program, "run", "examples/authority.lua",
    self.directory .. "/ca" })
  self.issuer_process = process.start({ deployment.program, "run",
    "examples/issuer/issuer.lua", "--port", "0" })
  self.issuer = self.issuer_process:wait_for("issuer (http://%S+)")
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
