local oids = require("fulcio.oids")

describe("oids", function()
  it("has Fulcio's extensions in the order of a certificate", function()
    local numbers = {}
    for i, entry in ipairs(oids.list) do
      numbers[i] = entry.number
      assert.equal("1.3.6.1.4.1.57264.1." .. entry.number, entry.oid)
      assert.equal(entry.number <= 6 or nil, entry.raw)
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
                  18, 19, 20, 21, 22, 23, 24 }, numbers)
    assert.equal(20, #oids.names)
  end)

  it("leaves other arcs to the operator", function()
    for _, oid in ipairs({ "1.3.6.1.4.1.32473.1", "2.999.1", "1.2.3",
                           "2.5.290", "2.5.30", "1.3.6.1.4.1.572640",
                           "1.3.6.1.5.5.70" }) do
      assert.equal(oid, assert(oids.own(oid)).oid)
    end
  end)

  it("refuses what belongs to somebody else", function()
    for _, oid in ipairs({ "2.5.29", "2.5.29.17", "1.3.6.1.5.5.7.1.1",
                           "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.57264",
                           "1.3.6.1.4.1.57264.1.9",
                           "1.3.6.1.4.1.57264.3" }) do
      local none, message = oids.own(oid)
      assert.is_nil(none)
      assert.truthy(message:find("is reserved", 1, true), oid)
    end
  end)

  it("refuses what is no object identifier", function()
    for _, oid in ipairs({ "1", "3.1", "1.40", "0.40.1", "1.", "1..2",
                           "1.2.", "1.02", "1.2.a", "2.5.029.17",
                           "1.2.1234567890123456" }) do
      local none, message = oids.own(oid)
      assert.is_nil(none)
      assert.truthy(message:find("is not an object identifier", 1, true), oid)
    end
  end)

  it("orders by number, not by letter", function()
    assert.is_true(oids.before("1.2.9", "1.2.10"))
    assert.is_false(oids.before("1.2.10", "1.2.9"))
    assert.is_true(oids.before("1.2", "1.2.0"))
    assert.is_false(oids.before("1.2.0", "1.2"))
    assert.is_false(oids.before("1.2", "1.2"))
  end)
end)
