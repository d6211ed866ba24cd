--- Asks for certificates until it is ended, and writes down each that it was
--- handed, a line of base64 a certificate, before it asks for the next.
---
--- Usage: build/fulcio run spec/collect.lua FULCIO ISSUER FILE
local engine = require("fulcio.engine")
local json = require("fulcio.json")

local fulcio, issuer, path = ...
local claims = '{"email":"alice@example.com","sub":"1"}'

local key = assert(engine.pkey.generate("P-256"))
local proof = engine.bytes.base64(assert(key:sign("alice@example.com")))
local file = assert(io.open(path, "ab"))

local function body()
  local token = assert(engine.http.request({ url = issuer .. "/token",
    method = "POST", body = claims })).body
  return json.encode({
    credentials = { oidcIdentityToken = token },
    publicKeyRequest = {
      publicKey = { content = key:pem() },
      proofOfPossession = proof,
    },
  })
end

local request = {
  url = fulcio .. "/api/v2/signingCert", method = "POST", timeout = 10,
  headers = { ["Content-Type"] = "application/json" }, body = body(),
}

-- What was handed out: the leaf, or nil when there was no answer, or one
-- that says that nothing was issued.
local function issued(answer)
  if not answer or answer.status ~= 200 then return nil end
  local told = assert(engine.claims.parse(answer.body))
  local pems = told.signedCertificateEmbeddedSct.chain.certificates
  return assert(engine.x509.parse(pems[1]))[1]
end

local last = engine.system.now()
while true do
  local leaf = issued(engine.http.request(request))
  if leaf then
    file:write(engine.bytes.base64(leaf.der), "\n")
    file:flush()
  else
    os.execute("sleep 0.02")
  end
  if engine.system.now() - last > 120 then
    request.body, last = body(), engine.system.now()
  end
end
