--- Answers one HTTP request: a plain table in, a plain table out.
---
--- Our own listener, HAProxy and nginx are three callers of `handle`. Steps
--- throw refusals; only this file catches them.

local cors = require("fulcio.cors")
local grpc = require("fulcio.grpc")
local log = require("fulcio.log")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local routes = require("fulcio.routes")
local services = require("fulcio.services")

-- path to method to handler
local paths = {}
for _, route in ipairs(routes) do
  local method, path, handler = route[1], route[2], route[3]
  paths[path] = paths[path] or {}
  paths[path][method] = handler
end

local function dispatch(request, context)
  local methods = paths[request.path]
  if not methods then error(refusal("not_found"), 0) end
  local handler = methods[request.method]
  if not handler then error(refusal("method_not_allowed"), 0) end
  return handler(request, context)
end

-- Keeps a refusal as it is; any other error is ours, with its trace.
local function caught(value)
  if refusal.is(value) then return value end
  return refusal("internal", {
    log = { trace = debug.traceback(tostring(value), 2) } })
end

local M = {}

local function call(request, context)
  local response, refused = grpc.handle(services, request, context)
  if refused then
    log.refused(refused, { path = request.path, peer = request.peer })
  end
  return response
end

--- The response to a request: { method, path, headers, body, peer, id }.
--- `context` is what requests share: ca, log (nil: none), policies,
--- issuers, algorithms. Never throws.
function M.handle(request, context)
  if grpc.is_call(request) then return call(request, context) end
  local preflight = cors.preflight(request)
  if preflight then return preflight end
  local ok, response = xpcall(dispatch, caught, request, context)
  if not ok then
    log.refused(response, { path = request.path, peer = request.peer })
    response = reply.refusal(response)
  end
  return cors.apply(request, response)
end

return M
