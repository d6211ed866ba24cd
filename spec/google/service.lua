--- The fake running as a program, credentials for it, and what to order.

local engine = require("fulcio.engine")
local json = require("fulcio.json")
local program = require("spec.program")
local server_program = require("spec.server_program")

local Service = {}
Service.__index = Service

local M = {}

--- The service account's address, and its file.
M.EMAIL = "ca@example.iam.gserviceaccount.com"
M.POOL = "projects/p/locations/l/caPools/pool"

--- Writes a file that only we can read.
function Service:write(name, value)
  local path = self.directory .. "/" .. name
  assert(engine.system.write(path,
    type(value) == "table" and json.encode(value) or value))
  return path
end

--- Orders faults; forgets what was asked and made.
function Service:order(faults, more)
  local asked = { faults = json.list(faults or {}) }
  for name, value in pairs(more or {}) do asked[name] = value end
  assert(program.post(self.url .. "/control", asked))
end

--- What was asked and made since.
function Service:seen()
  return program.parsed(program.get(self.url .. "/control"))
end

--- Credential files of each kind, all of the fake: name to data.
function Service:credentials()
  local url = self.url
  local user = { type = "authorized_user", client_id = "client",
    client_secret = "client secret", refresh_token = "refresh",
    token_uri = url .. "/token" }
  local account = { type = "service_account", private_key = self.pem,
    private_key_id = "key-1", client_email = M.EMAIL,
    token_uri = url .. "/token" }
  local function federated(source, more)
    local data = { type = "external_account",
      audience = "//iam.googleapis.com/projects/1/locations/global/"
        .. "workloadIdentityPools/p/providers/v",
      subject_token_type = "urn:ietf:params:oauth:token-type:jwt",
      token_url = url .. "/sts/v1/token", credential_source = source }
    for name, value in pairs(more or {}) do data[name] = value end
    return data
  end
  local function impersonated(source)
    return { type = "impersonated_service_account", delegates = {},
      service_account_impersonation_url = url
        .. "/v1/projects/-/serviceAccounts/x@y:generateAccessToken",
      source_credentials = source }
  end
  local subject = self:write("subject", "subject")
  return {
    service_account = account, authorized_user = user,
    federated_file = federated({ file = subject }),
    federated_url = federated({ url = url .. "/subject.json",
      format = { type = "json", subject_token_field_name = "value" } }),
    federated_impersonated = federated({ file = subject }, {
      service_account_impersonation_url = url
        .. "/v1/projects/-/serviceAccounts/x@y:generateAccessToken" }),
    impersonated_user = impersonated(user),
    impersonated_account = impersonated(account),
  }
end

--- Ends it and removes its files; whether it went by itself.
function Service:stop()
  local went = self.process:stop()
  os.execute("rm -r " .. self.directory)
  return went
end

--- Starts it; `options` as fake.new takes them.
function M.start(options)
  local directory = os.tmpname()
  os.remove(directory)
  assert(engine.system.mkdir(directory))
  local key = assert(engine.pkey.generate("RSA-2048"))
  assert(key:save(directory .. "/key.pem"))
  local process, port = server_program.start(
    ('require("spec.google.program").run(%q, %s)'):format(directory,
      options or "nil"))
  return setmetatable({
    directory = directory, process = process, port = port,
    pem = program.read(directory .. "/key.pem"),
    url = ("http://127.0.0.1:%d"):format(port),
    host = ("127.0.0.1:%d"):format(port),
  }, Service)
end

return M
