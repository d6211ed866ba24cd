local protojson = require("fulcio.protojson")
local refusal = require("fulcio.refusal")

local function said(word, ...)
  local ok, thrown = pcall(protojson[word], ...)
  assert.is_false(ok)
  assert.is_true(refusal.is(thrown), tostring(thrown))
  assert.equal("request_malformed", thrown.code)
  return thrown.message
end

describe("protojson", function()
  it("says where a value stands, in characters", function()
    assert.equal("proto: (line 2:12): invalid value for bytes field a_b: 12",
      said("invalid", '{"ü":0,\n"ü", "a" : 12}', "a", "bytes", "a_b"))
    assert.equal("proto: (line 1:6): invalid value for enum field a: false",
                 said("invalid", '{"a":false}', "a", "enum", "a"))
    assert.equal("proto: syntax error (line 3:1): unexpected token {",
                 said("unexpected", '{"a"\n:\n{}}', "a"))
  end)

  it("takes no text for a name", function()
    assert.equal("proto: (line 1:15): invalid value for enum field a: 5",
                 said("invalid", '{"b":"a", "a":5}', "a", "enum", "a"))
  end)

  it("repeats no text", function()
    assert.equal("proto: (line 1:6): invalid value for bytes field a",
                 said("invalid", '{"a":"secret"}', "a", "bytes", "a"))
    assert.equal("proto: syntax error (line 1:6): unexpected token",
                 said("unexpected", '{"a":"secret"}', "a"))
  end)

  it("knows an object from a list", function()
    assert.is_true(protojson.is_object('{"a": {}}', "a"))
    assert.is_false(protojson.is_object('{"a": []}', "a"))
  end)

  it("names the later of two", function()
    assert.equal('proto: (line 1:8): duplicate field "a"',
                 said("duplicate", '{"a":1,"a":2}', "a"))
    assert.equal('proto: (line 1:8): duplicate field "b"',
                 said("duplicate", '{"a":1,"b":2}', "a", "b"))
    assert.equal('proto: (line 1:8): duplicate field "a"',
                 said("duplicate", '{"b":1,"a":2}', "a", "b"))
    assert.equal('proto: (line 1:8): error parsing "b", oneof o is already set',
                 said("already_set", '{"a":1,"b":2}', "a", "b", "o"))
  end)

  it("has a place for a name that is escaped", function()
    assert.equal("proto: (line 1:1): invalid value for enum field a: {",
                 said("invalid", '{"\\u0061":true}', "a", "enum", "a"))
  end)
end)
