local engine = require("fulcio.engine")
local inside = require("fulcio.ctlog.inside")
local transparency = require("spec.transparency")

describe("a dialog with the log", function()
  local log, ca

  before_each(function()
    log = transparency.open()
    ca = log.ca
  end)

  after_each(function() log:remove() end)

  -- What the log says to each question in turn.
  local function hear(...)
    local questions, answers = { ... }, {}
    log:on_loop(function()
      for i, question in ipairs(questions) do
        answers[i] = assert(inside.read_answer(log:hear(question)))
      end
    end)
    return table.unpack(answers)
  end

  local function chain(ders) return inside.chain(ders or ca:ders()) end

  it("logs what add-pre-chain would, with the same answer", function()
    local der, sct = ca:precertificate(), nil
    local answer = hear(inside.question("precert", chain(), der))
    assert.equal(200, answer.status)
    log:on_loop(function() sct = assert(log:add(der)) end)
    assert.equal(sct.timestamp, answer.timestamp_ms)
    assert.equal(sct.signature, engine.bytes.base64(answer.signature))
    assert.equal(1, log:get("get-sth").tree_size)
  end)

  it("logs whole certificates", function()
    local answer = hear(inside.question("x509", chain(), ca:certificate()))
    assert.equal(200, answer.status)
  end)

  it("needs a chain only once", function()
    local name = inside.name(chain())
    local first, second, third = hear(
      inside.question("precert", name, ca:precertificate()),
      inside.question("precert", chain(), ca:precertificate()),
      inside.question("precert", name, ca:precertificate()))
    assert.same({ 404, 200, 200 },
      { first.status, second.status, third.status })
    assert.equal("unknown chain", first.body)
  end)

  it("refuses what add-pre-chain would", function()
    local other = transparency.open()
    finally(function() other:remove() end)
    local stranger = other.ca
    for pattern, question in pairs({
      ["no accepted root"] = inside.question("precert",
        chain(stranger:ders()), stranger:precertificate()),
      ["did not sign the first"] = inside.question("precert", chain(),
        stranger:precertificate()),
      ["no poison"] = inside.question("precert", chain(), ca:certificate()),
      ["sent a precertificate"] = inside.question("x509", chain(),
        ca:precertificate()),
      ["certificate 1 of the chain cannot"] =
        inside.question("precert", chain(), "none"),
      ["certificate 2 of the chain cannot"] =
        inside.question("precert", chain({ "none" }), ca:precertificate()),
      ["the chain is too long"] = inside.question("precert",
        chain({ "", "", "", "", "", "", "", "", "", "", "" }),
        ca:precertificate()),
      ["malformed chain"] =
        inside.question("precert", "\0\0\0\9", ca:precertificate()),
    }) do
      local answer = hear(question)
      assert.equal(400, answer.status)
      assert.matches(pattern, answer.body)
    end
    local empty = hear(inside.question("precert", "", ca:precertificate()))
    assert.equal("malformed chain", empty.body)
    assert.equal(0, log.context.ledger.tree.size)
  end)

  it("refuses what is no question", function()
    local good = inside.question("precert", chain(), "der")
    assert.equal("malformed question", hear("").body)
    assert.equal("malformed question", hear(good .. "x").body)
    assert.equal("malformed question", hear("\3" .. good:sub(2)).body)
    for size = 1, #good - 1 do
      assert.is_nil((inside.read_question(good:sub(1, size))))
    end
  end)

  it("tells the worker to come back when the disk fails", function()
    log.context.ledger:close()
    log.context.ledger.open = function() return nil, "no space" end
    local answer = hear(inside.question("precert", chain(),
      ca:precertificate()))
    assert.equal(503, answer.status)
    assert.equal("the log cannot answer now, try again", answer.body)
  end)

  it("has answers that are whole, or none", function()
    local answer = inside.logged({ timestamp = 5, signature = "sig" })
    assert.same({ status = 200, timestamp_ms = 5, signature = "sig" },
      inside.read_answer(answer))
    assert.is_nil(inside.read_answer(answer .. "x"))
    for size = 0, #answer - 1 do
      assert.is_nil(inside.read_answer(answer:sub(1, size)))
    end
    assert.equal(1000, #inside.read_answer(
      inside.refusal(400, ("x"):rep(5000))).body)
  end)
end)
