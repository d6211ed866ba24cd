--- Keys in Google Cloud KMS.

local client = require("fulcio.google.client")
local crc32c = require("fulcio.kms.crc32c")
local credentials = require("fulcio.google.credentials")
local engine = require("fulcio.engine")
local hosts = require("fulcio.google.hosts")
local json = require("fulcio.json")

local ENDPOINT = "https://cloudkms.googleapis.com"
-- Seconds of one attempt.
local ATTEMPT = 2

local KEY = "^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+"

local names = { ["SHA-256"] = "sha256", ["SHA-384"] = "sha384",
                ["SHA-512"] = "sha512" }

local Gcp = {}
Gcp.__index = Gcp

-- As client:call; nil, message, code, seconds.
local function ask(self, name, path, resource, permission, body, deadline)
  local answer, failed = self.client:call({
    name = name, path = path, body = body and json.encode(body),
    deadline = deadline, resource = resource, permission = permission,
    params = "name=" .. resource,
  })
  if answer then return answer end
  local code = failed.final and "sign_failed"
    or failed.http == 429 and "hsm_busy" or "hsm_gone"
  return nil, self.name .. ": " .. failed.message, code, failed.retry_after
end

local function number(crc) return ("%d"):format(crc) end

-- Whether a version's public key is `public`; nil, message, code.
local function is_public(self, version, public, deadline)
  local found, message, code = ask(self, "getPublicKey",
    "/v1/" .. version .. "/publicKey", version,
    "cloudkms.cryptoKeyVersions.viewPublicKey", nil, deadline)
  if not found then return nil, message, code end
  local key = type(found.pem) == "string" and engine.pkey.parse(found.pem)
  if found.pemCrc32c and tostring(found.pemCrc32c)
     ~= number(crc32c.of(found.pem or "")) then
    return nil, self.name .. ": getPublicKey: damaged on its way", "hsm_gone"
  end
  return key and key:spki() == public:spki() or false
end

-- Names of the versions that can sign, the newest first.
local function versions_of(self, deadline)
  local list, page = {}, ""
  repeat
    local found, message, code = ask(self, "cryptoKeyVersions.list",
      "/v1/" .. self.key .. "/cryptoKeyVersions?pageSize=100&filter="
      .. "state%3DENABLED" .. page, self.key,
      "cloudkms.cryptoKeyVersions.list", nil, deadline)
    if not found then return nil, message, code end
    local versions = found.cryptoKeyVersions
    for _, version in ipairs(type(versions) == "table" and versions or {}) do
      list[#list + 1] = version.name
    end
    local next_page = found.nextPageToken
    page = type(next_page) == "string" and next_page ~= ""
      and "&pageToken=" .. next_page:gsub("[^%w_-]", function(byte)
        return ("%%%02X"):format(byte:byte())
      end) or nil
  until not page
  table.sort(list, function(a, b)
    return tonumber(a:match("%d+$")) > tonumber(b:match("%d+$"))
  end)
  return list
end

--- Finds the version whose public key is `public`, and stays with it: true;
--- nil, message, code.
function Gcp:bind(public, deadline)
  local list, message, code
  if self.version then
    list = { self.version }
  else
    list, message, code = versions_of(self, deadline)
    if not list then return nil, message, code end
  end
  for _, version in ipairs(list) do
    local same
    same, message, code = is_public(self, version, public, deadline)
    if same == nil then return nil, message, code end
    if same then
      self.version = version
      return true
    end
  end
  return nil, ("%s: none of the %d enabled versions of %s has the public key"
    .. " of the chain's first certificate"):format(self.name, #list,
    self.key), "no_key"
end

-- The signature in an answer that is undamaged; nil and what is wrong.
local function undamaged(self, found)
  local signature = type(found.signature) == "string"
    and engine.bytes.unbase64(found.signature)
  if not signature then return nil, "no signature in the answer" end
  if found.name ~= self.version then
    return nil, "signed by " .. tostring(found.name)
  elseif found.verifiedDigestCrc32c ~= true then
    return nil, "the digest was damaged on its way"
  elseif tostring(found.signatureCrc32c) ~= number(crc32c.of(signature)) then
    return nil, "the signature was damaged on its way"
  end
  return signature
end

--- Signs a digest; nil, message, code, seconds.
function Gcp:sign(digest, hash, deadline)
  local found, message, code, seconds = ask(self, "asymmetricSign",
    "/v1/" .. self.version .. ":asymmetricSign", self.version,
    "cloudkms.cryptoKeyVersions.useToSign", {
      digest = { [names[hash]] = engine.bytes.base64(digest) },
      digestCrc32c = number(crc32c.of(digest)),
    }, deadline)
  if not found then return nil, message, code, seconds end
  local signature, wrong = undamaged(self, found)
  if signature then return signature end
  return nil, ("%s: asymmetricSign: %s"):format(self.name, wrong), "hsm_gone"
end

--- From now on on this process's event loop.
function Gcp:on_loop(server)
  self.client.credentials:on_loop(server)
end

local function endpoint_of(environment)
  local url = environment.CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS
  if not url or url == "" then return ENDPOINT end
  if url:find("^https://") or hosts.is_loopback(url) then
    return (url:gsub("/+$", ""))
  end
  return nil, "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: not https"
end

-- Key and version of a resource; nil and a message.
local function parse(resource)
  local path = resource:match("^gcpkms://(.*)$")
  local key = path and path:match(KEY)
  local rest = key and path:sub(#key + 1)
  local version = rest and (rest:match("^/cryptoKeyVersions/(%d+)$")
                            or rest:match("^/versions/(%d+)$"))
  if not key or rest ~= "" and not version or path:find("[%s?#%%]") then
    return nil, ("--kms-resource: %q is not gcpkms://projects/P/locations/L"
      .. "/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/N]"):format(resource)
  end
  return key, version and key .. "/cryptoKeyVersions/" .. version
end

local M = {}

--- Of a resource gcpkms://…; nil and a message.
function M.open(resource, environment, settings)
  local key, version = parse(resource)
  if not key then return nil, version end
  local endpoint, message = endpoint_of(environment)
  if not endpoint then return nil, message end
  local held
  held, message = credentials.open({ environment = environment,
                                     hosts = settings.gcp_token_hosts })
  if not held then return nil, "--kms-resource: " .. message end
  local calls = client.new({ endpoint = endpoint, credentials = held })
  local seconds = settings.gcp_kms_timeout or 0
  calls.attempt = seconds > 0 and seconds or ATTEMPT
  return setmetatable({ key = key, version = version, client = calls,
                        name = "Google Cloud KMS" }, Gcp)
end

return M
