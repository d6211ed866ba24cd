--- Remembers issuers' keys: fetched once, refreshed in time, never asked
--- more often than they deserve.

local discovery = require("fulcio.discovery")
local engine = require("fulcio.engine")
local fetches = require("fulcio.issuer_fetch")
local refusal = require("fulcio.refusal")

local FRESH = fetches.FRESH
local STALE = 86400          -- seconds; older keys are not used any more
local REFETCHES = 3          -- at once for unknown keys, then one each
local REFETCH_INTERVAL = 10  --   so many seconds
local WILDCARDS = 100        -- issuers cached that only a pattern names
local NEW_WILDCARDS = 5      -- at once, then one a second

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
    if now >= entry.retry_at and not fetches.under_way(self, entry) then
      fetches.start(self, entry, true)
    end
    return true
  end
  if not fetches.under_way(self, entry) then take(entry.refetches, now) end
  fetches.wait(self, entry, true)
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
    local joined = fetches.under_way(self, entry)
    if not joined and not take(entry.refetches, self.clock()) then
      details.limited = true
      break
    end
    fetches.wait(self, entry, false)
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
