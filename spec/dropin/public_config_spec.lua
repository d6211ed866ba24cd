local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local program = require("spec.program")
local recorded = require("spec.compat.recorded")

local PREFIX = "1.3.6.1.4.1.57264.1."

-- The CI providers of the public configuration: an issuer of each, and the
-- recorded identity that it gives.
local providers = {
  { "https://token.actions.githubusercontent.com", "ci-provider/github-ok" },
  { "https://gitlab.com", "ci-provider/gitlab-ok" },
  { "https://oidc.circleci.com", "ci-provider/circleci-ok" },
  { "https://oidc.buddyusercontent.com", "ci-provider/buddy-ok" },
  { "https://oidc.codefresh.io", "codefresh-workflow/ok" },
  { "https://agent.buildkite.com", "buildkite" },
}

local JOB = "https://buildkite.com/acme/deploy"

-- Nobody has recorded the configurable type of this one.
local buildkite = {
  name = "buildkite",
  claims = { sub = "organization:acme:pipeline:deploy",
    organization_slug = "acme", pipeline_slug = "deploy",
    build_number = 9, job_id = "0184", runner_environment = "self-hosted",
    build_commit = ("c"):rep(40), build_source = "webhook" },
  expected = {
    principal_name = "organization:acme:pipeline:deploy",
    san = { { type = "uri", value = JOB } },
    extensions = {
      [PREFIX .. 11] = { value = "self-hosted" },
      [PREFIX .. 13] = { value = ("c"):rep(40) },
      [PREFIX .. 20] = { value = "webhook" },
      [PREFIX .. 21] = { value = JOB .. "/builds/9#0184" },
      [PREFIX .. 24] = { value = "organization:acme:pipeline:deploy" },
    },
  },
}

local vectors = { buildkite = buildkite }
for _, vector in ipairs(recorded.read("spec/fixtures/fulcio-vectors.json")) do
  vectors[vector.name] = vector
end

describe("Fulcio's public configuration", function()
  local directory, remove
  local issuers, urls = {}, {} -- by the name of the issuer they stand for

  setup(function()
    directory, remove = authority.directory()
    for _, provider in ipairs(providers) do
      issuers[provider[1]], urls[provider[1]] = program.issuer()
    end
  end)

  teardown(function()
    for _, issuer in pairs(issuers) do issuer:stop() end
    remove()
  end)

  -- The fixture, where issuers on this machine stand for the providers'.
  local function configuration(kind)
    local whole = program.read("spec/fixtures/fulcio-config." .. kind)
    local at = whole:find("ci-issuer-metadata:", 1, true)
      or whole:find('"CIIssuerMetadata"', 1, true)
    local text = whole:sub(1, at - 1)
    for name, url in pairs(urls) do
      local found
      text, found = text:gsub(name:gsub("%p", "%%%0") .. '([:"]?[\n" ])',
                              url .. "%1")
      assert.equal(2, found, name)
    end
    text = text .. whole:sub(at)
    local path = directory .. "/config." .. kind
    assert(engine.system.write(path, text))
    return path
  end

  local function issue(server, provider, vector)
    local claims = {}
    for name, value in pairs(vector.claims) do claims[name] = value end
    claims.iss = nil
    local token = program.post(urls[provider] .. "/token", claims).body
    local key = assert(engine.pkey.generate("P-256"))
    local response = program.post(server .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = token },
      publicKeyRequest = { publicKey = { content = key:pem() },
        proofOfPossession = engine.bytes.base64(
          assert(key:sign(vector.expected.principal_name))) },
    })
    assert.equal(200, response.status, response.body)
    local chain = program.parsed(response).signedCertificateEmbeddedSct.chain
    return assert(engine.x509.parse(chain.certificates[1]))[1]
  end

  -- Fulcio's extensions as text, by number; the issuer's are its URL.
  local function wanted_of(vector, url)
    local wanted = { ["1"] = url, ["8"] = url }
    for oid, extension in pairs(vector.expected.extensions) do
      local number = oid:sub(#PREFIX + 1)
      wanted[number] = wanted[number] or extension.value
    end
    return wanted
  end

  local function found_in(certificate)
    local found = {}
    for _, extension in ipairs(certificate.extensions) do
      local number = extension.oid:sub(1, #PREFIX) == PREFIX
        and extension.oid:sub(#PREFIX + 1)
      if number then
        local raw = tonumber(number) < 7
        found[number] = raw and extension.value
          or assert(extension.value:match("^\12[%z\1-\127](.*)$")
                    or extension.value:match("^\12\129.(.*)$"))
      end
    end
    return found
  end

  for _, kind in ipairs({ "yaml", "json" }) do
    describe("in " .. kind, function()
      local server, at

      setup(function()
        server, at = program.serve(directory .. "/" .. kind,
          { "--ca", "ephemeralca", "--config-path", configuration(kind) })
      end)

      teardown(function() assert.is_true(server:stop()) end)

      it("tells all its issuers", function()
        local answer = program.parsed(program.get(
          at.http .. "/api/v2/configuration"))
        local exact, wildcard = 0, 0
        for _, issuer in ipairs(answer.issuers) do
          assert.equal("sigstore", issuer.audience)
          if issuer.wildcardIssuerUrl then wildcard = wildcard + 1
          else exact = exact + 1 end
        end
        assert.same({ 22, 9 }, { exact, wildcard })
      end)

      for _, provider in ipairs(providers) do
        it("issues what " .. provider[2] .. " says", function()
          local vector = assert(vectors[provider[2]], provider[2])
          local certificate = issue(at.http, provider[1], vector)
          local san = vector.expected.san[1]
          assert.same({ san.type, san.value },
                      { certificate.san[1].type, certificate.san[1].value })
          assert.same(wanted_of(vector, urls[provider[1]]),
                      found_in(certificate))
        end)
      end
    end)
  end

end)
