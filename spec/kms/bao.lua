--- A real OpenBao, in memory, for specs.

local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")

local Bao = {}
Bao.__index = Bao

local M = {}

-- A port that was free a moment ago: bao does not say which it took.
local function free_port()
  local listener = assert(engine.server.listen({}))
  local port = listener.port
  listener:close()
  return port
end

--- One request as root (or with `token`): the decoded answer and status.
function Bao:ask(method, path, value, token)
  local answer, message = engine.http.request({
    url = self.url .. "/v1/" .. path, method = method, timeout = 10,
    body = value and json.encode(value),
    headers = { ["X-Vault-Token"] = token or "root" },
  })
  if not answer then return nil, message end
  return engine.claims.parse(answer.body) or {}, answer.status
end

--- Makes a key of transit, "ecdsa-p256" and so on; its public half.
function Bao:key(name, kind)
  self:ask("POST", "transit/keys/" .. name, { type = kind })
  return self:public(name)
end

--- The public half of a version of a key.
function Bao:public(name, version)
  local found = assert(self:ask("GET", "transit/keys/" .. name))
  local pem = found.data.keys[tostring(version or 1)].public_key
  return assert(engine.pkey.parse(pem))
end

--- A token that ends, for a policy (default: what signing needs).
function Bao:token(changes)
  self:ask("PUT", "sys/policies/acl/signer", { policy = [[
    path "transit/keys/*" { capabilities = ["read"] }
    path "transit/sign/*" { capabilities = ["update"] }]] })
  local about = { policies = json.list({ "signer" }), ttl = "1h" }
  for name, value in pairs(changes or {}) do about[name] = value end
  local made = assert(self:ask("POST", "auth/token/create", about))
  return made.auth.client_token
end

--- Writes the chain of a certificate for a public key; its path.
function Bao:chain(public, name)
  local root = authority.certificate("root")
  local signing = authority.certificate("signing", root, {
    key = public, extended_key_usage = { "code_signing" }, path_length = 0 })
  local path = self.directory .. "/" .. name .. ".pem"
  assert(engine.system.write(path, signing.certificate.pem
                             .. root.certificate.pem))
  return path
end

--- Waits until it answers.
function Bao:wait()
  for _ = 1, 200 do
    if self:ask("GET", "sys/health") then return end
    os.execute("sleep 0.05")
  end
  error(self.process:output(), 2)
end

function Bao:unseal()
  local key = self.process:output():match("Unseal Key: (%S+)")
  self:ask("PUT", "sys/unseal", { key = key })
end

--- Ends it and removes its files; whether it went by itself.
function Bao:stop()
  local went = self.process:stop()
  os.execute("rm -rf " .. self.directory)
  return went
end

--- Starts it, with transit; nil and why it cannot be had.
function M.start()
  local installed, missing = runtimes.install("kms")
  if not installed then return nil, missing end
  local self = setmetatable({ directory = process.directory() }, Bao)
  local address = "127.0.0.1:" .. ("%d"):format(free_port())
  self.url = "http://" .. address
  self.process = process.start({ runtimes.built .. "/kms/bin/bao", "server",
    "-dev", "-dev-root-token-id=root", "-dev-no-store-token",
    "-dev-listen-address=" .. address }, { HOME = self.directory })
  self.process:wait_for("Root Token: (root)")
  self:wait()
  self:ask("POST", "sys/mounts/transit", { type = "transit" })
  return self
end

return M
