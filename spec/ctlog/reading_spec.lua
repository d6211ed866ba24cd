local engine = require("fulcio.engine")
local transparency = require("spec.transparency")

local base64, unbase64 = engine.bytes.base64, engine.bytes.unbase64
local sha256 = engine.bytes.sha256
local merkle, sct = engine.merkle, engine.sct

-- The tree's definition (RFC 6962 section 2.1), in Lua and slowly.
local function split(size)
  local k = 1
  while k * 2 < size do k = k * 2 end
  return k
end

local function root_of(hashes, from, size)
  if size == 0 then return sha256("") end
  if size == 1 then return hashes[from + 1] end
  local k = split(size)
  return sha256("\1" .. root_of(hashes, from, k)
    .. root_of(hashes, from + k, size - k))
end

-- Verifies a consistency proof (RFC 9162 section 2.1.4.2).
local function consistent(first, second, first_root, second_root, proof)
  if first == second then return #proof == 0 and first_root == second_root end
  local path = { table.unpack(proof) }
  local fn, sn = first - 1, second - 1
  while fn % 2 == 1 do fn, sn = fn // 2, sn // 2 end
  if fn == 0 and first & (first - 1) == 0 then
    table.insert(path, 1, first_root)
  end
  local fr, sr = path[1], path[1]
  for i = 2, #path do
    if sn == 0 then return false end
    if fn % 2 == 1 or fn == sn then
      fr = sha256("\1" .. path[i] .. fr)
      sr = sha256("\1" .. path[i] .. sr)
      while fn % 2 == 0 and fn ~= 0 do fn, sn = fn // 2, sn // 2 end
    else
      sr = sha256("\1" .. sr .. path[i])
    end
    fn, sn = fn // 2, sn // 2
  end
  return fr == first_root and sr == second_root and sn == 0
end

local SIZE = 3000

