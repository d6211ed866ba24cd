--- The words a policy may say, as the sandbox defines them.
---
--- Each is plain data with its name in `word`: what it means is decided on
--- our side, where no script can reach. The text below runs in the sandbox.

local engine = require("fulcio.engine")

local MEMORY, INSTRUCTIONS = 16 * 1024 * 1024, 1000000

local prelude = [[
local function word(name)
  return function(...)
    return { __word = name, count = select("#", ...), ... }
  end
end
return {
  anyone = { __word = "anyone" },
  present = { __word = "present" },
  integer = { __word = "integer" },
  glob = word("glob"),
  match = word("match"),
  within = word("within"),
  spiffe = word("spiffe"),
  has = word("has"),
  pick = word("pick"),
  url = word("url"),
  seconds = 1,
  minutes = 60,
  hours = 3600,
  days = 86400,
}
]]

local M = {}

--- A sandbox that knows the words.
function M.sandbox()
  return engine.sandbox.new({ memory = MEMORY, prelude = prelude,
                              instructions = INSTRUCTIONS })
end

--- What went wrong in a file, from the sandbox's message:
--- { file, line, message }.
function M.fault(name, message)
  local line, rest = message:match(":(%d+):%s*(.*)$")
  return { file = name, line = tonumber(line) or 1,
           message = rest or message:match("^.-: (.*)$") or message }
end

--- The word a value stands for, nil when it is not one.
function M.of(value)
  return type(value) == "table" and value.__word or nil
end

--- How a value of a policy file is shown to people, in one line.
function M.show(value)
  local kind = type(value)
  if kind == "string" then return '"' .. value .. '"' end
  if kind ~= "table" then return tostring(value) end
  local parts = {}
  for i = 1, #value do parts[i] = M.show(value[i]) end
  local inner = table.concat(parts, ", ")
  if not value.__word then return "{ " .. inner .. " }" end
  return value.count and value.__word .. "(" .. inner .. ")" or value.__word
end

return M
