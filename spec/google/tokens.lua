--- The fake's token endpoints: they check what Google checks.

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local SCOPE = "https://www.googleapis.com/auth/cloud-platform"
local JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
local EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
local TOKEN_URI = "https://oauth2.googleapis.com/token"

local Tokens = {}
Tokens.__index = Tokens

--- The fields of a form.
local function form(text)
  local fields = {}
  for name, value in text:gmatch("([^&=]+)=([^&]*)") do
    fields[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
  end
  return fields
end

local function answer(status, value, headers)
  headers = headers or {}
  headers["content-type"] = "application/json"
  return { status = status, headers = headers, body = json.encode(value) }
end

local function refused(reason, description)
  return answer(400, { error = reason, error_description = description })
end

-- Issues a token that is good for so many seconds.
function Tokens:issue(seconds)
  local token = "ya29.fake-" .. engine.bytes.hex(engine.bytes.random(8))
  self.issued[token] = engine.system.now() + (seconds or self.lifetime)
  return token
end

-- Claims of a JWT that the service account's key signed.
function Tokens:claims(jwt)
  local parts = engine.jws.parse(jwt)
  if not parts then return nil end
  local header = engine.claims.parse(parts.header)
  if header.alg ~= "RS256" or header.kid ~= self.key_id then return nil end
  if not engine.jws.verify(parts, self.key, "RS256") then return nil end
  local claims = engine.claims.parse(parts.payload)
  local now = engine.system.now()
  local good = claims.iss == self.email and claims.exp - claims.iat <= 3600
    and math.abs(claims.iat - now) <= 600 and claims.exp > now
  return good and claims or nil
end

local function oauth(self, request)
  local asked = form(request.body)
  if asked.grant_type == JWT_BEARER then
    local claims = self:claims(asked.assertion or "")
    if not claims or claims.aud ~= TOKEN_URI and claims.aud ~= self.url then
      return refused("invalid_grant", "Invalid JWT Signature.")
    end
    if not claims.scope then return refused("invalid_scope", "none") end
  elseif asked.grant_type == "refresh_token" then
    if asked.refresh_token ~= "refresh" or asked.client_id ~= "client"
       or asked.client_secret ~= "client secret" then
      return refused("invalid_grant", "Bad Request")
    end
  else
    return refused("unsupported_grant_type", "Invalid grant_type")
  end
  return answer(200, { access_token = self:issue(), token_type = "Bearer",
                       expires_in = self.lifetime })
end

local function sts(self, request)
  local asked = form(request.body)
  if asked.grant_type ~= EXCHANGE or not asked.scope
     or not (asked.audience or ""):find("^//iam.googleapis.com/")
     or asked.subject_token ~= self.subject_token
     or request.headers.authorization then
    return refused("invalid_grant", "The given credential is rejected")
  end
  return answer(200, { access_token = self:issue(), token_type = "Bearer",
    issued_token_type = asked.requested_token_type,
    expires_in = self.lifetime })
end

local function impersonate(self, request)
  local asked = engine.claims.parse(request.body)
  local bearer = (request.headers.authorization or ""):match("^Bearer (.*)$")
  if not self.issued[bearer] then
    return answer(401, { error = { code = 401, status = "UNAUTHENTICATED",
      message = "Request had invalid authentication credentials." } })
  end
  if not asked or type(asked.scope) ~= "table" or asked.scope[1] ~= SCOPE
     or not asked.lifetime:find("^%d+s$") then
    return answer(400, { error = { code = 400, status = "INVALID_ARGUMENT",
                                   message = "bad scope or lifetime" } })
  end
  return answer(200, { accessToken = self:issue(),
    expireTime = os.date("!%Y-%m-%dT%H:%M:%SZ",
                         engine.system.now() + self.lifetime) })
end

local function metadata(self, request)
  if request.headers["metadata-flavor"] ~= "Google" then
    return { status = 403, headers = {}, body = "<html>Missing required"
             .. " header</html>" }
  end
  local google = { ["metadata-flavor"] = self.flavor or "Google" }
  if request.path:find("/token$") then
    return answer(200, { access_token = self:issue(),
      token_type = "Bearer", expires_in = self.lifetime }, google)
  end
  return answer(200, { email = self.email, scopes = { SCOPE },
                       aliases = { "default" } }, google)
end

local pages = {
  { "GET", "^/$", function()
      return { status = 200, headers = { ["metadata-flavor"] = "Google" },
               body = "computeMetadata/" }
    end },
  { "POST", "^/token$", oauth },
  { "POST", "^/sts/v1/token$", sts },
  { "POST", "^/v1/projects/%-/serviceAccounts/[^/]+:generateAccessToken$",
    impersonate },
  { "GET", "^/computeMetadata/v1/", metadata },
  { "GET", "^/subject$", function(self)
      return { status = 200, headers = {}, body = self.subject_token }
    end },
  { "GET", "^/subject.json$", function(self)
      return answer(200, { value = self.subject_token })
    end },
}

--- Answers what is for a token endpoint; nil for anything else.
function Tokens:handle(request)
  for _, page in ipairs(pages) do
    if request.method == page[1] and request.path:find(page[2]) then
      local fault = table.remove(self.faults, 1)
      if fault == "503" then return answer(503, { error = "later" }) end
      if fault == "400" then
        return refused("invalid_grant", "Token has been revoked.")
      end
      if fault == "html" then
        return { status = 200, headers = {}, body = "<html>" }
      end
      return page[3](self, request)
    end
  end
end

--- Whether a request's bearer may use the service.
function Tokens:allows(request)
  local bearer = (request.headers.authorization or ""):match("^Bearer (.*)$")
  if not bearer then return false end
  local ends = self.issued[bearer]
  if ends then return ends > engine.system.now() end
  local claims = self:claims(bearer)
  return claims ~= nil and claims.sub == self.email
    and (claims.scope == SCOPE
         or claims.aud == "https://privateca.googleapis.com/")
end

local M = {}

--- Of a service account's public key.
function M.new(key)
  return setmetatable({
    key = key, key_id = "key-1", email = "ca@example.iam.gserviceaccount.com",
    issued = {}, lifetime = 3599, subject_token = "subject", faults = {},
  }, Tokens)
end

return M
