--- Whether a certificate is the one that was asked for: a pool's policies
--- drop, add and override silently.

local engine = require("fulcio.engine")

-- What a CA may add by itself: it says who signed, and how to ask about it.
local own = {
  ["2.5.29.14"] = "subject key identifier",
  ["2.5.29.19"] = "basic constraints",
  ["2.5.29.31"] = "CRL distribution points",
  ["2.5.29.35"] = "authority key identifier",
  ["1.3.6.1.5.5.7.1.1"] = "authority information access",
}

local names = {
  ["2.5.29.15"] = "key usage", ["2.5.29.17"] = "subject alternative name",
  ["2.5.29.37"] = "extended key usage",
}

-- How far Google's clock and ours may be apart, in seconds.
local SKEW = 60

local function told(oid)
  return names[oid] or own[oid] or "extension " .. oid
end

local function by_oid(certificate)
  local found = {}
  for _, extension in ipairs(certificate.extensions) do
    if found[extension.oid] then
      return nil, told(extension.oid) .. " is there twice"
    end
    found[extension.oid] = extension
  end
  return found
end

local function same_extensions(wanted, found)
  local asked = by_oid(wanted)
  local given, message = by_oid(found)
  if not given then return nil, message end
  for oid, extension in pairs(asked) do
    local other = given[oid]
    if not own[oid] then
      if not other then return nil, told(oid) .. " is missing" end
      if other.value ~= extension.value then
        return nil, told(oid) .. " is another"
      end
      -- With an empty subject CAs differ in whether the name is critical.
      if other.critical ~= extension.critical and oid ~= "2.5.29.17" then
        return nil, told(oid) .. " differs in being critical"
      end
    end
  end
  for oid in pairs(given) do
    if not asked[oid] and not own[oid] then
      return nil, told(oid) .. " was not asked for"
    end
  end
  return true
end

local function same_times(wanted, found, now)
  local asked = wanted.not_after - wanted.not_before
  local given = found.not_after - found.not_before
  if given > asked or found.not_after > wanted.not_after + SKEW then
    return nil, ("lifetime: %d s instead of %d s"):format(given, asked)
  elseif found.not_before > now + SKEW then
    return nil, "lifetime: it begins in the future"
  elseif found.not_after <= now then
    return nil, "lifetime: it has ended"
  end
  return true
end

local M = {}

--- Whether `found` is `wanted` but for serial number, issuer, signature and
--- a shorter lifetime; nil and what differs. Both are x509 objects.
function M.check(wanted, found, now)
  local key, message = found:pkey()
  if not key then return nil, "public key: " .. message end
  if key:spki() ~= wanted:pkey():spki() then
    return nil, "public key is another"
  elseif found.subject_der ~= wanted.subject_der then
    return nil, "subject is another"
  elseif found.ca ~= wanted.ca then
    return nil, "basic constraints: a CA where none was asked for"
  elseif wanted.ca and found.path_length ~= wanted.path_length then
    return nil, "basic constraints: another path length"
  end
  local ok
  ok, message = same_extensions(wanted, found)
  if not ok then return nil, message end
  return same_times(wanted, found, now)
end

--- An unsigned likeness of a draft, to compare with: an x509 object.
function M.likeness(draft)
  local found = assert(engine.x509.parse(engine.draft.join(draft:plain(),
                                                           "unsigned")))
  return found[1]
end

return M
