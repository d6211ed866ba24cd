--- Checks what one policy or provider file says and makes it ready to use.
---
--- A file becomes a piece: the same fields, with texts as nodes, matchers
--- as tests. Everything that is wrong is reported, not just the first.

local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local matcher = require("fulcio.matcher")
local nearest = require("fulcio.nearest")
local says = require("fulcio.says")
local words = require("fulcio.words")

local check_table, sorted = says.check_table, says.sorted

local CLAIMS, PATH = 200, 1000

local M = { sorted = sorted }

-- Whether a claim may be called that in `must`, `set` and `default`.
local function check_name(name, path, report)
  if type(name) ~= "string" or name == "" then
    report(path, ("%s: a claim's name must be a text"):format(
      words.show(name)))
    return false
  end
  local why = claimvalue.unfit(name)
  if name:find("?", 1, true) == #name then
    why = "a ? belongs into {claim?} alone"
  end
  if why then report(path, ("%s: %s"):format(words.show(name), why)) end
  return not why
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
  if not check_table(must, "must", report, CLAIMS) then return end
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
          claim = name, test = test, value = must[name],
          wanted = words.show(must[name]) }
      else
        report(path, ("must.%s: %s"):format(words.text(name), message))
      end
    end
  end
end

-- Why a text is no constant for the claim of that name.
local function unfit(text, name, options)
  if type(text) ~= "string" then return "must be a text" end
  if text == "" and not options.empty_default then
    return ("is empty, which is the same as absent: leave it out and write"
      .. " {%s?}"):format(name)
  end
  if not options.importer and not engine.bytes.is_printable(text) then
    return "has a character that does not print"
  end
end

local function constants(field)
  return function(piece, value, report, options)
    if not check_table(value, field, report, CLAIMS) then return end
    for _, name in ipairs(sorted(value)) do
      local path, text = { field, name }, value[name]
      if check_name(name, path, report) then
        if text == false and field == "set" and options.kind == "provider" then
          piece.owed[#piece.owed + 1] = name
        else
          local message = unfit(text, words.text(name), options)
          piece[field][name] = not message and text or nil
          if message then
            report(path, ("%s.%s %s"):format(field, words.text(name), message))
          end
        end
      end
    end
  end
end

checkers.set = constants("set")
checkers.default = constants("default")

for field, checker in pairs(says.checkers) do checkers[field] = checker end

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

function checkers.ca_file(piece, value, report)
  if type(value) == "string" and value ~= "" and #value <= PATH
     and engine.bytes.is_printable(value) then
    piece.ca_file = value
  else
    report({ "ca_file" }, "ca_file must be a file name")
  end
end

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
