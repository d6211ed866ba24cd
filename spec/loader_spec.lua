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
      '3: audience: "" must be a text, not empty' },
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
end)
