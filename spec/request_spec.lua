local engine = require("fulcio.engine")
local json = require("fulcio.json")
local refusal = require("fulcio.refusal")
local request = require("fulcio.request")

local function http(body, authorization)
  if type(body) == "table" then body = json.encode(body) end
  return { body = body, headers = { authorization = authorization } }
end

local function refused(read, code, message, ...)
  local ok, thrown = pcall(read, http(...))
  assert.is_false(ok)
  assert.is_true(refusal.is(thrown), tostring(thrown))
  assert.equal(code, thrown.code)
  if message then assert.equal(message, thrown.message) end
end

local base64 = engine.bytes.base64

describe("request", function()
  it("reads a key with its proof, v2", function()
    assert.same({ token = "a.b.c", public_key = "PEM", proof = "\1\2" },
      request.v2(http({
        credentials = { oidcIdentityToken = "a.b.c" },
        publicKeyRequest = {
          publicKey = { algorithm = "NOPE", content = "PEM" },
          proofOfPossession = base64("\1\2"), more = 1,
        },
        unknown = json.list({}),
      }, "Bearer x.y.z")))
  end)

  it("reads the usual body as any other with the same in it", function()
    local key = '"publicKeyRequest":{"publicKey":{%s},'
      .. '"proofOfPossession":"%s"}'
    local content = '"algorithm":"ECDSA","content":"P\\nM"'
    for _, members in ipairs({
      key:format(content, "YQ"), key:format(content, "YQ=="),
      key:format(content, "_-8="), key:format('"content":""', ""),
      '"certificateSigningRequest":"YQ"', '"certificateSigningRequest":""',
    }) do
      for _, token in ipairs({ "a.b.c", "" }) do
        local body = '{"credentials":{"oidcIdentityToken":"' .. token
          .. '"},' .. members
        assert.same(request.v2(http(body .. ',"more":{}}', "h")),
                    request.v2(http(body .. "}", "h")), body)
      end
    end
  end)

  it("reads the names of the proto file too", function()
    assert.same({ token = "a.b.c", public_key = "PEM", proof = "p" },
      request.v2(http({
        credentials = { oidc_identity_token = "a.b.c" },
        public_key_request = { public_key = { content = "PEM" },
                               proof_of_possession = base64("p") },
      })))
  end)

  it("reads a CSR, and the token of the header", function()
    assert.same({ token = "x.y.z", csr = "CSR" }, request.v2(http(
      { certificateSigningRequest = base64("CSR") }, "Bearer x.y.z")))
    assert.same({ token = "x.y.z", csr = "CSR" }, request.v2(http(
      { certificateSigningRequest = base64("CSR"),
        credentials = { oidcIdentityToken = "" } }, "x.y.z")))
  end)

  it("removes Bearer once and as it is written", function()
    assert.equal("Bearer x", request.v2(http("", "Bearer Bearer x")).token)
    assert.equal("bearer x", request.v2(http("", "bearer x")).token)
    assert.equal("x", request.v2(http("", "Bearer   x")).token)
    assert.equal("", request.v2(http("{}")).token)
  end)

  it("takes null for absent", function()
    assert.same({ token = "" }, request.v2(http(
      '{"credentials":null,"publicKeyRequest":null,'
      .. '"certificateSigningRequest":null}')))
  end)

  it("reads v1 with its key in PEM or DER and an empty CSR", function()
    assert.same({ token = "t", public_key = "\0der", proof = "p" },
      request.v1(http('{"publicKey":{"content":"' .. base64("\0der")
        .. '","algorithm":"ecdsa"},"signedEmailAddress":"' .. base64("p")
        .. '","certificateSigningRequest":null}', "Bearer t")))
    assert.same({ token = "t", csr = "CSR" }, request.v1(http(
      { certificateSigningRequest = base64("CSR") }, "Bearer t")))
  end)

  it("misses the key of v1 before anything else", function()
    refused(request.v1, "key_unparsable", nil, "{}", "Bearer t")
    refused(request.v1, "key_unparsable", nil,
            '{"certificateSigningRequest":"","publicKey":null}')
  end)

  it("refuses what is no JSON object", function()
    refused(request.v2, "request_malformed", nil, "{")
    refused(request.v2, "request_malformed", nil, "hello")
    refused(request.v2, "request_malformed", nil, "{} {}")
    refused(request.v2, "request_malformed",
            "proto: syntax error (line 1:1): unexpected token [", "[]")
    refused(request.v1, "request_malformed",
            'proto: syntax error (line 1:1): unexpected token "', '"x"')
    refused(request.v1, "request_malformed",
            "proto: syntax error (line 1:1): unexpected token null", "null")
  end)

  it("refuses a member of the wrong kind and says where", function()
    refused(request.v2, "request_malformed",
      "proto: (line 2:38): invalid value for string field"
      .. " oidcIdentityToken: 5",
      '{\n"credentials": {"oidcIdentityToken": 5}}')
    refused(request.v2, "request_malformed",
      "proto: (line 1:43): invalid value for string field"
      .. " oidcIdentityToken: [", '{"ü":0,"credentials":'
      .. '{"oidcIdentityToken":[]}}')
    refused(request.v2, "request_malformed",
      "proto: (line 1:30): invalid value for bytes field"
      .. " certificateSigningRequest", '{"certificateSigningRequest":"!"}')
    refused(request.v1, "request_malformed",
      "proto: (line 1:25): invalid value for bytes field"
      .. " signedEmailAddress: 7", '{"signed_email_address":7,"publicKey":{}}')
    refused(request.v1, "request_malformed",
      "proto: (line 1:27): invalid value for string field algorithm: 5",
      '{"publicKey":{"algorithm":5}}')
  end)

  it("refuses what is no message and says where", function()
    for token, written in pairs({ ["5"] = "5", ["[]"] = "[", ["[1]"] = "[",
                                  ["true"] = "true", ["-1.5"] = "-1.5" }) do
      refused(request.v2, "request_malformed",
        "proto: syntax error (line 1:16): unexpected token " .. written,
        '{"credentials":' .. token .. "}")
    end
    refused(request.v2, "request_malformed",
      "proto: syntax error (line 1:16): unexpected token",
      '{"credentials":"a.b.c"}')
  end)

  it("refuses an algorithm that is neither a name nor a whole number",
    function()
      local body = '{"publicKeyRequest":{"publicKey":{"algorithm":%s}}}'
      for _, good in ipairs({ '"ECDSA"', '"none"', "0", "2.0", "-1", "7",
                              "null" }) do
        assert.is_table(request.v2(http(body:format(good))))
      end
      for bad, written in pairs({ ["2.5"] = "2.5", ["true"] = "true",
          ["99999999999"] = "99999999999", ["[]"] = "[", ["{}"] = "{" }) do
        refused(request.v2, "request_malformed", "proto: (line 1:47): "
          .. "invalid value for enum field algorithm: " .. written,
          body:format(bad))
      end
    end)

  it("refuses a member that is there twice", function()
    refused(request.v2, "request_malformed",
      'proto: (line 1:19): duplicate field "credentials"',
      '{"credentials":{},"credentials":{}}')
    refused(request.v2, "request_malformed",
      'proto: (line 1:24): duplicate field "public_key_request"',
      '{"publicKeyRequest":{},"public_key_request":null}')
    refused(request.v2, "request_malformed",
      'proto: (line 1:26): duplicate field "publicKeyRequest"',
      '{"public_key_request":{},"publicKeyRequest":{}}')
    refused(request.v2, "request_malformed", "x: duplicate member",
            '{"x":1,"x":1}')
  end)

  it("repeats no text, which may be a token", function()
    local ok, thrown = pcall(request.v2, http(
      '{"publicKeyRequest":{"proofOfPossession":"eyJh.eyJi.c2ln"}}'))
    assert.is_false(ok)
    assert.is_nil(thrown.message:find("eyJ", 1, true))
  end)

  it("refuses a key and a CSR together", function()
    refused(request.v2, "request_malformed",
      'proto: (line 1:24): error parsing "certificateSigningRequest", oneof'
      .. " dev.sigstore.fulcio.v2.CreateSigningCertificateRequest.key"
      .. " is already set",
      '{"publicKeyRequest":{},"certificateSigningRequest":""}')
    refused(request.v2, "request_malformed", nil,
      '{"credentials":{"oidcIdentityToken":"x"},"publicKeyRequest":'
      .. '{"publicKey":{"content":"x"}},"certificateSigningRequest":""}')
    refused(request.v2, "request_malformed", nil,
      '{"credentials":{"oidcIdentityToken":"x"},"publicKeyRequest":'
      .. '{"proofOfPossession":"YQ="}}')
    refused(request.v2, "request_malformed", nil,
      '{"publicKey\\u0052equest":{},"certificateSigningRequest":""}')
  end)

  it("finds a place behind many lines", function()
    refused(request.v2, "request_malformed",
      "proto: syntax error (line 200001:16): unexpected token 1",
      ("\n"):rep(200000) .. '{"credentials":1}')
    refused(request.v2, "request_malformed",
      "proto: syntax error (line 1:200016): unexpected token 1",
      (" "):rep(200000) .. '{"credentials":1}')
  end)
end)
