--- Credentials of AWS, looked for as its own clients do: environment, web
--- identity, container, instance.

local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")
local shelf = require("fulcio.shelf")
local timestamp = require("fulcio.google.timestamp")
local trim = require("fulcio.trim")

-- Credentials that end are renewed so many seconds before.
local EARLY = 300

local CONTAINER = "http://169.254.170.2"
local INSTANCE = "http://169.254.169.254"
local ROLES = "/latest/meta-data/iam/security-credentials/"

local Credentials = {}
Credentials.__index = Credentials

local function first(environment, ...)
  for _, name in ipairs({ ... }) do
    local value = environment[name]
    if value and value ~= "" then return value end
  end
end

local function get(asked, how)
  local answer, message = exchange.run(asked, how)
  if not answer then return nil, message end
  if answer.status == 200 then return answer end
  return nil, ("%s: status %d"):format(how.name, answer.status)
end

-- What an answer of any of the sources holds.
local function held_of(found, token, name)
  local held = { key = found.AccessKeyId, secret = found.SecretAccessKey,
                 session = token }
  if type(held.key) ~= "string" or type(held.secret) ~= "string" then
    return nil, name .. ": no credentials in the answer"
  end
  local ends = found.Expiration
  if type(ends) == "string" then ends = timestamp.parse(ends) end
  held.ends = tonumber(ends)
  return held
end

local function escape(byte) return ("%%%02X"):format(byte:byte()) end

local function from_web_identity(self, deadline)
  local environment = self.environment
  local token, message = shelf.read(environment.AWS_WEB_IDENTITY_TOKEN_FILE)
  if not token then return nil, message end
  local fields = { Action = "AssumeRoleWithWebIdentity",
    Version = "2011-06-15", RoleArn = environment.AWS_ROLE_ARN,
    RoleSessionName = environment.AWS_ROLE_SESSION_NAME or "fulcio",
    WebIdentityToken = trim(token) }
  local out = {}
  for name, value in pairs(fields) do
    out[#out + 1] = name .. "=" .. value:gsub("[^%w%-._~]", escape)
  end
  local url = first(environment, "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
    or ("https://sts.%s.amazonaws.com"):format(self.region)
  local answer
  answer, message = get({
    url = url .. "/", method = "POST", body = table.concat(out, "&"),
    headers = { ["Content-Type"] = "application/x-www-form-urlencoded",
                Accept = "application/json" },
  }, { name = "AWS STS", deadline = deadline })
  if not answer then return nil, message end
  local found = exchange.object(answer).AssumeRoleWithWebIdentityResponse
  found = type(found) == "table"
    and found.AssumeRoleWithWebIdentityResult or {}
  found = type(found) == "table" and found.Credentials or {}
  return held_of(found, found.SessionToken, "AWS STS")
end

local function from_container(self, deadline)
  local environment = self.environment
  local url = environment.AWS_CONTAINER_CREDENTIALS_FULL_URI
    or CONTAINER .. environment.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
  local token = environment.AWS_CONTAINER_AUTHORIZATION_TOKEN
  local path = environment.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
  if path then
    local text, message = shelf.read(path)
    if not text then return nil, message end
    token = trim(text)
  end
  local name = "AWS container credentials"
  local answer, message = get({ url = url, headers = {
    Authorization = token } }, { name = name, deadline = deadline })
  if not answer then return nil, message end
  local found = exchange.object(answer)
  return held_of(found, found.Token, name)
end

local function from_instance(self, deadline)
  local base = self.environment.AWS_EC2_METADATA_SERVICE_ENDPOINT or INSTANCE
  local how = { name = "AWS instance metadata", deadline = deadline }
  local answer, message = get({ url = base .. "/latest/api/token",
    method = "PUT", headers = {
      ["X-aws-ec2-metadata-token-ttl-seconds"] = "21600" } }, how)
  if not answer then return nil, message end
  local headers = { ["X-aws-ec2-metadata-token"] = answer.body }
  answer, message = get({ url = base .. ROLES, headers = headers }, how)
  if not answer then return nil, message end
  local role = answer.body:match("^%s*([%w+=,.@_-]+)")
  if not role then return nil, how.name .. ": the instance has no role" end
  answer, message = get({ url = base .. ROLES .. role, headers = headers },
                        how)
  if not answer then return nil, message end
  local found = exchange.object(answer)
  return held_of(found, found.Token, how.name)
end

--- The credentials to sign with now: { key, secret, session?, ends? };
--- nil and a message.
function Credentials:current(deadline)
  local held = self.held
  if held and (not held.ends or engine.system.now() < held.ends - EARLY) then
    return held
  end
  local found, message = self.fetch(self, deadline)
  if found then
    self.held = found
    return found
  end
  if held and engine.system.now() < held.ends then return held end
  return nil, message
end

--- Has them fetched again: these were refused.
function Credentials:forget()
  if self.fetch then self.held = nil end
end

local M = {}

--- Chooses where they come from; nil and a message.
function M.open(environment, region)
  local self = setmetatable({ environment = environment, region = region },
                            Credentials)
  local key = first(environment, "AWS_ACCESS_KEY_ID")
  if key then
    local secret = first(environment, "AWS_SECRET_ACCESS_KEY")
    if not secret then return nil, "AWS_SECRET_ACCESS_KEY is not set" end
    self.held = { key = key, secret = secret,
                  session = first(environment, "AWS_SESSION_TOKEN") }
  elseif first(environment, "AWS_WEB_IDENTITY_TOKEN_FILE") then
    if not first(environment, "AWS_ROLE_ARN") then
      return nil, "AWS_ROLE_ARN is not set"
    end
    self.fetch = from_web_identity
  elseif first(environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI",
               "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") then
    self.fetch = from_container
  elseif environment.AWS_EC2_METADATA_DISABLED == "true" then
    return nil, "no credentials of AWS: AWS_ACCESS_KEY_ID is not set and"
      .. " AWS_EC2_METADATA_DISABLED is true"
  else
    self.fetch = from_instance
  end
  return self
end

return M
