local gowords = require("fulcio.gowords")

-- The kinds and values of the words of an action.
local function words(text)
  local reader, list = { text = text, at = 1 }, {}
  repeat
    local word = gowords.next(reader)
    list[#list + 1] = word.kind .. " " .. tostring(word.value)
  until word.kind == "close"
  return list
end

describe("gowords", function()
  it("reads fields, names, texts and marks", function()
    assert.same({ "name eq", "( (", "field a_1", ") )", "text b c",
                  "text `", ". .", "close nil" },
                words(' eq (.a_1) "b c" "`" . }}'))
    assert.same({ "field größe", "€ €", "close nil" }, words(".größe € }}"))
  end)

  it("says where each word stands, and what trims", function()
    local reader = { text = "  .x -}}", at = 1 }
    assert.equal(3, gowords.next(reader).at)
    local close = gowords.next(reader)
    assert.is_true(close.trim)
    assert.equal(9, reader.at)
  end)

  it("throws in Go's words, with the line", function()
    for text, message in pairs({
      ["\n .a"] = "template: :2: unclosed action",
      ['"a\n"'] = "template: :1: unterminated quoted string",
      ["`a"] = "template: :1: unterminated raw quoted string",
      ["$x }}"] = "template: :1: $x cannot become data",
    }) do
      local ok, thrown = pcall(words, text)
      assert.is_false(ok)
      assert.equal(message, thrown.message)
    end
  end)
end)
