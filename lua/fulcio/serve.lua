--- `fulcio serve`: checks everything first, then starts the processes.

local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local log = require("fulcio.log")
local options = require("fulcio.options")
local startup = require("fulcio.startup")
local worker = require("fulcio.worker")

-- What stops a start: one or many sentences, each a line.
local function refuse(errors)
  if type(errors) ~= "table" then errors = { errors } end
  for _, message in ipairs(errors) do
    io.stderr:write("fulcio serve: ", message, "\n")
  end
  return 1
end

-- Opens a listener for a pair of flags; nil and a message that names them.
local function listen(settings, name)
  local host = settings[name == "http" and "host" or name .. "_host"]
  local port = settings[name == "http" and "port" or name .. "_port"]
  local listener, message = engine.server.listen({ host = host, port = port })
  if listener then return listener end
  return nil, ("--%s: %s"):format(name == "http" and "port"
                                  or name .. "-port", message)
end

-- Opens what the options name, and leaves root behind once the ports that
-- may need it are open; nil and a message.
local function open_listeners(settings)
  local found = {}
  local ok, message
  for _, name in ipairs({ "http", "metrics" }) do
    found[name], message = listen(settings, name)
    if message then return nil, message end
  end
  ok, message = engine.system.harden({
    user = settings.user ~= "" and settings.user or nil })
  if not ok then return nil, "--user: " .. message end
  ok, message = engine.system.mkdir(settings.data_dir)
  if not ok then return nil, "--data-dir: " .. message end
  if settings.ct_log_url then return found end
  found.log, message = ctlog.listen({
    data_dir = settings.data_dir, host = settings.ctlog_host,
    port = settings.ctlog_port,
  })
  if not found.log then
    return nil, "--data-dir, --ctlog-port: " .. message
  end
  found.ctlog = found.log.tcp
  return found
end

-- Tells people, and DATA_DIR/ports.json, where everything listens.
local function announce(settings, listeners)
  local ports = {}
  for _, name in ipairs({ "http", "metrics", "ctlog" }) do
    local listener = listeners[name]
    if listener then
      ports[name] = listener.port
      log.info("listening", { service = name,
                              url = "http://" .. listener.address })
    end
  end
  log.info("gRPC is not built yet: its port is not opened",
           { port = settings.grpc_port })
  return engine.system.write(settings.data_dir .. "/ports.json",
                             json.encode(ports) .. "\n")
end

local function warn(settings)
  if settings.ct_log_url == "" then
    log.warn("certificates leave without an SCT: --ct-log-url is empty")
  end
  for _, name in ipairs(startup.ignored(settings)) do
    log.warn("a flag of another CA has no effect", { flag = name })
  end
  if settings.development then
    log.warn("--development: never in production")
  end
end

-- The roots our own log takes: of the CA as it is now.
local function roots(world)
  return function()
    local text, pems = engine.server.published(), {}
    local news = text and engine.claims.parse(text) or {}
    local chains = {}
    for i, chain in ipairs(news.pool or { news.chain }) do
      chains[i] = engine.x509.parse(chain)
    end
    if not chains[1] then chains = world.ca:bundle() end
    for i, certificates in ipairs(chains) do
      pems[i] = certificates[#certificates].pem
    end
    return pems
  end
end

local function run_log(world, listeners)
  world.ca:close()
  local ok, message = ctlog.run({
    data_dir = world.options.data_dir, listeners = listeners.log,
    roots = roots(world),
  })
  if not ok then error("the log does not start: " .. message, 0) end
end

local function roles(world, listeners)
  local list = {}
  if listeners.log then
    list[1] = { name = "ctlog", count = 1,
                run = function() run_log(world, listeners) end }
  end
  list[#list + 1] = {
    name = "worker",
    count = world.options.workers or engine.system.processors(),
    run = function() worker.run(world, listeners) end,
  }
  return list
end

local M = {}

--- Serves until SIGTERM or SIGINT; returns the exit status.
function M.run(arguments)
  local settings, wrong = options.parse("serve", arguments)
  if not settings then return refuse(wrong) end
  log.open({ mode = settings.log_type })
  local world, listeners, ok
  world, wrong = startup.prepare(settings)
  if not world then return refuse(wrong) end
  listeners, wrong = open_listeners(settings)
  if not listeners then return refuse(wrong) end
  ok, wrong = announce(settings, listeners)
  if not ok then return refuse("--data-dir: " .. wrong) end
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
