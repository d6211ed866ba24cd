local engine = require("fulcio.engine")
local signer = require("yielding_signer")

local pkey = engine.pkey

describe("pkey.seal", function()
  local seal

  before_each(function() seal = pkey.seal() end)

  local function refuses(bytes, by)
    local key, message, code = (by or seal):open(bytes)
    assert.is_nil(key)
    assert.equal("nothing that this seal has shut", message)
    assert.equal("bad_key", code)
  end

  it("gives back a key of every kind", function()
    for _, kind in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                            "Ed25519" }) do
      local key = assert(pkey.generate(kind))
      local opened = assert(seal:open(assert(seal:shut(key))))
      assert.equal(key:spki(), opened:spki())
      assert.equal(kind, opened.name)
      assert.is_true(opened.private)
      assert.is_true(key:verify("data", assert(opened:sign("data"))))
    end
  end)

  it("shows nothing of the key, and never the same", function()
    local key = assert(pkey.generate("Ed25519"))
    local one, two = assert(seal:shut(key)), assert(seal:shut(key))
    assert.not_equal(one, two)
    assert.equal(#one, #two)
    local public = key:spki():sub(-32)
    assert.is_nil(one:find(public, 1, true))
    assert.is_nil(one:find("\4\34\4\32", 1, true))
  end)

  it("opens what no other seal has shut", function()
    local shut = assert(seal:shut(assert(pkey.generate("P-256"))))
    refuses(shut, pkey.seal())
  end)

  it("refuses what was changed, cut or made longer", function()
    local shut = assert(seal:shut(assert(pkey.generate("Ed25519"))))
    for i = 1, #shut do
      refuses(shut:sub(1, i - 1)
        .. string.char((shut:byte(i) + 1) % 256) .. shut:sub(i + 1))
      refuses(shut:sub(1, i - 1))
    end
    refuses(shut .. "\0")
    refuses(("x"):rep(70000))
    assert(seal:open(shut))
  end)

  it("shuts private keys in software only", function()
    local key = assert(pkey.generate("P-256"))
    for _, wrong in ipairs({ assert(pkey.parse(key:pem())),
                             signer.wrap(key) }) do
      local shut, message, code = seal:shut(wrong)
      assert.is_nil(shut)
      assert.equal("no private key to seal", message)
      assert.equal("not_private", code)
    end
    assert.error(function() seal:shut("text") end)
    assert.error(function() seal:open(key) end)
  end)

  it("is closed to Lua", function()
    assert.is_false(getmetatable(seal))
    assert.is_nil(seal.secret)
  end)
end)
