--- Policies: who gets a certificate, and what it says.
---
--- `load` turns files into a set, or says everything that is wrong with
--- them; a set answers which issuers it trusts and decides on claims.

local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local grant = require("fulcio.grant")
local issuer = require("fulcio.issuer")
local listing = require("fulcio.listing")
local loader = require("fulcio.loader")
local refusal = require("fulcio.refusal")
local shelf = require("fulcio.shelf")

local M = {}

local Set = {}
Set.__index = Set

-- The policies for an issuer: those that name it, then those whose glob
-- does, each by file name. Second result: how many name it.
function Set:of_issuer(iss)
  local exact = self.exact[iss]
  if exact and exact.all then return exact.all, #exact end
  local all, named = {}, {}
  for i, policy in ipairs(exact or {}) do
    all[i], named[policy] = policy, true
  end
  for _, policy in ipairs(self.policies) do
    for _, entry in ipairs(policy.issuers) do
      if entry.pattern and not named[policy] and issuer.fits(entry, iss) then
        all[#all + 1], named[policy] = policy, true
      end
    end
  end
  if exact then exact.all = all end
  return all, #(exact or {})
end

--- What is known of an issuer before its token is trusted: { audiences =
--- { sigstore = true }, ca_file, ca_pem, internal, wildcard, exact }; nil
--- when no policy is for it.
function Set:match(iss)
  local exact = self.exact[iss]
  if exact and exact.match then return exact.match end
  local policies, named = self:of_issuer(iss)
  local first = policies[1]
  if not first then return nil end
  local audiences = {}
  for _, policy in ipairs(policies) do
    for _, audience in ipairs(policy.audiences) do
      audiences[audience] = true
    end
  end
  local match = {
    audiences = audiences,
    ca_file = issuer.ca_file(first.ca_file, first.dir),
    ca_pem = first.ca_pem,
    internal = first.internal or false,
    exact = named > 0, wildcard = named == 0,
  }
  if exact then exact.match = match end
  return match
end

-- The audiences of a token that has a list of them, which may be long.
local function audiences_of(aud)
  if type(aud) ~= "table" then return nil end
  local set = {}
  for _, one in ipairs(aud) do set[one] = true end
  return set
end

local function for_audience(policy, aud, several)
  for _, wanted in ipairs(policy.audiences) do
    if wanted == aud or several and several[wanted] then return true end
  end
  return false
end

-- The failing claims of `must`, as names and as lines for the log, and the
-- refusal's code; true when no other policy may be tried.
local function unmet(policy, token)
  local names, wanted, absent = {}, {}, true
  for _, must in ipairs(policy.must) do
    local value, both = claimvalue.find(token, must.claim)
    if both then
      return { must.claim }, { must.claim .. " is there by its name and by"
        .. " its path" }, "claim_invalid", true
    end
    local met = value ~= nil and must.test(value)
    if met == nil then
      return { must.claim }, { must.claim .. ": " .. must.wanted
        .. ", which takes too long" }, "must_not_met", true
    end
    if not met then
      names[#names + 1] = must.claim
      wanted[#wanted + 1] = must.claim .. ": " .. must.wanted
      absent = absent and value == nil
    end
  end
  if #names == 0 then return nil end
  return names, wanted, absent and "claim_missing" or "must_not_met"
end

-- Whether a policy is the one for this token: true, or nil, a refusal, and
-- true when no other policy may be tried.
local function holds(policy, token)
  local names, wanted, code, final = unmet(policy, token)
  if code then
    return nil, refusal(code, {
      client = { claim = table.concat(names, ", ") },
      log = { policy = policy.name, must = table.concat(wanted, "; ") },
    }), final
  end
  local plain = policy.checks[1] and claimvalue.plain(token)
  for _, check in ipairs(policy.checks) do
    local ok, why, failure = check.sandbox:call(check.handle, plain)
    if ok ~= true then
      return nil, refusal("check_refused", {
        log = { policy = policy.name, file = check.file,
                detail = type(why) == "string" and why or nil },
      }), failure ~= nil
    end
  end
  return true
end

-- Seconds for the checks of all policies that a token is shown to.
local CHECK_SECONDS = 0.025

-- Whether a policy is the one for this token, as `holds` says, and how many
-- seconds are left for others' checks.
local function asked(policy, token, seconds)
  local started = policy.checks[1] and os.clock()
  local ok, refused, final = holds(policy, token)
  if started then seconds = seconds - (os.clock() - started) end
  return ok, refused, final or seconds < 0, seconds
end

-- How near a refusal came to a certificate.
local nearness = { claim_missing = 1, must_not_met = 2, check_refused = 3 }

--- Decides on verified claims: a grant { policy, san, extensions,
--- challenge, template, issuer, subject }, or nil and a refusal.
function Set:decide(token)
  local policies = self:of_issuer(token.iss)
  local several, seconds = audiences_of(token.aud), CHECK_SECONDS
  local nearest, ok, refused, final
  engine.budget.begin()
  for _, policy in ipairs(policies) do
    if for_audience(policy, token.aud, several) then
      ok, refused, final, seconds = asked(policy, token, seconds)
      if ok then return grant.fill(policy, token) end
      if final then return nil, refused end
      if not nearest or nearness[refused.code] > nearness[nearest.code] then
        nearest = refused
      end
    end
  end
  if nearest then return nil, nearest end
  return nil, refusal(policies[1] and "wrong_audience" or "unknown_issuer", {
    log = { issuer = tostring(token.iss) } })
end

--- What the configuration address says: a list of { issuer or wildcard,
--- audience, challenge_claim, type, spiffe_trust_domain, subject_domain,
--- skip_email_verification }.
function Set:issuers()
  return listing.of(self.policies)
end

local function index(policies)
  local exact = {}
  for _, policy in ipairs(policies) do
    for _, entry in ipairs(policy.issuers) do
      if not entry.pattern then
        local list = exact[entry.text] or {}
        exact[entry.text] = list
        if list[#list] ~= policy then list[#list + 1] = policy end
      end
    end
  end
  return exact
end

--- Loads sources, { name, text, dir } each, into a set; nil and all errors,
--- { file, line, message } each. Options: providers and templates (where to
--- look besides the usual places), development, loopback, folder (all
--- providers and templates of that folder are checked as well), files (so
--- are files of certificates).
function M.load(sources, options)
  local loaded = loader.load(sources, options)
  if #loaded.errors > 0 then return nil, loaded.errors end
  return setmetatable({ policies = loaded.policies,
                        exact = index(loaded.policies) }, Set)
end

--- Reads a folder's policies, `*.lua` in it, as sources for `load`.
function M.read(dir)
  local names, message, code = engine.system.list(dir)
  if not names then return nil, message, code end
  local sources = {}
  for _, name in ipairs(names) do
    if name:find("%.lua$") then
      local text
      text, message = shelf.read(dir .. "/" .. name)
      if not text then return nil, message, "no_file" end
      sources[#sources + 1] = { name = name, text = text, dir = dir,
                                path = dir .. "/" .. name }
    end
  end
  if #sources == 0 then
    return nil, dir .. ": no policies in it (*.lua)", "no_file"
  end
  return sources
end

return M
