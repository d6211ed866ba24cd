--- engine/jws.c and jwk.c: tokens and the keys that verify them.
local engine = require("fulcio.engine")

local jws, pkey = engine.jws, engine.pkey
local base64url, unbase64 = engine.bytes.base64url, engine.bytes.unbase64

-- RFC 7515 A.2 and A.3, RFC 8037 A.4.
local payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9"
  .. "leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
local published = {
  {
    algorithm = "RS256",
    jwk = {
      kty = "RSA",
      n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"
        .. "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"
        .. "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"
        .. "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"
        .. "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"
        .. "PAcDTW9gb54h4FRWyuXpoQ",
      e = "AQAB",
    },
    token = "eyJhbGciOiJSUzI1NiJ9." .. payload .. ".cC4hiUPoj9Eetdgtv3hF80EG"
      .. "rhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F"
      .. "p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO7"
      .. "5vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi1"
      .. "2jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6"
      .. "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
  },
  {
    algorithm = "ES256",
    jwk = {
      kty = "EC",
      crv = "P-256",
      x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    },
    token = "eyJhbGciOiJFUzI1NiJ9." .. payload .. ".DtEhU3ljbEg8L38VWAfUAqOy"
      .. "KAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
  },
  {
    algorithm = "EdDSA",
    jwk = {
      kty = "OKP",
      crv = "Ed25519",
      x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    },
    token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0"
      .. "il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g"
      .. "7sVvpAr_MuM0KAg",
  },
}

local keys = {}
local function key_of(name)
  keys[name] = keys[name] or pkey.generate(name)
  return keys[name]
end

local fitting = {
  RS256 = "RSA-2048", RS384 = "RSA-2048", RS512 = "RSA-2048",
  PS256 = "RSA-2048", PS384 = "RSA-2048", PS512 = "RSA-2048",
  ES256 = "P-256", ES384 = "P-384", ES512 = "P-521", EdDSA = "Ed25519",
}

describe("jws.parse", function()
  it("decodes the three parts", function()
    local token = base64url('{"alg":"x"}') .. "." .. base64url("a\0b") .. "."
      .. base64url("\255\254")
    assert.same({
      header = '{"alg":"x"}', payload = "a\0b", signature = "\255\254",
      input = token:match("^(.*)%."),
    }, (jws.parse(token)))
    assert.same({ header = "", payload = "", signature = "", input = "." },
      (jws.parse("..")))
  end)

  local function refuses(message, token)
    local parts, said, code = jws.parse(token)
    assert.is_nil(parts)
    assert.equal(message, said)
    assert.equal("bad_token", code)
  end

  it("wants exactly two dots", function()
    for _, token in ipairs({
      "", ".", "a.b", "YQ.YQ.YQ.YQ", "...", ("."):rep(65536),
    }) do
      refuses("token must have 3 parts", token)
    end
  end)

  it("takes base64url and nothing near it", function()
    local names = { "header", "payload", "signature" }
    for _, part in ipairs({
      "YQ==", "YQ=", "=", "Y", "YWJjZ", "YQ\n", " YQ", "Y Q", "Y\0Q", "+/+/",
      "-_+/", "YR", "YWK", "é", "{}", "YQ,", "\255\255",
    }) do
      for i, name in ipairs(names) do
        local parts = { "YQ", "YQ", "YQ" }
        parts[i] = part
        refuses("token's " .. name .. " is not base64url",
          table.concat(parts, "."))
      end
    end
    assert.is_table(jws.parse("-_-_.YQ.YWI"))
  end)

  it("takes a token of 64 KiB and none longer", function()
    local token = "YQ.YQ." .. ("A"):rep(65528)
    assert.is_table(jws.parse(token .. "AA"))
    refuses("token is longer than 65536 bytes", token .. "AAA")
  end)

  it("throws on what is no text", function()
    assert.has_error(function() jws.parse() end)
    assert.has_error(function() jws.parse({}) end)
  end)
end)

