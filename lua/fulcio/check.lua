--- `fulcio check DIR`: everything that is wrong with a folder of policies.
--- `fulcio check --config-path FILE [--print]`: the same for Fulcio's own
--- configuration, and the policies it stands for.

local config_import = require("fulcio.config_import")
local policy = require("fulcio.policy")
local shelf = require("fulcio.shelf")

local USAGE = [[
usage: fulcio check DIR [--development]
       fulcio check --config-path FILE [--print] [--development]
]]

local M = {}

-- Policies of a folder; of its issuers/ when it has none itself.
local function read_folder(dir)
  local sources, message = policy.read(dir)
  if sources then return sources, dir end
  local ready = policy.read(dir .. "/issuers")
  if ready then return ready, dir end
  return nil, message
end

--- Loads policies for a command: a folder, one policy file, or a
--- configuration of Fulcio's (.json, .yaml, .yml). Returns a set, and the
--- sources; nil and a list of lines for people.
function M.load(path, options)
  local sources, message
  options = options or {}
  if path:find("%.json$") or path:find("%.ya?ml$") then
    return M.load_config(path, options)
  elseif path:find("%.lua$") then
    local text
    text, message = shelf.read(path)
    sources = text and { { name = path:match("[^/]*$"), text = text,
                           path = path, dir = path:match("^(.*)/") or "." } }
  else
    sources, message = read_folder(path)
    options = { development = options.development, folder = message }
  end
  if not sources then return nil, { message } end
  local set, errors = policy.load(sources, options)
  if not set then return nil, M.lines(errors) end
  return set, sources
end

--- As load, for Fulcio's configuration whatever its name.
function M.load_config(path, options)
  local text, message = shelf.read(path)
  if not text then return nil, { message } end
  local sources, errors = config_import.parse(path, text)
  if not sources then return nil, M.lines(errors) end
  local set
  set, errors = policy.load(sources, options)
  if not set then return nil, M.lines(errors) end
  return set, sources
end

--- Errors as lines, "FILE:LINE: MESSAGE".
function M.lines(errors)
  local list = {}
  for i, wrong in ipairs(errors) do
    list[i] = ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
  end
  return list
end

local flags = { ["--print"] = "print", ["--development"] = "development" }

local function read_arguments(arguments)
  local asked, i = {}, 1
  while i <= #arguments do
    local argument = arguments[i]
    if flags[argument] then
      asked[flags[argument]] = true
    elseif argument == "--config-path" or argument == "-c" then
      i = i + 1
      asked.config = arguments[i]
    elseif argument:find("^%-%-config%-path=") then
      asked.config = argument:match("=(.*)$")
    elseif argument:sub(1, 1) == "-" or asked.dir then
      return nil
    else
      asked.dir = argument
    end
    i = i + 1
  end
  if (asked.config == nil) == (asked.dir == nil) then return nil end
  if asked.print and not asked.config then return nil end
  return asked
end

local function complain(out, lines)
  for _, line in ipairs(lines) do out:write(line, "\n") end
  out:write(("%d error%s\n"):format(#lines, #lines == 1 and "" or "s"))
  return 1
end

--- Runs the command: exit status 0, or 1 when anything is wrong.
function M.run(arguments, stdout, stderr)
  stdout, stderr = stdout or io.stdout, stderr or io.stderr
  local asked = read_arguments(arguments)
  if not asked then
    stderr:write(USAGE)
    return 1
  end
  local options = { development = asked.development }
  local set, found
  if asked.config then
    set, found = M.load_config(asked.config, options)
  else
    set, found = M.load(asked.dir, options)
  end
  if not set then return complain(stderr, found) end
  if asked.print then
    local texts, errors = config_import.print(found)
    if not texts then return complain(stderr, M.lines(errors)) end
    stdout:write(texts)
    return 0
  end
  stdout:write(("%d policies, no error\n"):format(#found))
  return 0
end

return M
