local engine = require("fulcio.engine")
local log = require("fulcio.log")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local scenes = require("spec.google.scene")
local signing = require("fulcio.signing")
local worlds = require("spec.world")

-- What `issue` throws for a request.
local function thrown(context, asked)
  local ok, value = pcall(signing.issue, context, asked)
  assert.is_false(ok)
  assert.is_true(refusal.is(value), tostring(value))
  return value
end

local function certificates(issued)
  return assert(engine.x509.parse(table.concat(reply.chain(issued), "\n")))
end

describe("signing", function()
  local world = worlds.new()
  local context = world.context

  setup(function() log.open({ mode = "prod", write = function() end }) end)
  teardown(function() log.open({ mode = "prod" }) end)

  it("issues a leaf for the key and the name, with one SCT in it", function()
    local asked, key = world:asked()
    local issued = signing.issue(context, asked)
    assert.is_true(issued.embedded)
    local chain = certificates(issued)
    assert.equal(2, #chain)
    local leaf = chain[1]
    assert.equal(key:spki(), leaf:pkey():spki())
    assert.same({ { type = "email", value = "a@example.com" } }, leaf.san)
    assert.equal(600, leaf.not_after - leaf.not_before)
    assert(engine.x509.verify(chain, { time = engine.system.now(),
                                       usage = "code_signing" }))
    local skimmed = assert(engine.x509.skim(leaf.der))
    assert.is_false(skimmed.poisoned)
    assert.equal(1, #assert(engine.sct.parse_list(skimmed.sct_list)))
  end)

  it("embeds an SCT over the very precertificate", function()
    local issued = signing.issue(context, (world:asked()))
    local chain = certificates(issued)
    local skimmed = assert(engine.x509.skim(chain[1].der))
    local sct = assert(engine.sct.parse(
      engine.sct.parse_list(skimmed.sct_list)[1]))
    local signed = engine.sct.leaf({
      timestamp_ms = sct.timestamp_ms, kind = "precert",
      tbs = skimmed.defanged,
      issuer_key_hash = engine.bytes.sha256(chain[2]:pkey():spki()),
    })
    assert(engine.sct.verify(signed, sct.signature, world.log.key))
  end)

  it("issues without an SCT only when there is no log", function()
    local alone = worlds.new({ log = false })
    local issued = signing.issue(alone.context, (alone:asked()))
    assert.is_false(issued.embedded)
    local skimmed = assert(engine.x509.skim(
      certificates(issued)[1].der))
    assert.is_nil(skimmed.sct_list)
    assert.is_false(skimmed.poisoned)
  end)

  it("takes a CSR in place of key and proof", function()
    local key = assert(engine.pkey.generate("P-384"))
    local issued = signing.issue(context, {
      token = world:token(),
      csr = assert(engine.csr.create({ key = key })),
    })
    local leaf = certificates(issued)[1]
    assert.equal(key:spki(), leaf:pkey():spki())
  end)

  it("throws each step's refusal", function()
    local cases = {
      token_malformed = { token = "" },
      token_expired = { token = world:token({ exp = 1 }) },
      wrong_audience = { token = world:token({ aud = "other" }) },
      unknown_issuer = { token = world:token({ iss = "https://x.example" }) },
      email_not_verified = {
        token = world:token({ email_verified = false }) },
      key_unparsable = { public_key = "no key" },
      proof_wrong = { proof = "no proof" },
    }
    for code, changes in pairs(cases) do
      assert.equal(code, thrown(context, (world:asked(changes))).code)
    end
  end)

  it("refuses keys that the allow-list or the template does not have",
  function()
    local strict = { algorithms = { ["P-384 SHA-384"] = true } }
    setmetatable(strict, { __index = context })
    assert.equal("key_not_allowed",
                 thrown(strict, (world:asked())).code)
    local template = [[return { lifetime = 60, subject = {},
      key_usage = { "digital_signature" },
      extended_key_usage = { "code_signing" }, keys = { "Ed25519" } }]]
    local policies = assert(require("fulcio.policy").load({ {
      name = "email.lua", text = [[return {
        issuer = "https://issuer.example", audience = "sigstore",
        must = anyone, san = { email = "{email}" }, template = "narrow" }]],
    } }, { templates = { narrow = template } }))
    local narrow = setmetatable({ policies = policies },
                                { __index = context })
    assert.equal("key_not_allowed", thrown(narrow, (world:asked())).code)
  end)

  it("says that the log is down, and issues nothing", function()
    world.log.down = true
    finally(function() world.log.down = false end)
    local refused = thrown(context, (world:asked()))
    assert.equal("ct_unavailable", refused.code)
    assert.equal(503, refused.http)
  end)

  it("never lets a leaf outlive the CA's chain", function()
    local expires = context.ca.expires
    finally(function() context.ca.expires = expires end)
    context.ca.expires = engine.system.now() + 599
    assert.equal("ca_unavailable", thrown(context, (world:asked())).code)
  end)

  it("tells a CA that is gone from one that fails", function()
    local function with(code)
      local broken = setmetatable({ ca = setmetatable({
        sign = function() return nil, "no", code end,
      }, { __index = context.ca }) }, { __index = context })
      return thrown(broken, (world:asked()))
    end
    assert.equal("ca_unavailable", with("hsm_gone").code)
    assert.equal("ca_unavailable", with("hsm_busy").code)
    local failed = with("sign_failed")
    assert.equal("ca_failed", failed.code)
    assert.equal("no", failed.log.error)
  end)

  describe("with a CA that makes certificates by itself", function()
    local scene, detached

    setup(function()
      scene = scenes.new()
      detached = setmetatable({ ca = assert(scene:open()) },
                              { __index = context })
    end)
    teardown(function() scene:close() end)

    local function issue(asked)
      return signing.issue(detached, asked or (world:asked()))
    end

    it("has the whole certificate logged, and hands the answer on",
    function()
      local issued = issue()
      assert.is_false(issued.embedded)
      local chain = certificates(issued)
      assert.equal(3, #chain)
      assert(engine.x509.verify(chain, { time = engine.system.now(),
                                         usage = "code_signing" }))
      local sct = assert(engine.claims.parse(issued.sct))
      assert(engine.sct.verify(engine.sct.leaf({
        kind = "x509", timestamp_ms = sct.timestamp,
        certificate = chain[1].der, extensions = "",
      }), engine.bytes.unbase64(sct.signature), world.log.key))
      assert.matches('^{"sct_version":0,"id":"', issued.sct)
    end)

    it("issues without an SCT only when there is no log", function()
      finally(function() detached.log = nil end)
      detached.log = false
      local issued = issue()
      assert.is_false(issued.embedded)
      assert.is_nil(issued.sct)
    end)

    it("throws the backend's refusal, and the log's", function()
      scene.fake.faults = { "403" }
      assert.equal("ca_failed", thrown(detached, (world:asked())).code)
      world.log.down = true
      finally(function() world.log.down = false end)
      assert.equal("ct_unavailable", thrown(detached, (world:asked())).code)
    end)

    it("takes a key in DER", function()
      local key = assert(engine.pkey.generate("P-256"))
      issue({ token = world:token(), public_key = key:spki(),
              proof = assert(key:sign("a@example.com")) })
    end)
  end)
end)
