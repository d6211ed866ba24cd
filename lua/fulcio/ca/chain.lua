--- What every backend asks of its chain before it signs anything.

local engine = require("fulcio.engine")

local M = {}

-- Whether a list has a value.
local function has(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

local function same_key(key, certificate)
  local certified, message = certificate:pkey()
  if not certified then return nil, message end
  if key:spki() == certified:spki() then return true end
  return nil, ("the key is not the certificate's: subject key identifier"
               .. " of the key %s, of the certificate %s")
    :format(engine.bytes.hex(key:id()), engine.bytes.hex(certified:id()))
end

--- Checks a chain, the signing certificate first and the root last, and
--- that `key` is the signing certificate's. nil and what is wrong.
function M.check(chain, key, now)
  local signing = chain[1]
  if not signing then return nil, "no certificate" end
  local ok, message = engine.x509.verify(chain, { time = now,
                                                  usage = "code_signing" })
  if not ok then return nil, message end
  if not signing.ca then return nil, "certificate is not a CA" end
  if chain[2] and not has(signing.extended_key_usage, "code_signing") then
    return nil, "certificate must have extended key usage code signing set"
      .. " to sign code signing certificates"
  end
  ok, message = same_key(key, signing)
  if not ok then return nil, message end
  return key:check()
end

--- When the first certificate of a chain expires: no leaf may live longer.
function M.expires(chain)
  local expires = chain[1].not_after
  for _, certificate in ipairs(chain) do
    expires = math.min(expires, certificate.not_after)
  end
  return expires
end

return M
