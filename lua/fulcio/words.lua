--- The words a policy may say, as the sandbox defines them.
---
--- Each is plain data with its name in `word`: what it means is decided on
--- our side, where no script can reach. The text below runs in the sandbox.

local engine = require("fulcio.engine")

local is_printable = engine.bytes.is_printable

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

-- Whether a message calls a file that: by its name, or the end of it.
local function is_name(text, name)
  if text == name then return true end
  local last = text:match("^%.%.%.(.+)$")
  return last ~= nil and name:sub(-#last) == last
end

--- What went wrong in a file, from the sandbox's message:
--- { file, line, message }.
function M.fault(name, message)
  local place, line, rest = message:match("^(.-):(%d+):%s*(.*)$")
  if not place or #line > 9 or not is_name(place, name) then
    place, rest = message:match("^(.-): (.*)$")
    line = 1
    if not place or not is_name(place, name) then rest = message end
  end
  return { file = name, line = tonumber(line), message = M.line(rest) }
end

--- The word a value stands for, nil when it is not one.
function M.of(value)
  return type(value) == "table" and value.__word or nil
end

-- Showing --------------------------------------------------------------

local SHOWN = 80     -- characters of one text
local LISTED = 400   -- bytes of a list's entries, about
local MESSAGE = 1000 -- characters of a whole message

local marks = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(byte)
  return marks[byte] or ("\\x%02x"):format(byte:byte())
end

-- Marks of direction: what follows would be read in another order.
local function turns(character)
  return character:find("^\226\128[\142\143\168-\174]") ~= nil
    or character:find("^\226\129[\166-\169]") ~= nil
end

-- The character at a place as it is shown, and the place behind it.
local function character_at(text, at)
  local first, size = text:byte(at), 1
  if first >= 240 then size = 4
  elseif first >= 224 then size = 3
  elseif first >= 192 then size = 2
  end
  local character = text:sub(at, at + size - 1)
  if #character == size and is_printable(character) and not turns(character)
  then
    return character, at + size
  end
  return escape(text:sub(at, at)), at + 1
end

--- A text of a policy file as messages quote it: in one line, with what does
--- not print escaped, and cut after `most` characters (80).
function M.text(text, most)
  most = most or SHOWN
  local out, at = {}, 1
  while at <= #text do
    if #out == most then
      out[#out + 1] = "…"
      break
    end
    out[#out + 1], at = character_at(text, at)
  end
  return table.concat(out)
end

--- A whole message as one line, whatever was quoted in it.
function M.line(message)
  return M.text(message, MESSAGE)
end

local show

-- Entries as far as `room` bytes reach; returns what is left of it.
local function show_list(list, room)
  local parts = {}
  for i = 1, #list do
    if room <= 0 then
      parts[i] = "…"
      break
    end
    parts[i], room = show(list[i], room - 2)
  end
  return table.concat(parts, ", "), room
end

function show(value, room)
  local kind = type(value)
  if kind ~= "table" then
    local shown = kind == "string" and '"' .. M.text(value) .. '"'
      or tostring(value)
    return shown, room - #shown
  end
  if value["function"] then return "a function", room - 10 end
  local inner, left = show_list(value, room - 2)
  local word = value.__word
  if type(word) ~= "string" then return "{ " .. inner .. " }", left end
  word = M.text(word)
  return value.count and word .. "(" .. inner .. ")" or word, left
end

--- How a value of a policy file is shown to people, in one line; of a long
--- list the beginning.
function M.show(value)
  return (show(value, LISTED))
end

return M
