local yaml = require("fulcio.yaml")

describe("yaml", function()
  it("keeps scalars as they were written", function()
    assert.same({ a = "on", b = "0123", c = "1e3", d = "", e = "", f = "~" },
                yaml.parse("a: on\nb: 0123\nc: 1e3\nd:\ne: ~\nf: '~'\n"))
  end)

  it("reads maps and lists in each other", function()
    assert.same({ a = { "x", { b = "y" } }, c = {} },
                yaml.parse("a:\n- x\n- b: y\nc: {}\n"))
    assert.same({}, yaml.parse(""))
  end)

  it("copies what an alias names", function()
    local parsed = yaml.parse("a: &x {b: c}\nd: *x\n")
    assert.same({ b = "c" }, parsed.d)
    assert.not_equal(parsed.a, parsed.d)
  end)

  local function refuses(text, wanted)
    local value, message, code = yaml.parse(text)
    assert.is_nil(value)
    assert.equal(wanted, message)
    assert.equal("bad_yaml", code)
  end

  it("refuses a key that is written twice", function()
    refuses("a: 1\nb: 2\na: 3\n", 'line 3: "a" is written twice')
  end)

  it("refuses keys that are no text, other documents, loose aliases",
  function()
    refuses("{a: b}: c\n", "line 1: a key must be a text")
    refuses("a: b\n---\nc: d\n", "line 2: a second document")
    refuses("a: *b\n", "line 1: nothing is called &b")
  end)

  it("refuses what grows without end", function()
    refuses(("["):rep(40) .. ("]"):rep(40),
            "line 1: nested more than 32 deep")
    local bomb = { "a0: &a0 [x,x,x,x,x,x,x,x,x,x]" }
    for i = 1, 6 do
      bomb[#bomb + 1] = ("a%d: &a%d [%s]"):format(
        i, i, ("*a" .. i - 1 .. ","):rep(10))
    end
    refuses(table.concat(bomb, "\n"), "line 4: more than 10000 nodes")
  end)

  it("says where text is not YAML", function()
    local value, message = yaml.parse("a: [b\nc: d")
    assert.is_nil(value)
    assert.matches("line: 2, column: 2", message, 1, true)
  end)
end)
