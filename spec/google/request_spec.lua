local engine = require("fulcio.engine")
local request = require("fulcio.google.request")
local schema = require("spec.google.schema")

describe("google.request", function()
  local key = assert(engine.pkey.generate("P-256"))

  local function body(changes)
    local profile = { key = key, not_before = 10, not_after = 610,
      key_usage = { "digital_signature" },
      extended_key_usage = { "code_signing" },
      san = { type = "email", value = "a@example.com" } }
    for name, value in pairs(changes or {}) do profile[name] = value end
    local value = assert(engine.claims.parse(request.body(profile)))
    assert.is_nil((schema.certificate(value)))
    return value
  end

  it("asks in Google's terms", function()
    local value = body()
    assert.equal("600s", value.lifetime)
    local config = value.config
    assert.equal(key:pem(), engine.bytes.unbase64(config.publicKey.key))
    assert.same({ emailAddresses = { "a@example.com" } },
                config.subjectConfig.subjectAltName)
    assert.same({ baseKeyUsage = { digitalSignature = true },
                  extendedKeyUsage = { codeSigning = true } },
                config.x509Config.keyUsage)
    assert.same({}, config.x509Config.additionalExtensions)
    assert.is_nil(config.x509Config.caOptions)
  end)

  it("says whether an extension is critical, and other usages by OID",
  function()
    local x509 = body({ ca = true, path_length = 0,
      extended_key_usage = { "code_signing", "1.2.3.4", "any" },
      extensions = { { oid = "1.2.3", value = "x", critical = true } },
    }).config.x509Config
    assert.same({ { objectId = { objectIdPath = { 1, 2, 3 } },
                    critical = true, value = "eA==" } },
                x509.additionalExtensions)
    assert.same({ { objectIdPath = { 1, 2, 3, 4 } },
                  { objectIdPath = { 2, 5, 29, 37, 0 } } },
                x509.keyUsage.unknownExtendedKeyUsages)
    assert.same({ isCa = true, maxIssuerPathLength = 0 }, x509.caOptions)
  end)

  it("makes random UUIDs of version 4", function()
    local seen = {}
    for _ = 1, 200 do
      local uuid = request.uuid()
      assert.matches("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-"
        .. ("%x"):rep(12) .. "$", uuid)
      assert.is_nil(seen[uuid])
      seen[uuid] = true
    end
  end)
end)
