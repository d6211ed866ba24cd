--- Fulcio's extensions: number, name, and how each value is encoded.
---
--- The order of this list is the order in a certificate. `raw` values are
--- the bytes themselves, the others a DER UTF8String. `always`: the engine
--- writes it, a policy cannot.

local words = require("fulcio.words")

local ARC = "1.3.6.1.4.1.57264.1."

local rows = {
  { 1, "issuer", raw = true, always = true },
  { 2, "github_workflow_trigger", raw = true },
  { 3, "github_workflow_sha", raw = true },
  { 4, "github_workflow_name", raw = true },
  { 5, "github_workflow_repository", raw = true },
  { 6, "github_workflow_ref", raw = true },
  { 8, "issuer_v2", always = true },
  { 9, "build_signer_uri" },
  { 10, "build_signer_digest" },
  { 11, "runner_environment" },
  { 12, "source_repository_uri" },
  { 13, "source_repository_digest" },
  { 14, "source_repository_ref" },
  { 15, "source_repository_identifier" },
  { 16, "source_repository_owner_uri" },
  { 17, "source_repository_owner_identifier" },
  { 18, "build_config_uri" },
  { 19, "build_config_digest" },
  { 20, "build_trigger" },
  { 21, "run_invocation_uri" },
  { 22, "source_repository_visibility_at_signing" },
  { 23, "deployment_environment" },
  { 24, "subject", always = true },
}

-- What belongs to somebody else, and whom to say so for.
local reserved = {
  { "2.5.29", "X.509's own extensions" },
  { "1.3.6.1.5.5.7", "PKIX's own extensions" },
  { "1.3.6.1.4.1.11129", "certificate transparency's" },
  { "1.3.6.1.4.1.57264", "Fulcio's own, which are written by name" },
}

local LONGEST = 128

local M = { list = {}, by_name = {}, names = {} }

--- Type-id of the otherName that holds a username.
M.username = ARC .. "7"

for _, row in ipairs(rows) do
  local entry = { number = row[1], name = row[2], oid = ARC .. row[1],
                  raw = row.raw, always = row.always }
  M.list[#M.list + 1] = entry
  M.by_name[entry.name] = entry
  if not entry.always then M.names[#M.names + 1] = entry.name end
end

-- Whether every number is written the one way DER can give it back.
local function well_formed(oid)
  if #oid > LONGEST then return false end
  if not oid:find("^[0-2]%.%d[%d.]*%d$") and not oid:find("^[0-2]%.%d$") then
    return false
  end
  for number in (oid .. "."):gmatch("([^.]*)%.") do
    if number == "" or number:find("^0%d") or #number > 15 then
      return false
    end
  end
  return tonumber(oid:match("^%d%.(%d+)")) < 40 or oid:sub(1, 1) == "2"
end

--- Whether a key of `extensions` looks like an OID rather than a name.
function M.is_oid(key)
  return key:find("^%d") ~= nil
end

--- The extension that an OID of the operator's own stands for; nil and a
--- message when it is not one or is not the operator's to give.
function M.own(oid)
  if not well_formed(oid) then
    return nil, words.show(oid) .. " is not an object identifier"
  end
  for _, row in ipairs(reserved) do
    if oid == row[1] or oid:sub(1, #row[1] + 1) == row[1] .. "." then
      return nil, ("%s is reserved: %s are %s"):format(oid, row[1], row[2])
    end
  end
  return { name = oid, oid = oid }
end

--- Whether one OID comes before another, number by number.
function M.before(a, b)
  local left, right = a:gmatch("%d+"), b:gmatch("%d+")
  while true do
    local x, y = tonumber(left() or ""), tonumber(right() or "")
    if not x or not y then return not x and y ~= nil end
    if x ~= y then return x < y end
  end
end

return M
