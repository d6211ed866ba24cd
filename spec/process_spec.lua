local process = require("fulcio.process")

describe("process", function()
  it("adds up what the processes of a server use", function()
    while os.clock() < 0.05 do end -- luacheck: ignore 542
    local usage = process.usage()
    assert.is_true(usage.count >= 2)
    assert.is_true(usage.bytes > 2 ^ 20)
    assert.is_true(usage.seconds >= 0.02)
  end)

  it("knows when this one started", function()
    local age = os.time() - process.started()
    assert.is_true(age >= -2 and age < 3600)
  end)

  it("says nothing where there is no /proc", function()
    local open = io.open
    io.open = function() return nil end -- luacheck: ignore 122
    local usage, started = process.usage(), process.started()
    io.open = open -- luacheck: ignore 122
    assert.same({ seconds = 0, bytes = 0, count = 0 }, usage)
    assert.is_nil(started)
  end)
end)
