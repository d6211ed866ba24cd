local authority = require("spec.ca.authority")
local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")

local now = engine.system.now()

local function check(entries, key, time)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry.certificate end
  return chain.check(list, key or entries[1].key, time or now)
end

local function refuses(message, ...)
  local ok, why = check(...)
  assert.is_nil(ok)
  assert.matches(message, why, 1, true)
end

describe("ca.chain", function()
  local intermediate, root = authority.pair()

  it("accepts a root alone and an intermediate below it", function()
    assert(check({ root }))
    assert(check({ intermediate, root }))
  end)

  it("accepts three in a row", function()
    local top = authority.certificate("top")
    local middle = authority.certificate("middle", top)
    local low = authority.certificate("low", middle,
      { extended_key_usage = { "code_signing" } })
    assert(check({ low, middle, top }))
    refuses("unable to get local issuer certificate", { low, top })
  end)

  it("refuses a chain without end or beginning", function()
    local other = authority.certificate("other")
    refuses("unable to get local issuer certificate",
            { intermediate, other })
    local ok, why = chain.check({}, root.key, now)
    assert.is_nil(ok)
    assert.equal("no certificate", why)
  end)

  it("refuses a chain that is over", function()
    refuses("certificate has expired", { intermediate, root }, nil,
            now + 366 * 86400)
  end)

  it("refuses what is no CA", function()
    local leaf = authority.certificate("leaf", root, { ca = false,
      key_usage = { "digital_signature" },
      extended_key_usage = { "code_signing" } })
    refuses("certificate is not a CA", { leaf, root })
    local alone = authority.certificate("alone", nil, { ca = false,
      key_usage = { "digital_signature" } })
    refuses("certificate is not a CA", { alone })
  end)

  it("wants code signing in an intermediate", function()
    local top = authority.certificate("top")
    local plain = authority.certificate("plain", top)
    refuses("certificate must have extended key usage code signing set"
            .. " to sign code signing certificates", { plain, top })
    local timestamps = authority.certificate("times", top,
      { extended_key_usage = { "time_stamping" } })
    refuses("a certificate is not for code signing", { timestamps, top })
  end)

  it("names both key identifiers when the key is another's", function()
    local other = assert(engine.pkey.generate("P-256"))
    refuses(engine.bytes.hex(other:id()), { root }, other)
    refuses(engine.bytes.hex(root.key:id()), { root }, other)
  end)

  it("refuses a weak key", function()
    local ok, why = chain.check({ root.certificate }, {
      spki = function() return root.key:spki() end,
      check = function() return nil, "weak" end,
    }, now)
    assert.is_nil(ok)
    assert.equal("weak", why)
  end)

  it("ends with the first certificate that ends", function()
    local soon = authority.pair({ not_after = now + 100 })
    assert.equal(now + 100,
                 chain.expires({ soon.certificate, root.certificate }))
  end)
end)
