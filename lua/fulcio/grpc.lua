--- gRPC over HTTP/2: calls, their deadlines and answers.
--
-- https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. What a
-- method does is in services.lua; here is only how it is called.

local engine = require("fulcio.engine")
local frames = require("fulcio.grpc_frame")
local log = require("fulcio.log")
local refusal = require("fulcio.refusal")
local status = require("fulcio.grpc_status")

local protobuf = engine.protobuf
local frame, unframe = frames.frame, frames.unframe
local INVALID_ARGUMENT, INTERNAL = status.INVALID_ARGUMENT, status.INTERNAL
local CONTENT_TYPE = status.CONTENT_TYPE

local M = {}

local units = { H = 3600, M = 60, S = 1, m = 1e-3, u = 1e-6, n = 1e-9 }

-- What is wrong with a grpc-timeout, in grpc-go's words.
local function malformed(words, text)
  return nil, ("malformed grpc-timeout: " .. words):format(text)
end

-- Seconds that the client waits, nil when it did not say; nil and what is
-- wrong.
local function timeout(headers)
  local text = headers["grpc-timeout"]
  if not text then return nil end
  if #text < 2 then
    return malformed('transport: timeout string is too short: "%s"', text)
  elseif #text > 9 then
    return malformed('transport: timeout string is too long: "%s"', text)
  end
  local digits, unit = text:sub(1, -2), units[text:sub(-1)]
  if not unit then
    return malformed('transport: timeout unit is not recognized: "%s"', text)
  elseif digits:find("%D") then
    return malformed('strconv.ParseUint: parsing "%s": invalid syntax',
                     digits)
  end
  return tonumber(digits) * unit
end

local function late()
  return status.ended(status.DEADLINE_EXCEEDED, "context deadline exceeded")
end

-- Runs `call` and gives up waiting when the client does. What it started
-- is finished all the same: a certificate that is logged stays logged.
local function before_deadline(seconds, call)
  if not seconds then return call() end
  local done = engine.server.signal()
  local result
  local id = log.current()
  engine.server.begin(function()
    log.begin(id)
    result = call()
    log.begin(nil)
    done:wake()
  end)
  if not result and not done:wait(seconds) and not result then
    return late()
  end
  return result
end

-- What a thrown value says to the client; a string is our fault.
local function caught(value)
  if refusal.is(value) then return value end
  log.error("grpc handler failed", { trace = tostring(value) })
  return refusal("internal")
end

local function attempt(run, ...)
  local ok, result = xpcall(run, function(value)
    if refusal.is(value) then return value end
    return debug.traceback(tostring(value), 2)
  end, ...)
  if ok then return result end
  return nil, caught(result)
end

local function unary(method, request, context)
  local bytes, code, text = unframe(request.body, frames.encoding_of(request))
  if not bytes then
    local response = status.ended(code or INTERNAL,
                                  text or "message is cut short")
    response.headers["grpc-accept-encoding"] = "identity, gzip"
    return response
  end
  if code ~= "" then
    return status.ended(INTERNAL, "more than one message in a unary call")
  end
  local message, why = protobuf.decode(method.input, bytes)
  if not message then return status.ended(INVALID_ARGUMENT, why) end
  local answer, refused = attempt(method.call, context, message, request)
  if not answer then return status.only(status.refused(refused)), refused end
  local headers = answer.metadata or {}
  answer.metadata, headers["content-type"] = nil, CONTENT_TYPE
  return {
    status = 200,
    headers = headers,
    body = frame(protobuf.encode(method.output, answer)),
    trailers = status.of(status.OK),
  }
end

-- A reader of the messages a client streams: message; nil at the end;
-- nil, code, text when one is not acceptable.
local function reader(method, request)
  local buffer, encoding = "", frames.encoding_of(request)
  return function()
    while true do
      local bytes, rest, text = unframe(buffer, encoding)
      if bytes then
        buffer = rest
        local message, why = protobuf.decode(method.input, bytes)
        if not message then return nil, INVALID_ARGUMENT, why end
        return message
      end
      if rest then return nil, rest, text end
      local more = request.read()
      if not more then return nil end
      buffer = buffer .. more
    end
  end
end

local function streamed(method, request, context)
  local read = reader(method, request)
  return {
    status = 200,
    headers = { ["content-type"] = CONTENT_TYPE },
    stream = function(write)
      local function send(answer)
        return write(frame(protobuf.encode(method.output, answer)))
      end
      local result, refused = attempt(function()
        return method.stream(context, read, send) or status.of(status.OK)
      end)
      return result or status.refused(refused)
    end,
  }
end

-- What may follow the content type: "+proto", or parameters.
local ends = { [""] = true, ["+"] = true, [";"] = true }

--- Whether a request is a gRPC call.
function M.is_call(request)
  local kind = request.headers["content-type"]
  return request.protocol == "h2" and kind ~= nil
    and kind:sub(1, #CONTENT_TYPE) == CONTENT_TYPE
    and ends[kind:sub(#CONTENT_TYPE + 1, #CONTENT_TYPE + 1)] == true
end

--- The paths of methods, with whether they stream.
function M.streams(methods)
  local paths = {}
  for path, method in pairs(methods) do
    paths[path] = method.stream ~= nil
  end
  return paths
end

-- Statuses of calls that were refused unread, where they are not those
-- that HTTP's clients are told.
local unread = {
  body_too_large = status.RESOURCE_EXHAUSTED,
  header_too_large = status.RESOURCE_EXHAUSTED,
  request_timeout = status.DEADLINE_EXCEEDED,
}

--- The answer to a call that was refused before it was read.
function M.refuse(refused)
  refused.grpc = unread[refused.code] or refused.grpc
  return status.only(status.refused(refused))
end

-- As grpc-go words it.
local function unknown(methods, path)
  local service, name = path:match("^/(.+)/([^/]*)$")
  if not service then return ('malformed method name: "%s"'):format(path) end
  for known in pairs(methods) do
    if known:sub(1, #service + 2) == "/" .. service .. "/" then
      return ("unknown method %s for service %s"):format(name, service)
    end
  end
  return "unknown service " .. service
end

--- Answers a call: `methods` maps paths to { input, output, call } or
--- { input, output, stream }. A field `metadata` of what `call` returns
--- becomes headers. Returns the response, and the refusal that
--- it words, if any.
function M.handle(methods, request, context)
  local method = methods[request.path]
  if request.method ~= "POST" then
    local response = status.ended(INTERNAL, ("Received a HEADERS frame with "
      .. ':method "%s" which should be POST'):format(request.method))
    response.status = 405
    return response
  end
  if not method then
    return status.ended(status.UNIMPLEMENTED, unknown(methods, request.path))
  end
  local seconds, wrong = timeout(request.headers)
  if wrong then return status.ended(INTERNAL, wrong) end
  if seconds == 0 then return late() end
  if method.stream then return streamed(method, request, context) end
  local refused
  local response = before_deadline(seconds, function()
    local answer
    answer, refused = unary(method, request, context)
    return answer
  end)
  return response, refused
end

return M
