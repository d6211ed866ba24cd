local process = require("spec.process")

local function shell(command)
  local pipe = io.popen(command .. " 2>&1")
  local output = pipe:read("a")
  return output, pipe:close() == true
end

describe("make install", function()
  local root

  setup(function()
    root = process.directory()
    local output, done = shell("make -s install PREFIX=/opt/x DESTDIR=" .. root)
    assert.is_true(done, output)
  end)

  teardown(function() os.execute("rm -rf " .. root) end)

  it("installs a program that needs nothing of the build tree", function()
    local output, done = shell("cd / && " .. root
      .. "/opt/x/bin/fulcio version")
    assert.is_true(done, output)
    assert.matches("^fulcio %d+%.%d+%.%d+\n$", output)
  end)

  it("installs modules that another Lua can require", function()
    local tree = root .. "/opt/x"
    local output, done = shell(("cd / && LUA_PATH='%s/share/lua/5.4/?.lua' "
      .. "LUA_CPATH='%s/lib/lua/5.4/?.so;;' lua5.4 -e '%s'"):format(tree, tree,
      'print(require("fulcio.json").encode({ require("fulcio.engine")'
      .. '.bytes.hex("a") }))'))
    assert.is_true(done, output)
    assert.equal('["61"]\n', output)
  end)

  it("installs the policies, and nothing that runs as somebody else", function()
    local output = shell("ls " .. root .. "/opt/x/share/fulcio/policies")
    assert.matches("providers", output)
    assert.matches("templates", output)
    assert.equal("", (shell("find " .. root .. " -perm /6022 ! -type l")))
  end)
end)
