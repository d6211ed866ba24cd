local shelf = require("fulcio.shelf")

describe("shelf", function()
  it("has what is shipped", function()
    local file = assert(shelf.find("providers", "github"))
    assert.equal("providers/github.lua", file.name)
    assert.truthy(file.text:find("job_workflow_ref", 1, true))
    assert.truthy(shelf.find("templates", "leaf"))
  end)

  it("looks first into what is given, then beside the policy", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -p " .. dir .. "/providers " .. dir .. "/own"))
    for path, text in pairs({ ["/providers/email.lua"] = "beside",
                              ["/own/email.lua"] = "given" }) do
      local file = assert(io.open(dir .. path, "w"))
      file:write(text)
      file:close()
    end
    local function text(from, given)
      return assert(shelf.find("providers", "email", from, given)).text
    end
    assert.equal("table", text(dir, { email = "table" }))
    assert.equal("given", text(dir, dir .. "/own"))
    assert.equal("given", text(dir, { dir .. "/none", dir .. "/own" }))
    assert.equal("beside", text(dir))
    assert.equal("beside", text(dir .. "/own"))
    assert.truthy(text("/"):find("{email}", 1, true))
    os.execute("rm -r " .. dir)
  end)

  it("waits for no pipe, but where a shell puts one", function()
    local path = os.tmpname()
    assert(os.remove(path) and os.execute("mkfifo " .. path))
    finally(function() os.remove(path) end)
    local text, message = shelf.read(path)
    assert.is_nil(text)
    assert.equal(path .. ": is not a file", message)
    assert.equal("/tmp: is not a file", select(2, shelf.read("/tmp")))
    assert.equal("", shelf.read("/dev/null"))
    assert.equal("/dev/zero: is larger than 16 MiB",
                 select(2, shelf.read("/dev/zero")))
  end)

  it("suggests the name that was meant", function()
    local none, message = shelf.find("providers", "gitbuh")
    assert.is_nil(none)
    assert.equal('there is no provider "gitbuh" (did you mean "github"?)',
                 message)
    none, message = shelf.find("templates", "mine", nil, { mien = "x" })
    assert.is_nil(none)
    assert.equal('there is no template "mine" (did you mean "mien"?)',
                 message)
  end)

  it("leaves no folder by a name", function()
    for _, name in ipairs({ "../templates/leaf", "/etc/passwd", "a.b", "" })
    do
      assert.is_nil((shelf.find("providers", name)))
    end
  end)

  it("says what is wrong with a file", function()
    local text, message = shelf.read("/nonexistent/x")
    assert.is_nil(text)
    assert.truthy(message:find("/nonexistent/x", 1, true))
    text, message = shelf.read("/")
    assert.is_nil(text)
    assert.is_string(message)
  end)
end)
