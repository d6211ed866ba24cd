--- engine/claims.c and scalar.c: strict JSON, read as lua-cjson reads it.
local engine = require("fulcio.engine")

local claims = engine.claims

local function refuses(json, message, code)
  local value, said, word = claims.parse(json)
  assert.is_nil(value)
  assert.equal(message, said)
  assert.equal(code or "bad_json", word)
end

describe("claims.parse", function()
  it("reads every kind of value", function()
    local value = claims.parse([[
      {"text": "a\u0062\n\"\\\/", "yes": true, "no": false, "none": null,
       "list": [1, -2.5e3, 0, -0], "table": {"": {}}, "é": "\ud83d\ude00"}]])
    assert.equal('ab\n"\\/', value.text)
    assert.is_true(value.yes)
    assert.is_false(value.no)
    assert.equal(claims.null, value.none)
    assert.same({ 1, -2500, 0, 0 }, value.list)
    assert.same({ [""] = {} }, value.table)
    assert.equal("\u{1F600}", value["é"])
  end)

  it("reads a value that is no object", function()
    assert.equal("x", claims.parse('"x"'))
    assert.equal(7, claims.parse(" 7\r\n\t"))
    assert.is_false(claims.parse("false"))
    assert.equal(claims.null, claims.parse("null"))
  end)

  it("keeps a NUL inside a string", function()
    assert.equal("a\0b", claims.parse([["a\u0000b"]]))
  end)

  it("has lua-cjson's null", function()
    assert.equal(require("cjson").null, claims.null)
  end)

  it("reads what lua-cjson reads, alike", function()
    local cjson = require("cjson")
    local members = {}
    for i = 1, 40 do
      members[i] = ('"m%d\\n":[%d,null,"\\u00e9"]'):format(i, i)
    end
    for _, json in ipairs({
      "{" .. table.concat(members, ",") .. "}",
      [==[[[],{},[[]],{"a":{"b":[{"c":null}]}},"",true,[1,[2,[3]],4]]]==],
      [==[[0,-0,1.5,-2e-3,1E2,9007199254740992,0.1,1e-400,123456789012345]]==],
      [==[{"a\/b":"\\\"\b\f\n\r\t","\u0000":"\ud83d\ude00x","k":"W"}]==],
    }) do
      assert.same(cjson.decode(json), claims.parse(json), json)
    end
    assert.equal("float", math.type(claims.parse("[7]")[1]))
  end)

  it("refuses what ends too early", function()
    for _, json in ipairs({
      "", " ", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', "[", "[1", "[1,",
      '"', '"a', '"\\', '"\\u00', "-", "1.", "1e", "1e+", "t", "nul",
    }) do
      refuses(json, "unexpected EOF")
    end
  end)

  it("has DEL in a text, as Go", function()
    assert.equal("a\127b", claims.parse('"a\127b"'))
  end)

  it("refuses what is out of place, in the words of Go", function()
    for json, message in pairs({
      ["a"] = "'a' looking for beginning of value",
      ["\255"] = "'ÿ' looking for beginning of value",
      ["\128"] = "'\\u0080' looking for beginning of value",
      ["\239\187\1911"] = "'ï' looking for beginning of value",
      ["\0"] = "'\\x00' looking for beginning of value",
      ["'a'"] = "'\\'' looking for beginning of value",
      ["[\127]"] = "'\\x7f' looking for beginning of value",
      ["[1,]"] = "']' looking for beginning of value",
      ["{]"] = "']' looking for beginning of object key string",
      ['{"a":1,}'] = "'}' looking for beginning of object key string",
      ['{"a" 1}'] = "'1' after object key",
      ['{"a":1 "b"}'] = "'\"' after object key:value pair",
      ['{"a":1]'] = "']' after object key:value pair",
      ["[1 2]"] = "'2' after array element",
      ["[1}"] = "'}' after array element",
      ["1 2"] = "'2' after top-level value",
      ["{}}"] = "'}' after top-level value",
      ["01"] = "'1' after top-level value",
      ["+1"] = "'+' looking for beginning of value",
      [".5"] = "'.' looking for beginning of value",
      ["0x10"] = "'x' after top-level value",
      ["nan"] = "'a' in literal null (expecting 'u')",
      ["True"] = "'T' looking for beginning of value",
      ["trux"] = "'x' in literal true (expecting 'e')",
      ["falsy"] = "'y' in literal false (expecting 'e')",
      ["-x"] = "'x' in numeric literal",
      ["1.x"] = "'x' after decimal point in numeric literal",
      ["1ex"] = "'x' in exponent of numeric literal",
      ['"\n"'] = "'\\n' in string literal",
      ['"\0"'] = "'\\x00' in string literal",
      ['"\\x"'] = "'x' in string escape code",
      ['"\\u00g0"'] = "'g' in \\u hexadecimal character escape",
      ["/**/1"] = "'/' looking for beginning of value",
    }) do
      refuses(json, "invalid character " .. message)
    end
  end)

  it("refuses text that is not UTF-8", function()
    for _, bytes in ipairs({
      "\128", "\191", "\192\128", "\193\191", "\194", "\194x", "\224\159\191",
      "\237\160\128", "\237\191\191", "\240\143\191\191", "\244\144\128\128",
      "\245\128\128\128", "\254", "\255", "\226\130", "\240\159\152",
    }) do
      refuses('"' .. bytes .. '"', "invalid UTF-8 in string literal",
        "bad_utf8")
      refuses('{"' .. bytes .. '":1}', "invalid UTF-8 in string literal",
        "bad_utf8")
    end
  end)

  it("takes every length of UTF-8", function()
    for _, text in ipairs({
      "\194\128", "\223\191", "\224\160\128", "\237\159\191", "\238\128\128",
      "\239\191\191", "\240\144\128\128", "\244\143\191\191",
    }) do
      assert.equal(text, claims.parse('"' .. text .. '"'))
    end
  end)

  it("refuses half of a surrogate pair", function()
    for _, escape in ipairs({
      "\\ud800", "\\udfff", "\\ud800x", "\\ud800\\n", "\\ud800\\u0041",
      "\\ud800\\ud800", "\\udc00\\ud800",
    }) do
      refuses('"' .. escape .. '"', "lone surrogate in \\u escape",
        "bad_utf8")
    end
  end)

  it("refuses a member that is there twice", function()
    refuses('{"aud":1,"iss":2,"aud":3}', "aud: duplicate member",
      "duplicate_member")
    refuses('{"a":[{"b":{"c":1,"c":1}}]}', "a[0].b.c: duplicate member",
      "duplicate_member")
    refuses('{"":1,"":1}', "duplicate member", "duplicate_member")
  end)

  it("compares members by what they say", function()
    refuses([[{"a":1,"\u0061":2}]], "a: duplicate member",
      "duplicate_member")
    refuses([[{"\ud83d\ude00\/":1,"😀/":2}]], "😀/: duplicate member",
      "duplicate_member")
    refuses([[{"\u00e9\u20ac\t":1,"é€\u0009":2}]], "é€?: duplicate member",
      "duplicate_member")
    assert.same({ a = 1, A = 2, ["a\0"] = 3, ab = 4 },
      claims.parse([[{"a":1,"A":2,"a\u0000":3,"ab":4}]]))
  end)

  it("lets separate objects have the same members", function()
    assert.same({ { a = 1 }, { a = { a = 2 } }, { b = {}, a = 3 } },
      claims.parse('[{"a":1},{"a":{"a":2}},{"b":{},"a":3}]'))
  end)

  it("finds a duplicate among 100,000 members", function()
    local list = {}
    for i = 1, 100000 do
      list[i] = ('"\\u006b%d":%d'):format(i, i)
    end
    local json = "{" .. table.concat(list, ",")
    assert.equal(77, claims.parse(json .. "}").k77)
    refuses(json .. ',"k77":0}', "k77: duplicate member",
      "duplicate_member")
  end)

  it("goes 32 deep and no deeper", function()
    local function nest(n, open, close)
      return open:rep(n) .. (open == "[" and "" or "1") .. close:rep(n)
    end
    assert.is_table(claims.parse(nest(32, "[", "]")))
    assert.is_table(claims.parse(nest(32, '{"a":', "}")))
    refuses(nest(33, "[", "]"), "exceeded max depth", "too_deep")
    refuses(nest(33, '{"a":', "}"), "exceeded max depth", "too_deep")
    refuses(("["):rep(1000000), "exceeded max depth", "too_deep")
  end)

  it("takes whole numbers up to 2^53", function()
    for _, json in ipairs({
      "9007199254740992", "-9007199254740992", "9007199254740991",
      "9007199254740991.9", "9e15", "9007199254740992.000e0",
      "0.0009007199254740992e19", "900719925474099200e-2",
    }) do
      assert.equal(tonumber(json), claims.parse(json))
    end
    assert.equal(0, claims.parse("0e99999999999999999999"))
    assert.equal(0, claims.parse("1e-99999999999999999999"))
    assert.equal(1, claims.parse("0." .. ("0"):rep(99999) .. "1e100000"))
  end)

  it("refuses numbers beyond 2^53, and says where", function()
    for _, json in ipairs({
      "9007199254740993", "-9007199254740993", "9007199254740992.5",
      "9007199254740992.00000000000000000001", "90071992547409921e0",
      "9.1e15", "1e16", "1e400", "1e99999999999999999999",
      "0.0009007199254740993e19", ("9"):rep(100000),
    }) do
      refuses(json, "number beyond 2^53", "number_range")
    end
    refuses('{"a":{"x":1,"b":12345678901234567890}}',
      "a.b: number beyond 2^53", "number_range")
    refuses('{"a":[0,[1],{"b":1e99}]}', "a[2].b: number beyond 2^53",
      "number_range")
    refuses('{"' .. ("é"):rep(200) .. '":1e99}',
      ("é"):rep(99) .. ": number beyond 2^53", "number_range")
  end)

  it("throws on what is no text", function()
    assert.has_error(function() claims.parse() end)
    assert.has_error(function() claims.parse({}) end)
  end)
end)

