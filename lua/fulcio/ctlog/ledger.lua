--- What a log keeps: its entries on disk; its Merkle tree, and who has
--- which hash, in memory. So a commit only adds at the end of the file.
---
--- An entry counts once its transaction is committed. When a write fails,
--- memory is thrown away and read again: the file alone says what is so.

local engine = require("fulcio.engine")

local VERSION = 2
local CHUNK = 8192

local HASHES = [[
  CREATE TABLE hash (
    number INTEGER PRIMARY KEY, leaf BLOB NOT NULL, identity BLOB NOT NULL);
]]

local SCHEMA = HASHES .. [[
  CREATE TABLE log (
    version INTEGER NOT NULL, log_id BLOB NOT NULL,
    size INTEGER NOT NULL, timestamp INTEGER NOT NULL, root BLOB NOT NULL);
  CREATE TABLE entry (
    number INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,
    signature BLOB NOT NULL, chain INTEGER NOT NULL, leaf BLOB NOT NULL,
    precertificate BLOB);
  CREATE TABLE certificate (
    hash BLOB PRIMARY KEY, der BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE chain (id INTEGER PRIMARY KEY, hashes BLOB NOT NULL UNIQUE);
  CREATE TABLE root (hash BLOB PRIMARY KEY) WITHOUT ROWID;
]]

-- What a file of the first format lacks; it had an index for each hash.
local UPGRADE = HASHES .. [[
  INSERT INTO hash SELECT leaf.number, leaf.hash, identity.hash
    FROM leaf JOIN identity USING (number) ORDER BY leaf.number;
  DROP TABLE leaf;
  DROP TABLE identity;
  UPDATE log SET version = 2;
]]

local Ledger = {}
Ledger.__index = Ledger

-- A step's failure is thrown; `attempt` makes it nil, message, code.
local function must(value, message, code)
  if value == nil then error({ message = message, code = code }, 0) end
  return value
end

local function attempt(run, ...)
  local ok, result = pcall(run, ...)
  if ok then return result end
  if type(result) ~= "table" then return nil, tostring(result), "failed" end
  return nil, result.message, result.code
end

local function corrupt(self, what)
  must(nil, ("%s: %s; restore it from a copy"):format(self.file, what),
    "corrupt")
end

local function transaction(self, run, ...)
  local db = must(self.db, self.file .. ": not open", "failed")
  must(db:execute("BEGIN IMMEDIATE"))
  local ok, message, code = attempt(run, ...)
  if ok ~= nil then ok, message, code = db:execute("COMMIT") end
  if ok == nil then db:execute("ROLLBACK") end
  return must(ok, message, code)
end

local function create(self)
  must(self.db:execute(SCHEMA))
  must(self.db:execute("INSERT INTO log VALUES (?, ?, 0, 0, ?)", VERSION,
    self.log_id, engine.merkle.tree():root()))
  return true
end

-- Hashes of entries that follow each other, joined.
local function remember(self, leaves, identities)
  self.leaves:add(leaves, self.tree.size)
  self.identities:add(identities, self.tree.size)
  self.tree:append(leaves)
end

local function load_hashes(self)
  self.tree = engine.merkle.tree()
  self.leaves, self.identities = engine.finder.new(), engine.finder.new()
  while true do
    local rows = must(self.db:query([[
      SELECT leaf, identity FROM hash
      WHERE number >= ? ORDER BY number LIMIT ?]], self.tree.size, CHUNK))
    if #rows == 0 then return end
    local leaves, identities = {}, {}
    for i = 1, #rows do
      leaves[i], identities[i] = rows[i][1], rows[i][2]
    end
    remember(self, table.concat(leaves), table.concat(identities))
  end
end

local function upgrade(self, size)
  must(self.db:execute(UPGRADE))
  local count = must(self.db:query("SELECT count(*) FROM hash"))[1][1]
  if count ~= size then corrupt(self, "entries are missing") end
  return true
end

local function load(self)
  local row = must(self.db:query(
    "SELECT version, log_id, size, timestamp, root FROM log"))[1]
  local version, log_id, size, timestamp, root = table.unpack(row or {})
  if version == 1 then
    transaction(self, upgrade, self, size)
  elseif version ~= VERSION then
    must(nil, ("%s: format %s, but this program writes format %d")
      :format(self.file, tostring(version), VERSION), "version")
  end
  if log_id ~= self.log_id then
    must(nil, self.file .. ": belongs to another key; bring that key back",
      "wrong_key")
  end
  load_hashes(self)
  local last = must(self.db:query("SELECT max(number) FROM entry"))[1][1]
  if self.tree.size ~= size or (last or -1) ~= size - 1 then
    corrupt(self, "entries are missing")
  elseif self.tree:root() ~= root then
    corrupt(self, "entries and tree head do not agree")
  end
  self.timestamp = timestamp
end

local function open(self)
  self.db = must(engine.store.open(self.file))
  self.chain_ids = setmetatable({}, { __mode = "k" })
  self.chains, self.chain_count = {}, 0   -- lookup.lua's
  local tables = must(self.db:query("SELECT name FROM sqlite_schema"))
  if #tables == 0 then transaction(self, create, self) end
  load(self)
  return self
end

--- Takes the file and reads it; also after a write that failed.
function Ledger:open()
  self:close()
  local opened, message, code = attempt(open, self)
  if not opened then self:close() end
  return opened, message, code
end

--- Lets go of the file.
function Ledger:close()
  if self.db then self.db:close() end
  self.db = nil
end

-- Keeps each certificate once.
local function keep_certificates(db, ders)
  local hashes = {}
  for i, der in ipairs(ders) do
    hashes[i] = engine.bytes.sha256(der)
    must(db:execute("INSERT OR IGNORE INTO certificate VALUES (?, ?)",
      hashes[i], der))
  end
  return hashes
end

-- The number under which a chain is kept.
local function chain_id(self, chain)
  local id = self.chain_ids[chain]
  if id then return id end
  local db = self.db
  local hashes = table.concat(keep_certificates(db, chain))
  must(db:execute("INSERT OR IGNORE INTO chain (hashes) VALUES (?)", hashes))
  id = must(db:query("SELECT id FROM chain WHERE hashes = ?", hashes))[1][1]
  self.chain_ids[chain] = id
  return id
end

local function insert(self, number, entry)
  local db = self.db
  must(db:execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", number,
    entry.timestamp, entry.signature, chain_id(self, entry.chain),
    entry.leaf, entry.precertificate))
  local hash = engine.merkle.leaf_hash(entry.leaf)
  must(db:execute("INSERT INTO hash VALUES (?, ?, ?)", number, hash,
    entry.identity))
  remember(self, hash, entry.identity)
