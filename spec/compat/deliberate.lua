--- Where we differ from Fulcio on purpose, told by what a vector has.
---
--- A rule looks at the vector and at what we did; the text it carries is
--- the row of the decisions that suggests it.

local cjson = require("cjson")

local function claim_of(vector, name)
  local value = (vector.claims or {})[name]
  if value == nil then
    for part in (name or ""):gmatch("[^/]+") do
      value = type(value or vector.claims) == "table"
        and (value or vector.claims)[part] or nil
    end
  end
  return value
end

local function granted(vector)
  return vector.expected.error == nil
end

-- Whether our refusal names a claim of which `test(value)` holds.
local function named(done, vector, test)
  local names = done.refused and done.refused.client.claim
  for name in (names or ""):gmatch("[^,]+") do
    if test(claim_of(vector, name:match("^%s*(.-)%s*$"))) then return true end
  end
  return false
end

local function reason(done, ...)
  for _, wanted in ipairs({ ... }) do
    if done.refused and done.refused.reason == wanted then return true end
  end
  return false
end

local function absent(value)
  return value == nil or value == ""
end

-- Claims that are there by another case of letters.
local function other_case(vector, done)
  return named(done, vector, absent) and next(vector.claims) and (function()
    for name in pairs(vector.claims) do
      if name ~= name:lower() and vector.claims[name:lower()] == nil then
        return true
      end
    end
  end)()
end

local function names_in_san(vector)
  return vector.expected.san and vector.expected.san[1].value or ""
end

local rules = {
  { "case-insensitive claim names", function(vector, done)
    return granted(vector) and reason(done, "CLAIM_MISSING")
      and other_case(vector, done)
  end },

  { "kubernetes with no claims issued; empty SAN and empty username issued",
    function(vector, done)
      return granted(vector) and reason(done, "CLAIM_MISSING",
                                        "CLAIM_INVALID")
        and (names_in_san(vector) == "" or names_in_san(vector):find("^!")
             or (vector.issuer_type == "kubernetes"
                 and named(done, vector, absent)))
    end },

  { "null, list, object refused, naming the claim", function(vector, done)
    return reason(done, "CLAIM_INVALID") and granted(vector)
      and named(done, vector, function(value)
        return value == cjson.null or type(value) == "table"
      end)
  end },

  { "integer beyond 2^53 refused", function(vector, done)
    if not reason(done, "TOKEN_MALFORMED", "CLAIM_INVALID") then
      return false
    end
    for number in vector.raw_claims:gmatch("[:%[,]%s*(%-?[%d.eE+-]+)") do
      local value = tonumber(number)
      if value and value % 1 == 0 and math.abs(value) > 2 ^ 53 then
        return true
      end
    end
  end },

  { "absent claim inside a URL refused", function(vector, done)
    return granted(vector) and reason(done, "CLAIM_MISSING")
      and named(done, vector, absent)
  end },

  { "types of claims: another type than Go's struct accepted",
    function(vector, done)
      local wanted = vector.expected.error
      return wanted and done.certificate ~= nil
        and wanted.internal:find("^json: cannot unmarshal") ~= nil
    end },

  { "templates that cannot become data are refused at start",
    function(vector, done)
      return granted(vector) and done.stage == "config"
        and done.message:find("cannot become data", 1, true) ~= nil
    end },

  { "meta issuers are checked like the others", function(vector, done)
    return done.stage == "config" and vector.config.MetaIssuers ~= nil
      and (vector.expected.error or {}).stage ~= "config"
  end },

  { "texts over 2 KiB and control characters refused",
    function(vector, done)
      return granted(vector) and reason(done, "CLAIM_INVALID")
        and named(done, vector, function(value)
          return type(value) == "string"
            and (#value > 2048 or value:find("%c") ~= nil)
        end)
    end },

  { "a claim written twice refused", function(vector, done)
    return granted(vector) and done.refused ~= nil
      and tostring(done.refused.log.error):find("twice", 1, true) ~= nil
  end },
}

--- The row that makes this difference one of ours, or nil.
return function(vector, done)
  for _, rule in ipairs(rules) do
    if rule[2](vector, done) then return rule[1] end
  end
end
