--- A process that answers requests, and what they share.

local engine = require("fulcio.engine")
local file = require("fulcio.ca.file")
local health = require("fulcio.health")
local issuers = require("fulcio.issuers")
local log = require("fulcio.log")
local metrics = require("fulcio.metrics")
local policyset = require("fulcio.policyset")
local process = require("fulcio.process")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local server = require("fulcio.server")
local tls = require("fulcio.tls")

-- How often new certificates and keys are looked for, in seconds.
local LOOK = 1

local M = {}

local function process_gauges()
  local used
  metrics.gauge("fulcio_processes", function()
    used = process.usage()
    return used.count
  end)
  for name, key in pairs({
      process_cpu_seconds_total = "seconds",
      process_resident_memory_bytes = "resident",
      process_virtual_memory_bytes = "virtual",
      process_open_fds = "descriptors" }) do
    metrics.gauge(name, function() return used[key] end)
  end
  metrics.gauge("process_max_fds", process.descriptor_limit)
  metrics.gauge("process_start_time_seconds", process.started)
end

local function gauges(context)
  process_gauges()
  metrics.gauge("fulcio_build_info", function() return 1 end, engine.version)
  metrics.gauge("fulcio_ca_up", function()
    return context.ca:ready(health.LIFETIME) and 1 or 0
  end)
  if context.log then
    metrics.gauge("fulcio_ct_up", function()
      return health.log_ready(context) and 1 or 0
    end)
  end
end

--- What requests share, from what the supervisor has prepared.
function M.context(world)
  local context = {
    options = world.options,
    ca = world.ca,
    seal = world.seal,
    policies = world.policies,
    sources = world.sources,
    generation = world.generation,
    algorithms = world.algorithms,
    log = world.log,
    tls = world.tls,
    tls_revision = world.tls_revision,
    issuers = issuers.new({ server = engine.server,
                            development = world.options.development }),
  }
  gauges(context)
  return context
end

-- Two CAs at once are worse than a worker less: one that cannot follow ends
-- when it has answered, and the supervisor forks one that has the new pair.
local function take_ca(context, news)
  local ca, message = file.take(news.chain, news.key, context.seal)
  if ca then
    context.ca = ca
  else
    log.error("this worker cannot have the new CA and ends", {
      error = message })
    engine.server.stop()
  end
end

local function take_policies(context, sources)
  local policies, errors = policyset.load(sources, context.options)
  if policies then
    context.policies, context.sources = policies, sources
    return
  end
  for _, message in ipairs(errors) do
    log.error("the policies stay as they were", { error = message })
  end
end

local function take_certificates(context, revision)
  context.tls_revision = revision
  for _, message in ipairs(tls.reload(context.tls)) do
    log.error("a port's certificate stays as it was", { error = message })
  end
end

--- Takes what the supervisor has published since, if anything: what is
--- under way goes on with what it began with.
function M.refresh(context)
  local text, generation = engine.server.published(context.generation)
  if not text then return end
  context.generation = generation
  local news = engine.claims.parse(text)
  if news.chain and news.chain ~= context.ca.pem then
    take_ca(context, news)
  end
  if news.pool then context.ca:take(news.pool) end
  if news.revision ~= context.sources.revision then
    news.sources.revision = news.revision
    take_policies(context, news.sources)
  end
  if news.tls_revision ~= context.tls_revision then
    take_certificates(context, news.tls_revision)
  end
end

local function metrics_page(request)
  if request.method ~= "GET" then
    return reply.refusal(refusal("method_not_allowed"))
  end
  return { status = 200, body = metrics.text(),
           headers = { ["content-type"] = metrics.content_type } }
end

local function on_error(trace)
  log.error("a request failed", { trace = trace })
end

-- Every port speaks everything: HTTP/1.1, HTTP/2 and gRPC on it.
local function serve(context, listener, options)
  options.idle_seconds = context.options.idle_connection_timeout
  options.refuse, options.on_error = server.refuse, on_error
  options.streams = server.streams
  engine.server.http(listener, function(request)
    M.refresh(context)
    return server.handle(request, context)
  end, options)
end

-- A connection is made before there is a request to refresh with, and a new
-- CA is to be every worker's soon, not when somebody asks it next.
local function look_for_news(context)
  engine.server.spawn(function()
    while not engine.server.stopping() do
      M.refresh(context)
      engine.server.sleep(LOOK)
    end
  end, on_error)
end

-- A worker writes no file, the log's least of all. An HSM's module may have
-- files of its own.
local function confine(options)
  if options.ca == "pkcs11ca" then return end
  local ok, message = engine.system.read_only()
  if not ok then
    log.debug("workers are not kept from files", { error = message })
  end
end

--- Answers until it is told to stop.
function M.run(world, listeners)
  -- Requests leave garbage, the rest stays. What is young is collected while
  -- the processor's cache still has it.
  collectgarbage("generational")
  world.ca:start(world.begun)
  confine(world.options)
  local context = M.context(world)
  serve(context, listeners.http, { tls = world.tls.http })
  if listeners.grpc ~= listeners.http then
    serve(context, listeners.grpc, { tls = world.tls.grpc })
  end
  if listeners.legacy then
    local named = listeners.legacy.address:sub(1, 1) == "@"
    serve(context, listeners.legacy, { same_user = named })
  end
  engine.server.http(listeners.metrics, metrics_page, {
    request_seconds = context.options.read_header_timeout,
    refuse = server.refuse, on_error = on_error })
  if next(world.tls) or world.seal then look_for_news(context) end
  log.gather()
  engine.server.run()
end

return M
