--- Lines of at most 80 columns and functions of at most 60 lines, C and Lua.
package.path = arg[0]:match("^.*/") .. "?.lua"
local tree = require("tree")

local COLUMNS, LINES = 80, 60

local function too_long(path, name, first, last)
  if last - first + 1 > LINES then
    tree.report(path, first, ("%s has %d lines, at most %d are read with ease")
      :format(name, last - first + 1, LINES))
  end
end

local function widths(path, text)
  local number = 0
  for line in tree.lines(text) do
    number = number + 1
    local width = utf8.len(line) or #line
    if width > COLUMNS then
      tree.report(path, number, ("%d columns"):format(width))
    end
    if line:find("%s$") or line:find("\r") then
      tree.report(path, number, "white space at the end")
    end
  end
end

-- In C a function ends at a brace in the first column; it began at the last
-- line before it that has a name and a parenthesis in the first columns.
local function c_functions(path, text)
  local number, first, name = 0, nil, nil
  for line in tree.lines(text) do
    number = number + 1
    local word = line:match("^[%a_][%w_ *]-([%w_]+)%(")
    if word and not line:find(";%s*$") then first, name = number, word end
    if line:find("^}") then
      if first and line == "}" then too_long(path, name, first, number) end
      first = nil
    end
  end
end

local OPENS = { ["function"] = true, ["do"] = true, ["then"] = true,
  ["repeat"] = true }

local patterns = {
  { "space", "^%s+" }, { "comment", "^%-%-%[(=*)%[.-%]%1%]" },
  { "comment", "^%-%-[^\n]*" }, { "text", "^%[(=*)%[.-%]%1%]" },
  { "word", "^[%a_][%w_]*" }, { "other", "^%d[%w.]*" },
}

-- A quoted string that starts at `at`: where it ends.
local function quoted(text, at)
  local quote = text:sub(at, at)
  repeat
    at = at + 1
    local c = text:sub(at, at)
    if c == "\\" then at = at + 1 end
  until c == quote or c == ""
  return at
end

local function token(text, at)
  local c = text:sub(at, at)
  if c == '"' or c == "'" then return "text", quoted(text, at) end
  for _, row in ipairs(patterns) do
    local _, last = text:find(row[2], at)
    if last then return row[1], last end
  end
  return "other", at
end

local function newlines(part)
  return select(2, part:gsub("\n", ""))
end

-- Blocks are a stack; `elseif` closes the block that its `then` opens again.
-- What `describe` is given is a chapter, not a function.
local function lua_word(path, word, line, stack)
  if word == "end" or word == "until" or word == "elseif" then
    local top = table.remove(stack)
    if top and top.word == "function" and not top.chapter then
      too_long(path, "function", top.line, line)
    end
  end
  if OPENS[word] then
    stack[#stack + 1] = { word = word, line = line,
      chapter = stack.described == line }
  end
  if word == "describe" then stack.described = line end
end

local function lua_functions(path, text)
  local at, line, stack = 1, 1, {}
  text = text:gsub("^#![^\n]*", "")
  while at <= #text do
    local kind, last = token(text, at)
    local part = text:sub(at, last)
    if kind == "word" then lua_word(path, part, line, stack) end
    line = line + newlines(part)
    at = last + 1
  end
  if #stack > 0 then tree.report(path, line, "blocks do not balance") end
end

for _, path in ipairs(tree.files("%.[ch]$")) do
  local text = tree.read(path)
  widths(path, text)
  c_functions(path, text)
end
for _, path in ipairs(tree.files("%.lua$")) do
  local text = tree.read(path)
  widths(path, text)
  lua_functions(path, text)
end
tree.done()
