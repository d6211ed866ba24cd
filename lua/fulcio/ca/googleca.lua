--- A CA that is a pool of Google CA Service. Google chooses serial number
--- and times, so there is no precertificate: SCTs are detached.

local client = require("fulcio.google.client")
local comparison = require("fulcio.google.comparison")
local credentials = require("fulcio.google.credentials")
local engine = require("fulcio.engine")
local hosts = require("fulcio.google.hosts")
local log = require("fulcio.log")
local options = require("fulcio.options")
local pacing = require("fulcio.google.pacing")
local pool = require("fulcio.google.pool")
local probe = require("fulcio.google.probe")
local refusal = require("fulcio.refusal")
local request = require("fulcio.google.request")

local ENDPOINT = "https://privateca.googleapis.com"

-- Seconds: for one certificate, whatever happens; in a queue for its turn;
-- for the start; for the pool's chains, and until they are asked for again,
-- on a schedule and when a certificate hangs on an unknown one.
local BUDGET, QUEUE, START, CHAINS = 8, 2, 9, 4
local RENEW, LEARN = 15 * 60, 10

-- Certificates a second and CA, by tier, and in all of a location.
local quotas = { ENTERPRISE = 7, DEVOPS = 25 }
local LOCATION = 100

local Google = {}
Google.__index = Google

local function monotonic() return engine.system.monotonic() end

-- Calls certificates.create: the answer; nil, failure.
local function create(self, profile, deadline, more)
  local uuid = request.uuid()
  local query = "?certificateId=f-" .. uuid .. "&requestId=" .. uuid
    .. (more or "")
  if self.pool.authority then
    query = query .. "&issuingCertificateAuthorityId=" .. self.pool.authority
  end
  return self.client:call({
    name = "certificates.create", deadline = deadline,
    path = "/v1/" .. self.pool.name .. "/certificates" .. query,
    body = request.body(profile), resource = self.pool.name,
    permission = "privateca.certificates.create",
    params = "parent=" .. self.pool.name,
  })
end

local function refuse(failed)
  local about = { log = { error = failed.message, field = failed.field,
                          permission = failed.permission } }
  if failed.final then return nil, refusal("ca_failed", about) end
  if failed.retry_after then
    about.retry_after = math.max(1, math.ceil(failed.retry_after))
  end
  return nil, refusal("ca_unavailable", about)
end

local function use(self, chains)
  self.chains, self.chain = chains, chains[1]
  self.pems = {}
  for i, chain in ipairs(chains) do
    local texts = {}
    for j, certificate in ipairs(chain) do texts[j] = certificate.pem end
    self.pems[i] = table.concat(texts)
  end
end

-- The pool's chain that a certificate hangs on.
local function chain_above(self, leaf)
  for _, chain in ipairs(self.chains) do
    if chain[1].subject_der == leaf.issuer_der
       and chain[1]:signed(leaf.der) then
      return chain
    end
  end
end

-- As chain_above; a pool may have got a new CA.
local function find_chain(self, leaf)
  local chain = chain_above(self, leaf)
  if chain or monotonic() < self.learn_at then return chain end
  self.learn_at = monotonic() + LEARN
  local chains = self.pool:chains(self.client, monotonic() + CHAINS)
  if chains then use(self, chains) end
  return chain_above(self, leaf)
end

-- The certificate in an answer and its chain; nil and what is wrong.
local function accept(self, answer, draft, now)
  local found = type(answer.pemCertificate) == "string"
    and engine.x509.parse(answer.pemCertificate)
  if not found then return nil, "no certificate in the answer" end
  local leaf = found[1]
  local ok, message = comparison.check(comparison.likeness(draft), leaf, now)
  if not ok then return nil, message end
  local chain = find_chain(self, leaf)
  if not chain then return nil, "not signed by a CA of the pool" end
  ok, message = engine.x509.verify(chain, { time = now })
  if not ok then return nil, message end
  return leaf, chain
end

local function await_turn(self)
  local wait, long = self.pacing:take(QUEUE)
  if not wait then
    return nil, refusal("ca_unavailable", { retry_after = math.ceil(long),
      log = { error = "more certificates a second than Google's quota" } })
  end
  if wait > 0 then engine.server.sleep(wait) end
  return true
end

