local cjson = require("cjson")
local engine = require("fulcio.engine")
local openssl = require("spec.openssl")
local oracle = require("openssl_oracle")
local signer = require("yielding_signer")

local draft, extension, x509 = engine.draft, engine.extension, engine.x509
local hex = engine.bytes.hex
local der = openssl.der

local NOW = 1790000000
local HASHES = { ["P-256"] = "SHA256", ["P-384"] = "SHA384",
                 ["P-521"] = "SHA512", ["RSA-2048"] = "SHA256" }
local POISON = openssl.unhex("3013060a2b06010401d6790204030101ff04020500")

teardown(openssl.clean)

local function refused(code, result, message, got)
  assert.is_nil(result)
  assert.equal(code, got)
  assert.is_nil(message:match("%.$"))
  return message
end

-- A root of each kind, with its key in a file for the oracle.
local roots = {}
local function root_of(name)
  if roots[name] then return roots[name] end
  local key = assert(engine.pkey.generate(name))
  local path = openssl.path(name .. ".key")
  assert(key:save(path))
  local made = assert(draft.new({ key = key, not_before = NOW,
    not_after = NOW + 86400, subject = { { "CN", name } }, ca = true,
    key_usage = { "cert_sign", "crl_sign" } }))
  local bytes = assert(draft.sign(made:plain(), key))
  roots[name] = { key = key, path = path, x509 = x509.parse(bytes)[1] }
  return roots[name]
end

local function leaf_profile(root, change)
  local profile = {
    key = engine.pkey.generate("P-256"), issuer = root.x509,
    not_before = NOW, not_after = NOW + 600,
    key_usage = { "digital_signature" },
    extended_key_usage = { "code_signing" },
    san = { type = "email", value = "foo@example.com" },
  }
  for name, value in pairs(change or {}) do profile[name] = value end
  return profile
end

-- The same certificate by OpenSSL's X509 API.
local function by_openssl(root, made, profile, extensions)
  return oracle.certificate({
    spki = profile.key:spki(), signer_file = root.path,
    issuer = profile.issuer and profile.issuer.der, serial = made.serial,
    not_before = profile.not_before, not_after = profile.not_after,
    subject = profile.subject or {}, extensions = extensions,
    hash = HASHES[root.key.name],
  })
end

local LEAF = {
  { "keyUsage", "critical,digitalSignature" },
  { "extendedKeyUsage", "codeSigning" },
  { "subjectKeyIdentifier", "hash" },
  { "authorityKeyIdentifier", "keyid" },
  { "subjectAltName", "critical,email:foo@example.com" },
}

-- LEAF with another SAN, and more after it.
local function leaf_with(san, ...)
  local list = { LEAF[1], LEAF[2], LEAF[3], LEAF[4], LEAF[5], ... }
  if san then list[5] = { "subjectAltName", san } end
  return list
end

local function same(root, profile, extensions)
  local made = assert(draft.new(profile))
  local wanted = by_openssl(root, made, profile, extensions)
  local tbs = x509.parse(wanted)[1].tbs
  assert.equal(hex(tbs), hex(made:plain()))
  local name = root.key.name
  if name == "Ed25519" or name:find("RSA") then
    assert.equal(hex(wanted), hex(draft.sign(made:plain(), root.key)))
  end
end

