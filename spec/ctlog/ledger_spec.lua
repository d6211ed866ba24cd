local engine = require("fulcio.engine")
local ledger = require("fulcio.ctlog.ledger")
local transparency = require("spec.transparency")

describe("the log's ledger", function()
  local log, file

  before_each(function()
    log = transparency.open()
    file = log.directory .. "/ctlog.db"
    assert(log.context.ledger:append(log:invent(0, 20), 20))
  end)

  after_each(function() log:remove() end)

  -- Changes the file behind the log's back and opens it again.
  local function tampered(sql)
    if log.context then log.context.ledger:close() end
    local db = assert(engine.store.open(file))
    assert(db:execute(sql))
    db:close()
    return select(2, log:reopen())
  end

  it("is the same after it was closed", function()
    local root = log.context.ledger.tree:root()
    log:reopen()
    local again = log.context.ledger
    assert.same({ 20, 20, root },
      { again.tree.size, again.timestamp, again.tree:root() })
  end)

  it("loads more entries than one query brings", function()
    assert(log.context.ledger:append(log:invent(20, 9000), 21))
    local root = log.context.ledger.tree:root()
    log:reopen()
    assert.equal(9020, log.context.ledger.tree.size)
    assert.equal(root, log.context.ledger.tree:root())
  end)

  it("keeps the certificates of chains once each", function()
    local below = log.ca:below("issuer")
    local entries = log:invent(20, 2)
    entries[1].chain = below:ders()
    entries[2].chain = below:ders()
    assert(log.context.ledger:append(entries, 21))
    local db = log.context.ledger.db
    assert.same({ { 2 } }, db:query("SELECT count(*) FROM certificate"))
    assert.same({ { 2 } }, db:query("SELECT count(*) FROM chain"))
  end)

  it("takes all entries or none", function()
    local head = log.context.ledger.tree:root()
    local entries = log:invent(20, 3)
    entries[3].identity = entries[1].identity
    local ok, message, code = log.context.ledger:append(entries, 21)
    assert.is_nil(ok)
    assert.equal("constraint", code)
    assert.matches("ctlog.db: ", message)
    assert.equal("failed", select(3, log.context.ledger:append({}, 22)))
    assert(log.context.ledger:open())
    assert.equal(20, log.context.ledger.tree.size)
    assert.equal(head, log.context.ledger.tree:root())
    assert(log.context.ledger:append(log:invent(20, 3), 21))
  end)

  it("does not open when entries are missing", function()
    assert.equal(file .. ": entries are missing; restore it from a copy",
      tampered("DELETE FROM entry WHERE number = 19"))
  end)

  it("does not open when a leaf is missing", function()
    assert.matches("entries and tree head do not agree",
      tampered("DELETE FROM leaf WHERE number = 10"))
  end)

  it("does not open when entries and tree head do not agree", function()
    assert.equal(file .. ": entries and tree head do not agree; restore it "
      .. "from a copy",
      tampered("UPDATE leaf SET hash = zeroblob(32) WHERE number = 10"))
  end)

  it("does not open a file of another format", function()
    assert.equal(file .. ": format 2, but this program writes format 1",
      tampered("UPDATE log SET version = 2"))
    assert.matches("format nil", tampered("DELETE FROM log"))
  end)

  it("does not open a database that is something else", function()
    assert.matches(file .. ": no such table: log",
      tampered("DROP TABLE log"), 1, true)
  end)

  it("does not open for another key", function()
    log.context.ledger:close()
    local other, message, code = ledger.open(file, ("x"):rep(32))
    assert.is_nil(other)
    assert.equal("wrong_key", code)
    assert.matches("belongs to another key", message)
  end)

  it("does not open a file that is damaged", function()
    log.context.ledger:close()
    local damaged = assert(io.open(file, "r+b"))
    damaged:write("once a database")
    damaged:close()
    local _, message, code = log:reopen()
    assert.equal("corrupt", code)
    assert.equal(file .. ": not a sound SQLite file", message)
  end)

  it("does not open a file that is cut off", function()
    log.context.ledger:close()
    local whole = assert(io.open(file, "rb"))
    local bytes = whole:read("a")
    whole:close()
    local cut = assert(io.open(file, "wb"))
    cut:write(bytes:sub(1, #bytes // 2))
    cut:close()
    local opened, message = log:reopen()
    assert.is_nil(opened)
    assert.matches("ctlog.db", message)
  end)

  it("is made whole or not at all", function()
    log.context.ledger:close()
    os.remove(file)
    local db = assert(engine.store.open(file))
    db:close()
    assert(log:reopen())
    assert.equal(0, log.context.ledger.tree.size)
  end)
end)
