--- Which addresses a credential may be sent to: a file that names another
--- would give the operator's secrets away.

local engine = require("fulcio.engine")

local GOOGLE = ".googleapis.com"

local function is_loopback(host)
  return host == "localhost" or host == "::1"
    or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function listed(uri, allowed)
  local host = uri.host:lower()
  local with_port = host .. ":" .. (uri.port or "")
  for _, name in ipairs(allowed or {}) do
    name = name:lower()
    if name == host or name == with_port then return true end
  end
  return false
end

local M = {}

--- Whether plain http to this host stays on this machine.
function M.is_loopback(url)
  local uri = engine.uri.parse(url)
  return uri ~= nil and uri.host ~= nil and is_loopback(uri.host)
end

--- Whether `url`, the value of `field`, is Google's, or of a host in the
--- list `allowed` ("host" or "host:port"). Plain http only to a listed host
--- on loopback, or to any listed host when `plain` is true. nil and a
--- message that names the host otherwise.
function M.check(url, field, allowed, plain)
  local uri = type(url) == "string" and engine.uri.parse(url)
  if not uri or not uri.host or uri.user then
    return nil, ("%s: not an address of the form https://HOST/PATH")
      :format(field)
  end
  local known = listed(uri, allowed)
  if uri.scheme == "http" then
    if known and (plain or is_loopback(uri.host)) then return true end
  elseif uri.scheme ~= "https" then
    return nil, ("%s: %s is not https"):format(field, url)
  elseif known or uri.host:lower():sub(-#GOOGLE) == GOOGLE then
    return true
  end
  return nil, ("%s: the host %q is not under %s: name it in"
               .. " --gcp_token_hosts if it is yours")
    :format(field, uri.host .. (uri.port and ":" .. uri.port or ""),
            "googleapis.com" .. (uri.scheme == "http" and " by https" or ""))
end

return M
