--- Remembers issuers' keys: fetched once, refreshed in time, never asked
--- more often than they deserve.

local discovery = require("fulcio.discovery")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local metrics = require("fulcio.metrics")
local refusal = require("fulcio.refusal")
local shelf = require("fulcio.shelf")

local TIMEOUT = 5            -- seconds, discovery and keys together
local FRESH = 300            -- older keys are refreshed beside their use
local STALE = 86400          -- older keys are not used any more
local FAILURE = 30           -- a failure is remembered so long
local REFETCHES = 3          -- at once for unknown keys, then one each
local REFETCH_INTERVAL = 10  --   so many seconds
local WILDCARDS = 100        -- issuers cached that only a pattern names
local NEW_WILDCARDS = 5      -- at once, then one a second

local CLUSTER = "https://kubernetes.default.svc"

local Issuers = {}
Issuers.__index = Issuers

local function bucket(capacity, interval)
  return { capacity = capacity, interval = interval, level = capacity,
           at = nil }
end

local function take(from, now)
  local gained = from.at and (now - from.at) / from.interval or 0
  from.level = math.min(from.capacity, from.level + gained)
  from.at = now
  if from.level < 1 then return false end
  from.level = from.level - 1
  return true
end

local function give_back(to)
  to.level = math.min(to.capacity, to.level + 1)
end

-- Inside a Kubernetes cluster the API server is the issuer; it wants the
-- pod's own token and has the cluster's CA.
local function cluster_access(self, entry, how)
  if entry.issuer ~= CLUSTER or entry.wildcard then return end
  if not how.ca_pem then
    how.ca_file = how.ca_file or self.kubernetes.ca_file
  end
  local token = shelf.read(self.kubernetes.token_file)
  how.bearer = token and token:match("^%s*(%S+)%s*$")
  how.host = CLUSTER:match("//(.*)$")
end

local function fetch(self, entry, whole)
  local started = self.clock()
  local how = {
    request = self.request,
    development = self.development,
    ca_file = entry.ca_file, ca_pem = entry.ca_pem,
    addresses = entry.addresses,
    timeout = function()
      return math.max(0.1, TIMEOUT - (self.clock() - started))
    end,
  }
  cluster_access(self, entry, how)
  local document, keyset, message = entry.document
  if whole or not document or started - entry.document_at > FRESH then
    document, message = discovery.document(entry.issuer, how)
    entry.document_at = started
  end
  if document then
    keyset, message = discovery.keyset(document, how)
  end
  if not keyset then return nil, message end
  entry.document, entry.keyset = document, keyset
  return true
end

-- Never throws: whoever waits for this fetch must be woken.
local function refresh(self, entry, whole)
  local ran, done, message = pcall(fetch, self, entry, whole)
  if not ran then done, message = nil, done end
  local now = self.clock()
  metrics.count("fulcio_issuer_fetches_total", done and "ok" or "failed")
  if done then
    entry.refreshed, entry.retry_at, entry.failure = now, 0, nil
  else
    entry.retry_at, entry.failure = now + FAILURE, message
    log.warn("issuer not reachable", { issuer = entry.issuer,
                                       error = message })
  end
end

local function start(self, entry, whole)
  local flight = { started = self.clock(),
                   signal = self.server and self.server.signal() }
  entry.flight = flight
  local function run()
    refresh(self, entry, whole)
    if entry.flight == flight then entry.flight = nil end
    flight.landed = true
    if flight.signal then flight.signal:wake() end
  end
  if self.server then self.server.spawn(run) else run() end
  return flight
end

local function await(self, flight)
  local deadline = self.clock() + TIMEOUT + 1
  while not flight.landed and self.clock() < deadline do
    if flight.signal then
      flight.signal:wait(deadline - self.clock())
    elseif self.sleep then
      self.sleep(0.01)
    else
      return
    end
  end
end

-- The fetch under way, if any; one that hangs is not waited for for ever.
local function flight_of(self, entry)
  local flight = entry.flight
  return flight and self.clock() - flight.started < 2 * TIMEOUT and flight
end

local function refresh_and_wait(self, entry, whole)
  await(self, flight_of(self, entry) or start(self, entry, whole))
end

local function evict(self)
  local victim, count = nil, 0
  for _, entry in pairs(self.entries) do
    if entry.wildcard then
      count = count + 1
      local rank = entry.keyset and entry.used or entry.used - STALE
      if not victim or rank < victim.rank then
        victim = { issuer = entry.issuer, rank = rank }
      end
    end
  end
  if count >= WILDCARDS then self.entries[victim.issuer] = nil end
