--- Turns policy files into policies that can decide, or into errors.

local assemble = require("fulcio.assemble")
local compile = require("fulcio.compile")
local engine = require("fulcio.engine")
local issuer = require("fulcio.issuer")
local lines = require("fulcio.lines")
local mistakes = require("fulcio.mistakes")
local provider = require("fulcio.provider")
local returned = require("fulcio.returned")
local shelf = require("fulcio.shelf")
local template = require("fulcio.template")
local words = require("fulcio.words")

local M = {}

local Loader = {}
Loader.__index = Loader

-- How a source is called in messages.
local function place(source)
  return source.path or source.name
end

-- A function that reports what is wrong at a path of a file.
function Loader:reporter(source)
  local line_of = source.text and lines.finder(source.text)
    or function() return source.line or 1 end
  return self.mistakes:reporter(place(source), line_of)
end

-- The table a source holds or returns; nil after a report.
function Loader:data(source)
  if source.data then return source.data end
  local data, message = self.sandbox:load(place(source), source.text)
  if data ~= nil or not message then return data or {} end
  local fault = words.fault(place(source), message)
  self.mistakes:add(fault.file, fault.line, fault.message)
end

-- A check keeps the sandbox to itself: what it holds on to is missing from
-- no other's.
function Loader:give_sandbox(check)
  if not check then return end
  check.sandbox = self.sandbox
  self.sandbox = words.sandbox()
end

function Loader:piece(source, kind)
  local data = self:data(source)
  if not data then return nil end
  local report = self:reporter(source)
  if source.text and not returned.check(data, report) then return nil end
  local import = source.import or {}
  local piece = compile.piece(data, report, {
    kind = kind, name = source.name, importer = source.import ~= nil,
    forms = import.forms, matchers = import.matchers,
    empty_default = import.empty_default,
  })
  if type(data) ~= "table" then return nil end
  self:give_sandbox(piece.checks[1])
  return piece, report, data
end

-- The piece of a provider, loaded once; nil after a report.
function Loader:provider(name, source, report)
  if self.providers[name] == nil then
    local file, message = shelf.find("providers", name, source.dir,
                                     self.options.providers)
    if not file then
      report({ "provider" }, message)
      return nil
    end
    self.providers[name] = self.mistakes:guard(place(file), self.piece, self,
                                               file, "provider") or false
  end
  return self.providers[name] or nil
end

-- The template of a name, loaded once; nil after a report.
function Loader:template(name, source, report)
  if self.templates[name] == nil then
    local file, message = shelf.find("templates", name, source.dir,
                                     self.options.templates)
    if not file then
      report({ "template" }, message)
      return nil
    end
    local found, errors = template.load(place(file), file.text, self.sandbox)
    for _, wrong in ipairs(errors or {}) do
      self.mistakes:add(wrong.file, wrong.line, wrong.message)
    end
    self.templates[name] = found or false
  end
  return self.templates[name] or nil
end

-- The template for a policy's certificates; nil after a report.
function Loader:certificate(name, source, report)
  local found = self:template(name, source, report)
  if found and found.ca then
    report({ "template" }, ("template %s is for a ca")
      :format(words.show(name)))
  end
  return found
end

-- What only a policy has: whom it trusts, and that it says so.
function Loader:standing(piece, data, source, report)
  piece.issuers, piece.audiences = {}, {}
  if not issuer.too_many(data, report) then
    piece.issuers = issuer.issuers(data.issuer, report, self.options)
    piece.audiences = issuer.audiences(data.audience, report)
  end
  if piece.ca_file and self.options.files then
    issuer.check_ca_file(issuer.ca_file(piece.ca_file, source.dir), report)
  end
  if data.must == nil then
    report({}, "must is missing: name the claims that a token needs, or"
      .. " write must = anyone")
  end
end

