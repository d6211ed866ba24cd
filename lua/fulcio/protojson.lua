--- How Fulcio's gateway (protojson) words a body that it does not take.
---
--- A value that is a text is not repeated: it may be a token, and what
--- clients are told is in the log.

local refusal = require("fulcio.refusal")

local M = {}

--- Throws the refusal of a body.
function M.malformed(message, ...)
  error(refusal("request_malformed", { message = message:format(...) }), 0)
end

-- "(line L:C)" of a byte, counted in characters.
local function place(body, at)
  local line, start = 1, 1
  while true do
    local newline = body:find("\n", start, true)
    if not newline or newline >= at then break end
    line, start = line + 1, newline + 1
  end
  local _, column = body:sub(start, at - 1):gsub("[^\128-\191]", "")
  return ("(line %d:%d)"):format(line, column + 1)
end

-- Where a member is, and its value; 1 and 1 when its name is escaped.
local function find(body, name, from)
  local at, value = body:match('()"' .. name .. '"%s*:%s*()', from or 1)
  return at or 1, value or 1
end

-- A value as the message names it, with what stands before.
local function token(body, at, before)
  local text = body:match("^[%w+.-]+", at) or body:match('^[^"]', at)
  return text and before .. text or ""
end

--- Whether a member, which is a table, is an object.
function M.is_object(body, name)
  local _, at = find(body, name)
  return body:sub(at, at) ~= "["
end

--- Refuses a member whose value is no `kind`.
function M.invalid(body, name, kind, field)
  local _, at = find(body, name)
  M.malformed("proto: %s: invalid value for %s field %s%s", place(body, at),
              kind, field, token(body, at, ": "))
end

--- Refuses a member that should be a message.
function M.unexpected(body, name)
  local _, at = find(body, name)
  M.malformed("proto: syntax error %s: unexpected token%s", place(body, at),
              token(body, at, " "))
end

--- Refuses a member that is there twice, or by its `other` spelling too.
function M.duplicate(body, name, other)
  local at = find(body, name)
  local again = find(body, other or name, not other and at + 1 or nil)
  M.malformed('proto: %s: duplicate field "%s"',
              place(body, math.max(at, again)),
              again > at and other or name)
end

--- Refuses the later of two members of a oneof.
function M.already_set(body, first, second, oneof)
  local at, again = find(body, first), find(body, second)
  local later = at < again and second or first
  M.malformed('proto: %s: error parsing "%s", oneof %s is already set',
              place(body, math.max(at, again)), later, oneof)
end

return M
