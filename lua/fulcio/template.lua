--- Certificate templates: what every certificate of a kind is, as data.

local engine = require("fulcio.engine")
local fields = require("fulcio.template_fields")
local lines = require("fulcio.lines")
local mistakes = require("fulcio.mistakes")
local refusal = require("fulcio.refusal")
local returned = require("fulcio.returned")
local words = require("fulcio.words")

local nothing = {}

local M = {}

--- Whether a template allows a key, by engine.pkey's name, with the hash
--- of its proof or request ("none" for Ed25519).
function M.allows(template, key_name, hash)
  return template.allowed[key_name .. " " .. hash] == true
end

--- Loads a template from its text, as template_fields has it, with its
--- `name`; nil and a list of { file, line, message } when it is wrong.
function M.load(name, text, sandbox)
  sandbox = sandbox or words.sandbox()
  local data, message = sandbox:load(name, text)
  if data == nil and message then
    return nil, { words.fault(name, message) }
  end
  local found = mistakes.new()
  local template = found:guard(name, function()
    local report = found:reporter(name, lines.finder(text))
    return returned.check(data, report) and fields.check(data, report)
  end)
  if #found.list > 0 then return nil, found:sorted() end
  template.name = name:match("([^/]*)%.lua$") or name
  return template
end

--- What engine.draft.new takes, from a template and the facts of one
--- certificate: its key, `issuer` (an engine x509; nil: itself), now, what a
--- grant says (nil: nothing), subject (nil: the template's) and signer.
function M.profile(template, key, issuer, now, grant, subject, signer)
  grant = grant or nothing
  return {
    key = key, issuer = issuer, signer = signer,
    not_before = now, not_after = now + template.lifetime,
    subject = subject or template.subject,
    key_usage = template.key_usage,
    extended_key_usage = template.extended_key_usage,
    ca = template.ca, path_length = template.path_length,
    san = grant.san, extensions = grant.extensions, texts = grant.texts,
  }
end

--- A draft of what a grant says for a key, issued now by `issuer` (an
--- engine x509), and its profile; nil and a refusal when it cannot be
--- written.
function M.fill(grant, key, issuer, now)
  local profile = M.profile(grant.template, key, issuer, now, grant)
  local draft, message, code = engine.draft.new(profile)
  if draft then return draft, profile end
  if code == "not_ascii" then
    return nil, refusal("claim_invalid", {
      log = { policy = grant.policy, detail = message } })
  end
  return nil, refusal("ca_failed", {
    log = { policy = grant.policy, detail = message } })
end

return M