function Loader:add(source)
  local piece, report, data = self:piece(source, "policy")
  if not piece then return end
  self:standing(piece, data, source, report)
  local certificate = piece.template
    and self:certificate(piece.template, source, report)
  local merged = piece
  if piece.provider then
    local under = self:provider(piece.provider, source, report)
    if not under then return end
    merged = provider.merge(under, piece, report)
  end
  if not merged.san and data.san == nil then
    report({}, "san is missing: name a provider, or write"
      .. ' san = { uri = "{sub}" }')
  end
  local policy = assemble.policy(merged, report)
  if not policy then return end
  policy.certificate = certificate or not piece.template
    and self:certificate(policy.template or "leaf", source, report) or nil
  local import = source.import or {}
  policy.mapping, policy.ca_pem = import.mapping, import.ca_pem
  policy.configuration = import.configuration
  policy.dir, policy.place, policy.report = source.dir, place(source), report
  self.policies[#self.policies + 1] = policy
end

-- One issuer has one CA: `first` is the first policy that names it.
local function check_place(first, policy)
  for _, field in ipairs({ "ca_file", "internal" }) do
    if first[field] ~= policy[field] then
      policy.report({ field }, ("%s differs from that in %s, which is for the"
        .. " same issuer"):format(field, first.name))
    end
  end
end

-- `must = anyone` beside another policy of the same pair would make one of
-- the two useless.
local function check_anyone(first, policy)
  local one, other = first, policy
  if not first.anyone then one, other = policy, first end
  if one.anyone then
    one.report({ "must" }, ("must = anyone beside %s, which is for the same"
      .. " issuer and audience"):format(other.name))
  end
end

-- Compares policies with the first that has a key in common with them, once
-- for each two.
function Loader:compare(keys_of, check)
  local first, done = {}, {}
  for _, policy in ipairs(self.policies) do
    done[policy] = { [policy] = true }
    for _, key in ipairs(keys_of(policy)) do
      local other = first[key] or policy
      first[key] = other
      if not done[policy][other] then
        done[policy][other] = true
        self.mistakes:guard(policy.place, check, other, policy)
      end
    end
  end
end

local function issuers_of(policy)
  local list = {}
  for i, entry in ipairs(policy.issuers) do list[i] = entry.text end
  return list
end

local function pairs_of(policy)
  local list = {}
  for _, entry in ipairs(policy.issuers) do
    for _, audience in ipairs(policy.audiences) do
      list[#list + 1] = entry.text .. "\0" .. audience
    end
  end
  return list
end

-- Every provider and template of a folder, whether a policy names it or not.
function Loader:add_folder(dir)
  for _, kind in ipairs({ "provider", "template" }) do
    for _, file in ipairs(engine.system.list(dir .. "/" .. kind .. "s") or {})
    do
      local name = file:match("^(.*)%.lua$")
      if name then
        self[kind](self, name, { dir = dir }, function(_, message)
          self.mistakes:add(dir .. "/" .. kind .. "s/" .. file, 1, message)
        end)
      end
    end
  end
end

--- Loads sources into { policies, errors }; the errors are sorted
--- by file and line, and the policies are of use only without them.
function M.load(sources, options)
  local loader = setmetatable({
    mistakes = mistakes.new(), policies = {}, providers = {}, templates = {},
    options = options or {}, sandbox = words.sandbox(),
  }, Loader)
  local ordered, seen = {}, {}
  for i, source in ipairs(sources) do ordered[i] = source end
  table.sort(ordered, function(a, b) return a.name < b.name end)
  for _, source in ipairs(ordered) do
    if seen[source.name] then
      loader.mistakes:add(source.name, 1,
                          "there are two policies of this name")
    end
    seen[source.name] = true
    loader.mistakes:guard(place(source), loader.add, loader, source)
  end
  loader:compare(issuers_of, check_place)
  loader:compare(pairs_of, check_anyone)
  if loader.options.folder then loader:add_folder(loader.options.folder) end
  loader.errors = loader.mistakes:sorted()
  return loader
end

return M
