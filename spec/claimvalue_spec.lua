local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")

local null = engine.claims.null

describe("claimvalue", function()
  it("finds a claim by name, and none where it is empty", function()
    assert.equal("x", claimvalue.find({ a = "x" }, "a"))
    assert.is_false(claimvalue.find({ a = false }, "a"))
    for _, value in ipairs({ "", null }) do
      assert.is_nil(claimvalue.find({ a = value }, "a"))
      assert.is_nil(claimvalue.find({ a = { b = value } }, "a/b"))
    end
    assert.is_nil(claimvalue.find({}, "a"))
  end)

  it("walks by any of the slashes in a path", function()
    for _, claims in ipairs({
      { ["a/b/c"] = "x" }, { a = { ["b/c"] = "x" } },
      { ["a/b"] = { c = "x" } }, { a = { b = { c = "x" } } },
      { a = { b = "text" }, ["a/b"] = { c = "x" } },
    }) do
      assert.equal("x", claimvalue.find(claims, "a/b/c"))
    end
    assert.is_nil(claimvalue.find({ a = "text" }, "a/b"))
    assert.is_nil(claimvalue.find({ a = { "x" } }, "a/1"))
  end)

  it("says when a path has two meanings", function()
    local value, both = claimvalue.find({ ["a/b"] = 1, a = { b = 1 } }, "a/b")
    assert.is_nil(value)
    assert.is_true(both)
  end)

  it("writes values as text", function()
    local rows = {
      { "x", "x" }, { true, "true" }, { false, "false" }, { 0, "0" },
      { -0.0, "-0" }, { 42, "42" }, { 1e15, "1000000000000000" },
      { -9007199254740992, "-9007199254740992" }, { 0.1, "0.1" },
      { 1.5, "1.5" }, { -2.25, "-2.25" }, { 1e-7, "0.0000001" },
      { 1.25e-9, "0.00000000125" }, { 0.30000000000000004,
                                      "0.30000000000000004" },
      { 123456789.123, "123456789.123" },
    }
    for _, row in ipairs(rows) do
      assert.equal(row[2], claimvalue.text(row[1]))
    end
  end)

  it("does not write lists, tables, null and inexact numbers", function()
    for _, value in ipairs({ { "a" }, { a = 1 }, null, 2 ^ 53 + 2,
                             1e300 }) do
      local text, why = claimvalue.text(value)
      assert.is_nil(text)
      assert.is_string(why)
    end
  end)

  it("reads email_verified as true, false or neither", function()
    for _, value in ipairs({ true, "true", "True" }) do
      assert.is_true(claimvalue.boolean(value))
      assert.is_true(claimvalue.is_true(value))
    end
    for _, value in ipairs({ false, "false", "False" }) do
      assert.is_false(claimvalue.boolean(value))
      assert.is_false(claimvalue.is_true(value))
    end
    assert.is_false(claimvalue.boolean(nil))
    for _, value in ipairs({ 1, "TRUE", "yes", {}, null }) do
      assert.is_nil(claimvalue.boolean(value))
      assert.is_false(claimvalue.is_true(value))
    end
  end)

  it("copies claims without what is absent", function()
    local claims = { a = "", b = null, c = { "x", null, "y" },
                     d = { e = "", f = 1 } }
    assert.same({ c = { "x", "y" }, d = { f = 1 } }, claimvalue.plain(claims))
    assert.equal("", claims.a)
  end)

  it("names kinds for people", function()
    assert.equal("text", claimvalue.kind("x"))
    assert.equal("list", claimvalue.kind({ 1 }))
    assert.equal("table", claimvalue.kind({}))
    assert.equal("number", claimvalue.kind(1))
  end)
end)
