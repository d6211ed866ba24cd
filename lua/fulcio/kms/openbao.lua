--- Keys in the transit engine of OpenBao or HashiCorp Vault.

local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")
local json = require("fulcio.json")
local log = require("fulcio.log")
local shelf = require("fulcio.shelf")

-- A token is renewed when a third of its life is left; a renewal that
-- failed is tried again so many seconds later.
local PART, AGAIN = 3, 10

local hashes = { ["SHA-256"] = "sha2-256", ["SHA-384"] = "sha2-384",
                 ["SHA-512"] = "sha2-512" }

local Bao = {}
Bao.__index = Bao

local function monotonic() return engine.system.monotonic() end

local function is_sealed(answer)
  return answer.status == 503 and answer.body:find("sealed", 1, true) ~= nil
end

local function words_of(answer)
  local errors = exchange.object(answer).errors
  local text = type(errors) == "table" and table.concat(errors, "; ") or ""
  return text ~= "" and text:gsub("%s+", " "):sub(1, 200)
    or "no reason given"
end

-- The token's file may have got another one from an agent.
local function read_token(self)
  if not self.token_file then return end
  local text = shelf.read(self.token_file)
  local token = text and text:match("^%s*(%S+)%s*$")
  if not token or token == self.token then return false end
  self.token = token
  return true
end

local function send(self, method, path, body, deadline)
  return exchange.run({
    url = self.url .. "/v1/" .. path, method = method,
    body = body and json.encode(body), ca_file = self.ca_file,
    headers = { ["X-Vault-Token"] = self.token,
                ["X-Vault-Request"] = "true",
                ["X-Vault-Namespace"] = self.namespace },
  }, { name = self.name, deadline = deadline,
       passing = function(answer)
         return not is_sealed(answer)
           and (answer.status == 429 or answer.status >= 500)
       end })
end

-- Why we may not: the token is no more, or its policy does not let us.
local function denied(self, path, words, deadline)
  local answer = send(self, "GET", "auth/token/lookup-self", nil, deadline)
  if answer and answer.status == 403 then
    return nil, self.name .. ": the token has expired or was revoked:"
      .. " give it another one", "hsm_gone"
  end
  return nil, ("%s: the token's policy does not allow %s (%s)")
    :format(self.name, path, words), "sign_failed"
end

-- The `data` of an answer; nil, message, code, seconds.
local function ask(self, method, path, body, deadline)
  local answer, message, code = send(self, method, path, body, deadline)
  if answer and answer.status == 403 and read_token(self) then
    answer, message, code = send(self, method, path, body, deadline)
  end
  if not answer then return nil, message, code end
  if answer.status == 200 then return exchange.object(answer) end
  local words = words_of(answer)
  if is_sealed(answer) then
    return nil, self.name .. " is sealed: unseal it", "hsm_gone"
  elseif answer.status == 403 then
    return denied(self, path, words, deadline)
  end
  return nil, exchange.refused({ name = self.name }, answer,
                               path .. ": " .. words)
end

-- When to renew a token that has so many seconds left; never, when it does
-- not end or cannot be renewed.
local function schedule(self, seconds, renewable)
  self.renew_at = nil
  if seconds > 0 and renewable then
    self.renew_at = monotonic() + seconds - seconds / PART
  elseif seconds > 0 then
    log.warn("the token of the key service ends and cannot be renewed", {
      service = self.name, seconds = seconds })
  end
end

local function look_up(self, deadline)
  local found, message, code = ask(self, "GET", "auth/token/lookup-self",
                                   nil, deadline)
  if not found then return nil, message, code end
  local data = type(found.data) == "table" and found.data or {}
  schedule(self, tonumber(data.ttl) or 0, data.renewable == true)
  return true
end