describe("draft.new writes what OpenSSL's X509 API writes", function()
  it("for issuers and subjects of every kind", function()
    for _, issuer in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                              "Ed25519" }) do
      local root = root_of(issuer)
      for _, kind in ipairs({ "P-384", "P-521", "RSA-2048", "Ed25519" }) do
        local key = root_of(kind).key
        same(root, leaf_profile(root, { key = key }), LEAF)
      end
    end
  end)

  it("for each kind of name", function()
    local root = root_of("Ed25519")
    local function named(san)
      return leaf_profile(root, { san = san })
    end
    same(root, named({ type = "uri", value = "https://example.com/a?b#c" }),
      leaf_with("critical,URI:https://example.com/a?b#c"))
    same(root, named({ type = "other", value = "alice!example.com",
      oid = "1.3.6.1.4.1.57264.1.7" }),
      leaf_with("critical,otherName:1.3.6.1.4.1.57264.1.7;UTF8:"
        .. "alice!example.com"))
  end)

  it("for a subject with a name, where the SAN is not critical", function()
    local root = root_of("Ed25519")
    local subject = {
      { "C", "US" }, { "ST", "WA" }, { "L", "Kirkland" },
      { "street", "767 6th St S" }, { "postalCode", "98033" },
      { "O", "sigstore & friends" }, { "OU", "étage" },
      { "CN", "A (b) c'+,-./:=? 9" },
    }
    same(root, leaf_profile(root, { subject = subject }),
      leaf_with("email:foo@example.com"))
  end)

  it("for extensions of ours, in their order", function()
    local root = root_of("RSA-2048")
    local own, extensions = {}, { LEAF[1], LEAF[2], LEAF[3], LEAF[4],
                                  LEAF[5] }
    for i = 1, 30 do
      local oid = "1.3.6.1.4.1.57264.1." .. i * 7
      local text = ("x"):rep(i * i)
      own[i] = { oid = oid, value = extension.utf8(text),
                 critical = i % 3 == 0 }
      extensions[5 + i] = { oid, (i % 3 == 0 and "critical," or "")
        .. "ASN1:UTF8String:" .. text }
    end
    same(root, leaf_profile(root, { extensions = own }), extensions)
  end)

  it("for contents around each step of a length", function()
    local root = root_of("Ed25519")
    for _, size in ipairs({ 0, 1, 100, 127, 128, 200, 255, 256, 257, 4000,
                            65535, 65536, 70000 }) do
      local value = ("v"):rep(size)
      local profile = leaf_profile(root, {
        extensions = { { oid = "1.2.3", value = value } } })
      if size > 0 then
        same(root, profile, leaf_with(nil,
          { "1.2.3", "DER:" .. hex(value) }))
      end
      local made = draft.new(profile)
      local one = x509.parse(draft.join(made:poisoned(), "x"))[1]
      assert.equal(value, one.extensions[6].value)
    end
  end)

  it("takes texts from beside extensions that stand for many", function()
    local root = root_of("Ed25519")
    local own = { { oid = "1.2.3", raw = true }, { oid = "1.2.4" },
                  { oid = "1.2.5", text = "own" } }
    local made = draft.new(leaf_profile(root, {
      extensions = own, texts = { "\5\0", "\5\0" } }))
    local one = x509.parse(draft.join(made:plain(), "x"))[1]
    local values = {}
    for _, own_one in ipairs(one.extensions) do
      values[own_one.oid] = own_one.value
    end
    assert.equal("\5\0", values["1.2.3"])
    assert.equal("\12\2\5\0", values["1.2.4"])
    assert.equal("\12\3own", values["1.2.5"])
    assert.has_error(function()
      draft.new(leaf_profile(root, { extensions = own, texts = "x" }))
    end)
    assert.has_error(function()
      draft.new(leaf_profile(root, { extensions = { { oid = "1.2.3" } },
                                     texts = { false } }))
    end)
  end)

  it("for an intermediate CA", function()
    local root = root_of("Ed25519")
    same(root, {
      key = engine.pkey.generate("P-384"), issuer = root.x509,
      not_before = NOW, not_after = NOW + 600, ca = true, path_length = 0,
      subject = { { "O", "sigstore.dev" }, { "CN", "intermediate" } },
      key_usage = { "cert_sign", "crl_sign" },
      extended_key_usage = { "code_signing", "time_stamping", "1.2.3.4" },
    }, {
      { "keyUsage", "critical,keyCertSign,cRLSign" },
      { "basicConstraints", "critical,CA:TRUE,pathlen:0" },
      { "extendedKeyUsage", "codeSigning,timeStamping,1.2.3.4" },
      { "subjectKeyIdentifier", "hash" },
      { "authorityKeyIdentifier", "keyid" },
    })
  end)

  it("for a root, which names itself and has no AKI", function()
    local root = root_of("Ed25519")
    same(root, {
      key = root.key, not_before = NOW, not_after = NOW + 600, ca = true,
      path_length = 127, subject = { { "CN", "root" } },
      key_usage = { "digital_signature", "decipher_only" },
    }, {
      { "keyUsage", "critical,digitalSignature,decipherOnly" },
      { "basicConstraints", "critical,CA:TRUE,pathlen:127" },
      { "subjectKeyIdentifier", "hash" },
    })
    same(root, {
      key = root.key, not_before = NOW, not_after = NOW, ca = false,
      path_length = 3, key_usage = {}, extended_key_usage = {},
    }, {
      { "basicConstraints", "critical,CA:FALSE" },
      { "subjectKeyIdentifier", "hash" },
    })
  end)

  it("for times on both sides of 2050, and at the ends", function()
    local root = root_of("Ed25519")
    for _, pair in ipairs({
      { 0, 1 }, { 951782400, 951868800 }, { 2524607999, 2524608000 },
      { 4107542399, 4107542400 }, { 253402300798, 253402300799 },
    }) do
      local profile = leaf_profile(root,
        { not_before = pair[1], not_after = pair[2] })
      same(root, profile, LEAF)
      local one = x509.parse(draft.join(draft.new(profile):plain(), "x"))[1]
      assert.equal(pair[1], one.not_before)
      assert.equal(pair[2], one.not_after)
    end
  end)

  it("for serial numbers of every form", function()
    local root = root_of("Ed25519")
    for _, serial in ipairs({ "01", "7f", "80", "0080", "00ff", "0100",
                              "7" .. ("f"):rep(39), "FF",
                              "00" .. ("0"):rep(36) .. "01" }) do
      local made = assert(draft.new(leaf_profile(root, { serial = serial })))
      assert.equal(serial:lower(), made.serial)
      same(root, leaf_profile(root, { serial = serial }), LEAF)
    end
  end)
