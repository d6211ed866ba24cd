--- What happened, one line each: JSON in production, text in development.
---
--- Nothing that comes from outside reaches the log unescaped or longer than
--- 256 bytes, and never a token, a key or a password, whoever asks for it.

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local concat, sub = table.concat, string.sub
local has, members_of = engine.bytes.has, engine.bytes.json_members
local json_text = engine.bytes.json

local LIMIT = 256
local HIDDEN = '"(not logged)"'

local secret_names = {
  authorization = true, key = true, pass = true, passwd = true,
  password = true, pin = true, private_key = true, proof = true,
  secret = true, token = true,
}

-- A JWS starts with the base64 of `{"`; PEM and headers say what they are.
local secret_shapes = { "eyJ", "PRIVATE KEY", "earer ", "EARER ", "ya29.",
                        "hvs." }

local levels = { debug = 1, info = 2, warn = 3, error = 4 }
local severity = { debug = "DEBUG", info = "INFO", warn = "WARNING",
                   error = "ERROR" }

local mode, threshold, write, flush, stream
local second, stamp = -1, nil

local function hex(byte)
  return ("\\x%02x"):format(byte:byte())
end

local function cut(text)
  text = sub(text, 1, LIMIT)
  return (text:gsub("[\192-\255][\128-\191]*$", function(last)
    return engine.bytes.is_utf8(last) and last or ""
  end)) .. "…"
end

local function quoted(text)
  if #text > LIMIT then text = cut(text) end
  return json_text(text) or json_text((text:gsub("[\128-\255]", hex)))
end

local function has_secret(text)
  return has(text, secret_shapes)
end

local function other_text(kind, value)
  if kind == "boolean" then return value and "true" or "false" end
  if kind == "number" then
    local finite = value == value and value < 1e308 and value > -1e308
    return finite and json.encode(value)
  end
  if kind == "table" and not getmetatable(value) then
    local ok, text = pcall(json.encode, value)
    return nil, ok and text or "table"
  end
end

local function value_text(name, value, wary)
  if secret_names[name] then return HIDDEN end
  local kind = type(value)
  if kind ~= "string" then
    local text, long = other_text(kind, value)
    if text then return text end
    value = long or tostring(value)
  end
  return wary and has_secret(value) and HIDDEN or quoted(value)
end

local function time()
  local now = engine.system.now_ms()
  local milliseconds = now % 1000
  local seconds = (now - milliseconds) / 1000
  if seconds ~= second then
    second, stamp = seconds, os.date("!%Y-%m-%dT%H:%M:%S", seconds)
  end
  return ("%s.%03dZ"):format(stamp, milliseconds)
end

local function sorted(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function has_secret_name(names)
  for i = 1, #names do
    if secret_names[names[i]] then return true end
  end
end

-- event to the names of its fields, sorted, as they were the last time
local orders = {}

local function order(event, fields)
  local names = sorted(fields)
  orders[event] = not has_secret_name(names) and names or nil
  return names
end

-- An event mostly has the fields that it had before, and plain ones: nil
-- when not.
local function quick(event, fields)
  local names = orders[event]
  return names and members_of(fields, names, LIMIT)
end

-- `wary`: looks for secrets in each value.
local function members(event, fields, wary)
  local out = {}
  for i, name in ipairs(order(event, fields)) do
    out[i] = ',"' .. name .. '":' .. value_text(name, fields[name], wary)
  end
  return concat(out)
end

local function json_line(level, event, fields, wary)
  return '{"severity":"' .. severity[level] .. '","ts":"' .. time()
    .. '","message":' .. quoted(event)
    .. (not wary and quick(event, fields) or members(event, fields, wary))
    .. "}\n"
end

local function text_line(level, event, fields, wary)
  local out = { sub(time(), 12, 23), " ", ("%-7s"):format(severity[level]), " ",
                (quoted(event):gsub('^"(.*)"$', "%1")) }
  for _, name in ipairs(order(event, fields)) do
    out[#out + 1] = " " .. name .. "="
    out[#out + 1] = value_text(name, fields[name], wary)
  end
  out[#out + 1] = "\n"
  return concat(out)
end

-- The request that a coroutine is busy with: its ID.
local requests = setmetatable({}, { __mode = "k" })

local function here()
  return coroutine.running() or requests -- Lua 5.1: nil in the main one
end

-- `fields` are ours from now on.
local function say(level, event, fields)
  if levels[level] < threshold then return end
  fields = fields or {}
  fields.request_id = fields.request_id or requests[here()]
  local line = mode == "prod" and json_line or text_line
  local text = line(level, event, fields)
  if has_secret(text) then text = line(level, event, fields, true) end
  write(text)
  if level == "error" then flush() end
end

local M = {}

--- Names the request whose lines this coroutine writes from now on; nil:
--- none.
function M.begin(id)
  requests[here()] = id
end

--- The ID of the request that this coroutine is busy with.
function M.current()
  return requests[here()]
end

--- Chooses how to log. `mode`: "prod" (JSON, standard error, from info) or
--- "dev" (text, standard output, from debug). `write` takes the lines
--- instead.
function M.open(options)
  if options.mode ~= "prod" and options.mode ~= "dev" then
    error(('log: mode is "dev" or "prod", not %q')
      :format(tostring(options.mode)), 2)
  end
  mode = options.mode
  threshold = mode == "prod" and levels.info or levels.debug
  stream = mode == "prod" and io.stderr or io.stdout
  write = options.write or function(text)
    stream:write(text)
    stream:flush()
  end
  flush = function() end
end

--- In a process that runs the engine's loop: lines leave together at the
--- end of each of its turns, errors at once.
function M.gather()
  engine.server.gather()
  write = function(text) stream:write(text) end
  flush = function() stream:flush() end
end

--- Logs an event, a short text, with fields by name, a table that is the
--- log's from then on.
function M.debug(event, fields) say("debug", event, fields) end

--- Logs an event that is part of the day's work.
function M.info(event, fields) say("info", event, fields) end

--- Logs what somebody should look at.
function M.warn(event, fields) say("warn", event, fields) end

--- Logs what is broken here.
function M.error(event, fields) say("error", event, fields) end

--- Logs a refusal with its details: the client's mistakes as warnings, our
--- own trouble as errors.
function M.refused(refused, fields)
  local all = { reason = refused.reason, status = refused.http,
                client_message = refused.message, issuer = refused.issuer }
  for _, from in ipairs({ refused.client, refused.log, fields or {} }) do
    for name, value in pairs(from) do all[name] = value end
  end
  local ours = refused.http == 500 or refused.http == 503
  say(ours and "error" or "warn", "request refused", all)
end

M.open({ mode = "prod" })

return M
