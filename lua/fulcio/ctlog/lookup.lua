--- Finds what a ledger keeps. nil, message, code: the ledger cannot tell.

local engine = require("fulcio.engine")

-- Chains of which the certificates are kept in memory.
local MAX_CHAINS = 1000

local function query(ledger, ...)
  if not ledger.db then
    return nil, ledger.file .. ": not open", "failed"
  end
  return ledger.db:query(...)
end

local M = {}

-- The row of the first of these entries that really has the hash; false:
-- none has.
local function first_row(ledger, sql, hash, ...)
  if not ledger.db then return query(ledger) end
  for i = 1, select("#", ...) do
    local rows, message, code = query(ledger, sql, (select(i, ...)), hash)
    if not rows then return nil, message, code end
    if rows[1] then return rows[1] end
  end
  return false
end

--- Timestamp and signature of the SCT that an identity got; false: none.
function M.sct(ledger, identity)
  local found, message, code = first_row(ledger, [[
    SELECT timestamp, signature FROM entry JOIN hash USING (number)
    WHERE number = ? AND identity = ?]], identity,
    ledger.identities:find(identity))
  if not found then return found, message, code end
  return { timestamp = found[1], signature = found[2] }
end

--- The number, from 0, of the entry with that leaf hash; false: none.
function M.number(ledger, leaf_hash)
  local found, message, code = first_row(ledger,
    "SELECT number FROM hash WHERE number = ? AND leaf = ?", leaf_hash,
    ledger.leaves:find(leaf_hash))
  return found and found[1], message, code
end

-- A chain's certificates, DER, from their hashes.
local function certificates(ledger, hashes)
  local ders = {}
  for i = 1, #hashes, 32 do
    local rows, message, code = query(ledger,
      "SELECT der FROM certificate WHERE hash = ?", hashes:sub(i, i + 31))
    if not rows then return nil, message, code end
    if not rows[1] then
      return nil, ledger.file .. ": a chain lacks a certificate", "corrupt"
    end
    ders[#ders + 1] = rows[1][1]
  end
  return ders
end

local function chain(ledger, id)
  local known = ledger.chains[id]
  if known then return known end
  local rows, message, code = query(ledger,
    "SELECT hashes FROM chain WHERE id = ?", id)
  if not rows then return nil, message, code end
  if not rows[1] then
    return nil, ledger.file .. ": a chain is missing", "corrupt"
  end
  local ders
  ders, message, code = certificates(ledger, rows[1][1])
  if not ders then return nil, message, code end
  if ledger.chain_count >= MAX_CHAINS then
    ledger.chains, ledger.chain_count = {}, 0
  end
  ledger.chains[id], ledger.chain_count = ders, ledger.chain_count + 1
  return ders
end

local function entry(ledger, row)
  local number, leaf, precertificate, hash = row[1], row[2], row[3], row[5]
  if engine.merkle.leaf_hash(leaf) ~= hash then
    return nil, ("%s: entry %d is damaged"):format(ledger.file, number),
      "corrupt"
  end
  local ders, message, code = chain(ledger, row[4])
  if not ders then return nil, message, code end
  return {
    leaf_input = leaf,
    extra_data = engine.sct.extra_data(ders, precertificate),
  }
end

--- Entries by number, both ends included: { leaf_input, extra_data }.
function M.entries(ledger, first, last)
  local rows, message, code = query(ledger, [[
    SELECT number, entry.leaf, precertificate, chain, hash.leaf
    FROM entry JOIN hash USING (number)
    WHERE number BETWEEN ? AND ? ORDER BY number]], first, last)
  if not rows then return nil, message, code end
  if #rows ~= last - first + 1 then
    return nil, ledger.file .. ": entries are missing", "corrupt"
  end
  for i = 1, #rows do
    rows[i], message, code = entry(ledger, rows[i])
    if not rows[i] then return nil, message, code end
  end
  return rows
end

return M
