--- Plays recorded key, proof and CSR cases: makes the request that a row
--- names, and compares status and message.

local cjson = require("cjson")
local engine = require("fulcio.engine")
local openssl = require("spec.compat.openssl")
local proof = require("fulcio.proof")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local request = require("fulcio.request")

local CHALLENGE = "user@example.com"

local base64 = engine.bytes.base64

local widths = { ["ecdsa-p256"] = 32, ["ecdsa-p384"] = 48,
                 ["ecdsa-p521"] = 66, ["ecdsa-p224"] = 28,
                 ["ecdsa-secp256k1"] = 32 }

local own_hash = { ["ecdsa-p384"] = "sha384", ["ecdsa-p521"] = "sha512" }

local function hash_of(name, words)
  local hash = words:match("sha%d+")
  if hash or name:find("^ed") then return hash end
  return own_hash[name] or "sha256"
end

local function signed(key, name, data, words)
  local hash = hash_of(name, words)
  if not hash then return openssl.sign_pure(key, data) end
  return openssl.sign(key, data, hash)
end

local function raw(key, name, words)
  return openssl.raw(signed(key, name, CHALLENGE, words), widths[name])
end

-- Proofs by a word in their description; the first that fits counts.
local proofs = {
  { "wrong", function(key, name, words)
    return signed(key, name, "another text", words)
  end },
  { "pss", function(key, _, words)
    return openssl.sign(key, CHALLENGE, words:match("sha%d+"), true)
  end },
  { "raw", raw },
  { "p1363", raw },
  { "r||s", raw },
  { "garbage", function() return ("x"):rep(64) end },
  { "truncated", function(key, name, words)
    return signed(key, name, CHALLENGE, words):sub(1, -2)
  end },
  -- OpenSSL 3.0 cannot make an Ed25519ph signature; a pure one over the
  -- digest is no signature over the challenge either.
  { "ph", function(key)
    return openssl.sign_pure(key, openssl.digest(CHALLENGE, "sha512"))
  end },
  { "empty", function() return "" end },
}
for _, word in ipairs({ "der", "pkcs1v15", "pure", "native" }) do
  proofs[#proofs + 1] = { word, function(key, name, words)
    return signed(key, name, CHALLENGE, words)
  end }
end

local function latin1(bytes)
  return (bytes:gsub("[\128-\255]", function(byte)
    local code = byte:byte()
    return string.char(192 + (code - code % 64) / 64, 128 + code % 64)
  end))
end

-- What stands in `content` besides the PEM that it usually is.
local contents = {
  ["content=DER as latin1"] = function(key)
    return latin1(openssl.public(key, "DER"))
  end,
  ["content=base64(DER)"] = function(key)
    return base64(openssl.public(key, "DER"))
  end,
  ["content=empty"] = function() return "" end,
  ["pem RSA PUBLIC KEY (PKCS1)"] = function(key)
    return openssl.public(key, "PKCS1")
  end,
}

local function v2_body(content, signature)
  return cjson.encode({ publicKeyRequest = {
    publicKey = { algorithm = "ECDSA", content = content },
    proofOfPossession = base64(signature) } })
end

local function pop_body(row)
  local key, why = openssl.key(row.key)
  if not key then return nil, why end
  local words = row.signature
  if contents[words] then
    return v2_body(contents[words](key),
                   signed(key, row.key, CHALLENGE, ""))
  end
  for _, entry in ipairs(proofs) do
    if words:find(entry[1], 1, true) then
      local signature = entry[2](key, row.key, words)
      return v2_body(openssl.public(key, "PEM"), signature)
    end
  end
  return nil, "no proof is known as " .. words
end

local function request_pem(row)
  local key, why = openssl.key(row.key)
  if not key then return nil, why end
  local words = row.signature
  local pss = words:find("pss", 1, true)
  local hash = words:match("sha%d+")
  if words:find("DER", 1, true) then
    return openssl.request(key, hash, pss, "DER")
  end
  local pem = openssl.request(key, hash, pss)
  if words:find("NEW CERTIFICATE REQUEST", 1, true) then
    return (pem:gsub("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"))
  elseif words:find("label", 1, true) then
    return (pem:gsub("CERTIFICATE REQUEST", "CERTIFICATE"))
  elseif words:find("bad signature", 1, true) then
    local der = openssl.request(key, hash, pss, "DER")
    local last = (der:byte(-1) + 1) % 256
    return engine.draft.pem(der:sub(1, -2) .. string.char(last),
                            "CERTIFICATE REQUEST")
  elseif hash or words == "native" then
    return pem
  end
  return nil, "no request is known as " .. words
end

local bodies = {
  pop = pop_body,
  csr = function(row)
    local pem, why = request_pem(row)
    if not pem then return nil, why end
    return cjson.encode({ certificateSigningRequest = base64(pem) })
  end,
  both = function(row)
    local key = openssl.key(row.key)
    return ('{"certificateSigningRequest":"%s",%s'):format(
      base64(openssl.request(key)),
      v2_body(openssl.public(key, "PEM"), "x"):sub(2))
  end,
  v1 = function(row)
    local form = row.key:match("^v1 content=base64%((%u+)%)$")
    if form ~= "DER" and form ~= "PEM" then
      return nil, "no v1 case is known as " .. row.key
    end
    local key = openssl.key("ecdsa-p256")
    return cjson.encode({
      publicKey = { content = base64(openssl.public(key, form)) },
      signedEmailAddress = base64(openssl.sign(key, CHALLENGE, "sha256")) })
  end,
}

local function answer_to(version, body)
  local ok, key, refused = pcall(function()
    local asked = request[version]({ body = body, headers = {} })
    return proof.verify(asked, { challenge = CHALLENGE })
  end)
  if not ok then key, refused = nil, key end
  if key then return version == "v1" and 201 or 200 end
  if not refusal.is(refused) then error(refused, 0) end
  local answer = reply.refusal(refused)
  return answer.status, cjson.decode(answer.body).message
end

-- protojson prints a random kind of space, and a place in the body.
local function comparable(message)
  if message == nil or message == cjson.null then return "no message" end
  return (message:gsub("\194\160", " "):gsub("line %d+:%d+", "line n:n"))
end

local function play(row)
  local make = bodies[row.kind]
  if not make then return "skipped", "kind " .. tostring(row.kind) end
  local body, why = make(row)
  if not body then return "skipped", why end
  local status, message = answer_to(row.kind == "v1" and "v1" or "v2", body)
  if status == row.http_status
    and comparable(message) == comparable(row.message) then
    return "matched"
  end
  return "differ", ("wanted %d %s\n   got %d %s"):format(row.http_status,
    comparable(row.message), status, comparable(message))
end

local M = { finish = openssl.finish }

--- The cases of a file of rows { kind, key, signature, http_status,
--- message }.
function M.cases(path)
  local file = assert(io.open(path, "rb"))
  local rows = cjson.decode(file:read("*a"))
  file:close()
  local cases = {}
  for i, row in ipairs(rows) do
    cases[i] = {
      name = ("proof: %s %s %s"):format(row.kind, row.key, row.signature),
      run = function() return play(row) end,
    }
  end
  return cases
end

return M
