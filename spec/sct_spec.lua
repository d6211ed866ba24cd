--- engine/sct.c: the structures of RFC 6962, against the shared vectors.
local engine = require("fulcio.engine")
local files = require("spec.files")
local unhex = require("spec.hex")

local sct = engine.sct
local sha256, hex = engine.bytes.sha256, engine.bytes.hex
local base64, unbase64 = engine.bytes.base64, engine.bytes.unbase64

local vectors = engine.claims.parse(
  files.read("spec/fixtures/ct-vectors.json"))

local log_key = engine.pkey.parse(unhex(vectors.log_spki))
local response = vectors.add_pre_chain_response

local function precert_entry()
  return {
    timestamp_ms = response.timestamp,
    kind = "precert",
    tbs = unhex(vectors.tbs_defanged),
    issuer_key_hash = unhex(vectors.issuer_key_hash),
    extensions = unbase64(response.extensions),
  }
end

describe("sct", function()
  it("holds the shared vectors", function()
    assert.equal(vectors.log_id_b64, base64(sha256(log_key:spki())))
    assert.equal(vectors.issuer_key_hash,
      hex(sha256(unhex(vectors.ca_spki))))
    local leaf = sct.leaf(precert_entry())
    assert.equal(vectors.merkle_tree_leaf, hex(leaf))
    assert.equal(vectors.leaf_hash, hex(engine.merkle.leaf_hash(leaf)))
    local signed = unbase64(response.signature)
    assert.is_true(sct.verify(leaf, signed, log_key))
    local bytes = sct.serialize({
      log_id = unbase64(response.id),
      timestamp_ms = response.timestamp,
      extensions = unbase64(response.extensions),
      signature = signed,
    })
    assert.equal(vectors.sct_bytes, hex(bytes))
    local list = sct.list({ bytes })
    -- The extension's value is an OCTET STRING around the list.
    assert.equal(vectors.sct_list_ext_value,
      "0481" .. ("%02x"):format(#list) .. hex(list))
    assert.truthy(unhex(vectors.final_der):find(list, 1, true))
  end)

  it("holds the shared vectors of the tree head", function()
    local head = vectors.sth.get_sth
    local input = sct.tree_head(head.timestamp, head.tree_size,
      unbase64(head.sha256_root_hash))
    assert.equal(vectors.sth.input, hex(input))
    assert.equal(50, #input)
    assert.is_true(sct.verify(input, unbase64(head.tree_head_signature),
      log_key))
  end)

  describe("leaf", function()
    it("is read again as what it was made of", function()
      for _, entry in ipairs({
        precert_entry(),
        { timestamp_ms = 0, kind = "x509", certificate = "c",
          extensions = "" },
        { timestamp_ms = 2 ^ 53, kind = "x509",
          certificate = ("c"):rep(70000), extensions = ("e"):rep(65535) },
      }) do
        assert.same(entry, sct.parse_leaf(sct.leaf(entry)))
      end
      assert.equal("00000000000000000001" .. "0000" .. "00000163" .. "0000",
        hex(sct.leaf({ timestamp_ms = 1, kind = "x509", certificate = "c" })))
    end)

    it("refuses what is no leaf", function()
      local leaf = sct.leaf(precert_entry())
      local wrong = { "", leaf .. "x", "\1" .. leaf:sub(2),
        "\0\1" .. leaf:sub(3), leaf:sub(1, 10) .. "\0\2" .. leaf:sub(13),
        "\0\0" .. ("\255"):rep(8) .. leaf:sub(11) }
      for size = 0, #leaf - 1 do wrong[#wrong + 1] = leaf:sub(1, size) end
      for _, bytes in ipairs(wrong) do
        local entry, message, code = sct.parse_leaf(bytes)
        assert.is_nil(entry)
        assert.equal("not a MerkleTreeLeaf", message)
        assert.equal("bad_leaf", code)
      end
    end)

    it("throws on a table that is no entry", function()
      for name, value in pairs({
        timestamp_ms = "x", kind = "other", tbs = 7, extensions = {},
        issuer_key_hash = "short",
      }) do
        local entry = precert_entry()
        entry[name] = value
        assert.has_error(function() sct.leaf(entry) end)
        if name ~= "extensions" then
          entry[name] = nil
          assert.has_error(function() sct.leaf(entry) end)
        end
      end
      local entry = precert_entry()
      entry.extensions = ("e"):rep(65536)
      assert.has_error(function() sct.leaf(entry) end)
      entry.extensions = nil
      entry.tbs = ("t"):rep(0x1000000)
      assert.has_error(function() sct.leaf(entry) end)
      entry.tbs, entry.timestamp_ms = "t", -1
      assert.has_error(function() sct.leaf(entry) end)
      entry.timestamp_ms = 2 ^ 54
      assert.has_error(function() sct.leaf(entry) end)
      assert.has_error(function() sct.leaf() end)
    end)
  end)

  describe("sign", function()
    it("signs what verify accepts, with EC and RSA", function()
      for name, begin in pairs({ ["P-256"] = "0403", ["RSA-2048"] = "0401" }) do
        local key = engine.pkey.generate(name)
        local signed = sct.sign("input", key)
        assert.equal(begin, hex(signed:sub(1, 2)))
        assert.equal(#signed - 4, signed:byte(3) * 256 + signed:byte(4))
        assert.is_true(sct.verify("input", signed, key))
        assert.is_true(key:verify("input", signed:sub(5), "SHA-256"))
      end
    end)

    it("needs a private key", function()
      local signed, message, code = sct.sign("input", log_key)
      assert.is_nil(signed)
      assert.is_string(message)
      assert.equal("not_private", code)
    end)

    it("throws on a key that logs do not use", function()
      local key = engine.pkey.generate("Ed25519")
      assert.has_error(function() sct.sign("input", key) end)
      assert.has_error(function() sct.sign("input", {}) end)
    end)
  end)

  describe("verify", function()
    local key = engine.pkey.generate("P-256")
    local signed = sct.sign("input", key)

    local function refuses(expected, input, bytes, by)
      local good, message, code = sct.verify(input, bytes, by)
      assert.is_nil(good)
      assert.equal(expected, message)
      assert.equal("bad_signature", code)
    end

    it("refuses another input, signature or key", function()
      local other = engine.pkey.generate("P-256")
      refuses("signature is wrong", "inpuT", signed, key)
      refuses("signature is wrong", "input", signed, other)
      refuses("signature is wrong", "input", sct.sign("inpuT", key), key)
    end)

    it("refuses an algorithm that does not fit", function()
      local text = "signature algorithm does not fit the log's key"
      refuses(text, "input", "\4\1" .. signed:sub(3), key)
      refuses(text, "input", "\5\3" .. signed:sub(3), key)
      refuses(text, "input", "\4\0" .. signed:sub(3), key)
      refuses(text, "input", signed, engine.pkey.generate("Ed25519"))
      refuses(text, "input", signed, engine.pkey.generate("RSA-2048"))
    end)

    it("refuses what is no DigitallySigned", function()
      refuses("not a DigitallySigned", "input", signed .. "x", key)
      for size = 0, #signed - 1 do
        refuses("not a DigitallySigned", "input", signed:sub(1, size), key)
      end
    end)
  end)

  describe("serialize", function()
    it("is read again as what it was made of", function()
      local one = {
        version = 0, log_id = ("l"):rep(32), timestamp_ms = 1767323045678,
        extensions = "", signature = "\4\3\0\1s",
      }
      assert.same(one, sct.parse(sct.serialize(one)))
      one.extensions, one.timestamp_ms = ("e"):rep(65535), 2 ^ 53
      assert.same(one, sct.parse(sct.serialize(one)))
    end)

    it("refuses what is no SCT of version 1", function()
      local bytes = unhex(vectors.sct_bytes)
      local wrong = { bytes .. "x", "\1" .. bytes:sub(2),
        bytes:sub(1, 33) .. "\255" .. bytes:sub(35) }
      for size = 0, #bytes - 1 do wrong[#wrong + 1] = bytes:sub(1, size) end
      for _, text in ipairs(wrong) do
        local one, message, code = sct.parse(text)
        assert.is_nil(one)
        assert.equal("not a SignedCertificateTimestamp of v1", message)
        assert.equal("bad_sct", code)
      end
    end)

    it("throws on a table that is no SCT", function()
      local function one(name, value)
        local made = { log_id = ("l"):rep(32), timestamp_ms = 1,
          signature = "\4\3\0\1s" }
        made[name] = value
        return made
      end
      assert.is_string(sct.serialize(one("version", 0)))
      for _, wrong in ipairs({
        one("log_id", "short"), one("log_id", false), one("timestamp_ms", -1),
        one("timestamp_ms", false), one("signature", 1),
        one("extensions", ("e"):rep(65536)), {},
      }) do
        assert.has_error(function() sct.serialize(wrong) end)
      end
    end)
  end)

  describe("list", function()
    it("is read again as what it was made of", function()
      for _, list in ipairs({ {}, { "a" }, { "a", "bb", ("c"):rep(60000) } }) do
        assert.same(list, sct.parse_list(sct.list(list)))
      end
      assert.equal("00060001610001" .. "62", hex(sct.list({ "a", "b" })))
      assert.equal("0000", hex(sct.list({})))
    end)

    it("refuses what is no list", function()
      for _, bytes in ipairs({
        "", "\0", "\0\1", "\0\0x", "\0\2\0\0", "\0\3\0\2a", "\0\3\0\1a\0",
        "\0\4\0\1a\0",
      }) do
        local list, message, code = sct.parse_list(bytes)
        assert.is_nil(list)
        assert.equal("not a SignedCertificateTimestampList", message)
        assert.equal("bad_sct", code)
      end
    end)

    it("throws on what cannot be listed", function()
      assert.has_error(function() sct.list({ 1 }) end)
      assert.has_error(function() sct.list({ ("x"):rep(65536) }) end)
      assert.has_error(function()
        sct.list({ ("x"):rep(40000), ("x"):rep(40000) })
      end)
      assert.has_error(function() sct.list("x") end)
    end)
  end)

  it("writes extra_data for certificates and precertificates", function()
    assert.equal("000009" .. "00000161" .. "0000026262",
      hex(sct.extra_data({ "a", "bb" })))
    assert.equal("000000", hex(sct.extra_data({})))
    assert.equal("00000170" .. "000004" .. "00000161",
      hex(sct.extra_data({ "a" }, "p")))
    assert.has_error(function() sct.extra_data({ {} }) end)
    assert.has_error(function() sct.extra_data() end)
    assert.has_error(function() sct.extra_data({}, ("x"):rep(0x1000000)) end)
  end)

  it("writes a tree head's input only from what is one", function()
    local root = sha256("")
    assert.equal("0001" .. ("0"):rep(15) .. "1" .. ("0"):rep(15) .. "2"
      .. hex(root), hex(sct.tree_head(1, 2, root)))
    assert.has_error(function() sct.tree_head(1, 2, "short") end)
    assert.has_error(function() sct.tree_head(-1, 2, root) end)
    assert.has_error(function() sct.tree_head(1, -2, root) end)
    assert.has_error(function() sct.tree_head(1, 2) end)
  end)
end)
