--- A Go template of Fulcio's configuration in our own language, where that
--- can say it.

local M = {}

local function claim_text(name, optional)
  if name:find("[{}]") or name:find("%?$") or name:find("^%s")
     or name:find("%s$") then
    return nil, ('the claim "%s" has a name that cannot be written')
      :format(name)
  end
  return ("{%s%s}"):format(name, optional and "?" or "")
end

-- A list without if as one text. `alone`: nothing stands beside it.
local function plain_text(list, default, alone, needed)
  local out = {}
  for i, tree in ipairs(list) do
    local text, why
    if tree.op == "text" then
      text = tree.value:gsub("{", "{{")
    elseif tree.op == "field" or tree.op == "index" then
      local whole = alone and #list == 1
      local empty = default[tree.name] == ""
      if empty and not whole then
        why = ('"%s" is empty by default'):format(tree.name)
      else
        text, why = claim_text(tree.name, whole and not needed
          and (empty or tree.op == "index"))
      end
    else
      why = ("%s stands in it"):format(tree.op)
    end
    if not text then return nil, why end
    out[i] = text
  end
  return table.concat(out)
end

-- The one `if` of a list and the texts around it.
local function split(list)
  local before, after, found = {}, {}, nil
  for _, tree in ipairs(list) do
    if tree.op == "if" then
      if found then return nil, "there are two ifs in it" end
      found = tree
    else
      local side = found and after or before
      side[#side + 1] = tree
    end
  end
  return found, before, after
end

local function around(before, list, after)
  local out = {}
  for _, part in ipairs({ before, list or {}, after }) do
    for _, tree in ipairs(part) do out[#out + 1] = tree end
  end
  return out
end

-- {{if eq .x "a"}}…{{else}}…{{end}} as pick("x", { a = … }, …).
local function as_pick(found, before, after, default, needed)
  local test = found.test
  local claim, wanted = (test.arguments or {})[1], (test.arguments or {})[2]
  if test.op ~= "eq" or #test.arguments ~= 2 or wanted.op ~= "text"
     or not claim.name then
    return nil, "if can only ask eq of a claim and a text"
  end
  local yes, why = plain_text(around(before, found.yes, after), default)
  if not yes then return nil, why end
  local otherwise = around(before, found.no, after)
  local pick = { __word = "pick", count = 3, claim.name,
                 { [wanted.value] = yes }, false }
  if #otherwise > 0 then
    pick[3], why = plain_text(otherwise, default)
    if not pick[3] then return nil, why end
  elseif needed then
    pick.count, pick[3] = 2, nil
  end
  return pick, nil, claim.op == "field" and claim.name or nil
end

--- A form of gotext's in the policy language: a text or pick(); nil and why
--- not. Third result: a claim that must be present besides. `needed`: the
--- text cannot be left out.
function M.text(form, default, needed)
  if form.template == "" then return nil, "it is empty" end
  if not form.list then
    return claim_text(form.template,
                      not needed and default[form.template] == "")
  end
  local found, before, after = split(form.list)
  if found then return as_pick(found, before, after, default, needed) end
  if not after then return nil, before end
  return plain_text(form.list, default, true, needed)
end

return M
