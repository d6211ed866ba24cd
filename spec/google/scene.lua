--- A pool of the fake and credentials for it, for specs without a network.

local engine = require("fulcio.engine")
local fake = require("spec.google.fake")
local files = require("spec.files")
local googleca = require("fulcio.ca.googleca")
local json = require("fulcio.json")

-- Made once: RSA keys take their time.
local key

local Scene = {}
Scene.__index = Scene

local M = {}

--- The usual pool.
M.POOL = "projects/p/locations/l/caPools/pool"

local function write(path, text)
  files.write(path, text)
  os.execute("chmod 600 " .. path)
  return path
end

--- Writes a credential file (a table) and names it in the environment.
function Scene:credentials(data, mode)
  local path = write(self.directory .. "/credentials.json",
                     type(data) == "table" and json.encode(data) or data)
  if mode then os.execute(("chmod %s %s"):format(mode, path)) end
  self.environment.GOOGLE_APPLICATION_CREDENTIALS = path
  return path
end

--- The service account's file, with changes.
function Scene:service_account(changes)
  local data = {
    type = "service_account", private_key = self.pem,
    private_key_id = "key-1", token_uri = "https://oauth2.googleapis.com/token",
    client_email = "ca@example.iam.gserviceaccount.com",
  }
  for name, value in pairs(changes or {}) do data[name] = value end
  return data
end

--- What `serve` would hand to the backend.
function Scene:settings(changes)
  local settings = {
    gcp_private_ca_parent = M.POOL, gcp_private_ca_version = "v1",
    gcp_private_ca_endpoint = "", gcp_token_hosts = {}, workers = 1,
    environment = self.environment,
  }
  for name, value in pairs(changes or {}) do settings[name] = value end
  return settings
end

--- Opens the CA.
function Scene:open(changes)
  return googleca.open(self:settings(changes))
end

--- Puts the network back.
function Scene:close()
  engine.http.set_backend(nil)
  os.execute("rm -r " .. self.directory)
end

--- `options` as fake.new takes them. From now on every request goes to the
--- fake.
function M.new(options)
  local path = os.tmpname()
  os.remove(path)
  assert(engine.system.mkdir(path))
  key = key or assert(engine.pkey.generate("RSA-2048"))
  assert(key:save(path .. "/key.pem"))
  local file = assert(io.open(path .. "/key.pem"))
  local pem = file:read("a")
  file:close()
  local about = { key = key }
  for name, value in pairs(options or {}) do about[name] = value end
  local scene = setmetatable({
    directory = path, environment = { HOME = path }, pem = pem, key = key,
    fake = fake.new(about),
  }, Scene)
  scene:credentials(scene:service_account())
  engine.http.set_backend(scene.fake:transport())
  return scene
end

return M
