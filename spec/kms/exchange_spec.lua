local engine = require("fulcio.engine")
local exchange = require("fulcio.kms.exchange")

describe("kms.exchange", function()
  local answers, asked, slept, sleep

  before_each(function()
    asked, slept, sleep = {}, {}, engine.server.sleep
    engine.server.sleep = function(seconds) slept[#slept + 1] = seconds end
    engine.http.set_backend(function(request)
      asked[#asked + 1] = request.timeout
      local answer = answers[#asked] or answers[#answers]
      if type(answer) == "string" then return nil, answer, "network" end
      return { status = answer[1], headers = { ["retry-after"] = answer[2] },
               body = answer[3] or "" }
    end)
  end)
  after_each(function()
    engine.http.set_backend(nil)
    engine.server.sleep = sleep
  end)

  local function run(seconds, more)
    local how = { name = "it",
                  deadline = engine.system.monotonic() + (seconds or 5) }
    for name, value in pairs(more or {}) do how[name] = value end
    return exchange.run({ url = "http://x" }, how)
  end

  it("asks again where trouble may pass, three times in all", function()
    answers = { "no route", { 503 }, { 200 } }
    assert.equal(200, assert(run()).status)
    assert.equal(3, #asked)
    for _, status in ipairs({ 408, 429, 500, 503 }) do
      asked, answers = {}, { { status } }
      assert.equal(status, assert(run()).status)
      assert.equal(3, #asked)
    end
    for _, status in ipairs({ 400, 401, 403, 404, 501 }) do
      asked, answers = {}, { { status } }
      assert.equal(status, assert(run()).status)
      assert.equal(1, #asked)
    end
  end)

  it("waits as long as it is told, when that is in time", function()
    answers = { { 503, "1" }, { 200 } }
    assert(run())
    assert.same({ 1 }, slept)
    asked, answers = {}, { { 503, "60" } }
    assert.equal(503, assert(run()).status)
    assert.equal(1, #asked)
  end)

  it("keeps to its deadline", function()
    answers = { "no answer" }
    local answer, message, code = run(1)
    assert.is_nil(answer)
    assert.equal("it: no answer", message)
    assert.equal("hsm_gone", code)
    assert.is_true(asked[1] <= 1)
    asked = {}
    run(10, { attempt = 3 })
    assert.equal(3, asked[1])
  end)

  it("lets the caller say what may pass", function()
    answers = { { 503 } }
    run(5, { passing = function() return false end })
    assert.equal(1, #asked)
  end)

  it("says what a bad answer means", function()
    local function of(status, wait)
      return table.pack(exchange.refused({ name = "it" }, {
        status = status, headers = { ["retry-after"] = wait } }, "words"))
    end
    assert.same({ "it: status 429, words", "hsm_busy", 7, n = 3 },
                of(429, "7"))
    assert.equal("hsm_gone", of(502)[2])
    assert.equal("sign_failed", of(403)[2])
    assert.same({}, exchange.object({ body = "no JSON" }))
    assert.same({ a = 1 }, exchange.object({ body = '{"a":1}' }))
  end)
end)
