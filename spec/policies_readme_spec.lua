--- Runs every example of policies/README.md.

local files = require("spec.files")
local try = require("fulcio.try")

local write = files.write

-- The fenced blocks of the page, in order: { kind, text, line }.
local function blocks()
  local list, open, line = {}, nil, 0
  for text in io.lines("policies/README.md") do
    line = line + 1
    local kind = text:match("^```(%w*)$")
    if kind and not open then
      open = { kind = kind, text = "", line = line }
      list[#list + 1] = open
    elseif kind then
      open = nil
    elseif open then
      open.text = open.text .. text .. "\n"
    end
  end
  return list
end

local function output(policy, claims)
  local name = os.tmpname()
  write(name .. ".lua", policy)
  write(name .. ".json", claims)
  local out = { text = "" }
  function out:write(...)
    self.text = self.text .. table.concat({ ... })
  end
  try.run({ name .. ".lua", name .. ".json" }, out, out)
  for _, ending in ipairs({ "", ".lua", ".json" }) do
    os.remove(name .. ending)
  end
  local base = name:match("[^/]*$")
  return (out.text:gsub(base:gsub("%p", "%%%0") .. "%.lua", "policy.lua"))
end

describe("policies/README.md", function()
  local policy, claims, results
  for _, block in ipairs(blocks()) do
    if block.kind == "lua" then
      policy = block.text
    elseif block.kind == "json" then
      claims = block.text
    elseif block.kind == "text" then
      local given, asked = policy, claims
      results = (results or 0) + 1
      it("is right on line " .. block.line, function()
        assert.equal(block.text, output(given, asked))
      end)
    end
  end

  it("has examples", function()
    assert.is_true(results >= 10)
  end)
end)
