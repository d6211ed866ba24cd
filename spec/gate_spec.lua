local engine = require("fulcio.engine")
local gate = require("fulcio.gate")
local on_loop = require("spec.on_loop")

local server = engine.server

describe("gate", function()
  it("lets so many through at once", function()
    local two = gate.new(2)
    assert.is_true(two:enter(0))
    assert.is_true(two:enter(0))
    on_loop(function() assert.is_false(two:enter(0.01)) end)
    two:leave()
    assert.is_true(two:enter(0))
  end)

  it("keeps the order in which they came, less those who gave up", function()
    local one, order = gate.new(1), {}
    on_loop(function()
      assert(one:enter(0))
      local done, left = server.signal(), 4
      for i = 1, 4 do
        server.spawn(function()
          local through = one:enter(i == 2 and 0.01 or 60)
          order[#order + 1] = through and i or -i
          if through then one:leave() end
          left = left - 1
          done:wake()
        end)
      end
      while #order == 0 do done:wait(1) end
      one:leave()
      while left > 0 do done:wait(1) end
    end)
    assert.same({ -2, 1, 3, 4 }, order)
    assert.is_true(one:enter(0))
  end)

  it("makes nobody wait where nothing can", function()
    local kept = engine.server
    engine.server = nil
    finally(function() engine.server = kept end)
    local one = gate.new(1)
    assert.is_true(one:enter(0))
    assert.is_true(one:enter(0))
  end)
end)
