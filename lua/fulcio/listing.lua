--- What the configuration address tells of each issuer.

local claimtext = require("fulcio.claimtext")
local words = require("fulcio.words")

local M = {}

-- Providers whose Fulcio type has another name than "ci-provider".
local types = { email = "email", uri = "uri", username = "username",
                spiffe = "spiffe", kubernetes = "kubernetes",
                chainguard = "chainguard-identity" }

-- The claim that every token has to be proven with.
local function challenge_claim(policy)
  return claimtext.first(policy.challenge[#policy.challenge]) or "sub"
end

local function type_of(policy)
  if policy.provider then return types[policy.provider] or "ci-provider" end
  for _, must in ipairs(policy.must) do
    if words.of(must.value) == "spiffe" then return "spiffe" end
  end
  return policy.san.type
end

-- The text in a matcher of `must`, as in spiffe("example.com").
local function argument(policy, word)
  for _, must in ipairs(policy.must) do
    if words.of(must.value) == word then return must.value[1] end
  end
end

local function subject_domain(policy)
  if policy.san.type ~= "username" then return argument(policy, "within") end
  local last = policy.san.node[#policy.san.node]
  if type(last) == "table" then return policy.set[last.claim] end
  return last:match("!([^!]+)$")
end

local function describe(policy)
  return policy.configuration or {
    challenge_claim = challenge_claim(policy),
    type = type_of(policy),
    spiffe_trust_domain = argument(policy, "spiffe"),
    subject_domain = subject_domain(policy),
    skip_email_verification = policy.unverified_email or false,
  }
end

--- One row for each issuer and audience, in the order of the policies.
function M.of(policies)
  local list, seen = {}, {}
  for _, policy in ipairs(policies) do
    local facts = describe(policy)
    for _, entry in ipairs(policy.issuers) do
      for _, audience in ipairs(policy.audiences) do
        local key = entry.text .. "\0" .. audience
        if not seen[key] then
          seen[key] = true
          local row = { audience = audience }
          for name, value in pairs(facts) do row[name] = value end
          row[entry.pattern and "wildcard" or "issuer"] = entry.text
          list[#list + 1] = row
        end
      end
    end
  end
  return list
end

return M
