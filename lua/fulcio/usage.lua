--- What `--help` prints: every flag of a command with its default.

local flags = require("fulcio.flags")

local function shown(flag)
  local value = flag.default
  if type(value) == "table" then value = table.concat(value, " ") end
  if value == nil or value == "" then return "" end
  return (" [%s]"):format(tostring(value))
end

-- Breaks a text into lines of at most `width`.
local function wrap(text, width)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1], line = line, word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return lines
end

local M = {}

--- The flags of a command for people, with their defaults; nil when it has
--- none.
function M.flags(command)
  if not flags[command] then return nil end
  local lines = {}
  for _, group in ipairs(flags[command]) do
    lines[#lines + 1] = group.title .. ":"
    for _, flag in ipairs(group) do
      local kind = flag.kind or "text"
      local value = flag.value or kind == "boolean" and "" or kind:upper()
      lines[#lines + 1] = ("  --%s %s"):format(flag[1], value):gsub(" $", "")
      for _, line in ipairs(wrap(flag[2] .. shown(flag), 70)) do
        lines[#lines + 1] = "        " .. line
      end
    end
    lines[#lines + 1] = ""
  end
  return table.concat(lines, "\n")
end

return M
