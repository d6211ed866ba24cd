--- `fulcio serve`: checks everything first, then starts the processes.

local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local listeners = require("fulcio.listeners")
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

-- The roots our own log takes: of the CA as it is now; nil when they are
-- the same as before.
local function roots(world)
  local known
  return function()
    local text, generation = engine.server.published(known)
    if known and not text then return nil end
    known = generation
    local news = text and engine.claims.parse(text) or {}
    local chains, pems = {}, {}
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

local function run_log(world, open)
  -- The log reads what is published, and must not get at the CA's key.
  world.seal = nil
  world.ca:close()
  local ok, message = ctlog.run({
    data_dir = world.options.data_dir, listeners = open.log,
    roots = roots(world),
  })
  if not ok then error("the log does not start: " .. message, 0) end
end

local function roles(world, open)
  local list = {}
  if open.log then
    list[1] = { name = "ctlog", count = 1,
                run = function() run_log(world, open) end }
  end
  list[#list + 1] = {
    name = "worker",
    count = world.options.workers or engine.system.processors(),
    run = function() worker.run(world, open) end,
  }
  return list
end

local M = {}

--- Serves until SIGTERM or SIGINT; returns the exit status.
function M.run(arguments)
  local settings, wrong = options.parse("serve", arguments)
  if not settings then return refuse(wrong) end
  log.open({ mode = settings.log_type })
  local world, open, ok
  world, wrong = startup.prepare(settings)
  if not world then return refuse(wrong) end
  open, wrong = listeners.open(settings)
  if not open then return refuse(wrong) end
  ok, wrong = listeners.announce(settings, open, world.tls)
  if not ok then return refuse("--data-dir: " .. wrong) end
  warn(settings)
  ok, wrong = engine.server.supervise({
    roles = roles(world, open),
    on_ready = function()
      world.begun = true
      engine.system.notify("READY=1")
    end,
    on_reload = function() world.watch:look(true) end,
    on_tick = function() world.watch:look(false) end,
  })
  return ok and 0 or refuse(wrong)
end

return M
