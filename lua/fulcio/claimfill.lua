--- Fills the nodes of claimtext.lua with the claims of one token.

local claimtext = require("fulcio.claimtext")
local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")

local concat, find, sub = table.concat, string.find, string.sub

local M = {
  MAX = 65536, -- bytes of a text: far more than a certificate may say
}

local MAX = M.MAX

local function problem(code, claim, why)
  return { code = code, claim = claim, why = why }
end

--- The problem of a text of more than MAX bytes, which names a claim in it.
function M.too_long(claim)
  return problem("claim_invalid", claim, "makes a text longer than 64 KiB")
end

-- A claim's text with the operator's constants: nil when it is absent,
-- nil and a problem when it cannot be a text.
local function lookup(env, name)
  local constant = env.set[name]
  if constant ~= nil then return constant end
  local value, both = claimvalue.find(env.claims, name)
  if both then
    return nil, problem("claim_invalid", name,
                        "is there by its name and by its path")
  end
  if value == nil then return env.default[name] end
  local text, why = claimvalue.text(value)
  if not text then return nil, problem("claim_invalid", name, why) end
  return text
end

local fill = {}

-- Most claims are texts and have no other meaning.
local function fill_part(part, env)
  if type(part) == "string" then return part end
  local claim = part.claim
  if part.direct then
    local text = env.set[claim] or env.claims[claim]
    if type(text) == "string" and text ~= "" then return text end
  end
  local text, wrong = lookup(env, claim)
  if text or wrong or part.optional then return text, wrong end
  return nil, problem("claim_missing", part.claim, "is not there")
end

function fill.text(node, env)
  if #node == 1 then return fill_part(node[1], env) end
  local out, size = {}, 0
  for i = 1, #node do
    local text, wrong = fill_part(node[i], env)
    if not text then return nil, wrong end
    out[i], size = text, size + #text
    if size > MAX then return nil, M.too_long(claimtext.first(node)) end
  end
  return concat(out)
end

-- Joined to a base without a host, a path would become one.
local function has_host(base)
  local _, slashes = find(base, "://", 1, true)
  local first = slashes and sub(base, slashes + 1, slashes + 1) or ""
  return first ~= "" and not find("/?#", first, 1, true)
end

function fill.url(node, env)
  local base, path, wrong, message
  base, wrong = M.fill(node.base, env)
  if not base then return nil, wrong end
  if not has_host(base) then
    return nil, problem("claim_invalid", claimtext.first(node) or "url",
                        "is no address with a host")
  end
  path, wrong = M.fill(node.path, env)
  if not path then return nil, wrong end
  local url
  url, message = engine.uri.join(base, path)
  if url then return url end
  wrong = problem("claim_invalid", claimtext.first(node), message)
  wrong.go = select(2, engine.uri.parse(base))
  return nil, wrong
end

function fill.pick(node, env)
  local text, wrong = lookup(env, node.claim)
  if wrong then return nil, wrong end
  local case = text and node.cases[text] or node.otherwise
  if case then return M.fill(case, env) end
  if case == false then return nil end
  if not text then
    return nil, problem("claim_missing", node.claim, "is not there")
  end
  return nil, problem("claim_invalid", node.claim, "has a value not listed")
end

--- The text of a node for one token. `env` is { claims, set, default }.
--- nil alone: a `{claim?}` was absent, say nothing. nil and a problem
--- { code, claim, why }: refuse; `go` is what Go says of a bad base.
function M.fill(node, env)
  return (node.fill or fill[node.kind])(node, env)
end

return M
