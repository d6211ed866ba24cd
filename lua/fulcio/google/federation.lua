--- Workload identity federation: another provider's token, from a file or
--- an address, exchanged for Google's.

local engine = require("fulcio.engine")
local hosts = require("fulcio.google.hosts")
local impersonation = require("fulcio.google.impersonation")
local oauth = require("fulcio.google.oauth")
local shelf = require("fulcio.shelf")

local TOKEN_URL = "https://sts.googleapis.com/v1/token"
local ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
local EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

local types = {
  ["urn:ietf:params:oauth:token-type:jwt"] = true,
  ["urn:ietf:params:oauth:token-type:id_token"] = true,
  ["urn:ietf:params:oauth:token-type:saml2"] = true,
}

local Federation = {}
Federation.__index = Federation

local function read(path)
  local text, message = shelf.read(path)
  if not text then return nil, "credential_source.file: " .. message end
  if text ~= "" then return text end
  return nil, ("credential_source.file: %s is empty"):format(path)
end

-- The subject token in what the source holds.
local function extract(self, text)
  local field = self.field
  if not field then return text end
  local value = engine.claims.parse(text)
  local token = type(value) == "table" and value[field]
  if type(token) == "string" and token ~= "" then return token end
  return nil, ("credential_source: no field %q in what it gives")
    :format(field)
end

local function subject_token(self, how)
  local text, message, code
  if self.file then
    text, message = read(self.file)
  else
    local answer
    answer, message, code = oauth.exchange("credential_source.url",
      { url = self.url, headers = self.headers }, how)
    text = answer and answer.body
  end
  if not text then return nil, message, code or "refused" end
  text, message = extract(self, text)
  return text, message, "refused"
end

--- A token: { token, expires }; nil, message, code.
function Federation:fetch(how)
  local subject, message, code = subject_token(self, how)
  if not subject then return nil, message, code end
  local value
  value, message, code = oauth.post("token_url", self.token_url, {
    { "grant_type", EXCHANGE },
    { "audience", self.audience },
    { "scope", how.scope or oauth.SCOPE },
    { "requested_token_type", ACCESS_TOKEN },
    { "subject_token", subject },
    { "subject_token_type", self.subject_token_type },
  }, how)
  if not value then return nil, message, code end
  return oauth.token("token_url", value)
end

-- Where the other provider's token comes from; nil and a message.
local function source_of(self, source, how)
  if type(source) ~= "table" then
    return nil, "credential_source: missing"
  end
  local format = type(source.format) == "table" and source.format or {}
  if format.type == "json" then
    self.field = format.subject_token_field_name
    if type(self.field) ~= "string" then
      return nil, "credential_source.format.subject_token_field_name: missing"
    end
  elseif format.type ~= nil and format.type ~= "text" then
    return nil, ("credential_source.format.type: unknown %q")
      :format(tostring(format.type))
  end
  if type(source.file) == "string" then
    self.file = source.file
    return true
  elseif type(source.url) == "string" then
    self.url = source.url
    self.headers = type(source.headers) == "table" and source.headers or nil
    return hosts.check(self.url, "credential_source.url", how.hosts, true)
  end
  local kind = source.executable and "executable"
    or source.environment_id and "environment_id"
    or source.certificate and "certificate" or "neither file nor url"
  return nil, ("credential_source: %s is not supported; use file or url")
    :format(kind)
end

local M = {}

--- Of the file's `data`; nil and a message.
function M.open(data, how)
  local self = setmetatable({
    audience = data.audience, token_url = data.token_url or TOKEN_URL,
    subject_token_type = data.subject_token_type,
  }, Federation)
  if type(self.audience) ~= "string" then return nil, "audience: missing" end
  if not types[self.subject_token_type] then
    return nil, ("subject_token_type: %q is not supported")
      :format(tostring(self.subject_token_type))
  end
  local ok, message = hosts.check(self.token_url, "token_url", how.hosts)
  if ok then ok, message = source_of(self, data.credential_source, how) end
  if not ok then return nil, message end
  local url = data.service_account_impersonation_url
  if url == nil then return self end
  local options = data.service_account_impersonation
  return impersonation.open(url, self, {
    lifetime = type(options) == "table" and options.token_lifetime_seconds,
  }, how)
end

return M
