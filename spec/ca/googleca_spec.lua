local engine = require("fulcio.engine")
local log = require("fulcio.log")
local refusal = require("fulcio.refusal")
local scenes = require("spec.google.scene")

describe("ca.googleca", function()
  local scene, said, sleep, slept

  before_each(function()
    said, slept = {}, {}
    log.open({ mode = "prod", write = function(line)
      said[#said + 1] = line
    end })
    sleep = engine.server.sleep
    engine.server.sleep = function(seconds) slept[#slept + 1] = seconds end
    scene = scenes.new()
  end)

  after_each(function()
    engine.server.sleep = sleep
    scene:close()
    log.open({ mode = "prod" })
  end)

  local function profile(ca, changes)
    local now = engine.system.now()
    local made = {
      key = assert(engine.pkey.generate("P-256")), issuer = ca.chain[1],
      not_before = now, not_after = now + 600,
      key_usage = { "digital_signature" },
      extended_key_usage = { "code_signing" },
      san = { type = "email", value = "a@example.com" },
      extensions = {
        { oid = "1.3.6.1.4.1.57264.1.1", value = "https://issuer.example" },
        { oid = "1.3.6.1.4.1.57264.1.8",
          value = assert(engine.extension.utf8("https://issuer.example")) },
      },
    }
    for name, value in pairs(changes or {}) do made[name] = value end
    return made
  end

  local function issue(ca, changes)
    local about = profile(ca, changes)
    local draft = assert(engine.draft.new(about))
    return ca:issue(about, draft)
  end

  local function opens(changes)
    return assert(scene:open(changes))
  end

  local function refuses(code, ca)
    local leaf, refused = issue(ca or opens())
    assert.is_nil(leaf)
    assert.is_true(refusal.is(refused))
    assert.equal(code, refused.code)
    return refused
  end

  local function created() return scene.fake:count("/certificates$") end

  it("has a certificate made that hangs on the pool's chain", function()
    local ca = opens()
    assert.is_false(ca.embeds)
    local leaf, chain = issue(ca)
    assert.equal(2, #chain)
    assert(engine.x509.verify({ leaf, chain[1], chain[2] },
      { time = engine.system.now(), usage = "code_signing" }))
    assert.same({ { type = "email", value = "a@example.com" } }, leaf.san)
    assert.equal(scene.fake.authorities[1].certificate.pem, chain[1].pem)
  end)

  it("asks for every kind of name, key and extension", function()
    local ca = opens()
    local names = {
      { type = "email", value = "a@example.com" },
      { type = "uri", value = "spiffe://example.com/x" },
      { type = "other", oid = "1.3.6.1.4.1.57264.1.7",
        value = "somebody!example.com" },
    }
    for _, san in ipairs(names) do
      for _, kind in ipairs({ "P-256", "P-384", "RSA-2048", "Ed25519" }) do
        local leaf = assert(issue(ca, {
          san = san, key = assert(engine.pkey.generate(kind)),
          extensions = { { oid = "1.3.6.1.4.1.32473.1", value = "\12\1x",
                           critical = true } },
        }))
        assert.same(san, leaf.san[1])
      end
    end
    assert(issue(ca, { subject = { { "O", "acme" }, { "CN", "x" } } }))
  end)

  it("names the CA of the pool when the parent does", function()
    scene:close()
    scene = scenes.new({ cas = 3 })
    local ca = opens({ gcp_private_ca_parent = scenes.POOL
                       .. "/certificateAuthorities/ca-2" })
    assert.equal(1, #ca:bundle())
    for _ = 1, 3 do
      local leaf = assert(issue(ca))
      assert.equal(ca.chain[1].subject_der, leaf.issuer_der)
    end
    assert.matches("CN=ca%-2", ca.chain[1].subject)
  end)

  it("takes certificates of every CA of the pool, a new one too", function()
    scene:close()
    scene = scenes.new({ cas = 2 })
    local ca = opens()
    assert.equal(2, #ca:bundle())
    local subjects = {}
    for _ = 1, 2 do
      local _, chain = issue(ca)
      subjects[chain[1].subject] = true
    end
    assert.is_true(subjects["CN=ca-1,O=fake of Google"])
    assert.is_true(subjects["CN=ca-2,O=fake of Google"])
    scene.fake.authorities = { require("spec.google.issuance")
      .authority("ca-3") }
    local _, chain = issue(ca)
    assert.matches("ca%-3", chain[1].subject)
    assert.equal(1, #ca:bundle())
  end)

  it("sends an ID for each request, and a name for Enterprise pools",
  function()
    scene:close()
    scene = scenes.new({ tier = "ENTERPRISE" })
    local ca = opens()
    assert(issue(ca))
    assert(issue(ca))
    assert.equal(2, #scene.fake.made)
  end)

  it("refuses every certificate that is not the one asked for", function()
    local cases = {
      wrong_key = "public key is another",
      dropped = "extension 1.3.6.1.4.1.57264.1.8 is missing",
      altered = "extension 1.3.6.1.4.1.57264.1.1 is another",
      critical = "extension 1.3.6.1.4.1.57264.1.1 differs in being critical",
      added = "extension 1.3.6.1.4.1.57264.1.99 was not asked for",
      two_names = "subject alternative name is another",
      other_name = "subject alternative name is another",
      eku = "extended key usage is another",
      usage = "key usage is another",
      longer = "lifetime: 601 s instead of 600 s",
      backdated = "lifetime: 4200 s instead of 600 s",
      future = "lifetime: ",
      past = "lifetime: it has ended",
      subject = "subject is another",
      ca = "basic constraints: a CA where none was asked for",
      stranger = "not signed by a CA of the pool",
    }
    local ca = opens()
    for fault, words in pairs(cases) do
      scene.fake.faults = { fault }
      local refused = refuses("ca_failed", ca)
      assert.equal(500, refused.http)
      assert.matches("made a wrong certificate: " .. words,
                     refused.log.error, 1, true)
    end
  end)

  it("takes a shorter lifetime: the CA's own end is nearer", function()
    scene.fake.faults = { "shorter" }
    assert.equal(540, (function(leaf)
      return leaf.not_after - leaf.not_before
    end)(issue(opens())))
  end)

  it("asks again with the same ID, and gets the same certificate", function()
    for _, fault in ipairs({ "reset", "silence", "truncated" }) do
      local ca = opens()
      local before = #scene.fake.made
      scene.fake.faults = { fault }
      local leaf = assert(issue(ca))
      assert.equal(before + 1, #scene.fake.made)
      assert.equal(scene.fake.made[before + 1], leaf.pem)
    end
  end)

  it("gets over what passes", function()
    for _, fault in ipairs({ "503", "500 html", "200 html", "429", "401" }) do
      local ca = opens()
      scene.fake.faults = { fault }
      local before = created()
      assert(issue(ca))
      assert.equal(before + 2, created(), fault)
    end
  end)

  it("renews a token that was refused once, not twice", function()
    local ca = opens()
    scene.fake.faults = { "401", "401" }
    local before = created()
    local refused = refuses("ca_failed", ca)
    assert.equal(before + 2, created())
    assert.matches("UNAUTHENTICATED", refused.log.error)
  end)

  it("asks once for what is refused, and says why to the operator",
  function()
    local cases = {
      ["403"] = "privateca.certificates.create",
      ["403 bare"] = "privateca.certificates.create",
      ["400"] = "certificate.lifetime",
      ["404"] = "status 404",
    }
    for fault, words in pairs(cases) do
      local ca = opens()
      scene.fake.faults = { fault }
      local before = created()
      local refused = refuses("ca_failed", ca)
      assert.equal(before + 1, created(), fault)
      assert.matches(words, refused.log.error, 1, true)
      assert.equal("error communicating with CA backend", refused.message)
    end
  end)

  it("waits as long as Google asks, once", function()
    local ca = opens()
    scene.fake.faults = { "429", "429" }
    local refused = refuses("ca_unavailable", ca)
    assert.same({ 0.2 }, slept)
    assert.equal(503, refused.http)
    assert.equal(1, refused.retry_after)
  end)

  it("passes a wait on that is too long for it", function()
    for fault, seconds in pairs({ ["429 long"] = 30, ["429 header"] = 40 }) do
      local ca = opens()
      scene.fake.faults = { fault }
      local before = created()
      local refused = refuses("ca_unavailable", ca)
      assert.equal(before + 1, created())
      assert.equal(seconds, refused.retry_after)
      assert.equal(503, refused.http)
    end
  end)

  it("gives up on what stays away, in time", function()
    local ca = opens()
    for i = 1, 20 do scene.fake.faults[i] = "503" end
    local refused = refuses("ca_unavailable", ca)
    assert.equal(503, refused.http)
    assert.is_true(refused.retry_after >= 1)
    local clock, now = engine.system.monotonic, 100000
    finally(function() engine.system.monotonic = clock end)
    engine.system.monotonic = function() return now end
    ca = opens()
    scene.fake.faults = {}
    scene.fake.silence = function()
      now = now + 4
      return nil, "no answer within 4 s", "timeout"
    end
    local began = now
    for i = 1, 20 do scene.fake.faults[i] = "mute" end
    refuses("ca_unavailable", ca)
    assert.is_true(now - began <= 9)
  end)

  it("keeps to the quota of the pool's tier", function()
    local clock, now = engine.system.monotonic, 1000
    finally(function() engine.system.monotonic = clock end)
    engine.system.monotonic = function() return now end
    for tier, quota in pairs({ DEVOPS = 25, ENTERPRISE = 7 }) do
      scene.fake.tier = tier
      local ca = opens()
      slept = {}
      for _ = 1, quota do assert(issue(ca)) end
      assert.same({}, slept)
      assert(issue(ca))
      assert.equal(1, #slept)
      for _ = 1, 3 * quota do ca.pacing:take(2) end
      local refused = refuses("ca_unavailable", ca)
      assert.matches("quota", refused.log.error)
      assert.is_true(refused.retry_after >= 2)
    end
  end)

  it("is ready when Google would make one, and asks seldom", function()
    local ca = opens()
    local before = created()
    assert.is_true(ca:ready(600))
    assert.equal(before, created())
    assert.equal(0, #scene.fake.made)
    local clock = engine.system.monotonic
    local now = clock() + 61
    finally(function() engine.system.monotonic = clock end)
    engine.system.monotonic = function() return now end
    scene.fake.refuse["/certificates"] = "403"
    local ok, message = ca:ready(600)
    assert.is_nil(ok)
    assert.matches("privateca.certificates.create", message, 1, true)
    assert.equal(before + 1, created())
    assert.is_nil(ca:ready(600))
    assert.equal(before + 1, created())
    now = now + 6
    scene.fake.refuse["/certificates"] = "400"
    assert.is_true(ca:ready(600))
    assert.matches("certificate.lifetime", table.concat(said), 1, true)
  end)

  it("does not start without what it needs", function()
    local function fails(words, changes)
      local ca, message = scene:open(changes)
      assert.is_nil(ca)
      assert.matches(words, message, 1, true)
    end
    fails("--gcp_private_ca_parent must be set",
          { gcp_private_ca_parent = "" })
    for _, parent in ipairs({ "projects/p", scenes.POOL .. "/x",
                              scenes.POOL .. "?a=b" }) do
      fails("is not projects/P/locations/L/caPools/POOL",
            { gcp_private_ca_parent = parent })
    end
    fails("--gcp_private_ca_version", { gcp_private_ca_version = "v2" })
    fails("is not https (http only on loopback)",
          { gcp_private_ca_endpoint = "http://ca.example" })
    fails("is not https", { gcp_private_ca_endpoint = "ca.example" })
    scene.fake.refuse["/certificates"] = "403"
    fails("privateca.certificates.create")
    scene.fake.refuse[":fetchCaCerts"] = "403 bare"
    fails("caPools.fetchCaCerts: status 403; permission"
          .. " privateca.caPools.get is needed on " .. scenes.POOL)
    scene.environment.GOOGLE_APPLICATION_CREDENTIALS = "/nowhere.json"
    fails("GOOGLE_APPLICATION_CREDENTIALS: /nowhere.json")
    scene.fake.refuse = {}
  end)

  it("leaves a CA out that does not hold, and refuses an empty pool",
  function()
    local authorities = scene.fake.authorities
    authorities[2] = { id = "broken", chain = { "no certificate" } }
    assert.equal(1, #opens():bundle())
    assert.matches("left out", table.concat(said))
    scene.fake.authorities = {}
    local ca, message = scene:open()
    assert.is_nil(ca)
    assert.matches("the pool has no CA", message)
  end)

  it("asks for the chains again when it is time, and hands them on",
  function()
    local ca, other = opens(), opens()
    assert.is_false(ca:renew())
    assert.is_false(ca:renew(true))
    scene.fake.authorities[2] = require("spec.google.issuance")
      .authority("ca-2")
    assert.is_true(ca:renew(true))
    assert.equal(2, #ca:bundle())
    other:take(ca.pems)
    assert.equal(2, #other:bundle())
    scene.fake.refuse[":fetchCaCerts"] = "403"
    assert.is_false(ca:renew(true))
    assert.equal(2, #ca:bundle())
    assert.matches("stay as they were", table.concat(said))
  end)

  it("lets go of its credentials, not of its chains", function()
    local ca = opens()
    ca:close()
    assert.equal(1, #ca:bundle())
    assert.is_nil(ca:ready(600))
  end)

  it("never logs a token", function()
    local ca = opens()
    for _, fault in ipairs({ "401", "403", "400", "503", "truncated" }) do
      scene.fake.faults = { fault }
      local _, refused = issue(ca)
      if refusal.is(refused) then log.refused(refused) end
    end
    local text = table.concat(said)
    assert.is_nil(text:find("ya29", 1, true))
    assert.is_nil(text:find("eyJ", 1, true))
  end)
end)
