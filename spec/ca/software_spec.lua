local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local software = require("fulcio.ca.software")

describe("ca.software", function()
  local intermediate, root = authority.pair()
  local certificates = { intermediate.certificate, root.certificate }

  local function opened()
    return software.new(certificates, intermediate.key)
  end

  it("signs with the key of its first certificate", function()
    local ca = opened()
    local now = engine.system.now()
    local draft = assert(engine.draft.new({
      key = assert(engine.pkey.generate("P-256")), issuer = ca.chain[1],
      signer = intermediate.key, not_before = now, not_after = now + 60,
      san = { type = "email", value = "a@example.com" },
    }))
    local der = assert(ca:sign(draft:plain()))
    assert(ca.chain[1]:signed(der))
  end)

  it("shows its one chain", function()
    assert.same({ certificates }, opened():bundle())
    assert.is_true(opened().embeds)
  end)

  it("is ready as long as its chain lasts", function()
    local ca = opened()
    local left = ca.expires - engine.system.now()
    assert.is_true(ca:ready(left - 10))
    local ok, why = ca:ready(left + 10)
    assert.is_nil(ok)
    assert.matches("^the CA's chain ends %d%d%d%d%-", why)
  end)

  it("is not ready without its key", function()
    local ca = software.new(certificates, { "a key" })
    ca:close()
    local ok, why = ca:ready(0)
    assert.is_nil(ok)
    assert.equal("the CA's key is closed", why)
    assert.is_nil(ca.key)
  end)
end)
