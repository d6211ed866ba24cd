--- Fulcio's own identity configuration as policies: an existing deployment
--- moves without editing anything.

local claimfill = require("fulcio.claimfill")
local claimtext = require("fulcio.claimtext")
local engine = require("fulcio.engine")
local fulcio_config = require("fulcio.fulcio_config")
local gotext = require("fulcio.gotext")
local keylines = require("fulcio.keylines")
local mistakes = require("fulcio.mistakes")
local oids = require("fulcio.oids")
local rules = require("fulcio.fulcio_rules")
local shelf = require("fulcio.shelf")
local types = require("fulcio.fulcio_types")
local words = require("fulcio.words")

local M = {}

-- What an importer may say besides the policy language -----------------

local forms = { go = gotext.node }

-- A URL as https, as Go writes one whose scheme was set: a name without
-- scheme is a path to Go, which becomes a host in the text.
local function as_https(uri)
  if uri.scheme then return "https" .. uri.text:sub(#uri.scheme + 1) end
  local slashes = uri.host or uri.text:find("^[?#]")
  return (slashes and "https:" or "https://") .. uri.text
end

-- A claim that is a URL, or one without its scheme, as https. What a client
-- hears of one that is none is Go's.
function forms.https(form, options, compile)
  local node, message = compile(form[1], options)
  if not node then return nil, message end
  return {
    kind = "https", base = node,
    fill = function(_, env)
      local text, wrong = claimfill.fill(node, env)
      if not text then return nil, wrong end
      local uri, why = engine.uri.parse(text)
      local whole = uri and as_https(uri)
      if whole then
        uri, why = engine.uri.parse(whole)
        if uri then return whole end
        why = ('x509: cannot parse URI "%s": %s'):format(whole, why)
      end
      return nil, { code = "claim_invalid", claim = claimtext.first(node),
                    why = why, message = why }
    end,
  }
end

local matchers = {
  -- A whole number that is not 0.
  nonzero = function()
    return function(value)
      return type(value) == "number" and value % 1 == 0 and value ~= 0
    end
  end,
}

-- CI providers ---------------------------------------------------------

local function provider_data(metadata, fail)
  local data = { must = { __word = "anyone" }, unverified_email = true,
                 default = metadata.default, extensions = {} }
  local message
  data.san = {}
  data.san.uri, message = gotext.form(metadata.san, "SubjectAlternativeName")
  if message then fail("subject-alternative-name: " .. message, message) end
  for _, name in ipairs(oids.names) do
    local template = metadata.extensions[name]
    if template and template ~= "" then
      local form
      form, message = gotext.form(template, fulcio_config.go_name(name))
      if not form then fail(name .. ": " .. message, message) end
      data.extensions[name] = form
    end
  end
  for _, name in ipairs({ "issuer", "subject" }) do
    _, message = gotext.form(metadata.extensions[name] or "", name)
    if message and not message:find("cannot become data", 1, true) then
      fail(name .. ": " .. message, message)
    end
  end
  return data
end

-- Sources --------------------------------------------------------------

local function slug(text)
  return (text:gsub("^%a+://", ""):gsub("%*", "any"):gsub("[^%w]+", "_")
    :gsub("^_", ""):gsub("_$", ""))
end

-- Types whose names are judged with the token, before anything is mapped:
-- what is wrong with them the client does not hear.
local by_token = { email = true, uri = true, username = true, spiffe = true }

-- Fulcio trusts such a CA besides those of the system.
local SYSTEM = "/etc/ssl/certs/ca-certificates.crt"

local function trusted(pem)
  if pem == "" then return nil end
  return (shelf.read(SYSTEM) or "") .. pem
end

local Import = {}
Import.__index = Import

function Import:told(key, message)
  return { file = self.file, line = self.line(key),
           message = words.line(words.text(key) .. ": " .. message) }
end

function Import:fail(key, message, fulcio)
  local told = self:told(key, message)
  told.fulcio = "validate: " .. (fulcio or message)
  self.errors[#self.errors + 1] = told
end

function Import:warn(key, message)
  self.warnings[#self.warnings + 1] = self:told(key, message)
end

-- Why Fulcio would load this issuer and never accept a token of it.
local function useless(issuer, metadata, meta)
  if not rules.known(issuer.type) then
    return ('unknown type "%s"'):format(issuer.type)
  end
  if issuer.client_id == "" then return "client-id is empty" end
  if not meta and issuer.url ~= issuer.key then
    return ('issuer-url "%s" is not its key'):format(issuer.url)
  end
  if issuer.type == "ci-provider" and not metadata[issuer.ci_provider] then
    return ('metadata not found for ci provider "%s"')
      :format(issuer.ci_provider)
  end
end

function Import:data(issuer)
  if issuer.type == "ci-provider" then
    return self.providers[issuer.ci_provider]
  end
  local data, message = types.data(issuer)
  if not data then self:fail(issuer.key, message) end
  return data
end

function Import:add(issuer, meta, name)
  if meta then issuer.url = issuer.key end
  local message = rules.check(issuer, meta)
  if message then return self:fail(issuer.key, message) end
  message = useless(issuer, self.config.metadata, meta)
  if message then
    return self:warn(issuer.key, message .. ": no token of it can pass")
  end
  local data = {}
  for field, value in pairs(self:data(issuer) or {}) do
    data[field] = value
  end
  data.issuer = issuer.key
  if meta then data.issuer = { __word = "glob", count = 1, issuer.key } end
  data.audience = issuer.client_id
  self.sources[#self.sources + 1] = {
    name = name .. ".lua", path = self.file, line = self.line(issuer.key),
    data = data, description = issuer.description,
    import = {
      forms = forms, matchers = matchers, empty_default = true,
      mapping = not by_token[issuer.type],
      ca_cert = issuer.ca_cert ~= "" and issuer.ca_cert or nil,
      ca_pem = trusted(issuer.ca_cert),
      configuration = {
        challenge_claim = rules.challenge_claim(issuer),
        type = issuer.type,
        subject_domain = issuer.subject_domain,
        spiffe_trust_domain = issuer.trust_domain,
        skip_email_verification = issuer.skip,
      },
    },
  }
end

local function keys_of(map, before)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list, before)
  return list
end

-- Of several patterns the longest is asked first.
local function longest(a, b)
  if #a ~= #b then return #a > #b end
  return a < b
end

function Import:run()
  for _, key in ipairs(keys_of(self.config.metadata)) do
    self.providers[key] = provider_data(self.config.metadata[key],
      function(message, fulcio) self:fail(key, message, fulcio) end)
  end
  for i, key in ipairs(keys_of(self.config.issuers)) do
    self:add(self.config.issuers[key], false,
             ("%02d_%s"):format(i, slug(key)))
  end
  for i, key in ipairs(keys_of(self.config.metas, longest)) do
    self:add(self.config.metas[key], true,
             ("any_%02d_%s"):format(i, slug(key)))
  end
end

local function read(name, text)
  local config, message, line = fulcio_config.read(text)
  if not config then
    return nil, { { file = name, line = line or 1,
                    message = words.line(message) } }
  end
  local import = setmetatable({ file = name, line = keylines(text),
    config = config, sources = {}, errors = {}, warnings = {},
    providers = {} }, Import)
  import:run()
  if #import.errors > 0 then return nil, import.errors end
  return import.sources, nil, import.warnings
end

--- Turns a configuration's text into sources for policy.load; nil and all
--- errors, { file, line, message, fulcio } each, `fulcio` being what Fulcio
--- itself would say. Third result: warnings of the same form, for issuers
--- that Fulcio loads and never accepts.
function M.parse(name, text)
  local thrown = mistakes.new()
  local sources, errors, warnings = thrown:guard(name, read, name, text)
  if not sources then return nil, errors or thrown:sorted() end
  return sources, nil, warnings
end

return M
