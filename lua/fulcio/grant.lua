--- From a token's claims and the policy that decided: what is granted.

local claimfill = require("fulcio.claimfill")
local claimtext = require("fulcio.claimtext")
local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local refusal = require("fulcio.refusal")
local san = require("fulcio.san")

local MAX = 2048

local printable = engine.bytes.is_printable

-- Why no certificate may say this text, nil when one may.
local function unfit(text)
  if #text > MAX then return "is longer than 2 KiB" end
  if not printable(text) then return "has a control character" end
end

local M = {}

-- The text of a slot with one claim, when that is a text as most are; nil
-- when text_of must look closer.
local function quick(slot, claims)
  local text = claims[slot.claim]
  if type(text) ~= "string" or text == "" then return nil end
  local before = slot.before
  if before then text = before .. text .. slot.after end
  return printable(text, MAX) and text or nil
end

-- The refusal of a problem met while filling `field` of a policy.
local function refuse(policy, field, problem)
  return nil, refusal(problem.code, {
    client = { claim = problem.claim },
    log = { policy = policy.name, field = field, claim = problem.claim,
            detail = problem.why },
    message = problem.message or policy.mapping and problem.go or nil,
  })
end

-- The claims that a bad text was made of: the one that is bad by itself,
-- else all that the token has, in one text.
local function blame(node, env)
  local names, seen = {}, {}
  local culprit
  claimtext.each_claim(node, function(name)
    local value = claimvalue.find(env.claims, name)
    if seen[name] or env.set[name] or value == nil then return end
    seen[name] = true
    names[#names + 1] = name
    if unfit(tostring(value)) then culprit = culprit or name end
  end)
  return culprit or names[1] and table.concat(names, ", ")
end

local function invalid(policy, field, node, env, why)
  return refuse(policy, field, { code = "claim_invalid", why = why,
                                 claim = blame(node, env) })
end

-- Fills one field: nil alone when it says nothing.
local function text_of(policy, field, node, env)
  local text, problem = claimfill.fill(node, env)
  if not text then
    if problem then return refuse(policy, field, problem) end
    return nil
  end
  local why = unfit(text)
  if why then return invalid(policy, field, node, env, why) end
  return text
end

-- What a client proves comes from its token alone.
local function challenge_of(policy, token)
  local plain = quick(policy.proven, token)
  if plain then return plain end
  local env, problem = { claims = token, set = {}, default = {} }, nil
  for _, node in ipairs(policy.challenge) do
    local text, wrong = claimfill.fill(node, env)
    if text then return text end
    if wrong and wrong.code ~= "claim_missing" then
      return refuse(policy, "challenge", wrong)
    end
    problem = wrong
  end
  return refuse(policy, "challenge", problem)
end

local function name_of(policy, env)
  local kind, node = policy.san.type, policy.san.node
  local text, problem = quick(policy.named, env.claims), nil
  if not text then text, problem = claimfill.fill(node, env) end
  if problem then return refuse(policy, "san", problem) end
  if not text or text == "" then
    return invalid(policy, "san", node, env, "leaves an empty san")
  end
  local name, why, encoding = san.name(kind, text)
  if name then
    why = unfit(text)
    if why then return invalid(policy, "san", node, env, why) end
    return name
  end
  return refuse(policy, "san", {
    code = "claim_invalid", claim = blame(node, env), why = why,
    message = (encoding or policy.mapping) and why or nil,
  })
end

-- The extensions that every certificate has: issuer twice, and subject.
local function standing(policy, env)
  local issuer, refused = env.claims.iss
  if policy.issuer_name then
    issuer, refused = text_of(policy, "issuer_name", policy.issuer_name, env)
  end
  if not issuer then return nil, refused end
  local subject = claimvalue.find(env.claims, "sub")
  if subject ~= nil then
    local why
    subject, why = claimvalue.text(subject)
    why = why or unfit(subject)
    if why then
      return refuse(policy, "subject", { code = "claim_invalid", why = why,
                                         claim = "sub" })
    end
  end
  return { issuer = issuer, issuer_v2 = issuer, subject = subject }
end

-- The extensions, whose tables are the policy's, and this token's texts.
local function extensions_of(policy, env)
  local standard, refused = standing(policy, env)
  if not standard then return nil, refused end
  local list, texts, count, claims = {}, {}, 0, env.claims
  local slots = policy.extensions
  for i = 1, #slots do
    local slot = slots[i]
    local entry, node = slot.entry, slot.node
    local text
    if node then text = quick(slot, claims) else text = standard[entry.name] end
    if node and not text then
      text, refused = text_of(policy, entry.name, node, env)
      if refused then return nil, refused end
    end
    if text and text ~= "" then
      count = count + 1
      list[count], texts[count] = entry, text
    end
  end
  return list, texts
end

-- An e-mail address counts only when its issuer says it is verified.
local function verified(policy, env)
  if not policy.reads_email or env.set.email then return true end
  -- null and "" are no claim elsewhere; Fulcio takes neither for this one,
  -- not even where it needs no answer.
  local value = env.claims.email_verified
  local state = claimvalue.boolean(value)
  if state or state == false and (policy.unverified_email
    or claimvalue.find(env.claims, "email") == nil) then
    return true
  end
  return nil, refusal("email_not_verified", {
    client = { claim = "email_verified" },
    log = { policy = policy.name, email_verified = tostring(value) },
  })
end

--- Fills what a policy grants; nil and a refusal when it cannot.
function M.fill(policy, token)
  local env = { claims = token, set = policy.set, default = policy.default }
  local ok, refused = verified(policy, env)
  if not ok then return nil, refused end
  local name, extensions, texts, challenge
  name, refused = name_of(policy, env)
  if not name then return nil, refused end
  extensions, texts = extensions_of(policy, env)
  if not extensions then return nil, texts end
  challenge, refused = challenge_of(policy, token)
  if not challenge then return nil, refused end
  return {
    policy = policy.name,
    issuer = token.iss,
    subject = token.sub,
    san = name,
    extensions = extensions,
    texts = texts,
    challenge = challenge,
    template = policy.certificate,
  }
end

return M
