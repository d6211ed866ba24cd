--- Providers: what the tokens of one kind of issuer say, without a policy.
---
--- A policy that names one is laid over it, name by name: its own words
--- win, `must` and `check` of both hold, `extensions.x = false` drops one.
--- What the provider cannot know, `set = { x = false }`, the policy owes.

local words = require("fulcio.words")

local M = {}

-- Fields where the policy's own word replaces the provider's.
local replaced = { "san", "challenge", "issuer_name", "template" }
-- Tables where it does so name by name.
local layered = { "set", "default", "extensions" }
-- Lists where both hold, the provider's first.
local joined = { "must", "checks" }

local function join(first, second)
  local list = {}
  for _, item in ipairs(first) do list[#list + 1] = item end
  for _, item in ipairs(second) do list[#list + 1] = item end
  return list
end

local function lay(under, over)
  local map = {}
  for name, value in pairs(under) do map[name] = value end
  for name, value in pairs(over) do map[name] = value end
  return map
end

local function check(provider, policy, report)
  for key, slot in pairs(policy.extensions) do
    if slot.drop and not provider.extensions[key] then
      report({ "extensions", key }, ("extensions.%s = false drops nothing: "
        .. 'provider "%s" has no such extension')
        :format(key, policy.provider))
    end
  end
  for _, name in ipairs(provider.owed) do
    if not policy.set[name] then
      report({ "provider" }, ('provider "%s" needs set = { %s = "…" }')
        :format(policy.provider, words.text(name)))
    end
  end
end

--- Lays a policy's piece over its provider's; both stay as they were. A
--- dropped extension that the provider lacks, and what is owed, is reported.
function M.merge(provider, policy, report)
  check(provider, policy, report)
  local merged = lay(policy, {})
  for _, field in ipairs(replaced) do
    if merged[field] == nil then merged[field] = provider[field] end
  end
  for _, field in ipairs(layered) do
    merged[field] = lay(provider[field], policy[field])
  end
  for _, field in ipairs(joined) do
    merged[field] = join(provider[field], policy[field])
  end
  return merged
end

return M
