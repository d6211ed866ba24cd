local engine = require("fulcio.engine")
local files = require("spec.files")
local hsm = require("spec.hsm.token")

local read = files.read

local PROGRAM = (os.getenv("BUILD") or "build") .. "/fulcio"

describe("createca", function()
  local token, out

  local function configure(module)
    files.write(token.directory .. "/crypto11.conf",
      ('{"Path":"%s","TokenLabel":"spec","Pin":"%s"}')
        :format(module, hsm.pin))
  end

  before_each(function()
    token = hsm.new()
    out = token.directory .. "/root.pem"
    configure(hsm.softhsm)
  end)
  after_each(function() token:remove() end)

  local function createca(flags)
    return token:shell(("exec %s createca --pkcs11-config-path %s %s")
      :format(PROGRAM, token.directory .. "/crypto11.conf", flags))
  end

  local FULCIO = "--org=acme --country=UK --locality=SomeTown"
    .. " --province=SomeProvince --postal-code=XXXX --street-address=XXXX"
    .. " --hsm-caroot-id 99 --generate-key P-384"

  it("makes the root of Fulcio's README", function()
    local output, ok = createca(FULCIO .. " --out " .. out)
    assert.is_true(ok, output)
    local pem = read(out)
    assert.truthy(output:find(pem, 1, true))
    local root = assert(engine.x509.parse(pem))[1]
    assert.is_true(root.ca)
    assert.equal(1, root.path_length)
    assert.same({ "cert_sign", "crl_sign" }, root.key_usage)
    assert.equal("ECDSA-SHA384", root.signature_algorithm)
    assert.equal(root.subject_der, root.issuer_der)
    assert.truthy(root.subject:find("O=acme", 1, true))
    assert.truthy(root.subject:find("street=XXXX", 1, true)
                  or root.subject:find("STREET=XXXX", 1, true))
    local life = root.not_after - root.not_before
    assert.equal(3650 * 86400, life)
    assert(root:signed(root.der))
  end)

  it("ends when the module hangs", function()
    local module = os.getenv("PWD") .. "/" .. hsm.shim
    token.environment.SHIM_FAULT = token.directory .. "/fault"
    files.write(token.environment.SHIM_FAULT, "C_Login hang\n")
    configure(module)
    local output, ok = createca(FULCIO .. " --hsm-timeout 1s")
    assert.is_false(ok)
    assert.equal(("fulcio createca: %s: no answer for 1 seconds"
      .. " (--hsm-timeout)\n"):format(module), output)
    output = createca(FULCIO .. " --hsm-timeout 0s")
    assert.equal("fulcio createca: --hsm-timeout: from 1s to 24h\n", output)
  end)

  it("stores it in the token, as other tools see it", function()
    assert.is_true(select(2, createca(FULCIO)))
    local listing = token:shell(("pkcs11-tool --module %s --login --pin %s"
      .. " --list-objects --type cert"):format(hsm.softhsm, hsm.pin))
    assert.truthy(listing:find("ID:%s+3939")) -- "99" as Fulcio has it
    assert.truthy(listing:find("label:%s+PKCS11CA"))
  end)

  it("makes RSA and P-256 roots, with a lifetime and a name", function()
    for i, algorithm in ipairs({ "P-256", "RSA-2048", "Ed25519" }) do
      local path = token.directory .. "/" .. i
      local output, ok = createca(("--hsm-caroot-id %d --hsm-key-label %s"
        .. " --generate-key %s --lifetime 48h --common-name name --out %s")
        :format(i, algorithm, algorithm, path))
      assert.is_true(ok, output)
      local root = engine.x509.parse(read(path))[1]
      assert.equal(algorithm, root:pkey().name)
      assert.equal(48 * 3600, root.not_after - root.not_before)
      assert.truthy(root.subject:find("CN=name", 1, true))
    end
  end)

  it("takes a key that a URI names by its ID alone", function()
    local uri = ("'pkcs11:token=spec;id=%%31?module-path=%s&pin-value=%s'")
      :format(hsm.softhsm, hsm.pin)
    for id, more in ipairs({ " --generate-key P-256", "" }) do
      local output, ok = createca("--hsm-caroot-id " .. id
        .. " --hsm-key-label " .. uri .. more)
      assert.is_true(ok, output)
    end
  end)

  it("makes a request, and takes the chain that comes back", function()
    local csr = token.directory .. "/ca.csr"
    local output, ok = createca("--hsm-caroot-id 7 --generate-key P-256"
      .. " --csr --out " .. csr)
    assert.is_true(ok, output)
    local asked = assert(engine.csr.parse(read(csr)))
    assert(asked:verify())

    local key, now = engine.pkey.generate("P-256"), engine.system.now()
    local function certificate(profile)
      profile.not_before, profile.not_after = now, now + 86400
      profile.ca, profile.key_usage = true, { "cert_sign" }
      local draft = assert(engine.draft.new(profile))
      return engine.x509.parse(engine.draft.sign(draft:plain(), key))[1]
    end
    local root = certificate({ key = key, subject = { { "CN", "root" } } })
    local ours = certificate({ key = asked.key, issuer = root, signer = key,
      subject = { { "CN", "ours" } },
      extended_key_usage = { "code_signing" } })
    local chain = token.directory .. "/chain.pem"
    assert(engine.system.write(chain, ours.pem .. root.pem))

    output, ok = createca("--hsm-caroot-id 7 --import " .. chain)
    assert.is_true(ok, output)
    assert.equal("2", token:lua([[
      io.write(#assert(assert(open({})):certificates({})))
    ]]))
    -- Another key's chain is not ours.
    assert(engine.system.write(chain, root.pem))
    output, ok = createca("--hsm-caroot-id 8 --import " .. chain)
    assert.is_false(ok)
    assert.truthy(output:find("the key is not the certificate's", 1, true))
  end)

  it("works with key files, without an HSM", function()
    local key = token.directory .. "/key.pem"
    local output, ok = createca(("--key %s --key-passwd secret --out %s")
      :format(key, out))
    assert.is_true(ok, output)
    local root = engine.x509.parse(read(out))[1]
    local opened = assert(engine.pkey.open(key, "secret"))
    assert.equal(root:pkey():spki(), opened:spki())
    assert.equal(tonumber("600", 8), engine.system.stat(key).mode)
  end)

  describe("refuses", function()
    local function refused(flags, words)
      local output, ok = createca(flags)
      assert.is_false(ok, output)
      assert.truthy(output:find(words, 1, true), output)
    end

    it("to overwrite a certificate in the token", function()
      assert.is_true(select(2, createca(FULCIO)))
      refused("--hsm-caroot-id 99 --out " .. out, "already")
      assert.is_nil(engine.system.stat(out))
    end)

    it("to overwrite a file, before it touches the token", function()
      assert(engine.system.write(out, "mine"))
      refused(FULCIO .. " --out " .. out, "is not overwritten")
      assert.equal("mine", read(out))
      assert.equal("0", token:lua("io.write(#assert(open({})):list())"))
    end)

    it("to overwrite a key", function()
      assert.is_true(select(2, createca(FULCIO)))
      refused("--hsm-caroot-id 98 --generate-key P-256", "already")
      local key = token.directory .. "/key.pem"
      assert(engine.pkey.generate("P-256"):save(key))
      refused(("--key %s --generate-key P-256 --out %s"):format(key, out),
              "already")
    end)

    it("without an ID or a file", function()
      refused("--org x", "--hsm-caroot-id must be set")
    end)

    it("a key that is not there", function()
      refused("--hsm-caroot-id 1", "no such key")
    end)

    it("a key of an unknown kind", function()
      refused("--hsm-caroot-id 1 --generate-key P-192", "unknown algorithm")
    end)

    it("an HSM that keeps no certificates, without --out", function()
      refused("--hsm aws --hsm-caroot-id 1 --generate-key P-256",
              "--out must be set")
    end)

    it("a request and its end at once", function()
      refused("--hsm-caroot-id 1 --csr --import x", "give one of them")
    end)

    it("a lifetime that is none, before a key is made", function()
      for _, text in ipairs({ "0", "0s", "500ms", "99999999h" }) do
        local key = token.directory .. "/none.pem"
        refused(("--key %s --out %s --lifetime %s"):format(key, out, text),
                "--lifetime: from 1s to the year 9999, such as 87600h")
        assert.is_nil(engine.system.stat(key))
      end
    end)

    it("to sign an intermediate with its own key", function()
      local key = token.directory .. "/none.pem"
      for _, name in ipairs({ "intermediate",
                              "policies/templates/intermediate.lua" }) do
        refused(("--template %s --key %s --out %s"):format(name, key, out),
                "--template: an intermediate is signed by another CA:"
                .. " add --csr, and --import what comes back")
        assert.is_nil(engine.system.stat(key))
      end
    end)

    it("a template that makes no CA, or is not there", function()
      refused("--hsm-caroot-id 1 --generate-key P-256 --template leaf",
              "makes no CA")
      refused("--hsm-caroot-id 1 --hsm-key-label b --generate-key P-256"
              .. " --template rot", 'did you mean "root"')
    end)

    it("a wrong PIN, once", function()
      local file = assert(io.open(token.directory .. "/crypto11.conf", "w"))
      file:write(('{"Path":"%s","TokenLabel":"spec","Pin":"0000000"}')
        :format(hsm.softhsm))
      file:close()
      refused("--hsm-caroot-id 1", "CKR_PIN_INCORRECT")
    end)
  end)
end)
