--- Keys in Azure Key Vault and Managed HSM.

local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")
local json = require("fulcio.json")
local token = require("fulcio.kms.azure_token")

local VERSION = "?api-version=7.4"

local Azure = {}
Azure.__index = Azure

local function words_of(answer)
  local wrong = exchange.object(answer).error
  if type(wrong) ~= "table" then return "no reason given" end
  return ("%s: %s"):format(tostring(wrong.code), tostring(wrong.message))
    :sub(1, 200)
end

local function send(self, path, body, deadline)
  local bearer, message = self.token:current(deadline)
  if not bearer then return nil, self.name .. ": " .. message end
  return exchange.run({
    url = path:find("^http") and path or self.url .. path,
    method = body and "POST" or "GET", body = body and json.encode(body),
    headers = { Authorization = "Bearer " .. bearer,
                ["Content-Type"] = body and "application/json" or nil },
  }, { name = self.name, deadline = deadline })
end

-- The answer decoded; nil, message, code, seconds.
local function ask(self, path, body, deadline)
  local answer, message = send(self, path, body, deadline)
  if answer and answer.status == 401 then
    self.token:forget()
    answer, message = send(self, path, body, deadline)
  end
  if not answer then return nil, message, "hsm_gone" end
  if answer.status == 200 then return exchange.object(answer) end
  return nil, exchange.refused({ name = self.name }, answer,
                               words_of(answer))
end

-- The public key of a JSON Web Key; hardware's are marked in `kty`.
local function public_of(found)
  local jwk = type(found.key) == "table" and found.key or {}
  jwk.kty = type(jwk.kty) == "string" and jwk.kty:gsub("%-HSM$", "") or nil
  return engine.jws.key(jwk), jwk.kid
end

local function versions_of(self, deadline)
  if self.version then return { self.version } end
  local list = {}
  local path = "/keys/" .. self.key .. "/versions" .. VERSION
  while path do
    local found, message, code = ask(self, path, nil, deadline)
    if not found then return nil, message, code end
    for _, one in ipairs(type(found.value) == "table" and found.value or {})
    do
      local about = type(one.attributes) == "table" and one.attributes or {}
      local version = tostring(one.kid):match("([^/]+)$")
      if about.enabled ~= false then list[#list + 1] = version end
    end
    local further = found.nextLink
    -- The token goes nowhere else.
    path = type(further) == "string"
      and further:sub(1, #self.url + 1) == self.url .. "/" and further or nil
  end
  return list
end

--- Finds the version whose public key is `public`, and stays with it: true;
--- nil, message, code.
function Azure:bind(public, deadline)
  local list, message, code = versions_of(self, deadline)
  if not list then return nil, message, code end
  for _, version in ipairs(list) do
    local found
    found, message, code = ask(self, ("/keys/%s/%s%s"):format(self.key,
      version, VERSION), nil, deadline)
    if not found then return nil, message, code end
    local key = public_of(found)
    if key and key:spki() == public:spki() then
      self.version, self.rsa = version, public.kind == "RSA"
      return true
    end
  end
  return nil, ("%s: none of the %d enabled versions of %s has the public key"
    .. " of the chain's first certificate"):format(self.name, #list,
    self.key), "no_key"
end

--- Signs a digest; nil, message, code, seconds.
function Azure:sign(digest, hash, deadline)
  local found, message, code, seconds = ask(self,
    ("/keys/%s/%s/sign%s"):format(self.key, self.version, VERSION), {
      alg = (self.rsa and "RS" or "ES") .. hash:sub(-3),
      value = engine.bytes.base64url(digest),
    }, deadline)
  if not found then return nil, message, code, seconds end
  local signature = type(found.value) == "string"
    and engine.bytes.unbase64(found.value)
  local version = tostring(found.kid):match("([^/]+)$")
  if not signature or version ~= self.version then
    return nil, self.name .. ": no signature of version " .. self.version
      .. " in the answer", "sign_failed"
  end
  return self.rsa and signature or engine.pkey.der(signature)
end

-- Host, key and version of a resource; nil and a message.
local function parse(resource)
  local host, key, rest =
    resource:match("^azurekms://([%w.:-]+)/([%w-]+)(.*)$")
  local version = rest and rest:match("^/(%w+)$")
  if not host or rest ~= "" and not version then
    return nil, ("--kms-resource: %q is not azurekms://VAULT.vault.azure.net"
      .. "/KEY[/VERSION]"):format(resource)
  end
  return host, key, version
end

local M = {}

--- Of a resource azurekms://VAULT.vault.azure.net/KEY[/VERSION]; nil and a
--- message.
function M.open(resource, environment)
  local host, key, version = parse(resource)
  if not host then return nil, key end
  local near = host:find("^127%.") or host:find("^localhost")
  local domain = host:match("%.(managedhsm%..*)$")
    or host:match("%.(vault%..*)$") or "vault.azure.net"
  local held, message = token.open(environment, "https://" .. domain)
  if not held then return nil, "--kms-resource: " .. message end
  return setmetatable({
    url = (near and "http://" or "https://") .. host, key = key,
    version = version, token = held, name = "Azure Key Vault " .. host,
  }, Azure)
end

return M
