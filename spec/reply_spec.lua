local cjson = require("cjson")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")

local LEAF = "-----BEGIN CERTIFICATE-----\nTEVBRg==\n"
  .. "-----END CERTIFICATE-----"
local ROOT = LEAF:gsub("TEVBRg==", "Uk9PVA==")

describe("reply", function()
  it("answers v2 with the embedded form", function()
    local answer = reply.certificate_v2({ leaf = "LEAF", above = { ROOT },
                                          embedded = true })
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    assert.equal("Origin", answer.headers.vary)
    assert.same({ signedCertificateEmbeddedSct = { chain = {
      certificates = { LEAF, ROOT } } } },
      cjson.decode(answer.body))
  end)

  it("moves the chain to the detached form without an SCT", function()
    local answer = reply.certificate_v2({ leaf = "LEAF", above = { ROOT } })
    local body = cjson.decode(answer.body).signedCertificateDetachedSct
    assert.equal("", body.signedCertificateTimestamp)
    assert.equal(2, #body.chain.certificates)
    answer = reply.certificate_v2({ leaf = "LEAF", above = {},
                                    sct = '{"id":1}' })
    body = cjson.decode(answer.body).signedCertificateDetachedSct
    assert.equal("eyJpZCI6MX0=", body.signedCertificateTimestamp)
  end)

  it("quotes any number of different issuers", function()
    for i = 1, 200 do
      local pem = ROOT:gsub("Uk9P", tostring(1000 + i))
      local answer = reply.certificate_v2({ leaf = "LEAF", above = { pem },
                                            embedded = true })
      assert.truthy(answer.body:find(tostring(1000 + i), 1, true))
    end
  end)

  it("answers v1 with 201 and PEM without a final newline", function()
    local answer = reply.certificate_v1({ leaf = "LEAF", above = { ROOT },
                                          embedded = true, sct = "x" })
    assert.equal(201, answer.status)
    assert.equal("application/pem-certificate-chain",
                 answer.headers["content-type"])
    assert.equal(LEAF .. "\n" .. ROOT, answer.body)
    assert.is_nil(answer.headers.sct)
  end)

  it("puts a detached SCT into a header of v1", function()
    local answer = reply.certificate_v1({ leaf = "LEAF", above = {},
                                          sct = '{"id":1}' })
    assert.equal("eyJpZCI6MX0=", answer.headers.sct)
  end)

  it("answers a refusal with Fulcio's body and the reason", function()
    local answer = reply.refusal(refusal("claim_missing", {
      client = { claim = "sha" }, log = { policy = "secret.lua" } }))
    assert.equal(400, answer.status)
    assert.same({
      code = 3,
      message = "There was an error processing the identity token",
      details = { {
        ["@type"] = "type.googleapis.com/google.rpc.ErrorInfo",
        reason = "CLAIM_MISSING", domain = "fulcio",
        metadata = { claim = "sha" },
      } },
    }, cjson.decode(answer.body))
    assert.is_nil(answer.body:find("secret", 1, true))
    assert.is_nil(answer.headers["retry-after"])
  end)

  it("says when to come back", function()
    local answer = reply.refusal(refusal("ct_unavailable"))
    assert.equal(503, answer.status)
    assert.equal("5", answer.headers["retry-after"])
    assert.truthy(answer.body:find('"metadata":{}', 1, true))
  end)

  it("answers UTF-8 whatever a message holds", function()
    local answer = reply.refusal(refusal("request_malformed", {
      message = 'invalid character "\255"', client = { claim = "\200" } }))
    local body = cjson.decode(answer.body)
    assert.equal('invalid character "?"', body.message)
    assert.equal("?", body.details[1].metadata.claim)
  end)

  it("answers other values as JSON and PEM", function()
    assert.equal('{"status":"SERVING"}\n',
                 reply.json('{"status":"SERVING"}\n').body)
    local answer = reply.json({ issuers = {} }, 202)
    assert.equal('{"issuers":{}}', answer.body)
    assert.equal(202, answer.status)
    assert.equal("x", reply.pem("x").body)
  end)
end)
