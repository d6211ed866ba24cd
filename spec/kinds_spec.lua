local kinds = require("fulcio.kinds")

describe("kinds", function()
  it("read times as Go prints them", function()
    local function read(text)
      return kinds.read({ "x", kind = "duration" }, text, "--x")
    end
    assert.equal(90, read("1m30s"))
    assert.equal(0.5, read("500ms"))
    assert.equal(45, read("45"))
    assert.is_nil(read(""))
    assert.is_nil(read("5 s"))
  end)

  it("read booleans as Go does", function()
    for text, value in pairs({ ["1"] = true, T = true, True = true,
                               ["0"] = false, f = false, FALSE = false }) do
      assert.equal(value, kinds.read({ "x", kind = "boolean" }, text, "--x"))
    end
  end)

  it("read lists at commas and spaces", function()
    assert.same({ "a", "b", "c" },
                kinds.read({ "x", kind = "list" }, "a,b, c", "--x"))
  end)

  it("read directories from where the program was started", function()
    local flag = { "x", kind = "directory" }
    assert.equal("/var/x", kinds.read(flag, "/var/x", "--x"))
    local pipe = io.popen("pwd -P")
    assert.equal(pipe:read("l") .. "/data", kinds.read(flag, "data", "--x"))
    pipe:close()
  end)

  it("refuse what is none of theirs, by name", function()
    local wrong = {
      { "0", { "x", kind = "integer", minimum = 1 },
        '--x: "0" is not a whole number, at least 1' },
      { "300", { "x", kind = "integer", maximum = 256 },
        '--x: "300" is not a whole number, at most 256' },
      { "maybe", { "x", kind = "boolean" },
        '--x: "maybe" is not true or false' },
      { "3 apples", { "x", kind = "duration" },
        '--x: "3 apples" is not a time such as 30s' },
      { "xml", { "x", kind = "choice", choices = { "dev", "prod" } },
        '--x: "xml" is not dev or prod' },
      { "65536", { "x", kind = "port" },
        '--x: "65536" is not a port, 0 to 65535' },
      { "-1", { "x", kind = "port" },
        '--x: "-1" is not a port, 0 to 65535' },
      { "", { "x", kind = "directory" }, '--x: "" is not a directory' },
    }
    for _, case in ipairs(wrong) do
      local value, message = kinds.read(case[2], case[1], "--x")
      assert.is_nil(value)
      assert.equal(case[3], message)
    end
  end)
end)
