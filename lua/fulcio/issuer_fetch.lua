--- Asks an issuer for its keys: one fetch at a time, for all who wait.
---
--- `self` is the cache of issuers.lua, `entry` what it knows of one issuer.

local discovery = require("fulcio.discovery")
local log = require("fulcio.log")
local metrics = require("fulcio.metrics")
local shelf = require("fulcio.shelf")

local TIMEOUT = 5            -- seconds, discovery and keys together
local FAILURE = 30           -- a failure is remembered so long

local CLUSTER = "https://kubernetes.default.svc"

--- Seconds after which what an issuer said is asked for again: keys beside
--- their use, a discovery document with the next keys.
local FRESH = 300

local M = { FRESH = FRESH }

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

--- Starts a fetch of the keys (`whole`: and of the discovery document).
function M.start(self, entry, whole)
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

--- The fetch under way, if any; one that hangs is not waited for for ever.
function M.under_way(self, entry)
  local flight = entry.flight
  return flight and self.clock() - flight.started < 2 * TIMEOUT and flight
end

--- As start, and returns when it has ended, or the one under way has.
function M.wait(self, entry, whole)
  await(self, M.under_way(self, entry) or M.start(self, entry, whole))
end

return M
