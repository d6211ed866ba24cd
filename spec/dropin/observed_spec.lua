local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local messages = require("fulcio.messages")
local program = require("spec.program")
local protobuf = require("fulcio.engine").protobuf

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

local V1, V2 = "dev.sigstore.fulcio.v1beta.CA", "dev.sigstore.fulcio.v2.CA"

describe("what an operator sees", function()
  local directory, remove, issuer, issuer_url, server, urls
  local secrets = {}

  setup(function()
    directory, remove = authority.directory()
    issuer, issuer_url = program.issuer()
    assert(engine.system.mkdir(directory .. "/policies"))
    assert(engine.system.write(directory .. "/policies/a.lua",
                               POLICY:format(issuer_url)))
    server, urls = program.serve(directory .. "/data", {
      "--ca", "ephemeralca", "--policies", directory .. "/policies",
      "--log_type", "prod" })
  end)

  teardown(function()
    server:stop()
    issuer:stop()
    remove()
  end)

  local function asked(changes)
    local claims = { sub = "someone", email = "a@example.com" }
    for name, value in pairs(changes or {}) do claims[name] = value end
    local token = program.post(issuer_url .. "/token", claims).body
    local key = assert(engine.pkey.generate("P-256"))
    local proof = assert(key:sign("a@example.com"))
    secrets[#secrets + 1] = token
    secrets[#secrets + 1] = engine.bytes.base64(proof)
    secrets[#secrets + 1] = key:pem():match("\n(.-)\n")
    return { token = token, key = key:pem(), proof = proof }
  end

  local function v2(id, changes)
    local all = asked(changes)
    return program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = all.token },
      publicKeyRequest = { publicKey = { content = all.key },
        proofOfPossession = engine.bytes.base64(all.proof) },
    }, { ["X-Request-Id"] = id }).status
  end

  local function v1(id)
    local all = asked()
    return program.post(urls.http .. "/api/v1/signingCert", {
      publicKey = { content = engine.bytes.base64(all.key) },
      signedEmailAddress = engine.bytes.base64(all.proof),
    }, { Authorization = "Bearer " .. all.token,
         ["X-Request-Id"] = id }).status
  end

  -- A call by curl: its output.
  local function call(path, bytes, headers)
    local file = directory .. "/message"
    assert(engine.system.write(file,
      "\0" .. string.pack(">I4", #bytes) .. bytes))
    local words = { "curl -s -i --http2-prior-knowledge",
      "-H 'content-type: application/grpc' -H 'te: trailers'" }
    for name, value in pairs(headers) do
      words[#words + 1] = ("-H '%s: %s'"):format(name, value)
    end
    words[#words + 1] = ("--data-binary @%s %s%s"):format(file, urls.grpc,
                                                          path)
    local pipe = assert(io.popen(table.concat(words, " ")))
    local output = pipe:read("a")
    pipe:close()
    return output
  end

  local function called(id, changes)
    local all = asked(changes)
    return call("/" .. V2 .. "/CreateSigningCertificate", protobuf.encode(
      messages.v2.CreateSigningCertificateRequest, {
        credentials = { oidc_identity_token = all.token },
        public_key_request = { public_key = { content = all.key },
                               proof_of_possession = all.proof },
      }), { ["x-request-id"] = id, ["grpc-timeout"] = "20S" })
  end

  -- Every line, which must be an object of JSON.
  local function logged()
    local list = {}
    for line in server:output():gmatch("([^\n]+)\n") do
      local event, why = engine.claims.parse(line)
      list[#list + 1] = assert(event, (why or "") .. ": " .. line)
    end
    return list
  end

  local function of_request(id)
    return program.wait(function()
      for _, event in ipairs(logged()) do
        if event.request_id == id then return event end
      end
    end)
  end

  local function shown() return program.get(urls.metrics .. "/").body end

  local function value(name, labels)
    for line in shown():gmatch("[^\n]+") do
      local found, text, number =
        line:match("^([%w_]+){?(.-)}? ([%d.e+-]+)$")
      local all = found == name
      for label, wanted in pairs(labels or {}) do
        all = all and ("," .. text .. ","):find(
          (',%s="%s",'):format(label, wanted), 1, true)
      end
      if all then return tonumber(number) end
    end
    return nil
  end

  it("is a line of JSON for an event, with the request's ID", function()
    assert.equal(200, v2("v2-granted"))
    assert.equal(201, v1("v1-granted"))
    assert.equal(400, v2("v2-refused", { aud = "other" }))
    assert.matches("grpc%-status: 0", called("grpc-granted"))
    assert.matches("x%-request%-id: grpc%-refused",
                   called("grpc-refused", { aud = "other" }))
    for _, id in ipairs({ "v2-granted", "v1-granted", "grpc-granted" }) do
      local event = assert(of_request(id), id)
      assert.equal("certificate issued", event.message)
      assert.equal("INFO", event.severity)
      assert.matches("^%d+-%d+-%d+T%d+:%d+:%d+%.%d+Z$", event.ts)
      assert.equal(issuer_url, event.issuer)
    end
    for _, id in ipairs({ "v2-refused", "grpc-refused" }) do
      local event = assert(of_request(id), id)
      assert.equal("WRONG_AUDIENCE", event.reason)
      assert.equal("WARNING", event.severity)
    end
  end)

  it("is another ID for each request that has none", function()
    assert.equal(200, v2())
    assert.equal(200, v2())
    local seen, count = {}, 0
    for _, event in ipairs(logged()) do
      if event.message == "certificate issued" then
        assert.is_nil(seen[event.request_id], event.request_id)
        seen[event.request_id], count = true, count + 1
      end
    end
    assert.is_true(count >= 2)
  end)

  it("is never a token, a key or a proof, wherever they are sent", function()
    local token = asked().token
    program.get(urls.http .. "/" .. token:sub(1, 60))
    program.get(urls.http .. "/api/v2/configuration?token="
                .. token:sub(1, 60))
    v2(token:sub(1, 120), { aud = "other" })
    v2("in-claims", { aud = token:sub(1, 60) })
    assert.is_table(of_request("in-claims"))
    local output = server:output()
    for _, secret in ipairs(secrets) do
      for from = 1, #secret - 40, 40 do
        assert.is_nil(output:find(secret:sub(from, from + 40), 1, true))
      end
    end
  end)

  it("is Fulcio's metrics, under its names and labels", function()
    local before = value("fulcio_new_certs")
    local post = { code = "200", method = "post" }
    local requests = value("http_requests_total", post) or 0
    v2()
    program.get(urls.http .. "/api/v2/trustBundle")
    program.get(urls.http .. "/ping")
    assert.equal(before + 1, value("fulcio_new_certs"))
    assert.equal(requests + 1, value("http_requests_total", post))
    assert.is_truthy(value("http_requests_total",
                           { code = "404", method = "get" }))
    for _, le in ipairs({ "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
                          "0.5", "1", "2.5", "5", "10", "+Inf" }) do
      assert.is_truthy(value("fulcio_api_latency_bucket",
                             { code = "200", method = "post", le = le }), le)
    end
    assert.is_truthy(value("fulcio_api_latency_count", post))
    assert.is_truthy(value("fulcio_api_latency_sum", post))
    assert.equal(1, value("fulcio_build_info", { version = engine.version }))
    for _, name in ipairs({ "process_cpu_seconds_total",
                            "process_max_fds", "process_open_fds",
                            "process_resident_memory_bytes",
                            "process_start_time_seconds",
                            "process_virtual_memory_bytes" }) do
      assert.is_truthy(value(name), name)
    end
  end)

  it("is gRPC's metrics, for calls and for HTTP, which Fulcio turns into"
     .. " calls", function()
    v1()
    v2()
    called()
    called(nil, { aud = "other" })
    program.get(urls.http .. "/healthz")
    local function of(service, method, code)
      return { grpc_type = "unary", grpc_service = service,
               grpc_method = method, grpc_code = code }
    end
    local wanted = {
      of(V2, "CreateSigningCertificate", "OK"),
      of(V2, "CreateSigningCertificate", "InvalidArgument"),
      of(V2, "GetTrustBundle", "OK"),
      of(V1, "CreateSigningCertificate", "OK"),
      of("grpc.health.v1.Health", "Check", "OK"),
    }
    program.get(urls.http .. "/api/v2/trustBundle")
    for _, labels in ipairs(wanted) do
      assert.is_truthy(value("grpc_server_handled_total", labels),
                       labels.grpc_method .. labels.grpc_code)
      labels.grpc_code = nil
      for _, name in ipairs({ "started", "msg_received", "msg_sent" }) do
        assert.is_truthy(value(("grpc_server_%s_total"):format(name),
                               labels), name)
      end
    end
  end)

  it("is where time goes, who is refused and why, what is well", function()
    v2()
    v2(nil, { aud = "other" })
    v2(nil, { iss = "https://other.example" })
    for _, stage in ipairs({ "token", "policy", "proof", "precertificate",
                             "log", "certificate" }) do
      assert.is_truthy(value("fulcio_stage_seconds_count",
                             { stage = stage }), stage)
    end
    assert.is_truthy(value("fulcio_refusals_total", {
      reason = "WRONG_AUDIENCE", issuer = issuer_url }))
    assert.is_truthy(value("fulcio_refusals_total", {
      reason = "UNKNOWN_ISSUER", issuer = "" }))
    assert.is_nil(shown():find("other.example", 1, true))
    assert.equal(1, value("fulcio_ca_up"))
    assert.equal(1, value("fulcio_ct_up"))
    assert.is_truthy(value("fulcio_ct_submissions_total",
                           { result = "ok" }))
    assert.is_truthy(value("fulcio_ca_signatures_total", { result = "ok" }))
  end)

  it("is a log that is away", function()
    local other, at = program.serve(directory .. "/alone", {
      "--ca", "ephemeralca", "--policies", directory .. "/policies",
      "--ct-log-url", "http://127.0.0.1:1/log" })
    assert.matches("\nfulcio_ct_up 0\n",
                   program.get(at.metrics .. "/metrics").body, 1, true)
    other:stop()
  end)
end)
