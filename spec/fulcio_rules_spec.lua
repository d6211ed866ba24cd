local rules = require("fulcio.fulcio_rules")

local function issuer(more)
  local found = { key = "https://i.example.com", url = "https://i.example.com",
    type = "email", issuer_claim = "", subject_domain = "", trust_domain = "",
    challenge_claim = "", ca_cert = "" }
  for name, value in pairs(more) do found[name] = value end
  return found
end

describe("fulcio_rules", function()
  it("has nothing against what Fulcio loads", function()
    for _, more in ipairs({
      {}, { issuer_claim = "$.a" }, { type = "kubernetes" },
      { type = "spiffe", trust_domain = "example.com" },
      { type = "spiffe", trust_domain = "spiffe://example.com" },
      { type = "uri", subject_domain = "https://users.example.com" },
      { type = "uri", subject_domain = "https://i.example.com" },
      { type = "username", subject_domain = "example.com" },
      { type = "username", subject_domain = "localhost",
        url = "https://localhost" },
      { type = "nosuch", challenge_claim = "sub" },
    }) do
      assert.is_nil(rules.check(issuer(more)))
    end
  end)

  it("compares the last two labels of hosts, and no more", function()
    assert.is_nil(rules.check(issuer({ type = "username",
      subject_domain = "a.co.uk", url = "https://b.co.uk" })))
    assert.truthy(rules.check(issuer({ type = "username",
      subject_domain = "example.org" })):find("do not match", 1, true))
    assert.equal("URI hostname too short: intranet",
                 rules.check(issuer({ type = "uri",
                   subject_domain = "https://users.example.com",
                   url = "https://intranet" })))
  end)

  it("passes on what does not parse", function()
    assert.truthy(rules.check(issuer({ type = "uri",
      subject_domain = "https://%zz" })):find("^parse "))
    assert.truthy(rules.check(issuer({ type = "username",
      subject_domain = "example.com", url = "https://%zz" }))
      :find("^parse "))
  end)

  it("reports the claim of a type, unless another is named", function()
    assert.equal("email", rules.challenge_claim(issuer({})))
    assert.equal("sub", rules.challenge_claim(issuer({ type = "uri" })))
    assert.equal("x", rules.challenge_claim(issuer({ challenge_claim = "x" })))
    assert.equal("", rules.challenge_claim(issuer({ type = "nosuch" })))
    assert.is_true(rules.known("ci-provider"))
    assert.is_false(rules.known("nosuch"))
  end)

  it("reads a trust domain with and without its scheme", function()
    assert.equal("example.com", rules.trust_domain("example.com"))
    assert.equal("example.com", rules.trust_domain("spiffe://example.com"))
    assert.equal("example.com", rules.trust_domain("spiffe://example.com/x"))
    assert.is_nil(rules.trust_domain("example.com/x"))
    assert.is_nil(rules.trust_domain("Example.com"))
    assert.is_nil(rules.trust_domain("https://example.com"))
  end)
end)
