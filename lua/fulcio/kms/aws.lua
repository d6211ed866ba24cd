--- Keys in AWS KMS, or what answers as it does.

local credentials = require("fulcio.kms.aws_credentials")
local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")
local json = require("fulcio.json")
local log = require("fulcio.log")

-- A message that is no digest may be so long.
local MAX_RAW = 4096

local algorithms = { ["SHA-256"] = "256", ["SHA-384"] = "384",
                     ["SHA-512"] = "512" }

-- What passes, as AWS names it.
local passing = {
  ThrottlingException = "hsm_busy", RequestLimitExceeded = "hsm_busy",
  TooManyRequestsException = "hsm_busy",
  DependencyTimeoutException = "hsm_gone", KMSInternalException = "hsm_gone",
  KeyUnavailableException = "hsm_gone",
}
local expired = {
  ExpiredTokenException = true, UnrecognizedClientException = true,
  ExpiredToken = true, InvalidClientTokenId = true,
}

local Aws = {}
Aws.__index = Aws

-- The error's name, without the namespace before "#".
local function kind_of(answer)
  local kind = exchange.object(answer).__type
  return type(kind) == "string" and kind:match("[^#]*$") or nil
end

local function words_of(answer, action)
  local value = exchange.object(answer)
  local message = value.message or value.Message
  return ("%s: %s %s"):format(action, kind_of(answer) or "no name",
    type(message) == "string" and message:sub(1, 200) or "")
end

local function send(self, action, value, held, deadline)
  return exchange.run({
    url = self.url .. "/", method = "POST", body = json.encode(value),
    headers = {
      ["Content-Type"] = "application/x-amz-json-1.1",
      ["X-Amz-Target"] = "TrentService." .. action,
      ["X-Amz-Security-Token"] = held.session,
    },
    aws_sigv4 = { region = self.region, service = "kms", key = held.key,
                  secret = held.secret },
  }, { name = self.name, deadline = deadline, passing = function(answer)
    return answer.status ~= 200 and (answer.status >= 500
      or passing[kind_of(answer)] ~= nil)
  end })
end

-- The answer decoded; nil, message, code, seconds.
local function ask(self, action, value, deadline)
  local answer
  for attempt = 1, 2 do
    local held, message = self.credentials:current(deadline)
    if not held then
      return nil, self.name .. ": " .. message, "hsm_gone"
    end
    local why
    answer, why = send(self, action, value, held, deadline)
    if not answer then return nil, why, "hsm_gone" end
    if not expired[kind_of(answer)] or attempt == 2 then break end
    self.credentials:forget()
  end
  if answer.status == 200 then return exchange.object(answer) end
  local message, code, seconds = exchange.refused({ name = self.name },
    answer, words_of(answer, action))
  local kind = kind_of(answer)
  return nil, message, passing[kind] or expired[kind] and "hsm_gone" or code,
    seconds
end

local function sign(self, raw, value, hash, deadline)
  local found, message, code, seconds = ask(self, "Sign", {
    KeyId = self.key_id, Message = engine.bytes.base64(value),
    MessageType = raw and "RAW" or "DIGEST",
    SigningAlgorithm = (self.rsa and "RSASSA_PKCS1_V1_5_SHA_" or "ECDSA_SHA_")
      .. algorithms[hash],
  }, deadline)
  if not found then return nil, message, code, seconds end
  local signature = type(found.Signature) == "string"
    and engine.bytes.unbase64(found.Signature)
  if signature then return signature end
  return nil, self.name .. ": Sign: no signature in the answer",
    "sign_failed"
end

-- Some that answer as AWS does hash a digest once more: they are sent the
-- message itself.
local function choose_mode(self, public, deadline)
  local text = "fulcio starts"
  local hash = public.kind == "RSA" and "SHA-256"
    or "SHA-" .. (public.bits == 521 and 512 or public.bits)
  local signature, message, code = sign(self, false,
    engine.bytes.digest(text, hash), hash, deadline)
  if not signature then return nil, message, code end
  if public:verify(text, signature, hash) then return true end
  signature, message, code = sign(self, true, text, hash, deadline)
  if not signature then return nil, message, code end
  if public:verify(text, signature, hash) then
    self.raw = true
    log.warn("the key service hashes digests again and gets whole messages",
             { service = self.name })
    return true
  end
  return nil, self.name .. ": its signature does not verify", "sign_failed"
end

--- Checks that the key is `public`'s: true; nil, message, code.
function Aws:bind(public, deadline)
  local found, message, code = ask(self, "GetPublicKey",
                                   { KeyId = self.key_id }, deadline)
  if not found then return nil, message, code end
  local spki = type(found.PublicKey) == "string"
    and engine.bytes.unbase64(found.PublicKey)
  if spki ~= public:spki() then
    return nil, ("%s: the public key of %s is not that of the chain's first"
      .. " certificate"):format(self.name, self.key_id), "no_key"
  end
  -- An alias may lead elsewhere later.
  if type(found.KeyId) == "string" then self.key_id = found.KeyId end
  self.rsa = public.kind == "RSA"
  return choose_mode(self, public, deadline)
end

--- Signs a digest, or the message it is of where the service wants that;
--- nil, message, code, seconds.
function Aws:sign(digest, hash, deadline, message)
  if self.raw and #message > MAX_RAW then
    return nil, self.name .. ": the message is longer than 4096 bytes",
      "sign_failed"
  end
  return sign(self, self.raw, self.raw and message or digest, hash, deadline)
end

local function is_loopback(host)
  return host:find("^127%.") ~= nil or host:find("^localhost") ~= nil
    or host:find("^%[::1%]") ~= nil
end

-- Endpoint and key of awskms://[HOST]/KEY.
local function parse(resource, environment)
  local host, key = resource:match("^awskms://([^/]*)/(.+)$")
  if not host or not key:find("^[%w_/:.-]+$") then
    return nil, ("--kms-resource: %q is not awskms://[HOST]/KEY, where KEY"
      .. " is an ID, an ARN or alias/NAME"):format(resource)
  end
  local region = key:match("^arn:[^:]*:kms:([^:]+):")
    or environment.AWS_REGION or environment.AWS_DEFAULT_REGION
  if not region or not region:find("^[%w-]+$") then
    return nil, "--kms-resource: AWS_REGION is not set"
  end
  local url = environment.AWS_ENDPOINT_URL_KMS or environment.AWS_ENDPOINT_URL
  if host ~= "" then
    url = (is_loopback(host) and "http://" or "https://") .. host
  end
  return url or ("https://kms.%s.amazonaws.com"):format(region), key, region
end

local M = {}

--- Of a resource awskms://[HOST]/KEY; nil and a message.
function M.open(resource, environment)
  local url, key, region = parse(resource, environment)
  if not url then return nil, key end
  local held, message = credentials.open(environment, region)
  if not held then return nil, "--kms-resource: " .. message end
  return setmetatable({
    url = url:gsub("/+$", ""), key_id = key, region = region,
    credentials = held, name = "AWS KMS at " .. url:match("//(.*)$"),
  }, Aws)
end

return M
