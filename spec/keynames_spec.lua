local keynames = require("fulcio.keynames")

describe("keynames", function()
  it("knows keys by Fulcio's names as well", function()
    local allowed = assert(keynames.allowed({ "ecdsa-sha2-256-nistp384",
                                           "RSA-3072" }))
    assert.same({ ["P-384 SHA-256"] = true, ["RSA-3072 SHA-256"] = true },
                allowed)
    allowed = assert(keynames.allowed({ "RSA-3072+" }))
    assert.is_true(allowed["RSA-4096 SHA-256"])
    assert.is_nil(allowed["RSA-2048 SHA-256"])
    local none, message = keynames.allowed({ "P-265" })
    assert.is_nil(none)
    assert.equal('unknown key "P-265" (did you mean "P-256"?)', message)
  end)
end)
