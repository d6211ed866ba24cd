local engine = require("fulcio.engine")
local proof = require("fulcio.proof")

local CHALLENGE = "user@example.com"

local grant = { challenge = CHALLENGE }
local keys = {}

local function key_of(algorithm)
  keys[algorithm] = keys[algorithm] or engine.pkey.generate(algorithm)
  return keys[algorithm]
end

local function request_for(algorithm, text)
  local key = key_of(algorithm)
  return { public_key = key:pem(), proof = key:sign(text or CHALLENGE) }
end

local function refused(reason, request, allowed)
  local key, refusal = proof.verify(request, grant, allowed)
  assert.is_nil(key)
  assert.equal(reason, refusal.reason)
  assert.equal(400, refusal.http)
  assert.equal(3, refusal.grpc)
  return refusal
end

describe("proof", function()
  it("gives the key that signed the challenge", function()
    for _, algorithm in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                                 "Ed25519" }) do
      local key = assert(proof.verify(request_for(algorithm), grant))
      assert.equal(algorithm, key.name)
      assert.is_false(key.private)
    end
  end)

  it("takes the key as DER and as PKCS#1 PEM too", function()
    local request = request_for("P-256")
    request.public_key = key_of("P-256"):spki()
    assert.equal("P-256", proof.verify(request, grant).name)
  end)

  it("calls kinds insecure that Go reads and nobody may use", function()
    local key = "\x30\x2a\x30\5\6\3\x2b\x65\x6e\3\x21\0" .. ("k"):rep(32)
    local refusal = refused("KEY_WEAK", { public_key = key, proof = "x" })
    assert.equal("The public key supplied in the request is insecure",
                 refusal.message)
  end)

  it("refuses a signature over anything but the challenge", function()
    local refusal = refused("PROOF_WRONG", request_for("P-256", "sub"))
    assert.equal("The signature supplied in the request could not be "
      .. "verified", refusal.message)
    refused("PROOF_WRONG", request_for("Ed25519", CHALLENGE .. "\n"))
  end)

  it("refuses an absent, empty or broken proof", function()
    for _, bytes in ipairs({ "", "\0", ("x"):rep(64), ("x"):rep(5000) }) do
      refused("PROOF_WRONG", { public_key = key_of("P-256"):pem(),
                               proof = bytes })
    end
    refused("PROOF_WRONG", { public_key = key_of("RSA-2048"):pem() })
  end)

  it("refuses another key's signature", function()
    local other = engine.pkey.generate("P-256")
    refused("PROOF_WRONG", { public_key = key_of("P-256"):pem(),
                             proof = other:sign(CHALLENGE) })
  end)

  it("refuses a hash that is not the key's", function()
    local key = key_of("P-384")
    refused("PROOF_WRONG", { public_key = key:pem(),
                             proof = key:sign(CHALLENGE, "SHA-256") })
  end)

  it("refuses a key that cannot be read", function()
    for _, text in ipairs({ "", "x", "-----BEGIN PUBLIC KEY-----\nAA==\n" ..
                            "-----END PUBLIC KEY-----\n" }) do
      local refusal = refused("KEY_UNPARSABLE", { public_key = text })
      assert.equal("The public key supplied in the request could not be "
        .. "parsed", refusal.message)
    end
    refused("KEY_UNPARSABLE", {})
  end)

  it("looks for weakness before it looks at the proof", function()
    -- RSA, 1024 bits.
    local refusal = refused("KEY_WEAK", { proof = "x", public_key = [[
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugd
UWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdbH6dvEOfou0/gCFQs
HUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5D
o2kQ+X5xK9cipRgEKwIDAQAB
-----END PUBLIC KEY-----
]] })
    assert.equal("The public key supplied in the request is insecure",
                 refusal.message)
    assert.equal("RSA-1024", refusal.client.key)
  end)

  it("refuses a key that the allow-list lacks, after the proof", function()
    local allowed = proof.algorithms({ "ed25519" })
    assert(proof.verify(request_for("Ed25519"), grant, allowed))
    local refusal = refused("KEY_NOT_ALLOWED", request_for("P-384"), allowed)
    assert.equal("signing algorithm not permitted: *ecdsa.PublicKey, "
      .. "SHA-384", refusal.message)
    assert.same({ key = "P-384", hash = "SHA-384" }, refusal.client)
    refusal = refused("KEY_NOT_ALLOWED", request_for("RSA-2048"), allowed)
    assert.equal("signing algorithm not permitted: *rsa.PublicKey, SHA-256",
                 refusal.message)
    refused("PROOF_WRONG", request_for("P-384", "other"), allowed)
  end)

  it("never lets ed25519-ph admit a pure signature", function()
    local allowed = proof.algorithms({ "ed25519-ph" })
    local refusal = refused("KEY_NOT_ALLOWED", request_for("Ed25519"),
                            allowed)
    assert.equal("signing algorithm not permitted: ed25519.PublicKey, "
      .. "unknown hash value 0", refusal.message)
  end)

  it("knows sigstore's names of algorithms", function()
    local allowed = assert(proof.algorithms({
      "rsa-sign-pss-2048-sha256", "ecdsa-sha2-256-nistp384" }))
    assert(proof.verify(request_for("RSA-2048"), grant, allowed))
    refused("KEY_NOT_ALLOWED", request_for("P-384"), allowed)
    assert(proof.algorithms(proof.default))
  end)

  it("says which name of an algorithm it does not know", function()
    local allowed, message = proof.algorithms({ "ed25519", "dsa" })
    assert.is_nil(allowed)
    assert.equal("could not find matching signature algorithm for flag: dsa",
                 message)
  end)
