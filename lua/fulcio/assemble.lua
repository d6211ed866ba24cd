--- From checked pieces to a policy that can decide.

local claimtext = require("fulcio.claimtext")
local oids = require("fulcio.oids")
local words = require("fulcio.words")

local M = {}

-- A text to fill; with `claim` where it is that claim and no other, between
-- `before` and `after` when those are there.
local function slot_of(node, set)
  local claim, before, after = claimtext.around(node, set)
  local bare = before == "" and after == ""
  return { node = node, claim = claim, before = not bare and before or nil,
           after = not bare and after or nil }
end

-- The same for an extension, with what every certificate says of it.
local function extension_of(entry, node, set)
  local slot = node and slot_of(node, set) or {}
  slot.entry = { oid = entry.oid, name = entry.name, raw = entry.raw }
  return slot
end

-- Every extension the policy may write, in the order of a certificate.
local function ordered(extensions, set)
  local slots, own = {}, {}
  for _, entry in ipairs(oids.list) do
    local slot = extensions[entry.name]
    if entry.always then
      slots[#slots + 1] = extension_of(entry)
    elseif slot and slot.node then
      slots[#slots + 1] = extension_of(entry, slot.node, set)
    end
  end
  for key, slot in pairs(extensions) do
    if slot.node and not oids.by_name[key] then own[#own + 1] = slot end
  end
  table.sort(own, function(a, b)
    return oids.before(a.entry.oid, b.entry.oid)
  end)
  for _, slot in ipairs(own) do
    slots[#slots + 1] = extension_of(slot.entry, slot.node, set)
  end
  return slots
end

local function default_challenge(san)
  local email = san.type == "email" and claimtext.only(san.node) == "email"
  local text = email and "{email}" or "{sub}"
  return { (claimtext.compile(text, {})) }
end

-- Whether what a certificate says, or whether there is one, may depend on
-- the claim email.
local function reads_email(policy)
  local found = false
  local function visit(name) found = found or name == "email" end
  for _, must in ipairs(policy.must) do visit(must.claim) end
  claimtext.each_claim(policy.san.node, visit)
  for _, node in ipairs(policy.challenge) do
    claimtext.each_claim(node, visit)
  end
  for _, slot in ipairs(policy.extensions) do
    if slot.node then claimtext.each_claim(slot.node, visit) end
  end
  if policy.issuer_name then
    claimtext.each_claim(policy.issuer_name, visit)
  end
  return found
end

--- Completes a merged piece; what is missing or contradicts is reported.
--- Returns nil when the piece cannot become a policy.
function M.policy(merged, report)
  for name in pairs(merged.default) do
    if merged.set[name] then
      local shown = words.text(name)
      report({ "default", name }, ("default.%s is never used: set.%s wins")
        :format(shown, shown))
    end
  end
  for key, slot in pairs(merged.extensions) do
    if slot.drop and not merged.provider then
      report({ "extensions", key }, ("extensions.%s = false drops nothing: "
        .. "there is no provider"):format(key))
    end
  end
  if not merged.san then return nil end
  if merged.issuer_name and merged.san.type ~= "email" then
    report({ "issuer_name" }, "issuer_name is for san.email alone")
  end
  local policy = {}
  for field, value in pairs(merged) do policy[field] = value end
  policy.extensions = ordered(merged.extensions, merged.set)
  policy.challenge = merged.challenge or default_challenge(merged.san)
  policy.reads_email = reads_email(policy)
  policy.named = slot_of(policy.san.node, policy.set)
  local first = policy.challenge[1] -- nil after a mistake
  policy.proven = first and slot_of(first, {}) -- by its token alone
  return policy
end

return M
