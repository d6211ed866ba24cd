--- The command `fulcio`: looks at its first argument and does the rest.

local engine = require("fulcio.engine")
local nearest = require("fulcio.nearest")
local usage = require("fulcio.usage")

local unpack = table.unpack or unpack  -- luacheck: ignore 143 113

local HELP = [[
fulcio: a certificate authority for code signing, scripted in Lua

  fulcio serve --ca BACKEND --policies DIR [FLAGS]
  fulcio createca [FLAGS]               a root certificate, in an HSM or a file
  fulcio ctlog [FLAGS]                  the certificate transparency log alone
  fulcio check DIR                      every error in a directory of policies
  fulcio check --config-path FILE       the same of Fulcio's configuration;
                                        with --print, the policies it means
  fulcio try POLICY CLAIMS.json         the certificate a policy would issue
  fulcio run FILE [ARGUMENTS]           a Lua program on this engine
  fulcio version [--json]
  fulcio help serve|createca|ctlog      every flag
]]

local function say(...)
  io.stdout:write(...)
  return 0
end

local function fail(...)
  io.stderr:write("fulcio: ", ...)
  io.stderr:write("\n")
  return 1
end

local commands = {}

-- A command that a module runs: `run(arguments)` returns the exit status.
local function module(name)
  return function(arguments) return require(name).run(arguments) end
end

commands.serve = module("fulcio.serve")
commands.createca = module("fulcio.createca")
commands.ctlog = module("fulcio.ctlog_command")
commands.check = module("fulcio.check")
commands.try = module("fulcio.try")

function commands.help(arguments)
  local text = usage.flags(arguments[1])
  return say(text or HELP)
end

function commands.version(arguments)
  if arguments[1] == "--json" then
    return say(('{"gitVersion":"%s"}\n'):format(engine.version))
  end
  return say(("fulcio %s\n"):format(engine.version))
end

-- A program sees its own name and arguments as lua5.4 would give them.
function commands.run(arguments)
  local file = table.remove(arguments, 1)
  if not file then return fail("run: which file?") end
  local program, message = loadfile(file)
  if not program then return fail(message) end
  arguments[0] = file
  _G.arg = arguments
  local status = program(unpack(arguments))
  return tonumber(status) or 0
end

--- Runs a command line, a list of arguments; returns the exit status.
return function(arguments)
  local name = table.remove(arguments, 1) or "help"
  if name == "--help" or name == "-h" then name = "help" end
  if name == "--version" then name = "version" end
  local command = commands[name]
  if not command then
    local names = {}
    for known in pairs(commands) do names[#names + 1] = known end
    return fail(('unknown command "%s"%s\nTry: fulcio help')
      :format(name, nearest.hint(name, names)))
  end
  local first = arguments[1]
  if name ~= "run" and (first == "--help" or first == "-h") then
    return commands.help({ name })
  end
  return command(arguments)
end
