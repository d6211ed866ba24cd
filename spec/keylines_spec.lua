local keylines = require("fulcio.keylines")

describe("keylines", function()
  it("finds keys of JSON and YAML on the lines where they are written",
  function()
    local line = keylines('{\n "a": {},\n "ab": 1, "c": {\n"a": 2 } }')
    assert.same({ 2, 3, 3 }, { line("a"), line("ab"), line("c") })
    line = keylines("a:\n  https://h.example:\n    x: https://g\n  'q r': 1\n"
                    .. "\"s\" :\n  - {t: 5}\nend:")
    assert.same({ 1, 2, 4, 5, 7 }, { line("a"), line("https://h.example"),
                                     line("q r"), line("s"), line("end") })
  end)

  it("looks for others in the text, a hundred times", function()
    local line = keylines("\n{a\n: 1,\n {b: 1}}")
    assert.same({ 2, 4, 1 }, { line("a"), line("b"), line("no such") })
    line = keylines("\n{a: 1}")
    for i = 1, 100 do line("none " .. i) end
    assert.equal(1, line("a"))
    assert.equal(1, keylines("")("a"))
  end)

  it("reads a long file once", function()
    local rows = {}
    for i = 1, 10000 do rows[i] = ('"https://h%d.example": {},'):format(i) end
    local text = table.concat(rows, "\n")
    local line, started = keylines(text), os.clock()
    for i = 1, 10000 do
      assert(line(("https://h%d.example"):format(i)) == i)
    end
    -- One search for each takes minutes.
    assert.is_true(os.clock() - started < 10)
  end)
end)
