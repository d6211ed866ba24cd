local assemble = require("fulcio.assemble")
local claimtext = require("fulcio.claimtext")

local function node(text)
  return (assert(claimtext.compile(text, { optional = true })))
end

local function merged(more)
  local piece = { must = {}, set = {}, default = {}, extensions = {},
                  san = { type = "uri", node = node("{sub}") } }
  for name, value in pairs(more or {}) do piece[name] = value end
  return piece
end

local function assembled(more)
  local errors = {}
  local policy = assemble.policy(merged(more), function(_, message)
    errors[#errors + 1] = message
  end)
  return policy, errors
end

describe("assemble", function()
  it("gives every policy a challenge and the standing extensions", function()
    local policy, errors = assembled()
    assert.same({}, errors)
    assert.equal("sub", claimtext.only(policy.challenge[1]))
    local names = {}
    for i, slot in ipairs(policy.extensions) do names[i] = slot.entry.name end
    assert.same({ "issuer", "issuer_v2", "subject" }, names)
  end)

  it("takes {email} for the challenge when the name is just that", function()
    local function challenge(text)
      return claimtext.only(assembled({ san = { type = "email",
        node = node(text) } }).challenge[1])
    end
    assert.equal("email", challenge("{email}"))
    assert.equal("sub", challenge("{upn}"))
    assert.equal("sub", challenge("{email}x"))
  end)

  it("sees wherever an address is read", function()
    assert.is_false(assembled().reads_email)
    for _, more in ipairs({
      { must = { { claim = "email" } } },
      { san = { type = "uri", node = node("{email}") } },
      { challenge = { node("{sub}"), node("{email}") } },
      { extensions = { build_trigger = { entry = {
          name = "build_trigger" }, node = node("{email?}") } } },
      { san = { type = "email", node = node("{x}") },
        issuer_name = node("{email}") },
    }) do
      assert.is_true(assembled(more).reads_email)
    end
  end)

  it("reports contradictions", function()
    local _, errors = assembled({ set = { a = "1" }, default = { a = "2" },
                                  issuer_name = node("{x}") })
    assert.equal(2, #errors)
  end)

  it("makes nothing without a name", function()
    local piece = merged()
    piece.san = nil
    assert.is_nil((assemble.policy(piece, error)))
  end)
end)
