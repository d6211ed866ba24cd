--- Whether the client holds the key it wants certified: a signature over
--- the challenge, or a certificate signing request.
---
--- The order is Fulcio's: parse, weak key, proof, allow-list.

local engine = require("fulcio.engine")
local refusal = require("fulcio.refusal")

-- Sigstore's names of signing algorithms. Only key and hash are compared,
-- so a PSS name admits the same as its PKCS#1 name, and ed25519-ph, which
-- no proof can use, admits nothing.
local names = {
  ["ecdsa-sha2-256-nistp256"]    = "P-256 SHA-256",
  ["ecdsa-sha2-256-nistp384"]    = "P-384 SHA-256",
  ["ecdsa-sha2-384-nistp384"]    = "P-384 SHA-384",
  ["ecdsa-sha2-256-nistp521"]    = "P-521 SHA-256",
  ["ecdsa-sha2-512-nistp521"]    = "P-521 SHA-512",
  ["rsa-sign-pkcs1-2048-sha256"] = "RSA-2048 SHA-256",
  ["rsa-sign-pkcs1-3072-sha256"] = "RSA-3072 SHA-256",
  ["rsa-sign-pkcs1-4096-sha256"] = "RSA-4096 SHA-256",
  ["rsa-sign-pss-2048-sha256"]   = "RSA-2048 SHA-256",
  ["rsa-sign-pss-3072-sha256"]   = "RSA-3072 SHA-256",
  ["rsa-sign-pss-4096-sha256"]   = "RSA-4096 SHA-256",
  ["ed25519"]                    = "Ed25519 none",
  ["ed25519-ph"]                 = "Ed25519 SHA-512",
}

-- The hash a proof is made with is fixed by the key.
local proof_hash = {
  ["P-256"] = "SHA-256", ["P-384"] = "SHA-384", ["P-521"] = "SHA-512",
  ["RSA-2048"] = "SHA-256", ["RSA-3072"] = "SHA-256",
  ["RSA-4096"] = "SHA-256", ["Ed25519"] = "none",
}

-- Go's names of what may sign a request, and the hash in each.
local request_hash = {
  ["ECDSA-SHA256"] = "SHA-256", ["ECDSA-SHA384"] = "SHA-384",
  ["ECDSA-SHA512"] = "SHA-512", ["SHA256-RSA"] = "SHA-256",
  ["SHA384-RSA"] = "SHA-384", ["SHA512-RSA"] = "SHA-512",
  ["Ed25519"] = "none",
}

-- Fulcio's clients see Go's type and hash names in this one message.
local go_type = { EC = "*ecdsa.PublicKey", RSA = "*rsa.PublicKey",
                  Ed25519 = "ed25519.PublicKey" }

local M = {}

--- What --client-signing-algorithms allows unless it is given.
M.default = {
  "ecdsa-sha2-256-nistp256", "ecdsa-sha2-384-nistp384",
  "ecdsa-sha2-512-nistp521", "rsa-sign-pkcs1-2048-sha256",
  "rsa-sign-pkcs1-3072-sha256", "rsa-sign-pkcs1-4096-sha256", "ed25519",
}

--- Turns a list of sigstore's algorithm names into what `verify` takes;
--- nil and a message when one is unknown.
function M.algorithms(list)
  local allowed = {}
  for _, name in ipairs(list) do
    local pair = names[name]
    if not pair then
      return nil, "could not find matching signature algorithm for flag: "
        .. tostring(name)
    end
    allowed[pair] = true
  end
  return allowed
end

local default_allowed = M.algorithms(M.default)

local function parse(request)
  if request.csr and request.csr ~= "" then
    local csr, message = engine.csr.parse(request.csr)
    if not csr then
      return nil, refusal("csr_unparsable", { log = { error = message } })
    end
    return csr.key, csr
  end
  local key, message, code = engine.pkey.parse(request.public_key or "")
  if key then return key end
  local unfit = code == "unfit_key"
  return nil, refusal(unfit and "key_weak" or "key_unparsable",
                      { log = { error = message } })
end

--- The public key of a request, checked for weakness, and its CSR when it
--- has one; nil and a refusal otherwise. Nothing is proven yet.
function M.key(request)
  local key, csr = parse(request)
  if not key then return nil, csr end
  local strong, message = key:check()
  if not strong then
    return nil, refusal("key_weak", {
      client = { key = key.name }, log = { error = message } })
  end
  return key, csr
end

local function proven(key, signature, challenge)
  local good, message = key:verify(challenge, signature or "", nil, "any")
  if not good then
    return nil, refusal("proof_wrong", { log = { error = message } })
  end
  return proof_hash[key.name] or "no known hash"
end

-- What Go's X.509 verifies with nothing: algorithms it does not know, MD5
-- and DSA.
local function is_unverifiable(algorithm)
  return algorithm == "0" or algorithm:find("^MD") ~= nil
    or algorithm:find("^DSA") ~= nil
end

local function requested(csr)
  local hash = request_hash[csr.algorithm]
  if is_unverifiable(csr.algorithm) then
    return nil, refusal("proof_wrong", {
      log = { error = "no algorithm that can be verified" } })
  end
  if not hash then
    return nil, refusal("csr_algorithm", {
      message = "unrecognized signature algorithm: " .. csr.algorithm })
  end
  local good, message = csr:verify()
  if not good then
    return nil, refusal("proof_wrong", { log = { error = message } })
  end
  return hash
end

--- The request's public key, once the client has shown that it holds the
--- private half and the allow-list (from `algorithms`) and the grant's
--- template have its kind; nil and a refusal otherwise. A CSR proves only
--- itself, without challenge.
function M.verify(request, grant, allowed)
  local key, csr = M.key(request)
  if not key then return nil, csr end
  local hash, refused
  if csr then
    hash, refused = requested(csr)
  else
    hash, refused = proven(key, request.proof, grant.challenge)
  end
  if not hash then return nil, refused end
  local pair = key.name .. " " .. hash
  local template = grant.template
  if not (allowed or default_allowed)[pair]
    or template and not template.allowed[pair] then
    local shown = hash == "none" and "unknown hash value 0" or hash
    return nil, refusal("key_not_allowed", {
      client = { key = key.name, hash = hash },
      message = ("signing algorithm not permitted: %s, %s")
        :format(go_type[key.kind] or key.kind, shown) })
  end
  return key
end

return M
