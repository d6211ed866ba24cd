--- A CA pool of Google CA Service: its name, and the chains of its CAs.

local engine = require("fulcio.engine")
local log = require("fulcio.log")

local PATTERN = "^(projects/([^/]+)/locations/([^/]+)/caPools/([^/]+))(.*)$"

local Pool = {}
Pool.__index = Pool

-- A chain of PEM texts, the CA first and its root last, when it holds now.
local function chain_of(pems)
  if type(pems) ~= "table" then return nil, "no list of certificates" end
  local chain = {}
  for i = 1, #pems do
    local found, message = engine.x509.parse(tostring(pems[i]))
    if not found then return nil, message end
    chain[i] = found[1]
  end
  if not chain[1] then return nil, "no certificate" end
  local ok, message = engine.x509.verify(chain,
                                         { time = engine.system.now() })
  if not ok then return nil, message end
  return chain
end

local function chains_of(lists)
  local chains, last = {}, "the pool has no CA"
  for _, pems in ipairs(lists) do
    local chain, message = chain_of(pems)
    if chain then
      chains[#chains + 1] = chain
    else
      last = message
      log.warn("a CA of the pool is left out", { error = message })
    end
  end
  if chains[1] then return chains end
  return nil, { message = "CA certificates of the pool: " .. last,
                final = true }
end

local function one_authority(self, client, deadline)
  local name = self.name .. "/certificateAuthorities/" .. self.authority
  local answer, failed = client:call({
    name = "certificateAuthorities.get", path = "/v1/" .. name,
    deadline = deadline, resource = name,
    permission = "privateca.certificateAuthorities.get",
    params = "name=" .. name,
  })
  if not answer then return nil, failed end
  return chains_of({ answer.pemCaCertificates })
end

--- The chains of its CAs (of the one CA, when the parent names one): lists
--- of x509 objects, the root last; nil, failure.
function Pool:chains(client, deadline)
  if self.authority then return one_authority(self, client, deadline) end
  local answer, failed = client:call({
    name = "caPools.fetchCaCerts", path = "/v1/" .. self.name
      .. ":fetchCaCerts", body = "{}", deadline = deadline,
    resource = self.name, permission = "privateca.caPools.get",
    params = "ca_pool=" .. self.name,
  })
  if not answer then return nil, failed end
  local lists = {}
  local all = type(answer.caCerts) == "table" and answer.caCerts or {}
  for i = 1, #all do
    lists[i] = type(all[i]) == "table" and all[i].certificates or {}
  end
  return chains_of(lists)
end

--- Its tier, "ENTERPRISE" or "DEVOPS"; nil where it may not be asked.
function Pool:tier(client, deadline)
  local answer = client:call({
    name = "caPools.get", path = "/v1/" .. self.name, deadline = deadline,
    resource = self.name, permission = "privateca.caPools.get",
    params = "name=" .. self.name,
  })
  return answer and answer.tier
end

local M = {}

--- Of projects/P/locations/L/caPools/POOL[/certificateAuthorities/ID];
--- nil and a message.
function M.parse(parent)
  local name, _, _, _, rest = parent:match(PATTERN)
  local authority = rest and rest:match("^/certificateAuthorities/([^/]+)$")
  if not name or rest ~= "" and not authority or parent:find("[%s?#%%]") then
    return nil, ("--gcp_private_ca_parent: %q is not projects/P/locations/L"
      .. "/caPools/POOL[/certificateAuthorities/ID]"):format(parent)
  end
  return setmetatable({ name = name, authority = authority }, Pool)
end

return M
