--- Load: many clients at once, every answer verified after the clock stops.

local claims = require("fulcio.engine").claims
local engine = require("fulcio.engine")

local messages = require("fulcio.messages").v2
local Process = require("spec.bench.process")
local protobuf = require("fulcio.engine").protobuf

local bytes, jws, system = engine.bytes, engine.jws, engine.system

local ECDSA = 2
local METHOD = "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate"

local build = os.getenv("BUILD") or "build"

local M = {}

local function json_text(value)
  return require("cjson").encode(value)
end

--- An OIDC issuer in this process: its URL, and a maker of tokens.
function M.issuer()
  local key = assert(engine.pkey.generate("RSA-2048"))
  local listener = assert(engine.server.listen({ host = "127.0.0.1",
                                                 port = 0 }))
  local url = "http://127.0.0.1:" .. listener.port
  local jwk = jws.jwk(key)
  jwk.kid, jwk.alg, jwk.use = "bench", "RS256", "sig"
  local pages = {
    ["/.well-known/openid-configuration"] = json_text({
      issuer = url, jwks_uri = url .. "/keys",
      id_token_signing_alg_values_supported = { "RS256" },
    }),
    ["/keys"] = json_text({ keys = { jwk } }),
  }
  engine.server.http(listener, function(request)
    local page = pages[request.path]
    return { status = page and 200 or 404, body = page or "",
             headers = { ["content-type"] = "application/json" } }
  end)
  return url, function(payload)
    payload.iss, payload.aud = url, "sigstore"
    payload.exp = system.now() + 3600
    return assert(jws.sign('{"alg":"RS256","kid":"bench"}',
                           json_text(payload), key, "RS256"))
  end
end

local function email_claims(i)
  local name = ("user%d@example.com"):format(i)
  return { sub = "subject-" .. i, email = name, email_verified = true }, name
end

local function github_claims(i)
  local sha = ("%040x"):format(i)
  local sub = "repo:octo-org/octo-repo:ref:refs/heads/main"
  return {
    sub = sub, event_name = "push", sha = sha, workflow = "release",
    repository = "octo-org/octo-repo", ref = "refs/heads/main",
    job_workflow_ref = "octo-org/octo-repo/.github/workflows/release.yml"
      .. "@refs/heads/main",
    job_workflow_sha = sha, runner_environment = "github-hosted",
    repository_id = "74", repository_owner = "octo-org",
    repository_owner_id = "65", repository_visibility = "public",
    workflow_ref = "octo-org/octo-repo/.github/workflows/release.yml"
      .. "@refs/heads/main",
    workflow_sha = sha, run_id = "1234567", run_attempt = "1",
    actor = "octocat", ref_type = "branch", base_ref = "", head_ref = "",
  }, sub
end

M.kinds = { email = email_claims, github = github_claims }

-- One request, as HTTP's clients and as gRPC's send it.
local function request_of(token, key, proof)
  return json_text({
    credentials = { oidcIdentityToken = token },
    publicKeyRequest = {
      publicKey = { algorithm = "ECDSA", content = key:pem() },
      proofOfPossession = bytes.base64(proof),
    },
  }), protobuf.encode(messages.CreateSigningCertificateRequest, {
    credentials = { oidc_identity_token = token },
    public_key_request = {
      public_key = { algorithm = ECDSA, content = key:pem() },
      proof_of_possession = proof,
    },
  })
end

--- `count` ready-made requests: { body, message, key's SPKI }.
function M.requests(kind, token, count)
  local made = {}
  for i = 1, count do
    local payload, challenge = M.kinds[kind](i)
    local key = assert(engine.pkey.generate("P-256"))
    local proof = assert(key:sign(challenge))
    local body, message = request_of(token(payload), key, proof)
    made[i] = { spki = key:spki(), body = body, message = message }
  end
  return made
end

local function write_requests(path, requests, part)
  local file = assert(io.open(path, "wb"))
  for _, request in ipairs(requests) do
    file:write((">s4"):pack(request[part]))
  end
  file:close()
end

-- `part` of a result is what was answered.
local function read_answers(path, requests, part)
  local results, file = {}, assert(io.open(path, "rb"))
  local text, at = file:read("a"), 1
  file:close()
  while at <= #text do
    local index, microseconds, status, answer
    index, microseconds, status, answer, at = (">I4I4I4s4"):unpack(text, at)
    results[#results + 1] = { request = requests[index + 1], [part] = answer,
                              status = status, seconds = microseconds / 1e6 }
  end
  return results
end

-- Runs calls.c, in a process of its own.
local function run(words, url, requests, connections, seconds)
  local path = os.tmpname()
  write_requests(path, requests, words.asked)
  local started = system.monotonic()
  local calls = Process.start(("exec %s/bench_calls %s %s %s %d %g %s %s.out")
    :format(build, words.protocol, url:match("%d+$"), words.path, connections,
            seconds, path, path), path .. ".log")
  -- The issuer in this process may be asked meanwhile.
  while calls:running() do engine.server.sleep(0.01) end
  local took = system.monotonic() - started
  local said = calls:output()
  assert(said == "", said)
  local results = read_answers(path .. ".out", requests, words.answered)
  for _, ending in ipairs({ "", ".out", ".log" }) do
    os.remove(path .. ending)
  end
  return results, took
end

--- Posts requests over `connections` clients for `seconds`; returns what
--- came back and how long it took.
function M.post(...)
  return run({ protocol = "http", path = "/api/v2/signingCert",
               asked = "body", answered = "json" }, ...)
end

--- The same by gRPC.
function M.call(...)
  return run({ protocol = "grpc", path = METHOD, asked = "message",
               answered = "grpc" }, ...)
end

local function http_chain(result)
  assert(result.status == 200, "status " .. result.status .. ": "
         .. result.json)
  local body = assert(claims.parse(result.json))
  local form = body.signedCertificateEmbeddedSct
    or body.signedCertificateDetachedSct
  return form.chain.certificates
end

local function grpc_chain(result)
  assert(result.status == 0, "grpc-status " .. result.status)
  local message, after = (">s4"):unpack(result.grpc, 2)
  assert(after == #result.grpc + 1, "not one message")
  local body = assert(protobuf.decode(messages.SigningCertificate, message))
  local form = body.signed_certificate_embedded_sct
    or body.signed_certificate_detached_sct
  return form.chain.certificates
end

local function verify_one(result, ca)
  local chain = result.grpc and grpc_chain(result) or http_chain(result)
  local leaf = assert(engine.x509.parse(chain[1]))[1]
  assert(ca:signed(leaf.der))
  assert(leaf:pkey():spki() == result.request.spki, "another client's key")
end

--- Verifies every answer; throws at the first that is wrong.
function M.verify(results, ca)
  for _, result in ipairs(results) do verify_one(result, ca) end
end

--- Seconds below which `share` (0 to 1) of the answers came.
function M.percentile(results, share)
  local times = {}
  for i, result in ipairs(results) do times[i] = result.seconds end
  table.sort(times)
  return times[math.max(1, math.ceil(#times * share))]
end

return M