--- Renews the token when it is time to; to be called now and then.
function Bao:tend(deadline)
  if not self.renew_at or monotonic() < self.renew_at then return end
  self.renew_at = monotonic() + AGAIN
  local found, message = ask(self, "POST", "auth/token/renew-self", {},
                             deadline)
  if not found then
    log.warn("the token of the key service is not renewed", {
      error = message })
    return
  end
  local auth = type(found.auth) == "table" and found.auth or {}
  schedule(self, tonumber(auth.lease_duration) or 0, auth.renewable == true)
  log.info("the token of the key service is renewed", {
    service = self.name, seconds = auth.lease_duration })
end

local function versions_of(found)
  local data = type(found.data) == "table" and found.data or {}
  return type(data.keys) == "table" and data.keys or {}
end

--- Finds the version of the key whose public half is `public`, and stays
--- with it: true; nil, message, code.
function Bao:bind(public, deadline)
  local ok, message, code = look_up(self, deadline)
  if not ok then return nil, message, code end
  local path = self.mount .. "/keys/" .. self.key
  local found
  found, message, code = ask(self, "GET", path, nil, deadline)
  if not found then return nil, message, code end
  local count = 0
  for version, about in pairs(versions_of(found)) do
    local pem = type(about) == "table" and about.public_key
    local key = type(pem) == "string" and engine.pkey.parse(pem)
    count = count + 1
    if key and key:spki() == public:spki() then
      self.version = tonumber(version)
      self.rsa = public.kind == "RSA"
      return true
    end
  end
  return nil, ("%s: none of the %d versions of %s has the public key of the"
    .. " chain's first certificate"):format(self.name, count, path), "no_key"
end

--- Signs a digest: DER or RSA signature; nil, message, code, seconds.
function Bao:sign(digest, hash, deadline)
  local found, message, code, seconds = ask(self, "POST",
    self.mount .. "/sign/" .. self.key, {
      input = engine.bytes.base64(digest), prehashed = true,
      hash_algorithm = hashes[hash], key_version = self.version,
      marshaling_algorithm = "asn1",
      signature_algorithm = self.rsa and "pkcs1v15" or nil,
    }, deadline)
  if not found then return nil, message, code, seconds end
  local data = type(found.data) == "table" and found.data or {}
  local version, text = tostring(data.signature):match("^vault:v(%d+):(.+)$")
  local signature = text and engine.bytes.unbase64(text)
  if signature and tonumber(version) == self.version then return signature end
  return nil, self.name .. ": its answer has no signature of version "
    .. self.version, "sign_failed"
end

-- The first of some variables that is set.
local function first(environment, ...)
  for _, name in ipairs({ ... }) do
    local value = environment[name]
    if value and value ~= "" then return value, name end
  end
end

local M = {}

--- Of a resource openbao://KEY or hashivault://KEY; `environment` is the
--- variables by name. nil and a message.
function M.open(resource, environment)
  local scheme, key = resource:match("^(%l+)://([%w_][%w_.-]*)$")
  if not scheme then
    return nil, ("--kms-resource: %q is not openbao://KEY or"
      .. " hashivault://KEY"):format(resource)
  end
  local one, two = "BAO", "VAULT"
  if scheme == "hashivault" then one, two = two, one end
  local function variable(name)
    return first(environment, one .. "_" .. name, two .. "_" .. name)
  end
  local url = variable("ADDR")
  if not url then
    return nil, ("--kms-resource: %s_ADDR is not set"):format(one)
  end
  local self = setmetatable({
    url = url:gsub("/+$", ""), key = key, token = variable("TOKEN"),
    namespace = variable("NAMESPACE"), ca_file = variable("CACERT"),
    mount = first(environment, "TRANSIT_SECRET_ENGINE_PATH") or "transit",
    name = (scheme == "openbao" and "OpenBao" or "Vault") .. " at " .. url,
  }, Bao)
  if not self.token then
    self.token_file = (environment.HOME or "") .. "/.vault-token"
    if not read_token(self) then
      return nil, ("--kms-resource: %s_TOKEN is not set and there is no"
        .. " token in %s"):format(one, self.token_file)
    end
  end
  return self
end

return M
