local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local messages = require("fulcio.messages")
local program = require("spec.program")
local protobuf = require("fulcio.engine").protobuf

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore",
  must = { repository = "acme/firmware" },
  san = { uri = "https://example.com/{sha}" },
}
]]

local TOKEN = "There was an error processing the identity token"
local KEY = "signing algorithm not permitted: *ecdsa.PublicKey, SHA-384"
local PROOF = "The signature supplied in the request could not be verified"

-- What is asked (claims changed, a kind of key, what is signed) and what the
-- client hears: Fulcio's words, and our reason with its details.
local cases = {
  { name = "an unknown issuer", claims = { iss = "https://other.example" },
    message = TOKEN, reason = "UNKNOWN_ISSUER",
    metadata = { claim = "iss" } },
  { name = "another audience", claims = { aud = "other" },
    message = TOKEN, reason = "WRONG_AUDIENCE",
    metadata = { claim = "aud" } },
  { name = "a token that has expired", claims = { exp = 1700000000 },
    message = TOKEN, reason = "TOKEN_EXPIRED",
    metadata = { claim = "exp" } },
  { name = "a claim that is missing, by name", without = "sha",
    message = TOKEN, reason = "CLAIM_MISSING",
    metadata = { claim = "sha" } },
  { name = "a claim that must be another, by name",
    claims = { repository = "mallory/firmware" },
    message = TOKEN, reason = "MUST_NOT_MET",
    metadata = { claim = "repository" } },
  { name = "a claim that must be there, by name", without = "repository",
    message = TOKEN, reason = "CLAIM_MISSING",
    metadata = { claim = "repository" } },
  { name = "a key that is not allowed", key = "P-384",
    message = KEY, reason = "KEY_NOT_ALLOWED",
    metadata = { key = "P-384", hash = "SHA-384" } },
  { name = "a proof over something else", signs = "another subject",
    message = PROOF, reason = "PROOF_WRONG" },
}

