--- Files that the supervisor looks at for all: when they change and are
--- good, it publishes what they say; else all keep what they have.

local engine = require("fulcio.engine")
local file = require("fulcio.ca.file")
local json = require("fulcio.json")
local log = require("fulcio.log")
local policyset = require("fulcio.policyset")
local tls = require("fulcio.tls")

local Watch = {}
Watch.__index = Watch

local function publish(world)
  world.generation = engine.server.publish(json.encode({
    chain = world.ca.pem, key = world.sealed, pool = world.ca.pems,
    sources = world.sources, revision = world.sources.revision,
    tls_revision = world.tls_revision,
  }))
end

-- Chain and key go to the workers together. Who read the key from its file
-- would read it later, when it may be another pair's, and so stay behind.
local function reload_ca(world)
  local ca, sealed, message
  ca, message = file.open(world.options)
  if ca then sealed, message = file.seal(ca, world.seal) end
  if not sealed then
    log.error("the CA stays as it was", { error = message })
    return false
  end
  world.ca, world.sealed = ca, sealed
  log.info("the CA's chain and key are new", {
    serial = ca.chain[1].serial, subject = ca.chain[1].subject })
  return true
end

local function reload_policies(world)
  local sources, message = policyset.read(world.options)
  local policies, errors, left = nil, { message }, nil
  if sources then
    policies, errors, left = policyset.load(sources, world.options, true)
  end
  if not policies then
    for _, wrong in ipairs(errors) do
      log.error("the policies stay as they were", { error = wrong })
    end
    return false
  end
  policyset.tell(left)
  sources.revision = world.sources.revision + 1
  world.policies, world.sources = policies, sources
  log.info("the policies are new", { files = #sources })
  return true
end

-- Workers load the files by themselves: their keys are not for publishing.
local function reload_tls(world)
  local errors = tls.reload(world.tls)
  for _, message in ipairs(errors) do
    log.error("a port's certificate stays as it was", { error = message })
  end
  if errors[1] then return false end
  world.tls_revision = world.tls_revision + 1
  log.info("the ports' certificates are new")
  return true
end

function Watch:stamps()
  return {
    ca = self.files and file.stamp(self.world.options) or "",
    policies = policyset.stamp(self.world.options),
    tls = tls.stamp(self.world.options),
  }
end

-- Whether a step changed something. One that throws has not, and leaves the
-- others of this look, and what they changed, as they are.
local function changes(event, step, ...)
  local ok, changed = xpcall(step, function(thrown)
    log.error(event, { trace = debug.traceback(tostring(thrown), 2) })
  end, ...)
  return ok and changed or false
end

--- Looks once. `forced`: loads everything, changed or not.
function Watch:look(forced)
  local before, now, changed = self.seen, self:stamps(), false
  self.seen = now
  if self.files and (forced or self.changes and now.ca ~= before.ca) then
    changed = changes("the CA stays as it was", reload_ca, self.world)
  end
  if forced or now.policies ~= before.policies then
    changed = changes("the policies stay as they were", reload_policies,
                      self.world) or changed
  end
  local ca = self.world.ca
  if ca and ca.renew then
    changed = changes("the CA is not renewed", ca.renew, ca, forced)
      or changed
  end
  local secured = self.world.tls and next(self.world.tls)
  if secured and (forced or now.tls ~= before.tls) then
    changed = changes("the ports' certificates stay as they were",
                      reload_tls, self.world) or changed
  end
  if changed then publish(self.world) end
end

local M = {}

--- Watches the files of `world.options`: the policies', those of ports that
--- speak TLS, and a CA's when `--fileca-watch` is on. To be made before they
--- are loaded, and before workers are forked: they inherit `world.seal`, with
--- which a CA's new key gets to them.
function M.new(world)
  local options = world.options
  if options.ca == "fileca" then world.seal = engine.pkey.seal() end
  local watch = setmetatable({
    world = world,
    files = options.ca == "fileca",
    changes = options.fileca_watch,
  }, Watch)
  watch.seen = watch:stamps()
  return watch
end

return M
