local reply = require("fulcio.ctlog.reply")

describe("a reply of the log", function()
  it("says the status in words, then the reason", function()
    local answer = reply.refuse(400, "no chain")
    assert.equal("Bad Request\nno chain\n", answer.body)
    assert.equal("text/plain; charset=utf-8",
      answer.headers["content-type"])
    assert.is_nil(answer.headers["retry-after"])
  end)

  it("always has words for what the protocol layer refuses", function()
    for _, status in ipairs({ 400, 403, 408, 413, 431, 500, 501, 503 }) do
      local title = reply.refuse(status).body:match("^(.-)\n")
      assert.matches("^%u%l+", title)
    end
    assert.equal("418\n418\n", reply.refuse(418).body)
  end)

  it("asks to come back after trouble of the log's own", function()
    local answer = reply.unavailable()
    assert.equal(503, answer.status)
    assert.equal("1", answer.headers["retry-after"])
  end)

  it("writes lists of bytes, and empty ones as lists", function()
    assert.equal("[]", reply.list({}))
    assert.equal('["YQ==","Yg=="]', reply.list({ "a", "b" }))
  end)
end)