--- Has a certificate made with a profile, as engine.draft.new takes it;
--- `draft` is a draft of it. The certificate (an x509 object) and its chain,
--- the CA's first; nil, refusal.
function Google:issue(profile, draft)
  local deadline = monotonic() + BUDGET
  local ok, refused = await_turn(self)
  if not ok then return nil, refused end
  local answer, failed = create(self, profile, deadline)
  if not answer then return refuse(failed) end
  local leaf, chain = accept(self, answer, draft, engine.system.now())
  if leaf then
    self.probe:passed()
    return leaf, chain
  end
  return nil, refusal("ca_failed", { log = {
    error = "Google CA Service made a wrong certificate: " .. chain,
    name = answer.name } })
end

--- Begins in a worker: tokens are fetched beside the requests.
function Google:start()
  self.credentials:on_loop(engine.server)
end

--- Every chain that a verifier may need.
function Google:bundle()
  return self.chains
end

--- Whether it would make what lives for `seconds`; nil and why not. Google
--- is asked once a minute at most.
function Google:ready(seconds)
  if not self.client then return nil, "the credentials are closed" end
  return self.probe:ask(function(profile, deadline)
    return create(self, profile, deadline, "&validateOnly=true")
  end, seconds)
end

--- Takes chains, as PEM texts, that another process has fetched.
function Google:take(pems)
  local chains = {}
  for i, pem in ipairs(pems) do chains[i] = assert(engine.x509.parse(pem)) end
  use(self, chains)
end

--- Asks for the pool's chains when it is time to, or at once when `forced`;
--- whether they are others than before.
function Google:renew(forced)
  if not forced and monotonic() < self.renew_at then return false end
  self.renew_at = monotonic() + RENEW
  local chains, failed = self.pool:chains(self.client, monotonic() + CHAINS)
  if not chains then
    log.error("the CA's chains stay as they were", {
      error = failed.message })
    return false
  end
  local before = table.concat(self.pems)
  use(self, chains)
  return table.concat(self.pems) ~= before
end

--- Lets go of the credentials: for a process that must not have them.
function Google:close()
  self.client, self.credentials = nil, nil
  collectgarbage()
end

-- How many certificates a second one process may ask for.
local function rate(self, settings)
  local tier = self.pool:tier(self.client, monotonic() + CHAINS)
  local quota = quotas[tier] or quotas.DEVOPS
  local workers = settings.workers or engine.system.processors()
  return math.min(LOCATION, quota * #self.chains) / workers
end

local function endpoint_of(settings)
  local url = settings.gcp_private_ca_endpoint
  if not url or url == "" then return ENDPOINT end
  local uri = engine.uri.parse(url)
  if not uri or not uri.host or uri.scheme ~= "https"
     and not (uri.scheme == "http" and hosts.is_loopback(url)) then
    return nil, ("--gcp_private_ca_endpoint: %q is not https (http only on"
      .. " loopback)"):format(url)
  end
  return (url:gsub("/+$", ""))
end

local function connect(settings)
  if settings.gcp_private_ca_parent == "" then
    return nil, "--gcp_private_ca_parent must be set when using googleca"
  end
  if settings.gcp_private_ca_version ~= "v1" then
    return nil, ("--gcp_private_ca_version: %q is not v1")
      :format(tostring(settings.gcp_private_ca_version))
  end
  local found, endpoint, message
  found, message = pool.parse(settings.gcp_private_ca_parent)
  if not found then return nil, message end
  endpoint, message = endpoint_of(settings)
  if not endpoint then return nil, message end
  local held
  held, message = credentials.open({ hosts = settings.gcp_token_hosts,
    environment = settings.environment or options.environment() })
  if not held then return nil, "--ca googleca: " .. message end
  return setmetatable({
    pool = found, credentials = held, embeds = false,
    client = client.new({ endpoint = endpoint, credentials = held }),
    probe = probe.new(), learn_at = 0, renew_at = monotonic() + RENEW,
  }, Google)
end

local M = {}

--- Opens the pool of `options`: its chains are there, and we may have
--- certificates made. nil and a message.
function M.open(settings)
  local self, message = connect(settings)
  if not self then return nil, message end
  local deadline = monotonic() + START
  local chains, failed = self.pool:chains(self.client, deadline)
  if not chains then
    return nil, "--ca googleca: " .. failed.message
  end
  use(self, chains)
  self.pacing = pacing.new(rate(self, settings))
  local ok
  ok, message = self:ready(600)
  if not ok then return nil, "--ca googleca: " .. message end
  return self
end

return M
