local begin = require("fulcio.engine").budget.begin
local matcher = require("fulcio.matcher")

describe("matcher", function()
  before_each(begin)

  it("compares values by type", function()
    local test = assert(matcher.compile("x", 5))
    assert.is_true(test(5))
    assert.is_false(test("5"))
  end)

  it("takes true of email_verified in the words of providers", function()
    local test = assert(matcher.compile("email_verified", true))
    assert.is_true(test("True"))
    assert.is_false(test("yes"))
    test = assert(matcher.compile("verified", true))
    assert.is_false(test("true"))
  end)

  it("has not matched what it cannot decide", function()
    local test = assert(matcher.compile("x", { __word = "match", count = 1,
                                               "(a+)+b" }))
    assert.is_nil(test(("a"):rep(3000) .. "b!"))
    assert.is_false(test(("a"):rep(5000) .. "b"))
    assert.is_true(test("aab"))
  end)

  -- Each text stays just below the limit of one.
  it("gives up on a list that takes too long", function()
    local test = assert(matcher.compile("x", { __word = "has", count = 1,
      { __word = "match", count = 1, "(a+)+b" } }))
    local list = {}
    for i = 1, 2000 do list[i] = ("a"):rep(14) .. "b!" end
    list[#list + 1] = "aab"
    assert.is_nil(test(list))
    begin()
    assert.is_true(test({ list[1], list[2], "aab" }))
  end)

  it("gives up on patterns that take too long together", function()
    for word, pattern in pairs({ match = "(a+)+b", glob = "*a*a*a*b" }) do
      local list = {}
      for i = 1, 200 do
        list[i] = { __word = word, count = 1, pattern }
      end
      local test = assert(matcher.compile("x", list))
      begin()
      assert.is_nil(test(("a"):rep(word == "match" and 14 or 30) .. "b!"))
      begin()
      assert.is_false(test("b"))
    end
  end)

  it("takes further matchers from an importer alone", function()
    local odd = { __word = "odd" }
    assert.is_nil((matcher.compile("x", odd)))
    local test = assert(matcher.compile("x", odd, { odd = function()
      return function(value) return value % 2 == 1 end
    end }))
    assert.is_true(test(3))
  end)

  it("refuses what cannot be compared", function()
    for _, value in ipairs({ "", { __word = "anyone" }, {}, { a = 1 },
                             { "a", b = 1 }, { {} },
                             { __word = "glob", count = 0 },
                             { __word = "glob", count = 2, "a", "b" },
                             { __word = "match", count = 1, "(" },
                             { __word = "has", count = 0 },
                             { __word = "has", count = 1, {} },
                             { __word = "within", count = 1, "host" },
                             { __word = "spiffe", count = 1, "A" } }) do
      local test, message = matcher.compile("x", value)
      assert.is_nil(test)
      assert.is_string(message)
    end
  end)
end)
