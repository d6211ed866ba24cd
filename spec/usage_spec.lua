local usage = require("fulcio.usage")

describe("usage", function()
  it("has nothing to say of other commands", function()
    assert.is_nil(usage.flags("version"))
  end)

  it("explains flags within 80 columns", function()
    local help = usage.flags("serve")
    for line in help:gmatch("[^\n]+") do assert.is_true(#line <= 80, line) end
    assert.matches("  --fileca-key-passwd SECRET\n", help, 1, true)
    assert.matches("HTTP port; 0 takes a free one [8080]", help, 1, true)
    assert.matches("--roots FILE", usage.flags("ctlog"), 1, true)
  end)
end)
