--- Where the server listens: sockets opened, and told to who looks for them.

local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local log = require("fulcio.log")
local socket = require("fulcio.socket")
local tls = require("fulcio.tls")

local M = {}

-- Opens a listener for a pair of flags; nil and a message that names them.
local function listen(settings, name)
  local host = settings[name == "http" and "host" or name .. "_host"]
  local port = settings[name == "http" and "port" or name .. "_port"]
  local listener, message = socket.listen({ host = host, port = port })
  if listener then return listener end
  return nil, ("--%s: %s"):format(name == "http" and "port"
                                  or name .. "-port", message)
end

-- The socket of older clients: nobody else's on this machine.
local function listen_legacy(path)
  local listener, message = socket.listen({ unix = path,
                                            mode = 384 })  -- 0600
  if listener then return listener end
  return nil, "--legacy-unix-domain-socket: " .. message
end

local function open_ports(settings)
  local found, message = {}
  for _, name in ipairs({ "http", "metrics" }) do
    found[name], message = listen(settings, name)
    if message then return nil, message end
  end
  if tls.is_shared(settings) then
    found.grpc = found.http
  else
    found.grpc, message = listen(settings, "grpc")
    if message then return nil, message end
  end
  return found
end

-- Whoever can write in it could put his own socket in the log's place.
local function open_data(path)
  local ok, message = engine.system.mkdir(path)
  if not ok then return nil, message end
  local mode = engine.system.stat(path).mode
  if mode % 32 >= 16 or mode % 4 >= 2 then
    return nil, ("%s: others can write in it (chmod 700 %s)"):format(path,
                                                                     path)
  end
  return true
end

local function open_log(settings)
  local found, message = ctlog.listen({
    data_dir = settings.data_dir, host = settings.ctlog_host,
    port = settings.ctlog_port,
  })
  if found then return found end
  return nil, "--data-dir, --ctlog-port: " .. message
end

--- Opens what the options name, and leaves root behind once the ports that
--- may need it are open: { http, grpc (the same when they share a port),
--- metrics, legacy?, ctlog?, log? }; nil and a message.
function M.open(settings)
  local found, message = open_ports(settings)
  if not found then return nil, message end
  local ok
  ok, message = engine.system.harden({
    user = settings.user ~= "" and settings.user or nil })
  if not ok then return nil, "--user: " .. message end
  ok, message = open_data(settings.data_dir)
  if not ok then return nil, "--data-dir: " .. message end
  if settings.legacy_unix_domain_socket ~= "" then
    found.legacy, message = listen_legacy(settings.legacy_unix_domain_socket)
    if not found.legacy then return nil, message end
  end
  if settings.ct_log_url then return found end
  found.log, message = open_log(settings)
  if not found.log then return nil, message end
  found.ctlog = found.log.tcp
  return found
end

--- Tells people, and DATA_DIR/ports.json, where everything listens;
--- `secured` has the ports that speak TLS. nil and a message.
function M.announce(settings, found, secured)
  local ports = {}
  for _, name in ipairs({ "http", "grpc", "metrics", "ctlog" }) do
    local listener = found[name]
    if listener then
      ports[name] = listener.port
      log.info("listening", { service = name, url =
        (secured[name] and "https://" or "http://") .. listener.address })
    end
  end
  if found.legacy then
    log.info("listening", { service = "legacy",
                            url = "unix:" .. found.legacy.address })
  end
  return engine.system.write(settings.data_dir .. "/ports.json",
                             json.encode(ports) .. "\n")
end

return M
