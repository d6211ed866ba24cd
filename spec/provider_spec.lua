local policy = require("fulcio.policy")
local provider = require("fulcio.provider")

local GIVER = [[
return {
  set = { host = "https://h.example" },
  default = { kind = "k" },
  must = { ref = present },
  san = { uri = "{host}/{ref}" },
  challenge = "{ref}",
  extensions = {
    build_trigger = "{kind}",
    build_signer_uri = "{host}",
  },
  check = function(claims) return claims.sub ~= "provider" end,
}
]]

local function load(fields, giver)
  return policy.load({ { name = "p.lua", text = [[
    return { issuer = "https://i.example", audience = "s", provider = "x",
    ]] .. fields .. " }" } }, { providers = { x = giver or GIVER } })
end

local function decide(fields, claims)
  claims.iss, claims.aud = "https://i.example", "s"
  claims.sub = claims.sub or "s"
  return assert(load(fields)):decide(claims)
end

local function said(grant, name)
  for i, extension in ipairs(grant.extensions) do
    if extension.name == name then return grant.texts[i] end
  end
end

describe("provider", function()
  it("stands under the policy, name by name", function()
    local grant = assert(decide([[
      must = { team = "a" }, set = { host = "https://own.example" },
      extensions = { build_signer_uri = false, run_invocation_uri = "r" },
    ]], { ref = "main", team = "a" }))
    assert.equal("https://own.example/main", grant.san.value)
    assert.equal("main", grant.challenge)
    assert.equal("k", said(grant, "build_trigger"))
    assert.equal("r", said(grant, "run_invocation_uri"))
    assert.is_nil(said(grant, "build_signer_uri"))
  end)

  it("gives way to the policy's san, challenge and template", function()
    local grant = assert(decide([[
      must = anyone, san = { uri = "o:{sub}" }, challenge = "{sub}",
    ]], { ref = "main" }))
    assert.equal("o:s", grant.san.value)
    assert.equal("s", grant.challenge)
  end)

  it("has its own must, beside the policy's", function()
    local fields = 'must = { team = "a" },'
    local _, why = decide(fields, { team = "a" })
    assert.equal("ref", why.client.claim)
    _, why = decide(fields, { ref = "main" })
    assert.equal("team", why.client.claim)
    _, why = decide("must = anyone,", {})
    assert.equal("ref", why.client.claim)
  end)

  it("has its own check, beside the policy's", function()
    local fields = [[must = anyone,
      check = function(claims) return claims.sub ~= "policy" end,]]
    assert(decide(fields, { ref = "main" }))
    for _, sub in ipairs({ "provider", "policy" }) do
      local _, why = decide(fields, { ref = "main", sub = sub })
      assert.equal("CHECK_REFUSED", why.reason)
    end
  end)

  it("may leave a constant to the policy, which then owes it", function()
    local giver = [[return { set = { domain = false },
      san = { username = "{sub}!{domain}" } }]]
    local set, errors = load("must = anyone,", giver)
    assert.is_nil(set)
    assert.equal('provider "x" needs set = { domain = "…" }',
                 errors[1].message)
    set = assert(load('must = anyone, set = { domain = "d.example" },',
                      giver))
    local grant = assert(set:decide({ iss = "https://i.example", aud = "s",
      sub = "alice", domain = "evil.example" }))
    assert.equal("alice!d.example", grant.san.value)
    assert.equal("d.example", set:issuers()[1].subject_domain)
  end)

  it("cannot be dropped from where it says nothing", function()
    local _, errors = load("must = anyone, extensions = "
                           .. "{ run_invocation_uri = false },")
    assert.equal("extensions.run_invocation_uri = false drops nothing: "
                 .. 'provider "x" has no such extension', errors[1].message)
  end)

  it("has no issuer, audience or anyone", function()
    local _, errors = load("must = anyone,", [[return {
      issuer = "i",
      audience = "a",
      must = anyone, san = { uri = "{sub}" } }]])
    local messages = {}
    for i, wrong in ipairs(errors) do messages[i] = wrong.message end
    assert.same({
      'a provider has no "issuer": it belongs into the policy',
      'a provider has no "audience": it belongs into the policy',
      "a provider cannot say anyone: leave must out",
    }, messages)
  end)

  it("leaves both pieces as they were", function()
    local under = { must = { 1 }, checks = {}, set = { a = "1" },
                    default = {}, extensions = {}, owed = {}, san = "s" }
    local over = { must = { 2 }, checks = {}, set = { a = "2" },
                   default = {}, extensions = {}, provider = "x" }
    local merged = provider.merge(under, over, error)
    assert.same({ 1, 2 }, merged.must)
    assert.same({ a = "2" }, merged.set)
    assert.equal("s", merged.san)
    assert.same({ 1 }, under.must)
    assert.is_nil(over.san)
  end)
end)
