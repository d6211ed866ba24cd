local cjson = require("cjson")
local engine = require("fulcio.engine")
local openssl = require("spec.openssl")

local x509, draft, hex = engine.x509, engine.draft, engine.bytes.hex
local der, unhex = openssl.der, openssl.unhex
local vectors = cjson.decode(openssl.read("spec/fixtures/ct-vectors.json"))

local NOW = 1790000000
local YEAR = 365 * 86400

teardown(openssl.clean)

local function refused(code, result, message, got)
  assert.is_nil(result)
  assert.equal(code, got)
  assert.is_nil(message:match("%.$"))
  return message
end

-- A certificate of ours: what `change` says goes into the profile.
local function certificate(change)
  local key = change.key or engine.pkey.generate("P-256")
  local profile = {
    key = key, not_before = NOW, not_after = NOW + YEAR,
    subject = { { "O", "spec" }, { "CN", "certificate" } },
  }
  local signer = change.signer or key
  for name, value in pairs(change) do profile[name] = value end
  local made = assert(draft.new(profile))
  local bytes = assert(draft.sign(made:plain(), signer))
  return assert(x509.parse(bytes))[1], key
end

local function authority(change)
  change.ca = true
  change.key_usage = { "cert_sign", "crl_sign" }
  change.subject = change.subject or { { "CN", "authority" } }
  return certificate(change)
end