describe("jws.verify", function()
  local function refuses(code, message, ...)
    local good, said, word = jws.verify(...)
    assert.is_nil(good)
    assert.equal(message, said)
    assert.equal(code, word)
  end

  it("holds the RFCs' examples", function()
    for _, case in ipairs(published) do
      local key = assert(jws.key(case.jwk))
      local parts = assert(jws.parse(case.token))
      assert.is_true(jws.verify(parts, key, case.algorithm))
      parts.input = parts.input .. "x"
      refuses("bad_signature", "token's signature is wrong", parts, key,
        case.algorithm)
    end
  end)

  it("verifies what sign makes, under that algorithm alone", function()
    for algorithm, name in pairs(fitting) do
      local key = key_of(name)
      local token = assert(jws.sign("{}", "payload", key, algorithm))
      local parts = assert(jws.parse(token))
      assert.equal("{}", parts.header)
      assert.equal("payload", parts.payload)
      for other, other_name in pairs(fitting) do
        if other == algorithm then
          assert.is_true(jws.verify(parts, key, other))
        elseif other_name == name then
          refuses("bad_signature", "token's signature is wrong", parts, key,
            other)
        else
          local kind = key.kind == "RSA" and "RSA" or name
          refuses("wrong_key", "algorithm " .. other
            .. " does not fit a key of kind " .. kind, parts, key, other)
        end
      end
    end
  end)

  it("knows neither none nor HMAC", function()
    local parts = jws.parse(jws.sign("{}", "x", key_of("P-256"), "ES256"))
    for _, name in ipairs({
      "none", "None", "HS256", "HS512", "", "es256", "ES256K", "ES256\0",
      "RSA-OAEP", "RS1", "Ed25519",
    }) do
      refuses("unknown_algorithm", 'algorithm "' .. name:gsub("%z.*", "")
        .. '" is not one that tokens may use', parts, key_of("P-256"), name)
    end
  end)

  it("takes ECDSA as r || s of the exact size", function()
    local key = key_of("P-256")
    local parts = jws.parse(jws.sign("{}", "x", key, "ES256"))
    local raw = parts.signature
    assert.equal(64, #raw)
    for _, signature in ipairs({
      "", raw:sub(1, 63), raw .. "\0", "\0" .. raw,
      raw:sub(33) .. raw:sub(1, 32),
      ("\0"):rep(64), ("\255"):rep(64), assert(key:sign(parts.input)),
      raw:sub(1, 32) .. ("\0"):rep(32), ("\0"):rep(32) .. raw:sub(33),
    }) do
      refuses("bad_signature", "token's signature is wrong",
        { input = parts.input, signature = signature }, key, "ES256")
    end
    assert.equal(96, #jws.parse(jws.sign("{}", "x", key_of("P-384"),
      "ES384")).signature)
    assert.equal(132, #jws.parse(jws.sign("{}", "x", key_of("P-521"),
      "ES512")).signature)
  end)

  it("takes RSA-PSS with a salt of any length", function()
    local file, key = os.tmpname(), key_of("RSA-2048")
    os.remove(file)
    assert(key:save(file))
    for _, salt in ipairs({ 0, 20, 32, 222 }) do
      local pipe = io.popen("printf input | openssl dgst -sha256 -sign " .. file
        .. " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:" .. salt)
      local signature = pipe:read("*a")
      pipe:close()
      assert.equal(256, #signature)
      local parts = { input = "input", signature = signature }
      assert.is_true(jws.verify(parts, key, "PS256"))
      refuses("bad_signature", "token's signature is wrong", parts, key,
        "PS384")
    end
    os.remove(file)
  end)

  it("refuses another key of the same kind", function()
    for algorithm, name in pairs({ ES256 = "P-256", EdDSA = "Ed25519" }) do
      local parts = jws.parse(jws.sign("{}", "x", key_of(name), algorithm))
      refuses("bad_signature", "token's signature is wrong", parts,
        pkey.generate(name), algorithm)
    end
  end)

  it("refuses signatures of any other length", function()
    for algorithm, name in pairs(fitting) do
      local parts = jws.parse(jws.sign("{}", "x", key_of(name), algorithm))
      for _, signature in ipairs({
        "", "x", parts.signature .. "\0", parts.signature:sub(2),
      }) do
        refuses("bad_signature", "token's signature is wrong",
          { input = parts.input, signature = signature }, key_of(name),
          algorithm)
      end
    end
  end)

  it("throws on parts that are none", function()
    local key = key_of("P-256")
    assert.has_error(function() jws.verify({}, key, "ES256") end)
    assert.has_error(function()
      jws.verify({ input = 1, signature = "" }, key, "ES256")
    end)
    assert.has_error(function()
      jws.verify({ input = "", signature = "" }, {}, "ES256")
    end)
    assert.has_error(function()
      jws.verify({ input = "", signature = "" }, key)
    end)
  end)
end)

