local engine = require("fulcio.engine")
local openssl = require("spec.openssl")
local signer = require("yielding_signer")

local csr, draft = engine.csr, engine.draft
local der = openssl.der

teardown(openssl.clean)

local function refused(code, result, message, got)
  assert.is_nil(result)
  assert.equal(code, got)
  assert.is_nil(message:match("%.$"))
end

-- A request by openssl: arguments of `openssl req -newkey`.
local function by_openssl(arguments)
  openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
  return openssl.run("req -new -nodes -keyout %d/k -subj /CN=x"
    .. " -config %d/cnf -newkey " .. arguments):match("%-%-%-%-%-BEGIN CERT.*")
end

local function bytes_of(pem)
  return engine.bytes.unbase64((pem:gsub("%-%-%-%-%-[^\n]*", ""):gsub("%s",
    "")))
end

local function pem_of(bytes)
  return draft.pem(bytes, "CERTIFICATE REQUEST")
end

describe("csr.parse", function()
  it("reads requests of each kind that Fulcio takes", function()
    for arguments, is in pairs({
      ["ec -pkeyopt ec_paramgen_curve:P-256 -sha256"] =
        { "P-256", "ECDSA-SHA256", "SHA-256" },
      ["ec -pkeyopt ec_paramgen_curve:P-384 -sha512"] =
        { "P-384", "ECDSA-SHA512", "SHA-512" },
      ["ec -pkeyopt ec_paramgen_curve:P-521 -sha384"] =
        { "P-521", "ECDSA-SHA384", "SHA-384" },
      ["rsa:2048 -sha256"] = { "RSA-2048", "SHA256-RSA", "SHA-256" },
      ["rsa:2048 -sha384"] = { "RSA-2048", "SHA384-RSA", "SHA-384" },
      ["rsa:2048 -sha512"] = { "RSA-2048", "SHA512-RSA", "SHA-512" },
      ["ed25519"] = { "Ed25519", "Ed25519", "none" },
    }) do
      local request = assert(csr.parse(by_openssl(arguments)))
      assert.equal(is[1], request.key.name)
      assert.equal(is[2], request.algorithm)
      assert.equal(is[3], request.hash)
      assert.is_true(request.key:check())
      assert.is_true(request:verify())
      assert.is_nil(request.subject)
      local public = openssl.public(openssl.path("k"))
      assert.equal(public, request.key:pem())
    end
  end)

  it("names algorithms that Fulcio does not take, and verifies them",
    function()
      for arguments, name in pairs({
        ["ec -pkeyopt ec_paramgen_curve:P-256 -sha1"] = "ECDSA-SHA1",
        ["rsa:2048 -sha1"] = "SHA1-RSA",
        ["rsa:2048 -sigopt rsa_padding_mode:pss -sha256"
          .. " -sigopt rsa_pss_saltlen:32"] = "SHA256-RSAPSS",
        ["rsa:2048 -sigopt rsa_padding_mode:pss -sha512"
          .. " -sigopt rsa_pss_saltlen:64"] = "SHA512-RSAPSS",
      }) do
        local request = assert(csr.parse(by_openssl(arguments)))
        assert.equal(name, request.algorithm)
        assert.is_nil(request.hash)
        assert.is_true(request:verify())
      end
    end)

  it("cannot verify other algorithms", function()
    for arguments, name in pairs({
      ["rsa:2048 -md5"] = "MD5-RSA",
      ["rsa:2048 -sha224"] = "0",
      ["rsa:2048 -sigopt rsa_padding_mode:pss"
        .. " -sigopt rsa_pss_saltlen:20"] = "0",
    }) do
      local request = assert(csr.parse(by_openssl(arguments)))
      assert.equal(name, request.algorithm)
      assert.is_nil(request.hash)
      refused("unknown_algorithm", request:verify())
    end
  end)

  it("names an algorithm only when every part of it is known", function()
    local parts = openssl.children(bytes_of(by_openssl("rsa:2048")))
    local function named(...)
      local algorithm = der(48, table.concat({ ... }))
      return csr.parse(pem_of(der(48, parts[1] .. algorithm
        .. parts[3]))).algorithm
    end
    local pkcs1 = "\42\134\72\134\247\13\1\1"
    local function oid(n) return der(6, pkcs1 .. string.char(n)) end
    local null = "\5\0"
    assert.equal("SHA256-RSA", named(oid(11), null))
    assert.equal("SHA256-RSA", named(oid(11)))
    assert.equal("0", named(oid(11), "\2\1\0"))
    assert.equal("0", named(oid(99), null))
    assert.equal("0", named())
    assert.equal("0", named(null))

    local function sha(n, more)
      return der(48, der(6, "\96\134\72\1\101\3\4\2" .. string.char(n))
        .. (more or null))
    end
    local function pss(hash, mask, salt, mask_oid)
      return named(oid(10), der(48, der(160, hash)
        .. der(161, der(48, (mask_oid or oid(8)) .. mask)) .. der(162, salt)))
    end
    assert.equal("SHA256-RSAPSS", pss(sha(1), sha(1), "\2\1\32"))
    assert.equal("SHA256-RSAPSS", pss(sha(1, ""), sha(1), "\2\1\32"))
    assert.equal("SHA384-RSAPSS", pss(sha(2), sha(2), "\2\1\48"))
    assert.equal("0", pss(sha(2), sha(1), "\2\1\48"))
    assert.equal("0", pss(sha(1), sha(1), "\2\1\31"))
    assert.equal("0", pss(sha(4), sha(4), "\2\1\32"))
    assert.equal("0", pss(sha(1, "\2\1\0"), sha(1), "\2\1\32"))
    assert.equal("0", pss(sha(1), sha(1), "\2\1\32", oid(7)))
    local sha1 = der(48, "\6\5\43\14\3\2\26" .. null)
    assert.equal("0", pss(sha1, sha1, "\2\1\20"))
    assert.equal("0", named(oid(10), null))
    assert.equal("0", named(oid(10), der(48, "")))
    assert.equal("0", named(oid(10)))
  end)

  it("reads weak keys, for check to refuse", function()
    for arguments, name in pairs({
      ["ec -pkeyopt ec_paramgen_curve:P-224"] = "P-224",
      ["rsa:1024"] = "RSA-1024", ["rsa:2056"] = "RSA-2056",
      ["ed448"] = "Ed448", ["rsa-pss"] = "unknown",
    }) do
      local request = assert(csr.parse(by_openssl(arguments)), name)
      assert.equal(name, request.key.name)
      refused("weak_key", request.key:check())
      assert.equal(openssl.public(openssl.path("k")), request.key:pem())
      assert.is_nil(request.key:verify("data", "x", nil, "any"))
      assert.equal(20, #request.key:id())
      assert.is_string(tostring(request.key))
    end
  end)

  it("takes either label, with text around it", function()
    local pem = by_openssl("ed25519")
    assert(csr.parse((pem:gsub("CERTIFICATE REQ", "NEW %0"))))
    assert(csr.parse("words\n" .. pem .. "words"))
    assert(csr.parse((pem:gsub("\n", "\r\n"))))
  end)

  it("refuses DER, other labels and broken PEM", function()
    local pem = by_openssl("ed25519")
    for _, text in ipairs({ "", "x", bytes_of(pem), (pem:gsub("REQUEST", "")),
                            (pem:gsub("CERTIFICATE REQUEST", "CERTIFICATE")),
                            (pem:gsub("%-%-%-%-%-END.*", "")) }) do
      refused("bad_csr", csr.parse(text))
    end
    local key = engine.pkey.generate("P-256"):pem()
    refused("bad_csr", csr.parse(key .. pem))
  end)

  it("refuses keys that Go's x509 does not read", function()
    refused("bad_csr", csr.parse(by_openssl(
      "ec -pkeyopt ec_paramgen_curve:secp256k1")))
    local bytes = bytes_of(by_openssl("ec -pkeyopt"
      .. " ec_paramgen_curve:P-256"))
    local parts = openssl.children(bytes)
    local info = openssl.children(parts[1])
    info[3] = info[3]:sub(1, -2)
      .. string.char((info[3]:byte(-1) + 1) % 256)
    refused("bad_csr", csr.parse(pem_of(der(48,
      der(48, table.concat(info)) .. parts[2] .. parts[3]))))
  end)

  it("refuses every cut and survives every change", function()
    for _, arguments in ipairs({ "ed25519",
                                 "ec -pkeyopt ec_paramgen_curve:P-256" }) do
      local bytes = bytes_of(by_openssl(arguments))
      for size = 0, #bytes - 1 do
        refused("bad_csr", csr.parse(pem_of(bytes:sub(1, size))))
      end
      refused("bad_csr", csr.parse(pem_of(bytes .. "\0")))
      for at = 1, #bytes do
        for _, add in ipairs({ 1, 128 }) do
          local byte = string.char((bytes:byte(at) + add) % 256)
          local request = csr.parse(pem_of(bytes:sub(1, at - 1) .. byte
            .. bytes:sub(at + 1)))
          if request then
            assert.is_nil(request:verify())
            assert.is_string(request.algorithm)
          end
        end
      end
    end
  end)

  it("refuses a request without its parts", function()
    local parts = openssl.children(bytes_of(by_openssl("ed25519")))
    local info = openssl.children(parts[1])
    local function request(fields)
      return csr.parse(pem_of(der(48, der(48, table.concat(fields))
        .. parts[2] .. parts[3])))
    end
    assert(request(info))
    assert(request({ info[1], info[2], info[3] }))
    refused("bad_csr", request({ info[1], info[2] }))
    refused("bad_csr", request({ info[2], info[3], info[4] }))
    refused("bad_csr", request({ info[1], info[3], info[4] }))
    refused("bad_csr", request({ info[1], info[2], info[3], info[4], "\5\0" }))
    refused("bad_csr", request({ info[1], info[2], info[3], "\5\0" }))
  end)
end)

describe("csr:verify", function()
  it("refuses a request that another key signed", function()
    local one = openssl.children(bytes_of(by_openssl("ed25519")))
    local two = openssl.children(bytes_of(by_openssl("ed25519")))
    local mixed = csr.parse(pem_of(der(48, one[1] .. one[2] .. two[3])))
    refused("bad_signature", mixed:verify())
  end)

  it("refuses an algorithm that is not its key's", function()
    local one = openssl.children(bytes_of(by_openssl("ed25519")))
    local two = openssl.children(bytes_of(by_openssl("rsa:2048")))
    local mixed = csr.parse(pem_of(der(48, one[1] .. two[2] .. two[3])))
    refused("bad_signature", mixed:verify())
    local foreign = openssl.children(bytes_of(by_openssl("ed448")))
    mixed = csr.parse(pem_of(der(48, foreign[1] .. one[2] .. one[3])))
    refused("bad_signature", mixed:verify())
  end)

  it("throws at what is no request", function()
    local request = csr.parse(by_openssl("ed25519"))
    assert.has_error(function() request.verify({}) end)
    assert.is_false(getmetatable(request))
  end)
end)

describe("csr.create", function()
  it("writes what openssl verifies, for each kind of key", function()
    for _, name in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                            "Ed25519" }) do
      local key = engine.pkey.generate(name)
      local pem = assert(csr.create({ key = key,
        subject = { { "O", "spec" }, { "CN", "é" } } }))
      openssl.write("r.pem", pem)
      local text = openssl.run("req -in %d/r.pem -noout -verify -subject"
        .. " -nameopt RFC2253,-esc_msb,utf8")
      assert.truthy(text:find("verify OK", 1, true))
      assert.truthy(text:find("subject=CN=é,O=spec", 1, true))
      local request = assert(csr.parse(pem))
      assert.equal(key:spki(), request.key:spki())
      assert.is_true(request:verify())
    end
  end)

  it("needs no subject", function()
    local key = engine.pkey.generate("Ed25519")
    assert.is_true(csr.parse(csr.create({ key = key })):verify())
  end)

  it("waits for a signer that is elsewhere", function()
    local key = engine.pkey.generate("P-256")
    local remote = signer.wrap(key)
    assert.is_true(csr.parse(csr.create({ key = remote })):verify())
    local run = coroutine.wrap(function()
      return csr.create({ key = remote, subject = { { "CN", "x" } } })
    end)
    local info = run()
    collectgarbage()
    assert.is_true(csr.parse(run((key:sign(info)))):verify())
    run = coroutine.wrap(function() return csr.create({ key = remote }) end)
    run()
    refused("hsm_busy", run(nil, "the HSM is busy", "hsm_busy"))
  end)

  it("refuses a public key, and text that is not UTF-8", function()
    local key = engine.pkey.generate("P-256")
    local public = engine.pkey.parse(key:pem())
    refused("not_private", csr.create({ key = public }))
    refused("bad_csr", csr.create({ key = key,
      subject = { { "CN", "\255" } } }))
    local foreign = csr.parse(by_openssl("ed448")).key
    refused("sign_failed", csr.create({ key = foreign }))
  end)

  it("throws at a profile of the wrong shape", function()
    local key = engine.pkey.generate("P-256")
    assert.has_error(function() csr.create({}) end)
    assert.has_error(function() csr.create({ key = "x" }) end)
    assert.has_error(function() csr.create({ key = key, san = {} }) end)
    assert.has_error(function() csr.create({ key = key, subject = "x" }) end)
  end)
end)