end)

describe("proof by a signing request", function()
  local function csr_of(algorithm)
    return { csr = assert(engine.csr.create({ key = key_of(algorithm) })) }
  end

  it("gives the key that signed it, without a challenge", function()
    for _, algorithm in ipairs({ "P-256", "P-384", "P-521", "RSA-2048",
                                 "Ed25519" }) do
      local key = assert(proof.verify(csr_of(algorithm), {}))
      assert.equal(key_of(algorithm):spki(), key:spki())
    end
  end)

  it("wins over a key, and an empty one is none", function()
    local request = csr_of("P-384")
    request.public_key = key_of("P-256"):pem()
    assert.equal("P-384", proof.verify(request, grant).name)
    request = request_for("P-256")
    request.csr = ""
    assert.equal("P-256", proof.verify(request, grant).name)
  end)

  it("refuses what is no request", function()
    for _, text in ipairs({ "x", (csr_of("P-256").csr
        :gsub("CERTIFICATE REQUEST", "CERTIFICATE")) }) do
      local refusal = refused("CSR_UNPARSABLE", { csr = text })
      assert.equal("The certificate signing request could not be parsed",
                   refusal.message)
    end
  end)

  it("refuses one whose signature is wrong", function()
    local der = engine.bytes.unbase64((csr_of("P-256").csr
      :gsub("%-%-+[^\n]*", ""):gsub("%s", "")))
    local last = der:byte(-1)
    der = der:sub(1, -2) .. string.char(last > 0 and last - 1 or 1)
    refused("PROOF_WRONG", {
      csr = engine.draft.pem(der, "CERTIFICATE REQUEST") })
  end)

  it("refuses a key that the allow-list lacks", function()
    refused("KEY_NOT_ALLOWED", csr_of("P-256"),
            proof.algorithms({ "ed25519" }))
  end)

  -- How a CSR that is signed by an algorithm is refused.
  local function refused_for(reason, algorithm)
    local parse = engine.csr.parse
    engine.csr.parse = function()
      return { key = key_of("P-256"), algorithm = algorithm }
    end
    local refusal = refused(reason, { csr = "x" })
    engine.csr.parse = parse
    return refusal.message
  end

  it("names the algorithm that it does not know, as Go does", function()
    assert.equal("unrecognized signature algorithm: ECDSA-SHA1",
                 refused_for("CSR_ALGORITHM", "ECDSA-SHA1"))
  end)

  it("verifies nothing by an algorithm that Go does not verify", function()
    for _, algorithm in ipairs({ "0", "MD5-RSA", "DSA-SHA256" }) do
      assert.equal("The signature supplied in the request could not be "
        .. "verified", refused_for("PROOF_WRONG", algorithm))
    end
  end)
end)
