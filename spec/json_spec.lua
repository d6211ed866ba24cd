local cjson = require("cjson")
local json = require("fulcio.json")

describe("json", function()
  it("tells an empty list from an empty object", function()
    assert.equal("[]", json.encode(json.list({})))
    assert.equal("{}", json.encode({}))
    assert.equal('{"a":[],"b":{}}', json.encode({ a = json.list({}), b = {} }))
  end)

  it("sorts members and keeps the order of lists", function()
    assert.equal('{"a":[3,1,2],"b":true,"c":"x"}',
                 json.encode({ c = "x", b = true, a = { 3, 1, 2 } }))
  end)

  it("prints whole numbers whole", function()
    assert.equal("[1,1,-7,1790000000123,0.5]",
                 json.encode({ 1, 1.0, -7, 1790000000123, 0.5 }))
    assert.equal("1e+300", json.encode(1e300))
    assert.equal(1 / 3, tonumber(json.encode(1 / 3)))
  end)

  it("escapes what a JSON string must not hold, and no slash", function()
    local all = {}
    for byte = 0, 127 do all[#all + 1] = string.char(byte) end
    local every = table.concat(all) .. "é€😀"
    assert.equal(every, cjson.decode("[" .. json.text(every) .. "]")[1])
    assert.equal([["a/b\"\\\n\r\t\u0000\u001b\u007f"]],
                 json.text('a/b"\\\n\r\t\0\27\127'))
  end)

  it("escapes member names too", function()
    assert.equal([[{"a\"b":1}]], json.encode({ ['a"b'] = 1 }))
  end)

  it("throws on what JSON cannot say", function()
    for _, value in ipairs({ 0 / 0, math.huge, -math.huge, print,
                             { [true] = 1 } }) do
      assert.is_false((pcall(json.encode, value)))
    end
  end)
end)
