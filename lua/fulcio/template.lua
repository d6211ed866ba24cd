--- Certificate templates: what every certificate of a kind is, as data.

local compile = require("fulcio.compile")
local engine = require("fulcio.engine")
local lines = require("fulcio.lines")
local nearest = require("fulcio.nearest")
local proof = require("fulcio.proof")
local refusal = require("fulcio.refusal")
local words = require("fulcio.words")

local DAY = 86400

local M = {}

-- Keys -----------------------------------------------------------------

-- Short names of keys, each with the hash that is its own.
local short = {
  ["P-256"] = { "ecdsa-sha2-256-nistp256" },
  ["P-384"] = { "ecdsa-sha2-384-nistp384" },
  ["P-521"] = { "ecdsa-sha2-512-nistp521" },
  ["Ed25519"] = { "ed25519" },
}
for _, least in ipairs({ 4096, 3072, 2048 }) do
  local only = ("rsa-sign-pkcs1-%d-sha256"):format(least)
  local larger = short[("RSA-%d+"):format(least + 1024)] or {}
  short["RSA-" .. least] = { only }
  short[("RSA-%d+"):format(least)] = { only, larger[1], larger[2] }
end

local key_names = compile.sorted(short)
for _, name in ipairs(proof.default) do key_names[#key_names + 1] = name end

--- The keys that a list of names allows, as proof.verify takes them.
--- Fulcio's names or short ones ("P-256", "RSA-2048+"); nil and a message
--- for a name nobody knows.
function M.keys(list)
  local names = {}
  for _, name in ipairs(list) do
    for _, long in ipairs(short[name] or { name }) do
      names[#names + 1] = long
    end
  end
  local allowed, message = proof.algorithms(names)
  if allowed then return allowed end
  local unknown = message:match("flag: (.*)$")
  return nil, ("unknown key %s%s"):format(words.show(unknown),
    nearest.hint(unknown, key_names))
end

--- Whether a template allows a key, by engine.pkey's name, with the hash
--- of its proof or request ("none" for Ed25519).
function M.allows(template, key_name, hash)
  return template.allowed[key_name .. " " .. hash] == true
end

-- Loading --------------------------------------------------------------

local checkers = {}

function checkers.lifetime(template, value)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 then
    return "lifetime must be a time: 10 * minutes"
  end
  template.lifetime = value
end

function checkers.subject(template, value)
  if type(value) ~= "table" or value.word then
    return 'subject must be a list: { { "O", "Example" } }'
  end
  for _, part in ipairs(value) do
    if type(part) ~= "table" or #part ~= 2 or type(part[1]) ~= "string"
       or type(part[2]) ~= "string" then
      return 'a part of subject is a pair: { "O", "Example" }'
    end
  end
  if next(value) ~= nil and #value == 0 then
    return 'subject is a list of pairs: { { "O", "Example" } }'
  end
  template.subject = value
end

local function texts(field)
  return function(template, value)
    local list = type(value) == "table" and not value.word and value
    for _, text in ipairs(list or {}) do
      list = type(text) == "string" and list
    end
    if not list or (#list == 0 and next(list) ~= nil) then
      return field .. " must be a list of texts"
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
  template.allowed, message = M.keys(value)
  return message
end

function checkers.ca(template, value)
  if type(value) ~= "boolean" then return "ca must be true or false" end
  template.ca = value
end

function checkers.path_length(template, value)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 then
    return "path_length must be a whole number"
  end
  template.path_length = value
end

local fields = compile.sorted(checkers)

-- Rules that only hold for what policies hand out.
local function check_leaf(template, report)
  if not template.allowed then
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

local function check(data, report)
  local template = { subject = {}, key_usage = {}, extended_key_usage = {} }
  if type(data) ~= "table" or data.word then
    report({}, "a template must return a table: return { lifetime = … }")
    return template
  end
  for _, key in ipairs(compile.sorted(data)) do
    local checker = checkers[key]
    local message = checker and checker(template, data[key])
    if not checker then
      message = ("unknown field %s%s"):format(words.show(key),
        nearest.hint(tostring(key), fields))
    end
    if message then report({ key }, message) end
  end
  if data.lifetime == nil then
    report({}, "lifetime is missing: lifetime = 10 * minutes")
  end
  if not template.ca then check_leaf(template, report) end
  return template
end

--- Loads a template from its text: { lifetime, subject, key_usage,
--- extended_key_usage, keys, allowed, ca, path_length, name }; nil and a
--- list of { file, line, message } when something is wrong with it.
function M.load(name, text, sandbox)
  sandbox = sandbox or words.sandbox()
  local data, message = sandbox:load(name, text)
  if data == nil and message then
    return nil, { words.fault(name, message) }
  end
  local errors, line_of = {}, lines.of(text)
  local template = check(data, function(path, wrong)
    errors[#errors + 1] = { file = name, line = line_of(path),
                            message = wrong }
  end)
  if #errors > 0 then return nil, errors end
  template.name = name:match("([^/]*)%.lua$") or name
  return template
end

-- Filling --------------------------------------------------------------

-- What a draft needs of a grant's extensions.
local function encoded(extensions)
  local list = {}
  for i, extension in ipairs(extensions or {}) do
    list[i] = { oid = extension.oid, value = extension.value }
  end
  return list
end

--- What engine.draft.new takes, from a template and the facts of one
--- certificate: key, issuer, signer, now, san, extensions, subject.
function M.profile(template, facts)
  return {
    key = facts.key, issuer = facts.issuer, signer = facts.signer,
    not_before = facts.now, not_after = facts.now + template.lifetime,
    subject = facts.subject or template.subject,
    key_usage = template.key_usage,
    extended_key_usage = template.extended_key_usage,
    ca = template.ca, path_length = template.path_length,
    san = facts.san, extensions = encoded(facts.extensions),
  }
end

--- A draft of what a grant says for a key, issued now by `issuer` (an
--- engine x509); nil and a refusal when it cannot be written.
function M.fill(grant, key, issuer, now, signer)
  local extensions = {}
  for i, extension in ipairs(grant.extensions) do
    extensions[i] = { oid = extension.oid, value = extension.value }
  end
  local draft, message, code = engine.draft.new(M.profile(grant.template, {
    key = key, issuer = issuer, signer = signer, now = now,
    san = grant.san, extensions = extensions,
  }))
  if draft then return draft end
  if code == "not_ascii" then
    return nil, refusal("claim_invalid", {
      log = { policy = grant.policy, detail = message } })
  end
  return nil, refusal("ca_failed", {
    log = { policy = grant.policy, detail = message } })
end

return M
