--- Another service account's token, which the IAM credentials service gives
--- to whoever may act as it.

local engine = require("fulcio.engine")
local hosts = require("fulcio.google.hosts")
local json = require("fulcio.json")
local oauth = require("fulcio.google.oauth")
local timestamp = require("fulcio.google.timestamp")

local FIELD = "service_account_impersonation_url"
local LIFETIME = 3600
-- What the token to begin with is for.
local IAM = "https://www.googleapis.com/auth/iam"

local Impersonation = {}
Impersonation.__index = Impersonation

--- A token: { token, expires }; nil, message, code.
function Impersonation:fetch(how)
  local base, message, code = self.source:fetch({
    deadline = how.deadline, refused = how.refused, scope = IAM })
  if not base then return nil, message, code end
  local value
  value, message, code = oauth.ask(FIELD, {
    url = self.url, method = "POST", body = self.body,
    headers = { ["Content-Type"] = "application/json",
                Authorization = "Bearer " .. base.token },
  }, how)
  if not value then return nil, message, code end
  local ends = timestamp.parse(value.expireTime)
  if not ends then
    return nil, FIELD .. ": the answer has no expireTime", "refused"
  end
  return oauth.token(FIELD, { access_token = value.accessToken,
    expires_in = ends - engine.system.now() })
end

local M = {}

--- Of the address, the source of the token to begin with, and delegates;
--- nil and a message.
function M.open(url, source, options, how)
  local ok, message = hosts.check(url, FIELD, how.hosts)
  if not ok then return nil, message end
  local seconds = tonumber(options.lifetime) or LIFETIME
  return setmetatable({
    url = url, source = source,
    body = json.encode({
      delegates = options.delegates and json.list(options.delegates),
      scope = json.list({ oauth.SCOPE }),
      lifetime = ("%ds"):format(seconds),
    }),
  }, Impersonation)
end

return M
