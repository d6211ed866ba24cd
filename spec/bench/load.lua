--- Load: many clients at once, every answer verified after the clock stops.

local claims = require("fulcio.engine").claims
local engine = require("fulcio.engine")

local bytes, jws, system = engine.bytes, engine.jws, engine.system

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

--- `count` ready-made requests: { body, key's SPKI }.
function M.requests(kind, token, count)
  local made = {}
  for i = 1, count do
    local payload, challenge = M.kinds[kind](i)
    local key = assert(engine.pkey.generate("P-256"))
    made[i] = {
      spki = key:spki(),
      body = json_text({
        credentials = { oidcIdentityToken = token(payload) },
        publicKeyRequest = {
          publicKey = { algorithm = "ECDSA", content = key:pem() },
          proofOfPossession =
            bytes.base64(assert(key:sign(challenge))),
        },
      }),
    }
  end
  return made
end

local function post(url, request)
  local started = system.monotonic()
  local answer, message = engine.http.request({
    url = url .. "/api/v2/signingCert", method = "POST",
    headers = { ["content-type"] = "application/json" },
    body = request.body, timeout = 20,
  })
  return { request = request, answer = answer, message = message,
           seconds = system.monotonic() - started }
end

--- Sends requests over `connections` clients for `seconds`; returns what
--- came back and how long it took.
function M.run(url, requests, connections, seconds)
  local results, left = {}, connections
  local done = engine.server.signal()
  local started = system.monotonic()
  local next_request = 0
  for _ = 1, connections do
    engine.server.spawn(function()
      while system.monotonic() - started < seconds do
        next_request = next_request % #requests + 1
        local result = post(url, requests[next_request])
        results[#results + 1] = result
      end
      left = left - 1
      if left == 0 then done:wake() end
    end)
  end
  while left > 0 do done:wait(60) end
  return results, system.monotonic() - started
end

local function verify_one(result, ca)
  local answer = result.answer
  assert(answer, result.message)
  assert(answer.status == 200, "status " .. answer.status .. ": "
         .. answer.body)
  local body = assert(claims.parse(answer.body))
  local form = body.signedCertificateEmbeddedSct
    or body.signedCertificateDetachedSct
  local leaf = assert(engine.x509.parse(form.chain.certificates[1]))[1]
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
