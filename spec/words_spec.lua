local words = require("fulcio.words")

describe("words", function()
  it("are plain data with a name", function()
    local sandbox = words.sandbox()
    local data = assert(sandbox:load("x.lua", [[return {
      anyone, present, integer, glob("a"), pick("a", { b = "c" }, false),
      url(), 2 * minutes, hours, days, seconds }]]))
    assert.same({
      { __word = "anyone" }, { __word = "present" }, { __word = "integer" },
      { __word = "glob", count = 1, "a" },
      { __word = "pick", count = 3, "a", { b = "c" }, false },
      { __word = "url", count = 0 }, 120, 3600, 86400, 1,
    }, data)
  end)

  it("tell file and line of what went wrong", function()
    local _, message = words.sandbox():load("d/x.lua", "\nreturn unheard_of")
    assert.same({ file = "d/x.lua", line = 2,
                  message = 'unknown word "unheard_of"' },
                words.fault("d/x.lua", message))
    assert.same({ file = "x.lua", line = 1, message = "odd" },
                words.fault("x.lua", "odd"))
    assert.same({ file = "x.lua", line = 1, message = "returns a function" },
                words.fault("x.lua", "x.lua: returns a function"))
  end)

  it("are shown to people as they are written", function()
    assert.equal('glob("a")', words.show({ __word = "glob", count = 1, "a" }))
    assert.equal("present", words.show({ __word = "present" }))
    assert.equal('{ "a", 5, true }', words.show({ "a", 5, true }))
    assert.equal('"x"', words.show("x"))
    assert.is_nil(words.of("x"))
    assert.is_nil(words.of({ "x" }))
    assert.equal("a function", words.show({ ["function"] = 1 }))
  end)

  it("are shown in one line, without what a terminal obeys", function()
    assert.equal([["a\nb\x1b[31m\x7f\t\r\x00"]],
                 words.show("a\nb\27[31m\127\t\r\0"))
    assert.equal([[ö\xc2\x9b\xff\xc3]], words.text("ö\194\155\255\195"))
    assert.equal([[\xe2\x80\xae]], words.text("\u{202e}"))
    assert.equal([[\xed\xa0\x80]], words.text("\237\160\128"))
    assert.equal([[{ "\x01", glob("\x02") }]], words.show({ "\1",
      { __word = "glob", count = 1, "\2" } }))
  end)

  it("are cut when they are long", function()
    assert.equal('"' .. ("ö"):rep(80) .. '"', words.show(("ö"):rep(80)))
    assert.equal('"' .. ("ö"):rep(80) .. '…"', words.show(("ö"):rep(81)))
    assert.equal("ab…", words.text("abc", 2))
    local list = {}
    for i = 1, 50000 do list[i] = "entry" end
    local shown = words.show(list)
    assert.is_true(#shown < 500)
    assert.equal('{ "entry", "entry", ', shown:sub(1, 20))
    assert.equal(", … }", shown:sub(-7))
    assert.equal(", … }, … }", words.show({ list, 1 }):sub(-14))
  end)

  it("lose nothing of a list that a person wrote", function()
    local list, parts = {}, {}
    for i = 1, 20 do list[i], parts[i] = "n" .. i, '"n' .. i .. '"' end
    assert.equal("{ " .. table.concat(parts, ", ") .. " }", words.show(list))
  end)

  it("take the line from where a fault stands, not from its text", function()
    local sandbox = words.sandbox()
    local function fault(text, name)
      name = name or "x.lua"
      local _, message = sandbox:load(name, text)
      return words.fault(name, message)
    end
    assert.same({ file = "x.lua", line = 1, message =
      "returns a key that is neither text nor number as :99999999999999999999:"
      },
      fault('return { [":99999999999999999999:"] = { [true] = 1 } }'))
    assert.same({ file = "x.lua", line = 2, message = "attempt to index a nil"
      .. [[ value (field 'a\nfake.lua:1: b')]] },
      fault('local t = {}\nreturn t["a\\nfake.lua:1: b"].c'))
    local long = ("d/"):rep(100) .. "x.lua"
    assert.equal(3, fault("\n\nreturn unheard_of", long).line)
  end)

  it("do not give a policy more than these", function()
    for _, name in ipairs({ "io", "os", "require", "load", "pcall", "error",
                            "setmetatable", "coroutine", "debug", "_G",
                            "string.rep", "string.gsub", "table" }) do
      local value = words.sandbox():load("x.lua", "return { " .. name .. " }")
      assert.is_nil(value and value[1], name)
    end
  end)
end)
