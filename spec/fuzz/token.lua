--- Fuzzing: the two JSON texts of a token, signed by its issuer, decided by
--- a policy. The first line is the header, the rest the claims.

local engine = require("fulcio.engine")
local log = require("fulcio.log")
local policy = require("fulcio.policy")
local refusal = require("fulcio.refusal")
local template = require("fulcio.template")
local token = require("fulcio.token")

local NOW = 1800000000

log.open({ mode = "prod", write = function() end })

local key = assert(engine.pkey.generate("Ed25519"))
local set = assert(policy.load({ { name = "all.lua", text = [[
return {
  issuer = "https://issuer.example", audience = "sigstore",
  must = { iss = present },
  san = { uri = url("https://example.com", "{sub}/{a/b}") },
  extensions = { source_repository_uri = "{repository?}",
                 ["1.3.6.1.4.1.32473.1"] = "{a/b?}" },
  check = function(claims) return claims.sub ~= claims.aud end,
}]] } }))

-- Every key is the issuer's.
local issuers = {
  keys = function(_, _, _, _, alg)
    if alg == "EdDSA" then return { key } end
    return nil, refusal("unknown_key")
  end,
}

local function check_grant(claims)
  local grant, refused = set:decide(claims)
  if not grant then
    assert(refusal.is(refused))
    return
  end
  assert(grant.san.value ~= "" and not grant.san.value:find("%c"))
  for i in ipairs(grant.extensions) do
    assert(type(grant.texts[i]) == "string" and grant.texts[i] ~= "")
  end
  assert(type(template.load) == "function")
end

return function(bytes)
  local line = bytes:find("\n", 1, true) or 0
  local header, payload = bytes:sub(1, line - 1), bytes:sub(line + 1)
  local jwt = engine.jws.sign(header, payload, key, "EdDSA")
  local claims, refused = token.verify(jwt, set, issuers, NOW)
  if claims then
    check_grant(claims)
  else
    assert(refusal.is(refused))
    log.refused(refused, {})
    assert(refused.http == 400)
  end
end
