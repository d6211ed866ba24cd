local engine = require("fulcio.engine")
local messages = require("fulcio.messages")
local program = require("spec.program")
local protobuf = require("fulcio.engine").protobuf
local services = require("spec.google.service")

local base64 = engine.bytes.base64

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

-- The command line of the public instance, against the fake.
describe("serve --ca googleca", function()
  local google, issuer, issuer_url, process, urls, root

  setup(function()
    google = services.start()
    issuer, issuer_url = program.issuer()
    assert(engine.system.mkdir(google.directory .. "/policies"))
    google:write("policies/email.lua", POLICY:format(issuer_url))
    local file = google:write("account.json",
                              google:credentials().service_account)
    process, urls = program.serve(google.directory .. "/data", {
      "--ca", "googleca", "--gcp_private_ca_parent=" .. services.POOL,
      "--gcp_private_ca_version=v1",
      "--gcp_private_ca_endpoint", google.url,
      "--gcp_token_hosts", google.host, "--log_type", "prod",
      "--policies", google.directory .. "/policies",
    }, { GOOGLE_APPLICATION_CREDENTIALS = file })
    local chain = assert(engine.x509.parse(
      program.get(urls.http .. "/api/v1/rootCert").body))
    root = chain[#chain]
  end)

  teardown(function()
    if process then assert.is_true(process:stop()) end
    issuer:stop()
    assert.is_true(google:stop())
  end)

  local function token()
    return program.post(issuer_url .. "/token",
                        { sub = "a", email = "a@example.com" }).body
  end

  local function asked()
    local key = assert(engine.pkey.generate("P-256"))
    return key, assert(key:sign("a@example.com"))
  end

  local function v2()
    local key, proof = asked()
    return program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = token() },
      publicKeyRequest = { publicKey = { content = key:pem() },
                           proofOfPossession = base64(proof) },
    }), key
  end

  local function v1()
    local key, proof = asked()
    return program.post(urls.http .. "/api/v1/signingCert", {
      publicKey = { content = base64(key:spki()) },
      signedEmailAddress = base64(proof),
    }, { Authorization = "Bearer " .. token() })
  end

  -- A chain up to the pool's root, and an SCT over its leaf.
  local function verifies(pems, sct)
    local chain = assert(engine.x509.parse(table.concat(pems, "\n")))
    assert(engine.x509.verify(chain, { time = engine.system.now(),
                                       usage = "code_signing" }))
    assert.equal(root.der, chain[#chain].der)
    local key = assert(engine.pkey.parse(
      program.read(google.directory .. "/data/ctlog.pub.pem")))
    assert(engine.sct.verify(engine.sct.leaf({
      kind = "x509", certificate = chain[1].der,
      timestamp_ms = sct.timestamp,
      extensions = engine.bytes.unbase64(sct.extensions),
    }), engine.bytes.unbase64(sct.signature), key))
    return chain
  end

  local function issued(answer, key)
    assert.equal(200, answer.status, answer.body)
    local made = program.parsed(answer).signedCertificateDetachedSct
    local chain = verifies(made.chain.certificates, assert(
      engine.claims.parse(engine.bytes.unbase64(
        made.signedCertificateTimestamp))))
    assert.equal(key:spki(), chain[1]:pkey():spki())
    return chain
  end

  it("issues what hangs on the pool's chain, with a detached SCT",
  function()
    issued(v2())
  end)

  it("has the SCT in a header of the first version", function()
    local answer = v1()
    assert.equal(201, answer.status)
    local pems = {}
    for pem in answer.body:gmatch(
      "%-%-%-%-%-BEGIN.-END CERTIFICATE%-%-%-%-%-") do
      pems[#pems + 1] = pem
    end
    verifies(pems, assert(engine.claims.parse(
      engine.bytes.unbase64(answer.headers.sct))))
  end)

  -- One gRPC call by curl: headers and trailers as text, and the message.
  local function call(method, message, headers)
    google:write("call", string.char(0, 0, 0, math.floor(#message / 256),
                                     #message % 256) .. message)
    local path = google.directory .. "/answer"
    local pipe = io.popen(("curl -sS --http2-prior-knowledge -D - -o %s %s"
      .. " -H 'content-type: application/grpc' -H 'te: trailers'"
      .. " --data-binary @%s %s/dev.sigstore.fulcio.%s 2>&1"):format(path,
        headers, google.directory .. "/call", urls.grpc, method))
    local text = pipe:read("a")
    pipe:close()
    return text, (program.read(path) or ""):sub(6)
  end

  it("answers the same by gRPC, in both versions", function()
    local key, proof = asked()
    local headers, bytes = call("v2.CA/CreateSigningCertificate",
      protobuf.encode(
      messages.v2.CreateSigningCertificateRequest, {
        credentials = { oidc_identity_token = token() },
        public_key_request = { public_key = { content = key:pem() },
                               proof_of_possession = proof } }), "")
    assert.matches("grpc%-status: 0", headers)
    local made = assert(protobuf.decode(messages.v2.SigningCertificate,
      bytes)).signed_certificate_detached_sct
    verifies(made.chain.certificates,
             assert(engine.claims.parse(made.signed_certificate_timestamp)))
    headers, bytes = call("v1beta.CA/CreateSigningCertificate",
      protobuf.encode(
      messages.v1.CreateSigningCertificateRequest, {
        publicKey = { content = key:spki() },
        signedEmailAddress = proof }),
      "-H 'authorization: Bearer " .. token() .. "'")
    local sct = headers:match("x%-sct: ([%w+/=]+)")
    verifies({ assert(protobuf.decode(messages.api.HttpBody, bytes)).data },
             assert(engine.claims.parse(engine.bytes.unbase64(sct))))
  end)

  it("shows the pool in the trust bundle, and is healthy", function()
    local bundle = program.parsed(program.get(urls.http
      .. "/api/v2/trustBundle"))
    assert.equal(1, #bundle.chains)
    assert.equal(2, #bundle.chains[1].certificates)
    assert.equal(200, program.get(urls.http .. "/healthz").status)
  end)

  local function creations()
    local found = {}
    for _, request in ipairs(google:seen().asked) do
      if request.path:find("/certificates$") then
        found[#found + 1] = request.query
      end
    end
    return found
  end

  it("has one certificate made when the connection breaks after it",
  function()
    google:order({ "reset" })
    local chain = issued(v2())
    local made = google:seen().made
    assert.equal(1, #made)
    assert.equal(made[1], chain[1].pem)
  end)

  it("gets over what passes", function()
    for _, fault in ipairs({ "401", "429", "503", "500 html",
                             "truncated" }) do
      google:order({ fault })
      issued(v2())
      local queries = creations()
      assert.equal(2, #queries, fault)
      assert.equal(queries[1], queries[2])
      assert.equal(1, #google:seen().made)
    end
  end)

  it("hands no wrong certificate on", function()
    for _, fault in ipairs({ "dropped", "wrong_key", "longer", "eku" }) do
      google:order({ fault })
      local answer = v2()
      assert.equal(500, answer.status)
      assert.matches("error communicating with CA backend", answer.body)
    end
    assert.matches("is missing", process:output(), 1, true)
    assert.matches("public key is another", process:output(), 1, true)
  end)

  it("asks once for what is refused, and tells the operator", function()
    for fault, words in pairs({ ["403"] = "privateca.certificates.create",
                                ["400"] = "certificate.lifetime" }) do
      google:order({ fault })
      assert.equal(500, v2().status)
      assert.equal(1, #creations())
      assert.matches(words, process:output(), 1, true)
    end
  end)

  it("passes Google's wait on to the client", function()
    google:order({ "429 long" })
    local answer = v2()
    assert.equal(503, answer.status)
    assert.is_true(tonumber(answer.headers["retry-after"]) >= 30)
  end)

  it("answers in time when Google is silent", function()
    google:order({ "silence" })
    issued(v2())
    assert.equal(1, #google:seen().made)
    google:order({ "mute", "mute", "mute" })
    -- The service answers after 30 seconds, we stop waiting after 20.
    local answer = v2()
    assert.equal(503, answer.status)
    assert.is_true(tonumber(answer.headers["retry-after"]) > 0)
  end)

  it("never logs a token", function()
    local text = process:output()
    assert.is_nil(text:find("eyJ", 1, true))
    assert.is_nil(text:find("ya29", 1, true))
  end)
end)
