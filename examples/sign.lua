--- Gets a certificate with a key made for it, verifies it and shows it.
---
--- Usage: build/fulcio run examples/sign.lua FULCIO ISSUER TRUST [CLAIMS]
--- FULCIO and ISSUER are URLs. TRUST is the directory that `make serve` keeps:
--- the root is trusted as ca/root.pem, the log's key as ctlog.pub.pem.
local engine = require("fulcio.engine")
local json = require("fulcio.json")

local fulcio, issuer, trust, claims = ...
claims = claims or '{"sub":"alice@example.com","email":"alice@example.com"}'

local function read(name)
  return assert(io.open(trust .. "/" .. name)):read("a")
end

local function call(request)
  local response = assert(engine.http.request(request))
  assert(response.status == 200, response.body)
  return response.body
end

-- The SCT signs the certificate as it was before the SCT list came into it.
local function verify_sct(leaf, above)
  local skimmed = assert(engine.x509.skim(leaf.der))
  local list = assert(skimmed.sct_list, "there is no SCT in the certificate")
  local sct = assert(engine.sct.parse(engine.sct.parse_list(list)[1]))
  local log = assert(engine.pkey.parse(read("ctlog.pub.pem")))
  assert(sct.log_id == engine.bytes.sha256(log:spki()), "another log's SCT")
  local signed = engine.sct.leaf({ kind = "precert", tbs = skimmed.defanged,
    timestamp_ms = sct.timestamp_ms, extensions = sct.extensions,
    issuer_key_hash = engine.bytes.sha256(above:pkey():spki()) })
  assert(engine.sct.verify(signed, sct.signature, log))
  return sct
end

-- A token says who we are; the proof is our key's signature over that name.
local token = call({ url = issuer .. "/token", method = "POST", body = claims })
local told = assert(engine.claims.parse(claims))
local key = assert(engine.pkey.generate("P-256"))
local proof = assert(key:sign(told.email or told.sub))

local answer = assert(engine.claims.parse(call({
  url = fulcio .. "/api/v2/signingCert", method = "POST",
  headers = { ["Content-Type"] = "application/json" },
  body = json.encode({
    credentials = { oidcIdentityToken = token },
    publicKeyRequest = {
      publicKey = { algorithm = "ECDSA", content = key:pem() },
      proofOfPossession = engine.bytes.base64(proof),
    },
  }),
})))
local pems = answer.signedCertificateEmbeddedSct.chain.certificates
local chain = assert(engine.x509.parse(table.concat(pems, "\n")))
local leaf = chain[1]

assert(chain[#chain].pem == read("ca/root.pem"), "it comes from another CA")
assert(engine.x509.verify(chain, { time = engine.system.now(),
  usage = "code_signing" }))
assert(leaf:pkey():spki() == key:spki(), "it certifies another key")
local sct = verify_sct(leaf, chain[2])

print(leaf.pem .. "subject    " .. leaf.san[1].value)
print("issued by  " .. leaf.issuer)
print("valid      " .. os.date("!%H:%M:%S", leaf.not_before) .. " to "
  .. os.date("!%H:%M:%S UTC", leaf.not_after))
print("logged     " .. os.date("!%Y-%m-%d %H:%M:%S UTC",
  math.floor(sct.timestamp_ms / 1000)))
print("verified: chain, key and SCT")
