--- Fuzzing: bodies of the HTTP API and of gRPC calls. Whatever comes, the
--- answer is a refusal in JSON or a status, never our own error.

local engine = require("fulcio.engine")
local log = require("fulcio.log")
local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf
local refusal = require("fulcio.refusal")
local server = require("fulcio.server")

log.open({ mode = "prod", write = function() end })

local context = {
  policies = { match = function() end },
  issuers = { keys = function() return nil, refusal("unknown_key") end },
}

local function ask(path, body, more)
  local request = { method = "POST", path = path, body = body, peer = "",
                    headers = { authorization = "Bearer " .. body }, id = 1 }
  for name, value in pairs(more or {}) do request[name] = value end
  return server.handle(request, context)
end

local function check_http(path, body)
  local response = ask(path, body)
  assert(response.status == 400, response.body)
  local answer = assert(engine.claims.parse(response.body))
  assert(answer.code == 3 and answer.details[1].reason)
end

local function check_grpc(body)
  local size = #body
  local frame = string.char(0, 0, 0, math.floor(size / 256) % 256,
                            size % 256) .. body
  local response = ask("/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate",
    frame, { protocol = "h2",
             headers = { ["content-type"] = "application/grpc" } })
  local status = response.headers["grpc-status"]
  assert(status == "3", "gRPC status " .. tostring(status))
end

-- A message is read again as it was, when it is written.
local function check_message(bytes)
  local kind = messages.v2.CreateSigningCertificateRequest
  local message = protobuf.decode(kind, bytes)
  if not message then return end
  local written = protobuf.encode(kind, message)
  local again = assert(protobuf.decode(kind, written))
  assert(protobuf.encode(kind, again) == written, "written otherwise")
end

return function(bytes)
  check_http("/api/v2/signingCert", bytes)
  check_http("/api/v1/signingCert", bytes)
  if #bytes < 65536 then
    check_grpc(bytes)
    check_message(bytes)
  end
end
