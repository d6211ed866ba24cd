--- Words answers as Fulcio's clients expect them, to the byte where they
--- look at bytes.

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
local JSON = "application/json"
local PEM = "application/pem-certificate-chain"

local concat, write_pem = table.concat, engine.draft.pem

-- A CA's certificates as JSON, with what comes before each: they are the
-- same for as long as the CA is. Found by the list that signing.issue names.
local written = setmetatable({}, { __mode = "k" })

local function rest_of(above)
  local rest = written[above]
  if rest then return rest end
  local out = {}
  for i, pem in ipairs(above) do out[i] = "," .. json.text(pem) end
  rest = concat(out)
  written[above] = rest
  return rest
end

-- The members of a JSON list of certificates, between two texts.
local function chain_text(before, issued, after)
  return before .. '"' .. write_pem(issued.leaf, nil, "\\n") .. '"'
    .. rest_of(issued.above) .. after
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
  if issued.embedded then
    return M.json(chain_text('{"signedCertificateEmbeddedSct":{"chain":'
      .. '{"certificates":[', issued, "]}}}"))
  end
  return M.json(chain_text('{"signedCertificateDetachedSct":{"chain":'
    .. '{"certificates":[', issued, ']},"signedCertificateTimestamp":"'
    .. (issued.sct and engine.bytes.base64(issued.sct) or "") .. '"}}'))
end

--- What was issued as PEM texts without final newline, leaf first.
function M.chain(issued)
  local chain = { write_pem(issued.leaf, nil, "\n") }
  for i, pem in ipairs(issued.above) do chain[i + 1] = pem end
  return chain
end

--- The answer of POST /api/v1/signingCert: 201 and PEM, leaf first, no
--- final newline; a detached SCT goes into a header.
function M.certificate_v1(issued)
  local answer = M.pem(concat(M.chain(issued), "\n"), 201)
  if issued.sct and not issued.embedded then
    answer.headers.sct = engine.bytes.base64(issued.sct)
  end
  return answer
end

return M