describe("reading the log", function()
  local log, hashes

  setup(function()
    log = transparency.open()
    hashes = {}
    for first = 0, SIZE - 1, 500 do
      assert(log.context.ledger:append(log:invent(first, 500), first + 1))
    end
    for i = 1, SIZE do hashes[i] = merkle.leaf_hash("leaf " .. i - 1) end
    assert(log:reopen())
  end)

  teardown(function() log:remove() end)

  local function decoded(texts)
    local proof = {}
    for i, text in ipairs(texts) do proof[i] = unbase64(text) end
    return proof
  end

  local function refused(status, name, query, pattern)
    local _, answer = log:get(name, query)
    assert.equal(status, answer.status, name .. "?" .. (query or ""))
    assert.matches(pattern or "", answer.body)
  end

  it("gives a signed head of the whole tree", function()
    local head = log:get("get-sth")
    assert.equal(SIZE, head.tree_size)
    local root = unbase64(head.sha256_root_hash)
    assert.equal(root_of(hashes, 0, SIZE), root)
    assert.is_true(sct.verify(
      sct.tree_head(math.tointeger(head.timestamp), SIZE, root),
      unbase64(head.tree_head_signature), log.context.key))
  end)

  it("proves every size consistent with later ones", function()
    for first = 1, SIZE, 97 do
      for _, second in ipairs({ first, first + 1, first * 2, SIZE }) do
        if second <= SIZE then
          local answer = log:get("get-sth-consistency",
            ("first=%d&second=%d"):format(first, second))
          assert.is_true(consistent(first, second,
            root_of(hashes, 0, first), root_of(hashes, 0, second),
            decoded(answer.consistency)), first .. " to " .. second)
        end
      end
    end
    local _, answer = log:get("get-sth-consistency", "first=0&second=9")
    assert.equal('{"consistency":[]}', answer.body)
  end)

  it("refuses consistency proofs that make no sense", function()
    for _, query in ipairs({ "", "first=1", "second=1", "first=2&second=1",
      "first=-1&second=1", "first=a&second=1", "first=1&second=3001",
      "first=1e2&second=200", "first=1&second=99999999999999999999" }) do
      refused(400, "get-sth-consistency", query)
    end
  end)

  it("proves that entries are included, found by their hash", function()
    for number = 0, SIZE - 1, 61 do
      for _, size in ipairs({ number + 1, number + 2, SIZE }) do
        if size <= SIZE then
          local hash = base64(hashes[number + 1]):gsub("[+/=]", {
            ["+"] = "%2B", ["/"] = "%2f", ["="] = "%3D" })
          local answer = log:get("get-proof-by-hash",
            ("hash=%s&tree_size=%d"):format(hash, size))
          assert.equal(number, answer.leaf_index)
          assert.is_true(merkle.verify_inclusion(hashes[number + 1], number,
            size, decoded(answer.audit_path), root_of(hashes, 0, size)))
        end
      end
    end
    local _, answer = log:get("get-proof-by-hash",
      "tree_size=1&hash=" .. base64(hashes[1]))
    assert.equal('{"leaf_index":0,"audit_path":[]}', answer.body)
  end)

  it("has no proof for what is not there", function()
    local hash = base64(hashes[10])
    refused(404, "get-proof-by-hash", "tree_size=9&hash=" .. hash)
    refused(404, "get-proof-by-hash", "tree_size=3001&hash=" .. hash)
    refused(404, "get-proof-by-hash",
      "tree_size=9&hash=" .. base64(sha256("other")))
    refused(400, "get-proof-by-hash", "tree_size=0&hash=" .. hash)
    refused(400, "get-proof-by-hash", "hash=" .. hash)
    refused(400, "get-proof-by-hash", "tree_size=9")
    refused(400, "get-proof-by-hash", "tree_size=9&hash=AAAA")
    refused(400, "get-proof-by-hash", "tree_size=9&hash=!")
  end)

  local function numbers(query)
    local answer = assert(log:get("get-entries", query))
    local found = {}
    for i, entry in ipairs(answer.entries) do
      found[i] = tonumber(unbase64(entry.leaf_input):match("^leaf (%d+)$"))
    end
    return found
  end

  it("gives entries from start to end, both included", function()
    assert.same({ 0 }, numbers("start=0&end=0"))
    assert.same({ 7, 8, 9 }, numbers("start=7&end=9"))
    assert.same({ SIZE - 2, SIZE - 1 }, numbers("start=2998&end=5000"))
    local entry = log:get("get-entries", "start=9&end=9").entries[1]
    assert.equal(sct.extra_data(log.ca:ders(), "9"),
      unbase64(entry.extra_data))
  end)

  it("gives at most 256 at a time, and ends where the next begins",
    function()
      local found = numbers("start=0&end=2999")
      assert.same({ 256, 0, 255 }, { #found, found[1], found[256] })
      found = numbers("start=200&end=2999")
      assert.same({ 56, 200, 255 }, { #found, found[1], found[56] })
      found = numbers("start=256&end=511")
      assert.same({ 256, 256, 511 }, { #found, found[1], found[256] })
      found = numbers("start=200&end=454")
      assert.equal(255, #found)
      local all, start = 0, 0
      while start < SIZE do
        found = numbers(("start=%d&end=%d"):format(start, SIZE - 1))
        assert.equal(start, found[1])
        all, start = all + #found, found[#found] + 1
      end
      assert.equal(SIZE, all)
    end)

  it("says how long entries may be kept", function()
    local _, answer = log:get("get-entries", "start=0&end=5")
    assert.equal("public, max-age=86400", answer.headers["cache-control"])
    _, answer = log:get("get-entries", "start=2998&end=5000")
    assert.equal("public, max-age=60", answer.headers["cache-control"])
  end)

  it("refuses ranges that make no sense", function()
    for _, query in ipairs({ "", "start=1", "end=1", "start=2&end=1",
                             "start=-1&end=1", "start=a&end=1",
                             "start=1.5&end=2", "start=0x1&end=2" }) do
      refused(400, "get-entries", query)
    end
    refused(400, "get-entries", "start=3000&end=3001", "need tree size")
  end)

  it("gives an entry together with its proof", function()
    local answer = log:get("get-entry-and-proof",
      "leaf_index=1234&tree_size=2345")
    assert.equal("leaf 1234", unbase64(answer.leaf_input))
    assert.equal(sct.extra_data(log.ca:ders(), "1234"),
      unbase64(answer.extra_data))
    assert.is_true(merkle.verify_inclusion(hashes[1235], 1234, 2345,
      decoded(answer.audit_path), root_of(hashes, 0, 2345)))
    assert.matches('"audit_path":%[%]',
      select(2, log:get("get-entry-and-proof",
        "leaf_index=0&tree_size=1")).body)
    refused(400, "get-entry-and-proof", "leaf_index=1&tree_size=1")
    refused(400, "get-entry-and-proof", "leaf_index=1&tree_size=3001")
    refused(400, "get-entry-and-proof", "leaf_index=1")
  end)

  it("gives its roots", function()
    assert.same({ base64(log.ca.root.der) },
      log:get("get-roots").certificates)
  end)

  it("tells damage by entry, and answers 503", function()
    local db = log.context.ledger.db
    db:execute("UPDATE entry SET leaf = ? WHERE number = 5", "leaf 6")
    refused(503, "get-entries", "start=5&end=5")
    refused(503, "get-entry-and-proof", "leaf_index=5&tree_size=9")
    assert.matches("entry 5 is damaged", table.concat(log.said))
    db:execute("UPDATE entry SET leaf = ? WHERE number = 5", "leaf 5")
    assert.same({ 5 }, numbers("start=5&end=5"))
  end)

  it("is open to every web page", function()
    for _, name in ipairs({ "get-sth", "get-roots", "get-entries" }) do
      local _, answer = log:get(name)
      assert.equal("*", answer.headers["access-control-allow-origin"])
    end
    assert.equal("application/json",
      select(2, log:get("get-sth")).headers["content-type"])
  end)
end)