end

local function append(self, entries, timestamp)
  for i = 1, #entries do insert(self, self.tree.size, entries[i]) end
  return must(self.db:execute(
    "UPDATE log SET size = ?, timestamp = ?, root = ?", self.tree.size,
    timestamp, self.tree:root()))
end

--- Commits entries, all or none, and a tree head of that time (in
--- milliseconds, not before the last): { identity, timestamp, signature,
--- leaf, precertificate?, chain = list of DER, one table a chain }. No
--- entries: only the time moves on. After nil the ledger is closed.
function Ledger:append(entries, timestamp)
  local ok, message, code = attempt(transaction, self, append, self, entries,
    timestamp)
  if ok == nil then
    self:close()
    return nil, message, code
  end
  self.timestamp = timestamp
  return true
end

local function keep_roots(self, ders)
  for _, hash in ipairs(keep_certificates(self.db, ders)) do
    must(self.db:execute("INSERT OR IGNORE INTO root VALUES (?)", hash))
  end
  return true
end

--- Adds certificates to those that were ever accepted as roots.
function Ledger:accept(ders)
  return attempt(transaction, self, keep_roots, self, ders)
end

--- Every root that was ever accepted, DER.
function Ledger:roots()
  local rows, message, code = self.db:query([[
    SELECT der FROM root JOIN certificate USING (hash) ORDER BY hash]])
  if not rows then return nil, message, code end
  for i = 1, #rows do rows[i] = rows[i][1] end
  return rows
end

local M = {}

--- Opens or makes the ledger in a file, for the log with that id.
function M.open(file, log_id)
  return setmetatable({ file = file, log_id = log_id }, Ledger):open()
end

return M
