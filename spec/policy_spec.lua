local engine = require("fulcio.engine")
local policy = require("fulcio.policy")
local refusal = require("fulcio.refusal")

local ISSUER = "https://issuer.example.com"

-- A policy of one issuer with further fields, as Lua text.
local function file(fields, issuer)
  return ('return { issuer = %s, audience = "sigstore",\n%s }'):format(
    issuer or ('"%s"'):format(ISSUER), fields)
end

local BASE = 'must = anyone, san = { uri = "https://ci.example.com/{sub}" },'

-- A set of policies, "NAME.lua" to text.
local function load(files, options)
  if type(files) == "string" then files = { ["p.lua"] = files } end
  local sources = {}
  for name, text in pairs(files) do
    sources[#sources + 1] = { name = name, text = text }
  end
  return policy.load(sources, options)
end

local function claims(more)
  local token = { iss = ISSUER, aud = "sigstore", sub = "s" }
  for name, value in pairs(more or {}) do token[name] = value end
  return token
end

local function decide(fields, more)
  return assert(load(file(fields))):decide(claims(more))
end

local function refused(fields, more)
  local grant, why = decide(fields, more)
  assert.is_nil(grant)
  assert.is_true(refusal.is(why))
  return why.reason, why.client.claim, why
end

-- What an extension says, by Fulcio's name or OID.
local function said(grant, name)
  for i, extension in ipairs(grant.extensions) do
    if extension.name == name then return grant.texts[i] end
  end
end

describe("policy", function()
  describe("must", function()
    -- { what must be, a value that fits, one that does not }
    local rows = {
      { '"a"', "a", "b" },
      { '"1"', "1", 1 },
      { "1", 1, "1" },
      { "true", true, "true" },
      { "false", false, "false" },
      { '{ "a", "b" }', "b", "c" },
      { '{ "a", glob("b*") }', "bc", "cb" },
      { 'glob("refs/tags/*")', "refs/tags/v1", "refs/tags/a/b" },
      { 'glob("refs/**")', "refs/tags/a/b", "refs/tags/../b" },
      { 'glob("refs/**")', "refs/tags/a", "refs/tags/a\nb" },
      { 'match("v[0-9]+")', "v12", "xv12" },
      { 'match("v[0-9]+")', "v12", "v12\n" },
      { "present", "x", "" },
      { "present", false, nil },
      { "integer", 7, 7.5 },
      { "integer", 7, "7" },
      { 'within("https://users.example.com")',
        "https://users.example.com/a?b#c", "https://users.example.com.evil/" },
      { 'within("https://users.example.com")',
        "https://users.example.com:8443/", "http://users.example.com/" },
      { 'within("https://users.example.com")',
        "https://u@users.example.com/", "https://users.example.com@evil/" },
      { 'within("https://users.example.com")',
        "https://users.example.com", "https://USERS.example.com/" },
      { 'spiffe("example.com")', "spiffe://example.com/a",
        "spiffe://example.com.evil/a" },
      { 'spiffe("example.com")', "spiffe://example.com",
        "spiffe://sub.example.com/a" },
      { 'has("admins")', { "users", "admins" }, { "users" } },
      { 'has("admins")', { "admins" }, "admins" },
      { 'has(glob("team-*"))', { "team-a" }, { "teams" } },
      { '"admins"', "admins", { "admins" } },
    }

    for _, row in ipairs(rows) do
      it("x = " .. row[1] .. " takes " .. tostring(row[2]) .. " and not "
         .. tostring(row[3]):gsub("%c", "?"), function()
        local fields = 'must = { x = ' .. row[1] .. ' }, san = '
          .. '{ uri = "https://ci.example.com/{sub}" },'
        assert(decide(fields, { x = row[2] }))
        local reason, claim = refused(fields, { x = row[3] })
        local absent = row[3] == nil or row[3] == ""
        assert.equal(absent and "CLAIM_MISSING" or "MUST_NOT_MET", reason)
        assert.equal("x", claim)
      end)
    end

    it("names every claim that is not as it must be", function()
      local fields = 'must = { a = "1", b = "2", c = "3" }, '
        .. 'san = { uri = "{sub}" },'
      local reason, claim, why = refused(fields, { a = "1", b = "x" })
      assert.equal("MUST_NOT_MET", reason)
      assert.equal("b, c", claim)
      assert.equal('b: "2"; c: "3"', why.log.must)
    end)

    it("takes email_verified as a text, and nothing else converted",
       function()
      local fields = 'must = { email_verified = true }, '
        .. 'san = { uri = "{sub}" },'
      assert(decide(fields, { email_verified = true }))
      assert(decide(fields, { email_verified = "true" }))
      assert(decide(fields, { email_verified = "True" }))
      for _, value in ipairs({ "yes", "TRUE", 1, false, "false" }) do
        assert.equal("MUST_NOT_MET",
                     refused(fields, { email_verified = value }))
      end
    end)

    it("walks into objects, and refuses a path with two meanings",
       function()
      local fields = 'must = { ["a/b"] = "x" }, san = { uri = "{sub}" },'
      assert(decide(fields, { a = { b = "x" } }))
      assert(decide(fields, { ["a/b"] = "x" }))
      local reason, claim = refused(fields, { ["a/b"] = "x",
                                              a = { b = "x" } })
      assert.equal("CLAIM_INVALID", reason)
      assert.equal("a/b", claim)
    end)

    it("takes claims of any name", function()
      for _, name in ipairs({ "word", "count", "1", "a b" }) do
        local fields = ('must = { [%q] = "x" }, san = { uri = "{sub}" }, '
          .. 'set = { [%q] = "y" },'):format(name, name)
        assert(decide(fields, { [name] = "x" }))
        local _, claim = refused(fields, { [name] = "z" })
        assert.equal(name, claim)
      end
    end)

    it("never looks at set or default", function()
      local fields = 'must = { x = "a" }, set = { x = "a" }, '
        .. 'san = { uri = "{sub}" },'
      assert.equal("CLAIM_MISSING", refused(fields))
    end)
  end)

  describe("text", function()
    local function says(text, more, extra)
      local grant, why = decide(BASE .. (extra or "")
        .. "extensions = { build_trigger = " .. text .. " },", more)
      if not grant then return nil, why.reason, why.client.claim end
      return said(grant, "build_trigger")
    end

    -- { text, claims, what it says, or nil, reason, claim }
    local rows = {
      { '"{x}"', { x = "a" }, "a" },
      { '"a{x}b{y}"', { x = "1", y = "2" }, "a1b2" },
      { '"{{x}"', { x = "a" }, "{x}" },
      { '"{x}"', { x = "{y}%1{{", y = "b" }, "{y}%1{{" },
      { '"{x}"', { x = 5 }, "5" },
      { '"{x}"', { x = -0.0 }, "-0" },
      { '"{x}"', { x = 9007199254740992 }, "9007199254740992" },
      { '"{x}"', { x = 1.5 }, "1.5" },
      { '"{x}"', { x = 1e-7 }, "0.0000001" },
      { '"{x}"', { x = true }, "true" },
      { '"{x}"', {}, nil, "CLAIM_MISSING", "x" },
      { '"{x}"', { x = "" }, nil, "CLAIM_MISSING", "x" },
      { '"{x}"', { x = engine.claims.null }, nil, "CLAIM_MISSING", "x" },
      { '"{x}"', { x = { "a" } }, nil, "CLAIM_INVALID", "x" },
      { '"{x}"', { x = { a = 1 } }, nil, "CLAIM_INVALID", "x" },
      { '"{x}"', { x = 2 ^ 60 }, nil, "CLAIM_INVALID", "x" },
      { '"{x}"', { x = "a\nb" }, nil, "CLAIM_INVALID", "x" },
      { '"{x}"', { x = "a\194\133b" }, nil, "CLAIM_INVALID", "x" },
      { '"{x}"', { x = ("a"):rep(2049) }, nil, "CLAIM_INVALID", "x" },
      { '"{a/b}"', { a = { b = "c" } }, "c" },
      { '"{a/b}"', { ["a/b"] = "c" }, "c" },
      { '"{h/a/b}"', { ["h/a"] = { b = "c" } }, "c" },
      { '"{a/b}"', { ["a/b"] = "c", a = { b = "d" } }, nil,
        "CLAIM_INVALID", "a/b" },
      { '"{a/b}"', { ["a/b"] = "c", a = { b = "" } }, "c" },
      { 'pick("k", { a = "1", b = "{x}" })', { k = "b", x = "2" }, "2" },
      { 'pick("k", { a = "1" })', { k = "b" }, nil, "CLAIM_INVALID", "k" },
      { 'pick("k", { a = "1" })', {}, nil, "CLAIM_MISSING", "k" },
      { 'pick("k", { a = "1" }, "o{x}")', { k = "z", x = "2" }, "o2" },
      { 'pick("k", { a = "1" }, "o")', {}, "o" },
      { 'pick("k", { ["true"] = "1" })', { k = true }, "1" },
      { 'pick("k", { a = "1" })', { k = { "a" } }, nil, "CLAIM_INVALID",
        "k" },
      { 'url("https://h.example", "{x}")', { x = "a/../b c" },
        "https://h.example/b%20c" },
      { 'url("{x}", "a")', {}, nil, "CLAIM_MISSING", "x" },
    }

    for i, row in ipairs(rows) do
      it(("%d: %s is %s"):format(i, row[1], row[3] or row[4]), function()
        local text, reason, claim = says(row[1], row[2])
        assert.equal(row[3], text)
        assert.equal(row[4], reason)
        assert.equal(row[5], claim)
      end)
    end

    it("drops an extension with an absent {claim?}, whole", function()
      local grant = assert(decide(BASE
        .. 'extensions = { build_trigger = "a{x?}b" },'))
      assert.is_nil(said(grant, "build_trigger"))
      grant = assert(decide(BASE
        .. 'extensions = { build_trigger = "a{x?}b" },', { x = "1" }))
      assert.equal("a1b", said(grant, "build_trigger"))
    end)

    it("drops an extension where pick says false", function()
      local grant = assert(decide(BASE
        .. 'extensions = { build_trigger = pick("k", { a = "1" }, false) },',
        { k = "b" }))
      assert.is_nil(said(grant, "build_trigger"))
    end)

    it("lets the operator's constant win over a claim", function()
      assert.equal("o", says('"{x}"', { x = "evil" }, 'set = { x = "o" },'))
    end)

    it("lets the token win over a default", function()
      local default = 'default = { x = "o" },'
      assert.equal("t", says('"{x}"', { x = "t" }, default))
      assert.equal("o", says('"{x}"', {}, default))
      assert.equal("o", says('"{x}"', { x = "" }, default))
    end)
  end)

  describe("grant", function()
    it("has issuer, subject and Fulcio's order, own OIDs last by number",
       function()
      local grant = assert(decide(BASE .. [[
        extensions = {
          ["1.3.6.1.4.1.32473.10"] = "ten", ["1.3.6.1.4.1.32473.9"] = "nine",
          run_invocation_uri = "r", github_workflow_sha = "g",
        },]]))
      local order = {}
      for i, extension in ipairs(grant.extensions) do
        order[i] = extension.oid:match("57264%.1%.(%d+)$")
          or grant.texts[i]
      end
      assert.same({ "1", "3", "8", "21", "24", "nine", "ten" }, order)
      assert.equal("p.lua", grant.policy)
      assert.equal(ISSUER, grant.issuer)
      assert.equal("s", grant.subject)
      assert.equal("leaf", grant.template.name)
    end)

    it("has .1 to .6 raw and leaves the others to be UTF8Strings", function()
      local grant = assert(decide(BASE
        .. 'extensions = { github_workflow_sha = "é", build_trigger = "é" },'))
      local raw, texts = {}, {}
      for i, extension in ipairs(grant.extensions) do
        raw[extension.name] = extension.raw
        texts[extension.name] = grant.texts[i]
      end
      assert.same({ issuer = true, github_workflow_sha = true }, raw)
      assert.equal(ISSUER, texts.issuer)
      assert.equal("é", texts.github_workflow_sha)
      assert.equal("é", texts.build_trigger)
    end)

    it("leaves the subject out when the token has none", function()
      local set = assert(load(file('must = anyone, challenge = "{x}", '
        .. 'san = { uri = "{x}" },')))
      local grant = assert(set:decide({ iss = ISSUER, aud = { "sigstore" },
                                        x = "y" }))
      assert.is_nil(said(grant, "subject"))
      assert.equal("y", grant.challenge)
    end)
  end)

  describe("name", function()
    local function name(san, more)
      local grant, why = decide("must = anyone, san = { " .. san .. " },",
                                more)
      if not grant then return nil, why.reason, why.client.claim end
      return grant.san.type .. " " .. grant.san.value
    end

    local verified = { email = "A.b+c@Example.COM", email_verified = true }

    it("keeps an address byte for byte", function()
      assert.equal("email A.b+c@Example.COM", name('email = "{email}"',
                                                   verified))
    end)

    it("refuses what is no address", function()
      for _, address in ipairs({ "x", "a b@example.com", "@example.com",
                                 "a@b", "a@example.com ", "a@@example.com",
                                 "ünïcode@example.com", "a@example.c\0m",
                                 "a@example.com\nbcc@example.com" }) do
        local text, reason, claim = name('email = "{email}"', {
          email = address, email_verified = true })
        assert.is_nil(text)
        assert.equal("CLAIM_INVALID", reason)
        assert.equal("email", claim)
      end
    end)

    it("writes a URI as Go does", function()
      assert.equal("uri https://h.example/a%20b",
                   name('uri = "https://h.example/{x}"', { x = "a b" }))
    end)

    it("refuses a URI that does not parse", function()
      local text, reason, claim = name('uri = "https://h.example/{x}"',
                                       { x = "%zz" })
      assert.is_nil(text)
      assert.equal("CLAIM_INVALID", reason)
      assert.equal("x", claim)
    end)

    it("makes a username an otherName", function()
      local grant = assert(decide(
        'must = anyone, san = { username = "{sub}!example.com" },',
        { sub = "ålice" }))
      assert.same({ type = "other", oid = "1.3.6.1.4.1.57264.1.7",
                    value = "ålice!example.com" }, grant.san)
    end)

    it("refuses a username with ! or that is an address", function()
      for _, sub in ipairs({ "a!b", "a@example.com" }) do
        local text, reason, claim = name('username = "{sub}!example.com"',
                                         { sub = sub })
        assert.is_nil(text)
        assert.equal("CLAIM_INVALID", reason)
        assert.equal("sub", claim)
      end
      assert.equal("CLAIM_MISSING", select(2,
        name('username = "{sub}!example.com"', { sub = "" })))
    end)
  end)

  describe("proof", function()
    local EMAIL = 'must = anyone, san = { email = "{email}" },'
    local good = { email = "a@example.com", email_verified = true }

    it("is over the address when the name is exactly that", function()
      assert.equal("a@example.com", assert(decide(EMAIL, good)).challenge)
    end)

    it("is over sub otherwise", function()
      assert.equal("s", assert(decide(BASE)).challenge)
    end)

    it("is over the first of a list that is present", function()
      local fields = BASE .. 'challenge = { "{email}", "{sub}" },'
      assert.equal("a@example.com", assert(decide(fields, good)).challenge)
      assert.equal("s", assert(decide(fields)).challenge)
      assert.equal("CLAIM_MISSING", refused(fields, { sub = "" }))
    end)

    it("comes from the token alone", function()
      local fields = BASE .. 'set = { sub = "x" }, default = { y = "x" },'
      assert.equal("s", assert(decide(fields)).challenge)
      assert.equal("CLAIM_MISSING", refused(fields .. 'challenge = "{y}",'))
    end)

    it("wants a verified address wherever one is read", function()
      local unverified = { email = "a@example.com" }
      local reads = {
        EMAIL,
        BASE .. 'challenge = { "{email}", "{sub}" },',
        BASE .. 'extensions = { build_trigger = "{email?}" },',
        'must = { email = glob("*@example.com") }, san = { uri = "{sub}" },',
      }
      for _, fields in ipairs(reads) do
        local reason, claim = refused(fields, unverified)
        assert.equal("EMAIL_NOT_VERIFIED", reason)
        assert.equal("email_verified", claim)
        assert(decide(fields, good))
      end
      assert(decide(BASE, unverified))
    end)

    it("takes no other word for verified", function()
      for _, value in ipairs({ false, "false", "yes", 1, { true } }) do
        assert.equal("EMAIL_NOT_VERIFIED", refused(EMAIL, {
          email = "a@example.com", email_verified = value }))
      end
    end)

    it("does without when the policy says so, but not with nonsense",
       function()
      local fields = EMAIL .. "unverified_email = true,"
      assert(decide(fields, { email = "a@example.com" }))
      assert(decide(fields, { email = "a@example.com",
                              email_verified = "False" }))
      assert.equal("EMAIL_NOT_VERIFIED", refused(fields, {
        email = "a@example.com", email_verified = "perhaps" }))
    end)

    it("has the issuer's name from a claim, for addresses", function()
      local fields = EMAIL .. 'issuer_name = "{federated/connector}",'
      local grant = assert(decide(fields, {
        email = "a@example.com", email_verified = true,
        federated = { connector = "https://github.com/login/oauth" } }))
      assert.equal("https://github.com/login/oauth", said(grant, "issuer"))
      assert.equal("https://github.com/login/oauth", said(grant, "issuer_v2"))
      local reason, claim = refused(fields, good)
      assert.equal("CLAIM_MISSING", reason)
      assert.equal("federated/connector", claim)
    end)

    it("has no empty issuer's name", function()
      local nameless = { email = "a@example.com", email_verified = true,
                         name = "" }
      assert.equal("CLAIM_MISSING",
        refused(EMAIL .. 'issuer_name = "{name}",', nameless))
      assert.equal("CLAIM_MISSING",
        refused(EMAIL .. 'issuer_name = "{name}{name}",', nameless))
    end)
  end)

  describe("check", function()
    local function checked(body)
      return BASE .. "check = function(claims) " .. body .. " end,"
    end

    it("may refuse, and its words are for the log", function()
      local fields = checked(
        'return claims.event ~= "pull_request", "no pull requests"')
      assert(decide(fields, { event = "push" }))
      local reason, claim, why = refused(fields, { event = "pull_request" })
      assert.equal("CHECK_REFUSED", reason)
      assert.is_nil(claim)
      assert.equal("no pull requests", why.log.detail)
    end)

    it("grants by true alone", function()
      for _, value in ipairs({ "nil", "false", "1", '"yes"', "{}" }) do
        assert.equal("CHECK_REFUSED", refused(checked("return " .. value)))
      end
      assert.equal("CHECK_REFUSED", refused(checked("")))
    end)

    it("refuses when it fails, and says where", function()
      local reason, _, why = refused(checked("return claims.x.y == 1"))
      assert.equal("CHECK_REFUSED", reason)
      assert.truthy(why.log.detail:find("p.lua:2", 1, true))
    end)

    it("refuses when it takes too long", function()
      local reason, _, why = refused(checked("while true do end"))
      assert.equal("CHECK_REFUSED", reason)
      assert.truthy(why.log.detail:find("too long", 1, true))
    end)

    it("sees absent claims as nil, and lists as lists", function()
      local fields = checked([[
        return claims.a == nil and claims.b == nil and claims.c[2] == "y"
          and claims.d.e == 1]])
      assert(decide(fields, { a = "", b = engine.claims.null,
                              c = { "x", "y" }, d = { e = 1 } }))
    end)

    it("cannot change the claims that fill the certificate", function()
      local fields = checked('claims.sub = "other" return true')
      assert.equal("uri https://ci.example.com/s", (function()
        local grant = assert(decide(fields))
        return grant.san.type .. " " .. grant.san.value
      end)())
    end)
  end)

  describe("choosing", function()
    local function policies(files)
      local texts = {}
      for name, row in pairs(files) do
        texts[name] = file(row[1], row[2])
      end
      return assert(load(texts))
    end

    it("asks files by name, and the first that holds decides", function()
      local set = policies({
        ["b.lua"] = { 'must = { x = present }, san = { uri = "b:{sub}" },' },
        ["a.lua"] = { 'must = { x = "1" }, san = { uri = "a:{sub}" },' },
      })
      assert.equal("a.lua", set:decide(claims({ x = "1" })).policy)
      assert.equal("b.lua", set:decide(claims({ x = "2" })).policy)
    end)

    it("asks exact issuers before globs", function()
      local set = policies({
        ["a.lua"] = { BASE, 'glob("https://*.example.com")' },
        ["b.lua"] = { 'must = { x = "1" }, san = { uri = "{sub}" },' },
      })
      assert.equal("b.lua", set:decide(claims({ x = "1" })).policy)
      assert.equal("a.lua", set:decide(claims()).policy)
      local other = claims()
      other.iss = "https://other.example.com"
      assert.equal("a.lua", set:decide(other).policy)
      other.iss = "https://a.b.example.com"
      assert.equal("UNKNOWN_ISSUER", select(2, set:decide(other)).reason)
    end)

    it("does not try another after a failure while filling", function()
      local set = policies({
        ["a.lua"] = { 'must = { x = "1" }, san = { uri = "{missing}" },' },
        ["b.lua"] = { 'must = { x = present }, san = { uri = "{sub}" },' },
      })
      local _, why = set:decide(claims({ x = "1" }))
      assert.equal("CLAIM_MISSING", why.reason)
      assert.equal("a.lua", why.log.policy)
    end)

    it("does not try another after a pattern that takes too long",
  function()
    local set = assert(load({
      ["a.lua"] = file('must = { x = match("(a+)+b") }, san = { uri = "{x}" }'),
      ["b.lua"] = file((BASE:gsub("anyone", "{ x = present }"))) }))
    local grant, why = set:decide(claims({ x = ("a"):rep(40) .. "b!" }))
    assert.is_nil(grant)
    assert.equal("MUST_NOT_MET", why.reason)
    assert.equal("x", why.client.claim)
    assert.equal("a.lua", why.log.policy)
    assert.equal('x: match("(a+)+b"), which takes too long', why.log.must)
    assert.equal("b.lua", assert(set:decide(claims({ x = "aa" }))).policy)
  end)

  it("tries the next when a check refuses, not when it fails", function()
      local set = policies({
        ["a.lua"] = { 'must = { x = present }, san = { uri = "a:{sub}" },'
          .. 'check = function(c) return c.x ~= "no" and c.x.y == nil end,' },
        ["b.lua"] = { 'must = { x = present }, san = { uri = "b:{sub}" },' },
      })
      assert.equal("b.lua", set:decide(claims({ x = "no" })).policy)
      set = policies({
        ["a.lua"] = { 'must = { x = present }, san = { uri = "a:{sub}" },'
          .. 'check = function(c) return c.nothing.y end,' },
        ["b.lua"] = { 'must = { x = present }, san = { uri = "b:{sub}" },' },
      })
      assert.equal("CHECK_REFUSED",
                   select(2, set:decide(claims({ x = "1" }))).reason)
    end)

    it("asks no more policies when their checks took long enough", function()
      local rest = 'must = { x = present }, san = { uri = "{sub}" },'
      local files = { ["z.lua"] = { rest } }
      for i = 1, 25 do
        files[("a%02d.lua"):format(i)] = { rest .. " check = function()"
          .. " for _ = 1, 200000 do end return false end," }
      end
      assert.equal("CHECK_REFUSED",
        select(2, policies(files):decide(claims({ x = "1" }))).reason)
    end)

    it("lets no check use up what another's needs", function()
      local set = policies({
        ["a.lua"] = { 'must = { x = "a" }, san = { uri = "{sub}" },'
          .. "check = (function() local kept return function()"
          .. " while true do kept = { kept } end end end)()," },
        ["b.lua"] = { 'must = { x = "b" }, san = { uri = "{sub}" },'
          .. "check = function(c) return c.x == 'b' end," },
      })
      for _ = 1, 20 do assert.is_nil((set:decide(claims({ x = "a" })))) end
      local many = {}
      for i = 1, 3000 do many[i] = { ("%d"):format(i) } end
      assert(set:decide(claims({ x = "b", many = many })))
    end)

    it("names the refusal that came nearest", function()
      local set = policies({
        ["a.lua"] = { 'must = { x = present }, san = { uri = "{sub}" },' },
        ["b.lua"] = { 'must = { y = "1" }, san = { uri = "{sub}" },' },
      })
      local _, why = set:decide(claims({ y = "2" }))
      assert.equal("MUST_NOT_MET", why.reason)
      assert.equal("y", why.client.claim)
    end)

    it("accepts any of its audiences", function()
      local set = assert(load('return { issuer = "' .. ISSUER .. '", '
        .. 'audience = { "a", "b" }, ' .. BASE .. "}"))
      assert(set:decide(claims({ aud = "b" })))
      assert(set:decide(claims({ aud = { "x", "a" } })))
      assert.equal("WRONG_AUDIENCE",
                   select(2, set:decide(claims({ aud = "c" }))).reason)
      assert.equal("WRONG_AUDIENCE",
                   select(2, set:decide({ iss = ISSUER })).reason)
    end)
  end)

  describe("match", function()
    it("tells what is known of an issuer", function()
      local set = assert(load({
        ["a.lua"] = file(BASE .. 'ca_file = "ca.pem", internal = true,'),
        ["b.lua"] = 'return { issuer = glob("https://*.example.com"), '
          .. 'audience = { "x", "y" }, ' .. BASE .. "}",
      }))
      assert.same({ audiences = { sigstore = true, x = true, y = true },
                    ca_file = "ca.pem", internal = true, exact = true,
                    wildcard = false }, set:match(ISSUER))
      assert.same({ audiences = { x = true, y = true }, internal = false,
                    exact = false, wildcard = true },
                  set:match("https://z.example.com"))
      assert.is_nil(set:match("https://example.com"))
      assert.is_nil(set:match(ISSUER .. "/"))
    end)

    it("takes a CA file from beside its policy", function()
      local set = assert(policy.load({ { name = "p.lua", dir = "/etc/p",
        text = file(BASE .. 'ca_file = "ca.pem",') } }))
      assert.equal("/etc/p/ca.pem", set:match(ISSUER).ca_file)
    end)
  end)

  describe("read", function()
    it("reads a folder's files, sorted", function()
      local sources = assert(policy.read("policies/issuers"))
      assert.equal("aks.lua", sources[1].name)
      assert.equal("policies/issuers", sources[1].dir)
    end)

    it("says what is wrong with a folder", function()
      local sources, message, code = policy.read("policies/none")
      assert.is_nil(sources)
      assert.is_string(message)
      assert.equal("no_file", code)
      sources, message = policy.read("policies")
      assert.is_nil(sources)
      assert.equal("policies: no policies in it (*.lua)", message)
    end)
  end)

  it("lists its issuers for the configuration address", function()
    local set = assert(load({
      ["a.lua"] = file('must = anyone, provider = "email",'),
      ["b.lua"] = file('must = { sub = spiffe("example.com") }, '
        .. 'provider = "spiffe",', 'glob("https://*.example.org")'),
    }))
    assert.same({
      { issuer = ISSUER, audience = "sigstore", type = "email",
        challenge_claim = "email", skip_email_verification = false },
      { wildcard = "https://*.example.org", audience = "sigstore",
        type = "spiffe", challenge_claim = "sub",
        spiffe_trust_domain = "example.com",
        skip_email_verification = false },
    }, set:issuers())
  end)
end)
