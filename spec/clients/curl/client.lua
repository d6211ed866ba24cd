--- Asks as cosign does, older and newer, with curl and openssl alone.

local cjson = require("cjson")
local files = require("spec.files")

local read = files.read

local scene = cjson.decode(read(arg[1]))
local directory = os.tmpname()
os.remove(directory)
assert(os.execute("mkdir -m 700 " .. directory))

-- Runs a command in the directory; its output. curl never starts with the
-- sanitizers that `make san` preloads into who runs this.
local function run(command, ...)
  local pipe = io.popen(("cd %s && unset LD_PRELOAD && { %s; } 2>&1")
    :format(directory, command:format(...)))
  local output = pipe:read("a")
  assert(pipe:close(), output)
  return output
end

local function write(name, text)
  files.write(directory .. "/" .. name, text)
end

local function base64(name)
  return run("openssl base64 -A -in %s", name)
end

-- A token, a key and a proof for an identity, in files.
local function prepare(identity)
  write("claims", cjson.encode(identity.claims))
  write("token", run("curl -sf --data-binary @claims %s/token",
                     scene.issuer))
  run("openssl ecparam -genkey -name prime256v1 -noout -out key.pem")
  run("openssl pkey -in key.pem -pubout -out public.pem")
  write("challenge", identity.challenge)
  run("openssl dgst -sha256 -sign key.pem -out proof challenge")
end

-- Sends body.json with the token as bearer; status, headers and body.
local function post(path)
  local status = run([[curl -s -o answer -D headers -w '%%{http_code}' \
    -H 'Content-Type: application/json' \
    -H "Authorization: Bearer $(cat token)" \
    --data-binary @body.json %s%s]], scene.fulcio, path)
  return tonumber(status), read(directory .. "/headers"):lower(),
    read(directory .. "/answer")
end

-- The chain in chain.pem must be the key's, with the identity's name.
local function verify(identity)
  run("openssl x509 -in chain.pem -noout -pubkey -out leaf.pem")
  assert(read(directory .. "/leaf.pem") == read(directory .. "/public.pem"),
         "another key")
  run("openssl verify -ignore_critical -CAfile %s -untrusted chain.pem"
      .. " chain.pem", scene.root)
  local text = run("openssl x509 -in chain.pem -noout -text")
  assert(text:find(identity.san, 1, true), "another name")
  assert(text:find("CT Precertificate SCTs", 1, true), "no SCT")
end

-- cosign 2: PEM in base64, null for no request, 201 and a chain of PEM.
local function v1(identity)
  prepare(identity)
  write("body.json", ('{"publicKey":{"content":"%s"},'
    .. '"signedEmailAddress":"%s","certificateSigningRequest":null}')
    :format(base64("public.pem"), base64("proof")))
  local status, headers, body = post("/api/v1/signingCert")
  assert(status == 201, body)
  assert(headers:find("content-type: application/pem-certificate-chain", 1,
                      true), headers)
  write("chain.pem", body)
  verify(identity)
end

-- cosign 3: the token as bearer, 200 and JSON.
local function v2(identity)
  prepare(identity)
  write("body.json", cjson.encode({ publicKeyRequest = {
    publicKey = { algorithm = "ECDSA",
                  content = read(directory .. "/public.pem") },
    proofOfPossession = base64("proof") } }))
  local status, _, body = post("/api/v2/signingCert")
  assert(status == 200, body)
  local chain = cjson.decode(body).signedCertificateEmbeddedSct.chain
  write("chain.pem", table.concat(chain.certificates, "\n"))
  verify(identity)
end

for _, identity in ipairs(scene.identities) do
  for name, act in pairs({ ["v1"] = v1, ["v2"] = v2 }) do
    local ok, why = pcall(act, identity)
    print(("%s %s as %s%s"):format(ok and "ok" or "not ok", name,
      identity.name, ok and "" or ": " .. tostring(why):gsub("\n", " ")))
  end
end
os.execute("rm -rf " .. directory)
