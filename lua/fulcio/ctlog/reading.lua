--- What anybody may ask a log: tree heads, proofs, entries (RFC 6962
--- sections 4.3 to 4.8). Statuses and limits are ctfe's.

local engine = require("fulcio.engine")
local log = require("fulcio.log")
local lookup = require("fulcio.ctlog.lookup")
local reply = require("fulcio.ctlog.reply")

local base64 = engine.bytes.base64

-- Entries in one answer; a longer request ends at a multiple of it.
local MAX_ENTRIES = 256
-- Seconds after which a tree head is signed anew for whoever asks.
local HEAD_SECONDS = 60

local function refused(message)
  return reply.refuse(400, message)
end

local function failed(what, message)
  log.error("log cannot answer", { request = what, error = message })
  return reply.unavailable()
end

-- Whole numbers from the query, by name; nil and the one that is none.
local function numbers(query, ...)
  local values = {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    local text = query[name]
    local value = text and #text <= 15 and text:match("^%d+$")
    if not value then return nil, name end
    values[i] = math.tointeger(tonumber(value))
  end
  return values
end

-- The tree head now and its signature, made once for each head.
local function signed_head(context)
  local head, message = context.sequencer:head(HEAD_SECONDS)
  if not head then return nil, message end
  local known = context.head
  if known and known.size == head.size
    and known.timestamp == head.timestamp then
    return known
  end
  head.signature, message = engine.sct.sign(
    engine.sct.tree_head(head.timestamp, head.size, head.root), context.key)
  if not head.signature then return nil, message end
  context.head = head
  return head
end

local M = {}

--- GET get-sth
function M.tree_head(context)
  local head, message = signed_head(context)
  if not head then return failed("get-sth", message) end
  return reply.json(('{"tree_size":%d,"timestamp":%d,"sha256_root_hash":"%s",'
    .. '"tree_head_signature":"%s"}'):format(head.size, head.timestamp,
    base64(head.root), base64(head.signature)))
end

--- GET get-sth-consistency
function M.consistency(context, query)
  local values, name = numbers(query, "first", "second")
  if not values then return refused("parameter " .. name .. " is missing") end
  local first, second = values[1], values[2]
  local size = context.ledger.tree.size
  if second < first then
    return refused("second is less than first")
  elseif second > size then
    return refused(("second is beyond the tree's size %d"):format(size))
  end
  local proof = first == 0 and {}
    or context.ledger.tree:consistency(first, second)
  return reply.json('{"consistency":' .. reply.list(proof) .. "}")
end

--- GET get-proof-by-hash
function M.proof_by_hash(context, query)
  local values = numbers(query, "tree_size")
  if not values or values[1] < 1 then
    return refused("tree_size is not a positive number")
  end
  -- A plus sign that was not escaped arrives as a space.
  local hash = engine.bytes.unbase64((query.hash or ""):gsub(" ", "+"))
  if not hash or #hash ~= 32 then
    return refused("hash is not the base64 of a SHA-256 hash")
  end
  local number, message = lookup.number(context.ledger, hash)
  if number == nil then return failed("get-proof-by-hash", message) end
  local size = values[1]
  if not number or size > context.ledger.tree.size or number >= size then
    return reply.refuse(404, "no such hash in a tree of that size")
  end
  return reply.json(('{"leaf_index":%d,"audit_path":%s}'):format(number,
    reply.list(context.ledger.tree:inclusion(number, size))))
end

local function entry_text(entry)
  return ('{"leaf_input":"%s","extra_data":"%s"}'):format(
    base64(entry.leaf_input), base64(entry.extra_data))
end

-- The last entry that an answer from first to last may hold.
local function end_of_answer(first, last, size)
  if last - first >= MAX_ENTRIES then
    last = first + MAX_ENTRIES - 1
    local aligned = last - (last + 1) % MAX_ENTRIES
    if aligned >= first then last = aligned end
  end
  return math.min(last, size - 1)
end

--- GET get-entries
function M.entries(context, query)
  local values, name = numbers(query, "start", "end")
  if not values then return refused(name .. " is not a number") end
  local first, wanted = values[1], values[2]
  local size = context.ledger.tree.size
  if first > wanted then
    return refused("start is greater than end")
  elseif first >= size then
    return refused(("need tree size: %d to get leaves but only got: %d")
      :format(first + 1, size))
  end
  local last = end_of_answer(first, wanted, size)
  local entries, message = lookup.entries(context.ledger, first, last)
  if not entries then return failed("get-entries", message) end
  for i = 1, #entries do entries[i] = entry_text(entries[i]) end
  local whole = last - first + 1 == MAX_ENTRIES or last == wanted
  return reply.json('{"entries":[' .. table.concat(entries, ",") .. "]}",
    "public, max-age=" .. (whole and 86400 or 60))
end

--- GET get-entry-and-proof
function M.entry_and_proof(context, query)
  local values, name = numbers(query, "leaf_index", "tree_size")
  if not values then return refused(name .. " is not a number") end
  local number, size = values[1], values[2]
  if size > context.ledger.tree.size then
    return refused("tree_size is beyond the tree's size")
  elseif number >= size then
    return refused("leaf_index is not less than tree_size")
  end
  local entries, message = lookup.entries(context.ledger, number, number)
  if not entries then return failed("get-entry-and-proof", message) end
  return reply.json(('{"leaf_input":"%s","extra_data":"%s","audit_path":%s}')
    :format(base64(entries[1].leaf_input), base64(entries[1].extra_data),
      reply.list(context.ledger.tree:inclusion(number, size))))
end

--- GET get-roots
function M.roots(context)
  context.roots:refresh()
  return reply.json('{"certificates":' .. reply.list(context.roots.ders)
    .. "}")
end

return M
