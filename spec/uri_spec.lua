--- engine/uri.c, reference.c, percent.c, quote.c: URIs as Go has them.
local engine = require("fulcio.engine")

local uri = engine.uri
local go = dofile("spec/fixtures/uri.lua")

describe("uri.parse", function()
  it("reads and prints what Go reads and prints", function()
    for _, case in ipairs(go.parsed) do
      local expected = { text = case[1] }
      for name, value in pairs(case) do
        if name ~= 1 then expected[name] = value end
      end
      assert.same(expected, (uri.parse(case[1])))
    end
  end)

  it("refuses what Go refuses, in its words", function()
    for _, case in ipairs(go.refused) do
      local parsed, message, code = uri.parse(case[1])
      assert.is_nil(parsed)
      assert.equal('parse "' .. (case[3] or case[1]) .. '": ' .. case[2],
        message)
      assert.equal("bad_uri", code)
    end
  end)

  it("prints again what it has printed", function()
    for _, case in ipairs(go.parsed) do
      local text = uri.parse(case[1]).text
      assert.equal(text, uri.parse(text).text)
    end
  end)

  it("takes an IPv6 address between brackets and nothing else", function()
    for _, address in ipairs({
      "::", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "abcd::00ff",
      "::ffff:192.0.2.1", "fe80::1%25eth0", "fe80::1%25a%20b",
    }) do
      assert.is_table(uri.parse("https://[" .. address .. "]/"))
    end
    for _, address in ipairs({
      "", ":", "1", "g::", ":::", "1::2::3", "00000::", "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1.2.3", "::1.2.3.256",
      "::01.2.3.4", "fe80::1%25", "%25eth0", ("1:"):rep(100),
    }) do
      local parsed, message, code = uri.parse("https://[" .. address .. "]/")
      assert.is_nil(parsed)
      assert.truthy(message:find("invalid host: ParseAddr(", 1, true))
      assert.equal("bad_uri", code)
    end
  end)

  it("escapes in its messages what would not be seen", function()
    local _, message = uri.parse('%zz\n"\\\200é\u{2028}\u{E0001}')
    assert.equal([[parse "%zz\n\"\\\xc8é\u2028\U000e0001": ]]
      .. "net/url: invalid control character in URL", message)
  end)

  it("throws on what is no text", function()
    assert.has_error(function() uri.parse() end)
    assert.has_error(function() uri.parse({}) end)
  end)
end)

describe("uri.join", function()
  it("joins and cleans as Go does", function()
    for _, case in ipairs(go.joined) do
      local text, message, code = uri.join(table.unpack(case[1]))
      assert.equal(case[2], text)
      assert.equal(case.error, message)
      assert.equal(case.error and "bad_uri", code)
    end
  end)

  it("cannot be led out of the base by its elements", function()
    for _, element in ipairs({
      "../x", "/../x", "a/../../x", "..//..//x", "./.././x", "/x",
    }) do
      assert.equal("https://github.com/x",
        uri.join("https://github.com/", element))
    end
    assert.equal("https://github.com/@evil.example/",
      uri.join("https://github.com", "@evil.example/"))
    assert.equal("https://github.com/https:/evil.example",
      uri.join("https://github.com", "https://evil.example"))
  end)

  it("throws on what is no text", function()
    assert.has_error(function() uri.join() end)
    assert.has_error(function() uri.join("https://x", {}) end)
    assert.has_error(function() uri.join("https://x", nil, "a") end)
  end)
end)

describe("uri.spiffe", function()
  it("gives the trust domain of a SPIFFE ID", function()
    for id, domain in pairs({
      ["spiffe://example.com"] = "example.com",
      ["spiffe://example.com/ns/a-b_c.d/SA9"] = "example.com",
      ["spiffe://a_b-c.9/..."] = "a_b-c.9",
      ["spiffe://1.2.3.4/x"] = "1.2.3.4",
    }) do
      assert.equal(domain, uri.spiffe(id))
    end
  end)

  it("refuses everything else, in go-spiffe's words", function()
    local domain = "trust domain characters are limited to lowercase "
      .. "letters, numbers, dots, dashes, and underscores"
    local segment = "path segment characters are limited to letters, "
      .. "numbers, dots, dashes, and underscores"
    for id, reason in pairs({
      [""] = "cannot be empty",
      ["example.com"] = "scheme is missing or invalid",
      ["SPIFFE://example.com"] = "scheme is missing or invalid",
      ["spiffe:/example.com"] = "scheme is missing or invalid",
      ["https://example.com"] = "scheme is missing or invalid",
      ["spiffe://"] = "trust domain is missing",
      ["spiffe:///a"] = "trust domain is missing",
      ["spiffe://Example.com"] = domain,
      ["spiffe://example.com:80/a"] = domain,
      ["spiffe://user@example.com"] = domain,
      ["spiffe://exämple.com"] = domain,
      ["spiffe://example.com%20"] = domain,
      ["spiffe://example.com?q"] = domain,
      ["spiffe://example.com\0/a"] = domain,
      ["spiffe://example.com/"] = "path cannot have a trailing slash",
      ["spiffe://example.com/a/"] = "path cannot have a trailing slash",
      ["spiffe://example.com//a"] = "path cannot contain empty segments",
      ["spiffe://example.com/a//"] = "path cannot contain empty segments",
      ["spiffe://example.com/./a"] = "path cannot contain dot segments",
      ["spiffe://example.com/a/.."] = "path cannot contain dot segments",
      ["spiffe://example.com/a%2fb"] = segment,
      ["spiffe://example.com/a?q"] = segment,
      ["spiffe://example.com/a#f"] = segment,
      ["spiffe://example.com/a b"] = segment,
      ["spiffe://example.com/é"] = segment,
      ["spiffe://example.com/a\0"] = segment,
    }) do
      local found, message, code = uri.spiffe(id)
      assert.is_nil(found)
      assert.equal(reason, message)
      assert.equal("bad_spiffe_id", code)
    end
  end)
end)
