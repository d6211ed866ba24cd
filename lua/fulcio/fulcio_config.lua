--- Reads Fulcio's identity configuration, JSON or YAML, and checks it as
--- Fulcio does when it starts.
---
--- Every text stays the text that was written. Unknown names are ignored,
--- as Fulcio ignores them.

local engine = require("fulcio.engine")
local oids = require("fulcio.oids")
local yaml = require("fulcio.yaml")

local null = engine.claims.null

local M = {}

-- Names ----------------------------------------------------------------

local sections = { issuers = { "OIDCIssuers", "oidc-issuers" },
                   metas = { "MetaIssuers", "meta-issuers" },
                   metadata = { "CIIssuerMetadata", "ci-issuer-metadata" } }

local issuer_fields = {
  url = { "IssuerURL", "issuer-url" },
  client_id = { "ClientID", "client-id" },
  type = { "Type", "type" },
  ci_provider = { "CIProvider", "ci-provider" },
  issuer_claim = { "IssuerClaim", "issuer-claim" },
  subject_domain = { "SubjectDomain", "subject-domain" },
  trust_domain = { "SPIFFETrustDomain", "spiffe-trust-domain" },
  challenge_claim = { "ChallengeClaim", "challenge-claim" },
  ca_cert = { "CACert", "ca-cert" },
  skip = { "SkipEmailVerification", "skip-email-verification" },
  description = { "Description", "description" },
}

local metadata_fields = {
  default = { "DefaultTemplateValues", "default-template-values" },
  extensions = { "ExtensionTemplates", "extension-templates" },
  san = { "SubjectAlternativeNameTemplate",
          "subject-alternative-name-template" },
}

-- "source_repository_uri" is SourceRepositoryURI in Go.
local function go_name(name)
  return (name:gsub("[^_]+", function(part)
    if part == "uri" or part == "sha" then return part:upper() end
    return part:sub(1, 1):upper() .. part:sub(2)
  end):gsub("_", ""))
end

local extension_fields = {}
for _, name in ipairs(oids.names) do
  extension_fields[name] = { go_name(name), (name:gsub("_", "-")) }
end

-- Fulcio reads these two and never uses them.
extension_fields.issuer = { "Issuer", "issuer" }
extension_fields.subject = { "Subject", "subject" }

M.go_name = go_name

-- Reading --------------------------------------------------------------

-- Reads members by their names in YAML, or in JSON (any case, as Go).
local function members(map, form)
  if form == "yaml" then
    return function(names) return map[names[2]] end
  end
  local folded = {}
  for name, value in pairs(map) do
    if type(name) == "string" then folded[name:lower()] = value end
  end
  return function(names)
    local value = map[names[1]]
    if value == nil then value = folded[names[1]:lower()] end
    return value
  end
end

local function fail(message, ...)
  error({ message = message:format(...) }, 0)
end

local function text_of(value, where)
  if value == nil or value == null then return "" end
  if type(value) ~= "string" then fail("%s must be a text", where) end
  return value
end

local function map_of(value, where)
  if value == nil or value == null or value == "" then return {} end
  if type(value) ~= "table" or value[1] ~= nil then
    fail("%s must be a table", where)
  end
  return value
end

local truths = { ["true"] = true, yes = true, on = true, y = true,
                 ["false"] = false, no = false, off = false, n = false,
                 [""] = false }

local function boolean_of(value, where, form)
  if value == nil or value == null then return false end
  if type(value) == "boolean" then return value end
  local known
  if form == "yaml" and type(value) == "string" then
    known = truths[value:lower()]
  end
  if known == nil then fail("%s must be true or false", where) end
  return known
end

-- YAML's merge key: what it names stands behind what is written out.
local function merged(value)
  if type(value) ~= "table" then return value end
  local map, under = {}, value["<<"]
  if type(under) == "table" then
    for _, one in ipairs(under[1] and under or { under }) do
      for name, item in pairs(merged(one)) do
        if map[name] == nil then map[name] = item end
      end
    end
  end
  for name, item in pairs(value) do
    if name ~= "<<" then map[name] = merged(item) end
  end
  return map
end

local function read_issuer(key, value, form)
  local member = members(map_of(value, key), form)
  local issuer = { key = key }
  for field, names in pairs(issuer_fields) do
    local where = ("%s: %s"):format(key, names[form == "yaml" and 2 or 1])
    local found = member(names)
    if field == "skip" then
      issuer.skip = boolean_of(found, where, form)
    else
      issuer[field] = text_of(found, where)
    end
  end
  return issuer
end

local function read_texts(value, fields, where, form)
  local map, texts = map_of(value, where), {}
  if not fields then
    for name, text in pairs(map) do
      texts[name] = text_of(text, where .. ": " .. tostring(name))
    end
    return texts
  end
  local member = members(map, form)
  for name, names in pairs(fields) do
    local found = member(names)
    if found ~= nil then texts[name] = text_of(found, where .. ": " .. name) end
  end
  return texts
end

local function read_metadata(key, value, form)
  local member = members(map_of(value, key), form)
  return {
    default = read_texts(member(metadata_fields.default), nil,
                         key .. ": defaults", form),
    extensions = read_texts(member(metadata_fields.extensions),
                            extension_fields, key .. ": extensions", form),
    san = text_of(member(metadata_fields.san), key .. ": SAN"),
  }
end

local readers = { issuers = read_issuer, metas = read_issuer,
                  metadata = read_metadata }

local function read(document, form)
  local config, member = {}, members(document, form)
  for section, names in pairs(sections) do
    config[section] = {}
    local map = map_of(member(names),
                       names[form == "yaml" and 2 or 1])
    for key, value in pairs(map) do
      config[section][key] = readers[section](tostring(key), value, form)
    end
  end
  return config
end

-- JSON when it is that, else YAML, as Fulcio tries them.
local function parse(text)
  local document, json_message = engine.claims.parse(text)
  if type(document) == "table" and document[1] == nil then
    return document, "json"
  end
  local message
  document, message = yaml.parse(text)
  if type(document) == "table" and document[1] == nil
     and (document["oidc-issuers"] or document["meta-issuers"]
          or not text:find("^%s*{")) then
    return merged(document), "yaml"
  end
  if text:find("^%s*{") then return nil, json_message end
  return nil, message or "not a table of oidc-issuers"
end

--- Reads a configuration: { issuers, metas, metadata }, tables by key; nil
--- a message, and the line where the text is neither JSON nor YAML.
function M.read(text)
  local document, form = parse(text)
  if not document then
    return nil, form, tonumber(form:match("line (%d%d?%d?%d?%d?%d?)%f[%D]"))
  end
  local ok, config = pcall(read, document, form)
  if ok then return config end
  if type(config) ~= "table" then error(config, 0) end
  return nil, config.message
end

return M
