local engine = require("fulcio.engine")
local kms = require("fulcio.ca.kms")
local log = require("fulcio.log")
local openbao = require("fulcio.kms.openbao")
local reply = require("fulcio.reply")
local signing = require("fulcio.signing")
local servers = require("spec.kms.bao")
local worlds = require("spec.world")

describe("kms.openbao", function()
  local bao, missing
  local said = {}

  setup(function()
    log.open({ mode = "prod", write = function(line)
      said[#said + 1] = line
    end })
    bao, missing = servers.start()
  end)

  teardown(function()
    if bao then assert.is_true(bao:stop()) end
    log.open({ mode = "prod" })
  end)

  before_each(function()
    said = {}
    if not bao then pending(missing) end
  end)

  local function environment(token)
    return { BAO_ADDR = bao.url, BAO_TOKEN = token or "root",
             HOME = bao.directory }
  end

  local function open(name, chain, token)
    return kms.open({ kms_resource = "openbao://" .. name,
      kms_cert_chain_path = chain, verify_signatures = "sampled",
      environment = environment(token) })
  end

  local function deadline() return engine.system.monotonic() + 5 end

  local function signs(ca)
    local draft = assert(engine.draft.new({
      key = assert(engine.pkey.generate("P-256")), issuer = ca.chain[1],
      not_before = 0, not_after = 10,
      san = { type = "email", value = "a@example.com" },
    }))
    local der, message, code = ca:sign(draft:plain())
    if not der then return nil, message, code end
    assert(ca.chain[1]:signed(der))
    return true
  end

  it("signs with keys of every kind, SCT embedded", function()
    for kind, name in pairs({ ["ecdsa-p256"] = "P-256",
        ["ecdsa-p384"] = "P-384", ["ecdsa-p521"] = "P-521",
        ["rsa-2048"] = "RSA-2048" }) do
      local public = bao:key(kind, kind)
      assert.equal(name, public.name)
      local world = worlds.new()
      world.context.ca = assert(open(kind, bao:chain(public, kind),
                                     bao:token()))
      local issued = signing.issue(world.context, (world:asked()))
      assert.is_true(issued.embedded)
      local chain = assert(engine.x509.parse(table.concat(reply.chain(issued),
                                                          "\n")))
      assert(engine.x509.verify(chain, { time = engine.system.now(),
                                         usage = "code_signing" }))
    end
  end)

  it("stays with the version whose public key is in the chain", function()
    local public = bao:key("rotated", "ecdsa-p256")
    local chain = bao:chain(public, "rotated")
    local ca = assert(open("rotated", chain))
    bao:ask("POST", "transit/keys/rotated/rotate", {})
    assert.is_true(signs(ca))
    assert.is_true(signs(assert(open("rotated", chain))))
    local second = bao:chain(bao:public("rotated", 2), "second")
    local later = assert(open("rotated", second))
    assert.equal(2, later.signer.version)
    assert.is_true(signs(later))
    bao:ask("POST", "transit/keys/rotated/config",
            { min_decryption_version = 2, min_encryption_version = 2 })
    local ok, message = signs(ca)
    assert.is_nil(ok)
    assert.matches("transit/sign/rotated: ", message, 1, true)
    ok, message = open("rotated", chain)
    assert.is_nil(ok)
    assert.matches("none of the 1 versions of transit/keys/rotated",
                   message, 1, true)
  end)

  it("names a sealed server, and goes on once it is unsealed", function()
    local chain = bao:chain(bao:key("sealed", "ecdsa-p256"), "sealed")
    local ca = assert(open("sealed", chain))
    bao:ask("PUT", "sys/seal", {})
    finally(function() bao:unseal() end)
    local ok, message, code = signs(ca)
    assert.is_nil(ok)
    assert.equal("hsm_gone", code)
    assert.matches("is sealed", message, 1, true)
    ok, message = open("sealed", chain)
    assert.is_nil(ok)
    assert.matches("is sealed", message, 1, true)
    assert.is_false(ca.proven)
    bao:unseal()
    assert.is_true(signs(ca))
    assert.is_true(ca.proven)
  end)

  it("names a server that is gone", function()
    local chain = bao:chain(bao:key("gone", "ecdsa-p256"), "gone")
    local ca = assert(open("gone", chain))
    ca.signer.url = "http://127.0.0.1:1"
    local ok, message, code = signs(ca)
    assert.is_nil(ok)
    assert.equal("hsm_gone", code)
    assert.matches("OpenBao at " .. bao.url, message, 1, true)
    assert.is_nil(ca:ready(600))
  end)

  it("tells a token that ended from a policy that refuses", function()
    local chain = bao:chain(bao:key("token", "ecdsa-p256"), "token")
    local token = bao:token()
    local ca = assert(open("token", chain, token))
    bao:ask("POST", "auth/token/revoke", { token = token })
    local ok, message, code = signs(ca)
    assert.is_nil(ok)
    assert.equal("hsm_gone", code)
    assert.matches("the token has expired or was revoked", message, 1, true)
    ca.signer.token = bao:token({ policies = { "default" } })
    ok, message, code = signs(ca)
    assert.is_nil(ok)
    assert.equal("sign_failed", code)
    assert.matches("policy does not allow transit/sign/token", message, 1,
                   true)
    assert.is_nil(message:find(token, 1, true))
  end)

  it("renews a token before its end, and never logs it", function()
    local token = bao:token({ ttl = "1h" })
    local signer = assert(openbao.open("openbao://renewed",
                                       environment(token)))
    local public = bao:key("renewed", "ecdsa-p256")
    assert(signer:bind(public, deadline()))
    local clock = engine.system.monotonic
    local now = clock() + 3600 * 2 / 3 + 1
    finally(function() engine.system.monotonic = clock end)
    signer:tend(deadline())
    assert.same({}, said)
    engine.system.monotonic = function() return now end
    signer:tend(deadline())
    assert.matches("is renewed", said[1], 1, true)
    assert.is_nil(table.concat(said):find(token, 1, true))
    assert.is_true(signer.renew_at > now + 2000)
    bao:ask("POST", "auth/token/revoke", { token = token })
    now = signer.renew_at
    signer:tend(deadline())
    assert.matches("is not renewed", said[2], 1, true)
    assert.equal(now + 10, signer.renew_at)
  end)

  it("warns of a token that ends and cannot be renewed", function()
    bao:key("ending", "ecdsa-p256")
    local signer = assert(openbao.open("openbao://ending", environment(
      bao:token({ renewable = false }))))
    assert(signer:bind(bao:public("ending"), deadline()))
    assert.matches("cannot be renewed", said[1], 1, true)
    assert.is_nil(signer.renew_at)
    assert(assert(openbao.open("openbao://ending", environment()))
           :bind(bao:public("ending"), deadline()))
    assert.equal(1, #said)
  end)

  it("takes the token of a file, and a newer one", function()
    local path = bao.directory .. "/.vault-token"
    finally(function() os.remove(path) end)
    local variables = { VAULT_ADDR = bao.url, HOME = bao.directory }
    local signer, message = openbao.open("hashivault://filed", variables)
    assert.is_nil(signer)
    assert.matches("VAULT_TOKEN is not set", message, 1, true)
    local token = bao:token()
    assert(engine.system.write(path, token .. "\n"))
    signer = assert(openbao.open("hashivault://filed", variables))
    local public = bao:key("filed", "ecdsa-p256")
    assert(signer:bind(public, deadline()))
    bao:ask("POST", "auth/token/revoke", { token = token })
    assert(engine.system.write(path, bao:token()))
    local digest = engine.bytes.sha256("x")
    local signature = assert(signer:sign(digest, "SHA-256", deadline()))
    assert(public:verify("x", signature))
  end)

  it("knows what a resource and its environment must be", function()
    local function refuses(words, resource, variables)
      local signer, message = openbao.open(resource, variables or {})
      assert.is_nil(signer)
      assert.matches(words, message, 1, true)
    end
    refuses("is not openbao://KEY", "openbao://")
    refuses("is not openbao://KEY", "openbao://a/b")
    refuses("BAO_ADDR is not set", "openbao://a")
    refuses("VAULT_ADDR is not set", "hashivault://a")
    local signer = assert(openbao.open("hashivault://a", {
      BAO_ADDR = "http://x/", VAULT_ADDR = "http://y/", VAULT_TOKEN = "t",
      VAULT_NAMESPACE = "n", TRANSIT_SECRET_ENGINE_PATH = "m" }))
    assert.equal("http://y", signer.url)
    assert.equal("m", signer.mount)
    assert.equal("n", signer.namespace)
  end)

  it("takes no answer without a signature of its version", function()
    bao:key("strange", "ecdsa-p256")
    local signer = assert(openbao.open("openbao://strange", environment()))
    assert(signer:bind(bao:public("strange"), deadline()))
    finally(function() engine.http.set_backend(nil) end)
    for _, signature in ipairs({ "vault:v2:AAAA", "vault:v1:?", "AAAA" }) do
      engine.http.set_backend(function()
        return { status = 200, headers = {},
                 body = '{"data":{"signature":"' .. signature .. '"}}' }
      end)
      local made, message = signer:sign("x", "SHA-256", deadline())
      assert.is_nil(made)
      assert.matches("no signature of version 1", message, 1, true)
    end
  end)
end)
