--- An issuer in memory, for specs: its pages by address, and what was asked.

local cjson = require("cjson")
local engine = require("fulcio.engine")

local Issuer = {}
Issuer.__index = Issuer

--- Adds a key that the issuer shows and may sign with.
function Issuer:add(kid, algorithm, key, more)
  local jwk = engine.jws.jwk(key)
  jwk.kid, jwk.alg, jwk.use = kid, algorithm, "sig"
  for name, value in pairs(more or {}) do jwk[name] = value end
  self.keys[#self.keys + 1] = jwk
end

--- Stops showing a key.
function Issuer:remove(kid)
  for i = #self.keys, 1, -1 do
    if self.keys[i].kid == kid then table.remove(self.keys, i) end
  end
end

local function answer(self, url)
  if self.down then return nil, "connection refused", "network" end
  if url == self.url:gsub("/$", "") .. "/.well-known/openid-configuration" then
    return { status = 200, headers = {}, body = cjson.encode(self.document) }
  elseif url == self.document.jwks_uri then
    return { status = 200, headers = {},
             body = self.body or cjson.encode({ keys = self.keys }) }
  end
  return { status = 404, headers = {}, body = "" }
end

--- What engine.http.request would do.
function Issuer:request(request)
  self.asked[#self.asked + 1] = request
  return answer(self, request.url)
end

--- How often an address was asked whose end is this.
function Issuer:count(ending)
  local count = 0
  for _, request in ipairs(self.asked) do
    if request.url:sub(-#ending) == ending then count = count + 1 end
  end
  return count
end

--- An issuer at an address, without keys yet.
return function(url)
  return setmetatable({
    url = url, keys = {}, asked = {},
    document = {
      issuer = url, jwks_uri = url:gsub("/$", "") .. "/jwks",
      id_token_signing_alg_values_supported = { "RS256", "ES256" },
    },
  }, Issuer)
end
