--- What a command was asked to do: flags, environment, file, defaults.
---
--- A flag wins over FULCIO_SERVE_NAME, that over the file of `--config`,
--- that over the default. What nobody knows is refused by name.

local engine = require("fulcio.engine")
local flags = require("fulcio.flags")
local kinds = require("fulcio.kinds")
local nearest = require("fulcio.nearest")
local shelf = require("fulcio.shelf")
local yaml = require("fulcio.yaml")

local M = {}

-- One spelling for --ct-log.tls-ca-cert, --log_type and their environment.
local function key_of(name)
  return (name:lower():gsub("[-.]", "_"))
end

-- Every flag of a command by key, aliases too, and the names for hints.
local function index(command)
  local by_key, names = {}, {}
  for _, group in ipairs(flags[command]) do
    for _, flag in ipairs(group) do
      by_key[key_of(flag[1])] = flag
      if flag.alias then by_key[key_of(flag.alias)] = flag end
      names[#names + 1] = flag[1]
    end
  end
  return by_key, names
end

-- Takes one value into `found` unless a stronger source was there before.
local function take(found, flag, text, where)
  local key = key_of(flag[1])
  if found.given[key] then return end
  local value, message = kinds.read(flag, text, where)
  found.given[key] = where
  found[key] = value
  if message then found.errors[#found.errors + 1] = message end
end

local function complain(found, message, ...)
  found.errors[#found.errors + 1] = message:format(...)
end

-- The flag that an argument names, and the value in the same argument.
local function named(argument, by_key)
  local name, text = argument:match("^%-%-([^=]+)=(.*)$")
  if not name then name = argument:match("^%-%-(.+)$") end
  if name then return name, by_key[key_of(name)], text end
  name, text = argument:match("^%-(%a)=?(.*)$")
  for _, flag in pairs(by_key) do
    if name and flag.short == name then
      return flag[1], flag, text ~= "" and text or nil
    end
  end
  return nil
end

-- Kinds whose values pflag reads where they stand, so that each must be one;
-- of the others it keeps the last text.
local read_at_once = { boolean = true, duration = true, integer = true }

-- Takes a flag's value. The last one counts; those of a list that is given
-- again are added.
local function take_argument(found, one, is_last)
  local flag = one.flag
  if not is_last and not read_at_once[flag.kind] and flag.kind ~= "list" then
    return
  end
  local key = key_of(flag[1])
  local before = found.given[key] and flag.kind == "list" and found[key]
  found.given[key] = nil
  take(found, flag, one.text, "--" .. one.name)
  if not before or not found[key] then return end
  for _, item in ipairs(found[key]) do before[#before + 1] = item end
  found[key] = before
end

local function take_arguments(found, given)
  local last = {}
  for i, one in ipairs(given) do last[one.flag] = i end
  for i, one in ipairs(given) do
    take_argument(found, one, last[one.flag] == i)
  end
end

local function read_arguments(found, arguments, by_key, names)
  local i, given = 1, {}
  while i <= #arguments do
    local argument = arguments[i]
    local name, flag, text = named(argument, by_key)
    if not flag then
      complain(found, name and "unknown flag --%s%s"
               or 'unexpected argument "%s"%s', name or argument,
               nearest.hint(name or "", names))
    else
      if not text and flag.kind == "boolean" then text = "true" end
      if not text then
        i = i + 1
        text = arguments[i]
      end
      if text then
        given[#given + 1] = { flag = flag, name = name, text = text }
      else
        complain(found, "--%s needs a value", name)
      end
    end
    i = i + 1
  end
  take_arguments(found, given)
end

local PREFIX = "FULCIO_SERVE_"

local function read_environment(found, environment, by_key, names)
  local variables = {}
  for variable in pairs(environment) do
    if variable:sub(1, #PREFIX) == PREFIX then
      variables[#variables + 1] = variable
    end
  end
  table.sort(variables)
  -- What is set for serve does not keep other commands from running.
  local of_serve = index("serve")
  for _, variable in ipairs(variables) do
    local key = key_of(variable:sub(#PREFIX + 1))
    if by_key[key] then
      take(found, by_key[key], environment[variable], variable)
    elseif not of_serve[key] then
      local hint = nearest.hint(key:gsub("_", "-"), names)
      complain(found, "unknown variable %s%s", variable, hint)
    end
  end
end

-- `ct-log: { tls-ca-cert: x }` is `ct-log.tls-ca-cert: x`, as viper has it.
local function flatten(values, flat, prefix)
  for name, value in pairs(values) do
    if type(value) == "table" and value[1] == nil and next(value) then
      flatten(value, flat, prefix .. name .. ".")
    elseif type(value) == "table" then
      flat[prefix .. name] = table.concat(value, ",")
    elseif type(value) == "number" then
      flat[prefix .. name] = ("%d"):format(value)
    else
      flat[prefix .. name] = tostring(value)
    end
  end
  return flat
end

-- Files that Fulcio reads besides.
local foreign = { toml = true, properties = true, props = true, prop = true,
                  hcl = true, tfvars = true, dotenv = true, env = true,
                  ini = true }

local function parse_file(path)
  local ending = path:match("%.(%w+)$")
  if foreign[ending] then
    return nil, ("%s: .%s is not read here; write it as YAML or JSON")
      :format(path, ending)
  end
  local text, message = shelf.read(path)
  if not text then return nil, message end
  local parse = path:find("%.json$") and engine.claims.parse or yaml.parse
  local values, why = parse(text)
  if type(values) ~= "table" then
    return nil, ("%s: %s"):format(path, why or "not a map of flags")
  end
  return flatten(values, {}, "")
end

local function read_file(found, path, by_key, names)
  local values, message = parse_file(path)
  if not values then return complain(found, "--config: %s", message) end
  local sorted = {}
  for name in pairs(values) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local flag = by_key[key_of(name)]
    if flag then
      take(found, flag, values[name], ("%s: %s"):format(path, name))
    else
      complain(found, "%s: unknown flag %s%s", path, name,
               nearest.hint(name, names))
    end
  end
end

local function default(found, command)
  for _, group in ipairs(flags[command]) do
    for _, flag in ipairs(group) do
      local key = key_of(flag[1])
      if not found.given[key] then
        found[key] = flag.default
        if flag.required then
          complain(found, 'required flag "%s" not set', flag[1])
        end
      end
    end
  end
end

--- The variables this process was started with.
function M.environment()
  local variables = {}
  local file = io.open("/proc/self/environ", "rb")
  if not file then return variables end
  for name, value in file:read("*a"):gmatch("([^=%z]+)=([^%z]*)") do
    variables[name] = value
  end
  file:close()
  return variables
end

--- Reads the arguments of a command. The answer has each flag under its
--- name with `_` for `-` and `.`; `given` says where a value came from.
--- nil and a list of everything that is wrong.
function M.parse(command, arguments, environment)
  local by_key, names = index(command)
  local found = { given = {}, errors = {} }
  read_arguments(found, arguments, by_key, names)
  read_environment(found, environment or M.environment(), by_key, names)
  if found.config then read_file(found, found.config, by_key, names) end
  default(found, command)
  if found.errors[1] then return nil, found.errors end
  found.errors = nil
  return found
end

return M
