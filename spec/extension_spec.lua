local engine = require("fulcio.engine")
local openssl = require("spec.openssl")

local extension, hex = engine.extension, engine.bytes.hex
local der = openssl.der

local function refused(code, result, message, got)
  assert.is_nil(result)
  assert.equal(code, got)
  assert.is_string(message)
end

describe("extension.utf8", function()
  it("writes a UTF8String of any length", function()
    for _, size in ipairs({ 0, 1, 127, 128, 255, 256, 60000 }) do
      local text = ("x"):rep(size)
      assert.equal(der(12, text), extension.utf8(text))
    end
    assert.equal(der(12, "grüße\0"), extension.utf8("grüße\0"))
  end)

  it("refuses what is not UTF-8", function()
    refused("bad_utf8", extension.utf8("\255"))
    refused("bad_utf8", extension.utf8("\237\160\128"))
  end)
end)

describe("extension.oid", function()
  it("writes what X.690 says", function()
    local oids = {
      ["2.999.3"] = "0603883703",
      ["1.2.840.113549"] = "06062a864886f70d",
      ["0.0"] = "060100", ["0.39"] = "060127", ["1.0"] = "060128",
      ["1.39"] = "06014f", ["2.0"] = "060150", ["2.47"] = "06017f",
      ["2.48"] = "06028100", ["1.2.127"] = "06022a7f",
      ["1.2.128"] = "06032a8100", ["1.2.16383"] = "06032aff7f",
      ["1.2.16384"] = "06042a818000",
      ["1.3.6.1.4.1.57264.1.24"] = "060a2b0601040183bf300118",
    }
    for text, wanted in pairs(oids) do
      assert.equal(wanted, hex(assert(extension.oid(text))), text)
    end
  end)

  it("agrees with openssl", function()
    for _, text in ipairs({ "1.3.6.1.4.1.11129.2.4.2", "2.5.29.17",
                            "1.2.4294967295.4294967296.1",
                            "1.2.100000000000000000" }) do
      openssl.write("oid", extension.oid(text))
      local shown = openssl.run("asn1parse -inform DER -in %d/oid -oid"
        .. " /dev/null")
      openssl.write("cnf", "asn1=OID:" .. text)
      openssl.run("asn1parse -genconf %d/cnf -noout -out %d/oid2")
      assert.equal(hex(openssl.read(openssl.path("oid2"))),
        hex(extension.oid(text)), shown)
    end
    openssl.clean()
  end)

  it("refuses what is none", function()
    for _, text in ipairs({
      "", "1", "1.", ".1", "1..2", "1.2.", "3.1", "0.40", "1.40", "a", "1.a",
      "1.2 ", " 1.2", "01.2", "1.02", "1.-2", "1.+2", "1,2", "1.2\0",
      "1.2.99999999999999999999", "1.2" .. (".128"):rep(70), "-1.2",
    }) do
      refused("bad_oid", extension.oid(text))
    end
  end)
end)

describe("extension.san", function()
  it("writes one name", function()
    assert.equal(der(48, der(129, "a@b.c")),
      extension.san({ type = "email", value = "a@b.c" }))
    assert.equal(der(48, der(134, "https://x")),
      extension.san({ type = "uri", value = "https://x" }))
    assert.equal(der(48, der(160, openssl.unhex("060a2b0601040183bf300107")
      .. der(160, der(12, "grün!x")))), extension.san({ type = "other",
        value = "grün!x", oid = "1.3.6.1.4.1.57264.1.7" }))
  end)

  it("refuses what the name cannot hold", function()
    refused("not_ascii", extension.san({ type = "email", value = "é@b" }))
    refused("not_ascii", extension.san({ type = "uri", value = "x:\0" }))
    refused("bad_utf8", extension.san({ type = "other", value = "\255",
      oid = "1.2.3" }))
  end)

  it("throws at what is no name", function()
    for _, name in ipairs({ "x", {}, { type = "dns", value = "x" },
                            { type = "email" }, { value = "x" },
                            { type = "other", value = "x" } }) do
      assert.has_error(function() extension.san(name) end)
    end
  end)
end)
