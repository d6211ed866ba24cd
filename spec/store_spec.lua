local engine = require("fulcio.engine")

local store = engine.store

-- Runs a Lua text in a process of its own, with the same modules.
local function child(limit, text, ...)
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(("package.cpath = %q\n"):format(package.cpath), text)
  file:close()
  local command = { limit, "exec lua5.4", script, ... }
  local pipe = assert(io.popen(table.concat(command, " ") .. " 2>&1"))
  return pipe, function()
    local rest = pipe:read("a")
    pipe:close()
    os.remove(script)
    return rest
  end
end

describe("store", function()
  local path, db

  before_each(function()
    path = os.tmpname()
    os.remove(path)
    db = assert(store.open(path))
  end)

  after_each(function()
    db:close()
    os.remove(path)
    os.remove(path .. "-wal")
  end)

  it("keeps what was committed, as bytes, numbers and nil", function()
    db:execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB, c)")
    local bytes = "\0\1\255 text"
    assert.equal(1, db:execute("INSERT INTO t VALUES (?, ?, ?)", 7, bytes, nil))
    assert.equal(1, db:execute("INSERT INTO t VALUES (?, ?, ?)", 8, "",
      -1.0))
    assert.equal(1, db:execute("INSERT INTO t VALUES (?, ?, ?)",
      math.maxinteger, nil, nil))
    db:close()
    db = assert(store.open(path))
    local rows = db:query("SELECT a, b, c FROM t ORDER BY a")
    assert.same({ { 7, bytes }, { 8, "", -1 }, { math.maxinteger } }, rows)
    assert.equal("integer", math.type(rows[2][3]))
  end)

  it("runs several statements and refuses parameters they lack", function()
    assert.equal(0, db:execute("CREATE TABLE a (x); CREATE TABLE b (x);\n"))
    assert.same({}, db:query("SELECT x FROM b"))
    assert.error_matches(function()
      db:execute("INSERT INTO a VALUES (?)")
    end, "0 parameters given")
    assert.error_matches(function()
      db:execute("INSERT INTO a VALUES (1)", 1)
    end, "1 parameters given")
  end)

  it("throws on values it has no place for, and works on", function()
    db:execute("CREATE TABLE t (x)")
    for _, value in ipairs({ 1.5, true, {}, print }) do
      assert.has_error(function()
        db:execute("INSERT INTO t VALUES (?)", value)
      end)
    end
    assert.equal(1, db:execute("INSERT INTO t VALUES (?)", 1))
    assert.same({ { 1 } }, db:query("SELECT x FROM t"))
  end)

  it("says why SQL fails", function()
    local done, message, code = db:execute("INSERT INTO nowhere VALUES (1)")
    assert.is_nil(done)
    assert.matches("no such table: nowhere", message, 1, true)
    assert.matches(path, message, 1, true)
    assert.equal("failed", code)
    db:execute("CREATE TABLE t (x UNIQUE)")
    db:execute("INSERT INTO t VALUES (?)", "a")
    assert.equal("constraint",
      select(3, db:execute("INSERT INTO t VALUES (?)", "a")))
    assert.equal(1, db:execute("INSERT INTO t VALUES (?)", "b"))
  end)

  it("rolls back what was not committed", function()
    db:execute("CREATE TABLE t (x)")
    db:execute("BEGIN IMMEDIATE")
    db:execute("INSERT INTO t VALUES (1)")
    db:execute("ROLLBACK")
    assert.same({}, db:query("SELECT x FROM t"))
  end)

  it("prepares more different statements than it keeps", function()
    for i = 1, 200 do
      assert.same({ { i } }, db:query(("SELECT %d"):format(i)))
    end
    assert.same({ { 3 } }, db:query("SELECT 3"))
  end)

  it("is written through to the disk at every commit", function()
    assert.same({ { "wal" } }, db:query("PRAGMA journal_mode"))
    assert.same({ { 2 } }, db:query("PRAGMA synchronous"))
  end)

  it("makes a file that only its owner reads", function()
    local pipe = assert(io.popen("stat -c %a " .. path))
    assert.equal("600", pipe:read("l"))
    pipe:close()
  end)

  it("tells a full disk, and recovers", function()
    db:execute("CREATE TABLE t (x)")
    local pages = db:query("PRAGMA page_count")[1][1]
    db:query(("PRAGMA max_page_count = %d"):format(pages))
    local insert = "INSERT INTO t VALUES (?)"
    local done, message, code = db:execute(insert, ("x"):rep(100000))
    assert.is_nil(done)
    assert.equal("disk_full", code)
    assert.matches("no space left", message)
    db:query("PRAGMA max_page_count = 100000")
    assert.equal(1, db:execute(insert, ("x"):rep(100000)))
  end)

  it("tells a file size limit as a full disk", function()
    db:close()
    local _, finish = child("trap '' XFSZ; ulimit -f 40;", [[
      local db = require("fulcio.engine").store.open(arg[1])
      db:execute("CREATE TABLE IF NOT EXISTS t (x)")
      print(select(3, db:execute("INSERT INTO t VALUES (?)",
        ("x"):rep(100000))))
    ]], path)
    assert.equal("disk_full\n", finish())
    db = assert(store.open(path))
    assert.same({}, db:query("SELECT x FROM t"))
  end)

  it("is held by one process", function()
    local _, finish = child("", [[
      print(select(2, require("fulcio.engine").store.open(arg[1])))
    ]], path)
    assert.equal(path .. ": another process holds it\tlocked\n", finish())
    local second, _, code = store.open(path)
    assert.is_nil(second)
    assert.equal("locked", code)
    assert.equal(0, db:execute("CREATE TABLE t (x)"))
  end)

  it("waits for a process that is ending", function()
    local pipe, finish = child("", [[
      io.stdout:write("trying\n"):flush()
      print(require("fulcio.engine").store.open(arg[1]))
    ]], path)
    assert.equal("trying", pipe:read("l"))
    db:close()
    assert.matches("^fulcio.store: ", finish())
    db = assert(store.open(path))
  end)

  it("keeps every commit of a process that is killed", function()
    db:close()
    local pipe, finish = child("", [[
      local db = require("fulcio.engine").store.open(arg[1])
      db:execute("CREATE TABLE t (x)")
      io.stdout:write(io.open("/proc/self/stat"):read("n"), "\n")
      for i = 1, math.huge do
        db:execute("INSERT INTO t VALUES (?)", i)
        io.stdout:write(i, "\n"):flush()
      end
    ]], path)
    local pid = pipe:read("n")
    for _ = 1, 20 do pipe:read("n") end
    os.execute("kill -9 " .. pid)
    local told = 20
    for number in finish():gmatch("(%d+)\n") do told = tonumber(number) end
    db = assert(store.open(path))
    local kept = db:query("SELECT max(x), count(*) FROM t")[1]
    assert.is_true(kept[1] >= told)
    assert.equal(kept[1], kept[2])
  end)

  it("refuses a file that is not sound", function()
    db:execute("CREATE TABLE t (x)")
    db:execute("INSERT INTO t VALUES (?)", ("x"):rep(50000))
    db:close()
    local file = assert(io.open(path, "r+"))
    file:write("this was a database once")
    file:close()
    local broken, message, code = store.open(path)
    assert.is_nil(broken)
    assert.equal("corrupt", code)
    assert.equal(path .. ": not a sound SQLite file", message)
  end)

  it("refuses a file in a directory that is not there", function()
    local none, message, code = store.open("/nonexistent/log.db")
    assert.is_nil(none)
    assert.equal("no_file", code)
    assert.matches("^/nonexistent/log.db: cannot be opened", message)
  end)

  it("throws when it is used after it was closed", function()
    db:close()
    db:close()
    assert.error_matches(function() db:query("SELECT 1") end, "is closed")
  end)

  it("is closed when nobody holds it any more", function()
    db:execute("CREATE TABLE t (x)")
    db = nil
    collectgarbage()
    collectgarbage()
    db = assert(store.open(path))
    assert.same({}, db:query("SELECT x FROM t"))
  end)
end)
