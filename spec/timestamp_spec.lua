local authority = require("spec.authority")
local cjson = require("cjson")
local engine = require("fulcio.engine")
local timestamp = require("fulcio.timestamp")

local base64, sct = engine.bytes.base64, engine.sct
local HOUR = 3600000

describe("a signed certificate timestamp", function()
  local ca, key, der, about

  setup(function()
    ca = authority.new()
    key = engine.pkey.generate("P-256")
    der = ca:precertificate()
    about = { der = der, kind = "precert", key = key,
              log_id = engine.bytes.sha256(key:spki()),
              tbs = engine.x509.skim(der).defanged,
              key_hash = engine.bytes.sha256(ca.root:pkey():spki()) }
  end)

  -- What an honest log answers; `leaf` changes what it signs, `value` what
  -- it then says.
  local function answer(leaf, value)
    local signed = {
      timestamp_ms = engine.system.now_ms(), kind = "precert",
      extensions = "", tbs = engine.x509.skim(der).defanged,
      issuer_key_hash = about.key_hash,
    }
    for name, change in pairs(leaf or {}) do signed[name] = change end
    local all = {
      sct_version = 0, id = base64(engine.bytes.sha256(key:spki())),
      timestamp = signed.timestamp_ms, extensions = base64(signed.extensions),
      signature = base64(assert(sct.sign(sct.leaf(signed), key))),
    }
    for name, change in pairs(value or {}) do
      all[name] = change ~= cjson.null and change or nil
    end
    return cjson.encode(all)
  end

  -- A SerializedSCT from the JSON, and what was read.
  local function verify(body, asked)
    local read, message = timestamp.read(body)
    if not read then return nil, message end
    local bytes
    bytes, message = timestamp.verify(read, asked)
    return bytes, bytes and read or message
  end

  local function refused(body, pattern)
    local bytes, message = verify(body, about)
    assert.is_nil(bytes, body)
    assert.matches("^bad SCT: ", message)
    if pattern then assert.matches(pattern, message) end
  end

  it("is serialized for the certificate, and kept as it was answered",
    function()
      local body = answer()
      local bytes, read = verify(body, about)
      local value, parsed = cjson.decode(body), sct.parse(bytes)
      assert.same({ value.id, value.timestamp, value.signature, "" },
        { base64(read.log_id), read.timestamp_ms, base64(read.signature),
          read.extensions })
      assert.same({ 0, value.timestamp, value.signature, "" },
        { parsed.version, parsed.timestamp_ms, base64(parsed.signature),
          parsed.extensions })
    end)

  it("has its extensions signed too", function()
    local index = "\0\0\5\0\0\0\0\7"
    local bytes = verify(answer({ extensions = index }), about)
    assert.equal(index, sct.parse(bytes).extensions)
    refused(answer(nil, { extensions = base64(index) }),
      "signature is wrong")
    for _, extensions in ipairs({ "x", "\0\0", "\0\0\9x", index .. "\0" }) do
      refused(answer({ extensions = extensions }), "malformed")
    end
  end)

  it("is of the log that was asked", function()
    refused(answer(nil, { id = base64(("x"):rep(32)) }), "another log")
    refused(answer(nil, { id = "AAAA" }), "not 32 bytes")
  end)

  it("is about what was sent", function()
    refused(answer({ tbs = "another" }), "signature is wrong")
    refused(answer({ issuer_key_hash = ("x"):rep(32) }))
    refused(answer({ kind = "x509", certificate = der }))
    refused(answer(nil, { timestamp = engine.system.now_ms() + 1 }))
    refused(answer(nil, { signature = base64("\4\3\0\2xx") }))
    refused(answer(nil, { signature = "" }))
  end)

  it("is of now, or of less than a day ago", function()
    local now = engine.system.now_ms()
    assert(verify(answer({ timestamp_ms = now - 23 * HOUR }),
      about))
    assert(verify(answer({ timestamp_ms = now + 30000 }), about))
    refused(answer({ timestamp_ms = now - 25 * HOUR }), "time is not ours")
    refused(answer({ timestamp_ms = now + 120000 }), "time is not ours")
    refused(answer(nil, { timestamp = -1 }), "time is not ours")
  end)

  it("is an object with all its members, and of version 0", function()
    local null = cjson.null
    for _, value in ipairs({
      { sct_version = 1 }, { sct_version = "0" }, { sct_version = null },
      { id = null }, { id = 5 }, { id = "!" }, { signature = null },
      { signature = "!" }, { extensions = null }, { timestamp = null },
      { timestamp = "1" }, { timestamp = 1.5 },
    }) do
      refused(answer(nil, value))
    end
    for _, body in ipairs({ "", "[]", "null", '{"a":', "<html>", "1" }) do
      refused(body)
    end
  end)

  it("is believed when the log's key is not known", function()
    local unknown = { der = der, kind = "precert",
                      key_hash = about.key_hash }
    assert(verify(answer({ tbs = "another" }), unknown))
    assert.is_nil(verify(answer(nil, { sct_version = 1 }),
      unknown))
  end)
end)
