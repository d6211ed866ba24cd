--- Reads what is sent to add-chain and add-pre-chain (RFC 6962 section 4).
---
--- The chain behind a leaf is parsed and verified once and then known by its
--- text; the leaf itself is only skimmed, and its signature verified.

local cjson = require("cjson.safe")
local engine = require("fulcio.engine")
local inside = require("fulcio.ctlog.inside")

local json = cjson.new()
json.decode_max_depth(4)

-- Certificates above the leaf, and chains that are remembered.
local MAX_LENGTH, MAX_CHAINS = 10, 256
-- A CA certificate that signs precertificates in another's name.
local PRECERT_SIGNING = "1.3.6.1.4.1.11129.2.4.4"

local Submission = {}
Submission.__index = Submission

local function bad(text, ...)
  return nil, text:format(...)
end

local function certificate(der, number)
  local parsed = der and engine.x509.parse(der)
  if not parsed or parsed[1].der ~= der then
    return bad("certificate %d of the chain cannot be parsed", number)
  end
  return parsed[1]
end

-- Whether every certificate signs the one below, up to an accepted root,
-- which is added when the chain leaves it out.
local function verify(self, chain)
  for i = 2, #chain do
    local above, below = chain[i], chain[i - 1]
    if not above.ca then
      return bad("certificate %d of the chain is not a CA's", i + 1)
    elseif above.der == below.der then
      return bad("certificate %d of the chain is there twice", i + 1)
    elseif above.subject_der ~= below.issuer_der
      or not above:signed(below.der) then
      return bad("certificate %d of the chain did not sign the one before",
        i + 1)
    end
  end
  local last = chain[#chain]
  if self.roots:accept(last.der) then return chain end
  local root = self.roots:above(last.der, last.issuer_der)
  if not root then return bad("the chain ends in no accepted root") end
  chain[#chain + 1] = root
  return chain
end

-- What a log keeps of a verified chain.
local function record(chain)
  local issuer, ders = chain[1], {}
  for _, usage in ipairs(issuer.extended_key_usage) do
    if usage == PRECERT_SIGNING then
      return bad("precertificate signing certificates are not supported")
    end
  end
  for i = 1, #chain do ders[i] = chain[i].der end
  local key = issuer:pkey()
  if not key then return bad("the issuer's key is of no kind we know") end
  return { issuer = issuer, ders = ders,
           key_hash = engine.bytes.sha256(key:spki()) }
end

-- The record of certificates, DER, after they were verified.
local function read_chain(self, ders)
  if #ders > MAX_LENGTH then return bad("the chain is too long") end
  local chain = {}
  for i = 1, #ders do
    local parsed, message = certificate(ders[i], i + 1)
    if not parsed then return nil, message end
    chain[i] = parsed
  end
  if not chain[1].ca then
    return bad("certificate 2 of the chain is not a CA's")
  end
  local verified, message = verify(self, chain)
  if not verified then return nil, message end
  return record(verified)
end

-- The record known by that name, or made and remembered by it.
local function recall(self, name, make, ...)
  local known = self.chains[name]
  if known then return known end
  local made, message = make(...)
  if not made then return nil, message end
  if self.count >= MAX_CHAINS then self.chains, self.count = {}, 0 end
  self.chains[name], self.count = made, self.count + 1
  return made
end

local function read_texts(self, texts)
  local ders = {}
  for i = 2, #texts do ders[i - 1] = engine.bytes.unbase64(texts[i]) or "" end
  return read_chain(self, ders)
end

-- The record of the chain above a leaf.
local function chain_above(self, texts, leaf, der)
  if #texts > 1 then
    local name = texts[3] and table.concat(texts, ",", 2) or texts[2]
    return recall(self, name, read_texts, self, texts)
  end
  local root = self.roots:above(der, leaf.issuer_der)
  if not root then return bad("the chain ends in no accepted root") end
  return recall(self, engine.bytes.base64(root.der), record, { root })
end

local function decode(body)
  local value, message = json.decode(body)
  if type(value) ~= "table" then
    return bad("failed to parse add-chain body: %s", message or "no object")
  end
  local texts = value.chain
  if type(texts) ~= "table" or #texts == 0 then
    return bad("cert chain was empty")
  end
  for i = 1, #texts do
    if type(texts[i]) ~= "string" then
      return bad("failed to parse add-chain body: chain holds no texts")
    end
  end
  return texts
end

-- What an SCT is about, without the time; its hash tells duplicates.
local function content_of(kind, der, leaf, chain)
  if kind == "x509" then
    return { kind = kind, timestamp_ms = 0, certificate = der }
  end
  return { kind = kind, timestamp_ms = 0, tbs = leaf.defanged,
           issuer_key_hash = chain.key_hash }
end

local function read_leaf(der, kind)
  local leaf = der and engine.x509.skim(der)
  if not leaf then
    return bad("certificate 1 of the chain cannot be parsed")
  end
  if leaf.poisoned ~= (kind == "precert") then
    return bad("cert / precert mismatch: %s", kind == "precert"
      and "no poison in what add-pre-chain was sent"
      or "add-chain was sent a precertificate")
  end
  return leaf
end

-- The entry for the sequencer, once the issuer is seen to have signed.
local function entry(kind, der, leaf, chain)
  if chain.issuer.subject_der ~= leaf.issuer_der
    or not chain.issuer:signed(der) then
    return bad("certificate 2 of the chain did not sign the first")
  end
  local content = content_of(kind, der, leaf, chain)
  return {
    content = content, chain = chain.ders,
    identity = engine.bytes.sha256(engine.sct.leaf(content):sub(11)),
    precertificate = kind == "precert" and der or nil,
  }
end

--- Reads a request body; `kind` is "x509" (add-chain) or "precert"
--- (add-pre-chain). An entry for the sequencer, or nil and what is wrong
--- with the submission.
function Submission:read(body, kind)
  local texts, message = decode(body)
  if not texts then return nil, message end
  local der = engine.bytes.unbase64(texts[1])
  local leaf, chain
  leaf, message = read_leaf(der, kind)
  if not leaf then return nil, message end
  chain, message = chain_above(self, texts, leaf, der)
  if not chain then return nil, message end
  return entry(kind, der, leaf, chain)
end

--- Reads a question of `ctlog.inside`. The same, and what the answer's
--- status is then.
function Submission:hear(question)
  local kind, bytes, is_name, der = inside.read_question(question)
  if not kind then return nil, "malformed question", 400 end
  local leaf, message = read_leaf(der, kind)
  if not leaf then return nil, message, 400 end
  local ders = not is_name and inside.read_chain(bytes)
  local name = is_name and bytes or inside.name(bytes)
  local chain = self.chains[name]
  if not chain then
    if is_name then return nil, "unknown chain", 404 end
    if not ders or #ders == 0 then return nil, "malformed chain", 400 end
    chain, message = recall(self, name, read_chain, self, ders)
    if not chain then return nil, message, 400 end
  end
  local heard
  heard, message = entry(kind, der, leaf, chain)
  return heard, message, 400
end

local M = {}

--- A reader of submissions that end in one of these roots.
function M.new(roots)
  return setmetatable({ roots = roots, chains = {}, count = 0 }, Submission)
end

return M
