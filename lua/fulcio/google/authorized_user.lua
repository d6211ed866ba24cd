--- A person's refresh token, as `gcloud auth application-default login`
--- leaves it.

local hosts = require("fulcio.google.hosts")
local oauth = require("fulcio.google.oauth")

local TOKEN_URI = "https://oauth2.googleapis.com/token"

local User = {}
User.__index = User

--- A token: { token, expires }; nil, message, code.
function User:fetch(how)
  local value, message, code = oauth.post("token_uri", self.token_uri, {
    { "grant_type", "refresh_token" },
    { "client_id", self.client_id },
    { "client_secret", self.client_secret },
    { "refresh_token", self.refresh_token },
  }, how)
  if not value then return nil, message, code end
  return oauth.token("token_uri", value)
end

local M = {}

--- Of the file's `data`; nil and a message.
function M.open(data, how)
  for _, name in ipairs({ "client_id", "client_secret", "refresh_token" }) do
    if type(data[name]) ~= "string" then return nil, name .. ": missing" end
  end
  local uri = data.token_uri or TOKEN_URI
  local ok, message = hosts.check(uri, "token_uri", how.hosts)
  if not ok then return nil, message end
  return setmetatable({
    client_id = data.client_id, client_secret = data.client_secret,
    refresh_token = data.refresh_token, token_uri = uri,
  }, User)
end

return M
