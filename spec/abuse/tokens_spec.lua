local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local program = require("spec.program")

local base64url = engine.bytes.base64url

local POLICY = [[
return {
  issuer = "ISSUER", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

local EMAIL = "a@example.com"

describe("a running CA", function()
  local scene, issuer_key, kid, key, proof

  local function ask(token)
    return program.post(scene.fulcio .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = token },
      publicKeyRequest = { publicKey = { content = key:pem() },
                           proofOfPossession = proof },
    })
  end

  local function claims(changes)
    local now = engine.system.now()
    local all = { iss = scene.issuer, aud = "sigstore", sub = "a",
                  email = EMAIL, email_verified = true, iat = now,
                  exp = now + 600 }
    for name, value in pairs(changes or {}) do all[name] = value end
    return json.encode(all)
  end

  -- A token that the issuer's own key signs.
  local function signed(payload, header, with)
    if type(payload) ~= "string" then payload = claims(payload) end
    return assert(engine.jws.sign(header or json.encode({
      alg = "RS256", kid = kid }), payload, with or issuer_key, "RS256"))
  end

  -- A token with this signature, whatever it is.
  local function joined(header, payload, signature)
    return base64url(json.encode(header)) .. "." .. base64url(payload)
      .. "." .. base64url(signature)
  end

  local function hmac(text, secret)
    local name = os.tmpname()
    assert(engine.system.write(name, text))
    local pipe = io.popen(("openssl dgst -sha256 -mac HMAC -macopt hexkey:%s"
      .. " -binary %s"):format(engine.bytes.hex(secret), name))
    local bytes = pipe:read("a")
    pipe:close()
    os.remove(name)
    assert.equal(32, #bytes)
    return bytes
  end

  local function symmetric(secret)
    local input = base64url(json.encode({ alg = "HS256", kid = kid }))
      .. "." .. base64url(claims())
    return input .. "." .. base64url(hmac(input, secret))
  end

  local function fetches()
    local url = "http://127.0.0.1:" .. ("%d"):format(scene.ports.metrics)
    local page = program.get(url .. "/metrics").body
    local count = 0
    for number in page:gmatch("fulcio_issuer_fetches_total{[^}]*} (%d+)") do
      count = count + tonumber(number)
    end
    return count
  end

  setup(function()
    scene = deployment.start({ policies = { email = POLICY },
                               flags = { "--workers", "1" } })
    issuer_key = assert(engine.pkey.open(
      scene.directory .. "/issuer/RS256.pem"))
    kid = base64url(engine.bytes.sha256(issuer_key:spki()))
    key = assert(engine.pkey.generate("P-256"))
    proof = engine.bytes.base64(assert(key:sign(EMAIL)))
    local response = ask(signed())
    assert.equal(200, response.status, response.body)
  end)

  teardown(function() scene:stop() end)

  -- The reason, and the claim where one is named.
  local function refuses(reason, token, claim)
    local response = ask(token)
    local body = program.parsed(response)
    local detail = body.details[1]
    assert.equal(reason, detail.reason)
    assert.is_true(response.status >= 400 and response.status < 500)
    assert.equal(claim, (detail.metadata or {}).claim)
    assert.is_nil(response.body:find(token:sub(1, 40), 1, true))
  end

  it("refuses a token out of time", function()
    refuses("TOKEN_EXPIRED", signed({ exp = engine.system.now() - 1 }),
            "exp")
    refuses("TOKEN_NOT_YET_VALID",
            signed({ nbf = engine.system.now() + 900 }), "nbf")
  end)

  it("refuses a token for another audience", function()
    refuses("WRONG_AUDIENCE", signed({ aud = "other" }), "aud")
    refuses("WRONG_AUDIENCE", signed({ aud = json.list({}) }), "aud")
  end)

  it("refuses a token without a signature of a key pair", function()
    for _, alg in ipairs({ "none", "None", "nOnE", "" }) do
      refuses("TOKEN_ALGORITHM",
              joined({ alg = alg, kid = kid }, claims(), ""))
    end
    for _, secret in ipairs({ issuer_key:spki(), issuer_key:pem() }) do
      refuses("TOKEN_ALGORITHM", symmetric(secret))
    end
  end)

  it("refuses a key name that is a path, and asks no address of a token",
  function()
    local before = fetches()
    for _, name in ipairs({ "../../../../dev/null", "/etc/passwd",
                            "' OR 1=1 --", "http://127.0.0.1:1/keys" }) do
      refuses("UNKNOWN_KEY", joined({ alg = "RS256", kid = name }, claims(),
        ("s"):rep(256)))
    end
    local stranger = assert(engine.pkey.generate("RSA-2048"))
    local jwk = engine.jws.jwk(stranger)
    jwk.kid = kid
    refuses("TOKEN_SIGNATURE", signed(nil, json.encode({
      alg = "RS256", kid = kid, jku = scene.issuer .. "/mine", jwk = jwk,
      x5u = scene.issuer .. "/mine" }), stranger))
    assert.is_true(fetches() - before <= 4)
  end)

  it("refuses a member that is there twice", function()
    local text = claims()
    refuses("TOKEN_MALFORMED",
            signed(text:sub(1, -2) .. ',"aud":"sigstore"}'))
    refuses("TOKEN_MALFORMED",
            signed(text:sub(1, -2) .. ',"\\u0061ud":"other"}'))
  end)

  it("refuses a claim of a megabyte", function()
    local reason = "BODY_TOO_LARGE"
    local response = ask(joined({ alg = "RS256", kid = kid },
      claims({ sub = ("x"):rep(1024 * 1024) }), ("s"):rep(256)))
    assert.equal(413, response.status)
    assert.equal(reason, program.parsed(response).details[1].reason)
    refuses("TOKEN_MALFORMED", signed({ sub = ("x"):rep(60000) }))
  end)

  it("refuses a token that is cut", function()
    local token = signed()
    refuses("TOKEN_MALFORMED", token:sub(1, 60))
    refuses("TOKEN_MALFORMED", (token:gsub("%.[^.]*$", "")))
    refuses("TOKEN_SIGNATURE", token:sub(1, -3))
    refuses("TOKEN_SIGNATURE", (token:gsub("[^.]*$", "")))
  end)

  it("refuses an e-mail address that is none", function()
    for _, email in ipairs({ "a@example.com\0", "a@example.com\n",
        "a@example.com\r\nBcc: b@example.com", "\0", "a\127@example.com",
        "a@ex\u{e4}mple.com", "a@example.com@b", "a" }) do
      refuses("CLAIM_INVALID", signed({ email = email }), "email")
    end
  end)

  it("refuses a claim of the wrong type", function()
    for _, email in ipairs({ 5, true, { a = "b" }, json.list({ EMAIL }) }) do
      refuses("CLAIM_INVALID", signed({ email = email }), "email")
    end
    refuses("TOKEN_MALFORMED", signed({ iss = 5 }), "iss")
    refuses("TOKEN_MALFORMED", signed({ aud = 5 }), "aud")
    refuses("TOKEN_MALFORMED", signed({ exp = "tomorrow" }), "exp")
    refuses("EMAIL_NOT_VERIFIED", signed({ email_verified = 1 }),
            "email_verified")
  end)

  it("asks few times for a thousand keys that do not exist, and finds a"
     .. " new one all the same", function()
    local before = fetches()
    for i = 1, 1000 do
      refuses("UNKNOWN_KEY", joined({ alg = "RS256", kid = "no-" .. i },
        claims(), ("s"):rep(256)))
    end
    assert.is_true(fetches() - before <= 8, fetches() - before)
    local old = signed()
    assert.equal(200, (ask(old)).status)
    assert.equal(200, program.post(scene.issuer .. "/rotate", "").status)
    local fresh = program.post(scene.issuer .. "/token",
                               { sub = "a", email = EMAIL }).body
    assert.is_true(program.wait(function()
      return ask(fresh).status == 200
    end))
    refuses("UNKNOWN_KEY", old)
  end)
end)