describe("jws.sign", function()
  it("signs ECDSA with leading zeros kept", function()
    local key = key_of("P-256")
    for i = 1, 300 do
      local parts = jws.parse(jws.sign("{}", "" .. i, key, "ES256"))
      assert.equal(64, #parts.signature)
      assert.is_true(jws.verify(parts, key, "ES256"))
    end
  end)

  it("says when it cannot", function()
    local public = pkey.parse(key_of("P-256"):spki())
    local token, message, code = jws.sign("{}", "x", public, "ES256")
    assert.is_nil(token)
    assert.is_string(message)
    assert.equal("not_private", code)
    public = pkey.parse(key_of("RSA-2048"):spki())
    token, message, code = jws.sign("{}", "x", public, "PS256")
    assert.is_nil(token)
    assert.equal("PS256 needs a private key in software", message)
    assert.equal("not_private", code)
    token, message, code = jws.sign("{}", "x", key_of("P-256"), "ES384")
    assert.is_nil(token)
    assert.equal("algorithm ES384 does not fit a key of kind P-256", message)
    assert.equal("wrong_key", code)
    assert.equal("unknown_algorithm",
      (select(3, jws.sign("{}", "x", key_of("P-256"), "none"))))
  end)
end)

describe("jws.key", function()
  local function refuses(message, jwk)
    local key, said, code = jws.key(jwk)
    assert.is_nil(key)
    assert.equal(message, said)
    assert.equal("bad_key", code)
  end

  local function changed(jwk, changes)
    local copy = {}
    for name, value in pairs(jwk) do copy[name] = value end
    for name, value in pairs(changes) do copy[name] = value end
    return copy
  end

  it("reads what jwk writes", function()
    for _, name in ipairs({
      "P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "Ed25519",
    }) do
      local key = key_of(name)
      local jwk = jws.jwk(key)
      local read = assert(jws.key(jwk))
      assert.equal(key:spki(), read:spki())
      assert.equal(name, read.name)
      assert.is_false(read.private)
      assert.same(jwk, jws.jwk(read))
      assert.is_nil(jwk.d)
    end
    for _, case in ipairs(published) do
      assert.same(case.jwk, jws.jwk(jws.key(case.jwk)))
    end
  end)

  it("passes over members it does not know", function()
    assert.is_userdata(jws.key(changed(published[1].jwk, {
      x5c = { "MIIB" }, use = "sig", alg = "RS256", kid = "1", d = "AQAB",
      key_ops = { "verify" }, x = 7,
    })))
  end)

  it("refuses a type that cannot verify a token", function()
    refuses('JWK of type "oct" cannot verify a token',
      { kty = "oct", k = "YQ" })
    refuses('JWK of type "ec" cannot verify a token',
      changed(published[2].jwk, { kty = "ec" }))
    refuses('JWK of type "" cannot verify a token', {})
    refuses('JWK of type "" cannot verify a token', { kty = { "EC" } })
  end)

  it("refuses other curves", function()
    for _, curve in ipairs({ "P-224", "secp256k1", "Ed25519", "", "P-256\0x",
      "rsa" }) do
      local key, _, code =
        jws.key(changed(published[2].jwk, { crv = curve }))
      assert.is_nil(key)
      assert.equal("bad_key", code)
    end
    refuses('JWK of curve "P-224" cannot be used',
      changed(published[2].jwk, { crv = "P-224" }))
    refuses('JWK of curve "Ed448" cannot be used',
      changed(published[3].jwk, { crv = "Ed448" }))
    refuses('JWK of curve "X25519" cannot be used',
      changed(published[3].jwk, { crv = "X25519" }))
    refuses('JWK of curve "P-256" cannot be used',
      changed(published[2].jwk, { kty = "OKP" }))
  end)

  it("wants coordinates in full length, on the curve", function()
    local x = unbase64(published[2].jwk.x)
    for _, wrong in ipairs({
      "", x:sub(2), "\0" .. x, x .. "\0", ("x"):rep(1000), ("x"):rep(5000),
    }) do
      for _, name in ipairs({ "x", "y" }) do
        refuses("JWK needs x and y of 32 bytes",
          changed(published[2].jwk, { [name] = base64url(wrong) }))
      end
    end
    for _, wrong in ipairs({ 7, {}, false, "@@@@", "YQ==" }) do
      refuses("JWK needs x and y of 32 bytes",
        changed(published[2].jwk, { x = wrong }))
    end
    for _, wrong in ipairs({ ("\0"):rep(32), ("\255"):rep(32), x }) do
      refuses("JWK is not a public key",
        changed(published[2].jwk, { y = base64url(wrong) }))
    end
  end)

  it("wants an Ed25519 key of 32 bytes", function()
    for _, wrong in ipairs({ "", ("x"):rep(31), ("x"):rep(33) }) do
      refuses("JWK needs an x of 32 bytes",
        changed(published[3].jwk, { x = base64url(wrong) }))
    end
  end)

  it("wants RSA of 2048 to 8192 bits", function()
    local function modulus(bytes, first, last)
      return changed(published[1].jwk, { n = base64url(first
        .. ("\165"):rep(bytes - 2) .. last) })
    end
    for bytes, bits in pairs({ [128] = 1024, [255] = 2040, [1025] = 8200 }) do
      refuses("JWK of RSA needs 2048 to 8192 bits, not " .. bits,
        modulus(bytes, "\200", "\1"))
    end
    refuses("JWK of RSA needs 2048 to 8192 bits, not 2047",
      modulus(256, "\127", "\1"))
    refuses("JWK of RSA needs 2048 to 8192 bits, not 0",
      changed(published[1].jwk, { n = "" }))
    refuses("JWK of RSA needs 2048 to 8192 bits, not 0",
      changed(published[1].jwk, { n = 7 }))
    refuses("JWK of RSA needs 2048 to 8192 bits, not 0",
      changed(published[1].jwk, { n = ("A"):rep(3000) }))
    refuses("JWK is not a public key", modulus(256, "\200", "\2"))
    assert.is_userdata(jws.key(modulus(256, "\200", "\1")))
    assert.is_userdata(jws.key(modulus(1024, "\200", "\1")))
    assert.equal(2048, jws.key(changed(published[1].jwk, {
      n = base64url("\0\0" .. unbase64(published[1].jwk.n)),
    })).bits)
  end)

  it("wants an odd exponent from 3, of 4 bytes at most", function()
    for _, wrong in ipairs({
      "", "\0", "\1", "\2", "\1\0\0", "\1\0\0\0\1", ("\1"):rep(256),
    }) do
      refuses("JWK of RSA has no usable exponent",
        changed(published[1].jwk, { e = base64url(wrong) }))
    end
    for _, right in ipairs({
      "\3", "\1\0\1", "\0\1\0\1", "\255\255\255\255",
    }) do
      assert.is_userdata(jws.key(changed(published[1].jwk,
        { e = base64url(right) })))
    end
  end)

  it("throws on what is no table or key", function()
    assert.has_error(function() jws.key("{}") end)
    assert.has_error(function() jws.jwk({}) end)
  end)
end)
