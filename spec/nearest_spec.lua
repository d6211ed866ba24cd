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

  it("words the hint, or nothing", function()
    assert.equal(' (did you mean "san"?)', nearest.hint("sen", names))
    assert.equal("", nearest.hint("lifetime", names))
  end)
end)
