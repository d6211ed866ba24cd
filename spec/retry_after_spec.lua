local engine = require("fulcio.engine")
local retry_after = require("fulcio.retry_after")

describe("Retry-After", function()
  local now = engine.system.now

  after_each(function() engine.system.now = now end)

  it("is a number of seconds", function()
    assert.equal(0, retry_after.parse("0"))
    assert.equal(120, retry_after.parse("120"))
  end)

  it("is a date, from which the seconds are counted", function()
    for text, epoch in pairs({
      ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
      ["Tue, 29 Feb 2000 23:59:59 GMT"] = 951868799,
      ["Wed, 01 Mar 2000 00:00:00 GMT"] = 951868800,
      ["Mon, 23 Nov 2026 18:08:50 GMT"] = 1795457330,
      ["Fri, 31 Dec 2100 12:30:00 GMT"] = 4133939400,
    }) do
      engine.system.now = function() return epoch - 7 end
      assert.equal(7, retry_after.parse(text), text)
      engine.system.now = function() return epoch + 7 end
      assert.equal(0, retry_after.parse(text))
    end
  end)

  it("is ignored when it is neither", function()
    for _, text in ipairs({ "", "-1", "soon", "1.5", "99999999999",
                            "Mon, 23 Foo 2026 18:08:50 GMT",
                            "Mon, 23 Nov 2026 18:08:50 CET" }) do
      assert.is_nil(retry_after.parse(text), text)
    end
    assert.is_nil(retry_after.parse(nil))
  end)
end)
