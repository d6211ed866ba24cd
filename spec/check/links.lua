--- Every link in a README leads to a file that exists, every anchor to its
--- heading, every `make` target it names to a rule.
package.path = arg[0]:match("^.*/") .. "?.lua"
local tree = require("tree")

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local function folder(path) return path:match("^(.*/)[^/]*$") or "" end

-- "a/b/../c" is "a/c".
local function cleaned(path)
  path = path:gsub("^%./", ""):gsub("/%./", "/")
  local shorter, n
  repeat
    shorter, n = path:gsub("[^/]+/%.%./", "", 1)
    path = shorter
  until n == 0
  return (path:gsub("/$", ""))
end

-- As forges make them: lower case, no punctuation, hyphens for spaces.
local function anchors(text)
  local found, fenced = {}, false
  for line in tree.lines(text) do
    if line:find("^```") then fenced = not fenced end
    local title = not fenced and line:match("^#+%s+(.*)")
    if title then
      title = title:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")
      found[title] = true
    end
  end
  return found
end

local function check_link(path, number, target)
  if target:find("^%a+:") then return end
  local file, anchor = target:match("^([^#]*)#?(.*)$")
  file = file == "" and path or cleaned(folder(path) .. file)
  if not exists(file) then
    tree.report(path, number, "no such file: " .. target)
  elseif anchor ~= "" and not anchors(tree.read(file))[anchor] then
    tree.report(path, number, "no such heading: " .. target)
  end
end

local rules = {}
for name in ("\n" .. tree.read("Makefile")):gmatch("\n([%w-]+):") do
  rules[name] = true
end

for _, path in ipairs(tree.files("%.md$")) do
  local number = 0
  for line in tree.lines(tree.read(path)) do
    number = number + 1
    for target in line:gmatch("%]%(([^)%s]+)%)") do
      check_link(path, number, target)
    end
    for target in line:gmatch("%f[%w]make ([%l-]+)`") do
      if not rules[target] then
        tree.report(path, number, "no such rule: make " .. target)
      end
    end
  end
end
tree.done()
