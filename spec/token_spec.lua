local cjson = require("cjson")
local engine = require("fulcio.engine")
local issuers = require("fulcio.issuers")
local log = require("fulcio.log")
local new_issuer = require("spec.issuer")
local token = require("fulcio.token")

local URL = "https://issuer.example.com"
local NOW = 1800000000

local ec = engine.pkey.generate("P-256")
local rsa = engine.pkey.generate("RSA-2048")
local ed = engine.pkey.generate("Ed25519")
local stranger = engine.pkey.generate("P-256")

local base64url = engine.bytes.base64url

describe("token", function()
  local issuer, cache, time

  local set = {
    match = function(_, iss)
      if iss == URL then
        return { audiences = { sigstore = true, other = true },
                 exact = true, wildcard = false }
      elseif iss:find("^https://%w+%.wild%.example%.com$") then
        return { audiences = { sigstore = true }, exact = false,
                 wildcard = true }
      end
    end,
  }

  before_each(function()
    log.open({ mode = "prod", write = function() end })
    time = 0
    issuer = new_issuer(URL)
    issuer.document.id_token_signing_alg_values_supported =
      { "RS256", "PS256", "ES256", "EdDSA" }
    issuer:add("ec", "ES256", ec)
    issuer:add("rsa", nil, rsa)
    issuer:add("ed", "EdDSA", ed)
    cache = issuers.new({
      clock = function() return time end,
      request = function(request) return issuer:request(request) end,
    })
  end)

  after_each(function() log.open({ mode = "prod" }) end)

  local function claims(changes)
    local all = { iss = URL, aud = "sigstore", sub = "alice",
                  exp = NOW + 600, iat = NOW - 5 }
    for name, value in pairs(changes or {}) do
      if value == "absent" then value = nil end
      all[name] = value
    end
    return cjson.encode(all)
  end

  -- A token of these claims (JSON text or changes to the usual ones).
  local function signed(payload, header, key, algorithm)
    if type(payload) ~= "string" then payload = claims(payload) end
    header = header or { alg = "ES256", kid = "ec" }
    if type(header) ~= "string" then header = cjson.encode(header) end
    return assert(engine.jws.sign(header, payload, key or ec,
                                  algorithm or "ES256"))
  end

  local function refused(reason, jwt, now)
    local found, refusal = token.verify(jwt, set, cache, now or NOW)
    assert.is_nil(found)
    assert.equal(reason, refusal.reason)
    assert.equal(400, refusal.http)
    assert.equal(3, refusal.grpc)
    assert.equal("There was an error processing the identity token",
                 refusal.message)
    return refusal
  end

  local function accepted(jwt, now)
    return assert(token.verify(jwt, set, cache, now or NOW))
  end

  it("gives the claims of a good token", function()
    local found = accepted(signed({ email = "a@example.com", n = 7 }))
    assert.equal("alice", found.sub)
    assert.equal("a@example.com", found.email)
    assert.equal(7, found.n)
  end)

  it("takes a token with white space around it", function()
    assert.equal("alice", accepted(" \r\n" .. signed({}) .. "\t\n").sub)
  end)

  it("verifies with each kind of key", function()
    accepted(signed({}, { alg = "RS256", kid = "rsa" }, rsa, "RS256"))
    accepted(signed({}, { alg = "PS256", kid = "rsa" }, rsa, "PS256"))
    accepted(signed({}, { alg = "EdDSA", kid = "ed" }, ed, "EdDSA"))
  end)

  it("tries the keys that fit when a token names none", function()
    accepted(signed({}, { alg = "ES256" }))
    accepted(signed({}, { alg = "RS256", kid = "" }, rsa, "RS256"))
    accepted(signed({}, { alg = "ES256", kid = cjson.null }))
    issuer:add("other", "ES256", stranger)
    time = 11
    accepted(signed({}, { alg = "ES256" }, stranger))
  end)

  it("refuses what is not three parts of base64url", function()
    local good = signed()
    for _, jwt in ipairs({ "", "=", "aaaa.bbbb", "aaaa.aGVsbG8.cccc",
        good .. ".x", good:gsub("%.", "..", 1), good .. "=", " ",
        (good:gsub("%.", ".\n", 1)), "." .. good, (good:gsub("%.[^.]*$", "")),
        ("."):rep(10000), good:sub(1, 40),
        "x" .. (" "):rep(65000) .. "x " }) do
      refused("TOKEN_MALFORMED", jwt)
    end
    refused("TOKEN_MALFORMED", nil)
  end)

  it("refuses a token of more than 64 KiB unread", function()
    refused("TOKEN_MALFORMED", signed({ big = ("x"):rep(50000) }))
    accepted(signed({ big = ("x"):rep(40000) }))
  end)

  it("refuses a signature that was cut or changed", function()
    local good = signed()
    local head = good:match("^(.*%.)")
    refused("TOKEN_SIGNATURE", head)
    local bytes = engine.bytes.unbase64((good:match("[^.]*$")))
    refused("TOKEN_SIGNATURE", head .. base64url(bytes:sub(1, -2)))
    refused("TOKEN_SIGNATURE", head .. base64url(bytes .. "\0"))
    refused("TOKEN_SIGNATURE", head .. base64url(("\0"):rep(64)))
    local other = signed({ sub = "bob" })
    refused("TOKEN_SIGNATURE",
            other:match("^(.*%.)") .. good:match("[^.]*$"))
  end)

  it("refuses another's signature under a known key's name", function()
    local refusal = refused("TOKEN_SIGNATURE", signed({}, nil, stranger))
    assert.equal(URL, refusal.log.issuer)
    refused("TOKEN_SIGNATURE",
            signed({}, { alg = "ES256" }, stranger))
  end)

  it("never takes a token that is not signed", function()
    local none = base64url('{"alg":"none"}') .. "." .. base64url(claims())
      .. "."
    refused("TOKEN_ALGORITHM", none)
    for _, alg in ipairs({ "none", "NONE", "None", "", "HS256", "HS512",
                           "ES256K", "RSA1_5", "es256" }) do
      refused("TOKEN_ALGORITHM", base64url(cjson.encode({ alg = alg }))
        .. "." .. base64url(claims()) .. "." .. base64url("x"))
    end
    for _, header in ipairs({ "{}", '{"alg":null}', '{"alg":["ES256"]}',
                              '{"alg":5}' }) do
      refused("TOKEN_ALGORITHM", base64url(header) .. "."
        .. base64url(claims()) .. "." .. base64url("x"))
    end
    assert.equal(0, #issuer.asked)
  end)

  it("refuses an algorithm that the issuer does not advertise", function()
    issuer.document.id_token_signing_alg_values_supported = { "RS256" }
    refused("TOKEN_ALGORITHM", signed())
  end)

  it("refuses a key of another kind than the algorithm's", function()
    refused("UNKNOWN_KEY", signed({}, { alg = "ES256", kid = "rsa" }))
    refused("UNKNOWN_KEY", signed({}, { alg = "RS256", kid = "ec" }, rsa,
                                  "RS256"))
  end)

  it("refuses a header with critical extensions", function()
    refused("TOKEN_MALFORMED",
            signed({}, { alg = "ES256", kid = "ec", crit = { "exp" } }))
    refused("TOKEN_MALFORMED",
            signed({}, { alg = "ES256", kid = "ec", crit = cjson.null }))
  end)

  -- RFC 7797: such a payload is not what base64url says it is.
  it("refuses a header that says its payload is not base64url", function()
    for _, b64 in ipairs({ false, cjson.null, "false", 0 }) do
      refused("TOKEN_MALFORMED",
              signed({}, { alg = "ES256", kid = "ec", b64 = b64 }))
    end
    accepted(signed({}, { alg = "ES256", kid = "ec", b64 = true }))
  end)

  it("asks no address that a header names", function()
    local jwk = engine.jws.jwk(stranger)
    for name, value in pairs({ jku = "https://evil.example.com/jwks",
        x5u = "https://evil.example.com/x5u", jwk = jwk,
        x5c = { "MIIB" } }) do
      refused("UNKNOWN_KEY", signed({}, {
        alg = "ES256", kid = "evil", [name] = value }, stranger))
    end
    for _, request in ipairs(issuer.asked) do
      assert.equal(URL, request.url:sub(1, #URL))
    end
  end)

  it("only compares a key's name", function()
    for _, kid in ipairs({ "../../etc/passwd", "' OR 1=1", "\0", "EC",
                           "ec\0", ("x"):rep(256) }) do
      refused("UNKNOWN_KEY", signed({}, { alg = "ES256", kid = kid }))
    end
    for _, kid in ipairs({ 5, { "ec" }, true, ("x"):rep(257) }) do
      refused("TOKEN_MALFORMED", signed({}, { alg = "ES256", kid = kid }))
    end
  end)

  it("refuses what is not one JSON object", function()
    for _, payload in ipairs({ "hello", "[]", "null", "5", '"x"',
        '{"iss":"' .. URL .. '"', "{} {}", '{"iss":"\255"}',
        ("["):rep(100000) }) do
      refused("TOKEN_MALFORMED", signed(payload))
    end
    refused("TOKEN_MALFORMED", signed({}, "[]"))
    refused("TOKEN_MALFORMED", signed({}, '"x"'))
  end)

  it("refuses a member that is there twice", function()
    local twice = claims():gsub("^{", '{"aud":"other",')
    refused("TOKEN_MALFORMED", signed(twice))
    refused("TOKEN_MALFORMED",
            signed({}, '{"alg":"none","kid":"ec","alg":"ES256"}'))
  end)

  it("refuses an issuer that no policy names", function()
    for _, iss in ipairs({ URL .. "/", "https://other.example.com", "",
        URL .. "\0", "HTTPS://issuer.example.com", ("x"):rep(3000),
        "https://a.b.wild.example.com" }) do
      local refusal = refused("UNKNOWN_ISSUER", signed({ iss = iss }))
      assert.equal("iss", refusal.client.claim)
    end
    assert.equal(0, #issuer.asked)
  end)

  it("refuses an issuer that is not a text", function()
    for _, iss in ipairs({ "absent", 5, { URL }, cjson.null, true }) do
      refused("TOKEN_MALFORMED", signed({ iss = iss }))
    end
  end)

  it("wants one of the policies' audiences", function()
    accepted(signed({ aud = { "x", "sigstore" } }))
    accepted(signed({ aud = "other" }))
    for _, aud in ipairs({ "absent", "", "sigstore2", { "x" }, cjson.null,
                           "Sigstore" }) do
      local refusal = refused("WRONG_AUDIENCE", signed({ aud = aud }))
      assert.equal("aud", refusal.client.claim)
    end
    refused("WRONG_AUDIENCE", signed((claims({ aud = "absent" })
      :gsub("^{", '{"aud":[],'))))
  end)

  it("refuses an audience of another type", function()
    for _, aud in ipairs({ 5, true, { "sigstore", 5 }, { { "sigstore" } },
                           { a = "sigstore" } }) do
      refused("TOKEN_MALFORMED", signed({ aud = aud }))
    end
  end)

  it("refuses a token from the second in which it ends", function()
    local jwt = signed({ exp = NOW + 1 })
    accepted(jwt)
    local refusal = refused("TOKEN_EXPIRED", jwt, NOW + 1)
    assert.equal("exp", refusal.client.claim)
    refused("TOKEN_EXPIRED", signed({ exp = NOW - 2 }))
    refused("TOKEN_EXPIRED", signed({ exp = 0 }))
    refused("TOKEN_EXPIRED", signed({ exp = -5 }))
    refused("TOKEN_EXPIRED", signed({ exp = "absent" }))
    refused("TOKEN_EXPIRED", signed({ exp = cjson.null }))
  end)

  it("takes times with a fraction", function()
    accepted(signed({ exp = NOW + 1.5, nbf = NOW + 300.9 }))
    refused("TOKEN_EXPIRED", signed({ exp = NOW + 0.5 }))
  end)

  it("takes times that are numbers in a text, as Go does", function()
    accepted(signed({ exp = tostring(NOW + 600), iat = "0",
                      nbf = ("%d.5e0"):format(NOW) }))
    accepted(signed({ exp = "1.9e9", nbf = "-1" }))
    refused("TOKEN_EXPIRED", signed({ exp = tostring(NOW) }))
    refused("TOKEN_NOT_YET_VALID", signed({ nbf = tostring(NOW + 301) }))
    for _, text in ipairs({ "", " 1", "1 ", "+1", "01", ".5", "1.", "0x77",
                            "1e", "1e+", "inf", "nan", "1_0", "1e999",
                            tostring(NOW + 600) .. "\0" }) do
      refused("TOKEN_MALFORMED", signed({ exp = text }))
    end
  end)

  it("lets a token begin five minutes from now", function()
    accepted(signed({ nbf = NOW + 300 }))
    accepted(signed({ nbf = cjson.null }))
    local refusal = refused("TOKEN_NOT_YET_VALID",
                            signed({ nbf = NOW + 301 }))
    assert.equal("nbf", refusal.client.claim)
  end)

  it("takes any time as iat, and nothing else", function()
    for _, iat in ipairs({ "yesterday", true, { 1 }, {}, cjson.null }) do
      assert.equal("iat",
        refused("TOKEN_MALFORMED", signed({ iat = iat })).client.claim)
    end
    accepted(signed({ iat = "absent" }))
    accepted(signed({ iat = NOW + 9999 }))
    accepted(signed({ iat = -1 }))
  end)

  it("refuses a time that is none", function()
    for _, value in ipairs({ "soon", true, { NOW } }) do
      refused("TOKEN_MALFORMED", signed({ exp = value }))
      refused("TOKEN_MALFORMED", signed({ nbf = value }))
    end
    for _, number in ipairs({ "1e300", "-1e300", "1e999",
                              "99999999999999999999" }) do
      local payload = claims({ exp = "absent" })
        :gsub("^{", '{"exp":' .. number .. ",")
      refused("TOKEN_MALFORMED", signed(payload))
    end
  end)

  it("wants a subject to be a text, if there is one", function()
    accepted(signed({ sub = "absent" }))
    accepted(signed({ sub = "" }))
    for _, sub in ipairs({ 5, true, { "alice" } }) do
      local refusal = refused("CLAIM_INVALID", signed({ sub = sub }))
      assert.equal("sub", refusal.client.claim)
    end
  end)

  it("refuses a rotated-out key once its successor was seen", function()
    accepted(signed())
    issuer:remove("ec")
    issuer:add("next", "ES256", stranger)
    accepted(signed({}, { alg = "ES256", kid = "next" }, stranger))
    refused("UNKNOWN_KEY", signed())
  end)

  it("finds a key that was changed under its name", function()
    accepted(signed())
    issuer:remove("ec")
    issuer:add("ec", "ES256", stranger)
    accepted(signed({}, nil, stranger))
    refused("TOKEN_SIGNATURE", signed())
  end)

  it("says when the issuer cannot be asked", function()
    issuer.down = true
    local refusal = refused("ISSUER_UNAVAILABLE", signed())
    assert.equal(URL, refusal.log.issuer)
  end)

  it("marks refusals of issuers that only a pattern names", function()
    local wild = "https://a.wild.example.com"
    assert.is_true(refused("WRONG_AUDIENCE", signed({
      iss = wild, aud = "x" })).log.wildcard)
    assert.is_nil(refused("WRONG_AUDIENCE", signed({ aud = "x" }))
      .log.wildcard)
  end)

  it("never shows the token in what it says", function()
    local jwt = signed({ aud = "x" })
    for name, value in pairs(refused("WRONG_AUDIENCE", jwt).log) do
      assert.is_nil(tostring(value):find(jwt:sub(1, 20), 1, true), name)
    end
  end)
end)
