--- How gRPC says that a call ended: statuses, their details, trailers.
--
-- https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

local engine = require("fulcio.engine")
local messages = require("fulcio.messages")

local protobuf = engine.protobuf

local M = {
  OK = 0, INVALID_ARGUMENT = 3, DEADLINE_EXCEEDED = 4,
  RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, INTERNAL = 13,
  CONTENT_TYPE = "application/grpc",
}

-- grpc-message is percent-encoded ASCII.
local function percent(text)
  local out = {}
  for i = 1, #text do
    local c = text:byte(i)
    local plain = c >= 32 and c <= 126 and c ~= 37
    out[i] = plain and string.char(c) or ("%%%02X"):format(c)
  end
  return table.concat(out)
end

local function details(refused)
  local metadata = {}
  for key, value in pairs(refused.client) do
    metadata[#metadata + 1] = { key = key, value = tostring(value) }
  end
  local info = protobuf.encode(messages.rpc.ErrorInfo, {
    reason = refused.reason, domain = "fulcio", metadata = metadata,
  })
  local status = protobuf.encode(messages.rpc.Status, {
    code = refused.grpc,
    message = refused.message,
    details = { {
      type_url = "type.googleapis.com/google.rpc.ErrorInfo",
      value = info,
    } },
  })
  -- Binary metadata is base64; padding may be left out.
  return (engine.bytes.base64(status):gsub("=+$", ""))
end

--- The trailers of a status.
function M.of(code, text)
  return { ["grpc-status"] = tostring(code), ["grpc-message"] = text
           and percent(text) or nil }
end

--- The trailers that a refusal becomes.
function M.refused(refused)
  local trailers = M.of(refused.grpc, refused.message)
  trailers["grpc-status-details-bin"] = details(refused)
  if refused.retry_after then
    trailers["retry-after"] = tostring(refused.retry_after)
  end
  return trailers
end

--- Trailers-Only: everything in the header block.
function M.only(trailers)
  trailers["content-type"] = M.CONTENT_TYPE
  return { status = 200, headers = trailers, body = "" }
end

--- The answer to a call that ends so before anything is sent.
function M.ended(code, text)
  return M.only(M.of(code, text))
end

return M
