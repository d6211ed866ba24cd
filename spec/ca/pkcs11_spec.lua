local engine = require("fulcio.engine")
local hsm = require("spec.hsm.token")
local program = require("spec.program")

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

describe("ca.pkcs11", function()
  local token, issuer, issuer_url, server, urls

  setup(function() issuer, issuer_url = program.issuer() end)
  teardown(function() issuer:stop() end)

  -- A store whose token "spec" is named by crypto11.conf.
  before_each(function()
    token = hsm.new()
    local policies = token.directory .. "/policies"
    assert(engine.system.mkdir(policies))
    assert(engine.system.write(policies .. "/email.lua",
                               POLICY:format(issuer_url)))
  end)

  after_each(function()
    if server then server:stop() end
    server = nil
    token:remove()
  end)

  local function configure(more)
    local path = token.directory .. "/crypto11.conf"
    local file = assert(io.open(path, "w"))
    file:write(('{"Path":"%s","TokenLabel":"%s","Pin":"%s"%s}')
      :format(token.module, token.label or "spec", hsm.pin, more or
        token.init and ',"Init":"' .. token.init .. '"' or ""))
    file:close()
    return path
  end

  local function createca(flags)
    local all = { "createca", "--pkcs11-config-path", configure() }
    for _, flag in ipairs(flags) do all[#all + 1] = flag end
    local status, output = program.run(all, token.environment)
    assert.equal(0, status, output)
    return output:match("%-%-%-%-%-BEGIN.*")
  end

  local function flags(more)
    local all = { "--ca", "pkcs11ca", "--pkcs11-config-path", configure(),
                  "--policies", token.directory .. "/policies" }
    for _, flag in ipairs(more or { "--hsm-caroot-id", "99" }) do
      all[#all + 1] = flag
    end
    return all
  end

  local function serve(more)
    server, urls = program.serve(token.directory .. "/data", flags(more),
                                 token.environment)
  end

  -- A start that is refused: its words.
  local function refused(more)
    local all = { "serve", "--data-dir", token.directory .. "/data",
                  "--development", "--host", "127.0.0.1", "--port", "0",
                  "--metrics-port", "0", "--ctlog-port", "0",
                  "--grpc-host", "127.0.0.1" }
    for _, flag in ipairs(flags(more)) do all[#all + 1] = flag end
    local status, output = program.run(all, token.environment)
    assert.equal(1, status, output)
    return output
  end

  local function certificate()
    local key = engine.pkey.generate("P-256")
    local jwt = program.post(issuer_url .. "/token",
                             { sub = "a", email = "a@example.com" }).body
    return program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = jwt },
      publicKeyRequest = {
        publicKey = { content = key:pem() },
        proofOfPossession =
          engine.bytes.base64(assert(key:sign("a@example.com"))),
      },
    })
  end

  local function verified(response, root)
    assert.equal(200, response.status, response.body)
    local chain = program.parsed(response).signedCertificateEmbeddedSct.chain
    local found = assert(engine.x509.parse(
      table.concat(chain.certificates, "\n")))
    assert.equal(root, found[#found].pem)
    assert(engine.x509.verify(found, { time = engine.system.now(),
                                       usage = "code_signing" }))
    return found
  end

  local function served()
    local other = hsm.new()
    other:serve()
    return other
  end

  for name, make in pairs({ SoftHSM = hsm.new, ["a remote SoftHSM"] = served,
                            ["NSS softokn"] = hsm.nss,
                            Kryoptic = hsm.kryoptic, ["a TPM"] = hsm.tpm }) do
    for _, algorithm in ipairs({ "P-256", "P-384", "RSA-2048" }) do
      it(("issues with a key of %s in %s"):format(algorithm, name), function()
        local other, why = make()
        if not other then pending(why) end
        os.execute(("cp -r %s/policies %s"):format(token.directory,
                                                    other.directory))
        token:remove()
        token = other
        local root = createca({ "--generate-key", algorithm,
                                "--hsm-caroot-id", "99" })
        serve()
        for _ = 1, 4 do verified(certificate(), root) end
        assert.equal(200, program.get(urls.http .. "/healthz").status)
      end)
    end
  end

  it("issues through a remote token, and again after it was gone",
     function()
    local root = createca({ "--generate-key", "P-256", "--hsm-caroot-id",
                            "99" })
    local remote = token:serve()
    serve()
    verified(certificate(), root)
    token.lose(remote)
    local answer = program.wait(function()
      local response = certificate()
      return response.status == 503 and response
    end)
    assert.truthy(tonumber(answer.headers["retry-after"]))
    assert.truthy(answer.body:find("error communicating with CA backend",
                                   1, true))
    -- Each worker knows when it has been asked.
    assert.is_true(program.wait(function()
      certificate()
      return program.get(urls.http .. "/healthz").status == 503
        and program.get(urls.metrics).body:find("\nfulcio_ca_up 0\n") ~= nil
    end))
    token:serve()
    verified(program.wait(function()
      local response = certificate()
      return response.status == 200 and response
    end), root)
    assert.is_true(program.wait(function()
      return program.get(urls.http .. "/healthz").status == 200
        and program.get(urls.metrics).body:find("\nfulcio_ca_up 1\n") ~= nil
    end))
  end)

  it("replaces a worker whose module hangs", function()
    local root = createca({ "--generate-key", "P-256", "--hsm-caroot-id",
                            "99" })
    token.module = os.getenv("PWD") .. "/" .. hsm.shim
    token.environment.SHIM_FAULT = token.directory .. "/fault"
    serve({ "--hsm-caroot-id", "99", "--workers", "1" })
    local worker = server:children()
    verified(certificate(), root)
    assert(engine.system.write(token.environment.SHIM_FAULT,
                               "C_Sign hang\n"))
    assert.equal(503, certificate().status)
    server:wait_for("module hangs")
    os.remove(token.environment.SHIM_FAULT)
    program.wait(function() return certificate().status == 200 end)
    verified(certificate(), root)
    assert.not_same(worker, server:children())
  end)

  it("is not ready while its HSM signs wrongly, then again by itself",
     function()
    local root = createca({ "--generate-key", "P-256", "--hsm-caroot-id",
                            "99" })
    token.module = os.getenv("PWD") .. "/" .. hsm.shim
    token.environment.SHIM_FAULT = token.directory .. "/fault"
    serve({ "--hsm-caroot-id", "99", "--workers", "1",
            "--verify-signatures", "all" })
    local function health()
      return program.get(urls.http .. "/healthz").status
    end
    verified(certificate(), root)
    assert.equal(200, health())
    assert(engine.system.write(token.environment.SHIM_FAULT, "C_Sign lie\n"))
    assert.equal(500, certificate().status)
    assert.equal(503, health())
    os.remove(token.environment.SHIM_FAULT)
    assert.is_true(program.wait(function() return health() == 200 end))
    verified(certificate(), root)
  end)

  it("climbs from its certificate to the root that the token keeps too",
  function()
    local root = token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "P-256", label = "PKCS11CA",
                              id = "99" }))
      local key = assert(token:key({ label = "PKCS11CA" }))
      local now = engine.system.now()
      local above = assert(engine.pkey.generate("P-256"))
      local function certificate(name, profile)
        profile.subject, profile.ca = { { "CN", name } }, true
        profile.key_usage = { "cert_sign", "crl_sign" }
        profile.not_before, profile.not_after = now - 60, now + 864000
        local draft = assert(engine.draft.new(profile))
        return assert(engine.x509.parse(assert(engine.draft.sign(
          draft:plain(), above))))[1]
      end
      local root = certificate("root", { key = above, signer = above })
      local below = certificate("below", { key = key, signer = above,
        issuer = root, extended_key_usage = { "code_signing" } })
      for id, one in pairs({ ["99"] = below, ["98"] = root }) do
        assert(token:store({ id = id, label = id, der = one.der,
          subject = one.subject_der, issuer = one.issuer_der,
          serial = engine.x509.skim(one.der).serial }))
      end
      io.write(root.pem)
    ]])
    serve()
    assert.equal(3, #verified(certificate(), root .. "\n"))
  end)

  it("takes its chain from a file when the token keeps none", function()
    local out = token.directory .. "/root.pem"
    local root = createca({ "--generate-key", "P-256", "--hsm", "aws",
                            "--hsm-caroot-id", "99", "--out", out })
    serve({ "--aws-hsm-root-ca-path", out })
    verified(certificate(), root)
  end)

  it("issues nothing that would outlive its chain", function()
    createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99",
               "--lifetime", "5m" })
    serve()
    local answer = certificate()
    assert.equal(503, answer.status)
    assert.truthy(answer.body:find("CA_UNAVAILABLE", 1, true))
    answer = program.get(urls.http .. "/healthz")
    assert.equal(503, answer.status)
    assert.matches("the CA's chain ends %d%d%d%d%-", server:output())
  end)

  it("takes the key from a PKCS#11 URI", function()
    local root = createca({ "--generate-key", "P-256", "--hsm-caroot-id",
                            "99" })
    serve({ "--hsm-caroot-id", "99", "--hsm-key-label",
            ("pkcs11:token=spec;object=PKCS11CA?module-path=%s&pin-value=%s")
              :format(hsm.softhsm, hsm.pin) })
    verified(certificate(), root)
  end)

  describe("refuses to start", function()
    it("without an ID", function()
      assert.truthy(refused({}):find("--hsm-caroot-id must be set", 1, true))
    end)

    it("without the certificate", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      assert.truthy(refused({ "--hsm-caroot-id", "98" })
        :find('no certificate with CKA_ID "98"', 1, true))
    end)

    it("with a file for its chain that holds none", function()
      local path = token.directory .. "/root.pem"
      local message = refused({ "--aws-hsm-root-ca-path", path })
      assert.truthy(message:find(path .. ": No such file", 1, true), message)
      assert(engine.system.write(path, "none"))
      message = refused({ "--aws-hsm-root-ca-path", path })
      assert.truthy(message:find(path .. ": certificate: no PEM", 1, true))
    end)

    it("without the key", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      assert.truthy(refused({ "--hsm-caroot-id", "99", "--hsm-key-label",
                              "other" }):find("no such key", 1, true))
    end)

    it("when the key is another than the certificate's", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "98",
                 "--hsm-key-label", "other" })
      assert.truthy(refused({ "--hsm-caroot-id", "99", "--hsm-key-label",
                              "other" })
        :find("the key is not the certificate's", 1, true))
    end)

    it("when a test signature does not verify", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      token.module = hsm.shim
      token.environment.SHIM_LIE = "1"
      assert.truthy(refused():find("does not verify", 1, true))
    end)

    it("with a wrong PIN", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      token:shell(("pkcs11-tool --module %s --login --pin %s --change-pin"
        .. " --new-pin 9999999"):format(hsm.softhsm, hsm.pin))
      assert.truthy(refused():find("CKR_PIN_INCORRECT", 1, true))
    end)

    it("with two tokens of that name", function()
      createca({ "--generate-key", "P-256", "--hsm-caroot-id", "99" })
      token:add("spec")
      assert.truthy(refused():find("more than one token fits", 1, true))
    end)

    it("without its configuration", function()
      local status, output = program.run({
        "serve", "--ca", "pkcs11ca", "--hsm-caroot-id", "99",
        "--pkcs11-config-path", "/nowhere", "--development",
        "--data-dir", token.directory .. "/data", "--host", "127.0.0.1",
      }, token.environment)
      assert.equal(1, status, output)
      assert.truthy(output:find("/nowhere: No such file", 1, true), output)
    end)
  end)
end)
