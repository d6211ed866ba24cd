--- Where providers and templates are looked for, by name.
---
--- In what the options give (a folder, folders, or texts by name), in the
--- folder of the policy, beside it, then among the shipped ones.

local engine = require("fulcio.engine")
local nearest = require("fulcio.nearest")
local words = require("fulcio.words")

local M = {}

-- Bytes of a file, which may be a device without an end.
local MOST, PIECE = 16 * 1024 * 1024, 65536

-- This file is lua/fulcio/shelf.lua and policies/ stands beside lua/; where
-- Lua's own folders lead here, share/lua/5.4/fulcio is for share/fulcio.
local function shipped(source)
  local base = source:match("^@(.*)lua/fulcio/[^/]*$")
  if base then return base .. "policies" end
  base = source:match("^@(.*/)lua/[%d.]+/fulcio/[^/]*$")
  return (base or "/usr/share/") .. "fulcio/policies"
end

--- Folder of the policies that come with the program.
M.shipped = shipped(debug.getinfo(1, "S").source)

-- All of an open file in pieces; nil and a message.
local function read_all(file)
  local pieces, size = {}, 0
  while true do
    local piece, message = file:read(PIECE)
    if message then return nil, message end
    if not piece then return table.concat(pieces) end
    pieces[#pieces + 1], size = piece, size + #piece
    if size > MOST then return nil, "is larger than 16 MiB" end
  end
end

--- The text of a file, nil and a message. A pipe is only waited for where a
--- shell puts what it is asked to read, below /dev.
function M.read(path)
  local found = engine.system.stat(path)
  if found and found.kind ~= "file" and not path:find("^/dev/") then
    return nil, path .. ": is not a file"
  end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text
  text, message = read_all(file)
  file:close()
  if not text then return nil, path .. ": " .. message end
  return text
end

-- The folders that may hold files of a kind, in order.
local function folders(kind, dir, given)
  local list = {}
  if type(given) == "string" then list[1] = given end
  for _, folder in ipairs(type(given) == "table" and given or {}) do
    list[#list + 1] = folder
  end
  if dir then
    list[#list + 1] = dir .. "/" .. kind
    list[#list + 1] = dir .. "/../" .. kind
  end
  list[#list + 1] = M.shipped .. "/" .. kind
  return list
end

local function known(list, given)
  local names = {}
  for _, folder in ipairs(list) do
    for _, file in ipairs(engine.system.list(folder) or {}) do
      names[#names + 1] = file:match("^(.*)%.lua$")
    end
  end
  for name in pairs(type(given) == "table" and given or {}) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Finds `name` of a kind ("providers" or "templates"): { name, text }, or
--- nil and a message. `dir` is the folder of the policy that asks.
function M.find(kind, name, dir, given)
  if type(given) == "table" and type(given[name]) == "string" then
    return { name = kind .. "/" .. name .. ".lua", text = given[name] }
  end
  local list = folders(kind, dir, given)
  if name:find("^[%w_-]+$") then
    for _, folder in ipairs(list) do
      local path = folder .. "/" .. name .. ".lua"
      local text = M.read(path)
      if text then
        return { name = kind .. "/" .. name .. ".lua", text = text,
                 path = path }
      end
    end
  end
  return nil, ("there is no %s %s%s"):format(kind:sub(1, -2),
    words.show(name), nearest.hint(name, known(list, given)))
end

return M
