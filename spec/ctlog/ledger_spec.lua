local engine = require("fulcio.engine")
local ledger = require("fulcio.ctlog.ledger")
local lookup = require("fulcio.ctlog.lookup")
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
    local function behind(sql)
      local db = log.context.ledger.db or assert(engine.store.open(file))
      assert(db:execute(sql))
      if not log.context.ledger.db then db:close() end
    end
    behind("INSERT INTO hash VALUES (22, 'in', 'the way')")
    local entries = log:invent(20, 3)
    local ok, message, code = log.context.ledger:append(entries, 21)
    assert.is_nil(ok)
    assert.equal("constraint", code)
    assert.matches("ctlog.db: ", message)
    assert.equal("failed", select(3, log.context.ledger:append({}, 22)))
    behind("DELETE FROM hash WHERE number = 22")
    assert(log.context.ledger:open())
    assert.same({}, { log.context.ledger.identities:find(
      entries[1].identity) })
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
      tampered("DELETE FROM hash WHERE number = 10"))
  end)

  it("does not open when entries and tree head do not agree", function()
    assert.equal(file .. ": entries and tree head do not agree; restore it "
      .. "from a copy",
      tampered("UPDATE hash SET leaf = zeroblob(32) WHERE number = 10"))
  end)

  it("does not open a file of another format", function()
    assert.equal(file .. ": format 3, but this program writes format 2",
      tampered("UPDATE log SET version = 3"))
    assert.matches("format nil", tampered("DELETE FROM log"))
  end)

  -- The first format had two tables in the place of one.
  local FIRST = [[
    CREATE TABLE leaf (
      number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);
    CREATE TABLE identity (
      hash BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO leaf SELECT number, leaf FROM hash;
    INSERT INTO identity SELECT identity, number FROM hash;
    DROP TABLE hash;
    UPDATE log SET version = 1;
  ]]

  it("brings a file of the first format up to date", function()
    local root = log.context.ledger.tree:root()
    assert.is_nil(tampered(FIRST))
    for _ = 1, 2 do
      local again = log.context.ledger
      assert.equal(root, again.tree:root())
      assert.same({ timestamp = 1, signature = "s" },
        lookup.sct(again, engine.bytes.sha256("19")))
      assert.same({ { 2 } }, again.db:query("SELECT version FROM log"))
      assert.same({ { 0 } }, again.db:query([[SELECT count(*)
        FROM sqlite_schema WHERE tbl_name IN ('leaf', 'identity')]]))
      log:reopen()
    end
    assert(log.context.ledger:append(log:invent(20, 3), 21))
  end)

  it("leaves a file of the first format alone that lacks something",
  function()
    local message = tampered(FIRST .. "DELETE FROM identity;")
    assert.equal(file .. ": entries are missing; restore it from a copy",
      message)
    local db = assert(engine.store.open(file))
    assert.same({ { 1 } }, db:query("SELECT version FROM log"))
    assert.same({ { 20 } }, db:query("SELECT count(*) FROM leaf"))
    db:close()
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
