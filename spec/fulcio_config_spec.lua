local fulcio_config = require("fulcio.fulcio_config")

local YAML = [[
define:
  - &common
    client-id: sigstore
    type: email
  - &more
    type: uri
    description: merged
oidc-issuers:
  https://a.example:
    <<: *common
    issuer-url: https://a.example
    skip-email-verification: Yes
  https://b.example:
    <<: [*common, *more]
    type: spiffe
    unknown: ignored
meta-issuers:
  https://*.example:
    client-id: 0123
    type: on
ci-issuer-metadata:
  x:
    default-template-values: { url: "https://h", n: 7 }
    extension-templates:
      build-signer-uri: '{{ .url }}'
      no-such: x
    subject-alternative-name-template: a
]]

describe("fulcio_config", function()
  it("reads YAML, where every scalar is the text that was written",
     function()
    local config = assert(fulcio_config.read(YAML))
    local a, b = config.issuers["https://a.example"],
      config.issuers["https://b.example"]
    assert.same({ "sigstore", "email", "https://a.example", true },
                { a.client_id, a.type, a.url, a.skip })
    assert.same({ "sigstore", "spiffe", "merged", "", false },
                { b.client_id, b.type, b.description, b.url, b.skip })
    local meta = config.metas["https://*.example"]
    assert.same({ "0123", "on" }, { meta.client_id, meta.type })
    assert.same({ x = { san = "a", default = { url = "https://h", n = "7" },
                        extensions = { build_signer_uri = "{{ .url }}" } } },
                config.metadata)
  end)

  it("reads JSON, whose names Go knows in any case", function()
    local config = assert(fulcio_config.read([[{
      "oidcissuers": { "https://a.example": { "issuerurl": "u",
        "CLIENTID": "c", "Type": "email", "SkipEmailVerification": true,
        "CACert": null } },
      "CIIssuerMetadata": { "x": { "ExtensionTemplates": {
        "GithubWorkflowSHA": "sha", "BuildSignerURI": "b" } } } }]]))
    local issuer = config.issuers["https://a.example"]
    assert.same({ "u", "c", true, "" }, { issuer.url, issuer.client_id,
                                          issuer.skip, issuer.ca_cert })
    assert.same({ github_workflow_sha = "sha", build_signer_uri = "b" },
                config.metadata.x.extensions)
  end)

  it("refuses values of another type, by name", function()
    for text, message in pairs({
      ['{"OIDCIssuers": []}'] = "OIDCIssuers must be a table",
      ['{"OIDCIssuers": {"i": {"Type": 5}}}'] = "i: Type must be a text",
      ['{"OIDCIssuers": {"i": {"SkipEmailVerification": "true"}}}'] =
        "i: SkipEmailVerification must be true or false",
      ["oidc-issuers:\n  i: [a]"] = "i must be a table",
      ["oidc-issuers:\n  i:\n    type: {a: b}"] = "i: type must be a text",
      ["oidc-issuers:\n  i:\n    skip-email-verification: maybe"] =
        "i: skip-email-verification must be true or false",
      ["ci-issuer-metadata:\n  x:\n    extension-templates: 5"] =
        "x: extensions must be a table",
    }) do
      local config, found = fulcio_config.read(text)
      if message == "OIDCIssuers must be a table" then
        assert.same({}, config and config.issuers or {})
      else
        assert.is_nil(config)
        assert.equal(message, found)
      end
    end
  end)

  it("refuses what is neither", function()
    for _, text in ipairs({ "{", "- a", "x", "a: b: c", '{"a": 1,}',
                            "a: 1\na: 2" }) do
      local config, message = fulcio_config.read(text)
      assert.is_nil(config, text)
      assert.is_string(message)
    end
  end)

  it("names extensions as Go does", function()
    assert.equal("GithubWorkflowSHA",
                 fulcio_config.go_name("github_workflow_sha"))
    assert.equal("SourceRepositoryVisibilityAtSigning",
      fulcio_config.go_name("source_repository_visibility_at_signing"))
    assert.equal("RunInvocationURI",
                 fulcio_config.go_name("run_invocation_uri"))
  end)
end)
