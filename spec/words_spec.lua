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
