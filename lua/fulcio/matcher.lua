--- What a claim must be: a value, any of a list, or a matcher.
---
--- Values are compared by type and nothing is converted. A matcher that
--- cannot decide since a text is too long has not matched; one that took
--- too long, or is one too many for the decision's budget, says nil, and
--- the token is refused.

local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local words = require("fulcio.words")

local M = {}

local is_over = engine.budget.is_over
local compile

-- The one text that a word was given, or nil and how to write it.
local function argument(value, example)
  if value.count ~= 1 or type(value[1]) ~= "string" or value[1] == "" then
    return nil, ("%s takes one text: %s"):format(value.__word, example)
  end
  return value[1]
end

-- A test by a compiled pattern of the engine.
local function by_pattern(make, example)
  return function(value)
    local text, message = argument(value, example)
    if not text then return nil, message end
    local pattern
    pattern, message = make(text)
    if not pattern then
      return nil, ("%s: %s"):format(words.show(value), message)
    end
    return function(claim)
      if type(claim) ~= "string" then return false end
      local found, _, code = pattern:match(claim)
      if code == "match_limit" or is_over() then return nil end
      return found == true
    end
  end
end

local function host(text)
  local uri = engine.uri.parse(text)
  if not uri or not uri.scheme or (uri.host or "") == "" then return nil end
  return uri.scheme, uri.host, uri
end

local compilers = {
  glob = by_pattern(function(text)
    return engine.pattern.glob(text, "claim")
  end, 'glob("refs/tags/*")'),

  match = by_pattern(function(text)
    return engine.pattern.compile(text)
  end, 'match("v[0-9]+")'),
}

function compilers.present()
  return function(claim) return claim ~= nil end
end

function compilers.integer()
  return function(claim)
    return type(claim) == "number" and claim % 1 == 0
  end
end

function compilers.within(value)
  local text, message = argument(value, 'within("https://example.com")')
  if not text then return nil, message end
  local scheme, name, uri = host(text)
  if not scheme or uri.port or uri.user or uri.query or uri.fragment
     or (uri.path ~= "" and uri.path ~= "/") then
    return nil, ("within(%s): a scheme and a host are needed, no more")
      :format(words.show(text))
  end
  return function(claim)
    if type(claim) ~= "string" then return false end
    local claim_scheme, claim_host = host(claim)
    return claim_scheme == scheme and claim_host == name
  end
end

function compilers.spiffe(value)
  local text, message = argument(value, 'spiffe("example.com")')
  if not text then return nil, message end
  if engine.uri.spiffe("spiffe://" .. text) ~= text then
    return nil, ("spiffe(%s): not a trust domain"):format(words.show(text))
  end
  return function(claim)
    return type(claim) == "string" and engine.uri.spiffe(claim) == text
  end
end

function compilers.has(value)
  if value.count ~= 1 then
    return nil, 'has takes one value: has("admins")'
  end
  local test, message = compile(value[1])
  if not test then return nil, message end
  return function(claim)
    if type(claim) ~= "table" then return false end
    for _, item in ipairs(claim) do
      local found = test(item)
      if found ~= false then return found end
      if is_over() then return nil end
    end
    return false
  end
end

local function compile_list(list)
  local tests = {}
  for i, value in ipairs(list) do
    if type(value) == "table" and not value.__word then
      return nil, "a list in a list cannot match (for a claim that is"
        .. ' a list, write has("value"))'
    end
    local test, message = compile(value)
    if not test then return nil, message end
    tests[i] = test
  end
  return function(claim)
    for i = 1, #tests do
      local found = tests[i](claim)
      if found ~= false then return found end
    end
    return false
  end
end

-- A table is a list when its keys are 1 to n, and n is not 0.
local function is_list(value)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count > 0 and count == #value
end

function compile(value, forms)
  local kind = type(value)
  if value == "" then return nil, '"" is the same as absent, never matched' end
  if kind ~= "table" then
    return function(claim) return claim == value end
  end
  local compiler = compilers[value.__word] or (forms or {})[value.__word]
  if compiler then return compiler(value) end
  if value.__word == "anyone" then
    return nil, "anyone stands alone: must = anyone"
  end
  if not value.__word and is_list(value) then return compile_list(value) end
  return nil, ("%s cannot be compared with a claim"):format(words.show(value))
end

--- A test for the claim `name`: a function of the claim's value that says
--- true, false, or nil when it took too long. nil and a message when `value`
--- is not one. `forms`: further matchers, by word.
function M.compile(name, value, forms)
  local test, message = compile(value, forms)
  if not test then return nil, message end
  if name == "email_verified" and value == true then
    return claimvalue.is_true
  end
  return test
end

return M
