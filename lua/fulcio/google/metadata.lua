--- The metadata server of a machine in Google's cloud.

local oauth = require("fulcio.google.oauth")

local DEFAULT_HOST = "169.254.169.254"
local PATH = "/computeMetadata/v1/instance/service-accounts/default/token"

local Metadata = {}
Metadata.__index = Metadata

local headers = { ["Metadata-Flavor"] = "Google" }

-- Another machine at that address must not be taken for it.
local function is_google(answer)
  return answer.headers["metadata-flavor"] == "Google"
end

--- A token: { token, expires }; nil, message, code.
function Metadata:fetch(how)
  local value, answer, code = oauth.ask("metadata server", {
    url = self.url .. PATH .. "?" .. oauth.form({ { "scopes",
                                                    oauth.SCOPE } }),
    headers = headers }, how)
  if not value then return nil, answer, code end
  if not is_google(answer) then
    return nil, self.url .. " is no metadata server: its answer has no"
      .. " Metadata-Flavor", "refused"
  end
  return oauth.token("metadata server", value)
end

local M = {}

--- The one that `environment.GCE_METADATA_HOST` names, or the usual one;
--- nil and a message where NO_GCE_CHECK says that there is none.
function M.open(environment)
  if environment.NO_GCE_CHECK == "true" then
    return nil, "NO_GCE_CHECK=true: the metadata server is not asked"
  end
  local host = environment.GCE_METADATA_HOST
  return setmetatable({
    url = "http://" .. (host and host ~= "" and host or DEFAULT_HOST),
  }, Metadata)
end

return M
