--- YAML as plain data: every scalar stays the text that was written.
---
--- `on` does not become true nor 0123 eighty-three; a plain null is "".
--- A key written twice, a second document, an unknown alias and more than
--- 10,000 nodes (aliases counted each time) are refused.

local events = require("yaml")

local NODES, DEPTH = 10000, 32

local Reader = {}
Reader.__index = Reader

local function fail(event, message)
  local mark = event.start_mark
  error({ line = mark and mark.line + 1 or 0, message = message }, 0)
end

local function count(reader, event)
  reader.nodes = reader.nodes + 1
  if reader.nodes > NODES then fail(event, "more than 10000 nodes") end
end

-- Copies what an anchor named, so that no two places share a table.
local function copy(reader, event, value)
  count(reader, event)
  if type(value) ~= "table" then return value end
  local twin = {}
  for k, v in pairs(value) do twin[k] = copy(reader, event, v) end
  return twin
end

function Reader:scalar(event)
  local text = event.value
  if event.style == "PLAIN" and (text == "~" or text == "null") then
    return ""
  end
  return text
end

function Reader:map(event, depth)
  local map = {}
  for key in self.next do
    if key.type == "MAPPING_END" then return map end
    local name = self:value(key, depth)
    if type(name) ~= "string" then fail(key, "a key must be a text") end
    if map[name] ~= nil then
      fail(key, ('"%s" is written twice'):format(name))
    end
    map[name] = self:value(self.next(), depth)
  end
  fail(event, "not closed")
end

function Reader:list(event, depth)
  local list = {}
  for item in self.next do
    if item.type == "SEQUENCE_END" then return list end
    list[#list + 1] = self:value(item, depth)
  end
  fail(event, "not closed")
end

function Reader:value(event, depth)
  count(self, event)
  if depth > DEPTH then fail(event, "nested more than 32 deep") end
  if event.type == "ALIAS" then
    local named = self.anchors[event.anchor]
    if named == nil then
      fail(event, ("nothing is called &%s"):format(event.anchor))
    end
    return copy(self, event, named)
  end
  local value
  if event.type == "SCALAR" then
    value = self:scalar(event)
  elseif event.type == "MAPPING_START" then
    value = self:map(event, depth + 1)
  else
    value = self:list(event, depth + 1)
  end
  if event.anchor then self.anchors[event.anchor] = value end
  return value
end

local function document(text)
  local reader = setmetatable({ anchors = {}, nodes = 0,
                                next = events.parser(text) }, Reader)
  local value = {}
  local documents = 0
  for event in reader.next do
    if event.type == "DOCUMENT_START" then
      documents = documents + 1
      if documents > 1 then fail(event, "a second document") end
      value = reader:value(reader.next(), 1)
    elseif event.type == "STREAM_END" then
      break
    end
  end
  return value
end

local M = {}

--- Parses one document: texts, tables by key and lists.
--- nil, message with the line, "bad_yaml" when it is not one.
function M.parse(text)
  local ok, value = pcall(document, text)
  if ok then return value end
  if type(value) == "table" then
    return nil, ("line %d: %s"):format(value.line, value.message), "bad_yaml"
  end
  local message = tostring(value):gsub("%s+", " "):gsub(" $", "")
  return nil, message, "bad_yaml"
end

return M
