local cjson = require("cjson")
local discovery = require("fulcio.discovery")
local engine = require("fulcio.engine")
local new_issuer = require("spec.issuer")

local URL = "https://issuer.example.com"

local key = engine.pkey.generate("P-256")
local rsa = engine.pkey.generate("RSA-2048")

describe("discovery", function()
  local issuer, how

  before_each(function()
    issuer = new_issuer(URL)
    issuer:add("one", "ES256", key)
    how = {
      request = function(request) return issuer:request(request) end,
      timeout = function() return 3 end,
      addresses = "any",
    }
  end)

  local function document_fails(words)
    local document, message = discovery.document(issuer.url, how)
    assert.is_nil(document)
    assert.truthy(message:find(words, 1, true), message)
  end

  local function keys_fail(words)
    local keyset, message = discovery.keyset({
      jwks_uri = issuer.document.jwks_uri }, how)
    assert.is_nil(keyset)
    assert.truthy(message:find(words, 1, true), message)
  end

  it("reads the algorithms and the address of the keys", function()
    local document = assert(discovery.document(URL, how))
    assert.same({ algorithms = { RS256 = true, ES256 = true },
                  jwks_uri = URL .. "/jwks" }, document)
    local request = issuer.asked[1]
    assert.equal(URL .. "/.well-known/openid-configuration", request.url)
    assert.equal(262144, request.max_body)
    assert.equal(3, request.timeout)
    assert.equal("any", request.addresses)
    assert.is_nil(request.headers.authorization)
  end)

  it("asks for a document without the issuer's final slash", function()
    issuer = new_issuer(URL .. "/")
    assert(discovery.document(URL .. "/", how))
    assert.equal(URL .. "/.well-known/openid-configuration",
                 issuer.asked[1].url)
  end)

  it("allows RS256 alone when no algorithm is advertised", function()
    issuer.document.id_token_signing_alg_values_supported = nil
    assert.same({ RS256 = true },
                discovery.document(URL, how).algorithms)
    issuer.document.id_token_signing_alg_values_supported = {}
    assert.same({ RS256 = true },
                discovery.document(URL, how).algorithms)
  end)

  it("drops algorithms that must never be allowed", function()
    issuer.document.id_token_signing_alg_values_supported =
      { "none", "HS256", "ES256", "ES256K", 5 }
    assert.same({ ES256 = true }, discovery.document(URL, how).algorithms)
    issuer.document.id_token_signing_alg_values_supported = { "HS256" }
    assert.same({}, discovery.document(URL, how).algorithms)
  end)

  it("refuses a document of another issuer", function()
    issuer.document.issuer = URL .. "/"
    document_fails('says it is issuer "' .. URL .. '/"')
    issuer.document.issuer = cjson.null
    document_fails("says it is issuer")
  end)

  it("follows no redirect and takes no other status", function()
    how.request = function()
      return { status = 302, headers = { location = URL .. "/x" }, body = "" }
    end
    document_fails("status 302, wanted 200")
  end)

  it("says what went wrong on the way", function()
    issuer.down = true
    document_fails("connection refused")
    keys_fail("connection refused")
  end)

  it("refuses what is not a JSON object", function()
    for _, body in ipairs({ "", "[1", "1", "null", '{"a":1,"a":2}' }) do
      how.request = function()
        return { status = 200, headers = {}, body = body }
      end
      document_fails(URL)
      keys_fail(URL)
    end
  end)

  it("names the address that does not answer once", function()
    how.request = engine.http.request
    local url = "http://127.0.0.1:1"
    how.development = true
    local document, message = discovery.document(url, how)
    assert.is_nil(document)
    assert.equal(1, select(2, message:gsub("%.well%-known", "")), message)
  end)

  it("asks https only, and 127.0.0.1 in development", function()
    for _, url in ipairs({ "http://issuer.example.com", "ftp://a/b", "",
        "https://", "https://user@a/", "https://a/#b", "//a", "file:///etc",
        "http://127.0.0.1:80", "http://127.0.0.1.example.com",
        "https://a/" .. ("x"):rep(2048) }) do
      assert.is_nil(discovery.permitted(url), url)
    end
    assert.is_nil(discovery.permitted(5))
    assert.is_truthy(discovery.permitted("https://a.example.com:8443/x?y"))
    assert.is_truthy(discovery.permitted("http://127.0.0.1:5556", true))
    for _, url in ipairs({ "http://localhost:1", "http://10.0.0.1",
        "http://127.0.0.1.example.com", "http://127.0.0.1@a" }) do
      assert.is_nil(discovery.permitted(url, true), url)
    end
    assert.is_nil(discovery.document(URL .. "?x", how))
    issuer.document.jwks_uri = "http://issuer.example.com/jwks"
    document_fails("jwks_uri: only https is asked")
    issuer.document.jwks_uri = nil
    document_fails("jwks_uri: not an address")
    assert.equal(2, #issuer.asked)
  end)

  it("takes keys from another host, as Google has it", function()
    issuer.document.jwks_uri = "https://www.example.org/oauth2/v3/certs"
    local document = assert(discovery.document(URL, how))
    assert(discovery.keyset(document, how))
  end)

  it("sends a bearer token to the issuer's own host alone", function()
    how.bearer, how.host = "pod", "issuer.example.com"
    discovery.document(URL, how)
    assert.equal("Bearer pod", issuer.asked[1].headers.authorization)
    discovery.keyset({ jwks_uri = "https://other.example.com/jwks" }, how)
    assert.is_nil(issuer.asked[2].headers.authorization)
  end)

  it("reads keys shaped like Google's and GitHub's", function()
    issuer:add("two", "RS256", rsa, {
      x5c = { "MIIC" }, x5t = "eA", n_other = 1, key_ops = { "verify" } })
    local keyset = assert(discovery.keyset(issuer.document, how))
    assert.equal(2, #keyset.keys)
    local found = discovery.pick(keyset, "two", "RS256")
    assert.equal(1, #found)
    assert.equal(rsa:spki(), found[1]:spki())
  end)

  it("skips keys for other uses, of other kinds, and weak ones", function()
    issuer.keys = {}
    issuer:add("enc", "RS256", rsa, { use = "enc" })
    issuer:add("ops", "RS256", rsa, { key_ops = { "encrypt" } })
    issuer:add("odd", "RS256", rsa, { key_ops = "verify" })
    issuer:add("alg", "RSA-OAEP", rsa)
    issuer:add(7, "RS256", rsa)
    issuer.keys[6] = { kty = "oct", k = "c2VjcmV0", kid = "hmac" }
    issuer.keys[7] = "a key"
    issuer.keys[8] = { kty = "RSA", kid = "small", e = "AQAB",
      n = engine.bytes.base64url("\200" .. ("\1"):rep(127)) }
    keys_fail("no key that we can use")
    issuer:add("one", "ES256", key)
    assert.equal(1, #discovery.keyset(issuer.document, how).keys)
  end)

  it("reads at most 50 keys", function()
    for i = 2, 50 do issuer:add("k" .. i, "ES256", key) end
    assert.equal(50, #discovery.keyset(issuer.document, how).keys)
    issuer:add("k51", "ES256", key)
    keys_fail("51 keys, at most 50 are read")
    issuer.body = '{"keys":5}'
    keys_fail('no list "keys"')
  end)

  it("picks by key identifier, kind and algorithm", function()
    issuer:add("two", "RS256", rsa)
    issuer:add("any", nil, rsa)
    local keyset = discovery.keyset(issuer.document, how)
    assert.equal(1, #discovery.pick(keyset, "one", "ES256"))
    assert.equal(0, #discovery.pick(keyset, "one", "RS256"))
    assert.equal(0, #discovery.pick(keyset, "two", "PS256"))
    assert.equal(1, #discovery.pick(keyset, "any", "PS256"))
    assert.equal(2, #discovery.pick(keyset, nil, "RS256"))
    assert.equal(0, #discovery.pick(keyset, nil, "ES384"))
    assert.equal(0, #discovery.pick(keyset, "../../etc/passwd", "RS256"))
    assert.equal(discovery.pick(keyset, "one", "ES256"),
                 discovery.pick(keyset, "one", "ES256"))
  end)

  it("tries at most ten keys when a token names none", function()
    for i = 2, 30 do issuer:add("k" .. i, "ES256", key) end
    local keyset = discovery.keyset(issuer.document, how)
    assert.equal(10, #discovery.pick(keyset, nil, "ES256"))
  end)

  it("remembers nothing about identifiers that do not exist", function()
    local keyset = discovery.keyset(issuer.document, how)
    for i = 1, 100 do discovery.pick(keyset, "junk" .. i, "ES256") end
    assert.is_nil(next(keyset.picked.ES256))
  end)
end)
