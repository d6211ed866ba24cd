local trim = require("fulcio.trim")

describe("trim", function()
  it("takes the blanks off both ends, and no others", function()
    for text, trimmed in pairs({
      [""] = "", [" \t\r\n"] = "", x = "x", [" x"] = "x", ["x\r\n"] = "x",
      ["\n\ta b \n"] = "a b", ["\vx\0"] = "\vx\0",
    }) do
      assert.equal(trimmed, trim(text))
    end
  end)

  it("takes no longer for blanks inside", function()
    local text = "x" .. (" "):rep(4000000) .. "x"
    assert.equal(text, trim(" " .. text .. " "))
  end)
end)
