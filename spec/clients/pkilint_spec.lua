local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local identities = require("spec.identities")
local log = require("fulcio.log")
local policy = require("fulcio.policy")
local runtimes = require("spec.clients.runtimes")
local reply = require("fulcio.reply")
local signing = require("fulcio.signing")
local template = require("fulcio.template")
local worlds = require("spec.world")

local LINT = runtimes.built .. "/pkilint/bin/lint_pkix_cert"

local PIPELINE = [[
return {
  issuer = "https://issuer.example", audience = "sigstore", must = anyone,
  san = { uri = "https://example.com/{sub}" },
  extensions = {
    source_repository_uri = "https://example.com/{sub}",
    build_config_digest = "{sub}", runner_environment = "{sub}",
  },
}
]]

-- A provider alone, and what it wants to be told.
local PROVIDER = [[
return {
  issuer = "https://issuer.example", audience = "sigstore", must = anyone,
  provider = "%s", set = { subject_domain = "example.com" },
}
]]

local KEYS = { "P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096",
               "Ed25519" }
local SIGNERS = { "P-256", "P-384", "RSA-2048", "Ed25519", "P-521" }

describe("pkilint", function()
  local directory, remove, installed, reason

  setup(function()
    log.open({ mode = "prod", write = function() end })
    installed, reason = runtimes.install("pkilint")
    directory, remove = authority.directory()
  end)

  teardown(function()
    log.open({ mode = "prod" })
    remove()
  end)

  -- What it finds wrong with a certificate, a line each.
  local function findings(pem)
    local path = directory .. "/leaf.pem"
    assert(engine.system.write(path, pem .. "\n"))
    local pipe = io.popen(("%s lint -s WARNING %s 2>&1"):format(LINT, path))
    local text = pipe:read("a")
    local done = pipe:close()
    return text, done
  end

  -- It has a list of schemes, and spiffe (RFC 3986 all the same) is not in it.
  local SCHEME = "GeneralNameUriSyntaxValidator @ certificate.tbsCertificate"
    .. ".extensions.%d.extnValue.subjectAltName.0.uniformResourceIdentifier"
    .. '%s*pkix.invalid_uri_syntax %(ERROR%): Invalid URI syntax: "spiffe://'
    .. 'example.com/ns/prod"'

  local function clean(pem)
    if not installed then return pending(reason) end
    local text, done = findings(pem)
    local rest, known = text:gsub(SCHEME, "")
    assert.equal("", (rest:gsub("^%s+$", "")))
    assert.is_true(done or known > 0)
  end

  it("finds no error in a certificate for an e-mail address", function()
    local world = worlds.new()
    clean(reply.chain(signing.issue(world.context, (world:asked())))[1])
  end)

  it("finds no error in a certificate for a pipeline", function()
    local world = worlds.new({ policy = PIPELINE })
    local asked, key = world:asked()
    asked.proof = assert(key:sign("someone"))
    clean(reply.chain(signing.issue(world.context, asked))[1])
  end)

  -- A certificate for a key of this kind, by a CA with a key of that one.
  local function issued(name, kind, signer)
    local claims = identities[name]()
    claims.iss, claims.aud = "https://issuer.example", "sigstore"
    local set = assert(policy.load({ { name = name .. ".lua",
                                       text = PROVIDER:format(name) } }))
    local ca = authority.certificate("ca", nil, {
      key = assert(engine.pkey.generate(signer)) })
    local draft = assert(template.fill(assert(set:decide(claims)),
      assert(engine.pkey.generate(kind)), ca.certificate,
      engine.system.now(), ca.key))
    return engine.draft.pem(assert(engine.draft.sign(draft:plain(), ca.key)))
  end

  local turn = 0
  for _, file in ipairs(engine.system.list("policies/providers")) do
    turn = turn + 1
    local name, kind = file:match("^(.*)%.lua$"), KEYS[turn % #KEYS + 1]
    local signer = SIGNERS[turn % #SIGNERS + 1]
    it(("finds no error in what a %s CA says of a %s key by %s"):format(
       signer, kind, name), function()
      clean(issued(name, kind, signer))
    end)
  end

  it("finds no error in a CA's certificate", function()
    local above, root = authority.pair()
    clean(above.certificate.pem)
    clean(root.certificate.pem)
  end)

  it("finds what is wrong with one that is", function()
    if not installed then return pending(reason) end
    local bad = authority.certificate("bad", nil, {
      subject = { { "C", "USA" } } })
    local text, done = findings(bad.certificate.pem)
    assert.is_nil(done)
    assert.matches("invalid_asn1_syntax", text, 1, true)
  end)
end)
