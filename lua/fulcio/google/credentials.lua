--- Google's application default credentials: found where Google's own
--- clients look, in their order, and turned into access tokens that are
--- fetched once for all who wait and renewed before they end.

local authorized_user = require("fulcio.google.authorized_user")
local engine = require("fulcio.engine")
local federation = require("fulcio.google.federation")
local impersonation = require("fulcio.google.impersonation")
local log = require("fulcio.log")
local metadata = require("fulcio.google.metadata")
local service_account = require("fulcio.google.service_account")

local WELL_KNOWN = "application_default_credentials.json"

-- A token is renewed so many seconds before its end; a failure is not
-- repeated sooner than that; nobody waits longer for a fetch.
local EARLY, FAILED, PATIENCE = 225, 1, 6

local open_type

local function impersonated(data, how)
  local source = data.source_credentials
  if type(source) ~= "table" then
    return nil, "source_credentials: missing"
  end
  source.key = data.key
  local base, message = open_type(source, how, true)
  if not base then return nil, "source_credentials: " .. message end
  return impersonation.open(data.service_account_impersonation_url, base,
    { delegates = data.delegates }, how)
end

local types = {
  service_account = service_account.open,
  authorized_user = authorized_user.open,
  external_account = federation.open,
  impersonated_service_account = impersonated,
}

-- `nested`: the token is for the IAM credentials service.
function open_type(data, how, nested)
  local open = types[data.type]
  if open then return open(data, how, nested) end
  return nil, ("type: %q is not supported: use service_account,"
    .. " authorized_user, external_account or impersonated_service_account")
    :format(tostring(data.type))
end

local function open_file(path, how)
  local text, key, code = engine.pkey.open_json(path)
  if not text then return nil, key, code end
  local data, message = engine.claims.parse(text)
  if type(data) ~= "table" then
    return nil, ("%s: %s"):format(path, message or "not a JSON object")
  end
  local universe = data.universe_domain
  if universe ~= nil and universe ~= "googleapis.com" then
    return nil, ("%s: universe_domain: %q is not supported")
      :format(path, tostring(universe))
  end
  data.key = key
  local source
  source, message = open_type(data, how)
  if not source then return nil, path .. ": " .. message end
  local project = data.quota_project_id
  return source, type(project) == "string" and project or nil
end

local function well_known(environment)
  local directory = environment.CLOUDSDK_CONFIG
  if not directory or directory == "" then
    directory = (environment.HOME or "") .. "/.config/gcloud"
  end
  local path = directory .. "/" .. WELL_KNOWN
  return engine.system.stat(path) and path or nil
end

local function find(environment, how)
  local named = environment.GOOGLE_APPLICATION_CREDENTIALS
  if named and named ~= "" then
    local source, more = open_file(named, how)
    if source then return source, more end
    return nil, "GOOGLE_APPLICATION_CREDENTIALS: " .. more
  end
  local path = well_known(environment)
  if path then return open_file(path, how) end
  return metadata.open(environment)
end

local Credentials = {}
Credentials.__index = Credentials

-- Never throws: whoever waits for this must be woken.
local function refresh(self)
  local deadline = engine.system.monotonic() + PATIENCE
  local ran, found, message, code = pcall(self.source.fetch, self.source, {
    deadline = deadline, refused = self.refused })
  if not ran then found, message, code = nil, found, "unavailable" end
  if found then
    self.held, self.failure, self.refused = found, nil, nil
    return
  end
  self.failure = { message = message, code = code,
                   again = engine.system.monotonic() + FAILED }
  log.warn("no access token of Google", { error = message })
end

local function start(self)
  local flight = { signal = self.server and self.server.signal() }
  self.flight = flight
  local function run()
    refresh(self)
    self.flight, flight.landed = nil, true
    if flight.signal then flight.signal:wake() end
  end
  if self.server then self.server.spawn(run) else run() end
  return flight
end

local function await(flight, deadline)
  while flight.signal and not flight.landed do
    local left = deadline - engine.system.monotonic()
    if left <= 0 then return end
    flight.signal:wait(left)
  end
end

--- The token to send now; nil, message, and "refused" or "unavailable".
--- Waits until `deadline` (monotonic) at most.
function Credentials:token(deadline)
  local now = engine.system.monotonic()
  local held, failure = self.held, self.failure
  local resting = failure and now < failure.again
  if held and now < held.expires then
    if now >= held.expires - EARLY and not self.flight and not resting then
      start(self)
      held = self.held
    end
    return held.token
  end
  if resting then return nil, failure.message, failure.code end
  await(self.flight or start(self), deadline)
  held, failure = self.held, self.failure
  if held and engine.system.monotonic() < held.expires then
    return held.token
  end
  if failure then return nil, failure.message, failure.code end
  return nil, "no access token in time", "unavailable"
end

--- Forgets a token that Google did not take; one that was renewed
--- meanwhile stays.
function Credentials:drop(token)
  if self.held and self.held.token == token then
    self.held, self.refused = nil, true
  end
end

--- From now on on this process's event loop.
function Credentials:on_loop(server)
  self.server = server
end

local M = {}

--- Finds them. `options`: hosts (further ones that may be sent secrets),
--- environment (variables by name). nil and a message that names file,
--- field and remedy.
function M.open(options)
  local source, more = find(options.environment, { hosts = options.hosts })
  if not source then return nil, more end
  return setmetatable({ source = source, quota_project = more },
                      Credentials)
end

return M
