--- A Go template of Fulcio's configuration as data, filled as Fulcio fills
--- it.
---
--- A token's value wins over a default. An absent claim inside a URL, null,
--- lists and objects are refused, where Fulcio would print something.

local claimfill = require("fulcio.claimfill")
local claimvalue = require("fulcio.claimvalue")
local engine = require("fulcio.engine")
local gotemplate = require("fulcio.gotemplate")
local json = require("fulcio.json")

local null = engine.claims.null

local M = {}

local function problem(code, claim, why, message)
  return { code = code, claim = claim, why = why, message = message }
end

-- The value of a top-level claim as text, then of a default; nil when there
-- is neither; nil and a problem when it cannot be text. The second result
-- says whether an empty text is the operator's own.
local function value_of(env, name)
  local value = env.claims[name]
  if value == nil then return env.default[name], true end
  if value == null then
    return nil, nil, problem("claim_invalid", name, "is null")
  end
  local text, why = claimvalue.text(value)
  if not text then
    return nil, nil, problem("claim_invalid", name, why)
  end
  return text, false
end

-- Filling --------------------------------------------------------------

local value

local function place(text, at)
  local before = text:sub(1, at - 1)
  local _, lines = before:gsub("\n", "")
  local line = before:match("\n([^\n]*)$") or before
  return ("%d:%d"):format(lines + 1, #line)
end

local operations = {}

function operations.text(tree)
  return tree.value
end

function operations.field(tree, env, node)
  local text, own, wrong = value_of(env, tree.name)
  if text or wrong then return text, wrong, own end
  return nil, problem("claim_missing", tree.name, "is not there", (
    'template: :%s: executing "" at <.%s>: map has no entry for key %s')
    :format(place(node.template, tree.at), tree.name, json.text(tree.name)))
end

function operations.index(tree, env)
  local text, own, wrong = value_of(env, tree.name)
  if wrong then return nil, wrong end
  return text or "", nil, text and own
end

local function truth(found)
  return found ~= "" and found ~= false
end

-- `stop`: the truth of an argument that ends the question.
local function first_or_last(stop)
  return function(tree, env, node)
    local found, wrong
    for _, argument in ipairs(tree.arguments) do
      found, wrong = value(argument, env, node)
      if wrong then return nil, wrong end
      if truth(found) == stop then return found end
    end
    return found
  end
end

operations["and"] = first_or_last(false)
operations["or"] = first_or_last(true)

operations["not"] = function(tree, env, node)
  local found, wrong = value(tree.arguments[1], env, node)
  if wrong then return nil, wrong end
  return not truth(found)
end

function operations.eq(tree, env, node)
  local first, wrong = value(tree.arguments[1], env, node)
  if wrong then return nil, wrong end
  local equal = false
  for i = 2, #tree.arguments do
    local other
    other, wrong = value(tree.arguments[i], env, node)
    if wrong then return nil, wrong end
    equal = equal or other == first
  end
  return equal
end

function operations.ne(tree, env, node)
  local equal, wrong = operations.eq(tree, env, node)
  if wrong then return nil, wrong end
  return not equal
end

function value(tree, env, node)
  return operations[tree.op](tree, env, node)
end

-- Appends what a list prints to out.texts; remembers an absent claim.
local function print_list(list, env, node, out)
  for _, tree in ipairs(list) do
    local found, wrong, own
    if tree.op == "if" then
      found, wrong = value(tree.test, env, node)
      if not wrong then
        wrong = print_list(truth(found) and tree.yes or tree.no or {},
                           env, node, out)
      end
    else
      found, wrong, own = value(tree, env, node)
      found = tostring(found)
      out[#out + 1], out.size = found, out.size + #found
      if found == "" and tree.name and not own then
        out.absent = out.absent or tree.name
      end
    end
    if wrong then return wrong end
    if out.size > claimfill.MAX then return claimfill.too_long(tree.name) end
  end
end

local function fill_template(node, env)
  local out = { size = 0 }
  local wrong = print_list(node.list, env, node, out)
  if wrong then return nil, wrong end
  local text = table.concat(out)
  if out.absent and text:find("://", 1, true) then
    return nil, problem("claim_missing", out.absent,
                        "is not there, inside a URL")
  end
  return text
end

local function fill_bare(node, env)
  local text, _, wrong = value_of(env, node.template)
  if wrong then return nil, wrong end
  if text then return text end
  return nil, problem("claim_missing", node.template, "is not there", (
    "value <%s> not present in either claims or defaults. "
    .. '{\n\t"ExtensionName": %s,\n\t"Issuer": %s\n}')
    :format(node.template, json.text(node.extension),
            json.text(env.claims.iss)))
end

local function fill_nothing(_, env)
  return nil, problem("claim_invalid", nil, "no template for the SAN", (
    "SubjectAlternativeNameTemplate should not be empty. Issuer: %s")
    :format(env.claims.iss))
end

-- The names of the claims in a tree or list of trees, in order.
local function names_in(tree, found)
  found = found or {}
  if tree.name then found[#found + 1] = tree.name end
  for _, list in ipairs({ tree, tree.arguments or {}, tree.yes or {},
                          tree.no or {} }) do
    for _, inner in ipairs(list) do names_in(inner, found) end
  end
  if tree.test then names_in(tree.test, found) end
  return found
end

--- The node of a template: `form` is what an importer writes in the place
--- of a text, { __word = "go", template, extension, list }.
function M.node(form)
  local fill = fill_bare
  if form.template == "" then fill = fill_nothing end
  if form.list then fill = fill_template end
  return { kind = "go", fill = fill, template = form.template,
           extension = form.extension, list = form.list,
           reads = form.list and names_in(form.list) or { form.template } }
end

--- Reads a template of Fulcio's, or a bare claim: a form, or nil and a
--- message. `extension` is Go's name of what it is for. White space alone
--- is no name, but printed as it is (and no template for a SAN).
function M.form(template, extension)
  local form = { __word = "go", template = template, extension = extension }
  if template:find("^%s*$") then
    form.list = { { op = "text", value = template } }
    if extension == "SubjectAlternativeName" then
      form.template, form.list = "", nil
    end
  elseif template:find("{{", 1, true) then
    local message
    form.list, message = gotemplate.parse(template)
    if not form.list then return nil, message end
  end
  return form
end

return M
