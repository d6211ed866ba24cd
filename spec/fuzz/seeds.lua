--- Writes the inputs from which fuzzing starts.
--- Usage: fulcio run spec/fuzz/seeds.lua DIRECTORY
package.path = "./?.lua;" .. package.path

local authority = require("spec.authority")
local engine = require("fulcio.engine")
local files = require("spec.files")
local json = require("fulcio.json")
local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf

local read = files.read

local directory = assert(arg[1], "usage: seeds.lua DIRECTORY")
local counts = {}

local function seed(target, bytes)
  counts[target] = (counts[target] or 0) + 1
  local folder = directory .. "/" .. target
  if counts[target] == 1 then assert(engine.system.mkdir(folder)) end
  assert(engine.system.write(("%s/seed-%02d"):format(folder,
    counts[target]), bytes))
end

local function der_of(pem)
  return assert(engine.bytes.unbase64((pem:gsub("%-%-%-%-%-[^\n]*\n", "")
    :gsub("%s", ""))))
end

local ca = authority.new()
local keys = {}
for _, name in ipairs({ "P-256", "P-384", "P-521", "RSA-2048", "Ed25519" }) do
  keys[name] = assert(engine.pkey.generate(name))
end

-- Certificates, requests, keys -----------------------------------------

seed("der", ca.root.der)
seed("der", ca.root.pem)
seed("der", ca:certificate())
seed("der", ca:precertificate())
for _, key in pairs(keys) do
  local request = assert(engine.csr.create({ key = key,
    subject = { { "CN", "a" } } }))
  seed("der", key:spki())
  seed("der", key:pem())
  seed("der", der_of(request))
  seed("der", ca:certificate({ key = key }))
end
seed("der", read("spec/fixtures/ca.pem"))

-- Tokens ----------------------------------------------------------------

local header = '{"alg":"EdDSA","kid":"one","typ":"JWT"}'
local claims = json.encode({
  iss = "https://issuer.example", aud = json.list({ "sigstore", "b" }),
  sub = "a/../b", exp = 1800000600, iat = 1800000000, nbf = 1799999999.5,
  email = "a@example.com", email_verified = true, a = { b = "c" },
  repository = "acme/firmware", n = -0.25,
})
local token = assert(engine.jws.sign(header, claims, keys.Ed25519, "EdDSA"))
seed("jws", token)
seed("token", header .. "\n" .. claims)
seed("token", '{"alg":"none"}\n{"iss":"https://issuer.example"}')
for _, key in pairs(keys) do
  seed("jws", json.encode(engine.jws.jwk(key)))
end
for _, text in ipairs({ claims, header, "[]", "{}", '"\\ud83d\\ude00"',
    "[1,-0,1e3,0.5,9007199254740992]", '{"a":{"a":[{"b":null}]}}',
    '"\\u0000\\"\\\\/\\b"', "[[[[[[[[]]]]]]]]", " true ", '{"é":"\200\128"}' })
do
  seed("claims", text)
end

-- Texts -----------------------------------------------------------------

for _, text in ipairs({
    "https://user:pass@example.com:8443/a%2fb/../c?q=1#f\n../d/./e",
    "spiffe://example.com/a/b\n", "mailto:a@example.com\nx",
    "http://[::1%25lo]:80/\n//evil.example", "/a//b/\n?x", "*\n#" }) do
  seed("uri", text)
end
for _, text in ipairs({ "refs/tags/**\nrefs/tags/v1/x", "(a+)+$\naaaaaaab",
    "https://*.example.com\nhttps://a-b_c.example.com",
    "\\p{L}+(?i)[^x]{2,3}\nÄx", "(?<n>a)\\k<n>|b\nb", "a*b\na/../b" }) do
  seed("pattern", text)
end
for _, text in ipairs({ "aGVsbG8=", "aGVs-_8", "", "AA==", "\r\nAAAA" }) do
  seed("base64", text)
end

seed("gzip", engine.bytes.unbase64("H4sIAAAAAAAAA+NirAAAi5QTtQMAAAA="):rep(2))
for _, name in ipairs({ "ca.pem", "fulcio-config.yaml" }) do
  local pipe = assert(io.popen("gzip -c spec/fixtures/" .. name))
  seed("gzip", pipe:read("a"))
  pipe:close()
end

-- Certificate Transparency ----------------------------------------------

local entry = { timestamp_ms = 1800000000000, kind = "precert",
                tbs = ca.root.tbs, issuer_key_hash = ("h"):rep(32) }
local leaf = engine.sct.leaf(entry)
seed("sct", leaf)
seed("sct", engine.sct.leaf({ timestamp_ms = 1, kind = "x509",
  certificate = ca.root.der, extensions = "\0\0\5\0\0\0\0\1" }))
local sct = engine.sct.serialize({ log_id = ("l"):rep(32), timestamp_ms = 1,
  signature = assert(engine.sct.sign(leaf, keys["P-256"])) })
seed("sct", sct)
seed("sct", engine.sct.list({ sct, sct }))

-- HTTP ------------------------------------------------------------------

for _, text in ipairs({
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /api/v2/signingCert?x=1 HTTP/1.1\r\nHost: a:80\r\nContent-Length:"
      .. " 5\r\nExpect: 100-continue\r\nAccept:\r\n\r\nhello",
    "GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n", "a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }) do
  seed("http1", "\7" .. text)
end
local request = {
  credentials = { oidc_identity_token = token },
  public_key_request = {
    public_key = { algorithm = 2, content = keys["P-256"]:pem() },
    proof_of_possession = keys["P-256"]:sign("a@example.com"),
  },
}
local message = protobuf.encode(
  messages.v2.CreateSigningCertificateRequest, request)
seed("request", message)
for i = 0, 4 do seed("protobuf", string.char(i) .. message) end
seed("protobuf", "\2\8\255\255\255\255\255\255\255\255\255\1\42\0\58\1a")
seed("protobuf", "\4\34\4\34\2\24\1\42\2\16\5\50\0\58\0\66\1\1\64\3")
seed("request", json.encode({
  credentials = { oidcIdentityToken = token },
  publicKeyRequest = {
    publicKey = { content = keys["P-256"]:pem() },
    proofOfPossession = "AAAA",
  },
}))
seed("request", '{"publicKey":{"content":"AAAA","algorithm":"ecdsa"},'
  .. '"signedEmailAddress":"AA==","certificateSigningRequest":null}')

-- What operators write --------------------------------------------------

for _, name in ipairs(engine.system.list("policies/issuers")) do
  seed("policy", read("policies/issuers/" .. name))
end
seed("config", read("spec/fixtures/fulcio-config.yaml"))
seed("config", read("spec/fixtures/fulcio-config.json"))