end

local function known(self, issuer, match)
  local addresses = match.wildcard and not match.internal and "public"
    or "any"
  local now = self.clock()
  local entry = self.entries[issuer]
  if entry and entry.ca_file == match.ca_file
    and entry.ca_pem == match.ca_pem and entry.addresses == addresses then
    entry.used = now
    return entry
  end
  if match.wildcard then
    if not take(self.new_wildcards, now) then
      return nil, refusal("overloaded", { retry_after = 1, log = {
        issuer = issuer, error = "too many new issuers a second" } })
    end
    evict(self)
  end
  entry = {
    issuer = issuer, wildcard = match.wildcard or false, used = now,
    ca_file = match.ca_file, ca_pem = match.ca_pem,
    addresses = addresses, retry_at = 0,
    refetches = bucket(REFETCHES, REFETCH_INTERVAL),
  }
  self.entries[issuer] = entry
  return entry
end

-- Keys that can be used now, or a refusal.
local function ready(self, entry)
  local now = self.clock()
  local age = entry.keyset and now - entry.refreshed
  if age and age <= FRESH then return true end
  if now < entry.retry_at and (not age or age > STALE) then
    return nil, refusal("issuer_unavailable", { log = {
      issuer = entry.issuer, error = entry.failure, remembered = true } })
  end
  if age and age <= STALE then
    if now >= entry.retry_at and not flight_of(self, entry) then
      start(self, entry, true)
    end
    return true
  end
  if not flight_of(self, entry) then take(entry.refetches, now) end
  refresh_and_wait(self, entry, true)
  if entry.keyset and self.clock() - entry.refreshed <= STALE then
    return true
  end
  return nil, refusal("issuer_unavailable", { log = {
    issuer = entry.issuer, error = entry.failure or "took too long" } })
end

-- Asks the issuer again, when it may be asked. A fetch that was under way
-- already may have missed what is new, so that its end is not the last word.
local function newer_keys(self, entry, kid, algorithm, again)
  local details = { issuer = entry.issuer, kid = kid }
  for _ = 1, 2 do
    local joined = flight_of(self, entry)
    if not joined and not take(entry.refetches, self.clock()) then
      details.limited = true
      break
    end
    refresh_and_wait(self, entry, false)
    local keys = discovery.pick(entry.keyset, kid, algorithm)
    if keys[1] then
      -- Only what was asked in vain counts: rotation is not abuse.
      if not joined and not again then give_back(entry.refetches) end
      return keys
    end
    if not joined then break end
  end
  return nil, refusal("unknown_key", { log = details })
end

--- The public keys that may have signed a token of this issuer with this
--- `kid` (nil: it names none) and algorithm; nil and a refusal when there
--- are none. `match` is what the policies know of the issuer. `again`: the
--- keys given before did not verify it; asks the issuer for newer ones
--- when it may be asked, and returns nil alone when it may not.
function Issuers:keys(issuer, match, kid, algorithm, again)
  local entry, refused = known(self, issuer, match)
  if not entry then return nil, refused end
  local usable
  usable, refused = ready(self, entry)
  if not usable then return nil, refused end
  if not entry.document.algorithms[algorithm] then
    return nil, refusal("token_algorithm", {
      client = { algorithm = algorithm }, log = { issuer = issuer } })
  end
  local keys = discovery.pick(entry.keyset, kid, algorithm)
  if keys[1] and not again then return keys end
  keys, refused = newer_keys(self, entry, kid, algorithm, again)
  if keys then return keys end
  return nil, not again and refused or nil
end

local M = {}

--- Makes an empty cache. `options`, all optional: `request` (default
--- engine.http.request), `clock` (seconds, never back), `server`
--- (engine.server, in a process that runs its loop: fetches then run beside
--- the requests that wait for them), `sleep` (where there is no loop but
--- requests overlap), `development` (http://127.0.0.1 may be asked),
--- `kubernetes` (`ca_file` and `token_file` for the in-cluster issuer).
function M.new(options)
  options = options or {}
  local kubernetes = options.kubernetes or {}
  return setmetatable({
    request = options.request or engine.http.request,
    clock = options.clock or engine.system.monotonic,
    server = options.server,
    sleep = options.sleep,
    development = options.development or false,
    kubernetes = {
      ca_file = kubernetes.ca_file or "/var/run/fulcio/ca.crt",
      token_file = kubernetes.token_file
        or "/var/run/secrets/kubernetes.io/serviceaccount/token",
    },
    entries = {},
    new_wildcards = bucket(NEW_WILDCARDS, 1),
  }, Issuers)
end

return M
