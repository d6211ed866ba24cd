--- The rules that Fulcio checks when it loads its identity configuration,
--- in its own words.

local engine = require("fulcio.engine")

local M = {}

local types = {
  email = "email",
  uri = "sub", username = "sub", spiffe = "sub", kubernetes = "sub",
  ["github-workflow"] = "sub", ["gitlab-pipeline"] = "sub",
  ["buildkite-job"] = "sub", ["codefresh-workflow"] = "sub",
  ["chainguard-identity"] = "sub", ["ci-provider"] = "sub",
}

--- The claim that the configuration address reports for an issuer; "" when
--- its type is unknown and it names none.
function M.challenge_claim(issuer)
  if issuer.challenge_claim ~= "" then return issuer.challenge_claim end
  return types[issuer.type] or ""
end

--- Whether Fulcio has such a type.
function M.known(kind)
  return types[kind] ~= nil
end

local function labels(host)
  local list = {}
  for label in (host .. "."):gmatch("([^.]*)%.") do
    list[#list + 1] = label
  end
  return list
end

-- Both hosts are the same, or share their last two labels.
local function related(subject, issuer)
  if subject == issuer then return nil end
  local a, b = labels(subject), labels(issuer)
  if #a < 2 then return "URI hostname too short: " .. subject end
  if #b < 2 then return "URI hostname too short: " .. issuer end
  if a[#a] == b[#b] and a[#a - 1] == b[#b - 1] then return nil end
  return ("hostname top-level and second-level domains do not match: %s, %s")
    :format(subject, issuer)
end

-- A URL's scheme and host; its message when it does not parse.
local function parts(text)
  local uri, message = engine.uri.parse(text)
  if not uri then return nil, nil, message end
  return uri.scheme or "", uri.host or ""
end

local rules = {}

function rules.spiffe(issuer)
  local domain = issuer.trust_domain
  if domain == "" then
    return "spiffe issuer must have SPIFFETrustDomain set"
  end
  if not M.trust_domain(domain) then return "spiffe trust domain is invalid" end
end

function rules.uri(issuer)
  if issuer.subject_domain == "" then
    return "uri issuer must have SubjectDomain set"
  end
  local scheme, host, message = parts(issuer.subject_domain)
  if message then return message end
  if scheme == "" then return "SubjectDomain for uri must contain scheme" end
  local issuer_scheme, issuer_host
  issuer_scheme, issuer_host, message = parts(issuer.url)
  if message then return message end
  if issuer_scheme == "" then return "issuer for uri must contain scheme" end
  if scheme ~= issuer_scheme then
    return ("subject (%s) and issuer (%s) URI schemes do not match")
      :format(scheme, issuer_scheme)
  end
  return related(host, issuer_host)
end

function rules.username(issuer)
  if issuer.subject_domain == "" then
    return "username issuer must have SubjectDomain set"
  end
  local scheme, _, message = parts(issuer.subject_domain)
  if message then return message end
  if scheme ~= "" then
    return "SubjectDomain for username should not contain scheme"
  end
  local issuer_scheme, issuer_host
  issuer_scheme, issuer_host, message = parts(issuer.url)
  if message then return message end
  if issuer_scheme == "" then
    return "issuer for username must contain scheme"
  end
  return related(issuer.subject_domain, issuer_host)
end

--- The trust domain that a text names, "example.com" or "spiffe://…"; nil
--- when it names none.
function M.trust_domain(text)
  if text:find(":/", 1, true) then return (engine.uri.spiffe(text)) end
  local domain = engine.uri.spiffe("spiffe://" .. text)
  return domain == text and domain or nil
end

local function bad_ca(issuer, what)
  if issuer.ca_cert == "" or engine.x509.parse(issuer.ca_cert) then
    return nil
  end
  return ("failed to parse CA certificate for %s %s")
    :format(what, issuer.url ~= "" and issuer.url or issuer.key)
end

--- What is wrong with an issuer, nil when nothing is. `meta`: its key is a
--- pattern, and stands for its URL.
function M.check(issuer, meta)
  local message = bad_ca(issuer, meta and "meta issuer" or "issuer")
  if message then return message end
  if meta and issuer.type == "spiffe" then
    return "SPIFFE meta issuers not supported"
  end
  if issuer.issuer_claim ~= "" and issuer.type ~= "email" then
    return "only email issuers can use issuer claim mapping"
  end
  local rule = rules[issuer.type]
  message = rule and rule(issuer)
  if message then return message end
  if M.challenge_claim(issuer) == "" then
    return "issuer missing challenge claim"
  end
end

return M
