--- Words answers as Fulcio's clients expect them, to the byte where they
--- look at bytes.

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
local JSON = "application/json"
local PEM = "application/pem-certificate-chain"
local NEWLINE = 10

local concat = table.concat

-- A PEM block without its final newline. A pattern would look at each
-- character of it.
local function trim(pem)
  while pem:byte(-1) == NEWLINE do pem = pem:sub(1, -2) end
  return pem
end

-- A CA's certificates as JSON, with what comes before each: they are the
-- same for as long as the CA is. Found by the list that signing.issue names.
local written = setmetatable({}, { __mode = "k" })

local function rest_of(chain)
  local out = {}
  for i = 2, #chain do out[i - 1] = "," .. json.text(trim(chain[i])) end
  return concat(out)
end

-- The members of a JSON list of certificates.
local function chain_text(issued)
  local chain, above = issued.chain, issued.above
  local rest = above and written[above]
  if not rest then
    rest = rest_of(chain)
    if above then written[above] = rest end
  end
  return json.text(trim(chain[1])), rest
end

local function utf8(text)
  text = tostring(text)
  if engine.bytes.is_utf8(text) then return text end
  return (text:gsub("[\128-\255]", "?"))
end

local function details(refused)
  local out = {}
  for name, value in pairs(refused.client) do out[name] = utf8(value) end
  return ('[{"@type":%s,"reason":%s,"domain":"fulcio","metadata":%s}]')
    :format(json.text(ERROR_INFO), json.text(refused.reason),
            json.encode(out))
end

local M = {}

--- An answer of JSON text, or of a value that becomes it.
function M.json(value, status)
  return {
    status = status or 200,
    headers = { ["content-type"] = JSON, ["vary"] = "Origin" },
    body = type(value) == "string" and value or json.encode(value),
  }
end

--- An answer of PEM text.
function M.pem(text, status)
  return {
    status = status or 200,
    headers = { ["content-type"] = PEM, ["vary"] = "Origin" },
    body = text,
  }
end

--- The answer to a refused request: Fulcio's body, with the reason in
--- `details`.
function M.refusal(refused)
  local answer = M.json(('{"code":%d,"message":%s,"details":%s}'):format(
    refused.grpc, json.text(utf8(refused.message)), details(refused)),
    refused.http)
  if refused.retry_after then
    answer.headers["retry-after"] = ("%d"):format(refused.retry_after)
  end
  return answer
end

--- The answer of POST /api/v2/signingCert. Without an SCT in the
--- certificate the chain moves to the detached form, as in Fulcio, with
--- `issued.sct`, JSON text, or nothing in it.
function M.certificate_v2(issued)
  local leaf, rest = chain_text(issued)
  if issued.embedded then
    return M.json('{"signedCertificateEmbeddedSct":{"chain":{"certificates":['
      .. leaf .. rest .. "]}}}")
  end
  return M.json('{"signedCertificateDetachedSct":{"chain":{"certificates":['
    .. leaf .. rest .. ']},"signedCertificateTimestamp":"'
    .. (issued.sct and engine.bytes.base64(issued.sct) or "") .. '"}}')
end

--- The answer of POST /api/v1/signingCert: 201 and PEM, leaf first, no
--- final newline; a detached SCT goes into a header.
function M.certificate_v1(issued)
  local out = {}
  for i, pem in ipairs(issued.chain) do out[i] = trim(pem) end
  local answer = M.pem(concat(out, "\n"), 201)
  if issued.sct and not issued.embedded then
    answer.headers.sct = engine.bytes.base64(issued.sct)
  end
  return answer
end

return M
