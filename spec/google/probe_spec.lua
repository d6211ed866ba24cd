local engine = require("fulcio.engine")
local log = require("fulcio.log")
local probe = require("fulcio.google.probe")

describe("google.probe", function()
  local clock, now, asked, answer

  before_each(function()
    log.open({ mode = "prod", write = function() end })
    clock, now, asked = engine.system.monotonic, 100, 0
    engine.system.monotonic = function() return now end
  end)
  after_each(function()
    engine.system.monotonic = clock
    log.open({ mode = "prod" })
  end)

  local function create(profile)
    asked = asked + 1
    assert(engine.draft.new(profile))
    return table.unpack(answer, 1, 2)
  end

  it("asks once a minute, sooner when the answer was bad", function()
    local one = probe.new()
    answer = { {} }
    assert.is_true(one:ask(create, 600))
    now = now + 59
    assert.is_true(one:ask(create, 600))
    assert.equal(1, asked)
    now, answer = now + 2, { nil, { message = "no", http = 503 } }
    assert.same({ nil, "no", n = 2 }, table.pack(one:ask(create, 600)))
    now = now + 4
    assert.is_nil(one:ask(create, 600))
    assert.equal(2, asked)
    now, answer = now + 2, { {} }
    assert.is_true(one:ask(create, 600))
  end)

  it("is content with a certificate that was made, and with 400", function()
    local one = probe.new()
    one:passed()
    assert.is_true(one:ask(create, 600))
    assert.equal(0, asked)
    now, answer = now + 61, { nil, { message = "policy", http = 400 } }
    assert.is_true(one:ask(create, 600))
    assert.equal(1, asked)
  end)

  it("can be asked again after its question failed altogether", function()
    local one = probe.new()
    assert.has_error(function()
      one:ask(function() error("broken", 0) end, 600)
    end, "broken")
    answer = { {} }
    assert.is_true(one:ask(create, 600))
  end)

  it("does not ask while it is asking", function()
    local one = probe.new()
    answer = { {} }
    one:ask(function()
      assert.is_nil(one:ask(create, 600))
      return {}
    end, 600)
    assert.equal(0, asked)
  end)
end)
