--- The floor: CPU seconds of the bare cryptography, from `openssl speed`.

local M = {}

local function speed(algorithm)
  local pipe = assert(io.popen(
    "openssl speed -mr -seconds 1 " .. algorithm .. " 2>/dev/null"))
  local sign, verify
  for line in pipe:lines() do
    local a, b = line:match("^%+F%d:%d+:%d+:([%d.]+):([%d.]+)")
    if a then sign, verify = tonumber(a), tonumber(b) end
  end
  pipe:close()
  assert(sign, "openssl speed printed no figure for " .. algorithm)
  return { sign = 1 / sign, verify = 1 / verify }
end

--- Seconds a certificate cannot be made under, by what a configuration
--- does: RS256 verify, then P-256 verifications and signatures.
function M.measure()
  local rsa, p256 = speed("rsa2048"), speed("ecdsap256")
  local p384 = speed("ecdsap384")
  return {
    ["ct-off"] = rsa.verify + p256.verify + p256.sign,
    ["ct-on"] = rsa.verify + 3 * p256.verify + 3 * p256.sign,
    p256_sign = p256.sign,
    p256_verify = p256.verify,
    p384_sign = p384.sign,
    p384_verify = p384.verify,
    rs256_verify = rsa.verify,
  }
end

return M
