--- Checks what one policy or provider file says and makes it ready to use.
---
--- A file becomes a piece: the same fields, with texts as nodes, matchers
--- as tests. Everything that is wrong is reported, not just the first.

local claimtext = require("fulcio.claimtext")
local matcher = require("fulcio.matcher")
local nearest = require("fulcio.nearest")
local oids = require("fulcio.oids")
local words = require("fulcio.words")

local M = {}

local kinds = { "email", "uri", "username" }

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

M.sorted = sorted

-- Whether a claim may be called that in `must`, `set` and `default`.
local function check_name(name, path, report)
  if type(name) ~= "string" or name == "" then
    report(path, ("%s: a claim's name must be a text"):format(
      words.show(name)))
  elseif name:find("?", 1, true) == #name then
    report(path, ('"%s": a ? belongs into {claim?} alone'):format(name))
  else
    return true
  end
end

-- A table by claim name, or nil after a report.
local function check_table(value, field, report)
  if type(value) == "table" and not value.__word then return value end
  report({ field }, ("%s must be a table"):format(field))
end

local checkers = {}

function checkers.must(piece, must, report, options)
  if words.of(must) == "anyone" then
    if options.kind == "provider" then
      report({ "must" }, "a provider cannot say anyone: leave must out")
    end
    piece.anyone = true
    return
  end
  if not check_table(must, "must", report) then return end
  if next(must) == nil then
    report({ "must" }, "must is empty: name the claims that a token needs,"
      .. " or write must = anyone")
  end
  for _, name in ipairs(sorted(must)) do
    local path = { "must", name }
    if check_name(name, path, report) then
      local test, message = matcher.compile(name, must[name], options.matchers)
      if test then
        piece.must[#piece.must + 1] = {
          claim = name, test = test, wanted = words.show(must[name]) }
      else
        report(path, ("must.%s: %s"):format(name, message))
      end
    end
  end
end

