--- What a verifier must trust, and whom this CA believes.

local json = require("fulcio.json")
local reply = require("fulcio.reply")

-- What is computed of a CA or a policy set once, for as long as it is used.
local texts = setmetatable({}, { __mode = "k" })

local function once(object, name, make)
  local key = object.chain or object -- a CA may get another chain
  local made = texts[key]
  if not made then
    made = {}
    texts[key] = made
  end
  if not made[name] then made[name] = make(object) end
  return made[name]
end

local function trimmed(certificate)
  return (certificate.pem:gsub("%s+$", ""))
end

local function chain(ca)
  local pems = {}
  for i, certificate in ipairs(ca.chain) do pems[i] = trimmed(certificate) end
  return pems
end

-- Every chain, a blank line between two certificates.
local function roots(ca)
  local pems = {}
  for _, certificates in ipairs(ca:bundle()) do
    for _, certificate in ipairs(certificates) do
      pems[#pems + 1] = trimmed(certificate)
    end
  end
  return table.concat(pems, "\n\n")
end

local function configuration(policies)
  local issuers = json.list({})
  for i, issuer in ipairs(policies:issuers()) do
    issuers[i] = {
      issuerUrl = issuer.issuer,
      wildcardIssuerUrl = issuer.wildcard,
      audience = issuer.audience or "",
      challengeClaim = issuer.challenge_claim or "",
      spiffeTrustDomain = issuer.spiffe_trust_domain or "",
      issuerType = issuer.type or "",
      subjectDomain = issuer.subject_domain or "",
      skipEmailVerification = issuer.skip_email_verification or false,
    }
  end
  return json.encode({ issuers = issuers })
end

local function chains(ca)
  local list = {}
  for i, certificates in ipairs(ca:bundle()) do
    local pems = {}
    for j, certificate in ipairs(certificates) do
      pems[j] = certificate.pem
    end
    list[i] = { certificates = pems }
  end
  return list
end

local M = {}

--- The trust bundle: chains of PEM texts, each { certificates = … }.
function M.chains(ca)
  return once(ca, "chains", chains)
end

--- Every certificate of the bundle as one PEM text.
function M.roots(ca)
  return once(ca, "roots", roots)
end

--- A CA's chain as PEM texts without final newline.
function M.chain(ca)
  return once(ca, "chain", chain)
end

local function bundle(ca)
  local list = json.list({})
  for i, chain_of in ipairs(M.chains(ca)) do
    list[i] = { certificates = json.list(chain_of.certificates) }
  end
  return json.encode({ chains = list })
end

--- GET /api/v2/trustBundle
function M.bundle(_, context)
  return reply.json(once(context.ca, "bundle", bundle))
end

--- GET /api/v1/rootCert
function M.root(_, context)
  return reply.pem(M.roots(context.ca))
end

--- GET /api/v2/configuration
function M.configuration(_, context)
  return reply.json(once(context.policies, "configuration", configuration))
end

return M
