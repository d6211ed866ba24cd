--- Where in a Lua file each field of the table that it returns stands.
---
--- The sandbox gives back data without line numbers; messages need them. A
--- small reader of Lua's tokens follows the braces of `return { … }`.

local M = {}

-- Tokens that are read: a policy with 10,000 issuers has 20,000. What stands
-- behind them is told with the line of the table it is in.
local MOST = 40000

local opens = { ["("] = ")", ["["] = "]" }
local begins = { ["function"] = true, ["if"] = true, ["do"] = true,
                 ["repeat"] = true }
local ends = { ["end"] = true, ["until"] = true }

-- What a character begins; nil: a mark, or more that is looked at.
local begun = {}
for byte = 0, 255 do
  local character = string.char(byte)
  if character:find("[{}(),;%]+*/%%^#&|:]") then
    begun[character] = "mark"
  elseif character:find("%s") then
    begun[character] = "space"
  elseif character:find("[%a_]") then
    begun[character] = "name"
  elseif character:find("%d") then
    begun[character] = "number"
  elseif character:find("[\"']") then
    begun[character] = "string"
  end
end

-- The text of a string or comment in long brackets at `at`, and its end.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local first, last = text:find("]" .. level .. "]", at, true)
  if not first then return "", #text end
  return text:sub(at + #level + 2, first - 1), last
end

local function quoted(text, at)
  local quote = text:sub(at, at)
  local i = at + 1
  while i <= #text do
    local character = text:sub(i, i)
    if character == "\\" then
      i = i + 1
    elseif character == quote or character == "\n" then
      break
    end
    i = i + 1
  end
  return text:sub(at + 1, i - 1), i
end

-- One token at `at`: kind, value, last position. Kinds: space, string,
-- name, mark.
local function token(text, at)
  local first = text:sub(at, at)
  local kind = begun[first]
  if kind == "mark" then
    return kind, first, at
  elseif kind == "space" then
    return kind, nil, select(2, text:find("^%s+", at))
  elseif kind == "string" then
    return kind, quoted(text, at)
  elseif kind == "name" then
    local name = text:match("^[%w_]+", at)
    return kind, name, at + #name - 1
  elseif kind == "number" then
    local number = text:match("^[%w.]+", at)
    return "mark", number, at + #number - 1
  elseif text:find("^%-%-", at) then
    local _, last = long_bracket(text, at + 2)
    return "space", nil, last or (text:find("\n", at, true) or #text + 1) - 1
  end
  local long, last = long_bracket(text, at)
  if long then return "string", long, last end
  if text:find("^[=~<>]=", at) then
    return "mark", text:sub(at, at + 1), at + 1
  end
  return "mark", first, at
end

local function tokens(text)
  local list, at, line, marks = {}, 1, 1, {}
  local newline = text:find("\n", 1, true)
  while at <= #text and #list < MOST do
    local kind, value, last = token(text, at)
    if kind ~= "space" then
      local found = marks[value]
      if kind ~= "mark" or not found or found.line ~= line then
        found = { kind = kind, value = value, line = line }
      end
      if kind == "mark" then marks[value] = found end
      list[#list + 1] = found
    end
    while newline and newline <= last do
      line, newline = line + 1, text:find("\n", newline + 1, true)
    end
    at = last + 1
  end
  return list
end

-- The key that is written at token i of a table: its name, or nil.
local function key_at(list, i)
  local here, after = list[i], list[i + 1]
  if not after then return nil end
  if here.kind == "name" and after.value == "=" then return here.value end
  local bracket, equals = list[i + 2], list[i + 3]
  if here.value == "[" and here.kind == "mark" and after.kind == "string"
     and bracket and bracket.value == "]"
     and equals and equals.value == "=" then
    return after.value
  end
end

-- Follows one table from its opening brace; returns the index behind it.
-- A node is { line, fields by name }: paths as texts would grow with each
-- field that stands below a long name.
local function follow(list, i, node)
  local depth, start, inner = 0, true, node
  i = i + 1
  while list[i] do
    local here = list[i]
    local value = here.kind ~= "string" and here.value or nil
    if start and depth == 0 then
      local name = key_at(list, i)
      inner = name and node.fields[name] or node
      if name and inner == node then
        inner = { line = here.line, fields = {} }
        node.fields[name] = inner
      end
      start = false
    end
    if value == "{" then
      i = follow(list, i, inner) - 1
    elseif value == "}" then
      return i + 1
    elseif opens[value] or begins[value] then
      depth = depth + 1
    elseif value == ")" or value == "]" or ends[value] then
      depth = depth - 1
    elseif (value == "," or value == ";") and depth == 0 then
      start = true
    end
    i = i + 1
  end
  return i
end

--- Reads a file's text: a function from a path, { "must", "ref" }, to the
--- line where that field stands, or its nearest parent, or the table.
function M.of(text)
  local list, i = tokens(text), 1
  local root = { line = 1, fields = {} }
  while list[i] do
    local here, after = list[i], list[i + 1]
    i = i + 1
    if here.kind == "name" and here.value == "return" and after
       and after.kind == "mark" and after.value == "{" then
      root = { line = after.line, fields = {} }
      i = follow(list, i, root)
    end
  end
  return function(path)
    local node, line = root, root.line
    for _, name in ipairs(path) do
      node = node.fields[tostring(name)]
      if not node then break end
      line = node.line
    end
    return line
  end
end

--- The same, but reads the text when it is first asked: most files are good.
function M.finder(text)
  local line_of
  return function(path)
    line_of = line_of or M.of(text)
    return line_of(path)
  end
end

return M
