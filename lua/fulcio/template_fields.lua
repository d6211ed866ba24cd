--- The fields of a certificate template, and what may be wrong with them.

local compile = require("fulcio.compile")
local engine = require("fulcio.engine")
local keynames = require("fulcio.keynames")
local nearest = require("fulcio.nearest")
local returned = require("fulcio.returned")
local words = require("fulcio.words")

local DAY = 86400
local LONGEST = 100 * 366 * DAY
local DEEPEST = 1000
local ENTRIES = 100 -- of a list

local M = {}

local checkers = {}

local function is_whole(value, least, most)
  return type(value) == "number" and value % 1 == 0 and value >= least
    and value <= most
end

-- A list within its limit, or nil.
local function as_list(value)
  if type(value) ~= "table" or value.__word or #value > ENTRIES
     or not returned.is_list(value) then
    return nil
  end
  return value
end

function checkers.lifetime(template, value)
  if not is_whole(value, 1, LONGEST) then
    return "lifetime must be a time: 10 * minutes"
  end
  template.lifetime = value
end

local known = {
  subject = { "C", "CN", "L", "O", "OU", "ST", "postalCode", "street" },
  key_usage = {
    "cert_sign", "content_commitment", "crl_sign", "data_encipherment",
    "decipher_only", "digital_signature", "encipher_only", "key_agreement",
    "key_encipherment" },
  extended_key_usage = {
    "any", "client_auth", "code_signing", "email_protection",
    "ocsp_signing", "server_auth", "time_stamping" },
}

-- Why a field does not know this name, nil when it does.
local function unknown(field, name)
  for _, one in ipairs(known[field]) do
    if one == name then return nil end
  end
  if field == "extended_key_usage" and engine.extension.oid(name) then
    return nil
  end
  return ("%s: unknown %s%s"):format(field, words.show(name),
    nearest.hint(name, known[field]))
end

local function is_pair(part)
  return as_list(part) ~= nil and #part == 2 and type(part[1]) == "string"
    and type(part[2]) == "string" and engine.bytes.is_printable(part[2])
end

function checkers.subject(template, value)
  if not as_list(value) then
    return 'subject is a list of pairs: { { "O", "Example" } }'
  end
  for _, part in ipairs(value) do
    if not is_pair(part) then
      return 'a part of subject is a pair: { "O", "Example" }'
    end
    local why = unknown("subject", part[1])
    if why then return why end
  end
  template.subject = value
end

local function texts(field)
  return function(template, value)
    local list = as_list(value)
    if not list then
      return field .. " must be a list of texts"
    end
    for _, text in ipairs(list) do
      if type(text) ~= "string" then
        return field .. " must be a list of texts"
      end
      local why = known[field] and unknown(field, text)
      if why then return why end
    end
    template[field] = list
  end
end

checkers.key_usage = texts("key_usage")
checkers.extended_key_usage = texts("extended_key_usage")

function checkers.keys(template, value)
  local message = texts("keys")(template, value)
  if message then return message end
  if #value == 0 then return "keys is empty: no client could use it" end
  template.allowed, message = keynames.allowed(value)
  return message
end

function checkers.ca(template, value)
  if type(value) ~= "boolean" then return "ca must be true or false" end
  template.ca = value
end

function checkers.path_length(template, value)
  if not is_whole(value, 0, DEEPEST) then
    return "path_length must be a whole number"
  end
  template.path_length = value
end

local fields = compile.sorted(checkers)

-- Rules that only hold for what policies hand out.
local function check_leaf(template, data, report)
  if data.keys == nil then
    report({}, 'keys is missing: keys = { "P-256", "RSA-2048+" }')
  end
  if template.lifetime and template.lifetime > DAY then
    report({ "lifetime" }, "lifetime is over 24 hours")
  end
  if template.path_length then
    report({ "path_length" }, "path_length is for a ca")
  end
  for _, usage in ipairs(template.key_usage or {}) do
    if usage == "cert_sign" or usage == "crl_sign" then
      report({ "key_usage" }, usage .. " is for a ca")
    end
  end
end

--- Checks a template's data: { lifetime, subject, key_usage,
--- extended_key_usage, keys, allowed, ca, path_length }. Everything that is
--- wrong is reported by `report(path, message)`.
function M.check(data, report)
  local template = { subject = {}, key_usage = {}, extended_key_usage = {} }
  if type(data) ~= "table" or data.__word then
    report({}, "a template must return a table: return { lifetime = … }")
    return template
  end
  for _, key in ipairs(compile.sorted(data)) do
    local checker = checkers[key]
    local message = checker and checker(template, data[key])
    if not checker then
      message = ("unknown field %s%s"):format(words.show(key),
        type(key) == "string" and nearest.hint(key, fields) or "")
    end
    if message then report({ key }, message) end
  end
  if data.lifetime == nil then
    report({}, "lifetime is missing: lifetime = 10 * minutes")
  end
  if not template.ca then check_leaf(template, data, report) end
  return template
end

return M
