local engine = require("fulcio.engine")
local ephemeral = require("fulcio.ca.ephemeral")

describe("ca.ephemeral", function()
  local ca = assert(ephemeral.open())
  local root = ca.chain[1]

  it("makes a root as Fulcio's does", function()
    assert.equal(1, #ca.chain)
    assert.is_true(root.ca)
    assert.equal(1, root.path_length)
    assert.same({ "cert_sign", "crl_sign" }, root.key_usage)
    assert.equal(root.subject_der, root.issuer_der)
    assert.equal("P-256", root:pkey().name)
    assert.equal(10 * 365 * 86400, root.not_after - root.not_before)
    for _, part in ipairs({ "C=US", "ST=WA", "L=Kirkland", "O=sigstore",
                            "767 6th St S", "98033" }) do
      assert.matches(part, root.subject, 1, true)
    end
    assert(engine.x509.verify(ca.chain, { time = engine.system.now() }))
  end)

  it("has another key each time", function()
    assert.not_equal(root.der, assert(ephemeral.open()).chain[1].der)
  end)
end)
