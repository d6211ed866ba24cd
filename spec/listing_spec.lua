local listing = require("fulcio.listing")
local policy = require("fulcio.policy")

local function rows(fields)
  local set = assert(policy.load({ { name = "p.lua", text = [[return {
    issuer = "https://i.example", audience = "a", ]] .. fields .. "}" } }))
  return listing.of(set.policies)
end

describe("listing", function()
  it("tells type, domain and the claim to prove", function()
    local cases = {
      { 'must = anyone, provider = "github"', "ci-provider", "sub" },
      { 'must = anyone, provider = "chainguard"', "chainguard-identity",
        "sub" },
      { 'must = anyone, provider = "email"', "email", "email" },
      { 'must = anyone, provider = "kubernetes"', "kubernetes", "sub" },
      { 'must = { sub = within("https://u.example") }, provider = "uri"',
        "uri", "sub", "https://u.example" },
      { 'must = anyone, san = { username = "{sub}!u.example" }', "username",
        "sub", "u.example" },
      { 'must = anyone, provider = "username", '
        .. 'set = { subject_domain = "u.example" }', "username", "sub",
        "u.example" },
      { 'must = anyone, san = { email = "{upn}" }, challenge = "{upn}"',
        "email", "upn" },
      { 'must = { sub = spiffe("d.example") }, san = { uri = "{sub}" }',
        "spiffe", "sub", nil, "d.example" },
    }
    for _, case in ipairs(cases) do
      local row = rows(case[1])[1]
      assert.equal(case[2], row.type)
      assert.equal(case[3], row.challenge_claim)
      assert.equal(case[4], row.subject_domain)
      assert.equal(case[5], row.spiffe_trust_domain)
      assert.is_false(row.skip_email_verification)
    end
  end)

  it("has a row for each issuer and audience, once", function()
    local set = assert(policy.load({
      { name = "a.lua", text = [[return { audience = { "a", "b" },
        issuer = { "https://i.example", glob("https://*.example") },
        must = { x = "1" }, provider = "email", unverified_email = true }]] },
      { name = "b.lua", text = [[return { audience = "a",
        issuer = "https://i.example", must = { x = "2" },
        provider = "email" }]] },
    }))
    local list = {}
    for i, row in ipairs(set:issuers()) do
      list[i] = (row.issuer or row.wildcard) .. " " .. row.audience
      assert.is_true(row.skip_email_verification)
    end
    assert.same({ "https://i.example a", "https://i.example b",
                  "https://*.example a", "https://*.example b" }, list)
  end)
end)
