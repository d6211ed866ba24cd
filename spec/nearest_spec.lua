local nearest = require("fulcio.nearest")

describe("nearest", function()
  local names = { "audience", "issuer", "must", "san" }

  it("finds the name that was meant", function()
    assert.equal("audience", nearest.name("audiance", names))
    assert.equal("must", nearest.name("mist", names))
    assert.equal("issuer", nearest.name("isuer", names))
  end)

  it("counts two exchanged letters as one edit", function()
    assert.equal("san", nearest.name("sna", names))
    assert.is_nil(nearest.name("ssna", { "san" }))
  end)

  it("finds nothing when nothing is near", function()
    assert.is_nil(nearest.name("lifetime", names))
    assert.is_nil(nearest.name(("x"):rep(1000), names))
    assert.is_nil(nearest.name("", names))
  end)

  it("bears many long names", function()
    local known = { ("extension_"):rep(4) }
    for i = 1, 20 do known[i] = ("extension_"):rep(4) .. i end
    for i = 1, 2000 do
      assert.is_nil(nearest.name(("noisnetxe_"):rep(6) .. i, known))
    end
    assert.equal(known[7], nearest.name(("extension_"):rep(4) .. "_7", known))
    assert.equal("source_repository_owner_identifier",
      nearest.name("source_repo_owner_identifier",
                   { "subject", "source_repository_owner_identifier" }))
  end)

  it("words the hint, or nothing", function()
    assert.equal(' (did you mean "san"?)', nearest.hint("sen", names))
    assert.equal("", nearest.hint("lifetime", names))
  end)
end)
