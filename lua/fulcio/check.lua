--- `fulcio check DIR`: everything that is wrong with a folder of policies.
--- `fulcio check --config-path FILE [--print [--out DIR]]`: the same for
--- Fulcio's own configuration, and the policies it stands for.

local config_import = require("fulcio.config_import")
local config_print = require("fulcio.config_print")
local engine = require("fulcio.engine")
local policy = require("fulcio.policy")
local shelf = require("fulcio.shelf")

local USAGE = [=[
usage: fulcio check DIR [--development]
       fulcio check --config-path FILE [--print [--out DIR]] [--development]
]=]

local M = {}

--- Errors as lines, "FILE:LINE: MESSAGE".
function M.lines(errors)
  local list = {}
  for i, wrong in ipairs(errors) do
    list[i] = ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
  end
  return list
end

-- Policies of a folder; of its issuers/ when it has none itself.
local function read_folder(dir)
  local sources, message = policy.read(dir)
  return sources or policy.read(dir .. "/issuers"), message
end

local function read_policy(path)
  local text, message = shelf.read(path)
  if not text then return nil, message end
  return { { name = path:match("[^/]*$"), text = text, path = path,
             dir = path:match("^(.*)/") or "." } }
end

local function load(sources, options)
  local set, errors = policy.load(sources, options)
  if not set then return nil, M.lines(errors) end
  return set, sources
end

--- Loads Fulcio's configuration: a set, its sources, and warnings; nil and
--- a list of lines for people.
function M.load_config(path, options)
  local text, message = shelf.read(path)
  if not text then return nil, { message } end
  local sources, errors, warnings = config_import.parse(path, text)
  if not sources then return nil, M.lines(errors) end
  local set, found = load(sources, options)
  return set, found, warnings
end

--- As load_config, for a folder, one policy file, or a configuration of
--- Fulcio's (.json, .yaml, .yml).
function M.load(path, options)
  if path:find("%.json$") or path:find("%.ya?ml$") then
    return M.load_config(path, options)
  end
  if path:find("%.lua$") then
    local sources, message = read_policy(path)
    if not sources then return nil, { message } end
    return load(sources, options)
  end
  local sources, message = read_folder(path)
  if not sources then return nil, { message } end
  return load(sources, { development = options.development, folder = path,
                         files = options.files })
end

local switches = { ["--print"] = "print", ["--development"] = "development" }
local flags = { ["--config-path"] = "config", ["--out"] = "out" }

local function read_arguments(arguments)
  local asked, i = {}, 1
  while i <= #arguments do
    local name, text = arguments[i]:match("^(%-%-[%w-]+)=(.*)$")
    name = name or arguments[i]
    if flags[name] then
      if not text then
        i = i + 1
        text = arguments[i]
      end
      asked[flags[name]] = text
    elseif switches[name] then
      asked[switches[name]] = true
    elseif name:sub(1, 1) == "-" or asked.dir then
      return nil
    else
      asked.dir = name
    end
    i = i + 1
  end
  if (asked.config == nil) == (asked.dir == nil)
     or asked.print and not asked.config or asked.out and not asked.print then
    return nil
  end
  return asked
end

local function counted(number, one, many)
  return ("%d %s"):format(number, number == 1 and one or many)
end

local function complain(out, lines)
  for _, line in ipairs(lines) do out:write(line, "\n") end
  out:write(counted(#lines, "error", "errors"), "\n")
  return 1
end

-- Writes policy files to a folder; nothing that is there is replaced.
local function write_files(files, dir, stdout, stderr)
  local done, message = engine.system.mkdir(dir, 493)
  for _, file in ipairs(done and files or {}) do
    done, message = engine.system.write(dir .. "/" .. file.name, file.text,
                                        { exclusive = true, mode = 420 })
    if not done then break end
  end
  if not done then return complain(stderr, { message }) end
  stdout:write(counted(#files, "file", "files"), " written\n")
  return 0
end

local function print_policies(sources, asked, stdout, stderr)
  local files, errors = config_print.files(sources)
  if not files then return complain(stderr, M.lines(errors)) end
  if asked.out then return write_files(files, asked.out, stdout, stderr) end
  stdout:write(config_print.text(sources), "")
  return 0
end

--- Runs the command: exit status 0, or 1 when anything is wrong.
function M.run(arguments, stdout, stderr)
  stdout, stderr = stdout or io.stdout, stderr or io.stderr
  local asked = read_arguments(arguments)
  if not asked then
    stderr:write(USAGE)
    return 1
  end
  local options = { development = asked.development, files = true }
  local set, found, warnings
  if asked.config then
    set, found, warnings = M.load_config(asked.config, options)
  else
    set, found, warnings = M.load(asked.dir, options)
  end
  if not set then return complain(stderr, found) end
  for _, line in ipairs(M.lines(warnings or {})) do
    stderr:write(line, " (warning)\n")
  end
  if asked.print then return print_policies(found, asked, stdout, stderr) end
  stdout:write(counted(#found, "policy", "policies"), ", no error\n")
  return 0
end

return M
