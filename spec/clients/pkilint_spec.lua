local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local runtimes = require("spec.clients.runtimes")
local signing = require("fulcio.signing")
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

  local function clean(pem)
    if not installed then return pending(reason) end
    local text, done = findings(pem)
    assert.equal("", (text:gsub("^%s+$", "")))
    assert.is_true(done)
  end

  it("finds no error in a certificate for an e-mail address", function()
    local world = worlds.new()
    clean(signing.issue(world.context, (world:asked())).chain[1])
  end)

  it("finds no error in a certificate for a pipeline", function()
    local world = worlds.new({ policy = PIPELINE })
    local asked, key = world:asked()
    asked.proof = assert(key:sign("someone"))
    clean(signing.issue(world.context, asked).chain[1])
  end)

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
