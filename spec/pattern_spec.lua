--- engine/pattern.c: regular expressions and globs on the whole text.
local engine = require("fulcio.engine")

local pattern = engine.pattern

local function matches(compiled, yes, no)
  for _, subject in ipairs(yes) do
    assert.is_true(compiled:match(subject), subject)
  end
  for _, subject in ipairs(no) do
    assert.is_false(compiled:match(subject), subject)
  end
end

describe("pattern.compile", function()
  it("matches the whole text", function()
    matches(pattern.compile("a|ab"), { "a", "ab" }, { "abc", "xa", "", "aa" })
    matches(pattern.compile("refs/tags/v[0-9]+"), { "refs/tags/v10" },
      { "refs/tags/v", "xrefs/tags/v1", "refs/tags/v1x" })
    matches(pattern.compile(""), { "" }, { "a", "\n" })
  end)

  it("is not misled by a newline or a NUL", function()
    matches(pattern.compile("a$"), { "a" }, { "a\n", "a\nb", "b\na", "a\0" })
    matches(pattern.compile("^a"), { "a" }, { "a\nb", "b\na", "a\0b" })
    matches(pattern.compile("a.b"), { "a\0b", "axb" }, { "a\nb" })
    matches(pattern.compile("a\0b"), { "a\0b" }, { "a", "axb" })
    matches(pattern.compile("(?m)^a$"), { "a" }, { "a\nb", "a\n", "b\na" })
  end)

  it("counts characters, not bytes", function()
    matches(pattern.compile("."), { "a", "é", "€", "\u{1F600}" }, { "ab" })
    matches(pattern.compile("\\d"), { "7" }, { "\u{0667}" })
    matches(pattern.compile("(?i)ÄÖ"), { "äö", "ÄÖ" }, { "ao" })
  end)

  it("says what is wrong and where", function()
    for expression, expected in pairs({
      ["a("] = "missing closing parenthesis (at byte 3)",
      ["*"] = "quantifier does not follow a repeatable item (at byte 1)",
      ["\\C"] = "using \\C is disabled by the application (at byte 3)",
    }) do
      local compiled, message, code = pattern.compile(expression)
      assert.is_nil(compiled)
      assert.equal(expected, message)
      assert.equal("bad_pattern", code)
    end
    for _, expression in ipairs({
      "\255", "((a{1000}){1000}){1000}", ("("):rep(1000) .. (")"):rep(1000),
    }) do
      local compiled, _, code = pattern.compile(expression)
      assert.is_nil(compiled)
      assert.equal("bad_pattern", code)
    end
    local compiled, message, code = pattern.compile(("a"):rep(4097))
    assert.is_nil(compiled)
    assert.equal("pattern is longer than 4096 bytes", message)
    assert.equal("bad_pattern", code)
    assert.is_true(pattern.compile(("a"):rep(4096)):match(("a"):rep(4096)))
  end)

  it("gives up on patterns that take too many steps", function()
    for expression, subject in pairs({
      ["(a+)+$"] = ("a"):rep(30) .. "b",
      [("a?"):rep(30) .. ("a"):rep(30)] = ("a"):rep(30),
      ["(\\w+\\s?)*"] = ("aaaa "):rep(20) .. "!",
      ["(*LIMIT_MATCH=99999999)(a|aa)+"] = ("a"):rep(60) .. "b",
      ["(?R)?a"] = "aaaa",
    }) do
      local matched, message, code =
        assert(pattern.compile(expression)):match(subject)
      assert.is_nil(matched)
      assert.equal("pattern takes too many steps on this text", message)
      assert.equal("match_limit", code)
    end
  end)

  -- Few steps, each of which looks at the whole text.
  it("gives up on patterns whose steps take too long", function()
    local parts = {}
    for i = 1, 10 do
      parts[i] = ("(?=\\p{L}*+%s)"):format(string.char(64 + i))
    end
    local slow = assert(pattern.compile(
      "(?:" .. table.concat(parts, "|") .. "|.)*!"))
    local found, message, code = slow:match("!" .. ("a"):rep(4095))
    assert.is_nil(found)
    assert.equal("pattern takes too many steps on this text", message)
    assert.equal("match_limit", code)
    assert.is_true(slow:match("aa!"))
  end)

  it("takes a subject of 4096 bytes and none longer", function()
    local compiled = pattern.compile("(?:a|b)*")
    assert.is_true(compiled:match(("ab"):rep(2048)))
    local matched, message, code = compiled:match(("a"):rep(4097))
    assert.is_nil(matched)
    assert.equal("text is longer than 4096 bytes", message)
    assert.equal("too_long", code)
  end)

  it("refuses a subject that is not UTF-8", function()
    for _, subject in ipairs({
      "\255", "a\128", "\192\128", "\237\160\128", "\244\144\128\128", "\226",
    }) do
      local matched, message, code = pattern.compile(".*"):match(subject)
      assert.is_nil(matched)
      assert.equal("text is not UTF-8", message)
      assert.equal("bad_utf8", code)
    end
  end)

  it("can be used again after every outcome", function()
    local compiled = pattern.compile("(a+)+$")
    for _ = 1, 3 do
      assert.is_true(compiled:match("aaa"))
      assert.is_nil((compiled:match(("a"):rep(30) .. "b")))
      assert.is_false(compiled:match("b"))
      assert.is_nil((compiled:match("\255")))
    end
  end)

  it("throws on what is no text", function()
    assert.has_error(function() pattern.compile() end)
    assert.has_error(function() pattern.compile("a"):match({}) end)
    assert.has_error(function() pattern.compile("a").match("a", "a") end)
  end)

  it("shows nothing but its type", function()
    assert.equal("fulcio.pattern", tostring(pattern.compile("a")))
  end)
end)

