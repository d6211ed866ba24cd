--- Fuzzing: certificates, requests and keys, as DER and as PEM.

local engine = require("fulcio.engine")

local draft, pkey, x509 = engine.draft, engine.pkey, engine.x509

-- A public key is written as it was read; one of no known kind is nothing.
local function check_key(key)
  if key.kind == "unknown" then
    assert(not key:check() and not key:verify("data", "signature"))
    return
  end
  local again = assert(pkey.parse(key:spki()))
  assert(again:spki() == key:spki(), "a key prints as another")
  assert(assert(pkey.parse(key:pem())):spki() == key:spki())
  assert(#key:id() == 20)
  key:check()
  key:verify("data", "signature")
end

-- What skim reads without OpenSSL is what OpenSSL reads.
local function check_certificate(certificate)
  assert(#certificate.fingerprint == 32)
  local key = certificate:pkey()
  if key then check_key(key) end
  certificate:signed(certificate.der)
  x509.verify({ certificate }, { time = 0, usage = "code_signing" })
  local skimmed = x509.skim(certificate.der)
  if not skimmed then return end
  assert(skimmed.tbs == certificate.tbs, "skim sees another TBS")
  assert(skimmed.serial == certificate.serial, "skim sees another serial")
  assert(skimmed.issuer_der == certificate.issuer_der)
  assert(skimmed.not_after == certificate.not_after)
  if skimmed.sct_list then engine.sct.parse_list(skimmed.sct_list) end
end

local function check_request(request)
  check_key(request.key)
  request:verify()
end

return function(bytes)
  local certificates = x509.parse(bytes)
  for _, certificate in ipairs(certificates or {}) do
    check_certificate(certificate)
  end
  x509.skim(bytes)
  local key = pkey.parse(bytes)
  if key then check_key(key) end
  local request = engine.csr.parse(bytes)
    or engine.csr.parse(draft.pem(bytes, "CERTIFICATE REQUEST"))
  if request then check_request(request) end
end
