--- Fulcio's own identity configuration as policies: an existing deployment
--- moves without editing anything.

local claimtext = require("fulcio.claimtext")
local engine = require("fulcio.engine")
local fulcio_config = require("fulcio.fulcio_config")
local gotext = require("fulcio.gotext")
local oids = require("fulcio.oids")
local policy_file = require("fulcio.policy_file")
local rules = require("fulcio.fulcio_rules")
local types = require("fulcio.fulcio_types")

local M = {}

-- What an importer may say besides the policy language -----------------

local forms = { go = gotext.node }

-- A text as Go prints the URL that it is.
function forms.printed(form, options, compile)
  local node, message = compile(form[1], options)
  if not node then return nil, message end
  return {
    kind = "printed", base = node,
    fill = function(_, env)
      local text, wrong = claimtext.fill(node, env)
      local uri = text and engine.uri.parse(text)
      return uri and uri.text or text, wrong
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
  local data = { must = { word = "anyone" }, unverified_email = true,
                 default = metadata.default, extensions = {} }
  local message
  data.san = {}
  data.san.uri, message = gotext.form(metadata.san, "SubjectAlternativeName")
  if message then fail("subject-alternative-name: " .. message, message) end
  for _, name in ipairs(oids.names) do
    local template = metadata.extensions[name]
    if template and template:find("%S") then
      local form
      form, message = gotext.form(template, fulcio_config.go_name(name))
      if not form then fail(name .. ": " .. message, message) end
      data.extensions[name] = form
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

local Import = {}
Import.__index = Import

function Import:fail(key, message, fulcio)
  self.errors[#self.errors + 1] = {
    file = self.file, line = self:line(key),
    message = key .. ": " .. message,
    fulcio = "validate: " .. (fulcio or message),
  }
end

function Import:warn(key, message)
  self.warnings[#self.warnings + 1] = {
    file = self.file, line = self:line(key),
    message = key .. ": " .. message,
  }
end

-- The line on which a key of the configuration first stands.
function Import:line(key)
  local at = self.text:find(key, 1, true)
  if not at then return 1 end
  return 1 + select(2, self.text:sub(1, at):gsub("\n", ""))
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
  if meta then data.issuer = { word = "glob", count = 1, issuer.key } end
  data.audience = issuer.client_id
  self.sources[#self.sources + 1] = {
    name = name .. ".lua", path = self.file, line = self:line(issuer.key),
    data = data, description = issuer.description,
    import = {
      forms = forms, matchers = matchers, empty_default = true,
      mapping = not by_token[issuer.type],
      ca_pem = issuer.ca_cert ~= "" and issuer.ca_cert or nil,
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

--- Turns a configuration's text into sources for policy.load; nil and all
--- errors, { file, line, message, fulcio } each, `fulcio` being what Fulcio
--- itself would say. Third result: warnings of the same form, for issuers
--- that Fulcio loads and never accepts.
function M.parse(name, text)
  local config, message = fulcio_config.read(text)
  if not config then
    return nil, { { file = name, line = tonumber(message:match("line (%d+)"))
                    or 1, message = message } }
  end
  local import = setmetatable({ file = name, text = text, config = config,
    sources = {}, errors = {}, warnings = {}, providers = {} }, Import)
  import:run()
  if #import.errors > 0 then return nil, import.errors end
  return import.sources, nil, import.warnings
end

-- Policy files ---------------------------------------------------------

-- A value in the policy language, or nil and why it has none.
local function written(value, default, needed)
  if type(value) ~= "table" then return value end
  if value.word == "printed" then return value[1] end
  if value.word == "nonzero" then return { word = "integer" } end
  if value.word ~= "go" then
    local copy = {}
    for key, item in pairs(value) do copy[key] = item end
    return copy
  end
  local text, why, needs = gotext.written(value, default)
  if not text then return nil, why end
  if needs then needed[needs] = { word = "present" } end
  return text
end

local function reads_email(value)
  if type(value) == "string" then return value:find("{email[}?]") ~= nil end
  if type(value) ~= "table" then return false end
  for _, item in pairs(value) do
    if reads_email(item) then return true end
  end
  return value[1] == "email"
end

local function tidy(data, needed)
  if next(needed) then
    for name, matcher in pairs(data.must.word and {} or data.must) do
      needed[name] = matcher
    end
    data.must = needed
  end
  local default = {}
  for name, text in pairs(data.default or {}) do
    if text ~= "" then default[name] = text end
  end
  data.default = next(default) and default or nil
  if data.unverified_email and not reads_email({ data.san, data.extensions })
  then
    data.unverified_email = nil
  end
end

--- A source of `parse` as plain policy data; nil and a list of messages
--- when the policy language cannot say it. There an empty claim is an
--- absent one, where Fulcio would leave out what is made of it.
function M.plain(source)
  local data, messages, needed = {}, {}, {}
  local default = source.data.default or {}
  for field, value in pairs(source.data) do data[field] = value end
  for _, field in ipairs({ "san", "extensions", "must" }) do
    local map = source.data[field]
    if map and not map.word then
      data[field] = {}
      for name, value in pairs(map) do
        local why
        data[field][name], why = written(value, default, needed)
        if why then
          messages[#messages + 1] = ("%s.%s cannot be written as a policy: %s")
            :format(field, name, why)
        end
      end
    end
  end
  if #messages > 0 then
    table.sort(messages)
    return nil, messages
  end
  tidy(data, needed)
  return data
end

--- The sources of `parse` as policy files: a list of { name, text }; nil
--- and errors. A CA certificate becomes a file of its own.
function M.files(sources)
  local files, errors = {}, {}
  for _, source in ipairs(sources) do
    local data, messages = M.plain(source)
    for _, message in ipairs(messages or {}) do
      errors[#errors + 1] = { file = source.path, line = source.line,
                              message = source.name .. ": " .. message }
    end
    if data then
      local pem = source.import.ca_pem
      if pem then
        data.ca_file = source.name:gsub("lua$", "pem")
        files[#files + 1] = { name = data.ca_file, text = pem }
      end
      files[#files + 1] = {
        name = source.name,
        text = policy_file.text(data, source.description) }
    end
  end
  if #errors > 0 then return nil, errors end
  return files
end

--- The same as one text, each file under a line with its name.
function M.print(sources)
  local files, errors = M.files(sources)
  if not files then return nil, errors end
  local out = {}
  for i, file in ipairs(files) do
    out[i] = ("-- %s\n%s"):format(file.name, file.text)
  end
  return table.concat(out, "\n")
end

return M
