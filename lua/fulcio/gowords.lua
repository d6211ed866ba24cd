--- The words of an action in a Go template: fields, names, texts, marks.
---
--- A reader is { text, at }. What is wrong is thrown, { message } in the
--- words of Go's parser.

local M = {}

local MOST = 1000 -- in one template: each costs a token time

--- Throws a message with the line that the reader is on.
function M.fail(reader, message)
  local _, before = reader.text:sub(1, reader.at - 1):gsub("\n", "")
  error({ message = ("template: :%d: %s"):format(before + 1, message) }, 0)
end

--- Throws that something of Go's has no words here.
function M.beyond(reader, name)
  M.fail(reader, name .. " cannot become data")
end

local fail, beyond_data = M.fail, M.beyond

local escapes = { n = "\n", t = "\t", r = "\r", ["\\"] = "\\", ['"'] = '"' }

local function quoted(reader)
  local out, at = {}, reader.at + 1
  while true do
    local character = reader.text:sub(at, at)
    if character == '"' then break end
    if character == "" or character == "\n" then
      fail(reader, "unterminated quoted string")
    end
    if character == "\\" then
      at = at + 1
      character = escapes[reader.text:sub(at, at)]
      if not character then beyond_data(reader, "an escape in a text") end
    end
    out[#out + 1] = character
    at = at + 1
  end
  return { kind = "text", value = table.concat(out) }, at + 1
end

-- A word that is read again is one all the same.
local function count(reader)
  if reader.at <= (reader.counted or 0) then return end
  reader.counted, reader.words = reader.at, (reader.words or 0) + 1
  if reader.words > MOST then
    fail(reader, ("more than %d words"):format(MOST))
  end
end

--- The next word of an action at reader.at, which is moved behind it:
--- { kind, value, at }.
function M.next(reader)
  local text = reader.text
  local at = text:match("^%s*()", reader.at)
  reader.at = at
  count(reader)
  local first, item, after = text:sub(at, at), nil, nil
  if first == "" then fail(reader, "unclosed action") end
  local close = text:match("^%-?}}()", at)
  if close and (first == "}" or text:find("^%s", at - 1)) then
    item, after = { kind = "close", trim = first == "-" }, close
  elseif first == '"' then
    item, after = quoted(reader)
  elseif first == "`" then
    local raw, behind = text:match("^`([^`]*)`()", at)
    if not raw then fail(reader, "unterminated raw quoted string") end
    item, after = { kind = "text", value = raw }, behind
  elseif text:find("^%.[%a_\128-\255]", at) then
    local name, behind = text:match("^%.([%w_\128-\255]+)()", at)
    item, after = { kind = "field", value = name }, behind
  elseif text:find("^[%a_]", at) then
    local name, behind = text:match("^([%w_]+)()", at)
    item, after = { kind = "name", value = name }, behind
  elseif first:find("[%d'$|:=,+-]") then
    beyond_data(reader, text:match("^[^%s()}]+", at))
  else
    local whole, behind = text:match("^(.[\128-\191]*)()", at)
    item, after = { kind = whole, value = whole }, behind
  end
  item.at, reader.at = at, after
  return item
end

return M
