local refusal = require("fulcio.refusal")

describe("refusal", function()
  it("carries Fulcio's words, both statuses and a stable reason", function()
    local refused = refusal("token_expired")
    assert.equal("token_expired", refused.code)
    assert.equal("TOKEN_EXPIRED", refused.reason)
    assert.equal(400, refused.http)
    assert.equal(3, refused.grpc)
    assert.equal("There was an error processing the identity token",
                 refused.message)
    assert.is_nil(refused.retry_after)
  end)

  it("keeps what the client may hear apart from the log's details", function()
    local refused = refusal("claim_missing", {
      client = { claim = "sha" },
      log = { policy = "github.lua" },
      message = "missing sha claim",
    })
    assert.same({ claim = "sha" }, refused.client)
    assert.same({ policy = "github.lua" }, refused.log)
    assert.equal("missing sha claim", refused.message)
  end)

  it("answers backend trouble with 5xx and a time to come back", function()
    for _, code in ipairs({ "overloaded", "ca_unavailable",
                            "ct_unavailable" }) do
      local refused = refusal(code)
      assert.equal(503, refused.http)
      assert.equal(14, refused.grpc)
      assert.is_true(refused.retry_after >= 1)
    end
    assert.equal(30, refusal("overloaded", { retry_after = 30 }).retry_after)
    for _, code in ipairs({ "ca_failed", "ct_failed", "internal" }) do
      assert.equal(500, refusal(code).http)
      assert.equal(13, refusal(code).grpc)
    end
  end)

  it("has no row without status and words", function()
    for code, row in pairs(refusal.rows) do
      assert.is_true(row[1] >= 400 and row[1] < 600, code)
      assert.is_true(row[2] >= 1 and row[2] <= 16, code)
      assert.is_true(#row[3] > 0 and not row[3]:find("%.$"), code)
      assert.equal(code, code:lower())
    end
  end)

  it("throws on a code or a detail that does not exist", function()
    assert.has_error(function() refusal("bad_luck") end,
                     'unknown refusal "bad_luck"')
    assert.has_error(function() refusal("internal", { msg = "x" }) end,
                     'refusal internal: unknown detail "msg"')
  end)

  it("passes through error and is known again", function()
    local thrown = refusal("proof_wrong")
    local ok, caught = pcall(error, thrown)
    assert.is_false(ok)
    assert.equal(thrown, caught)
    assert.is_true(refusal.is(caught))
    assert.is_false(refusal.is({ code = "proof_wrong" }))
    assert.is_false(refusal.is("proof_wrong"))
    assert.is_false(refusal.is(nil))
  end)

  it("prints for people", function()
    assert.equal("NOT_FOUND: Not Found", tostring(refusal("not_found")))
  end)

  it("does not share details between refusals", function()
    assert.has_error(function() refusal("internal").client.claim = "x" end)
  end)

  it("words what the protocol layer refuses by status", function()
    assert.equal("request_malformed", refusal.of_status(400).code)
    assert.equal("request_timeout", refusal.of_status(408).code)
    assert.equal("body_too_large", refusal.of_status(413).code)
    assert.equal("expectation_failed", refusal.of_status(417).code)
    assert.equal("header_too_large", refusal.of_status(431).code)
    assert.equal("not_implemented", refusal.of_status(501).code)
    assert.equal("overloaded", refusal.of_status(503).code)
    assert.equal("version_unknown", refusal.of_status(505).code)
    for _, status in ipairs({ 400, 404, 408, 413, 417, 431, 501, 503,
                              505 }) do
      assert.equal(status, refusal.of_status(status).http)
    end
    assert.equal("internal", refusal.of_status(418).code)
  end)
end)
