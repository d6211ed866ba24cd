local engine = require("fulcio.engine")
local lookup = require("fulcio.ctlog.lookup")
local transparency = require("spec.transparency")

describe("looking up what the log keeps", function()
  local log, ledger

  before_each(function()
    log = transparency.open()
    ledger = log.context.ledger
    assert(ledger:append(log:invent(0, 20), 20))
  end)

  after_each(function() log:remove() end)

  it("finds the SCT of an identity", function()
    assert.same({ timestamp = 1, signature = "s" },
      lookup.sct(ledger, engine.bytes.sha256("7")))
    assert.is_false(lookup.sct(ledger, engine.bytes.sha256("none")))
  end)

  it("finds an entry's number by its leaf's hash", function()
    assert.equal(3, lookup.number(ledger,
      engine.merkle.leaf_hash("leaf 3")))
    assert.is_false(lookup.number(ledger, engine.bytes.sha256("none")))
  end)

  it("rebuilds the chain that an entry came with", function()
    local below = log.ca:below("issuer")
    local entries = log:invent(20, 2)
    entries[1].chain, entries[2].chain = below:ders(), below:ders()
    entries[2].precertificate = nil
    assert(ledger:append(entries, 21))
    local found = lookup.entries(ledger, 19, 21)
    assert.equal(engine.sct.extra_data(log.ca:ders(), "19"),
      found[1].extra_data)
    assert.equal(engine.sct.extra_data(below:ders(), "20"),
      found[2].extra_data)
    assert.equal(engine.sct.extra_data(below:ders()), found[3].extra_data)
    assert.equal("leaf 21", found[3].leaf_input)
  end)

  it("names what is damaged or missing", function()
    local function told(sql, pattern)
      ledger.chains = {}
      ledger.db:execute("BEGIN")
      ledger.db:execute(sql)
      local found, message, code = lookup.entries(ledger, 5, 6)
      ledger.db:execute("ROLLBACK")
      assert.is_nil(found)
      assert.equal("corrupt", code)
      assert.matches(pattern, message)
      assert.matches(ledger.file, message, 1, true)
    end
    told("UPDATE entry SET leaf = zeroblob(9) WHERE number = 6",
      "entry 6 is damaged")
    told("DELETE FROM entry WHERE number = 6", "entries are missing")
    told("DELETE FROM certificate", "a chain lacks a certificate")
    told("DELETE FROM chain", "a chain is missing")
    assert.equal(2, #lookup.entries(ledger, 5, 6))
  end)

  it("cannot tell while the ledger is closed", function()
    ledger:close()
    for _, ask in ipairs({ "sct", "number" }) do
      local found, message, code = lookup[ask](ledger, ("x"):rep(32))
      assert.is_nil(found)
      assert.matches("ctlog.db: not open", message)
      assert.equal("failed", code)
    end
    assert.is_nil((lookup.entries(ledger, 0, 1)))
  end)

  it("keeps only so many chains in memory", function()
    assert.is_table(lookup.entries(ledger, 0, 0))
    assert.equal(1, ledger.chain_count)
    ledger.chain_count = 1000
    local entries = log:invent(20, 1)
    entries[1].chain = log.ca:below("issuer"):ders()
    assert(ledger:append(entries, 21))
    assert.is_table(lookup.entries(ledger, 20, 20))
    assert.equal(1, ledger.chain_count)
    assert.is_nil(ledger.chains[1])
  end)
end)
