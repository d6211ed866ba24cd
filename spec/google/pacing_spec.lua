local pacing = require("fulcio.google.pacing")

describe("google.pacing", function()
  local now
  local function clock() return now end

  before_each(function() now = 100 end)

  it("lets as many through at once as in a second, then makes them wait",
  function()
    local paced = pacing.new(4, clock)
    for _ = 1, 4 do assert.equal(0, paced:take(2)) end
    assert.equal(0.25, paced:take(2))
    assert.equal(0.5, paced:take(2))
    now = now + 1
    assert.equal(0, paced:take(2))
  end)

  it("turns away whoever would wait too long, without counting him",
  function()
    local paced = pacing.new(1, clock)
    assert.equal(0, paced:take(2))
    assert.equal(1, paced:take(2))
    assert.equal(2, paced:take(2))
    for _ = 1, 3 do
      local wait, long = paced:take(2)
      assert.is_nil(wait)
      assert.equal(3, long)
    end
  end)

  it("saves no more than a second's turns, and has one to begin with",
  function()
    local paced = pacing.new(0.5, clock)
    assert.equal(0, paced:take(2))
    assert.equal(2, paced:take(2))
    paced = pacing.new(2, clock)
    now = now + 100
    assert.equal(0, paced:take(2))
    assert.equal(0, paced:take(2))
    assert.equal(0.5, paced:take(2))
  end)
end)
