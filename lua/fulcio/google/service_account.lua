--- A service account's key file: signs its own access token (a JWT with a
--- scope, no network), or has it exchanged where Google wants that.

local engine = require("fulcio.engine")
local hosts = require("fulcio.google.hosts")
local json = require("fulcio.json")
local oauth = require("fulcio.google.oauth")

local TOKEN_URI = "https://oauth2.googleapis.com/token"
local LIFETIME = 3600

local Account = {}
Account.__index = Account

local function sign(account, claims)
  local now = engine.system.now()
  claims.iss, claims.iat, claims.exp = account.email, now, now + LIFETIME
  local header = { typ = "JWT", alg = "RS256", kid = account.key_id }
  return engine.jws.sign(json.encode(header), json.encode(claims),
                         account.key, "RS256")
end

local function own(account)
  local token, message = sign(account, { sub = account.email,
                                         scope = oauth.SCOPE })
  if not token then return nil, "private_key: " .. message, "refused" end
  return { token = token,
           expires = engine.system.monotonic() + LIFETIME }
end

local function exchanged(account, how)
  local assertion, message = sign(account, {
    scope = how.scope or oauth.SCOPE, aud = TOKEN_URI })
  if not assertion then return nil, "private_key: " .. message, "refused" end
  local value, why, code = oauth.post("token_uri", account.token_uri, {
    { "assertion", assertion },
    { "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer" },
  }, how)
  if not value then return nil, why, code end
  return oauth.token("token_uri", value)
end

--- A token: { token, expires }; nil, message, code. `how.refused`: the one
--- before was not taken, so that this one is exchanged.
function Account:fetch(how)
  if self.exchange then return exchanged(self, how) end
  if how.refused then
    local token, message, code = exchanged(self, how)
    if token or code == "refused" then return token, message, code end
  end
  return own(self)
end

local M = {}

--- Of the file's `data` and its key; `how.hosts` may be sent assertions.
--- `exchange`: never a token of its own. nil and a message.
function M.open(data, how, exchange)
  if not data.key then return nil, "private_key: missing" end
  if data.key.kind ~= "RSA" then
    return nil, "private_key: not an RSA key"
  end
  if type(data.client_email) ~= "string" then
    return nil, "client_email: missing"
  end
  local uri = data.token_uri or TOKEN_URI
  local ok, message = hosts.check(uri, "token_uri", how.hosts)
  if not ok then return nil, message end
  return setmetatable({
    email = data.client_email, key = data.key, token_uri = uri,
    key_id = type(data.private_key_id) == "string" and data.private_key_id
      or nil,
    exchange = exchange,
  }, Account)
end

return M