local function constants(field)
  return function(piece, value, report, options)
    if not check_table(value, field, report) then return end
    for _, name in ipairs(sorted(value)) do
      local path, text = { field, name }, value[name]
      if check_name(name, path, report) then
        if text == false and field == "set" and options.kind == "provider" then
          piece.owed[#piece.owed + 1] = name
        elseif type(text) ~= "string" then
          report(path, ("%s.%s must be a text"):format(field, name))
        elseif text == "" and not options.empty_default then
          report(path, ("%s.%s is empty, which is the same as absent: "
            .. "leave it out and write {%s?}"):format(field, name, name))
        else
          piece[field][name] = text
        end
      end
    end
  end
end

checkers.set = constants("set")
checkers.default = constants("default")

-- Compiles a text into a node or reports why not.
local function node_of(value, path, report, optional, options)
  local node, message = claimtext.compile(value, {
    optional = optional, forms = options.forms })
  if not node then
    report(path, ("%s: %s"):format(table.concat(path, "."), message))
  end
  return node
end

function checkers.san(piece, san, report, options)
  if not check_table(san, "san", report) then return end
  local names = sorted(san)
  if #names ~= 1 then
    report({ "san" }, "san needs exactly one of email, uri, username")
    return
  end
  local kind = names[1]
  if kind ~= "email" and kind ~= "uri" and kind ~= "username" then
    report({ "san", kind }, ("san: unknown kind %s%s"):format(
      words.show(kind), nearest.hint(tostring(kind), kinds)))
    return
  end
  local node = node_of(san[kind], { "san", kind }, report, false, options)
  if kind == "username" and node and not options.importer then
    local literal = 0
    for _, part in ipairs(node) do
      if type(part) == "string" then
        literal = literal + select(2, part:gsub("!", ""))
      end
    end
    if literal ~= 1 then
      report({ "san", kind }, "san.username is NAME!DOMAIN: "
        .. '"{sub}!example.com"')
    end
  end
  piece.san = node and { type = kind, node = node }
end

local function extension_entry(key, path, report)
  if type(key) ~= "string" then
    report(path, ("extensions: %s is no name"):format(words.show(key)))
    return nil
  end
  if oids.is_oid(key) then
    local entry, message = oids.own(key)
    if not entry then report(path, "extensions: " .. message) end
    return entry
  end
  local entry = oids.by_name[key]
  if entry and not entry.always then return entry end
  if entry then
    report(path, ("extensions.%s: every certificate has it%s"):format(key,
      key == "subject" and "" or " (for e-mail issuers see issuer_name)"))
  else
    report(path, ('unknown extension "%s"%s'):format(key,
      nearest.hint(key, oids.names)))
  end
end

function checkers.extensions(piece, value, report, options)
  if not check_table(value, "extensions", report) then return end
  for _, key in ipairs(sorted(value)) do
    local path = { "extensions", key }
    local entry = extension_entry(key, path, report)
    if entry and value[key] == false then
      piece.extensions[key] = { entry = entry, drop = true }
    elseif entry then
      local node = node_of(value[key], path, report, true, options)
      piece.extensions[key] = node and { entry = entry, node = node }
    end
  end
end

function checkers.challenge(piece, value, report, options)
  local list = value
  if type(value) ~= "table" or value.__word then list = { value } end
  if #list == 0 then
    report({ "challenge" }, 'challenge is empty: "{sub}" is the default')
    return
  end
  piece.challenge = {}
  for i, text in ipairs(list) do
    piece.challenge[i] = node_of(text, { "challenge" }, report, false, options)
  end
end

function checkers.issuer_name(piece, value, report, options)
  piece.issuer_name = node_of(value, { "issuer_name" }, report, false, options)
end

function checkers.check(piece, value, report)
  if type(value) == "table" and value["function"] then
    piece.checks[1] = { handle = value, file = piece.name }
  else
    report({ "check" }, "check must be a function(claims)")
  end
end

local function plain(field, kind, article)
  return function(piece, value, report)
    if type(value) == kind and value ~= "" then
      piece[field] = value
    else
      report({ field }, ("%s must be %s"):format(field, article))
    end
  end
end

checkers.provider = plain("provider", "string", "the name of a provider")
checkers.template = plain("template", "string", "the name of a template")
checkers.ca_file = plain("ca_file", "string", "a file name")
checkers.internal = plain("internal", "boolean", "true or false")
checkers.unverified_email =
  plain("unverified_email", "boolean", "true or false")

-- Read by issuer.lua, which knows what an issuer may be called.
local elsewhere = { issuer = true, audience = true }

local only_policy = { "issuer", "audience", "provider", "ca_file", "internal",
                      "unverified_email" }

-- The fields that a kind of file may have, as list and as set.
local function fields_of(kind)
  local allowed = {}
  for name in pairs(checkers) do allowed[name] = true end
  for name in pairs(elsewhere) do allowed[name] = true end
  if kind == "provider" then
    for _, name in ipairs(only_policy) do allowed[name] = nil end
  end
  return sorted(allowed), allowed
end

local names, allowed = {}, {}
for _, kind in ipairs({ "policy", "provider" }) do
  names[kind], allowed[kind] = fields_of(kind)
end

--- Fields of a policy or provider file.
M.fields = names

local function unknown(key, kind)
  if allowed.policy[key] then
    return ('a provider has no "%s": it belongs into the policy'):format(key)
  end
  return ("unknown field %s%s"):format(words.show(key),
    type(key) == "string" and nearest.hint(key, names[kind]) or "")
end

--- Checks a file's data. `options`: kind "policy" or "provider", name of
--- the file, and what an importer may say besides (forms, matchers, …).
--- `report(path, message)` is called for everything that is wrong.
function M.piece(data, report, options)
  local piece = { name = options.name, must = {}, checks = {}, set = {},
                  default = {}, extensions = {}, owed = {} }
  if type(data) ~= "table" or data.__word then
    report({}, "the file must return a table: return { issuer = … }")
    return piece
  end
  for _, key in ipairs(sorted(data)) do
    local checker = checkers[key]
    if not allowed[options.kind][key] then
      report({ key }, unknown(key, options.kind))
    elseif checker then
      checker(piece, data[key], report, options)
    end
  end
  return piece
end

return M
