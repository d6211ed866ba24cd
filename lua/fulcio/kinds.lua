--- What the text of a flag means, by the kind of the flag.

local engine = require("fulcio.engine")

local units = { ns = 1e-9, us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600 }

-- Seconds of "1m30s" or "30".
local function duration(text)
  if text:find("^%d+$") then return tonumber(text) end
  local seconds, rest = 0, text
  while rest ~= "" do
    local number, unit, after = rest:match("^(%d+%.?%d*)(%a+)(.*)$")
    if not units[unit] then return nil end
    seconds, rest = seconds + tonumber(number) * units[unit], after
  end
  return text ~= "" and seconds or nil
end

local function integer(text, flag)
  local number = text:find("^%d%d?%d?%d?%d?%d?%d?%d?%d?$") and tonumber(text)
  if not number or number < (flag.minimum or 0)
      or number > (flag.maximum or 999999999) then
    return nil
  end
  return number
end

-- As Go reads them, and so Fulcio.
local booleans = {
  ["1"] = true, t = true, T = true, ["true"] = true, TRUE = true,
  True = true, ["0"] = false, f = false, F = false, ["false"] = false,
  FALSE = false, False = false,
}

local readers = {
  directory = function(text)
    return text ~= "" and engine.system.absolute(text) or nil
  end,
  text = function(text) return text end,
  integer = integer,
  port = function(text) return integer(text, { maximum = 65535 }) end,
  duration = duration,
  boolean = function(text)
    return booleans[text]
  end,
  list = function(text)
    local list = {}
    for item in text:gmatch("[^,%s]+") do list[#list + 1] = item end
    return list
  end,
  choice = function(text, flag)
    for _, choice in ipairs(flag.choices) do
      if choice == text then return text end
    end
  end,
}

local wanted = {
  integer = "a whole number",
  port = "a port, 0 to 65535",
  duration = "a time such as 30s",
  boolean = "true or false",
  directory = "a directory",
}

-- Why a text is no value of a flag, naming where it stood.
local function complaint(flag, text, where)
  if flag.refuse then return flag.refuse:format(text) end
  local kind = flag.choices and table.concat(flag.choices, " or ")
    or wanted[flag.kind]
  if flag.minimum then kind = kind .. ", at least " .. flag.minimum end
  if flag.maximum then kind = kind .. ", at most " .. flag.maximum end
  return ('%s: "%s" is not %s'):format(where, text, kind)
end

local M = {}

--- The value of a flag (a row of flags.lua) that was written as `text` at
--- `where`; nil and what is wrong with it.
function M.read(flag, text, where)
  if flag.kind == "secret" then
    local secret, message = engine.system.secret(text)
    return secret, message and where .. ": " .. message
  end
  local value = readers[flag.kind or "text"](text, flag)
  if value == nil then return nil, complaint(flag, text, where) end
  return value
end

return M
