local engine = require("fulcio.engine")
local openssl = require("spec.openssl")
local signer = require("yielding_signer")
local weak_rsa = require("spec.fixtures.weak_rsa")

local pkey = engine.pkey
local der, unhex = openssl.der, openssl.unhex

local KINDS = {
  ["P-256"] = { kind = "EC", bits = 256, size = 91 },
  ["P-384"] = { kind = "EC", bits = 384, size = 120 },
  ["P-521"] = { kind = "EC", bits = 521, size = 158 },
  ["RSA-2048"] = { kind = "RSA", bits = 2048, size = 294 },
  ["Ed25519"] = { kind = "Ed25519", bits = 256, size = 44 },
}

-- One key of each kind, made once.
local made = {}
local function key_of(name)
  made[name] = made[name] or assert(pkey.generate(name))
  return made[name]
end

local function refused(code, key, message, got)
  assert.is_nil(key)
  assert.equal(code, got)
  assert.is_string(message)
  assert.is_nil(message:match("%.$"))
end

teardown(openssl.clean)

describe("pkey.generate", function()
  it("makes keys of each kind, which say what they are", function()
    for name, is in pairs(KINDS) do
      local key = key_of(name)
      assert.equal(is.kind, key.kind)
      assert.equal(is.bits, key.bits)
      assert.equal(name, key.name)
      assert.equal(is.size, #key:spki())
      assert.is_true(key.private)
      assert.is_true(key:check())
    end
  end)

  it("throws at a name it does not know", function()
    for _, name in ipairs({ "P-224", "RSA-1024", "p-256", "" }) do
      assert.has_error(function() pkey.generate(name) end)
    end
  end)

  it("shows no secret", function()
    local key = key_of("P-256")
    assert.equal("pkey: P-256 private", tostring(key))
    assert.equal("pkey: P-256 public", tostring(pkey.parse(key:pem())))
    assert.is_false(getmetatable(key))
    assert.is_nil(key.d)
    assert.is_nil(key.pkcs8)
  end)
end)

describe("pkey.parse", function()
  it("gives back the SPKI it was given, from PEM or DER", function()
    for name, is in pairs(KINDS) do
      local key = key_of(name)
      for _, text in ipairs({ key:pem(), key:spki() }) do
        local public = assert(pkey.parse(text))
        assert.equal(name, public.name)
        assert.equal(is.kind, public.kind)
        assert.equal(is.bits, public.bits)
        assert.equal(key:spki(), public:spki())
        assert.equal(key:pem(), public:pem())
        assert.equal(key:id(), public:id())
        assert.is_false(public.private)
      end
    end
  end)

  it("reads what openssl writes, and writes what openssl reads", function()
    for name, arguments in pairs({
      ["P-224"] = "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
      ["P-384"] = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
      ["RSA-1024"] = "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
      ["RSA-2056"] = "-algorithm RSA -pkeyopt rsa_keygen_bits:2056",
      ["Ed25519"] = "-algorithm ED25519",
    }) do
      local pem = openssl.public(openssl.key("key.pem", arguments))
      local key = assert(pkey.parse(pem), name)
      assert.equal(name, key.name)
      assert.equal(pem, key:pem())
    end
  end)

  it("reads PKCS#1 as the same key", function()
    local key = key_of("RSA-2048")
    openssl.write("spki.pem", key:pem())
    local pem = openssl.run("rsa -pubin -in %d/spki.pem -RSAPublicKey_out")
    local block = pem:match("%-%-%-%-%-BEGIN RSA PUBLIC KEY.*")
    assert.equal(key:spki(), assert(pkey.parse(block)):spki())
  end)

  it("takes the first good PEM block of any text", function()
    local pem = key_of("P-256"):pem()
    local texts = {
      "some words\n" .. pem .. "more words\n" .. key_of("P-384"):pem(),
      pem:gsub("\n", "\r\n"), pem:gsub("\n$", ""), "\n\n" .. pem,
      "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n" .. pem,
      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END X-----\n" .. pem,
      "-----BEGIN PUBLIC KEY-----\nAAAA\n" .. pem,
      "-----BEGIN \n" .. pem, "-----BEGIN -----\n" .. pem,
      (pem:gsub("KEY%-%-%-%-%-\n", "KEY-----\nComment: x\n\n", 1)),
      (pem:gsub("KEY%-%-%-%-%-\n", "KEY----- \t\n", 1)),
    }
    for _, text in ipairs(texts) do
      assert.equal("P-256", assert(pkey.parse(text), text).name)
    end
  end)

  it("reads PEM with lines of any length", function()
    local key = assert(engine.pkey.generate("P-256"))
    local text = key:pem():match("KEY%-%-%-%-%-\n(.*)\n%-%-%-%-%-END")
    text = text:gsub("\n", "")
    for length = 1, 9 do
      local lines = text:gsub(("."):rep(length), "%0\n")
      local pem = ("-----BEGIN PUBLIC KEY-----\n%s\n"
        .. "-----END PUBLIC KEY-----\n"):format(lines)
      assert.equal(key:spki(), assert(engine.pkey.parse(pem)):spki())
    end
  end)

  it("refuses PEM of other things", function()
    local pem = key_of("P-256"):pem()
    local texts = {
      pem:gsub("PUBLIC KEY", "PRIVATE KEY"), pem:gsub("PUBLIC", "EC PUBLIC"),
      pem:gsub("END PUBLIC", "END PRIVATE"), pem:gsub("%-%-%-%-%-END.*", ""),
      pem:gsub("PUBLIC KEY", "RSA PUBLIC KEY"), " " .. pem,
      "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
      "-----BEGIN PUBLIC KEY-----", "-----BEGIN ", "-----", "",
      "-----BEGIN PUBLIC KEY-----\nA:\n",
      engine.bytes.base64(key_of("P-256"):spki()),
    }
    for _, text in ipairs(texts) do
      refused("bad_key", pkey.parse(text))
    end
  end)

  it("tells kinds that nobody may use from what is no key", function()
    local x25519 = engine.bytes.base64("\x30\x2a\x30\5\6\3\x2b\x65\x6e\3"
      .. "\x21\0" .. ("k"):rep(32))
    local dsa = "\x30\x1c\x30\x14\6\7\x2a\x86\x48\xce\x38\4\1\x30\9"
      .. "\2\1\x17\2\1\x0b\2\1\4\3\4\0\2\1\8"
    local pem = "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n"
    refused("unfit_key", pkey.parse(pem:format(x25519)))
    refused("unfit_key", pkey.parse(dsa))
    for _, odd in ipairs({ dsa .. "\0", dsa:sub(1, -2),
        dsa:gsub("\2\1\8", "\2\1\0"), dsa:gsub("\2\1\4", "\2\1\x84"),
        dsa:gsub("\x38\4\1", "\x38\4\2") }) do
      refused("bad_key", pkey.parse(odd))
    end
  end)

  it("refuses kinds that Fulcio does not read", function()
    for _, arguments in ipairs({
      "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
      "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        .. " -pkeyopt ec_param_enc:explicit",
      "-algorithm ED448", "-algorithm X448", "-algorithm RSA-PSS",
    }) do
      local pem = openssl.public(openssl.key("key.pem", arguments))
      refused("bad_key", pkey.parse(pem))
    end
  end)

  it("refuses every cut and every byte too many", function()
    for name in pairs(KINDS) do
      local spki = key_of(name):spki()
      for size = 0, #spki - 1 do
        refused("bad_key", pkey.parse(spki:sub(1, size)))
      end
      refused("bad_key", pkey.parse(spki .. "\0"))
    end
  end)

  it("survives any byte changed, and never takes a key for another", function()
    for name in pairs(KINDS) do
      local spki = key_of(name):spki()
      for at = 1, #spki, name == "RSA-2048" and 3 or 1 do
        local byte = string.char((spki:byte(at) + 1) % 256)
        local changed = spki:sub(1, at - 1) .. byte .. spki:sub(at + 1)
        local key = pkey.parse(changed)
        if key then assert.equal(changed, key:spki()) end
      end
    end
  end)

  it("refuses a point that is not on its curve", function()
    local spki = key_of("P-256"):spki()
    refused("bad_key", pkey.parse(spki:sub(1, 27) .. ("\1"):rep(64)))
    refused("bad_key", pkey.parse(spki:sub(1, 27) .. ("\0"):rep(64)))
    refused("bad_key", pkey.parse(spki:sub(1, 27) .. ("\255"):rep(64)))
  end)

  it("refuses RSA numbers that cannot be computed with", function()
    local good = weak_rsa.small
    local function rsa(modulus, exponent)
      return pkey.parse(openssl.rsa_spki(modulus, exponent))
    end
    assert.is_truthy(rsa(good, "010001"))
    refused("bad_key", rsa(good, "00"))
    refused("bad_key", rsa(good, "01"))
    refused("bad_key", rsa(good, ("01"):rep(9)))
    refused("bad_key", rsa(good:sub(1, -2) .. "0", "03"))
    refused("bad_key", rsa("00", "03"))
    refused("bad_key", rsa(("ff"):rep(63), "03"))
    refused("bad_key", rsa(("ff"):rep(2049), "03"))
    assert.is_truthy(rsa(("ff"):rep(2048), "03"))
  end)

  it("refuses RSA in other than strict DER", function()
    local algorithm = unhex("300d06092a864886f70d0101010500")
    local function spki(key, before)
      return der(48, (before or algorithm) .. der(3, "\0" .. key))
    end
    local n, e = der(2, "\0" .. ("\255"):rep(256)), der(2, "\1\0\1")
    assert.is_truthy(pkey.parse(spki(der(48, n .. e))))
    local bad = {
      der(48, n), der(48, n .. e .. e), der(48, n .. e) .. "\0", "",
      der(48, der(2, ("\255"):rep(256)) .. e), der(48, e .. ""),
      der(48, der(2, "\0\0" .. ("\255"):rep(256)) .. e),
      der(48, n .. der(2, "\0\1\0\1")), der(48, n .. der(2, "")),
      der(49, n .. e), "\48\128" .. n .. e .. "\0\0",
      "\48\131\0\1\10" .. n .. e,
    }
    for _, key in ipairs(bad) do refused("bad_key", pkey.parse(spki(key))) end
    local bare = unhex("300b06092a864886f70d010101")
    refused("bad_key", pkey.parse(spki(der(48, n .. e), bare)))
  end)
end)

describe("pkey:id", function()
  it("is the SHA-1 of the subjectPublicKey bits", function()
    for name in pairs(KINDS) do
      local key = key_of(name)
      openssl.write("spki.pem", key:pem())
      openssl.run("pkey -pubin -in %d/spki.pem -outform DER -out %d/spki")
      local text = openssl.run("asn1parse -inform DER -in %d/spki")
      local offset, header =
        text:match("(%d+):d=1 *hl=(%d+) l= *%d+ prim: BIT STRING")
      local bits = key:spki():sub(offset + header + 2)
      openssl.write("bits", bits)
      local digest = openssl.run("dgst -sha1 -r %d/bits")
      assert.equal(digest:match("^%x+"), engine.bytes.hex(key:id()))
    end
  end)
end)

describe("pkey:sign and pkey:verify", function()
  it("agree for every kind, and with openssl", function()
    for name in pairs(KINDS) do
      local key = key_of(name)
      local public = pkey.parse(key:pem())
      local signature = assert(key:sign("data"))
      assert.is_true(public:verify("data", signature))
      openssl.write("public.pem", key:pem())
      openssl.write("data", "data")
      openssl.write("signature", signature)
      local hash = ({ ["P-384"] = "384", ["P-521"] = "512" })[name] or "256"
      if name == "Ed25519" then
        openssl.run("pkeyutl -verify -pubin -inkey %d/public.pem -rawin"
          .. " -in %d/data -sigfile %d/signature")
      else
        openssl.run("dgst -sha" .. hash
          .. " -verify %d/public.pem -signature %d/signature %d/data")
      end
    end
  end)

  it("use the hash they are told", function()
    for _, name in ipairs({ "P-256", "RSA-2048" }) do
      local key = key_of(name)
      for _, hash in ipairs({ "SHA-256", "SHA-384", "SHA-512" }) do
        local signature = assert(key:sign("data", hash))
        assert.is_true(key:verify("data", signature, hash))
        local other = hash == "SHA-256" and "SHA-384" or "SHA-256"
        refused("bad_signature", key:verify("data", signature, other))
      end
    end
  end)

  it("refuse other data, other keys, and changed signatures", function()
    for name in pairs(KINDS) do
      local key, other = key_of(name), assert(pkey.generate(name))
      local signature = key:sign("data")
      refused("bad_signature", key:verify("Data", signature))
      refused("bad_signature", other:verify("data", signature))
      refused("bad_signature", key:verify("data", ""))
      refused("bad_signature", key:verify("data", signature .. "\0"))
      refused("bad_signature", key:verify("data", signature:sub(1, -2)))
      local last = string.char((signature:byte(-1) + 1) % 256)
      refused("bad_signature",
        key:verify("data", signature:sub(1, -2) .. last))
    end
  end)

  it("take data of any length", function()
    for name in pairs(KINDS) do
      for _, data in ipairs({ "", "\0", ("x"):rep(100000) }) do
        local key = key_of(name)
        assert.is_true(key:verify(data, assert(key:sign(data))))
      end
    end
  end)

  it("refuse RSA-PSS", function()
    local key = key_of("RSA-2048")
    local path = openssl.path("rsa.pem")
    os.remove(path)
    assert(key:save(path))
    local signature = openssl.sign("dgst -sha256 -sign " .. path
      .. " -sigopt rsa_padding_mode:pss", "data")
    refused("bad_signature", key:verify("data", signature))
  end)

  it("keep apart public keys of one curve, whatever came between", function()
    for name, is in pairs(KINDS) do
      local signers, keys, signatures = {}, {}, {}
      for i = 1, 2 do
        signers[i] = assert(pkey.generate(name))
        keys[i] = assert(pkey.parse(signers[i]:spki()))
        signatures[i] = assert(signers[i]:sign("data"))
      end
      for round = 1, 6 do
        local one, other = round % 2 + 1, 2 - round % 2
        if is.kind == "EC" and round % 3 == 0 then
          local bad = keys[one]:spki():sub(1, -9) .. ("\1"):rep(8)
          refused("bad_key", pkey.parse(bad))
        end
        assert.is_true(keys[one]:verify("data", signatures[one]))
        refused("bad_signature", keys[one]:verify("data", signatures[other]))
        local again = assert(pkey.parse(keys[other]:spki()))
        refused("bad_signature", again:verify("data", signatures[one]))
        assert.is_true(keys[one]:verify("data", signatures[one]))
      end
    end
  end)

  it("have no hash for Ed25519", function()
    local key = key_of("Ed25519")
    refused("sign_failed", key:sign("data", "SHA-512"))
    refused("bad_signature", key:verify("data", key:sign("data"), "SHA-512"))
  end)

  it("cannot sign with a public key", function()
    refused("not_private", pkey.parse(key_of("P-256"):pem()):sign("data"))
  end)

  it("throw at a hash or form of another name", function()
    local key = key_of("P-256")
    assert.has_error(function() key:sign("data", "SHA-1") end)
    assert.has_error(function() key:verify("data", "", "MD5") end)
    assert.has_error(function() key:verify("data", "", nil, "raw") end)
    assert.has_error(function() key.sign({}, "data") end)
  end)
end)

describe("pkey:verify with form any", function()
  local function raw(signature, size)
    local parts = {}
    local at = signature:byte(2) == 129 and 4 or 3
    for i = 1, 2 do
      local length = signature:byte(at + 1)
      local number = signature:sub(at + 2, at + 1 + length):gsub("^%z+", "")
      parts[i] = ("\0"):rep(size - #number) .. number
      at = at + 2 + length
    end
    return parts[1] .. parts[2]
  end

  it("takes DER and raw r || s of every curve", function()
    for name, size in pairs({ ["P-256"] = 32, ["P-384"] = 48,
                              ["P-521"] = 66 }) do
      local key = key_of(name)
      for _ = 1, 4 do
        local signature = key:sign("data")
        local plain = raw(signature, size)
        assert.is_true(key:verify("data", signature, nil, "any"))
        assert.is_true(key:verify("data", plain, nil, "any"))
        refused("bad_signature", key:verify("Data", plain, nil, "any"))
        refused("bad_signature", key:verify("data", plain))
        refused("bad_signature", key:verify("data", plain, nil, "der"))
      end
    end
  end)

  it("refuses raw of odd or great length, and zeros", function()
    local key = key_of("P-256")
    local plain = raw(key:sign("data"), 32)
    local bad = {
      "", plain:sub(1, 63), plain .. "\0", "\0" .. plain .. "\0",
      ("\0"):rep(64), ("\1"):rep(134), plain .. ("\0"):rep(200),
      "\48\6\2\1\1\2\1\1", "\48", "\48\128",
    }
    for _, signature in ipairs(bad) do
      refused("bad_signature", key:verify("data", signature, nil, "any"))
    end
    local wide = ("\0"):rep(34) .. plain:sub(1, 32) .. ("\0"):rep(34)
      .. plain:sub(33)
    assert.is_true(key:verify("data", wide, nil, "any"))
  end)

  it("changes nothing for other kinds", function()
    for _, name in ipairs({ "RSA-2048", "Ed25519" }) do
      local key = key_of(name)
      assert.is_true(key:verify("data", key:sign("data"), nil, "any"))
      refused("bad_signature", key:verify("data", "\1\1", nil, "any"))
    end
  end)
end)

describe("a key whose signer is elsewhere", function()
  local software = assert(pkey.generate("P-256"))

  it("signs by its signer, which may block", function()
    local key = signer.wrap(software)
    assert.is_true(key.private)
    assert.equal("P-256", key.name)
    assert.equal(software:spki(), key:spki())
    assert.is_true(software:verify("data", assert(key:sign("data"))))
  end)

  it("signs by its signer, which may yield", function()
    local key = signer.wrap(software)
    local run = coroutine.wrap(function() return key:sign("data") end)
    assert.equal("data", run("start"))
    collectgarbage()
    assert.equal("the signature", run("the signature"))
  end)

  it("hands on its signer's failure", function()
    local key = signer.wrap(software)
    local run = coroutine.wrap(function() return key:sign("data") end)
    run()
    local none, message, code = run(nil, "the HSM is gone", "hsm_gone")
    assert.is_nil(none)
    assert.equal("the HSM is gone", message)
    assert.equal("hsm_gone", code)
  end)

  it("cannot be saved", function()
    local path = openssl.path("hsm.pem")
    refused("not_private", signer.wrap(software):save(path))
  end)
end)

describe("pkey:check", function()
  local function weak(bytes)
    refused("weak_key", assert(pkey.parse(bytes)):check())
  end

  it("takes P-256, P-384, P-521, Ed25519 and RSA of three sizes", function()
    for name in pairs(KINDS) do
      assert.is_true(pkey.parse(key_of(name):pem()):check())
    end
    for _, name in ipairs({ "RSA-3072", "RSA-4096" }) do
      local bits = name:sub(5)
      local path = openssl.key("key.pem",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:" .. bits)
      local key = pkey.parse(openssl.public(path))
      assert.equal(name, key.name)
      assert.is_true(key:check())
    end
  end)

  it("refuses P-224, other RSA sizes and exponents", function()
    for _, arguments in ipairs({
      "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
      "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
      "-algorithm RSA -pkeyopt rsa_keygen_bits:2056",
      "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"
        .. " -pkeyopt rsa_keygen_pubexp:3",
    }) do
      weak(openssl.public(openssl.key("key.pem", arguments)))
    end
    weak(openssl.rsa_spki(weak_rsa.small, "0100000001"))
  end)

  local function reason(modulus)
    local key = assert(pkey.parse(openssl.rsa_spki(modulus, "010001")))
    local _, message = key:check()
    return message
  end

  it("refuses a modulus with a small factor", function()
    local small = "RSA modulus has a small factor"
    assert.equal(small, reason(weak_rsa.small))
    for prime = 3, 751 do
      -- The least odd multiple above 2^2047.
      local rest = 1
      for _ = 1, 2047 do rest = rest * 2 % prime end
      local last = prime - rest
      if last % 2 == 0 then last = last + prime end
      if prime % 2 == 1 then
        local modulus = "8" .. ("0"):rep(507) .. ("%04x"):format(last)
        assert.equal(small, reason(modulus), prime)
      end
    end
  end)

  it("refuses what Infineon's chips made", function()
    assert.equal("RSA key is of vulnerable Infineon hardware",
      reason(weak_rsa.roca))
  end)

  it("refuses what Fermat factors in 100 rounds, not 101", function()
    local close = "RSA modulus has factors too close together"
    assert.equal(close, reason(weak_rsa.square))
    assert.equal(close, reason(weak_rsa.fermat100))
    assert.is_nil(reason(weak_rsa.fermat101))
  end)

  it("writes a raw ECDSA signature as DER", function()
    local raw = "\255" .. ("\0"):rep(30) .. "\1" .. ("\0"):rep(31) .. "\2"
    assert.equal("\48\38\2\33\0\255" .. ("\0"):rep(30) .. "\1\2\1\2",
                 engine.pkey.der(raw))
    assert.equal("odd", engine.pkey.der("odd"))
  end)
end)
