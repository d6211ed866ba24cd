--- A Certificate Transparency log (RFC 6962) in a process of its own.

local engine = require("fulcio.engine")
local identity = require("fulcio.ctlog.identity")
local inside = require("fulcio.ctlog.inside")
local ledger = require("fulcio.ctlog.ledger")
local log = require("fulcio.log")
local reading = require("fulcio.ctlog.reading")
local reply = require("fulcio.ctlog.reply")
local roots = require("fulcio.ctlog.roots")
local sequencer = require("fulcio.ctlog.sequencer")
local socket = require("fulcio.socket")
local submission = require("fulcio.ctlog.submission")

-- As ctfe: a whole add-chain body.
local MAX_BODY = 512000

local base64 = engine.bytes.base64

-- Timestamp and signature once an entry is safe; nil, and why is logged.
local function submit(context, entry)
  local sct, message, code = context.sequencer:submit(entry)
  if sct then return sct end
  log.error("submission was not logged", { error = message, code = code })
  return nil
end

local function add(context, body, kind)
  local entry, message = context.submission:read(body, kind)
  if not entry then return reply.refuse(400, message) end
  local sct = submit(context, entry)
  if not sct then return reply.unavailable() end
  return reply.json(('{"sct_version":0,"id":"%s","timestamp":%d,'
    .. '"extensions":"","signature":"%s"}'):format(context.id,
    sct.timestamp, base64(sct.signature)))
end

local function add_chain(context, request)
  return add(context, request.body, "x509")
end

local function add_pre_chain(context, request)
  return add(context, request.body, "precert")
end

-- The same in a dialog with a worker of ours.
local function hear(context, question)
  local entry, message, status = context.submission:hear(question)
  if not entry then return inside.refusal(status, message) end
  local sct = context.sequencer:ready() and submit(context, entry)
  if not sct then return inside.refusal(503, reply.UNAVAILABLE) end
  return inside.logged(sct)
end

local function health()
  return { status = 200, headers = { ["content-type"] = "text/plain" },
           body = "ok\n" }
end

-- Path to method and what answers it.
local routes = {
  ["/ct/v1/add-chain"]           = { "POST", add_chain },
  ["/ct/v1/add-pre-chain"]       = { "POST", add_pre_chain },
  ["/ct/v1/get-sth"]             = { "GET", reading.tree_head },
  ["/ct/v1/get-sth-consistency"] = { "GET", reading.consistency },
  ["/ct/v1/get-proof-by-hash"]   = { "GET", reading.proof_by_hash },
  ["/ct/v1/get-entries"]         = { "GET", reading.entries },
  ["/ct/v1/get-roots"]           = { "GET", reading.roots },
  ["/ct/v1/get-entry-and-proof"] = { "GET", reading.entry_and_proof },
  ["/healthz"]                   = { "GET", health },
}

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- Every byte is looked at once: a pattern would try each place anew.
local function parse_query(text)
  local query, at = {}, 1
  text = text or ""
  while at <= #text do
    local stop = text:find("&", at, true) or #text + 1
    local pair = text:sub(at, stop - 1)
    local equals = pair:find("=", 1, true) or 1
    if equals > 1 then
      local name = unescape(pair:sub(1, equals - 1))
      query[name] = query[name] or unescape(pair:sub(equals + 1))
    end
    at = stop + 1
  end
  return query
end

local function preflight()
  return { status = 204, headers = {
    ["access-control-allow-origin"] = "*",
    ["access-control-allow-headers"] = "Content-Type",
    ["access-control-allow-methods"] = "GET, POST",
  } }
end

local function handle(context, request)
  local route = routes[request.path]
  if not route then return reply.refuse(404, "no such address") end
  if request.method == "OPTIONS" then return preflight() end
  if request.method ~= route[1] then
    return reply.refuse(405, "use " .. route[1])
  end
  if not context.sequencer:ready() then return reply.unavailable() end
  if route[1] == "POST" then return route[2](context, request) end
  return route[2](context, parse_query(request.query))
end

local M = {}

--- Opens the log in a directory, made on first use: { data_dir, roots? }.
--- `roots`: PEM texts, or a function that returns them.
function M.open(options)
  local files = identity.files(options.data_dir)
  local made, message, code = engine.system.mkdir(options.data_dir)
  if not made then return nil, message, code end
  local key
  key, message, code = identity.open(files)
  if not key then return nil, message, code end
  local log_id = engine.bytes.sha256(key:spki())
  local context = { files = files, key = key, id = base64(log_id) }
  context.ledger, message, code = ledger.open(files.database, log_id)
  if not context.ledger then return nil, message, code end
  context.roots, message = roots.open(context.ledger, options.roots)
  if not context.roots then return nil, message, "failed" end
  made, message, code = identity.publish(files, key)
  if not made then return nil, message, code end
  context.sequencer = sequencer.new(context.ledger, key)
  context.submission = submission.new(context.roots)
  return context
end

--- Opens its listeners: the workers' sockets in the data directory, for
--- HTTP and for dialogs, and TCP when there is a port.
function M.listen(options)
  local made, message, code = engine.system.mkdir(options.data_dir)
  if not made then return nil, message, code end
  local listeners, files = {}, identity.files(options.data_dir)
  for name, path in pairs({ unix = files.socket, dialog = files.dialog }) do
    listeners[name], message, code = socket.listen({
      unix = path, mode = 384 })
    if not listeners[name] then return nil, message, code end
  end
  if options.port then
    listeners.tcp, message, code = socket.listen({
      host = options.host or "127.0.0.1", port = options.port })
    if not listeners.tcp then return nil, message, code end
  end
  return listeners
end

--- Answers one request, whoever asks.
function M.handle(context, request)
  return handle(context, request)
end

--- Answers a worker's question (`ctlog.inside`).
function M.hear(context, question)
  return hear(context, question)
end

local function report(trace)
  log.error("log request failed", { trace = trace })
end

local function serve(context, listener, same_user)
  engine.server.http(listener, function(request)
    return handle(context, request)
  end, {
    max_body = MAX_BODY, same_user = same_user, refuse = reply.refuse,
    on_error = report,
  })
end

--- Runs the log in this process until it is told to stop: { data_dir,
--- roots?, host?, port?, listeners? (of `listen`) }.
function M.run(options)
  local context, message, code = M.open(options)
  if not context then return nil, message, code end
  local listeners = options.listeners
  if not listeners then
    listeners, message, code = M.listen(options)
    if not listeners then return nil, message, code end
  end
  collectgarbage("generational") -- as workers do
  engine.server.spawn(function() context.sequencer:run() end)
  engine.server.answer(listeners.dialog, function(question)
    return hear(context, question)
  end, report)
  serve(context, listeners.unix, true)
  if listeners.tcp then serve(context, listeners.tcp, false) end
  log.info("log is open", { entries = context.ledger.tree.size,
    address = listeners.tcp and listeners.tcp.address or nil,
    log_id = context.id })
  engine.server.run()
  context.ledger:close()
  return true
end

return M