describe("a refused client", function()
  local directory, remove, issuer, issuer_url, server, urls

  setup(function()
    directory, remove = authority.directory()
    issuer, issuer_url = program.issuer()
    assert(engine.system.mkdir(directory .. "/policies"))
    assert(engine.system.write(directory .. "/policies/a.lua",
                               POLICY:format(issuer_url)))
    server, urls = program.serve(directory .. "/data", {
      "--ca", "ephemeralca", "--policies", directory .. "/policies",
      "--log_type", "prod",
      "--client-signing-algorithms", "ecdsa-sha2-256-nistp256" })
  end)

  teardown(function()
    server:stop()
    issuer:stop()
    remove()
  end)

  -- What every kind of request is made of.
  local function asked(case)
    local claims = { sub = "someone", repository = "acme/firmware",
                     sha = ("a"):rep(40) }
    for name, value in pairs(case.claims or {}) do claims[name] = value end
    if case.without then claims[case.without] = nil end
    local key = assert(engine.pkey.generate(case.key or "P-256"))
    return { token = program.post(issuer_url .. "/token", claims).body,
             key = key:pem(), proof = assert(key:sign(case.signs
                                                      or "someone")) }
  end

  local function heard(response)
    local body = program.parsed(response)
    return {
      status = response.status, code = body.code, message = body.message,
      type = body.details[1]["@type"], domain = body.details[1].domain,
      reason = body.details[1].reason, metadata = body.details[1].metadata,
    }
  end

  local function http_v2(case)
    local all = asked(case)
    return heard(program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = all.token },
      publicKeyRequest = { publicKey = { content = all.key },
        proofOfPossession = engine.bytes.base64(all.proof) },
    }))
  end

  local function http_v1(case)
    local all = asked(case)
    return heard(program.post(urls.http .. "/api/v1/signingCert", {
      publicKey = { content = engine.bytes.base64(all.key) },
      signedEmailAddress = engine.bytes.base64(all.proof),
    }, { Authorization = "Bearer " .. all.token }))
  end

  -- The header block of a call, by curl: a refusal has nothing else.
  local function call(path, kind, message, token)
    local bytes = protobuf.encode(kind, message)
    local file = directory .. "/message"
    assert(engine.system.write(file,
      "\0" .. string.pack(">I4", #bytes) .. bytes))
    local pipe = assert(io.popen(([[curl -s -i --http2-prior-knowledge \
      -H 'content-type: application/grpc' -H 'te: trailers' -H '%s' \
      --data-binary @%s %s%s]]):format(
        token and "authorization: Bearer " .. token or "x: y", file,
        urls.grpc, path)))
    local headers = {}
    for name, value in pipe:read("a"):gmatch("([^\r\n:]+): ([^\r\n]*)") do
      headers[name] = value
    end
    pipe:close()
    return headers
  end

  local function unescaped(text)
    return (text:gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end))
  end

  local function heard_by_call(headers)
    local status = assert(protobuf.decode(messages.rpc.Status,
      assert(engine.bytes.unbase64(headers["grpc-status-details-bin"]))))
    local info = assert(protobuf.decode(messages.rpc.ErrorInfo,
                                        status.details[1].value))
    local metadata = {}
    for _, entry in ipairs(info.metadata or {}) do
      metadata[entry.key] = entry.value
    end
    assert.equal(headers["grpc-status"], ("%d"):format(status.code))
    assert.equal(unescaped(headers["grpc-message"]), status.message)
    return { status = 400, code = status.code, message = status.message,
             type = status.details[1].type_url, domain = info.domain,
             reason = info.reason, metadata = metadata }
  end

  local function grpc_v2(case)
    local all = asked(case)
    return heard_by_call(call(
      "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate",
      messages.v2.CreateSigningCertificateRequest, {
        credentials = { oidc_identity_token = all.token },
        public_key_request = { public_key = { content = all.key },
                               proof_of_possession = all.proof },
      }))
  end

  local function grpc_v1(case)
    local all = asked(case)
    return heard_by_call(call(
      "/dev.sigstore.fulcio.v1beta.CA/CreateSigningCertificate",
      messages.v1.CreateSigningCertificateRequest, {
        publicKey = { content = all.key },
        signedEmailAddress = all.proof,
      }, all.token))
  end

  local ways = { { "HTTP v2", http_v2 }, { "HTTP v1", http_v1 },
                 { "gRPC v2", grpc_v2 }, { "gRPC v1", grpc_v1 } }

  for _, case in ipairs(cases) do
    for _, way in ipairs(ways) do
      it("hears of " .. case.name .. " over " .. way[1], function()
        assert.same({
          status = 400, code = 3, message = case.message,
          type = "type.googleapis.com/google.rpc.ErrorInfo",
          domain = "fulcio", reason = case.reason,
          metadata = case.metadata or {},
        }, way[2](case))
      end)
    end
  end

  it("hears that the legacy service was given no key", function()
    local answer = heard_by_call(call(
      "/dev.sigstore.fulcio.v1beta.CA/CreateSigningCertificate",
      messages.v1.CreateSigningCertificateRequest, {}, asked({}).token))
    assert.same({ 3, "KEY_UNPARSABLE" }, { answer.code, answer.reason })
  end)

  it("never hears what was wanted, which the log says", function()
    local output = server:output()
    assert.matches("acme/firmware", output, 1, true)
    for _, case in ipairs(cases) do
      assert.matches('"reason":"' .. case.reason .. '"', output, 1, true)
    end
    assert.is_nil(output:find("eyJ", 1, true))
  end)

  it("would have had a certificate", function()
    local all = asked({})
    local response = program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = all.token },
      publicKeyRequest = { publicKey = { content = all.key },
        proofOfPossession = engine.bytes.base64(all.proof) },
    })
    assert.equal(200, response.status, response.body)
  end)
end)
