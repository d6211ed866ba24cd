--- Fuzzing: policies. Whatever a file says, it loads or its errors are
--- listed, within its limits, and the next one loads.

local policy = require("fulcio.policy")

local GOOD = [[return { issuer = "https://a.example", audience = "a",
  must = { sub = "a" }, san = { uri = "{sub}" } }]]

return function(bytes)
  local set, errors = policy.load({ { name = "a.lua", text = bytes } })
  if set then
    set:issuers()
    set:decide({ iss = "https://a.example", aud = "sigstore", sub = "a" })
  else
    assert(#errors > 0)
    for _, one in ipairs(errors) do
      assert(type(one.file) == "string" and type(one.message) == "string")
    end
  end
  assert(policy.load({ { name = "good.lua", text = GOOD } }))
end
