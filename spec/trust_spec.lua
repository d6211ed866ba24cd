local engine = require("fulcio.engine")
local trust = require("fulcio.trust")
local worlds = require("spec.world")

describe("trust", function()
  local context = worlds.new().context
  local pem = context.ca.chain[1].pem

  it("bundles every chain, each PEM with its final newline", function()
    local response = trust.bundle({}, context)
    assert.equal(200, response.status)
    assert.same({ chains = { { certificates = { pem } } } },
                engine.claims.parse(response.body))
  end)

  it("shows roots with a blank line between and none at the end", function()
    local two = { ca = { bundle = function()
      return { { { pem = "A\n" }, { pem = "B\n" } }, { { pem = "C\n" } } }
    end } }
    local response = trust.root({}, two)
    assert.equal("A\n\nB\n\nC", response.body)
    assert.equal("application/pem-certificate-chain",
                 response.headers["content-type"])
  end)

  it("lists issuers with every field", function()
    local body = trust.configuration({}, context).body
    assert.same({ issuers = { {
      issuerUrl = "https://issuer.example", audience = "sigstore",
      challengeClaim = "email", spiffeTrustDomain = "",
      issuerType = "email", subjectDomain = "",
      skipEmailVerification = false,
    } } }, engine.claims.parse(body))
    assert.equal('{"issuers":[]}', trust.configuration({}, {
      policies = { issuers = function() return {} end } }).body)
  end)

  it("computes what it says once for a CA", function()
    local count = 0
    local one = { ca = { bundle = function()
      count = count + 1
      return { { { pem = "A\n" } } }
    end } }
    trust.root({}, one)
    trust.root({}, one)
    assert.equal(1, count)
  end)

  it("gives a chain without final newlines", function()
    assert.same({ (pem:gsub("\n$", "")) }, trust.chain(context.ca))
  end)
end)
