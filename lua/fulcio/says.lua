--- Checks what a policy says in a certificate: its name, its extensions,
--- and the text that a client proves with.

local claimtext = require("fulcio.claimtext")
local nearest = require("fulcio.nearest")
local oids = require("fulcio.oids")
local returned = require("fulcio.returned")
local words = require("fulcio.words")

local M = { checkers = {} }

local OWN, CHALLENGES = 100, 20

local kinds = { "email", "uri", "username" }

--- The keys of a table in order: texts behind numbers.
function M.sorted(map)
  local names, numbers = {}, {}
  for name in pairs(map) do
    local list = type(name) == "string" and names or numbers
    list[#list + 1] = name
  end
  table.sort(names)
  table.sort(numbers)
  return table.move(names, 1, #names, #numbers + 1, numbers)
end

--- A table by name, or nil after a report. `most`: entries it may have.
function M.check_table(value, field, report, most)
  if type(value) ~= "table" or value.__word then
    report({ field }, ("%s must be a table"):format(field))
    return nil
  end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  if not most or count <= most then return value end
  report({ field }, ("%s has %d entries: at most %d are allowed")
    :format(field, count, most))
end

local check_table, sorted = M.check_table, M.sorted

--- A list of values, or one value as a list of it; nil after a report.
function M.list(value, field, report)
  if type(value) ~= "table" or value.__word then return { value } end
  if returned.is_list(value) then return value end
  report({ field }, ('%s is no list: { "…", "…" }'):format(field))
end

-- Compiles a text into a node or reports why not.
local function node_of(value, path, report, optional, options)
  local node, message = claimtext.compile(value, {
    optional = optional, forms = options.forms })
  if not node then
    report(path, ("%s: %s"):format(
      words.text(table.concat(path, ".")), message))
  end
  return node
end

-- The one kind of name that `san` has, or nil after a report.
local function kind_of(san, report)
  local names, known = sorted(san), true
  if #names ~= 1 then
    report({ "san" }, "san needs exactly one of email, uri, username")
  end
  for _, kind in ipairs(names) do
    if kind ~= "email" and kind ~= "uri" and kind ~= "username" then
      report({ "san", kind }, ("san: unknown kind %s%s"):format(
        words.show(kind), nearest.hint(tostring(kind), kinds)))
      known = false
    end
  end
  return #names == 1 and known and names[1] or nil
end

function M.checkers.san(piece, san, report, options)
  if not check_table(san, "san", report) then return end
  local kind = kind_of(san, report)
  if not kind then return end
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
    report(path, ("unknown extension %s%s"):format(words.show(key),
      nearest.hint(key, oids.names)))
  end
end

-- Whether there are more of the operator's own than a certificate may have.
local function too_many(extensions, report)
  local count = 0
  for key in pairs(extensions) do
    if type(key) == "string" and oids.is_oid(key) then count = count + 1 end
  end
  if count <= OWN then return false end
  report({ "extensions" }, ("extensions has %d of its own: at most %d are"
    .. " allowed"):format(count, OWN))
  return true
end

function M.checkers.extensions(piece, value, report, options)
  if not check_table(value, "extensions", report) or too_many(value, report)
  then
    return
  end
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

function M.checkers.challenge(piece, value, report, options)
  local list = M.list(value, "challenge", report)
  if not list or not check_table(list, "challenge", report, CHALLENGES) then
    return
  end
  if #list == 0 then
    report({ "challenge" }, 'challenge is empty: "{sub}" is the default')
    return
  end
  piece.challenge = {}
  for i, text in ipairs(list) do
    piece.challenge[i] = node_of(text, { "challenge" }, report, false, options)
  end
end

function M.checkers.issuer_name(piece, value, report, options)
  piece.issuer_name = node_of(value, { "issuer_name" }, report, false, options)
end

return M
