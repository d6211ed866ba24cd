local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local policyset = require("fulcio.policyset")

local POLICY = [[
return {
  issuer = "https://%s.example", audience = "sigstore", must = anyone,
  san = { email = "{email}" },
}
]]

local CONFIG = '{"OIDCIssuers":{"https://config.example":{"IssuerURL":'
  .. '"https://config.example","ClientID":"sigstore","Type":"email"}}}'

describe("policyset", function()
  local directory, remove

  before_each(function() directory, remove = authority.directory() end)
  after_each(function() remove() end)

  local function write(name, text)
    assert(engine.system.write(directory .. "/" .. name, text))
    return directory .. "/" .. name
  end

  local function options(changes)
    local all = { policies = "", config_path = "", development = false }
    for name, value in pairs(changes) do all[name] = value end
    return all
  end

  local function loaded(settings)
    return assert(policyset.load(assert(policyset.read(settings)), settings))
  end

  it("reads and loads a folder", function()
    write("a.lua", POLICY:format("a"))
    write("b.lua", POLICY:format("b"))
    local set = loaded(options({ policies = directory }))
    assert.is_truthy(set:match("https://a.example"))
    assert.is_truthy(set:match("https://b.example"))
    assert.is_nil(set:match("https://c.example"))
  end)

  -- A worker that starts anew must not fail for a file that went.
  it("misses the certificates of an issuer for the supervisor alone",
  function()
    write("a.lua", (POLICY:format("a"):gsub("must", 'ca_file = "x", must')))
    local settings = options({ policies = directory })
    local sources = assert(policyset.read(settings))
    assert.is_truthy((policyset.load(sources, settings)))
    local set, errors = policyset.load(sources, settings, true)
    assert.is_nil(set)
    assert.matches("a.lua:2: ca_file: .*/x: No such file", errors[1])
  end)

  it("reads Fulcio's configuration, alone and beside a folder", function()
    local path = write("config.json", CONFIG)
    local set = loaded(options({ config_path = path }))
    assert.is_truthy(set:match("https://config.example"))
    write("a.lua", POLICY:format("a"))
    set = loaded(options({ config_path = path, policies = directory }))
    assert.is_truthy(set:match("https://config.example"))
    assert.is_truthy(set:match("https://a.example"))
  end)

  it("tells what it leaves out of a configuration", function()
    local path = write("config.json", (CONFIG:gsub('"sigstore"', '""')))
    local settings = options({ config_path = path })
    local set, errors, left =
      policyset.load(assert(policyset.read(settings)), settings)
    assert.is_truthy(set)
    assert.is_nil(errors)
    assert.matches("config.example", left[1], 1, true)
    local said = {}
    finally(function() log.open({ mode = "prod" }) end)
    log.open({ mode = "prod", write = function(line)
      said[#said + 1] = line
    end })
    policyset.tell(left)
    assert.equal(1, #said)
    assert.matches('left out of the policies.*config%.example', said[1])
  end)

  local function unread(settings, message)
    local sources, why = policyset.read(options(settings))
    assert.is_nil(sources)
    assert.matches(message, why, 1, true)
  end

  it("refuses to start with nothing, naming the remedy", function()
    unread({}, "give --policies DIR or --config-path FILE")
  end)

  it("has the development issuer's policy for trying out", function()
    local sources = assert(policyset.read(options({ development = true })))
    assert.equal("development.lua", sources[1].name)
  end)

  it("refuses what is missing, empty or not text", function()
    unread({ policies = "/nowhere" }, "--policies: ")
    unread({ policies = directory }, "--policies: ")
    unread({ config_path = "/nowhere.yaml" }, "--config-path: /nowhere.yaml")
    write("a.lua", "return '\255'")
    unread({ policies = directory }, "a.lua: is not UTF-8")
  end)

  it("says everything that is wrong, each with file and line", function()
    write("a.lua", "return {\n  audiance = 1,\n}\n")
    write("b.lua", "return {\n  isuer = 1,\n}\n")
    local settings = options({ policies = directory })
    local set, errors = policyset.load(assert(policyset.read(settings)),
                                       settings)
    assert.is_nil(set)
    local all = table.concat(errors, "\n")
    assert.matches('a.lua:2: unknown field "audiance"', all, 1, true)
    assert.matches('b.lua:2: unknown field "isuer"', all, 1, true)
  end)

  it("stamps whatever it reads", function()
    write("a.lua", POLICY:format("a"))
    local settings = options({ policies = directory })
    local first = policyset.stamp(settings)
    assert.equal(first, policyset.stamp(settings))
    write("b.lua", POLICY:format("b"))
    local second = policyset.stamp(settings)
    assert.not_equal(first, second)
    assert(engine.system.mkdir(directory .. "/providers"))
    write("providers/x.lua", "return {}")
    local third = policyset.stamp(settings)
    assert.not_equal(second, third)
    settings.config_path = write("config.json", CONFIG)
    assert.not_equal(third, policyset.stamp(settings))
  end)
end)
