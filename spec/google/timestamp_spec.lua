local timestamp = require("fulcio.google.timestamp")

describe("google.timestamp", function()
  it("reads Google's times", function()
    assert.equal(0, timestamp.parse("1970-01-01T00:00:00Z"))
    assert.equal(1795460442, timestamp.parse("2026-11-23T19:00:42Z"))
    assert.equal(1709164800, timestamp.parse("2024-02-29T00:00:00.123456Z"))
  end)

  it("reads nothing else", function()
    for _, text in ipairs({ "", "2026-11-23", "2026-11-23T19:00:42+01:00",
                            "x2026-11-23T19:00:42Z" }) do
      assert.is_nil(timestamp.parse(text))
    end
    assert.is_nil(timestamp.parse(nil))
    assert.is_nil(timestamp.parse(3))
  end)
end)
