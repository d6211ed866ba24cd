--- What fulcio.engine offers is what engine/engine.lua documents, both ways.
--- A subject that this build lacks is not asked for.
package.path = arg[0]:match("^.*/") .. "?.lua"
package.cpath = (os.getenv("BUILD") or "build") .. "/module/?.so"
local engine = require("fulcio.engine")
local tree = require("tree")

local META = "engine/engine.lua"

-- Functions and fields as the meta file declares them, with their lines:
-- "pkey.parse", and "pkey:sign" for what an object of class pkey has.
local function documented()
  local names, number, comment = {}, 0, false
  for line in tree.lines(tree.read(META)) do
    number = number + 1
    local name = line:match("^function engine%.([%w_.]+)%(")
      or line:match("^function ([%w_]+:[%w_]+)%(")
      or line:match("^engine%.([%w_.]+) = ")
    if name then names[name] = { line = number, told = comment } end
    comment = line:find("^%-%-%-") ~= nil
  end
  return names
end

-- An object's methods: the class is in the registry under "fulcio.NAME".
local function methods(names)
  for key, class in pairs(debug.getregistry()) do
    local name = type(key) == "string" and key:match("^fulcio%.([%w_]+)$")
    if name and type(class) == "table" then
      local index = rawget(class, "__index")
      local from = type(index) == "table" and index or class
      for method, value in pairs(from) do
        if type(value) == "function" and not method:find("^__") then
          names[name .. ":" .. method] = true
        end
      end
    end
  end
end

local function offered()
  local names = {}
  for subject, value in pairs(engine) do
    if type(value) == "table" then
      for name in pairs(value) do names[subject .. "." .. name] = true end
    end
    names[subject] = true
  end
  methods(names)
  return names
end

-- Whether a documented name belongs to a subject that is built.
local function built(name, names)
  local subject = name:match("^[%w_]+%.") or name:match("^[%w_]+:")
  if not subject then return type(engine[name]) ~= "nil" end
  if subject:find("%.$") then return engine[subject:sub(1, -2)] ~= nil end
  for other in pairs(names) do
    if other:sub(1, #subject) == subject then return true end
  end
  return false
end

local function sorted(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local told, real = documented(), offered()
for _, name in ipairs(sorted(real)) do
  if not told[name] then
    tree.report(META, 1, name .. " exists and is not documented")
  elseif not told[name].told and name:find("[.:]") then
    tree.report(META, told[name].line, name .. " has no sentence above it")
  end
end
for _, name in ipairs(sorted(told)) do
  if not real[name] and built(name, real) then
    tree.report(META, told[name].line, name
      .. " is documented and does not exist")
  end
end
tree.done()