-- A certificate like `one` with these extensions, joined; and the TBS
-- without [3].
local function extended(one, extensions)
  local parts = openssl.children(one.tbs)
  parts[#parts] = nil
  local head = table.concat(parts)
  local tbs = der(48, head .. der(163, der(48, extensions)))
  return draft.join(tbs, "x"), der(48, head)
end

-- A self-signed certificate by openssl with these lines as extensions.
local function by_openssl(extensions, arguments)
  openssl.write("cnf", "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n"
    .. "[x]\n" .. extensions .. "\n")
  return openssl.run("req -new -x509 -newkey ec -pkeyopt"
    .. " ec_paramgen_curve:P-256 -nodes -keyout %d/k -extensions x"
    .. " -config %d/cnf " .. (arguments or "-subj /CN=x")):match(
      "%-%-%-%-%-BEGIN CERT.*")
end

local function san_of(line)
  return x509.parse(by_openssl("subjectAltName=" .. line))[1].san
end

describe("x509.parse", function()
  it("shows what a certificate says", function()
    local pem = by_openssl("basicConstraints=critical,CA:TRUE,pathlen:2\n"
      .. "keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,"
      .. "dataEncipherment,keyAgreement,keyCertSign,cRLSign,encipherOnly,"
      .. "decipherOnly\n"
      .. "extendedKeyUsage=codeSigning,serverAuth,clientAuth,timeStamping,"
      .. "emailProtection,OCSPSigning,anyExtendedKeyUsage,1.2.3.4\n"
      .. "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n"
      .. "2.25.329800735698586629295641978511506172918=DER:0102\n"
      .. "1.3.6.1.4.1.57264.1.1=critical,ASN1:UTF8String:hi",
      "-utf8 -subj '/O=a, b/CN=é' -set_serial 0x80ff -days 10")
    local one = assert(x509.parse("noise\n" .. pem))[1]
    openssl.write("c.pem", pem)
    local function shown(what)
      return openssl.run("x509 -noout -in %d/c.pem " .. what)
    end
    assert.equal(pem, one.pem)
    assert.equal("CN=é,O=a\\, b", one.subject)
    assert.equal(one.subject, one.issuer)
    assert.equal(one.subject_der, one.issuer_der)
    assert.equal("80ff", one.serial)
    assert.equal(10 * 86400, one.not_after - one.not_before)
    assert.equal(os.date("!notBefore=%b %e %H:%M:%S %Y GMT\n",
      one.not_before), shown("-startdate"))
    assert.is_true(one.ca)
    assert.equal(2, one.path_length)
    assert.same({ "digital_signature", "content_commitment",
      "key_encipherment", "data_encipherment", "key_agreement", "cert_sign",
      "crl_sign", "encipher_only", "decipher_only" }, one.key_usage)
    assert.same({ "code_signing", "server_auth", "client_auth",
      "time_stamping", "email_protection", "ocsp_signing", "any", "1.2.3.4" },
      one.extended_key_usage)
    assert.equal(one:pkey():id(), one.ski)
    assert.equal(one.ski, one.aki)
    assert.same({}, one.san)
    assert.is_false(one.san_critical)
    assert.equal("ECDSA-SHA256", one.signature_algorithm)
    assert.equal(shown("-fingerprint -sha256"):gsub(".*=", ""):gsub("[:\n]",
      ""):lower(), hex(one.fingerprint))
    assert.equal(openssl.run("x509 -in %d/c.pem -noout -pubkey"),
      one:pkey():pem())
    local last = one.extensions[#one.extensions]
    assert.same({ oid = "1.3.6.1.4.1.57264.1.1", value = "\12\2hi",
      critical = true }, last)
    assert.equal("2.25.329800735698586629295641978511506172918",
      one.extensions[#one.extensions - 1].oid)
    assert.is_true(one:signed(one.der))
    assert.equal(one.der, x509.parse(one.der)[1].der)
    assert.equal("x509: CN=é,O=a\\, b", tostring(one))
  end)

  it("shows what a bare certificate does not say", function()
    local one = certificate({ subject = {} })
    assert.equal("", one.subject)
    assert.is_false(one.ca)
    assert.is_nil(one.path_length)
    assert.same({}, one.key_usage)
    assert.same({}, one.extended_key_usage)
    assert.same({}, one.san)
    assert.is_nil(one.aki)
    assert.is_nil(one.no_such_field)
    local old = x509.parse(openssl.run("req -new -x509 -newkey ed25519"
      .. " -nodes -keyout %d/k -subj / -config /dev/null"
      ):match("%-%-%-%-%-BEGIN CERT.*"))[1]
    assert.equal("Ed25519", old.signature_algorithm)
  end)

  it("reads every certificate of a PEM text, and skips the rest", function()
    local one, key = certificate({})
    local two = certificate({})
    local list = assert(x509.parse(key:pem() .. one.pem .. "\n\nwords\n"
      .. two.pem .. key:pem()))
    assert.equal(2, #list)
    assert.equal(one.der, list[1].der)
    assert.equal(two.der, list[2].der)
  end)

  it("refuses what is none", function()
    local one, key = certificate({})
    for _, text in ipairs({ "", "x", "\48", key:pem(), key:spki(), one.tbs,
                            one.der .. "\0", "\48\0" }) do
      refused("bad_certificate", x509.parse(text))
    end
    local broken = draft.pem(one.tbs)
    refused("bad_certificate", x509.parse(one.pem .. broken))
  end)

  it("refuses every cut of one, and survives every change", function()
    local one = certificate({ san = { type = "email", value = "a@b.c" },
      key_usage = { "cert_sign" }, extended_key_usage = { "any" }, ca = true,
      path_length = 0 })
    local bytes = one.der
    for size = 0, #bytes - 1 do
      refused("bad_certificate", x509.parse(bytes:sub(1, size)))
      refused("bad_certificate", x509.skim(bytes:sub(1, size)))
    end
    for at = 1, #bytes do
      for _, add in ipairs({ 1, 127, 128 }) do
        local byte = string.char((bytes:byte(at) + add) % 256)
        local changed = bytes:sub(1, at - 1) .. byte .. bytes:sub(at + 1)
        x509.skim(changed)
        local list = x509.parse(changed)
        if list then
          local got = list[1]
          assert.is_table({ got.subject, got.issuer, got.san, got.ski,
            got.aki, got.extensions, got.key_usage, got.ca, got.path_length,
            got.extended_key_usage, got.signature_algorithm, got:pkey() })
          assert.is_nil(one:signed(changed))
          x509.verify(list, { time = NOW })
        end
      end
    end
  end)

  it("refuses two extensions of one kind, and too many", function()
    local one = certificate({})
    local ski = der(48, der(6, "\85\29\14") .. der(4, der(4, "x")))
    local function parsed(extensions)
      return x509.parse((extended(one, extensions)))
    end
    assert(parsed(ski))
    refused("bad_certificate", parsed(ski .. ski))
    refused("bad_certificate", parsed(""))
    refused("bad_certificate", parsed("x"))
    refused("bad_certificate", parsed(der(48, der(6, "") .. der(4, ""))))
    refused("bad_certificate", parsed(der(48, der(6, "x"))))
    refused("bad_certificate",
      parsed(der(48, der(6, "x") .. der(1, "x") .. der(4, ""))))
    refused("bad_certificate", parsed(ski:sub(1, 2) .. ski:sub(3) .. "\0"))
    local function many(count)
      local all = {}
      for i = 1, count do
        local oid = "\42" .. string.char(129 + math.floor(i / 128), i % 128)
        all[i] = der(48, der(6, oid) .. der(4, ""))
      end
      return parsed(table.concat(all))
    end
    assert.equal(256, #assert(many(256))[1].extensions)
    refused("bad_certificate", many(257))
  end)

  it("reads unique identifiers and old versions, strictly", function()
    local one = certificate({})
    local parts = openssl.children(one.tbs)
    local extensions = table.remove(parts)
    local function parsed(...)
      local tbs = der(48, table.concat(parts) .. table.concat({ ... }))
      return x509.parse(draft.join(tbs, "x"))
    end
    local first, second = der(129, "\0a"), der(130, "\0b")
    assert(parsed())
    assert(parsed(first, second, extensions))
    assert(parsed(second))
    refused("bad_certificate", parsed(second, first))
    refused("bad_certificate", parsed(first, first))
    refused("bad_certificate", parsed("\129\5a"))
    refused("bad_certificate", parsed(extensions, extensions))
    parts[1] = der(160, "\2\1\1")
    assert(parsed(first))
    refused("bad_certificate", parsed(extensions))
    parts[1] = der(160, "\2\1\3")
    assert.has_error(parsed)
    parts[1] = ""
    assert(parsed())
    refused("bad_certificate", parsed(extensions))
  end)

  it("says so when the key is of an unknown kind", function()
    openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
    local pem = openssl.run("req -new -x509 -newkey ec -pkeyopt"
      .. " ec_paramgen_curve:secp256k1 -nodes -keyout %d/k -subj /CN=x"
      .. " -config %d/cnf"):match("%-%-%-%-%-BEGIN CERT.*")
    local one = assert(x509.parse(pem))[1]
    refused("bad_key", one:pkey())
    refused("bad_signature", one:signed(one.der))
  end)
end)

describe("x509.san", function()
  it("lists every kind of name", function()
    assert.same({
      { type = "email", value = "a@example.com" },
      { type = "uri", value = "https://example.com/a b" },
      { type = "dns", value = "example.com" },
      { type = "ip", value = "192.0.2.1" },
      { type = "ip", value = "2001:db8::1" },
      { type = "other", value = "alice!exämple", oid =
        "1.3.6.1.4.1.57264.1.7" },
    }, san_of("@names\n[names]\nemail=a@example.com\n"
      .. "URI=https://example.com/a b\nDNS=example.com\n"
      .. "IP.1=192.0.2.1\nIP.2=2001:db8::1\n"
      .. "otherName=1.3.6.1.4.1.57264.1.7;FORMAT:UTF8,UTF8:alice!exämple"))
  end)

  it("says whether it is critical", function()
    local one = x509.parse(by_openssl("subjectAltName=critical,email:a@b"))[1]
    assert.is_true(one.san_critical)
    one = x509.parse(by_openssl("subjectAltName=email:a@b"))[1]
    assert.is_false(one.san_critical)
  end)

  it("shows kinds it does not know as they stand there", function()
    assert.same({ { type = "unknown", value = "\136\3\42\3\4" } },
      san_of("RID:1.2.3.4"))
    local other = san_of("otherName:1.2.3;IA5:x")[1]
    assert.equal("unknown", other.type)
    assert.equal("1.2.3", other.oid)
    assert.equal("\160", other.value:sub(1, 1))
  end)

  it("tells what is malformed, without harm", function()
    local function values(content)
      local list = san_of("DER:" .. hex(content):gsub("..", "%0:"):sub(1, -2))
      local types = {}
      for i, entry in ipairs(list) do types[i] = entry.type end
      return table.concat(types, " ")
    end
    local function seq(...) return der(48, table.concat({ ... })) end
    local email, oid = der(129, "a@b"), der(6, "\42\3")
    assert.equal("malformed", values("\48"))
    assert.equal("malformed", values("\5\0"))
    assert.equal("malformed", values(seq(email) .. "\0"))
    assert.equal("", values(seq()))
    assert.equal("email malformed", values(seq(email, "\129\5a")))
    assert.equal("malformed", values(seq(der(135, "abc"))))
    assert.equal("malformed email", values(seq(der(160, ""), email)))
    assert.equal("malformed", values(seq(der(160, oid))))
    assert.equal("malformed", values(seq(der(160, oid .. der(12, "x")))))
    local text = der(160, der(12, "x"))
    assert.equal("other", values(seq(der(160, oid .. text))))
    assert.equal("malformed", values(seq(der(160, oid .. text .. text))))
    assert.equal("malformed", values(seq(der(160, text .. oid))))
    assert.equal("unknown", values(seq(der(160, oid .. der(160, "")))))
    assert.equal("unknown",
      values(seq(der(160, oid .. der(160, der(12, "\255"))))))
    assert.equal("other",
      values(seq(der(160, der(6, "") .. text))))
  end)
end)

describe("x509.verify", function()
  local root, root_key = authority({ subject = { { "CN", "root" } } })
  local middle, middle_key = authority({ issuer = root, signer = root_key,
    subject = { { "CN", "middle" } }, extended_key_usage = { "code_signing" },
    path_length = 0 })
  local leaf = certificate({ issuer = middle, signer = middle_key,
    subject = {}, san = { type = "email", value = "a@b.c" },
    extended_key_usage = { "code_signing" } })
  local at = { time = NOW + 1, usage = "code_signing" }

  it("follows a chain to its anchor", function()
    assert.is_true(x509.verify({ leaf, middle, root }, at))
    assert.is_true(x509.verify({ middle, root }, at))
    assert.is_true(x509.verify({ root }, at))
    assert.is_true(x509.verify({ leaf, middle }, at))
    assert.is_true(x509.verify({ leaf, middle, root }, { time = NOW }))
  end)

  it("refuses a chain that does not lead there", function()
    local other = authority({ subject = { { "CN", "root" } } })
    refused("bad_chain", x509.verify({ leaf, root }, at))
    refused("bad_chain", x509.verify({ leaf, middle, other }, at))
    refused("bad_chain", x509.verify({ root, middle, leaf }, at))
    refused("bad_chain", x509.verify({ leaf, other, root }, at))
  end)

  it("refuses one out of its time", function()
    local chain = { leaf, middle, root }
    refused("expired", x509.verify(chain, { time = NOW - 1 }))
    refused("expired", x509.verify(chain, { time = NOW + YEAR + 1 }))
    assert.is_true(x509.verify(chain, { time = NOW + YEAR - 1 }))
  end)

  it("refuses a usage that some certificate of it does not allow", function()
    local server, server_key = authority({ issuer = root, signer = root_key,
      extended_key_usage = { "server_auth" } })
    local under = certificate({ issuer = server, signer = server_key })
    refused("bad_chain", x509.verify({ under, server, root }, at))
    assert.is_true(x509.verify({ under, server, root }, { time = NOW }))
    local other = certificate({ issuer = root, signer = root_key,
      extended_key_usage = { "server_auth" } })
    refused("bad_chain", x509.verify({ other, root }, at))
    local any = certificate({ issuer = root, signer = root_key,
      extended_key_usage = { "any" } })
    assert.is_true(x509.verify({ any, root }, at))
  end)

  it("refuses an issuer that is no CA", function()
    local fake, fake_key = certificate({ issuer = root, signer = root_key,
      subject = { { "CN", "fake" } }, key_usage = { "cert_sign" } })
    local under = certificate({ issuer = fake, signer = fake_key })
    refused("bad_chain", x509.verify({ under, fake, root }, { time = NOW }))
    fake, fake_key = certificate({ issuer = root, signer = root_key,
      subject = { { "CN", "fake" } }, ca = false })
    under = certificate({ issuer = fake, signer = fake_key })
    refused("bad_chain", x509.verify({ under, fake, root }, { time = NOW }))
  end)

  it("refuses a path longer than its CA allows", function()
    local deep, deep_key = authority({ issuer = middle, signer = middle_key,
      subject = { { "CN", "deep" } } })
    local under = certificate({ issuer = deep, signer = deep_key })
    refused("bad_chain",
      x509.verify({ under, deep, middle, root }, { time = NOW }))
  end)

  it("refuses a precertificate, and what OpenSSL cannot read", function()
    local made = draft.new({ key = engine.pkey.generate("P-256"),
      issuer = root, not_before = NOW, not_after = NOW + YEAR })
    local precert = assert(draft.sign(made:poisoned(), root_key))
    precert = assert(x509.parse(precert))[1]
    refused("bad_chain", x509.verify({ precert, root }, { time = NOW }))
  end)

  it("throws at what is no chain, and at unknown options", function()
    assert.has_error(function() x509.verify({}, at) end)
    assert.has_error(function() x509.verify({ "x" }, at) end)
    assert.has_error(function() x509.verify({ leaf }, {}) end)
    assert.has_error(function() x509.verify({ leaf }, { time = "x" }) end)
    assert.has_error(function()
      x509.verify({ leaf }, { time = 1, usage = "server_auth" })
    end)
    assert.has_error(function()
      x509.verify({ leaf }, { time = 1, depth = 1 })
    end)
    assert.has_error(function() x509.verify({ leaf }, { time = 1, 2 }) end)
    local many = {}
    for i = 1, 17 do many[i] = leaf end
    assert.has_error(function() x509.verify(many, at) end)
  end)
end)

describe("x509.skim", function()
  local function fields(bytes)
    return assert(x509.skim(bytes))
  end

  it("agrees with the recorded precertificate and certificate", function()
    local precert = fields(unhex(vectors.precert_der))
    local final = fields(unhex(vectors.final_der))
    assert.equal(vectors.tbs_defanged, hex(precert.defanged))
    assert.equal(vectors.tbs_defanged, hex(final.defanged))
    assert.is_true(precert.poisoned)
    assert.is_false(final.poisoned)
    assert.is_nil(precert.sct_list)
    assert.equal(vectors.sct_list_ext_value,
      hex(der(4, final.sct_list)))
    local root = x509.parse(unhex(vectors.root_der))[1]
    assert.equal(root.subject_der, final.issuer_der)
    assert.equal("1234567890abcdef", final.serial)
    assert.is_true(root:signed(unhex(vectors.precert_der)))
    assert.is_true(root:signed(unhex(vectors.final_der)))
    local parsed = x509.parse(unhex(vectors.final_der))[1]
    assert.equal(parsed.tbs, final.tbs)
    assert.equal(parsed.not_after, final.not_after)
    local last = { time = parsed.not_after - 1 }
    assert.is_true(x509.verify({ parsed, root }, last))
  end)

  it("leaves a certificate with neither as it is", function()
    local root = fields(unhex(vectors.root_der))
    assert.equal(root.tbs, root.defanged)
    assert.is_false(root.poisoned)
    assert.is_nil(root.sct_list)
  end)

  local one = certificate({})

  local function with(extensions)
    return extended(one, extensions)
  end

  local POISON = unhex("3013060a2b06010401d679020403 0101ff 04020500")
  local SCTS = unhex("060a2b06010401d679020402")

  it("drops [3] when no other extension is left", function()
    local bytes, bare = with(POISON)
    assert.equal(hex(bare), hex(fields(bytes).defanged))
  end)

  it("keeps what stands around the poison", function()
    local other = der(48, der(6, "\42\3") .. der(4, ("x"):rep(200)))
    local last = der(48, der(6, "\42\4") .. der(4, "y"))
    local whole = with(other .. last)
    for _, list in ipairs({ POISON .. other .. last,
                            other .. POISON .. last,
                            other .. last .. POISON }) do
      assert.equal(fields(whole).tbs, fields((with(list))).defanged)
    end
  end)

  it("refuses a poison that is not critical or not NULL", function()
    local oid = unhex("060a2b06010401d679020403")
    local bad = {
      der(48, oid .. unhex("04020500")),
      der(48, oid .. unhex("01010004020500")),
      der(48, oid .. unhex("0101ff0400")),
      der(48, oid .. unhex("0101ff0403050000")),
      POISON .. POISON,
      POISON .. der(48, SCTS .. der(4, der(4, "x"))),
    }
    for _, list in ipairs(bad) do
      refused("bad_certificate", x509.skim((with(list))))
    end
    assert(x509.skim((with(POISON))))
  end)

  it("refuses an SCT list that is no OCTET STRING", function()
    for _, value in ipairs({ "", "x", der(4, "x") .. "\0", der(48, "") }) do
      refused("bad_certificate",
        x509.skim((with(der(48, SCTS .. der(4, value))))))
    end
  end)

  it("refuses what is no certificate", function()
    for _, bytes in ipairs({ "", "x", one.tbs, one.pem, one.der .. "\0" }) do
      refused("bad_certificate", x509.skim(bytes))
    end
  end)
end)

describe("x509:signed", function()
  it("knows the algorithms that certificates are signed with", function()
    local kinds = {
      ["ECDSA-SHA256"] = "ec -pkeyopt ec_paramgen_curve:P-256 -sha256",
      ["ECDSA-SHA384"] = "ec -pkeyopt ec_paramgen_curve:P-384 -sha384",
      ["ECDSA-SHA512"] = "ec -pkeyopt ec_paramgen_curve:P-521 -sha512",
      ["ECDSA-SHA1"] = "ec -pkeyopt ec_paramgen_curve:P-256 -sha1",
      ["SHA1-RSA"] = "rsa:2048 -sha1",
      ["SHA256-RSA"] = "rsa:2048 -sha256",
      ["SHA384-RSA"] = "rsa:2048 -sha384",
      ["SHA512-RSA"] = "rsa:2048 -sha512",
      ["Ed25519"] = "ed25519",
    }
    for hash, salt in pairs({ ["256"] = 32, ["384"] = 48, ["512"] = 64 }) do
      kinds["SHA" .. hash .. "-RSAPSS"] = "rsa:2048 -sha" .. hash
        .. " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:" .. salt
    end
    openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
    local other = certificate({})
    for name, arguments in pairs(kinds) do
      local pem = openssl.run("req -new -x509 -nodes -keyout %d/k -subj /CN=x"
        .. " -config %d/cnf -newkey " .. arguments)
      local one = x509.parse(pem:match("%-%-%-%-%-BEGIN CERT.*"))[1]
      assert.equal(name, one.signature_algorithm)
      assert.is_true(one:signed(one.der), name)
      refused("bad_signature", other:signed(one.der))
      refused("bad_signature", one:signed(other.der))
      refused("bad_signature", one:signed(one.der:sub(1, -2)
        .. string.char((one.der:byte(-1) + 1) % 256)))
    end
  end)

  it("does not take what it does not know", function()
    openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
    for _, arguments in ipairs({
      "rsa:2048 -md5", "rsa:2048 -sha224", "ed448",
      "rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20",
      "rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha512"
        .. " -sigopt rsa_pss_saltlen:32",
    }) do
      local pem = openssl.run("req -new -x509 -nodes -keyout %d/k -subj /CN=x"
        .. " -config %d/cnf -newkey " .. arguments)
      local one = x509.parse(pem:match("%-%-%-%-%-BEGIN CERT.*"))[1]
      refused("bad_signature", one:signed(one.der))
    end
  end)

  it("refuses what is no certificate", function()
    local one = certificate({})
    refused("bad_certificate", one:signed(""))
    refused("bad_certificate", one:signed(one.tbs))
  end)
end)
