local program = require("spec.program")

-- Strings and tables of all sizes that live side by side, grow, shrink and
-- go; what is left of each is what was put there.
local CHURN = [[
  local seed = 7
  local function random(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % n + 1
  end
  local kept, sums = {}, {}
  for round = 1, 60000 do
    local slot = random(500)
    if kept[slot] then
      assert(#kept[slot].text == sums[slot], "another string's length")
      assert(kept[slot].text == (kept[slot].piece):rep(sums[slot]))
      for i = 1, #kept[slot] do assert(kept[slot][i] == slot * i) end
    end
    local size = round % 100 == 0 and random(60000) or random(1500)
    local made = { piece = string.char(96 + slot % 26) }
    made.text = made.piece:rep(size)
    for i = 1, random(200) do made[i] = slot * i end
    for i = #made, random(200), -1 do made[i] = nil end
    kept[slot], sums[slot] = made, size
  end
  for slot = 1, 500 do kept[slot] = nil end
  collectgarbage()
  print(collectgarbage("count") < 2000 and "collected")
]]

describe("memory", function()
  local path = os.tmpname()

  teardown(function() os.remove(path) end)

  for _, mode in ipairs({ "incremental", "generational" }) do
    it("keeps apart what lives and what went, " .. mode, function()
      local file = assert(io.open(path, "w"))
      file:write(("collectgarbage(%q)\n"):format(mode), CHURN)
      file:close()
      local status, printed = program.run({ "run", path })
      assert.equal("collected\n", printed)
      assert.equal(0, status)
    end)
  end
end)
