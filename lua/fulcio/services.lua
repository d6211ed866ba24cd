--- Every gRPC method the server answers, by its path.

local engine = require("fulcio.engine")
local health = require("fulcio.health")
local messages = require("fulcio.messages")
local reflection = require("fulcio.reflection")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local signing = require("fulcio.signing")
local trust = require("fulcio.trust")

local PEM = "application/pem-certificate-chain"
local SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

-- How often a watched status is looked at, in seconds.
local WATCH = 1

-- Fulcio's gateway passes an Authorization header on under this name.
local function metadata_token(headers)
  local token = headers.oidcidentitytoken
  if token and token ~= "" then return token end
  local bearer = headers.authorization or ""
  if bearer:sub(1, 7) == "Bearer " then bearer = bearer:sub(8) end
  return bearer
end

local function create_v2(context, message, request)
  local credentials = message.credentials or {}
  local key = message.public_key_request or {}
  local token = credentials.oidc_identity_token
  if not token or token == "" then token = metadata_token(request.headers) end
  local issued = signing.issue(context, {
    token = token,
    public_key = (key.public_key or {}).content,
    proof = key.proof_of_possession,
    csr = message.certificate_signing_request,
  })
  local chain = { certificates = reply.chain(issued) }
  if issued.embedded then
    return { signed_certificate_embedded_sct = { chain = chain } }
  end
  return { signed_certificate_detached_sct = {
    chain = chain, signed_certificate_timestamp = issued.sct } }
end

local function trust_bundle(context)
  return { chains = trust.chains(context.ca) }
end

local function configuration(context)
  local issuers = {}
  for i, issuer in ipairs(context.policies:issuers()) do
    issuers[i] = {
      issuer_url = issuer.issuer,
      wildcard_issuer_url = issuer.wildcard,
      audience = issuer.audience,
      challenge_claim = issuer.challenge_claim,
      spiffe_trust_domain = issuer.spiffe_trust_domain,
      issuer_type = issuer.type,
      subject_domain = issuer.subject_domain,
      skip_email_verification = issuer.skip_email_verification,
    }
  end
  return { issuers = issuers }
end

local function create_v1(context, message, request)
  local csr = message.certificateSigningRequest
  if csr == "" then csr = nil end
  if not message.publicKey and not csr then
    error(refusal("key_unparsable"), 0)
  end
  local issued = signing.issue(context, {
    token = metadata_token(request.headers),
    public_key = (message.publicKey or {}).content,
    proof = message.signedEmailAddress,
    csr = csr,
  })
  local sct = not issued.embedded and issued.sct
  return { content_type = PEM, data = table.concat(reply.chain(issued), "\n"),
           metadata = sct and { ["x-sct"] = engine.bytes.base64(sct) } }
end

local function root_v1(context)
  return { content_type = PEM, data = trust.roots(context.ca) }
end

local known_services = { [""] = true }

local function serving(context, service)
  if not known_services[service or ""] then return SERVICE_UNKNOWN end
  return health.ready(context) and SERVING or NOT_SERVING
end

local function check(context, message)
  local now = serving(context, message.service)
  if now == SERVICE_UNKNOWN then
    error(refusal("not_found", { message = "unknown service" }), 0)
  end
  return { status = now }
end

-- Sends the status, and again whenever it is another one.
local function watch(context, read, send)
  local message = read() or {}
  local told
  while not engine.server.stopping() do
    local now = serving(context, message.service)
    if now ~= told and not send({ status = now }) then return nil end
    told = now
    engine.server.sleep(WATCH)
  end
end

local function reflect(_, read, send)
  for request in read do
    if not send(reflection.answer(request)) then return nil end
  end
end

local calls = {
  [messages.v2] = {
    CreateSigningCertificate = { call = create_v2 },
    GetTrustBundle = { call = trust_bundle },
    GetConfiguration = { call = configuration },
  },
  [messages.v1] = {
    CreateSigningCertificate = { call = create_v1 },
    GetRootCertificate = { call = root_v1 },
  },
  [messages.health] = {
    Check = { call = check },
    Watch = { stream = watch, kind = "server_stream" },
  },
  [messages.reflection] = {
    ServerReflectionInfo = { stream = reflect, kind = "bidi_stream" },
  },
  [messages.reflection_alpha] = {
    ServerReflectionInfo = { stream = reflect, kind = "bidi_stream" },
  },
}

-- "/package.Service/Method" to { input, output, call or stream }.
local paths = {}
for package, methods in pairs(calls) do
  for _, service in ipairs(package.services) do
    local name = package.package .. "." .. service.name
    known_services[name] = true
    for _, method in ipairs(service) do
      local found = methods[method[1]]
      found.input, found.output = method[2], method[3]
      paths["/" .. name .. "/" .. method[1]] = found
    end
  end
end

return paths
