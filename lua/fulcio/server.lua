--- Answers one HTTP request: a plain table in, a plain table out.
---
--- Our own listener, HAProxy and nginx are three callers of `handle`. Steps
--- throw refusals; only this file catches them.

local cors = require("fulcio.cors")
local engine = require("fulcio.engine")
local grpc = require("fulcio.grpc")
local log = require("fulcio.log")
local metrics = require("fulcio.metrics")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local routes = require("fulcio.routes")
local services = require("fulcio.services")

local monotonic = engine.system.monotonic

local V1, V2 = "/dev.sigstore.fulcio.v1beta.CA", "/dev.sigstore.fulcio.v2.CA"

local NOT_GRPC = 'invalid gRPC request content-type "%s"'

-- Fulcio's HTTP side calls its gRPC side, and both count.
local calls = {
  ["/api/v2/signingCert"]   = V2 .. "/CreateSigningCertificate",
  ["/api/v2/trustBundle"]   = V2 .. "/GetTrustBundle",
  ["/api/v2/configuration"] = V2 .. "/GetConfiguration",
  ["/api/v1/signingCert"]   = V1 .. "/CreateSigningCertificate",
  ["/api/v1/rootCert"]      = V1 .. "/GetRootCertificate",
  ["/healthz"]              = "/grpc.health.v1.Health/Check",
}

-- path to method to handler. Paths are compared as they were sent: a proxy
-- in front that keeps some away must not be told another way to them.
local paths = {}
for _, route in ipairs(routes) do
  local method, path, handler = route[1], route[2], route[3]
  paths[path] = paths[path] or {}
  paths[path][method] = handler
  -- RFC 9110 section 9.1 wants it; Fulcio's gateway has no such method. The
  -- protocol layer leaves the body out.
  if method == "GET" then paths[path].HEAD = handler end
end

local function dispatch(request, context)
  local methods = paths[request.path]
  if services[request.path] then
    error(refusal("not_grpc", { message = NOT_GRPC:format(
      request.headers["content-type"] or "") }), 0)
  end
  if not methods then error(refusal("not_found"), 0) end
  local handler = methods[request.method]
  if not handler then
    -- What Fulcio does not have it has by no method.
    error(refusal(calls[request.path] and "method_not_allowed"
                  or "not_found"), 0)
  end
  return handler(request, context)
end

-- Keeps a refusal as it is; any other error is ours, with its trace.
local function caught(value)
  if refusal.is(value) then return value end
  return refusal("internal", {
    log = { trace = debug.traceback(tostring(value), 2) } })
end

local MAX_ID = 128
local prefix, count = nil, 0

-- What the client calls its request, or a name of ours.
local function id_of(request)
  local given = request.headers["x-request-id"]
  if given and #given <= MAX_ID and given:find("^[\33-\126]+$") then
    return given
  end
  prefix = prefix or engine.bytes.base64(engine.bytes.random(6))
  count = count + 1
  return ("%s-%d"):format(prefix, count)
end

-- A refused client may say which of its requests it was.
local function told(response)
  response.headers["x-request-id"] = log.current()
  return response
end

local M = {}

--- Paths whose requests are read and answered bit by bit, and so are those
--- that nobody knows: a stream to them may have no end.
M.streams = grpc.streams(services)
M.streams["*"] = true
for path in pairs(paths) do M.streams[path] = false end

-- A stream is answered later, by whatever coroutine.
local function under_name(id, stream)
  return function(write)
    log.begin(id)
    local trailers = stream(write)
    log.begin(nil)
    return trailers
  end
end

local function call(request, context)
  local response, refused = grpc.handle(services, request, context)
  if refused then
    log.refused(refused, { path = request.path, peer = request.peer })
    metrics.refused(refused)
    told(response)
  end
  if response.stream then
    response.stream = under_name(log.current(), response.stream)
  end
  local method = services[request.path]
  if method then
    local status = (response.trailers or response.headers)["grpc-status"]
    metrics.called(request.path, tonumber(status or 0), method.kind)
  end
  return response
end

local function answer(request, context)
  local at, code = monotonic(), 0
  local ok, response = xpcall(dispatch, caught, request, context)
  if not ok then
    log.refused(response, { path = request.path, peer = request.peer })
    metrics.refused(response)
    code, response = response.grpc, told(reply.refusal(response))
  end
  metrics.served(request.method, response.status, monotonic() - at)
  if calls[request.path] then metrics.called(calls[request.path], code) end
  return cors.apply(request, response)
end

--- The response to a request: { method, path, headers, body, peer, id }.
--- `context` is what requests share: ca, log (nil: none), policies,
--- issuers, algorithms. Never throws.
function M.handle(request, context)
  local preflight = cors.preflight(request)
  if preflight then return preflight end
  log.begin(id_of(request))
  local act = grpc.is_call(request) and call or answer
  local response = act(request, context)
  log.begin(nil)
  return response
end

--- The answer of the protocol layer itself, which has only a status;
--- `request` is nil when it could not be read.
function M.refuse(status, request)
  local refused = refusal.of_status(status)
  if request and grpc.is_call(request) then return grpc.refuse(refused) end
  return reply.refusal(refused)
end

return M
