local policy = require("fulcio.policy")

local function decide(fields, claims)
  local set = assert(policy.load({ { name = "p.lua", text = [[return {
    issuer = "https://i.example", audience = "a", must = anyone,
    ]] .. fields .. "}" } }))
  claims.iss, claims.aud = "https://i.example", "a"
  return set:decide(claims)
end

describe("grant", function()
  it("names the claim that is bad by itself, else all in the text",
     function()
    local fields = 'san = { uri = "https://h.example/{x}/{y}/{z}" },'
      .. 'set = { z = "%" },'
    local _, why = decide(fields, { sub = "s", x = "ok", y = "a\0b" })
    assert.equal("y", why.client.claim)
    _, why = decide(fields, { sub = "s", x = "1", y = "2" })
    assert.equal("x, y", why.client.claim)
    assert.equal("san", why.log.field)
  end)

  it("tells the log what it does not tell the client", function()
    local _, why = decide('san = { email = "{email}" },', {
      sub = "s", email = "none", email_verified = true })
    assert.equal("CLAIM_INVALID", why.reason)
    assert.equal("There was an error processing the identity token",
                 why.message)
    assert.same({ claim = "email" }, why.client)
    assert.equal("email address is not valid", why.log.detail)
  end)

  it("wants email_verified to be true or false where it may be either",
  function()
    local null = require("fulcio.engine").claims.null
    local fields = 'san = { email = "{email}" }, unverified_email = true,'
    for _, value in ipairs({ true, false, "false", "True" }) do
      assert.truthy(decide(fields, { sub = "s", email = "a@example.com",
                                     email_verified = value }))
    end
    assert.truthy(decide(fields, { sub = "s", email = "a@example.com" }))
    for _, value in ipairs({ null, "", "yes", 1, {} }) do
      local _, why = decide(fields, { sub = "s", email = "a@example.com",
                                      email_verified = value })
      assert.equal("EMAIL_NOT_VERIFIED", why.reason)
    end
  end)

  it("tells the client how X.509 cannot write its name", function()
    local _, why = decide('san = { email = "{email}" },', {
      sub = "s", email = "ü@example.com", email_verified = true })
    assert.equal('x509: "ü@example.com" cannot be encoded as an IA5String',
                 why.message)
  end)

  it("refuses a subject that no certificate can say", function()
    for _, sub in ipairs({ "a\nb", ("a"):rep(2049), { "a" } }) do
      local _, why = decide('san = { uri = "x:{y}" }, challenge = "{y}",',
                            { sub = sub, y = "1" })
      assert.equal("sub", why.client.claim)
      assert.equal("CLAIM_INVALID", why.reason)
    end
  end)

  it("does not fill a challenge from a claim that is no text", function()
    local _, why = decide('san = { uri = "x:{y}" }, '
                          .. 'challenge = { "{z}", "{y}" },',
                          { sub = "s", y = "1", z = { "a" } })
    assert.equal("z", why.client.claim)
    assert.equal("challenge", why.log.field)
  end)
end)
