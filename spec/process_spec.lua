local process = require("fulcio.process")

describe("process", function()
  it("adds up what the processes of a server use", function()
    while os.clock() < 0.05 do end -- luacheck: ignore 542
    local usage = process.usage()
    assert.is_true(usage.count >= 2)
    assert.is_true(usage.resident > 2 ^ 20)
    assert.is_true(usage.virtual > usage.resident)
    assert.is_true(usage.seconds >= 0.02)
  end)

  it("counts the descriptors of the process that has the most", function()
    local open = {}
    for i = 1, 100 do open[i] = assert(io.open("/dev/null")) end
    local most = process.usage().descriptors
    for _, file in ipairs(open) do file:close() end
    assert.is_true(most > 100)
    assert.is_true(process.descriptor_limit() >= most)
  end)

  it("knows when the server started", function()
    local age = os.time() - process.started()
    assert.is_true(age >= -2)
  end)

  it("says nothing where there is no /proc", function()
    local open = io.open
    io.open = function() return nil end -- luacheck: ignore 122
    local usage, started = process.usage(), process.started()
    local limit = process.descriptor_limit()
    io.open = open -- luacheck: ignore 122
    assert.same({ seconds = 0, resident = 0, virtual = 0, count = 0,
                  descriptors = 0 }, usage)
    assert.is_nil(started)
    assert.is_nil(limit)
  end)
end)
