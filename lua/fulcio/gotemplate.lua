--- Reads a Go text/template as a tree, as far as it can become data.
---
--- Data are: claims by `.name` or `index . "name"`, texts, if and else with
--- and, or, not, eq, ne. What else Go knows is refused by its name.

local gowords = require("fulcio.gowords")

local beyond_data, fail, word = gowords.beyond, gowords.fail, gowords.next

local M = {}

local DEPTH = 100 -- of parentheses and ifs, one in the other

-- What Go's templates know and data cannot say.
local beyond = {
  range = true, with = true, define = true, template = true, block = true,
  ["break"] = true, continue = true, call = true, html = true, js = true,
  len = true, print = true, printf = true, println = true, slice = true,
  urlquery = true, lt = true, le = true, gt = true, ge = true,
}
local functions = { ["and"] = 1, ["or"] = 1, ["not"] = 1, eq = 2, ne = 2,
                    index = 2 }

-- Reads one more level, by a function of the reader.
local function deeper(reader, read)
  reader.depth = (reader.depth or 0) + 1
  if reader.depth > DEPTH then
    fail(reader, ("nested more than %d deep"):format(DEPTH))
  end
  local first, second = read(reader)
  reader.depth = reader.depth - 1
  return first, second
end

-- Expressions ----------------------------------------------------------

local expression

-- index . "name" is a claim that may be absent.
local function index_of(reader, arguments)
  local dot, name = arguments[1], arguments[2]
  if #arguments ~= 2 or dot.op ~= "." or name.op ~= "text" then
    beyond_data(reader, "index, unless of . by a text,")
  end
  return { op = "index", name = name.value }
end

local function is_text(tree)
  return tree.op == "field" or tree.op == "index" or tree.op == "text"
end

local function call(reader, name, arguments)
  if #arguments < functions[name] then
    fail(reader, "wrong number of args for " .. name)
  end
  if name == "index" then return index_of(reader, arguments) end
  for _, argument in ipairs(arguments) do
    if argument.op == "." then beyond_data(reader, "a bare .") end
    if (name == "eq" or name == "ne") and not is_text(argument) then
      beyond_data(reader, name .. " of anything but texts")
    end
  end
  if name == "not" and #arguments ~= 1 or name == "ne" and #arguments ~= 2
  then
    fail(reader, "wrong number of args for " .. name)
  end
  return { op = name, arguments = arguments }
end

local function name_of(reader, item)
  local name = item.value
  if functions[name] then return name end
  if name == "true" or name == "false" or name == "nil" or beyond[name] then
    beyond_data(reader, name)
  end
  fail(reader, ('function "%s" not defined'):format(name))
end

-- One operand; nil with the word that is none.
local function operand(reader)
  local item = word(reader)
  if item.kind == "field" then
    if reader.text:find("^%.", reader.at) then
      beyond_data(reader, "a field of a field")
    end
    return { op = "field", name = item.value, at = item.at }
  elseif item.kind == "text" then
    return { op = "text", value = item.value }
  elseif item.kind == "." then
    return { op = "." }
  elseif item.kind == "(" then
    local tree, last = deeper(reader, expression)
    if last.kind ~= ")" then fail(reader, "unclosed left paren") end
    return tree
  elseif item.kind == "name" then
    return { op = "call", name = name_of(reader, item) }
  end
  return nil, item
end

-- Operands up to `)` or `}}`; returns the tree and that last word.
function expression(reader)
  local first = operand(reader)
  if not first then fail(reader, "missing value for command") end
  local arguments = {}
  local item, last = operand(reader)
  while item do
    if item.op == "call" then item = call(reader, item.name, {}) end
    arguments[#arguments + 1] = item
    item, last = operand(reader)
  end
  if last.kind ~= ")" and last.kind ~= "close" then
    fail(reader, ("unexpected %s"):format(last.value))
  end
  if first.op == "call" then
    return call(reader, first.name, arguments), last
  end
  if #arguments > 0 then fail(reader, "can't give argument to non-function") end
  return first, last
end

-- Lists ----------------------------------------------------------------

local list

local function skip_space(reader, last)
  if last.trim then reader.at = reader.text:match("^%s*()", reader.at) end
end

-- Expects the end of an action; `what` says of which.
local function close(reader, what)
  local last = word(reader)
  if last.kind ~= "close" then fail(reader, "unexpected word in " .. what) end
  skip_space(reader, last)
end

local function condition(reader)
  local tree, last = expression(reader)
  if last.kind ~= "close" then fail(reader, "unexpected right paren") end
  if tree.op == "." then beyond_data(reader, "a bare .") end
  skip_space(reader, last)
  return tree
end

-- After `if`: the test, the list for yes, and the list for no.
local function branch(reader)
  local tree = { op = "if", test = condition(reader) }
  local ended
  tree.yes, ended = list(reader)
  if ended == "else" then
    local at = reader.at
    local item = word(reader)
    if item.kind == "name" and item.value == "if" then
      tree.no = { deeper(reader, branch) }
      return tree
    end
    reader.at = at
    close(reader, "else")
    tree.no, ended = list(reader)
  end
  if ended ~= "end" then fail(reader, "unexpected EOF") end
  return tree
end

-- An action behind its `{{`: a tree, or "else", "end" or nothing (comment).
local function action(reader)
  local behind = reader.text:match("^/%*.-%*/%s*%-?}}()", reader.at)
  if behind then
    local trim = reader.text:sub(behind - 3, behind - 3) == "-"
    reader.at = behind
    skip_space(reader, { trim = trim })
    return nil
  end
  local at = reader.at
  local item = word(reader)
  local name = item.kind == "name" and item.value
  if name == "if" then return deeper(reader, branch) end
  if name == "else" then return nil, "else" end
  if name == "end" then
    close(reader, "end")
    return nil, "end"
  end
  if name and beyond[name] then beyond_data(reader, name) end
  reader.at = at
  local tree, last = expression(reader)
  if last.kind ~= "close" then fail(reader, "unexpected right paren") end
  if tree.op == "." then beyond_data(reader, "a bare .") end
  skip_space(reader, last)
  return tree
end

-- Texts and actions up to `else`, `end` or the end of the text.
function list(reader)
  local out = {}
  while true do
    local open = reader.text:find("{{", reader.at, true)
    local text = reader.text:sub(reader.at, (open or 0) - 1)
    if open and reader.text:find("^{{%-%s", open) then
      text = text:sub(1, -(text:reverse():find("%S") or #text + 1))
    end
    if text ~= "" then out[#out + 1] = { op = "text", value = text } end
    if not open then
      reader.at = #reader.text + 1
      return out, nil
    end
    reader.at = reader.text:match("^{{%-%s()", open) or open + 2
    local tree, ended = action(reader)
    if ended then return out, ended end
    out[#out + 1] = tree
  end
end

--- Parses a template into a list of trees, { op, … } each; nil and a
--- message in the words of Go's parser.
function M.parse(text)
  local reader = { text = text, at = 1 }
  local ok, out, ended = pcall(list, reader)
  if not ok then
    if type(out) ~= "table" then error(out, 0) end
    return nil, out.message
  end
  if ended then
    return nil, ("template: :1: unexpected {{%s}}"):format(ended)
  end
  return out
end

return M