describe("claims.texts", function()
  local function read(json)
    return claims.texts(json, "a", "b.c", "b.d", "e.f.g")
  end

  local function found(json, ...)
    assert.same({ n = 5, true, ... }, table.pack(read(json)))
  end

  it("finds texts by their paths", function()
    found('{"a":"1","b":{"c":"2","d":"3"},"e":{"f":{"g":"4"}}}',
          "1", "2", "3", "4")
    found(' {\n"e" : {"f":\t{ "g":"4" } } ,\r"a":"" } ', "", nil, nil, "4")
    found('{"b":{"d":"x\\n\\u00e9\\/"},"a":"\\ud83d\\ude00"}',
          "\u{1F600}", nil, "x\né/", nil)
  end)

  it("finds nothing where anything else is", function()
    for _, json in ipairs({
      "", " ", "{}", "[]", '"a"', "null", '{"a":1}', '{"a":null}',
      '{"a":true}', '{"a":["1"]}', '{"a":{"c":"1"}}', '{"b":"1"}',
      '{"b":{}}', '{"b":{"e":"1"}}', '{"b":{"c":{}}}', '{"c":"1"}',
      '{"b.c":"1"}', '{"e":{"f.g":"1"}}', '{"\\u0061":"1"}',
      '{"a":"1","a":"2"}', '{"a":"","a":""}', '{"a":"1","z":"2"}',
      '{"b":{"c":"1"},"b":{"d":"2"}}', '{"b":{"c":"1","c":"2"}}',
      '{"e":{"f":{"g":"1"},"f":{"g":"1"}}}', '{"a":"1"}x', '{"a":"1"} {',
      '{"a":"1",}', '{,"a":"1"}', '{"a" "1"}', '{"a":"1"', '{"a":"1', '{"a',
      '{"a":"\255"}', '{"a":"\n"}', '{"a":"\\x"}', '{"a":"\\ud83d"}',
      '{"' .. ("n"):rep(200) .. '":"1"}', '\0{"a":"1"}', '{"a":"1"}\0',
    }) do
      assert.equal(0, select("#", read(json)), json)
    end
  end)

  it("looks four objects deep at most", function()
    local deep = '{"a":{"b":{"c":{"d":{"e":%s}}}}}'
    assert.is_true((claims.texts(deep:format('"x"'), "a.b.c.d.e")))
    assert.is_nil((claims.texts(deep:format('{"f":"x"}'), "a.b.c.d.e.f")))
  end)

  it("throws on what is no text, and on more than eight paths", function()
    assert.has_error(function() claims.texts() end)
    assert.has_error(function() claims.texts("{}", {}) end)
    assert.has_error(function()
      claims.texts("{}", "a", "b", "c", "d", "e", "f", "g", "h", "i")
    end)
  end)
end)
