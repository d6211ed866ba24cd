--- The floor: CPU seconds of the bare cryptography, from `openssl speed`.

local M = {}

local function speed(algorithm, seconds)
  local pipe = assert(io.popen(("openssl speed -mr -seconds %d %s 2>/dev/null")
    :format(math.max(1, seconds // 1), algorithm)))
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
--- does: RS256 verify, then P-256 verifications and signatures. Each is a
--- mean over as many seconds as the server is measured for: on a machine that
--- is fast and slow in turn, the least of short runs is less than of long.
function M.measure(seconds)
  local rsa, p256 = speed("rsa2048", seconds), speed("ecdsap256", seconds)
  local p384 = speed("ecdsap384", seconds)
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
