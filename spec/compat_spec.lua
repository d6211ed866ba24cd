--- What Fulcio was seen to do, played again.
---
--- VECTORS and POP_VECTORS name other recordings than those in fixtures,
--- TYPES a list of identity types. A part, spec/compat/NAME.lua, returns
--- `cases(file, types)`: a list of { name =, run = }, where `run()` returns
--- "matched", "deliberate", "differ" or "skipped", and why; its `finish()`,
--- when it has one, cleans up.

local parts = {
  { name = "identity", variable = "VECTORS",
    file = "spec/fixtures/fulcio-vectors.json" },
  { name = "proof", variable = "POP_VECTORS",
    file = "spec/fixtures/fulcio-pop-vectors.json" },
}

local counted = { matched = 0, deliberate = 0, differ = 0, skipped = 0 }

local function types_asked()
  local list = os.getenv("TYPES")
  if not list or list == "" then return nil end
  local types = {}
  for name in list:gmatch("[^,%s]+") do types[name] = true end
  return types
end

local function total()
  print(("%d matched, %d deliberate, %d differ, %d skipped"):format(
    counted.matched, counted.deliberate, counted.differ, counted.skipped))
  io.stdout:flush()
end

-- The totals are the last line when this file is run by itself.
local function alone()
  for _, argument in ipairs(arg or {}) do
    if argument:find("compat_spec", 1, true) then return true end
  end
  return false
end

local function play(case)
  local ran, outcome, why = pcall(case.run)
  if not ran then outcome, why = "differ", outcome end
  if counted[outcome] == nil then
    outcome, why = "differ", "no such outcome: " .. tostring(outcome)
  end
  counted[outcome] = counted[outcome] + 1
  if outcome == "differ" then error(tostring(why), 0) end
  if outcome == "skipped" then pending(tostring(why)) end
end

describe("compat", function()
  for _, part in ipairs(parts) do
    local name = "spec.compat." .. part.name
    local module = package.searchpath(name, package.path) and require(name)
      or { cases = function() return {} end }
    local file = os.getenv(part.variable) or part.file
    for _, case in ipairs(module.cases(file, types_asked())) do
      it(case.name, function() play(case) end)
    end
    teardown(function()
      if module.finish then module.finish() end
    end)
  end

  if alone() then
    require("busted").subscribe({ "exit" }, total)
  else
    teardown(total)
  end
end)
