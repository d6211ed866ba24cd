local cjson = require("cjson")
local bytes = require("fulcio.engine").bytes

local function all_bytes()
  local list = {}
  for i = 0, 255 do list[#list + 1] = string.char(i) end
  return table.concat(list)
end

describe("bytes.base64", function()
  it("writes the vectors of RFC 4648 section 10", function()
    local vectors = {
      [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v",
      foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy",
    }
    for plain, text in pairs(vectors) do
      assert.equal(text, bytes.base64(plain))
      assert.equal(plain, bytes.unbase64(text))
    end
  end)

  it("writes base64url without padding", function()
    assert.equal("-_8", bytes.base64url("\251\255"))
    assert.equal("+/8=", bytes.base64("\251\255"))
  end)

  it("gives back every byte at every length", function()
    local all = all_bytes()
    for length = 0, #all do
      local part = all:sub(1, length)
      assert.equal(part, bytes.unbase64(bytes.base64(part)))
      assert.equal(part, bytes.unbase64(bytes.base64url(part)))
    end
  end)

  it("reads either alphabet, padded or not", function()
    for _, text in ipairs({ "+/8=", "+/8", "-_8", "-_8=" }) do
      assert.equal("\251\255", bytes.unbase64(text))
    end
  end)

  it("refuses anything else", function()
    local bad = {
      "A", "AAAAA", "Zg=", "Zg===", "=", "====", "Zm9v=", "Zm9v====",
      "Zg==Zg==", "Zm9v\n", " Zm9v", "Zm 9v", "Zm9v\0", "Zm9*", "Zm9\200",
      "+-AA", "_/AA", "Zh==", "Zm9=",
    }
    for _, text in ipairs(bad) do
      local plain, message, code = bytes.unbase64(text)
      assert.is_nil(plain, text)
      assert.equal("not base64", message)
      assert.equal("bad_base64", code)
    end
  end)

  it("throws at what is no string", function()
    assert.has_error(function() bytes.base64(nil) end)
    assert.has_error(function() bytes.unbase64({}) end)
  end)
end)

describe("bytes.gunzip", function()
  local gunzip = bytes.gunzip

  local function gzip(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    local pipe = assert(io.popen("gzip -nc " .. path))
    local zipped = pipe:read("a")
    pipe:close()
    os.remove(path)
    return zipped
  end

  local long = ("abc\0"):rep(50000)

  it("reads what gzip writes, and several in a row", function()
    for _, text in ipairs({ "", "a", long }) do
      assert.equal(text, gunzip(gzip(text), #text))
    end
    assert.equal("a" .. long .. "b",
                 gunzip(gzip("a") .. gzip(long) .. gzip("b"), #long + 2))
  end)

  it("refuses what would be longer than it may", function()
    for _, text in ipairs({ "a", long, ("\0"):rep(10000000) }) do
      local none, _, code = gunzip(gzip(text), #text - 1)
      assert.same({ nil, "too_large" }, { none, code })
    end
  end)

  it("refuses what is cut short, changed, or followed by something",
  function()
    local zipped = gzip(long)
    local crc = zipped:sub(1, -9) .. "\0" .. zipped:sub(-7)
    for _, text in ipairs({ "", "\31\139", "abc", zipped:sub(1, -2), crc,
                            zipped:sub(1, 40), zipped .. "x" }) do
      local none, message, code = gunzip(text, 1000000)
      assert.same({ nil, "not gzip", "bad_gzip" }, { none, message, code })
    end
  end)
end)

describe("bytes.hex", function()
  it("writes two lower-case digits a byte", function()
    assert.equal("", bytes.hex(""))
    assert.equal("00ff0aa0", bytes.hex("\0\255\10\160"))
  end)
end)

describe("bytes.sha256", function()
  it("gives the digests of FIPS 180", function()
    assert.equal(
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      bytes.hex(bytes.sha256("")))
    assert.equal(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      bytes.hex(bytes.sha256("abc")))
  end)
end)

describe("bytes.random", function()
  it("gives as many bytes as asked, and never the same", function()
    assert.equal(1, #bytes.random(1))
    assert.equal(4096, #bytes.random(4096))
    assert.not_equal(bytes.random(16), bytes.random(16))
  end)

  it("throws at a number it cannot serve", function()
    for _, n in ipairs({ 0, -1, 4097 }) do
      assert.has_error(function() bytes.random(n) end)
    end
  end)
end)

describe("bytes.is_utf8", function()
  it("takes one to four bytes a character", function()
    local good = {
      "", "abc", "\0", "\127", "\194\128", "\223\191", "\224\160\128",
      "\237\159\191", "\238\128\128", "\239\191\191", "\240\144\128\128",
      "\244\143\191\191", "grüße",
    }
    for _, text in ipairs(good) do assert.is_true(bytes.is_utf8(text)) end
  end)

  it("refuses overlong forms, surrogates and what is cut off", function()
    local bad = {
      "\128", "\191", "\192\128", "\193\191", "\224\128\128",
      "\224\159\191", "\237\160\128", "\237\191\191", "\240\128\128\128",
      "\240\143\191\191", "\244\144\128\128", "\245\128\128\128", "\255",
      "\254", "a\194", "\224\160", "\240\144\128", "\194a", "\224\160a",
    }
    for _, text in ipairs(bad) do
      assert.is_false(bytes.is_utf8(text), bytes.hex(text))
    end
  end)
end)

describe("bytes.digest", function()
  it("digests with SHA-2", function()
    assert.equal(bytes.sha256("abc"), bytes.digest("abc", "SHA-256"))
    assert.equal("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
      .. "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
      bytes.hex(bytes.digest("abc", "SHA-384")))
    assert.equal(64, #bytes.digest("abc", "SHA-512"))
    assert.has_error(function() bytes.digest("abc", "SHA-1") end)
  end)
end)

describe("bytes.json", function()
  it("escapes what ends a string or a line, or controls a terminal", function()
    assert.equal('""', bytes.json(""))
    assert.equal([["a/b\"\\\n\r\t\u0000\u001b\u007f"]],
                 bytes.json('a/b"\\\n\r\t\0\27\127'))
    assert.equal([["\u0080\u009f]] .. '\194\160é€😀"',
                 bytes.json("\194\128\194\159\194\160é€😀"))
  end)

  it("takes texts of every length", function()
    for length = 0, 9000, 450 do
      assert.equal('"' .. ("x"):rep(length) .. '"',
                   bytes.json(("x"):rep(length)))
      assert.equal('"' .. ("\\u0001"):rep(length) .. '"',
                   bytes.json(("\1"):rep(length)))
    end
  end)

  it("refuses what is not UTF-8", function()
    for _, text in ipairs({ "\255", "a\195", "\237\160\128", "\192\128" }) do
      local value, message, code = bytes.json(text)
      assert.is_nil(value)
      assert.is_string(message)
      assert.equal("bad_utf8", code)
    end
  end)
end)

describe("bytes.json_members", function()
  local function members(fields, names, limit)
    return bytes.json_members(fields, names, limit or 256)
  end

  it("writes what is plain, in the order that it is told", function()
    assert.equal([[,"b":"x\"\n\u0001é","a":-7,"c":true,"d":1000000000000]],
      members({ a = -7, b = 'x"\n\1é', c = true, d = 1e12 },
              { "b", "a", "c", "d" }))
    assert.equal("", members({}, {}))
  end)

  it("leaves everything else to others", function()
    for _, fields in ipairs({
      { a = 1, b = 2 }, {}, { b = 1 }, { a = 1.5 }, { a = 1e15 }, { a = {} },
      { a = "\255" }, { a = ("x"):rep(257) }, { a = 0 / 0 }, { a = 1 / 0 },
    }) do
      assert.is_nil(members(fields, { "a" }))
    end
    assert.is_nil(members({ ['"'] = 1 }, { '"' }))
    assert.is_nil(members({ a = ("\1"):rep(1000) }, { "a" }, 1000))
    assert.is_nil(members({ [("n"):rep(5000)] = 1 }, { ("n"):rep(5000) }))
  end)
end)

describe("bytes.has", function()
  it("says whether one of the texts is in the text", function()
    assert.is_true(bytes.has("a token eyJx", { "zz", "eyJ" }))
    assert.is_false(bytes.has("a token", { "zz", "eyJ" }))
    assert.is_false(bytes.has("a token", {}))
    assert.is_false(bytes.has("", { "e" }))
    assert.is_true(bytes.has("eeyJ", { "eyX", "eyJ" }))
    assert.is_false(bytes.has("a ey", { "eyJ" }))
    assert.is_true(bytes.has("\0\255", { "\255" }))
    for _, bad in ipairs({ { "" }, { 1 }, { {} }, false }) do
      assert.has_error(function() bytes.has("a", bad) end)
    end
    local many = {}
    for i = 1, 17 do many[i] = "x" end
    assert.has_error(function() bytes.has("a", many) end)
  end)

  it("knows ASCII", function()
    for text, is in pairs({ [""] = true, ["a\0\127"] = true, ["é"] = false,
                            ["abc\128"] = false }) do
      assert.equal(is, bytes.is_ascii(text))
    end
  end)
end)

describe("what JSON has as it is", function()
  it("is told from the rest wherever that stands", function()
    local plain = ("abcdefghijklmnopqrstuvwxyz0123456789-_.,:;"):rep(2)
    for c = 0, 127 do
      local char = string.char(c)
      local good = c >= 32 and c ~= 127
      for at = 1, 50 do
        local text = plain:sub(1, at - 1) .. char .. plain:sub(at, 50)
        assert(bytes.is_printable(text) == good, c)
        assert(cjson.decode(bytes.json(text)) == text, c)
      end
    end
  end)
end)

describe("bytes.is_printable", function()
  it("has a limit where one is given", function()
    assert.is_true(bytes.is_printable("abc", 3))
    assert.is_false(bytes.is_printable("abcd", 3))
    assert.is_false(bytes.is_printable("a", 0))
  end)

  it("refuses control characters and what is not UTF-8", function()
    for _, text in ipairs({ "", "a\"b\\c", "grüße €😀", "\194\160" }) do
      assert.is_true(bytes.is_printable(text))
    end
    for c = 0, 31 do
      assert.is_false(bytes.is_printable("abcdefghij" .. string.char(c)))
      assert.is_false(bytes.is_printable(string.char(c) .. "abcdefghij"))
    end
    for _, text in ipairs({ "\127", "abcdefg\127h", "\194\128", "\194\159",
                            "\255", "a\195" }) do
      assert.is_false(bytes.is_printable(text))
    end
  end)
end)
