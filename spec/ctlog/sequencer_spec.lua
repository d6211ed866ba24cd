local engine = require("fulcio.engine")
local metrics = require("fulcio.metrics")
local transparency = require("spec.transparency")

describe("the log's sequencer", function()
  local log

  before_each(function() log = transparency.open() end)

  after_each(function() log:remove() end)

  -- Has the ledger's store pass through a function first: it may return
  -- nil, message, code to fail, or nothing to go on.
  local function intercept(look)
    local ledger = log.context.ledger
    local db = ledger.db
    ledger.db = setmetatable({}, { __index = function(_, name)
      return function(_, ...)
        local failed = table.pack(look(...))
        if failed.n > 0 then return table.unpack(failed, 1, failed.n) end
        return db[name](db, ...)
      end
    end })
  end

  it("commits many entries together", function()
    local commits = 0
    intercept(function(sql)
      if sql == "COMMIT" then commits = commits + 1 end
    end)
    log:fill(100)
    assert.equal(100, log:get("get-sth").tree_size)
    assert.is_true(commits <= 3, commits .. " commits")
  end)

  it("counts entries and commits", function()
    local function total(name)
      return tonumber(metrics.text():match("\n" .. name .. " (%d+)")) or 0
    end
    local entries = "fulcio_ctlog_entries_total"
    local good = 'fulcio_ctlog_commits_total{result="ok"}'
    local bad = 'fulcio_ctlog_commits_total{result="failed"}'
    local before = { total(entries), total(good), total(bad) }
    log:fill(3)
    intercept(function(sql)
      if sql == "COMMIT" then return nil, "broken", "failed" end
    end)
    log:on_loop(function() log:add(log.ca:precertificate()) end)
    assert.equal(before[1] + 3, total(entries))
    assert.is_true(total(good) > before[2])
    assert.equal(before[3] + 1, total(bad))
  end)

  it("answers a duplicate with the first SCT, byte for byte", function()
    local ders, answers = log:fill(3)
    log:on_loop(function() assert.same(answers[2], (log:add(ders[2]))) end)
    log:reopen()
    log:on_loop(function()
      assert.same(answers[3], (log:add(ders[3])))
      assert.same(answers[1], (log:add(ders[1])))
    end)
    assert.equal(3, log:get("get-sth").tree_size)
  end)

  it("logs once what is sent many times at once", function()
    local der, answers = log.ca:precertificate(), {}
    log:on_loop(function()
      log.together(20, function(i) answers[i] = assert(log:add(der)) end)
    end)
    for i = 2, 20 do assert.same(answers[1], answers[i]) end
    assert.equal(1, log:get("get-sth").tree_size)
  end)

  it("takes precertificate and certificate as two entries", function()
    local draft = log.ca:draft()
    local sign, key = engine.draft.sign, log.ca.key
    log:on_loop(function()
      assert(log:add(sign(draft:poisoned(), key)))
      assert(log:add_final(sign(draft:plain(), key)))
    end)
    assert.equal(2, log:get("get-sth").tree_size)
  end)

  it("never lets time go back", function()
    log:fill(1)
    local ahead = engine.system.now_ms() + 3600000
    assert(log.context.ledger:append({}, ahead))
    local _, answers = log:fill(2)
    assert.equal(ahead, answers[2].timestamp)
    assert.equal(ahead, log:get("get-sth").timestamp)
    assert.matches("the clock is behind", table.concat(log.said))
    log:reopen()
    assert.equal(ahead, log:get("get-sth").timestamp)
  end)

  it("gives nothing when the commit fails, and works on", function()
    local _, before = log:fill(2)
    for _, broken in ipairs({ "COMMIT", "BEGIN IMMEDIATE",
                              "INSERT INTO entry", "INSERT INTO hash",
                              "UPDATE log" }) do
      local head = log:get("get-sth")
      intercept(function(sql)
        if sql and sql:find(broken, 1, true) then
          return nil, "no space left", "disk_full"
        end
      end)
      local ders, refused = {}, 0
      for i = 1, 5 do ders[i] = log.ca:precertificate() end
      log:on_loop(function()
        log.together(5, function(i)
          local answer = select(2, log:add(ders[i]))
          assert.equal(503, answer.status)
          assert.equal("1", answer.headers["retry-after"])
          assert.matches("^Service Unavailable\n", answer.body)
          refused = refused + 1
        end)
      end)
      assert.equal(5, refused)
      assert.same(head, (log:get("get-sth")))
      log.context.sequencer.next_commit = 0
      log:on_loop(function() assert(log:add(ders[1])) end)
      assert.equal(head.tree_size + 1, log:get("get-sth").tree_size)
    end
    assert.matches("entries were not committed", table.concat(log.said))
    assert.equal(before[2].timestamp > 0, true)
    log:reopen()
    assert.equal(7, log:get("get-sth").tree_size)
  end)

  it("recovers by itself when the disk has room again", function()
    log:fill(1)
    local db = log.context.ledger.db
    local pages = db:query("PRAGMA page_count")[1][1]
    db:query(("PRAGMA max_page_count = %d"):format(pages))
    local full, status = 0, nil
    log:on_loop(function()
      log.together(200, function()
        local answer = select(2, log:add(log.ca:precertificate()))
        if answer.status == 503 then full = full + 1 end
      end)
    end)
    assert.is_true(full > 0)
    -- Opened again, the file has its usual limit.
    log.context.sequencer.next_commit = 0
    log:on_loop(function()
      status = select(2, log:add(log.ca:precertificate())).status
    end)
    assert.equal(200, status)
    assert.equal(log:get("get-sth").tree_size,
      log.context.ledger.db:query("SELECT count(*) FROM entry")[1][1])
  end)

  it("lets the disk rest after it failed", function()
    intercept(function(sql)
      if sql == "COMMIT" then return nil, "broken", "failed" end
    end)
    log:on_loop(function()
      local ders = { log.ca:precertificate(), log.ca:precertificate() }
      assert.equal(503, select(2, log:add(ders[1])).status)
      assert.equal(503, select(2, log:add(ders[2])).status)
      log.context.sequencer.next_commit = 0
      assert.equal(200, select(2, log:add(ders[2])).status)
    end)
    assert.equal(1, log:get("get-sth").tree_size)
  end)

  it("refuses while its file cannot be opened", function()
    log:fill(1)
    local context = log.context
    local file = context.ledger.file
    context.ledger:close()
    context.ledger.file = log.directory .. "/none/ctlog.db"
    log:on_loop(function()
      for _ = 1, 2 do
        local answer = select(2, log:add(log.ca:precertificate()))
        assert.equal(503, answer.status)
      end
    end)
    assert.equal(503, select(2, log:get("get-sth")).status)
    assert.equal(503, select(2, log:ask("GET", "/healthz")).status)
    for name, query in pairs({
      ["get-entries"] = "start=0&end=0", ["get-roots"] = "",
      ["get-sth-consistency"] = "first=0&second=1",
      ["get-entry-and-proof"] = "leaf_index=0&tree_size=1",
      ["get-proof-by-hash"] = "tree_size=1&hash=AAAA" }) do
      assert.equal(503, select(2, log:get(name, query)).status)
    end
    context.ledger.file = file
    context.sequencer.next_open = 0
    assert.equal(1, log:get("get-sth").tree_size)
  end)

  it("signs a head anew when the last one is old", function()
    log:fill(1)
    local ledger = log.context.ledger
    local first = log:get("get-sth")
    assert.same(first, (log:get("get-sth")))
    engine.server.sleep(0.002)
    ledger.timestamp = ledger.timestamp - 61000
    local second = log:get("get-sth")
    assert.is_true(second.timestamp >= first.timestamp)
    assert.not_equal(first.tree_head_signature, second.tree_head_signature)
    log:reopen()
    assert.equal(second.timestamp, log:get("get-sth").timestamp)
  end)

  it("has only so many wait", function()
    local sequencer, overloaded = log.context.sequencer, 0
    log:on_loop(function()
      sequencer.waiting = setmetatable({ signal = sequencer.waiting.signal,
        by_identity = {} }, { __len = function() return 4096 end })
      local answer = select(2, log:add(log.ca:precertificate()))
      if answer.status == 503 then overloaded = overloaded + 1 end
      sequencer.waiting = { signal = sequencer.waiting.signal,
                            by_identity = {} }
    end)
    assert.equal(1, overloaded)
  end)
end)