end)

describe("draft.new", function()
  it("makes serials of 20 bytes that differ and are positive", function()
    local root, seen = root_of("Ed25519"), {}
    for _ = 1, 200 do
      local made = draft.new(leaf_profile(root))
      assert.equal(40, #made.serial)
      assert.truthy(made.serial:match("^[0-7]%x"))
      assert.is_nil(seen[made.serial])
      seen[made.serial] = true
      local one = x509.parse(draft.join(made:plain(), "x"))[1]
      assert.equal(made.serial, one.serial)
    end
  end)

  it("has the SKI of its key, and the issuer's as AKI", function()
    local root = root_of("Ed25519")
    local profile = leaf_profile(root)
    local one = x509.parse(draft.join(draft.new(profile):plain(), "x"))[1]
    assert.equal(profile.key:id(), one.ski)
    assert.equal(root.x509.ski, one.aki)
  end)

  it("has no AKI when the issuer has no SKI", function()
    openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n[x]\n"
      .. "basicConstraints=CA:TRUE\nsubjectKeyIdentifier=none\n")
    local pem = openssl.run("req -new -x509 -newkey ed25519 -nodes -keyout"
      .. " %d/k -extensions x -subj /CN=x -config %d/cnf")
    local issuer = x509.parse(pem:match("%-%-%-%-%-BEGIN CERT.*"))[1]
    local made = draft.new(leaf_profile({ x509 = issuer }))
    assert.is_nil(x509.parse(draft.join(made:plain(), "x"))[1].aki)
  end)

  it("takes the issuer's name byte for byte", function()
    local path = "spec/fixtures/ct-vectors.json"
    local vectors = cjson.decode(openssl.read(path))
    local issuer = x509.parse(openssl.unhex(vectors.root_der))[1]
    local made = draft.new(leaf_profile({ x509 = issuer }))
    assert.equal(issuer.subject_der,
      x509.skim(draft.join(made:plain(), "x")).issuer_der)
  end)

  it("signs with another key than its own when told", function()
    local root = root_of("P-384")
    local made = assert(draft.new({ key = root_of("P-256").key,
      signer = root.key, not_before = NOW, not_after = NOW }))
    local one = x509.parse(assert(draft.sign(made:plain(), root.key)))[1]
    assert.equal("ECDSA-SHA384", one.signature_algorithm)
    assert.is_true(root.x509:signed(one.der))
    local wrong = leaf_profile(root, { signer = root_of("P-256").key })
    refused("bad_draft", draft.new(wrong))
    assert(draft.new(leaf_profile(root, { signer = root.key })))
  end)

  it("refuses times, serials and texts that cannot be", function()
    local root = root_of("P-256")
    local function bad(code, change)
      return refused(code, draft.new(leaf_profile(root, change)))
    end
    bad("bad_draft", { not_before = -1 })
    bad("bad_draft", { not_after = 253402300800 })
    bad("bad_draft", { not_after = 0 / 0 })
    bad("bad_draft", { not_after = NOW - 1 })
    for _, serial in ipairs({ "", "0", "00", "xy", "1", "001",
                              ("0"):rep(40), "8" .. ("0"):rep(39),
                              "01" .. ("0"):rep(40) }) do
      bad("bad_draft", { serial = serial })
    end
    bad("bad_draft", { subject = { { "CN", "" } } })
    bad("bad_draft", { subject = { { "O", "x" }, { "CN", "\255" } } })
  end)

  it("refuses names that are not ASCII, or not UTF-8", function()
    local root = root_of("P-256")
    local function bad(code, san)
      return refused(code, draft.new(leaf_profile(root, { san = san })))
    end
    assert.equal('x509: "grüße@example.com" cannot be encoded as an IA5String',
      bad("not_ascii", { type = "email", value = "grüße@example.com" }))
    bad("not_ascii", { type = "uri", value = "https://é" })
    bad("not_ascii", { type = "email", value = "a@b\0.c" })
    bad("not_ascii", { type = "email", value = "a@b\n" })
    bad("not_ascii", { type = "uri", value = "x:\127" })
    local oid = "1.3.6.1.4.1.57264.1.7"
    bad("bad_utf8", { type = "other", oid = oid, value = "\255" })
    bad("bad_utf8", { type = "other", oid = oid, value = "a\0" })
  end)

  it("refuses extensions that are none, or there already", function()
    local root = root_of("P-256")
    local function bad(...)
      local list = {}
      for i, oid in ipairs({ ... }) do list[i] = { oid = oid, value = "" } end
      refused("bad_draft", draft.new(leaf_profile(root,
        { extensions = list })))
    end
    bad("")
    bad("1.2.3", "x")
    bad("1.2.3", "1.2.4", "1.2.3")
    for _, oid in ipairs({ "2.5.29.14", "2.5.29.15", "2.5.29.17",
                           "2.5.29.19", "2.5.29.35", "2.5.29.37",
                           "1.3.6.1.4.1.11129.2.4.2",
                           "1.3.6.1.4.1.11129.2.4.3" }) do
      bad(oid)
    end
    local two = { { oid = "1.2.3", value = "" }, { oid = "2.2.3", value = "" } }
    assert(draft.new(leaf_profile(root, { extensions = two })))
    refused("bad_utf8", draft.new(leaf_profile(root,
      { extensions = { { oid = "1.2.3", text = "\255" } } })))
    for _, wrong in ipairs({ { oid = 1, text = "" }, { oid = "1.2.3" },
                             { oid = "1.2.3", text = {} }, { text = "" },
                             { oid = "1.2.3", text = "", other = 1 } }) do
      assert.has_error(function()
        draft.new(leaf_profile(root, { extensions = { wrong } }))
      end)
    end
  end)

  it("refuses a key that cannot sign certificates", function()
    openssl.write("cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
    local pem = openssl.run("req -new -x509 -newkey ed448 -nodes -keyout"
      .. " %d/k -subj /CN=x -config %d/cnf")
    local issuer = x509.parse(pem:match("%-%-%-%-%-BEGIN CERT.*"))[1]
    refused("bad_draft", draft.new(leaf_profile({ x509 = issuer })))
  end)

  it("throws at a profile of the wrong shape", function()
    local root = root_of("P-256")
    local function wrong(change)
      assert.has_error(function() draft.new(leaf_profile(root, change)) end)
    end
    wrong({ keyusage = {} })
    wrong({ key = "x" })
    wrong({ issuer = "x" })
    wrong({ signer = "x" })
    wrong({ not_before = "x" })
    wrong({ key_usage = { "signing" } })
    wrong({ key_usage = "digital_signature" })
    wrong({ extended_key_usage = { "signing" } })
    wrong({ extended_key_usage = { "code_signing\0" } })
    wrong({ ca = true, path_length = -1 })
    wrong({ ca = true, path_length = 128 })
    wrong({ subject = { { "X", "y" } } })
    wrong({ subject = { "CN" } })
    wrong({ subject = "CN=x" })
    wrong({ san = { type = "dns", value = "x" } })
    wrong({ san = { type = "email" } })
    wrong({ san = { type = "other", value = "x" } })
    wrong({ san = { type = "other", value = "x", oid = "y" } })
    wrong({ san = { type = "email", value = "x", critical = true } })
    wrong({ extensions = { { oid = "1.2.3" } } })
    wrong({ extensions = { { oid = "1.2.3", value = "", x = 1 } } })
    wrong({ extensions = { "1.2.3" } })
    wrong({ extensions = "1.2.3" })
    assert.has_error(function() draft.new(nil) end)
    assert.has_error(function() draft.new({}) end)
  end)
end)

describe("a draft", function()
  local root = root_of("P-256")
  local list = ("\1\2\3"):rep(40)

  it("is the same bytes but for its last extension", function()
    for _, more in ipairs({ 0, 5, 60, 150, 65000 }) do
      local made = draft.new(leaf_profile(root, { extensions = {
        { oid = "1.2.3", value = ("x"):rep(more) } } }))
      local function with(last)
        local parts = openssl.children(made:plain())
        local inner = openssl.children(parts[#parts])[1]
        local all = table.concat(openssl.children(inner)) .. last
        parts[#parts] = nil
        return table.concat(parts), all
      end
      for tbs, last in pairs({
        [made:poisoned()] = POISON,
        [made:stamped(list)] = der(48, openssl.unhex(
          "060a2b06010401d679020402") .. der(4, der(4, list))),
      }) do
        local head, all = with(last)
        local parts = openssl.children(tbs)
        local inner = openssl.children(table.remove(parts))[1]
        assert.equal(hex(head), hex(table.concat(parts)))
        assert.equal(hex(all), hex(table.concat(openssl.children(inner))))
      end
    end
  end)

  it("loses poison and SCT list to the same bytes", function()
    local made = draft.new(leaf_profile(root))
    local precert = assert(draft.sign(made:poisoned(), root.key))
    local final = assert(draft.sign(made:stamped(list), root.key))
    local before, after = x509.skim(precert), x509.skim(final)
    assert.is_true(before.poisoned)
    assert.equal(list, after.sct_list)
    assert.equal(made:plain(), before.defanged)
    assert.equal(made:plain(), after.defanged)
    assert.equal(made.serial, before.serial)
    assert.equal(made.serial, after.serial)
  end)

  it("is read by the openssl command", function()
    local made = draft.new(leaf_profile(root, { extensions = {
      { oid = "1.3.6.1.4.1.57264.1.8", value = extension.utf8("https://x") },
    } }))
    local final = assert(draft.sign(made:stamped(list), root.key))
    openssl.write("root.pem", root.x509.pem)
    openssl.write("leaf.pem", draft.pem(final))
    openssl.run("verify -attime " .. NOW
      .. " -CAfile %d/root.pem %d/leaf.pem")
    local text = openssl.run("x509 -noout -text -in %d/leaf.pem")
    for _, line in ipairs({
      "Version: 3 (0x2)", "Signature Algorithm: ecdsa-with-SHA256",
      "Key Usage: critical\n *Digital Signature", "Code Signing",
      "Subject Alternative Name: critical\n *email:foo@example.com",
      "1.3.6.1.4.1.57264.1.8: \n *..https://x", "CT Precertificate SCTs",
    }) do
      assert.truthy(text:find((line:gsub("[%(%)%-%.]", "%%%0"))), line)
    end
  end)

  it("throws without an SCT list", function()
    assert.has_error(function() draft.new(leaf_profile(root)):stamped() end)
  end)
end)

describe("draft.sign", function()
  local root = root_of("P-256")
  local tbs = draft.new(leaf_profile(root)):plain()

  it("signs with every kind of key", function()
    for _, name in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                            "Ed25519" }) do
      local issuer = root_of(name)
      local made = draft.new(leaf_profile(issuer))
      local bytes = assert(draft.sign(made:plain(), issuer.key))
      assert.is_true(issuer.x509:signed(bytes))
    end
  end)

  it("throws at a key that the TBS does not name, and at no TBS", function()
    assert.has_error(function() draft.sign(tbs, root_of("P-384").key) end)
    assert.has_error(function() draft.sign(tbs, root_of("Ed25519").key) end)
    assert.has_error(function() draft.sign("x", root.key) end)
    assert.has_error(function() draft.sign(tbs .. "\0", root.key) end)
    assert.has_error(function() draft.sign(tbs, "key") end)
  end)

  it("cannot sign with a public key", function()
    local public = engine.pkey.parse(root.key:pem())
    refused("not_private", draft.sign(tbs, public))
  end)

  it("waits for a signer that is elsewhere", function()
    local key = signer.wrap(root.key)
    assert.is_true(root.x509:signed(assert(draft.sign(tbs, key))))
    local run = coroutine.wrap(function()
      local bytes, message, code = draft.sign(tbs, key)
      return bytes, message, code, "after"
    end)
    assert.equal(tbs, run())
    collectgarbage()
    local bytes, _, _, after = run((root.key:sign(tbs)))
    assert.equal("after", after)
    assert.is_true(root.x509:signed(bytes))
    assert.equal(tbs, x509.parse(bytes)[1].tbs)
  end)

  it("hands on a signer's failure", function()
    local key = signer.wrap(root.key)
    local run = coroutine.wrap(function() return draft.sign(tbs, key) end)
    run()
    refused("hsm_gone", run(nil, "the HSM is gone", "hsm_gone"))
  end)
end)

describe("draft.join", function()
  it("takes a signature made elsewhere", function()
    local root = root_of("P-521")
    local tbs = draft.new(leaf_profile(root)):plain()
    local bytes = draft.join(tbs, root.key:sign(tbs))
    assert.is_true(root.x509:signed(bytes))
  end)

  it("throws at what is no TBSCertificate", function()
    for _, tbs in ipairs({ "", "x", "\48\0", "\48\3\2\1\1",
                           root_of("P-256").x509.der }) do
      assert.has_error(function() draft.join(tbs, "x") end)
    end
  end)
end)

describe("draft.pem", function()
  it("writes one block that openssl reads", function()
    local root = root_of("P-256")
    local pem = draft.pem(root.x509.der)
    assert.equal(root.x509.pem, pem)
    openssl.write("c.pem", pem)
    assert.equal(pem, openssl.run("x509 -in %d/c.pem"))
  end)

  it("takes a label and any length", function()
    assert.equal("-----BEGIN X Y-----\n-----END X Y-----\n",
      draft.pem("", "X Y"))
    for size = 1, 100 do
      local bytes = ("\0\1\2\3\4"):rep(size):sub(1, size)
      local pem = draft.pem(bytes, "PUBLIC KEY")
      local body = pem:match("\n(.*\n)%-%-%-%-%-END"):gsub("\n", "")
      assert.equal(engine.bytes.base64(bytes), body)
      for line in pem:gmatch("[^\n]+") do assert.is_true(#line <= 64) end
    end
  end)
end)
