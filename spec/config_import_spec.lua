local cjson = require("cjson")
local config_import = require("fulcio.config_import")
local configuration = require("spec.configuration")
local engine = require("fulcio.engine")
local files = require("spec.files")
local log = require("fulcio.log")
local policy = require("fulcio.policy")

local read = files.read

local config, provider = configuration.issuer, configuration.provider

local PUBLIC = "spec/fixtures/fulcio-config"

local function load(text)
  return policy.load(assert(config_import.parse("config.json", text)), {})
end

local function decide(text, claims)
  claims.iss = claims.iss or "https://i.example.com"
  claims.aud, claims.sub = claims.aud or "sigstore", claims.sub or "s"
  return assert(load(text)):decide(claims)
end

local function said(grant, name)
  for i, extension in ipairs(grant.extensions) do
    if extension.name == name then return grant.texts[i] end
  end
end

-- A GitLab token whose pipeline is defined there.
local function gitlab(place)
  local claims = { ref_type = "branch", runner_id = 1,
                   ci_config_ref_uri = place }
  for name in ([[project_path pipeline_source pipeline_id job_id ref
      namespace_path namespace_id project_id sha
      runner_environment]]):gmatch("%S+") do
    claims[name] = "x"
  end
  return claims
end

describe("config_import", function()
  it("names a GitLab pipeline as Go writes its URL", function()
    local text = config({ Type = "gitlab-pipeline" })
    for place, name in pairs({
        ["gitlab.com/a//.gitlab-ci.yml@refs/heads/main"] =
          "https://gitlab.com/a//.gitlab-ci.yml@refs/heads/main",
        ["//evil.example/x"] = "https://evil.example/x",
        ["http://h.example/x"] = "https://h.example/x",
        ["/x"] = "https:///x" }) do
      local grant = assert(decide(text, gitlab(place)))
      assert.same({ name, name, name }, { grant.san.value,
        said(grant, "build_config_uri"), said(grant, "build_signer_uri") })
    end
  end)

  it("refuses a GitLab pipeline that is nowhere in Go's words", function()
    for place, words in pairs({
        ["a b"] = 'x509: cannot parse URI "https://a%20b": parse'
          .. ' "https://a%20b": invalid URL escape "%20"',
        ["a|b"] = 'x509: cannot parse URI "https://a%7Cb": parse'
          .. ' "https://a%7Cb": invalid URL escape "%7C"',
        ["%zz"] = 'parse "%zz": invalid URL escape "%zz"' }) do
      local none, refused = decide(config({ Type = "gitlab-pipeline" }),
                                   gitlab(place))
      assert.is_nil(none)
      assert.equal(words, refused.message)
    end
  end)

  it("reads the public configuration alike as YAML and JSON", function()
    local yaml = assert(config_import.parse("c", read(PUBLIC .. ".yaml")))
    local json = assert(config_import.parse("c", read(PUBLIC .. ".json")))
    assert.equal(31, #yaml)
    for _, sources in ipairs({ yaml, json }) do
      for _, source in ipairs(sources) do
        source.line, source.path, source.import = nil, nil, nil
      end
    end
    assert.same(yaml, json)
  end)

  describe("refuses what Fulcio refuses to load:", function()
    -- { issuer, Fulcio's words, the section it stands in }
    local rows = {
      { { Type = "spiffe" }, "spiffe issuer must have SPIFFETrustDomain set" },
      { { Type = "spiffe", SPIFFETrustDomain = "Ex ample" },
        "spiffe trust domain is invalid" },
      { { Type = "spiffe", SPIFFETrustDomain = "example.com" },
        "SPIFFE meta issuers not supported", "MetaIssuers" },
      { { Type = "uri" }, "uri issuer must have SubjectDomain set" },
      { { Type = "uri", SubjectDomain = "example.com" },
        "SubjectDomain for uri must contain scheme" },
      { { Type = "uri", SubjectDomain = "http://example.com" },
        "subject (http) and issuer (https) URI schemes do not match" },
      { { Type = "uri", SubjectDomain = "https://example.org" },
        "hostname top-level and second-level domains do not match: "
        .. "example.org, i.example.com" },
      { { Type = "username" }, "username issuer must have SubjectDomain set" },
      { { Type = "username", SubjectDomain = "https://example.com" },
        "SubjectDomain for username should not contain scheme" },
      { { Type = "username", SubjectDomain = "localhost" },
        "URI hostname too short: localhost" },
      { { Type = "username", SubjectDomain = "example.com",
          IssuerURL = "i.example.com" },
        "issuer for username must contain scheme" },
      { { Type = "kubernetes", IssuerClaim = "$.x" },
        "only email issuers can use issuer claim mapping" },
      { { Type = "nosuch" }, "issuer missing challenge claim" },
      { { Type = "nosuch" }, "issuer missing challenge claim",
        "MetaIssuers" },
      { { Type = "email", CACert = "no PEM" },
        "failed to parse CA certificate for issuer https://i.example.com" },
      { { Type = "uri", SubjectDomain = "https://example.org" },
        "hostname top-level and second-level domains do not match: "
        .. "example.org, i.example.com", "MetaIssuers" },
    }
    for _, row in ipairs(rows) do
      it(row[2] .. (row[3] and " (meta)" or ""), function()
        local text = config(row[1])
        if row[3] then text = text:gsub("OIDCIssuers", row[3]) end
        local sources, errors = config_import.parse("c", text)
        assert.is_nil(sources)
        assert.equal(1, #errors)
        assert.equal("validate: " .. row[2], errors[1].fulcio)
        assert.equal("https://i.example.com: " .. row[2], errors[1].message)
      end)
    end
  end)

  it("refuses a token for which the name's template is empty", function()
    local grant, why = decide(provider({}, {}, '{{if eq .x "a"}}b{{end}}'),
                              { x = "c" })
    assert.is_nil(grant)
    assert.equal("CLAIM_INVALID", why.reason)
    assert.equal("leaves an empty san", why.log.detail)
  end)

  it("refuses templates that cannot become data, by name", function()
    for _, name in ipairs({ "printf", "len", "slice", "html", "js",
                            "urlquery", "print", "println", "call" }) do
      local sources, errors = config_import.parse("c", provider({
        BuildTrigger = "{{ " .. name .. " .a }}" }))
      assert.is_nil(sources)
      assert.equal("x: build_trigger: template: :1: " .. name
                   .. " cannot become data", errors[1].message)
    end
  end)

  it("warns of issuers that Fulcio loads and never accepts", function()
    local rows = {
      { { Type = "nosuch", ChallengeClaim = "sub" }, 'unknown type "nosuch"' },
      { { Type = "email", ClientID = "" }, "client-id is empty" },
      { { Type = "email", IssuerURL = "https://other.example" },
        'issuer-url "https://other.example" is not its key' },
      { { Type = "ci-provider", CIProvider = "y" },
        'metadata not found for ci provider "y"' },
    }
    for _, row in ipairs(rows) do
      local sources, errors, warnings = config_import.parse("c",
                                                            config(row[1]))
      assert.same({}, sources)
      assert.is_nil(errors)
      assert.equal("https://i.example.com: " .. row[2]
                   .. ": no token of it can pass", warnings[1].message)
    end
  end)

  it("says on which line of the file it stands", function()
    local _, errors = config_import.parse("c.yaml", table.concat({
      "oidc-issuers:",
      "  https://a.example:",
      "    issuer-url: https://a.example",
      "    client-id: s",
      "    type: spiffe", "" }, "\n"))
    assert.equal("c.yaml", errors[1].file)
    assert.equal(2, errors[1].line)
  end)

  it("quotes keys in one line, whatever they say of lines", function()
    local _, errors = config_import.parse("c", '{"OIDCIssuers": {\n'
      .. '"line 99999999999999999999\\n\\u001b": { "IssuerURL": 3 } } }')
    assert.equal(1, errors[1].line)
    assert.equal([[line 99999999999999999999\n\x1b: IssuerURL must be a text]],
                 errors[1].message)
    _, errors = config_import.parse("c", '{"OIDCIssuers": {\n'
      .. '"a\\n": { "Type": "none", "ClientID": "s" } } }')
    assert.equal([[a\n: issuer missing challenge claim]], errors[1].message)
  end)

  it("tells what throws as a mistake of the file", function()
    local wrong = setmetatable({}, { __index = function()
      error("a fault of ours")
    end })
    local lines = {}
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
    finally(function() log.open({ mode = "prod" }) end)
    local sources, errors = config_import.parse("c.json", wrong)
    assert.is_nil(sources)
    assert.matches("stack traceback", lines[1], 1, true)
    assert.same({ "c.json", 1 }, { errors[1].file, errors[1].line })
    assert.matches("^cannot be read: ", errors[1].message)
  end)

  it("refuses a file that is neither", function()
    local sources, errors = config_import.parse("c", '{"OIDCIssuers": {')
    assert.is_nil(sources)
    assert.is_string(errors[1].message)
    sources, errors = config_import.parse("c", "a: 1\na: 2\n")
    assert.is_nil(sources)
    assert.equal(2, errors[1].line)
  end)

  it("has a CA for the issuer's own connection", function()
    local pem = read("spec/fixtures/ca.pem")
    local text = config({ Type = "email", CACert = pem })
    local set = assert(load(text))
    local trusted = set:match("https://i.example.com").ca_pem
    assert.equal(pem, trusted:sub(-#pem))
    assert(engine.x509.parse(trusted))
  end)

  it("asks the longest of several patterns", function()
    local text = [[
meta-issuers:
  https://*.example.com:
    client-id: short
    type: email
  https://*.b.example.com:
    client-id: long
    type: email
]]
    local sources = assert(config_import.parse("c", text))
    assert.equal("https://*.b.example.com", sources[1].data.issuer[1])
    local set = assert(policy.load(sources, {}))
    assert.same({ long = true },
                set:match("https://a.b.example.com").audiences)
  end)

  describe("templates", function()
    it("let the token win over a default, as Fulcio does", function()
      local text = provider({ BuildTrigger = "{{ .url }}/x" },
                            { url = "https://o.example" })
      local grant = assert(decide(text, { san = "a:b" }))
      assert.equal("https://o.example/x", said(grant, "build_trigger"))
      grant = assert(decide(text, { san = "a:b", url = "https://t" }))
      assert.equal("https://t/x", said(grant, "build_trigger"))
    end)

    it("drop an extension that is empty, by default or by claim", function()
      local text = provider({ BuildTrigger = "e", RunnerEnvironment = "c" },
                            { e = "" })
      local grant = assert(decide(text, { san = "a:b", c = "" }))
      assert.is_nil(said(grant, "build_trigger"))
      assert.is_nil(said(grant, "runner_environment"))
    end)

    it("tell the client what is missing in Fulcio's words", function()
      local text = provider({ BuildTrigger = "sha" })
      local _, why = decide(text, { san = "a:b" })
      assert.equal("CLAIM_MISSING", why.reason)
      assert.equal("sha", why.client.claim)
      assert.equal("value <sha> not present in either claims or defaults. "
        .. '{\n\t"ExtensionName": "BuildTrigger",\n'
        .. '\t"Issuer": "https://i.example.com"\n}', why.message)
      _, why = decide(provider({ BuildTrigger = "x{{ .sha }}" }),
                      { san = "a:b" })
      assert.equal('template: :1:4: executing "" at <.sha>: map has no '
                   .. 'entry for key "sha"', why.message)
    end)

    it("refuse null, lists and objects by name", function()
      local text = provider({ BuildTrigger = "x" })
      for _, value in ipairs({ cjson.null, { "a" }, { a = "b" } }) do
        local _, why = decide(text, { san = "a:b", x = value })
        assert.equal("CLAIM_INVALID", why.reason)
        assert.equal("x", why.client.claim)
      end
    end)

    it("may read an address that nobody verified", function()
      local text = provider({ BuildTrigger = "email" })
      local grant = assert(decide(text, { san = "a:b", email = "x@y.z" }))
      assert.equal("x@y.z", said(grant, "build_trigger"))
    end)

    it("need one for the name", function()
      local _, why = decide(provider({}, nil, " "), {})
      assert.equal("SubjectAlternativeNameTemplate should not be empty. "
                   .. "Issuer: https://i.example.com", why.message)
    end)
  end)

  it("reports what Fulcio's configuration address reports", function()
    local set = assert(load(config({ Type = "email", ChallengeClaim = "sub",
                                     SkipEmailVerification = true })))
    assert.same({ { issuer = "https://i.example.com", audience = "sigstore",
      challenge_claim = "sub", type = "email", subject_domain = "",
      spiffe_trust_domain = "", skip_email_verification = true } },
      set:issuers())
  end)
end)
