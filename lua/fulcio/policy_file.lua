--- Writes a policy's data as the file that an operator would have written.

local words = require("fulcio.words")

local M = {}

local order = { "issuer", "audience", "must", "set", "default", "provider",
                "san", "issuer_name", "challenge", "extensions",
                "unverified_email", "template", "internal", "ca_file" }

local reserved = {}
for name in ("and break do else elseif end false for function goto if in"
  .. " local nil not or repeat return then true until while"):gmatch("%a+") do
  reserved[name] = true
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(character)
    if character == "\n" then return "\\n" end
    if character == '"' or character == "\\" then return "\\" .. character end
    return ("\\%03d"):format(character:byte())
  end) .. '"'
end

local function key_of(name)
  if name:find("^[%a_][%w_]*$") and not reserved[name] then return name end
  return "[" .. quoted(name) .. "]"
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local write

local function write_list(list, indent)
  local parts = {}
  for i = 1, list.count or #list do parts[i] = write(list[i], indent) end
  return table.concat(parts, ", ")
end

local function write_map(map, names, indent)
  local inner, out = indent .. "  ", { "{" }
  for _, name in ipairs(names) do
    if map[name] ~= nil then
      out[#out + 1] = ("%s%s = %s,"):format(inner, key_of(name),
                                            write(map[name], inner))
    end
  end
  out[#out + 1] = indent .. "}"
  return table.concat(out, "\n")
end

function write(value, indent)
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" then return tostring(value) end
  local word = words.of(value)
  if word and not value.count then return word end
  if word then return word .. "(" .. write_list(value, indent) .. ")" end
  if #value > 0 then return "{ " .. write_list(value, indent) .. " }" end
  return write_map(value, names_of(value), indent)
end

--- The text of a policy file. `comment`, one line or more, stands above.
function M.text(data, comment)
  local out = ""
  for line in (comment or ""):gmatch("[^\n]+") do
    out = out .. "-- " .. line .. "\n"
  end
  return out .. "return " .. write_map(data, order, "") .. "\n"
end

return M
