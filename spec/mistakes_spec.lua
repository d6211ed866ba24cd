local log = require("fulcio.log")
local mistakes = require("fulcio.mistakes")

describe("mistakes", function()
  local found, lines

  before_each(function()
    found, lines = mistakes.new(), {}
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
  end)

  after_each(function() log.open({ mode = "prod" }) end)

  local function texts()
    local list = {}
    for i, wrong in ipairs(found:sorted()) do
      list[i] = ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
    end
    return list
  end

  it("are sorted by file and line", function()
    found:add("b", 2, "x")
    found:add("b", 1, "z")
    found:add("a", 9, "y")
    found:add("b", 1, "y")
    assert.same({ "a:9: y", "b:1: y", "b:1: z", "b:2: x" }, texts())
  end)

  it("are one line each", function()
    found:add("a", 1, "odd\nb:2: \27 even")
    assert.same({ [[a:1: odd\nb:2: \x1b even]] }, texts())
  end)

  it("end where a file has enough of them", function()
    local tried = 0
    found:guard("b", function()
      local report = found:reporter("b", function(path) return path[1] end)
      for i = 1, 1000 do
        tried = tried + 1
        report({ 1000 - i }, "wrong")
      end
    end)
    assert.is_true(found:add("a", 1, "x"))
    assert.is_false(found:add("b", 1, "x"))
    assert.equal(51, tried)
    local list = texts()
    assert.equal(52, #list)
    assert.equal("b:999: and more mistakes: here are the first 50 of them",
                 list[52])
    assert.same({}, lines)
  end)

  it("are all told when they are as many as a person makes", function()
    for i = 1, 50 do found:add("a", i, "wrong") end
    assert.equal("a:50: wrong", texts()[50])
    assert.equal(50, #texts())
  end)

  it("give back what a guarded function does", function()
    assert.same({ 1, 2 }, { found:guard("a", function(...) return ... end,
                                        1, 2) })
    assert.same({}, texts())
  end)

  it("are ours when something throws, with a trace in the log", function()
    assert.is_nil(found:guard("a", function() error("oops\n") end))
    found:guard("b", function() error({}) end)
    local list = texts()
    assert.matches("^a:1: cannot be read: spec/mistakes_spec.lua:%d+: oops",
                   list[1])
    assert.matches("^b:1: cannot be read: table", list[2])
    assert.equal(2, #lines)
    assert.matches('"file":"a"', lines[1], 1, true)
    assert.matches("stack traceback", lines[1], 1, true)
  end)
end)
