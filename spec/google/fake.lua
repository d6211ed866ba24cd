--- A fake of Google CA Service (REST v1) that refuses what Google refuses
--- and issues for real, with faults to order.

local engine = require("fulcio.engine")
local issuance = require("spec.google.issuance")
local json = require("fulcio.json")
local tokens = require("spec.google.tokens")

local POOL = "^/v1/(projects/[^/]+/locations/[^/]+/caPools/[^/:]+)"
local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+$"

local HTML = "<!DOCTYPE html>\n<html lang=en><title>Error</title>"

local Fake = {}
Fake.__index = Fake

local function answer(value, status)
  return { status = status or 200, body = json.encode(value),
           headers = { ["content-type"] = "application/json" } }
end

local function html(status)
  return { status = status, body = HTML,
           headers = { ["content-type"] = "text/html" } }
end

local statuses = { [400] = "INVALID_ARGUMENT", [401] = "UNAUTHENTICATED",
  [403] = "PERMISSION_DENIED", [404] = "NOT_FOUND", [409] = "ALREADY_EXISTS",
  [429] = "RESOURCE_EXHAUSTED", [500] = "INTERNAL", [503] = "UNAVAILABLE" }

local function wrong(status, message, details)
  return answer({ error = { code = status, message = message,
    status = statuses[status], details = json.list(details or {}) } },
    status)
end

local function info(reason, metadata)
  return { ["@type"] = "type.googleapis.com/google.rpc.ErrorInfo",
           reason = reason, domain = "googleapis.com", metadata = metadata }
end

local function bad_field(message, field)
  return wrong(400, message, { {
    ["@type"] = "type.googleapis.com/google.rpc.BadRequest",
    fieldViolations = json.list({ { field = field,
                                    description = message } }),
  } })
end

local function unauthenticated()
  local refused = wrong(401, "Request had invalid authentication"
    .. " credentials.", { info("ACCESS_TOKEN_EXPIRED", {}) })
  refused.headers["www-authenticate"] = "Bearer"
  return refused
end

-- Faults that are answers.
local faults = {
  ["401"] = function(fake)
    fake.tokens.issued = {}
    return unauthenticated()
  end,
  ["403"] = function()
    return wrong(403, "Permission 'privateca.certificates.create' denied on"
      .. " the pool", { info("IAM_PERMISSION_DENIED", {
        permission = "privateca.certificates.create" }) })
  end,
  ["403 bare"] = function() return html(403) end,
  ["400"] = function()
    return bad_field("The lifetime is too long", "certificate.lifetime")
  end,
  ["404"] = function() return html(404) end,
  ["429"] = function()
    return wrong(429, "Quota exceeded", { info("RATE_LIMIT_EXCEEDED", {}), {
      ["@type"] = "type.googleapis.com/google.rpc.RetryInfo",
      retryDelay = "0.2s" } })
  end,
  ["429 long"] = function()
    return wrong(429, "Quota exceeded", { {
      ["@type"] = "type.googleapis.com/google.rpc.RetryInfo",
      retryDelay = "30s" } })
  end,
  ["429 header"] = function()
    local refused = html(429)
    refused.headers["retry-after"] = "40"
    return refused
  end,
  ["503"] = function() return wrong(503, "The service is unavailable") end,
  ["500 html"] = function() return html(500) end,
  ["200 html"] = function() return html(200) end,
  mute = function(fake) return fake.silence() end,
}

-- Faults of what comes after a certificate was made.
local function spoil(fake, fault, made)
  if fault == "truncated" then
    made.body = made.body:sub(1, 40)
  elseif fault == "reset" then
    return fake.reset()
  elseif fault == "silence" then
    return fake.silence()
  end
  return made
end

local function query_of(request)
  local query = {}
  for name, value in (request.query or ""):gmatch("([^&=]+)=([^&]*)") do
    query[name] = value
  end
  return query
end

