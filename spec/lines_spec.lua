local lines = require("fulcio.lines")

local TEXT = [==[
-- { a comment = 1 }
local shared = { must = 1 }
--[[ return {
x = 1 } ]]
return {
  issuer = "}{\"",
  audience = 'a' ,
  ["must"] = {
    ["a b"] = glob("x"), ref = pick("k", {
      branch = "x",
      [ [[tag]] ] = "y",
    }),
  },
  check = function(claims)
    local t = { san = 1, must = 2 }
    if t[1] == { san = 3 } then return { san = 4 } end
    for _ = 1, 2 do t = (t) end
    repeat until true
    return true
  end,
  san = { uri = [[
    {x}]] };
  set = { a = 1 ~= 2 }
}
]==]

describe("lines", function()
  local line_of = lines.of(TEXT)

  it("finds each field of the returned table", function()
    local rows = {
      { 6, "issuer" }, { 7, "audience" }, { 8, "must" },
      { 9, "must", "a b" }, { 9, "must", "ref" },
      { 10, "must", "ref", "branch" }, { 11, "must", "ref", "tag" },
      { 14, "check" }, { 21, "san" }, { 21, "san", "uri" }, { 23, "set" },
    }
    for _, row in ipairs(rows) do
      local path = { table.unpack(row, 2) }
      assert.equal(row[1], line_of(path), table.concat(path, "."))
    end
  end)

  it("falls back to what the field would stand in", function()
    assert.equal(8, line_of({ "must", "nope" }))
    assert.equal(5, line_of({ "nope" }))
    assert.equal(5, line_of({}))
    assert.equal(1, lines.of("local x = 1")({ "a" }))
  end)

  it("bears long names in long tables", function()
    local name = ("n"):rep(30000)
    local text = "return { [\"" .. name .. "\"] = {\n[\"" .. name
      .. "\"] = {\n" .. ("a=1,"):rep(9000) .. "\nb = 1 } } }"
    assert.equal(4, lines.of(text)({ name, name, "b" }))
  end)

  it("reads so many tokens, and knows the table of what is behind", function()
    local where = lines.of("return {\na = {\n" .. ("1,"):rep(30000)
                             .. "\nb = 1 },\nc = 1 }")
    assert.same({ 1, 2, 2, 1 }, { where({}), where({ "a" }),
                                  where({ "a", "b" }), where({ "c" }) })
  end)

  it("takes a number in a path for what it is", function()
    assert.equal(2, lines.of("return {\n[\"1\"] = 5 }")({ 1 }))
  end)

  it("bears texts that are no Lua", function()
    for _, text in ipairs({ "", "return {", "return { a = [[", '"', "'\\",
                            "return { a = { }", "return }", "--[[", "\0" }) do
      assert.is_number(lines.of(text)({ "a" }))
    end
  end)
end)
