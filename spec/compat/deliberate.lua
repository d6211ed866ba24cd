--- Where we differ from Fulcio on purpose, told by what a vector has.
---
--- A rule looks at the vector and at what we did, never at a vector's name.
--- Its text is the decision behind it.

local cjson = require("cjson")
local claimvalue = require("fulcio.claimvalue")
local recorded = require("spec.compat.recorded")

local function reason(done, ...)
  for _, wanted in ipairs({ ... }) do
    if done.refused and done.refused.reason == wanted then return true end
  end
  return false
end

-- Whether Fulcio's refusal is about this claim too.
local function meant(vector, name)
  local wanted = vector.expected.error
  return wanted ~= nil
    and (wanted.internal or ""):find(name:match("[^/]*$"), 1, true) ~= nil
end

-- Whether we refused for a claim of which `test(value)` holds, and Fulcio
-- did not refuse for that claim.
local function for_claim(vector, done, test)
  local names = done.refused and done.refused.client.claim
  for name in (names or ""):gmatch("[^,]+") do
    name = name:match("^%s*(.-)%s*$")
    local value = (vector.claims or {})[name]
    if value == nil then value = claimvalue.find(vector.claims, name) end
    if test(value, name) then return not meant(vector, name) end
  end
  return false
end

local function absent(value)
  return value == nil or value == ""
end

-- The claims with their names in lower case, as text.
local function lower_case(vector)
  local out, changed = {}, false
  for name, text in pairs(recorded.members(vector.raw_claims, 1)) do
    local lower = name:lower()
    changed = changed or lower ~= name
    if lower == name or vector.claims[lower] == nil then
      out[#out + 1] = cjson.encode(lower) .. ":" .. text
    end
  end
  return changed and "{" .. table.concat(out, ",") .. "}"
end

local function has_large_number(vector)
  for number in vector.raw_claims:gmatch("[:%[,]%s*(%-?[%d.eE+-]+)") do
    local value = tonumber(number)
    if value and value % 1 == 0 and math.abs(value) > 2 ^ 53 then
      return true
    end
  end
end

local function name_in(vector)
  return vector.expected.san and vector.expected.san[1].value
end

local rules = {
  { "claim names are compared exactly", function(vector, _, replay)
    local claims = vector.raw_claims and lower_case(vector)
    return claims and replay(claims) == nil
  end },

  { "kubernetes without claims, an empty SAN and an empty username are "
    .. "refused", function(vector, done)
      if not reason(done, "CLAIM_MISSING", "CLAIM_INVALID") then
        return false
      end
      local name = name_in(vector)
      return name == "" or name ~= nil and name:find("^!") ~= nil
        or vector.issuer_type == "kubernetes" and for_claim(vector, done,
          function(value, claim)
            return absent(value) and claim:find("kubernetes.io", 1, true)
          end)
    end },

  { "a token without sub has nothing to prove", function(vector, done)
    return reason(done, "CLAIM_MISSING") and absent(vector.claims.sub)
      and done.refused.client.claim == "sub"
  end },

  { "null, lists and objects are refused, naming the claim",
    function(vector, done)
      return reason(done, "CLAIM_INVALID", "CLAIM_MISSING")
        and for_claim(vector, done, function(value)
          return value == cjson.null or type(value) == "table"
        end)
    end },

  { "an integer beyond 2^53 is refused", function(vector, done)
    return reason(done, "TOKEN_MALFORMED", "CLAIM_INVALID")
      and has_large_number(vector)
  end },

  { "an absent claim inside a URL is refused, naming the claim",
    function(vector, done)
      return reason(done, "CLAIM_MISSING") and for_claim(vector, done,
        function(value, name) return absent(value) and name ~= "sub" end)
    end },

  { "a URL that does not parse is refused, where Go drops what it joins",
    function(vector, done)
      return vector.expected.error == nil and reason(done, "CLAIM_INVALID")
        and tostring(done.refused.log.detail):find("invalid URL escape", 1,
                                                   true) ~= nil
    end },

  { "a claim of another type than Go's struct is accepted",
    function(vector, done)
      local wanted = vector.expected.error
      return wanted and (done.certificate ~= nil or done.stage ~= "config")
        and wanted.internal:find("^json: cannot unmarshal") ~= nil
    end },

  { "what cannot become data is refused at start, by name",
    function(_, done)
      return done.stage == "config"
        and done.message:find("cannot become data", 1, true) ~= nil
    end },

  { "a configuration with a value of another type is refused, not ignored",
    function(_, done)
      return done.stage == "config"
        and done.message:find(" must be ", 1, true) ~= nil
    end },

  { "meta issuers are checked like the others", function(vector, done)
    return done.stage == "config" and vector.config.MetaIssuers ~= nil
      and (vector.expected.error or {}).stage ~= "config"
  end },

  { "texts over 2 KiB and control characters are refused",
    function(_, done)
      local detail = done.refused and tostring(done.refused.log.detail) or ""
      return reason(done, "CLAIM_INVALID")
        and (detail:find("control character", 1, true)
             or detail:find("2 KiB", 1, true)) ~= nil
    end },

  { "a claim that is there by its name and by a path is refused",
    function(_, done)
      return reason(done, "CLAIM_INVALID")
        and (tostring(done.refused.log.detail)
             .. tostring(done.refused.log.must))
          :find("by its name and by its path", 1, true) ~= nil
    end },
}

--- The decision that makes this difference one of ours, or nil.
--- `replay(raw_claims)` plays the vector with other claims and returns what
--- then differs.
return function(vector, done, replay)
  for _, rule in ipairs(rules) do
    if rule[2](vector, done, replay) then return rule[1] end
  end
end
