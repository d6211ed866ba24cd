--- Verifies the signed certificate timestamp in a log's answer (RFC 6962
--- section 4.1): its promise to publish what it was sent.

local engine = require("fulcio.engine")

-- A promise is of now, give or take a clock; or older, when the same
-- certificate was logged before.
local MAX_AGE_MS, MAX_AHEAD_MS = 24 * 3600 * 1000, 60 * 1000

local function decoded(value, name)
  local text = value[name]
  if type(text) ~= "string" then return nil, name .. " is no text" end
  local bytes = engine.bytes.unbase64(text)
  if not bytes then return nil, name .. " is not base64" end
  return bytes
end

local function fields(body)
  local value, message = engine.claims.parse(body)
  if type(value) ~= "table" then return nil, message or "no JSON object" end
  if value.sct_version ~= 0 then return nil, "sct_version is not 0" end
  local sct = { timestamp_ms = value.timestamp }
  for name, field in pairs({ log_id = "id", signature = "signature",
                             extensions = "extensions" }) do
    sct[name], message = decoded(value, field)
    if not sct[name] then return nil, message end
  end
  if #sct.log_id ~= 32 then return nil, "id is not 32 bytes" end
  if type(value.timestamp) ~= "number" or value.timestamp % 1 ~= 0 then
    return nil, "timestamp is not a whole number"
  end
  return sct
end

-- Extensions of an SCT: a type, two bytes of length, that many bytes
-- (static-ct-api); unknown types are kept as they are.
local function well_formed(extensions)
  local at = 1
  while at <= #extensions do
    local _, high, low = extensions:byte(at, at + 2)
    if not low then return false end
    at = at + 3 + high * 256 + low
  end
  return at == #extensions + 1
end

local function leaf(sct, about)
  local content = {
    kind = about.kind, timestamp_ms = sct.timestamp_ms,
    extensions = sct.extensions,
  }
  if about.kind == "x509" then
    content.certificate = about.der
  else
    content.tbs, content.issuer_key_hash = about.tbs, about.key_hash
  end
  return engine.sct.leaf(content)
end

local M = {}

--- The SCT in a log's JSON: { log_id, timestamp_ms, extensions, signature
--- (DigitallySigned) }, or nil and what is wrong with it.
function M.read(body)
  local sct, message = fields(body)
  if not sct then return nil, "bad SCT: " .. message end
  return sct
end

--- Verifies an SCT for what was submitted: { der, kind, key_hash (the
--- issuer's), key? and log_id? (the log's), tbs (of a precertificate,
--- without its poison) }. A SerializedSCT, or nil and what is wrong.
function M.verify(sct, about)
  local age = engine.system.now_ms() - sct.timestamp_ms
  if age > MAX_AGE_MS or age < -MAX_AHEAD_MS then
    return nil, "bad SCT: its time is not ours"
  elseif not well_formed(sct.extensions) then
    return nil, "bad SCT: its extensions are malformed"
  end
  if about.key then
    if sct.log_id ~= about.log_id then
      return nil, "bad SCT: from another log"
    end
    if not engine.sct.verify(leaf(sct, about), sct.signature, about.key) then
      return nil, "bad SCT: its signature is wrong"
    end
  end
  return engine.sct.serialize(sct)
end

return M
