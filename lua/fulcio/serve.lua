--- `fulcio serve`: checks everything first, then starts the processes.

local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local log = require("fulcio.log")
local options = require("fulcio.options")
local policyset = require("fulcio.policyset")
local proof = require("fulcio.proof")
local watch = require("fulcio.watch")
local worker = require("fulcio.worker")

local backends = {
  ephemeralca = "fulcio.ca.ephemeral",
  fileca = "fulcio.ca.file",
}

-- What stops a start: one or many sentences, each a line.
local function refuse(errors)
  if type(errors) ~= "table" then errors = { errors } end
  for _, message in ipairs(errors) do
    io.stderr:write("fulcio serve: ", message, "\n")
  end
  return 1
end

local function is_loopback(host)
  return host == "localhost" or host == "::1"
    or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function open_ca(settings)
  local backend = backends[settings.ca]
  if not backend then
    return nil, ("--ca=%s is not built yet. Try: fileca or ephemeralca")
      :format(settings.ca)
  end
  return require(backend).open(settings)
end

-- Everything that a start needs and that can be wrong; nil and all that is.
local function prepare(settings)
  local world, errors = { options = settings, generation = 0 }, {}
  local function checked(value, wrong)
    for _, text in ipairs(type(wrong) == "table" and wrong or { wrong }) do
      errors[#errors + 1] = text
    end
    return value
  end
  settings.loopback = is_loopback(settings.host)
    and is_loopback(settings.grpc_host)
  world.watch = watch.new(world)
  world.algorithms =
    checked(proof.algorithms(settings.client_signing_algorithms))
  world.sources = checked(policyset.read(settings))
  if world.sources then
    world.sources.revision = 0
    world.policies = checked(policyset.load(world.sources, settings))
  end
  world.ca = checked(open_ca(settings))
  if errors[1] then return nil, errors end
  return world
end

local function url(listener)
  return "http://" .. listener.address
end

-- Opens all listeners, by name; nil and a message.
local function open_listeners(settings)
  local wanted = {
    { "http", "--port", host = settings.host, port = settings.port },
    { "metrics", "--metrics-port", host = settings.metrics_host,
      port = settings.metrics_port },
    settings.ct_log_url == nil and
      { "ctlog", "--ctlog-port", host = settings.ctlog_host,
        port = settings.ctlog_port } or nil,
  }
  local found = {}
  for _, where in ipairs(wanted) do
    local listener, message = engine.server.listen({
      host = where.host, port = where.port })
    if not listener then return nil, where[2] .. ": " .. message end
    found[where[1]] = listener
  end
  if not found.ctlog then return found end
  local message
  found.ctlog_socket, message = engine.server.listen({
    unix = settings.data_dir .. "/ctlog.sock", mode = 384 })
  if not found.ctlog_socket then return nil, message end
  return found
end

-- Tells people, and DATA_DIR/ports.json, where everything listens.
local function announce(settings, listeners)
  local ports = {}
  for _, name in ipairs({ "http", "metrics", "ctlog" }) do
    local listener = listeners[name]
    if listener then
      ports[name] = listener.port
      log.info("listening", { service = name, url = url(listener) })
    end
  end
  log.info("gRPC is not built yet: its port is not opened",
           { port = settings.grpc_port })
  return engine.system.write(settings.data_dir .. "/ports.json",
                             json.encode(ports) .. "\n")
end

local function warn(settings)
  if settings.ct_log_url == "" then
    log.warn('certificates leave without an SCT: --ct-log-url is ""')
  end
  if settings.development then
    log.warn("--development: never in production")
  end
end

local function roles(world, listeners)
  local list = {}
  if listeners.ctlog then
    list[1] = { name = "ctlog", count = 1, run = function()
      world.ca:close()
      ctlog.run(world, listeners)
    end }
  end
  list[#list + 1] = {
    name = "worker",
    count = world.options.workers or engine.system.processors(),
    run = function() worker.run(world, listeners) end,
  }
  return list
end

-- From root to what it needs; nil and a message.
local function settle(settings)
  local ok, message = engine.system.mkdir(settings.data_dir)
  if not ok then return nil, "--data-dir: " .. message end
  local listeners
  listeners, message = open_listeners(settings)
  if not listeners then return nil, message end
  ok, message = engine.system.harden({
    user = settings.user ~= "" and settings.user or nil })
  if not ok then return nil, message end
  ok, message = announce(settings, listeners)
  if not ok then return nil, "--data-dir: " .. message end
  return listeners
end

local M = {}

--- Serves until SIGTERM or SIGINT; returns the exit status.
function M.run(arguments)
  local settings, wrong = options.parse("serve", arguments)
  if not settings then return refuse(wrong) end
  log.open({ mode = settings.log_type })
  local world, listeners, ok
  world, wrong = prepare(settings)
  if not world then return refuse(wrong) end
  listeners, wrong = settle(settings)
  if not listeners then return refuse(wrong) end
  warn(settings)
  ok, wrong = engine.server.supervise({
    roles = roles(world, listeners),
    on_ready = function() engine.system.notify("READY=1") end,
    on_reload = function() world.watch:look(true) end,
    on_tick = function() world.watch:look(false) end,
  })
  return ok and 0 or refuse(wrong)
end

return M
