local loader = require("fulcio.loader")

local GOOD = [[
return {
  issuer = "https://issuer.example.com",
  audience = "sigstore",
  must = { ref = "main" },
  san = { uri = "https://ci.example.com/{ref}" },
}
]]

local function load(files, options)
  local sources = {}
  for name, text in pairs(files) do
    sources[#sources + 1] = { name = name, text = text }
  end
  return loader.load(sources, options)
end

local function errors(files, options)
  local lines = {}
  for i, wrong in ipairs(load(files, options).errors) do
    lines[i] = ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
  end
  return lines
end

-- The errors of the good policy after a change to its text.
local function after(old, new, options)
  local first, last = GOOD:find(old, 1, true)
  local text = GOOD:sub(1, first - 1) .. new .. GOOD:sub(last + 1)
  return errors({ ["p.lua"] = text }, options)
end

describe("loader", function()
  it("loads what is right", function()
    assert.same({}, errors({ ["p.lua"] = GOOD }))
  end)

  -- { what is replaced, by what, the one error }
  local rows = {
    { 'audience =', 'audiance = "x", audience =',
      '3: unknown field "audiance" (did you mean "audience"?)' },
    { '  audience = "sigstore",\n', "",
      '1: audience is missing: audience = "sigstore" is usual' },
    { 'audience = "sigstore"', "audience = {}", "3: audience is empty" },
    { 'audience = "sigstore"', 'audience = ""',
      '3: audience: "" must be a text that prints, not empty' },
    { '  issuer = "https://issuer.example.com",\n', "",
      "1: issuer is missing: whose tokens is this policy for?" },
    { '"https://issuer.example.com"', "5",
      "2: issuer: 5 is neither a URL nor glob(…)" },
    { '"https://issuer.example.com"', '"issuer.example.com"',
      '2: issuer "issuer.example.com" is not a URL: https://HOST/…' },
    { '"https://issuer.example.com"', '"https://*.example.com"',
      '2: issuer "https://*.example.com" has a *: write '
      .. 'glob("https://*.example.com")' },
    { '"https://issuer.example.com"', '"https://issuer.example.com?x"',
      '2: issuer "https://issuer.example.com?x" must have neither query, '
      .. 'fragment nor user' },
    { '"https://issuer.example.com"', '"http://issuer.example.com"',
      '2: issuer "http://issuer.example.com" must be https:// (http:// is '
      .. 'for loopback alone)' },
    { '"https://issuer.example.com"', '"http://127.0.0.1:5556"',
      '2: issuer "http://127.0.0.1:5556" is http://: allowed with '
      .. '--development, or when every listener is on loopback' },
    { 'must = { ref = "main" }', "must = {}",
      "4: must is empty: name the claims that a token needs, or write "
      .. "must = anyone" },
    { '  must = { ref = "main" },\n', "",
      "1: must is missing: name the claims that a token needs, or write "
      .. "must = anyone" },
    { 'ref = "main"', "ref = anyone",
      "4: must.ref: anyone stands alone: must = anyone" },
    { 'ref = "main"', 'ref = match("(")',
      nil },
    { 'ref = "main"', 'ref = ""',
      '4: must.ref: "" is the same as absent, never matched' },
    { 'ref = "main"', "ref = { a = 1 }",
      "4: must.ref: {  } cannot be compared with a claim" },
    { 'ref = "main"', 'ref = { { "a" } }',
      "4: must.ref: a list in a list cannot match (for a claim that is a "
      .. 'list, write has("value"))' },
    { 'ref = "main"', "ref = glob()",
      '4: must.ref: glob takes one text: glob("refs/tags/*")' },
    { 'ref = "main"', 'ref = within("https://h.example/x")',
      '4: must.ref: within("https://h.example/x"): a scheme and a host are '
      .. "needed, no more" },
    { 'ref = "main"', 'ref = spiffe("Example.com")',
      '4: must.ref: spiffe("Example.com"): not a trust domain' },
    { 'ref = "main"', "[1] = 2",
      "4: 1: a claim's name must be a text" },
    { 'ref = "main"', '["ref?"] = "main"',
      '4: "ref?": a ? belongs into {claim?} alone' },
    { "uri =", "url =",
      '5: san: unknown kind "url" (did you mean "uri"?)' },
    { 'uri = "https://ci.example.com/{ref}"', "",
      "5: san needs exactly one of email, uri, username" },
    { "{ref}", "{ref?}",
      "5: san.uri: {ref?} may be absent, which is not allowed here: "
      .. "write {ref}" },
    { "{ref}", "{ref", nil },
    { "{ref}", "{ ref }",
      '5: san.uri: "{ ref }" names no claim (write {claim}, without '
      .. "spaces)" },
    { "{ref}", "{{ .ref }}", nil },
    { '"https://ci.example.com/{ref}"', "5",
      "5: san.uri: 5 is not a text, url(…) or pick(…)" },
    { '"https://ci.example.com/{ref}"', 'pick("a", { b = "c" }, false)',
      "5: san.uri: pick(…, false) may leave nothing, not allowed here" },
    { '"https://ci.example.com/{ref}"', 'pick("a", { "b" })',
      '5: san.uri: pick needs a table by text: pick("claim", { a = "…" })' },
    { '"https://ci.example.com/{ref}"', 'pick("a", {})',
      "5: san.uri: pick has nothing to pick from" },
    { '"https://ci.example.com/{ref}"', 'pick({})',
      '5: san.uri: pick takes a claim and a table: pick("claim", '
      .. '{ a = "…" })' },
    { '"https://ci.example.com/{ref}"', 'url("https://h.example")',
      '5: san.uri: url takes two texts: url("https://example.com", '
      .. '"{claim}")' },
    { "uri = ", "username = ",
      '5: san.username is NAME!DOMAIN: "{sub}!example.com"' },
    { "  san", '  set = { a = "" },\n  san',
      "5: set.a is empty, which is the same as absent: leave it out and "
      .. "write {a?}" },
    { "  san", "  set = { a = false },\n  san",
      "5: set.a must be a text" },
    { "  san", "  default = 5,\n  san", "5: default must be a table" },
    { "  san", '  set = { a = "1" }, default = { a = "2" },\n  san',
      "5: default.a is never used: set.a wins" },
    { "  san", '  extensions = { build_siner_uri = "x" },\n  san',
      '5: unknown extension "build_siner_uri" (did you mean '
      .. '"build_signer_uri"?)' },
    { "  san", '  extensions = { issuer = "x" },\n  san',
      "5: extensions.issuer: every certificate has it (for e-mail issuers "
      .. "see issuer_name)" },
    { "  san", '  extensions = { ["2.5.29.15"] = "x" },\n  san',
      "5: extensions: 2.5.29.15 is reserved: 2.5.29 are X.509's own "
      .. "extensions" },
    { "  san", '  extensions = { ["1.3.6.1.4.1.57264.1.9"] = "x" },\n  san',
      "5: extensions: 1.3.6.1.4.1.57264.1.9 is reserved: "
      .. "1.3.6.1.4.1.57264 are Fulcio's own, which are written by name" },
    { "  san", '  extensions = { ["1.2.03"] = "x" },\n  san',
      '5: extensions: "1.2.03" is not an object identifier' },
    { "  san", "  extensions = { build_trigger = false },\n  san",
      "5: extensions.build_trigger = false drops nothing: there is no "
      .. "provider" },
    { "  san", '  challenge = {},\n  san',
      '5: challenge is empty: "{sub}" is the default' },
    { "  san", '  challenge = "{a?}",\n  san',
      "5: challenge: {a?} may be absent, which is not allowed here: "
      .. "write {a}" },
    { "  san", '  issuer_name = "{a}",\n  san',
      "5: issuer_name is for san.email alone" },
    { "  san", "  check = true,\n  san",
      "5: check must be a function(claims)" },
    { "  san", '  internal = "yes",\n  san',
      "5: internal must be true or false" },
    { "  san", '  provider = "githup",\n  san',
      '5: there is no provider "githup" (did you mean "github"?)' },
    { "  san", '  template = "laef",\n  san',
      '5: there is no template "laef" (did you mean "leaf"?)' },
    { "  san", '  template = "root",\n  san',
      '5: template "root" is for a ca' },
    { "  san", '  template = "../x",\n  san',
      '5: there is no template "../x"' },
  }

  for _, row in ipairs(rows) do
    it("refuses " .. row[2]:gsub("%s+", " "), function()
      local found = after(row[1], row[2])
      assert.equal(1, #found, table.concat(found, "\n"))
      if row[3] then assert.equal("p.lua:" .. row[3], found[1]) end
    end)
  end

  it("has http:// on loopback for development", function()
    for _, url in ipairs({ "http://127.0.0.1:5556", "http://localhost",
                           "http://[::1]:80/x" }) do
      assert.same({}, after("https://issuer.example.com", url,
                            { development = true }))
      assert.same({}, after("https://issuer.example.com", url,
                            { loopback = true }))
    end
    assert.equal(1, #after("https://issuer.example.com",
                           "http://example.com", { development = true }))
  end)

  it("reports everything at once, by file and line", function()
    assert.same({
      'a.lua:2: unknown field "x"',
      "a.lua:3: must is empty: name the claims that a token needs, or write "
        .. "must = anyone",
      'b.lua:1: unknown word "io"',
      "c.lua:1: the file must return a table: return { issuer = … }",
      "d.lua:2: unexpected symbol near '}'",
    }, errors({
      ["a.lua"] = 'return { issuer = "https://a.example", audience = "s",\n'
        .. 'x = 1,\nmust = {}, san = { uri = "{sub}" } }',
      ["b.lua"] = 'io.open("/etc/passwd")',
      ["c.lua"] = "return 5",
      ["d.lua"] = "return {\n must = } }",
    }))
  end)

  it("suggests the word that was meant", function()
    assert.same({ 'p.lua:4: unknown word "globb" (did you mean "glob"?)' },
                after('"main"', 'globb("main")'))
  end)

  it("refuses anyone beside another policy of the same pair", function()
    local anyone = GOOD:gsub('{ ref = "main" }', "anyone")
    assert.same({ "b.lua:4: must = anyone beside a.lua, which is for the "
                  .. "same issuer and audience" },
                errors({ ["a.lua"] = GOOD, ["b.lua"] = anyone }))
    local other = anyone:gsub('"sigstore"', '"other"')
    assert.same({}, errors({ ["a.lua"] = GOOD, ["b.lua"] = other }))
  end)

  it("wants one issuer's CA and place to be the same everywhere", function()
    local ca = GOOD:gsub("must", 'ca_file = "x.pem", must', 1)
    assert.same({ "b.lua:4: ca_file differs from that in a.lua, which is for "
                  .. "the same issuer" },
                errors({ ["a.lua"] = GOOD, ["b.lua"] = ca }))
  end)

  it("says that there is no template beside all else that is wrong",
  function()
    local found = errors({
      ["a.lua"] = GOOD:gsub("san =", 'template = "leef", sann =', 1),
      ["b.lua"] = GOOD:gsub("san =", 'template = "leef", provider = "x", san =',
                            1) })
    local missing = 'there is no template "leef" (did you mean "leaf"?)'
    assert.matches("a.lua:%d: " .. missing:gsub("%p", "%%%0"),
                   table.concat(found, "\n"))
    assert.matches("b.lua:%d: " .. missing:gsub("%p", "%%%0"),
                   table.concat(found, "\n"))
    assert.equal(5, #found)
  end)

  it("names what san does not know, also when there is too much",
  function()
    assert.same({
      "p.lua:5: san needs exactly one of email, uri, username",
      'p.lua:5: san: unknown kind "emial" (did you mean "email"?)',
      'p.lua:5: san: unknown kind "x"',
    }, after("san = {", 'san = { emial = "{email}", x = 5,'))
  end)

  it("looks at the certificates of ca_file when asked", function()
    local path = os.tmpname()
    local function found(text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
      return table.concat(errors({ ["a.lua"] = GOOD:gsub("must",
        ('ca_file = %q, must'):format(path), 1) }, { files = true }), "\n")
    end
    assert.equal("a.lua:4: ca_file: " .. path .. ": certificate: no PEM block"
                 .. " and not DER", found("nothing"))
    local pem = assert(io.open("spec/fixtures/ca.pem")):read("a")
    assert.equal("", found(pem))
    os.remove(path)
    assert.same({ "a.lua:4: ca_file: /nowhere/x.pem: No such file or "
                  .. "directory" },
      errors({ ["a.lua"] = GOOD:gsub("must", 'ca_file = "/nowhere/x.pem", must',
                                     1) }, { files = true }))
  end)

  it("refuses two policies of one name", function()
    local source = { name = "p.lua", text = GOOD }
    local loaded = loader.load({ source, source })
    assert.equal("there are two policies of this name",
                 loaded.errors[1].message)
  end)

  it("reports a provider's errors in the provider, once", function()
    local text = GOOD:gsub("san", 'provider = "x", san')
    local options = { providers = { x = 'return { sann = 1,\n'
                                          .. 'issuer = "i" }' } }
    assert.same({
      'providers/x.lua:1: unknown field "sann" (did you mean "san"?)',
      'providers/x.lua:2: a provider has no "issuer": it belongs into the '
        .. "policy",
    }, errors({ ["a.lua"] = text, ["b.lua"] = text }, options))
  end)

  it("checks all providers and templates of a folder when asked", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -p " .. dir .. "/providers " .. dir
                      .. "/templates"))
    for name, text in pairs({ ["providers/x"] = "return { sann = 1 }",
                              ["templates/t"] = "return {}" }) do
      local file = assert(io.open(dir .. "/" .. name .. ".lua", "w"))
      file:write(text)
      file:close()
    end
    assert(os.execute("mkdir " .. dir .. "/providers/w.lua"))
    local found = errors({ ["p.lua"] = GOOD }, { folder = dir })
    os.execute("rm -r " .. dir)
    assert.equal(4, #found)
    assert.matches('providers/w.lua:1: there is no provider "w"', found[1], 1,
                   true)
    assert.truthy(found[2]:find("providers/x.lua:1: unknown field", 1, true))
    assert.truthy(found[3]:find("templates/t.lua:1: keys is missing", 1,
                                true))
  end)

  -- The errors of a policy that is good but for one field.
  local function with(field)
    return errors({ ["p.lua"] = "\n" .. GOOD:gsub("  san", function()
      return field .. "\n  san"
    end) })
  end

  -- The errors of one whose table `many` was filled before.
  local function filled(fill, field, old)
    local text = GOOD:gsub(old or "  san", function()
      return field .. (old and "" or "\n  san")
    end)
    return errors({ ["p.lua"] = "local many = {} " .. fill .. "\n" .. text })
  end

  it("ends where one file has too many mistakes, not where all have",
  function()
    local found = errors({
      ["a.lua"] = "local many = {} for i = 1, 9000 do many["
        .. '"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcd" .. i]'
        .. " = 1 end return many",
      ["b.lua"] = GOOD:gsub("san =", "sann ="),
    })
    assert.equal(53, #found)
    assert.equal("a.lua:1: and more mistakes: here are the first 50 of them",
                 found[51])
    assert.matches("^b.lua:5: unknown field", found[53])
  end)

  it("has a limit for each list and table that costs a token time",
  function()
    local list = "for i = 1, 9000 do many[i] = "
    local map = "for i = 1, 9000 do many["
    local cases = {
      { map .. '"1.3.6.1.4.1.32473." .. i] = "x" end', "extensions = many,",
        nil, "6: extensions has 9000 of its own: at most 100 are allowed" },
      { map .. '"c" .. i] = "x" end', "must = many,",
        '  must = { ref = "main" },',
        "5: must has 9000 entries: at most 200 are allowed" },
      { map .. '"c" .. i] = "x" end', "set = many,", nil,
        "6: set has 9000 entries: at most 200 are allowed" },
      { map .. '"c" .. i] = "x" end', "default = many,", nil,
        "6: default has 9000 entries: at most 200 are allowed" },
      { list .. '"{a}" end', "challenge = many,", nil,
        "6: challenge has 9000 entries: at most 20 are allowed" },
      { list .. '"a" .. i end many[1] = glob("https://*.example")',
        "issuer = { many[1] },", '  issuer = "https://issuer.example.com",',
        nil },
      { list .. 'glob("https://*.example/" .. i) end', "issuer = many,",
        '  issuer = "https://issuer.example.com",',
        "3: issuer has 9000 globs: at most 100 are allowed" },
      { list .. '"a" .. i end for i = 9001, 10001 do many[i] = "b" end',
        "audience = many,", '  audience = "sigstore",', "4: issuer and "
        .. "audience make 10001 pairs: at most 10000 are allowed" },
      { 'local s = "{a}" for i = 1, 8 do s = s .. s end many.uri = s',
        "san = many,", '  san = { uri = "https://ci.example.com/{ref}" },',
        '6: san.uri: "' .. ("{a}"):rep(26) .. '{a…" has too many claims: '
        .. "128, with what stands between them, are allowed" },
    }
    for _, row in ipairs(cases) do
      local found = filled(row[1], row[2], row[3])
      assert.equal(row[4] and "p.lua:" .. row[4], found[1])
      assert.equal(row[4] and 1 or 0, #found)
    end
  end)

  it("has a limit for the name of a claim, wherever one stands", function()
    local wrong = " claim has a name of at most 256 bytes and 16 steps"
    local long = ("a"):rep(257)
    local deep = ("a/"):rep(16) .. "a"
    for _, name in ipairs({ long, deep }) do
      local cut = #name > 80 and "…" or ""
      local shown = '"' .. name:sub(1, 80) .. cut .. '"'
      for _, field in ipairs({
        'default = { ["%s"] = "x" },', 'set = { ["%s"] = "x" },',
        'issuer_name = "{%s}",', 'challenge = "{%s}",',
        'extensions = { build_trigger = "{%s?}" },',
        'extensions = { build_trigger = url("https://x.example", "{%s}") },',
        'extensions = { build_trigger = pick("%s", { a = "b" }) },',
        'extensions = { build_trigger = pick("x", { a = "{%s}" }) },',
      }) do
        local found = table.concat(with(field:format(name)), "\n")
        assert.matches(shown .. ": a" .. wrong, found, 1, true)
        assert.matches("p.lua:6: ", found, 1, true)
      end
      local found = after('ref = "main"', '["' .. name .. '"] = "main"')
      assert.same({ "p.lua:4: " .. shown .. ": a" .. wrong }, found)
    end
    local good = ("a"):rep(224) .. ("/a"):rep(15)
    assert.same({}, after('ref = "main"', '["' .. good .. '"] = "main"'))
    assert.same({}, with(('default = { ["%s"] = "x" },'):format(good)))
  end)

  it("compares long lists of issuers with each other", function()
    local function policy(prefix, count, rest)
      return ("local many = {} for i = 1, %d do many[i] = 'https://%s' .. i"
        .. " .. '.example' end\n"):format(count, prefix) .. GOOD:gsub(
        '"https://issuer.example.com"', "many"):gsub("must = {.-}", rest)
    end
    assert.same({}, errors({ ["a.lua"] = policy("a", 9000, "%0"),
                             ["b.lua"] = policy("b", 9000, "%0") }))
    assert.same({
      "b.lua:5: ca_file differs from that in a.lua, which is for the same "
        .. "issuer",
      "b.lua:5: must = anyone beside a.lua, which is for the same issuer and "
        .. "audience" },
      errors({ ["a.lua"] = policy("a", 9000, "%0"),
               ["b.lua"] = policy("a", 9000, "must = anyone, ca_file = 'x'")
      }))
  end)

  it("takes no word that was not made by one", function()
    local forged = "is no word of a policy: write glob(…), present and the "
      .. "like as they are"
    for _, word in ipairs({
      "{ __word = {}, count = 1 }", "{ __word = 5 }", "{ __word = false }",
      '{ __word = "glob" }', '{ __word = "glob", count = 2.5, "a" }',
      '{ __word = "glob", count = "1", "a" }', '{ __word = "nonsense" }',
      '{ __word = "glob", count = 1, "a", "b" }',
      '{ __word = "glob", count = -1 }', '{ __word = "https", count = 1, "a" }',
      '{ __word = "pick", "a", { b = "c" } }',
      '{ __word = "glob", count = 1, "a", x = 1 }',
      '{ __word = "present", count = 1 }', '{ __word = "go" }',
      '{ __word = "anyone", repository = "acme/firmware" }',
      "{ __word = function() end }",
    }) do
      assert.same({ "p.lua:4: must.ref " .. forged },
                  after('ref = "main"', "ref = " .. word))
      assert.same({ "p.lua:4: must " .. forged },
                  after('must = { ref = "main" }', "must = " .. word))
      for _, field in ipairs({ "issuer", "audience", "san", "check", "set",
                               "default", "extensions", "challenge",
                               "provider", "template", "ca_file", "internal",
                               "issuer_name", "unverified_email" }) do
        local found = table.concat(errors({ ["p.lua"] =
          ("return {\n%s = { a = { %s } } }"):format(field, word) }), "\n")
        assert.matches(("p.lua:2: %s.a.1 %s"):format(field, forged), found, 1,
                       true)
      end
      assert.same({ "p.lua:1: what it returns " .. forged },
                  errors({ ["p.lua"] = "return " .. word }))
    end
  end)

  it("takes no number that no claim can be", function()
    for text, shown in pairs({ ["0/0"] = "%-?nan", ["1/0"] = "inf",
                               ["-1/0"] = "%-inf" }) do
      local found = after('ref = "main"', "ref = { 1, " .. text .. " }")
      assert.equal(1, #found)
      assert.matches("^p.lua:4: must.ref.2 is " .. shown
                     .. ": no claim has such a number", found[1])
    end
    assert.same({}, after('ref = "main"', "ref = { -0.0, 2^63, 1e300 }"))
  end)

  it("wants lists that are lists", function()
    for _, list in ipairs({ '{ x = "%s" }', '{ "%s", x = "%s" }',
                            '{ "%s", [3] = "%s" }', '{ "%s", [-1] = "%s" }',
                            '{ "%s", [2^53] = "%s" }',
                            '{ [0] = "%s", "%s" }', '{ "%s", [1.5] = "%s" }'
                          }) do
      local function listed(text) return (list:gsub("%%s", text)) end
      assert.same({ "p.lua:2: issuer is no list: { \"…\", \"…\" }" },
        after('"https://issuer.example.com"', listed("https://i.example")))
      assert.same({ "p.lua:3: audience is no list: { \"…\", \"…\" }" },
        after('"sigstore"', listed("sigstore")))
      assert.same({ "p.lua:5: challenge is no list: { \"…\", \"…\" }" },
        after("  san", "challenge = " .. listed("{sub}") .. ",\n san"))
    end
  end)

  it("refuses a text that is no path, URL or claim", function()
    local cases = {
      { "  san", 'ca_file = "a\\0b",\n  san', "5: ca_file must be a file "
        .. "name" },
      { "  san", 'provider = "a\\0b",\n  san',
        '5: there is no provider "a\\x00b"' },
      { "  san", 'template = "a\\0b",\n  san',
        '5: there is no template "a\\x00b"' },
      { '"https://issuer.example.com"', '"https://a\\0b.example"',
        '2: issuer "https://a\\x00b.example" is not a URL: https://HOST/…' },
      { '"https://issuer.example.com"', '"https://a.example/\\255"',
        '2: issuer "https://a.example/\\xff" is not a URL: https://HOST/…' },
      { '"https://issuer.example.com"', 'glob("https://*.example/\\0")',
        '2: issuer "https://*.example/\\x00" is not a URL: https://HOST/…' },
      { '"sigstore"', '"sig\\255"', '3: audience: "sig\\xff" must be a text '
        .. "that prints, not empty" },
      { "  san", 'set = { a = "b\\nc" },\n  san',
        "5: set.a has a character that does not print" },
      { "  san", 'default = { a = "\\255" },\n  san',
        "5: default.a has a character that does not print" },
      { "ci.example.com", "ci.example.com\\n",
        '5: san.uri: "https://ci.example.com\\n/{ref}" has a '
        .. "character that does not print" },
    }
    for _, row in ipairs(cases) do
      local found = after(row[1], row[2])
      assert.same({ "p.lua:" .. row[3] }, found)
    end
  end)

  it("quotes no text in a way that makes a second line", function()
    local odd = "a\\nfake.lua:1: all is well"
    for _, text in ipairs({
      '["%s"] = 1', 'must = { ["%s?"] = 1 }', 'set = { ["%s"] = 1 }',
      'extensions = { ["%s"] = 1 }', 'extensions = { ["1.%s"] = "x" }',
      'san = { ["%s"] = "x" }', 'san = { uri = "{%s" }',
      'san = { uri = "{ %s}" }', 'san = { uri = "{%s?}" }',
      'san = { uri = url("%s") }', 'issuer = "%s"', 'issuer = glob("%s")',
      'issuer = { "%s*" }', 'provider = "%s"', 'template = "%s"',
      'must = { a = within("%s") }', 'must = { a = spiffe("%s") }',
      'must = { a = match("(%s") }', 'must = { ["%s"] = "" }',
      'extensions = { ["%s"] = false }', 'ca_file = "%s"',
      'internal = "%s"', 'must = { a = { ["%s"] = { ["%s"] = 0/0 } } }',
      'a = ({})["%s"].b', 'a = "x" "%s"', 'a = { ["%s"] = { [true] = 1 } }',
    }) do
      local found = errors({ ["p.lua"] = "return { " .. text:gsub("%%s", odd)
                             .. " }" })
      for _, line in ipairs(found) do
        assert.is_nil(line:find("[%c\127]"), line)
        assert.matches("^p.lua:1: ", line)
        assert.is_true(#line < 1100)
      end
      assert.is_true(#found > 0)
    end
  end)

  it("cuts a long text that it quotes", function()
    local long = ("x"):rep(30000)
    local found = errors({ ["p.lua"] = "return { ['" .. long .. "'] = 1 }" })
    assert.matches('unknown field "' .. ("x"):rep(80) .. '…"',
                   table.concat(found, "\n"), 1, true)
  end)

  it("reports what throws as a mistake of that file", function()
    local compile = require("fulcio.compile")
    local log = require("fulcio.log")
    local piece, lines = compile.piece, {}
    finally(function()
      compile.piece = piece
      log.open({ mode = "prod" })
    end)
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
    compile.piece = function(data, report, options)
      if options.name == "b.lua" or options.name == "providers/x.lua" then
        error("odd")
      end
      return piece(data, report, options)
    end
    local found = errors({
      ["a.lua"] = GOOD:gsub("san =", "sann ="), ["b.lua"] = GOOD,
      ["c.lua"] = GOOD:gsub("san =", 'provider = "x", san ='),
    }, { providers = { x = "return {}" } })
    assert.equal(4, #found, table.concat(found, "\n"))
    assert.matches("^a.lua:5: unknown field", found[2])
    assert.matches("^b.lua:1: cannot be read: .*odd", found[3])
    assert.matches("^providers/x.lua:1: cannot be read: .*odd", found[4])
    assert.equal(2, #lines)
    assert.matches('"severity":"ERROR"', lines[1], 1, true)
    assert.matches("stack traceback", lines[1], 1, true)
  end)
end)
