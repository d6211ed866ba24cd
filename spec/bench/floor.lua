--- The floor: CPU seconds of the bare cryptography, from `openssl speed`.

local M = {}

-- Of so many of an HSM's signatures one is verified in software: a rule of
-- the design, which no server that keeps it can do without.
local SAMPLED = 64

-- How many signatures and verifications of each algorithm a certificate
-- takes; with an HSM, the signature itself is measured by token.lua.
local made_of = {
  ["ct-off"] = { rsa2048 = { 0, 1 }, ecdsap256 = { 1, 1 } },
  ["ct-on"] = { rsa2048 = { 0, 1 }, ecdsap256 = { 3, 3 } },
  ["P-256"] = { rsa2048 = { 0, 1 }, ecdsap256 = { 0, 1 + 1 / SAMPLED } },
  ["P-384"] = { rsa2048 = { 0, 1 }, ecdsap256 = { 0, 1 },
                ecdsap384 = { 0, 1 / SAMPLED } },
}

-- Seconds of a signature, of a verification.
local function speed(algorithm)
  local pipe = assert(io.popen("openssl speed -mr -seconds 1 " .. algorithm
                               .. " 2>/dev/null"))
  local sign, verify
  for line in pipe:lines() do
    local a, b = line:match("^%+F%d:%d+:%d+:([%d.]+):([%d.]+)")
    if a then sign, verify = tonumber(a), tonumber(b) end
  end
  pipe:close()
  assert(sign, "openssl speed printed no figure for " .. algorithm)
  return 1 / sign, 1 / verify
end

--- Seconds that a certificate cannot be made under, `kind` being a key of
--- the table above: one second's mean of each operation.
function M.measure(kind)
  local total = 0
  for algorithm, times in pairs(made_of[kind]) do
    local sign, verify = speed(algorithm)
    total = total + times[1] * sign + times[2] * verify
  end
  return total
end

return M
