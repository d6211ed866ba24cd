local returned = require("fulcio.returned")

local function check(data)
  local messages = {}
  local good = returned.check(data, function(path, message)
    messages[#messages + 1] = table.concat(path, "/") .. " " .. message
  end)
  return good, messages
end

describe("returned", function()
  it("takes every word as it is made", function()
    local sandbox = require("fulcio.words").sandbox()
    local data = assert(sandbox:load("x.lua", [[return {
      anyone, present, integer, glob("a"), match(), within(nil), has(nil, 1),
      pick("a", { b = url("c", "d") }, false), spiffe("x"), 5, -0.0, 1e300,
      check = function() end, [2^53] = true, [1.5] = "" }]]))
    assert.is_true(check(data))
    assert.is_true(check(nil))
  end)

  it("reports every word that is none, and every odd number", function()
    local good, messages = check({
      a = { { __word = "glob" } }, b = { c = 0 / 0 }, d = 1 / 0,
      e = { __word = "has", count = 1, { __word = {} } } })
    assert.is_false(good)
    table.sort(messages)
    assert.equal(4, #messages)
    assert.matches("^a/1 a.1 is no word of a policy", messages[1])
    assert.matches("^b/c b.c is %-?nan: no claim has such a number",
                   messages[2])
    assert.matches("^d d is inf", messages[3])
    assert.matches("^e/1 e.1 is no word", messages[4])
  end)

  it("tells lists from other tables", function()
    for _, list in ipairs({ {}, { 1 }, { 1, 2, 3 } }) do
      assert.is_true(returned.is_list(list))
    end
    for _, other in ipairs({ { a = 1 }, { 1, a = 1 }, { 1, [3] = 1 },
                             { [0] = 1, 1 }, { 1, [1.5] = 1 } }) do
      assert.is_false(returned.is_list(other))
    end
  end)
end)