describe("pattern.glob", function()
  it("has Fulcio's wildcard for issuers", function()
    local base = "https://oidc.example.com/"
    matches(pattern.glob(base .. "*/x.*", "issuer"), { base .. "A-b_9/x.y" }, {
      base .. "/x.y", base .. "a/x.", base .. "a.b/x.y", base .. "a/b/x.y",
      base .. "é/x.y", base .. "a/x.y\n", base .. "a/xxy",
      "https://oidcxexample.com/a/x.y", "https://oidc.example.com",
    })
    matches(pattern.glob("https://*", "issuer"), { "https://a" },
      { "https://a.b", "https://a/b", "https://a@b", "https://" })
  end)

  it("stops at a slash in claims, unless the star is double", function()
    matches(pattern.glob("refs/tags/v*", "claim"),
      { "refs/tags/v", "refs/tags/v1.2", "refs/tags/vé*" },
      { "refs/tags/v1/x", "refs/tags/", "xrefs/tags/v1", "refs/tags/w" })
    matches(pattern.glob("refs/**", "claim"),
      { "refs/", "refs/a", "refs/a/b" }, { "refs", "xrefs/a" })
    matches(pattern.glob("a/*/c", "claim"), { "a//c", "a/b/c" },
      { "a/b/b/c", "a/c" })
    matches(pattern.glob("a/**/c", "claim"), { "a//c", "a/b/b/c" },
      { "a/c", "a/b/cc" })
    matches(pattern.glob("***", "claim"), { "", "a/b" }, {})
  end)

  it("takes everything else as it stands", function()
    local text = "a.b+c?d[e]f(g)h|i^j$k\\l{m}n-o_p~q\"r's<t>u%v&w#x y=z:,;!@`é"
    matches(pattern.glob(text, "claim"), { text },
      { (text:gsub("%.", "x")), (text:gsub("b%+", "bb")), text .. "x" })
    matches(pattern.glob("\\Q*\\E", "claim"), { "\\Qx\\E" }, { "x" })
    matches(pattern.glob("(?i)a", "claim"), { "(?i)a" }, { "A", "a" })
  end)

  it("never matches control characters and dot segments", function()
    matches(pattern.glob("a**", "claim"),
      { "a/b", "a...", "a/.b", "a/..b", "a/b..", "a/.../b", "a\u{00A0}" },
      {
        "a\0", "a\n", "a\tb", "a\127", "a\u{0085}", "a\u{009F}/b", "a/.",
        "a/..", "a/./b", "a/../b", "a/b/../../c",
      })
    matches(pattern.glob("**", "claim"), { "", "/", "..a/b" },
      { ".", "..", "./a", "../a", "/.", "/../" })
  end)

  it("says when a glob cannot match anything", function()
    for _, glob in ipairs({
      "a\0*", "a\n", "../*", "a/./b", "a/..", ".", "a\u{0085}",
    }) do
      for _, kind in ipairs({ "claim", "issuer" }) do
        local compiled, message, code = pattern.glob(glob, kind)
        assert.is_nil(compiled)
        assert.equal("glob has a control character or a segment \".\" or "
          .. "\"..\", which never match", message)
        assert.equal("bad_pattern", code)
      end
    end
  end)

  it("refuses what is empty, too long or not UTF-8", function()
    for glob, expected in pairs({
      [""] = "glob is empty",
      [("a"):rep(4097)] = "glob is longer than 4096 bytes",
      ["a\255"] = "glob is not UTF-8",
      [("*a"):rep(2048)] = "glob has too many wildcards",
    }) do
      local compiled, message, code = pattern.glob(glob, "issuer")
      assert.is_nil(compiled)
      assert.equal(expected, message)
      assert.equal("bad_pattern", code)
    end
  end)

  it("gives up on stars that take too many steps", function()
    local compiled = pattern.glob(("*a"):rep(12) .. "b", "claim")
    local matched, _, code = compiled:match(("a"):rep(60) .. "cb")
    assert.is_nil(matched)
    assert.equal("match_limit", code)
  end)

  it("throws on a kind it does not know", function()
    assert.has_error(function() pattern.glob("a", "email") end)
    assert.has_error(function() pattern.glob("a") end)
  end)
end)
