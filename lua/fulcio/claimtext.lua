--- What a certificate says, made from claims: "{claim}", url() and pick().
---
--- A text becomes a node once, at start; claimfill.lua fills it for each token.
--- Nothing that a claim contains is ever read as a template.

local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local words = require("fulcio.words")

local concat, find, sub = table.concat, string.find, string.sub

-- Of one text, claims and what stands between them.
local PARTS = 128

local M = {}

-- Compiling ------------------------------------------------------------

local compile

local function claim_part(name, options)
  local optional = sub(name, -1) == "?"
  if optional then name = sub(name, 1, -2) end
  if name == "" or find(name, "^%s") or find(name, "%s$", -1) then
    return nil, ('"{%s}" names no claim (write {claim}, without spaces)')
      :format(words.text(name))
  end
  if optional and not options.optional then
    local shown = words.text(name)
    return nil, ("{%s?} may be absent, which is not allowed here: write {%s}")
      :format(shown, shown)
  end
  local why = claimvalue.unfit(name)
  if why then return nil, ("%s: %s"):format(words.show(name), why) end
  return { claim = name, optional = optional,
           direct = not find(name, "/", 1, true) }
end

-- Appends the texts that follow each other to a node, as one.
local function append_texts(node, texts)
  local text = concat(texts)
  if text ~= "" then node[#node + 1] = text end
end

-- The claim that begins at `open`, and where it ends; nil, message.
local function compile_claim(text, open, options)
  local close = find(text, "}", open, true)
  if not close then
    return nil, ("%s has a { without } (a brace itself is {{)")
      :format(words.show(text))
  end
  local part, message = claim_part(sub(text, open + 1, close - 1), options)
  if not part then return nil, message end
  return part, close
end

-- Why a text cannot be a node, whatever claims it names.
local function unfit(text)
  if text == "" then return "an empty text says nothing" end
  if find(text, "{{%s*%.") then
    return words.show(text) .. " looks like a Go template: write {claim}"
  end
  if not engine.bytes.is_printable(text) then
    return words.show(text) .. " has a character that does not print"
  end
end

local function compile_text(text, options)
  local message = unfit(text)
  if message then return nil, message end
  local node, texts, at = { kind = "text" }, {}, 1
  while true do
    local open = find(text, "{", at, true)
    texts[#texts + 1] = sub(text, at, (open or 0) - 1)
    if not open then break end
    if sub(text, open, open + 1) == "{{" then
      texts[#texts + 1] = "{"
      at = open + 2
    else
      local part, close = compile_claim(text, open, options)
      if not part then return nil, close end
      append_texts(node, texts)
      node[#node + 1], texts = part, {}
      at = close + 1
    end
    if #node > PARTS then
      return nil, ("%s has too many claims: %d, with what stands between"
        .. " them, are allowed"):format(words.show(text), PARTS)
    end
  end
  append_texts(node, texts)
  return node
end

local function compile_url(value, options)
  if value.count ~= 2 then
    return nil, 'url takes two texts: url("https://example.com", "{claim}")'
  end
  local base, message = compile(value[1], options)
  if not base then return nil, message end
  local path
  path, message = compile(value[2], options)
  if not path then return nil, message end
  return { kind = "url", base = base, path = path }
end

local function compile_cases(cases, options)
  local nodes = {}
  for name, case in pairs(cases) do
    if type(name) ~= "string" then
      return nil, 'pick needs a table by text: pick("claim", { a = "…" })'
    end
    local node, message = compile(case, options)
    if not node then return nil, message end
    nodes[name] = node
  end
  if next(nodes) == nil then return nil, "pick has nothing to pick from" end
  return nodes
end

local function compile_pick(value, options)
  local claim, cases, otherwise = value[1], value[2], value[3]
  if type(claim) ~= "string" or claim == "" or type(cases) ~= "table"
     or words.of(cases) or value.count > 3 then
    return nil, 'pick takes a claim and a table: pick("claim", { a = "…" })'
  end
  local why = claimvalue.unfit(claim)
  if why then return nil, ("%s: %s"):format(words.show(claim), why) end
  local nodes, message = compile_cases(cases, options)
  if not nodes then return nil, message end
  local node = { kind = "pick", claim = claim, cases = nodes }
  if otherwise == false then
    if not options.optional then
      return nil, "pick(…, false) may leave nothing, not allowed here"
    end
    node.otherwise = false
  elseif value.count == 3 then
    node.otherwise, message = compile(otherwise, options)
    if not node.otherwise then return nil, message end
  end
  return node
end

function compile(value, options)
  if type(value) == "string" then return compile_text(value, options) end
  local word = words.of(value)
  if word == "url" then return compile_url(value, options) end
  if word == "pick" then return compile_pick(value, options) end
  if options.forms and options.forms[word] then
    return options.forms[word](value, options, compile)
  end
  return nil, ("%s is not a text, url(…) or pick(…)")
    :format(words.show(value))
end

--- Compiles a text, url() or pick(). `options.optional`: `{claim?}` may
--- stand in it. `options.forms`: further words, by name (the importer's).
M.compile = compile

-- What nodes read ----------------------------------------------------

--- Calls `visit` with the name of every claim that a node may read.
function M.each_claim(node, visit)
  if node.claim then visit(node.claim) end
  for _, name in ipairs(node.reads or {}) do visit(name) end
  for _, part in ipairs(node) do
    if type(part) == "table" then M.each_claim(part, visit) end
  end
  for _, case in pairs(node.cases or {}) do M.each_claim(case, visit) end
  if node.base then M.each_claim(node.base, visit) end
  if node.path then M.each_claim(node.path, visit) end
  if node.otherwise then M.each_claim(node.otherwise, visit) end
end

--- The first claim that a node reads, nil when it is a constant.
function M.first(node)
  local first
  M.each_claim(node, function(name) first = first or name end)
  return first
end

--- The one claim in a text that is otherwise the operator's: the claim, what
--- stands before it, what stands after. nil when it is not of that kind.
function M.around(node, set)
  local claim, before, after = nil, "", ""
  if node.kind ~= "text" then return nil end
  for _, part in ipairs(node) do
    local constant = part
    if type(part) == "table" then constant = set[part.claim] end
    if type(constant) ~= "string" then
      if claim or not part.direct then return nil end
      claim = part.claim
    elseif claim then
      after = after .. constant
    else
      before = before .. constant
    end
  end
  return claim, before, after
end

--- The claim that a node is, nil when it is anything more or else.
function M.only(node)
  if node.kind == "text" and #node == 1 and type(node[1]) == "table"
     and not node[1].optional then
    return node[1].claim
  end
end

return M
