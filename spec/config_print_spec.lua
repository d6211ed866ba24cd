local cjson = require("cjson")
local config_import = require("fulcio.config_import")
local config_print = require("fulcio.config_print")
local configuration = require("spec.configuration")
local policy = require("fulcio.policy")

local config, provider = configuration.issuer, configuration.provider
local read = require("spec.files").read

local PUBLIC = "spec/fixtures/fulcio-config"

describe("config_print", function()
  it("writes policy files that say the same", function()
    local sources = assert(config_import.parse("c", read(PUBLIC .. ".yaml")))
    local imported = assert(policy.load(sources, {}))
    local files = assert(config_print.files(sources))
    assert.equal(31, #files)
    local written = assert(policy.load(files, {}))
    local vectors = cjson.decode(read("spec/fixtures/fulcio-vectors.json"))
    local granted = 0
    for _, vector in ipairs(vectors) do
      local claims = vector.claims or {}
      claims.aud = "sigstore"
      local a, why_a = imported:decide(claims)
      local b, why_b = written:decide(claims)
      if a and vector.name == "github-workflow/bad-empty-sha" then
        -- In our language an empty claim is an absent one.
        assert.equal("sha", why_b.client.claim)
      elseif a then
        granted = granted + 1
        assert.same(a.san, b.san)
        assert.same(a.extensions, b.extensions)
        assert.same(a.texts, b.texts)
        assert.equal(a.challenge, b.challenge)
      else
        assert.equal(why_a.reason, why_b.reason, vector.name)
      end
    end
    assert.is_true(granted > 20)
  end)

  it("puts all files into one text", function()
    local sources = assert(config_import.parse("c", config({
      Type = "email", SkipEmailVerification = true,
      IssuerClaim = "$.a['b c'][\"d\"]" })))
    assert.equal([[
-- 01_i_example_com.lua
return {
  issuer = "https://i.example.com",
  audience = "sigstore",
  must = anyone,
  san = {
    email = "{email}",
  },
  issuer_name = "{a/b c/d}",
  unverified_email = true,
}
]], config_print.text(sources))
  end)

  it("says so when the policy language has no words for a template",
     function()
    local sources = assert(config_import.parse("c", provider({
      BuildTrigger = "{{ or .a .b }}",
      RunnerEnvironment = "{{ if .a }}x{{ end }}",
      SourceRepositoryRef = "a{{ .e }}" }, { e = "" })))
    local text, errors = config_print.text(sources)
    assert.is_nil(text)
    assert.equal(1, #errors - 2)
    assert.equal("01_i_example_com.lua: extensions.build_trigger cannot be "
                 .. "written as a policy: or stands in it", errors[1].message)
  end)

  it("says when an address need not be verified", function()
    local text = provider({ BuildTrigger = "email" })
    assert.truthy(config_print.text(config_import.parse("c", text))
      :find("unverified_email = true", 1, true))
    text = provider({ BuildTrigger = "mail" })
    assert.is_nil(config_print.text(config_import.parse("c", text))
      :find("unverified_email", 1, true))
  end)

  it("makes an issuer's CA a file of its own", function()
    local pem = read("spec/fixtures/ca.pem")
    local files = assert(config_print.files(config_import.parse("c",
      config({ Type = "email", CACert = pem }))))
    assert.equal("01_i_example_com.pem", files[1].name)
    assert.equal(pem, files[1].text)
    assert.truthy(files[2].text:find('ca_file = "01_i_example_com.pem"', 1,
                                     true))
  end)
end)
