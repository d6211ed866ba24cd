--- Access tokens of Azure: a client's secret, a federated token, or the
--- machine's managed identity.

local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")
local oauth = require("fulcio.google.oauth")
local shelf = require("fulcio.shelf")
local trim = require("fulcio.trim")

local AUTHORITY = "https://login.microsoftonline.com"
local INSTANCE = "http://169.254.169.254"
local ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

-- A token is renewed so many seconds before its end.
local EARLY = 300

local Token = {}
Token.__index = Token

local function first(environment, name)
  local value = environment[name]
  return value ~= "" and value or nil
end

local function from_directory(self, deadline)
  local fields = {
    { "client_id", self.client_id }, { "grant_type", "client_credentials" },
    { "scope", self.audience .. "/.default" },
  }
  if self.secret then
    fields[4] = { "client_secret", self.secret }
  else
    local text, message = shelf.read(self.token_file)
    if not text then return nil, message end
    fields[4] = { "client_assertion", trim(text) }
    fields[5] = { "client_assertion_type", ASSERTION }
  end
  return exchange.run({
    url = ("%s/%s/oauth2/v2.0/token"):format(self.authority, self.tenant),
    method = "POST", body = oauth.form(fields),
    headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
  }, { name = "Azure's directory", deadline = deadline })
end

local function from_instance(self, deadline)
  local query = { { "api-version", "2018-02-01" },
                  { "resource", self.audience } }
  if self.client_id then query[3] = { "client_id", self.client_id } end
  return exchange.run({
    url = INSTANCE .. "/metadata/identity/oauth2/token?" .. oauth.form(query),
    headers = { Metadata = "true" },
  }, { name = "Azure instance metadata", deadline = deadline })
end

--- The token to send now; nil and a message.
function Token:current(deadline)
  local now = engine.system.monotonic()
  if self.held and now < self.held.ends - EARLY then return self.held.text end
  local answer, message = self.fetch(self, deadline)
  if not answer then return nil, message end
  local found = exchange.object(answer)
  if answer.status ~= 200 or type(found.access_token) ~= "string" then
    return nil, ("no access token of Azure: status %d, %s")
      :format(answer.status, tostring(found.error or "no reason given"))
  end
  self.held = { text = found.access_token,
                ends = now + (tonumber(found.expires_in) or 600) }
  return self.held.text
end

--- Has it fetched again: this one was refused.
function Token:forget()
  self.held = nil
end

local M = {}

--- Chooses where they come from; `audience` is whom they are for. nil and
--- a message.
function M.open(environment, audience)
  local self = setmetatable({
    audience = audience, client_id = first(environment, "AZURE_CLIENT_ID"),
    tenant = first(environment, "AZURE_TENANT_ID"),
    secret = first(environment, "AZURE_CLIENT_SECRET"),
    token_file = first(environment, "AZURE_FEDERATED_TOKEN_FILE"),
    authority = (first(environment, "AZURE_AUTHORITY_HOST") or AUTHORITY)
      :gsub("/+$", ""),
    fetch = from_instance,
  }, Token)
  if self.secret or self.token_file then
    if not self.tenant or not self.client_id then
      return nil, "AZURE_TENANT_ID and AZURE_CLIENT_ID must be set"
    end
    self.fetch = from_directory
  end
  return self
end

return M
