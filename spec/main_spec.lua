local engine = require("fulcio.engine")
local program = require("spec.program")

describe("main", function()
  local function says(status, pattern, ...)
    local got, printed = program.run({ ... })
    assert.equal(status, got, printed)
    assert.matches(pattern, printed, 1, true)
    return printed
  end

  it("explains itself", function()
    says(0, "fulcio serve --ca")
    says(0, "fulcio serve --ca", "help")
    says(0, "fulcio serve --ca", "--help")
    says(0, "--fileca-cert FILE", "help", "serve")
    says(0, "--fileca-cert FILE", "serve", "--help")
    says(0, "--roots FILE", "ctlog", "-h")
    says(0, "fulcio serve --ca", "help", "nothing")
  end)

  it("tells its version", function()
    says(0, "fulcio " .. engine.version .. "\n", "version")
    says(0, '{"gitVersion":"' .. engine.version .. '"}\n', "version",
         "--json")
    says(0, "fulcio " .. engine.version .. "\n", "--version")
  end)

  it("refuses a command that it does not know", function()
    says(1, 'unknown command "serv" (did you mean "serve"?)', "serv")
    says(1, 'unknown command "xyzzyx"\n', "xyzzyx")
  end)

  it("runs a Lua program with the engine and its arguments", function()
    local path = os.tmpname()
    assert(engine.system.write(path, [[
      local engine = require("fulcio.engine")
      print(engine.version, arg[0] ~= nil, arg[1], ...)
      print(pcall(require, "fulcio.json"))
      return 3
    ]]))
    finally(function() os.remove(path) end)
    local printed = says(3, engine.version .. "\ttrue\ta b\ta b\t--help\n",
                         "run", path, "a b", "--help")
    assert.matches("true\ttable", printed)
  end)

  it("says which program it cannot run", function()
    says(1, "which file?", "run")
    says(1, "/nowhere.lua", "run", "/nowhere.lua")
    local path = os.tmpname()
    assert(engine.system.write(path, "this is no Lua"))
    finally(function() os.remove(path) end)
    says(1, path .. ":1:", "run", path)
  end)

  it("looks for modules beside itself, whatever LUA_ variables say",
  function()
    local path = os.tmpname()
    assert(engine.system.write(path, [[
      for part in (package.path .. ";" .. package.cpath):gmatch("[^;]+") do
        print(part)
      end
    ]]))
    finally(function() os.remove(path) end)
    local status, printed = program.run({ "run", path },
      { LUA_PATH = "./?.lua", LUA_CPATH_5_4 = "./?.so",
        LUA_INIT = "print(1)" })
    assert.equal(0, status)
    for place in printed:gmatch("[^\n]+") do
      assert.matches("^/.+%?", place)
    end
    assert.matches("/lua/%?%.lua\n", printed)
  end)

  it("throws what the program throws, with a traceback", function()
    local path = os.tmpname()
    assert(engine.system.write(path, "error('broken')"))
    finally(function() os.remove(path) end)
    says(1, "broken\nstack traceback:", "run", path)
  end)
end)
