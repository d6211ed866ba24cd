local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local kms = require("fulcio.ca.kms")

-- A key service in this process: what a provider's open returns.
local function service(key)
  local made = { name = "the service", signed = 0 }
  function made.bind() return true end
  function made.sign(_, _, hash, _, text)
    made.signed = made.signed + 1
    if made.broken then return nil, "it is away", "hsm_gone", 7 end
    return made.forged or assert(key:sign(text, hash))
  end
  return made
end

describe("ca.kms", function()
  local directory, remove = authority.directory()
  local signing, root = authority.pair()
  local chain = directory .. "/chain.pem"
  local provider

  setup(function()
    assert(engine.system.write(chain, signing.certificate.pem
                               .. root.certificate.pem))
  end)
  teardown(remove)

  before_each(function()
    provider = service(signing.key)
    package.loaded["fulcio.kms.openbao"] = {
      open = function() return provider end }
  end)
  after_each(function() package.loaded["fulcio.kms.openbao"] = nil end)

  local function open(changes)
    local settings = { kms_resource = "openbao://x", environment = {},
      kms_cert_chain_path = chain, verify_signatures = "sampled" }
    for name, value in pairs(changes or {}) do settings[name] = value end
    return kms.open(settings)
  end

  local function sign(ca)
    local draft = assert(engine.draft.new({ issuer = ca.chain[1],
      key = signing.key, not_before = 0, not_after = 10,
      san = { type = "email", value = "a@example.com" } }))
    local der, message, code, seconds = ca:sign(draft:plain())
    return der, message, code, seconds
  end

  it("signs what the chain verifies", function()
    local ca = assert(open())
    assert(ca.chain[1]:signed(assert(sign(ca))))
    assert.equal(2, #ca:bundle()[1])
    assert.is_true(ca:ready(600))
  end)

  it("does not start without what it needs", function()
    local function refuses(words, changes)
      local ca, message = open(changes)
      assert.is_nil(ca)
      assert.matches(words, message, 1, true)
    end
    refuses("--kms-resource must be set", { kms_resource = "" })
    refuses("--kms-cert-chain-path must be set", { kms_cert_chain_path = "" })
    refuses("--kms-cert-chain-path: /nowhere", {
      kms_cert_chain_path = "/nowhere" })
    refuses("begins with none of openbao://", { kms_resource = "x://y" })
    local path = directory .. "/bad.pem"
    assert(engine.system.write(path, "no certificate"))
    refuses("bad.pem", { kms_cert_chain_path = path })
    assert(engine.system.write(path, root.certificate.pem
                               .. signing.certificate.pem))
    refuses("bad.pem", { kms_cert_chain_path = path })
    local ed = assert(engine.pkey.generate("Ed25519"))
    local other = authority.certificate("Ed25519", root, { key = ed,
      extended_key_usage = { "code_signing" } })
    assert(engine.system.write(path, other.certificate.pem
                               .. root.certificate.pem))
    refuses("does not sign digests with a key of kind Ed25519", {
      kms_cert_chain_path = path })
    provider.bind = function() return nil, "no such key" end
    refuses("--kms-resource: no such key")
    provider = service(root.key)
    refuses("its signature does not verify")
  end)

  it("verifies all until one was good, then one in 64", function()
    local ca = assert(open())
    provider.forged = "forged"
    local forged = 0
    for _ = 1, 63 do forged = forged + (sign(ca) and 1 or 0) end
    assert.is_true(forged >= 61 and forged < 63)
    local der, message, code = sign(ca)
    assert.is_nil(der)
    assert.equal("sign_failed", code)
    assert.matches("does not verify", message)
    provider.forged = nil
    assert.is_truthy(sign(ca))
    assert.is_true(ca.proven)
  end)

  it("verifies all when told to", function()
    local ca = assert(open({ verify_signatures = "all" }))
    for _ = 1, 3 do assert.is_truthy(sign(ca)) end
    provider.forged = "forged"
    assert.is_nil(sign(ca))
  end)

  it("hands a failure on, and verifies again after it", function()
    local ca = assert(open())
    provider.broken = true
    local der, message, code, seconds = sign(ca)
    assert.same({ nil, "it is away", "hsm_gone", 7 },
                { der, message, code, seconds })
    assert.is_nil(ca:ready(600))
    provider.broken, provider.forged = nil, "forged"
    assert.is_nil(sign(ca))
  end)

  it("remembers for some time whether it is ready", function()
    local ca = assert(open())
    local before = provider.signed
    assert.is_true(ca:ready(600))
    assert.is_true(ca:ready(600))
    assert.equal(before, provider.signed)
    local ok, message = ca:ready(100 * 365 * 86400)
    assert.is_nil(ok)
    assert.matches("the CA's chain ends", message)
    ca:close()
    assert.is_nil(ca:ready(600))
    assert.equal(1, #ca:bundle())
  end)

  it("keeps a token alive in a worker", function()
    local ca, tended, server = assert(open()), 0, engine.server
    local sleep, stopping = server.sleep, server.stopping
    finally(function() server.sleep, server.stopping = sleep, stopping end)
    provider.tend = function() tended = tended + 1 end
    server.sleep = function() end
    server.stopping = function() return tended == 2 end
    ca:start()
    server.spawn(function() server.stop() end)
    server.run()
    assert.equal(2, tended)
  end)
end)
