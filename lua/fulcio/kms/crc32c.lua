--- CRC-32C (Castagnoli), as Google's key service checks what it gets.

local floor = math.floor

-- Reversed polynomial 0x82F63B78; bits by arithmetic, for Lua without
-- operators for them.
local POLYNOMIAL = 0x82F63B78

local function xor(a, b)
  local result, bit = 0, 1
  while a > 0 or b > 0 do
    if a % 2 ~= b % 2 then result = result + bit end
    a, b, bit = floor(a / 2), floor(b / 2), bit * 2
  end
  return result
end

local table_of = {}
for byte = 0, 255 do
  local value = byte
  for _ = 1, 8 do
    local odd = value % 2 == 1
    value = floor(value / 2)
    if odd then value = xor(value, POLYNOMIAL) end
  end
  table_of[byte] = value
end

local M = {}

--- The checksum of a text, as a number.
function M.of(text)
  local crc = 0xFFFFFFFF
  for i = 1, #text do
    local low = xor(crc % 256, text:byte(i))
    crc = xor(floor(crc / 256), table_of[low])
  end
  return 0xFFFFFFFF - crc
end

return M