local function bad_query(fake, query)
  local id = query.requestId
  if id and (not id:find(UUID) or #id ~= 36
             or not id:find("[1-9a-fA-F]")) then
    return bad_field("requestId must be a UUID", "request_id")
  end
  local name = query.certificateId
  if name and (not name:find("^[%w_-]+$") or #name > 63) then
    return bad_field("certificateId is malformed", "certificate_id")
  end
  if fake.tier == "ENTERPRISE" and not name then
    return bad_field("certificateId is required", "certificate_id")
  end
end

local function authority_of(fake, query)
  local id = query.issuingCertificateAuthorityId
  if not id then
    return fake.authorities[#fake.made % #fake.authorities + 1]
  end
  for _, one in ipairs(fake.authorities) do
    if one.id == id then return one end
  end
end

local function described(fake, pool, query, pem, authority)
  local name = fake.tier == "ENTERPRISE" and query.certificateId or ""
  return {
    name = pool .. "/certificates/" .. name, pemCertificate = pem,
    pemCertificateChain = json.list(authority.chain),
    issuerCertificateAuthority = pool .. "/certificateAuthorities/"
      .. authority.id,
  }
end

local function create(fake, request, pool)
  local query = query_of(request)
  local refused = bad_query(fake, query)
  if refused then return refused end
  local value = engine.claims.parse(request.body)
  if type(value) ~= "table" then
    return bad_field("Invalid JSON payload received.", "certificate")
  end
  local profile, message, field = issuance.profile(value)
  if not profile then return bad_field(message, field) end
  local authority = authority_of(fake, query)
  if not authority then return wrong(404, "no such CA") end
  if query.validateOnly == "true" then
    return answer({ name = pool .. "/certificates/" })
  end
  local fault = table.remove(fake.faults, 1)
  if faults[fault] then return faults[fault](fake) end
  local before = fake.by_request[query.requestId]
  if before then return answer(before) end
  if fake.tier == "ENTERPRISE" and fake.by_name[query.certificateId] then
    return wrong(409, "Resource already exists")
  end
  if issuance.spoilers[fault] then issuance.spoilers[fault](profile) end
  if fault == "stranger" then authority = fake.stranger end
  local pem = issuance.issue(profile, authority)
  local made = described(fake, pool, query, pem, authority)
  fake.made[#fake.made + 1] = pem
  fake.by_name[query.certificateId or ""] = true
  if query.requestId then fake.by_request[query.requestId] = made end
  return spoil(fake, fault, answer(made))
end

local function fetch_ca_certs(fake)
  local list = json.list({})
  for i, one in ipairs(fake.authorities) do
    list[i] = { certificates = json.list(one.chain) }
  end
  return answer({ caCerts = list })
end

local function authority(fake, _, _, rest)
  local id = rest:match("^/certificateAuthorities/(.+)$")
  for _, one in ipairs(fake.authorities) do
    if one.id == id then
      return answer({ pemCaCertificates = json.list(one.chain),
                      state = "ENABLED", tier = fake.tier })
    end
  end
  return wrong(404, "no such CA")
end

local calls = {
  { "POST", "^/certificates$", create },
  { "POST", "^:fetchCaCerts$", fetch_ca_certs },
  { "GET", "^/certificateAuthorities/[^/]+$", authority },
  { "GET", "^$", function(fake, _, pool)
      return answer({ name = pool, tier = fake.tier })
    end },
}

local function serve(fake, request)
  local pool, last = request.path:match(POOL .. "()")
  local rest = pool and request.path:sub(last)
  for _, call in ipairs(calls) do
    if pool and request.method == call[1] and rest:find(call[2]) then
      if not fake.tokens:allows(request) then return unauthenticated() end
      if fake.refuse[rest] then return faults[fake.refuse[rest]](fake) end
      return call[3](fake, request, pool, rest)
    end
  end
  return html(404)
end

--- Answers a request, as engine.server gives it.
function Fake:handle(request)
  self.asked[#self.asked + 1] = request
  local made = self.tokens:handle(request)
  if made then return made end
  return serve(self, request)
end

--- What engine.http.request would do, without a network.
function Fake:transport()
  return function(asked)
    local path, query = asked.url:match("^https?://[^/]+([^?]*)%??(.*)$")
    local headers = {}
    for name, value in pairs(asked.headers or {}) do
      headers[name:lower()] = value
    end
    local made, message, code = self:handle({
      method = asked.method or "GET", path = path, query = query,
      headers = headers, body = asked.body or "", url = asked.url })
    if not made then return nil, message, code end
    made.headers = made.headers or {}
    return made
  end
end

--- How often something was asked for: a pattern of the path.
function Fake:count(pattern)
  local count = 0
  for _, request in ipairs(self.asked) do
    if request.path:find(pattern) then count = count + 1 end
  end
  return count
end

local M = {}

--- A pool with `cas` (default 1) authorities below one root; `tier`; `key`
--- is the service account's.
function M.new(options)
  options = options or {}
  local fake = setmetatable({
    tier = options.tier or "DEVOPS", authorities = {}, faults = {},
    refuse = {}, asked = {}, made = {}, by_request = {}, by_name = {},
    tokens = tokens.new(options.key),
    stranger = issuance.authority("stranger"),
    reset = function() return nil, "connection reset", "network" end,
    silence = function() return nil, "no answer within 4 s", "timeout" end,
  }, Fake)
  for i = 1, options.cas or 1 do
    fake.authorities[i] = issuance.authority("ca-" .. i,
      i > 1 and fake.authorities[1].root or nil)
  end
  return fake
end

return M
