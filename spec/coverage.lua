--- Which lines of the signing path no spec has run.
---
--- As busted's helper it counts lines of Lua in this process, and writes
--- them down when the specs are over; spec/lines.c counts those of programs.
--- Usage then, where gcov has counted C: lua5.4 spec/coverage.lua BUILD

local SIGNING = {
  "signing", "token", "issuers", "issuer_fetch", "discovery", "policy",
  "policyset", "loader", "returned", "mistakes", "compile", "provider",
  "grant", "claimtext", "claimfill", "claimvalue", "matcher", "words", "san",
  "oids", "template",
  "template_fields", "proof", "request", "reply", "refusal", "server",
  "ctclient", "cttransport", "trust", "json", "grpc", "grpc_frame",
  "grpc_status", "services", "ca/ephemeral", "ca/file", "ca/software",
  "ca/chain", "ca/pkcs11", "ca/googleca",
}

local ENGINE = {
  "bytes", "base64", "digest", "pkey", "spki", "weak", "algorithm",
  "signature", "signing", "x509", "certificate", "chain", "name", "san",
  "usage", "object", "field", "draft", "profile", "extension", "csr", "jws",
  "jwk", "claims", "claims_texts", "scalar", "protobuf", "token", "uri",
  "reference", "percent", "pattern", "sct", "der_read", "der_write", "pem",
  "error", "head", "chunked", "request", "response", "sandbox", "limits",
  "meter", "seal", "http", "http_request",
}

local build = os.getenv("BUILD") or "build"

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

-- Prints a file's share and the lines that are missing; counts them.
local function report(path, all, missing)
  if all == 0 then return 0 end
  print(("%-34s %5.1f %%  %s"):format(path,
    100 * (all - #missing) / all, table.concat(missing, " ")))
  return #missing
end

-- Of the specs' own process, and of programs that they started.
local function read_counts()
  local counts = {}
  for _, name in ipairs({ "/lines.txt", "/programs.txt" }) do
    for line in io.lines(build .. name) do
      local path, number = line:match("^(.*):(%d+)$")
      counts[path] = counts[path] or {}
      counts[path][tonumber(number)] = true
    end
  end
  return counts
end

-- Lines with code in them, as the compiler numbers its instructions. The
-- end of a function is code that a return before it leaves out.
local function code_lines(path)
  local source = {}
  for line in io.lines(path) do source[#source + 1] = line end
  local found = {}
  for _, line in ipairs(lines_of("luac5.4 -l -p " .. path)) do
    local at, operation = line:match("^%s+%d+%s+%[(%d+)%]%s+(%u+)")
    local number = tonumber(at)
    -- What a function with ... begins with is no line that is run.
    local text = operation ~= "VARARGPREP" and source[number]
    if text and not text:find("^%s*end[%s,)]*$")
       and not text:find("^[%s})]*$") and not text:find("^%-%-") then
      found[number] = true
    end
  end
  return found
end

local function report_lua()
  local counts, missed = read_counts(), 0
  for _, name in ipairs(SIGNING) do
    local path = "lua/fulcio/" .. name .. ".lua"
    local all, missing = 0, {}
    for number in pairs(code_lines(path)) do
      all = all + 1
      if not (counts[path] or {})[number] then
        missing[#missing + 1] = number
      end
    end
    table.sort(missing)
    missed = missed + report(path, all, missing)
  end
  return missed
end

local function report_c()
  local missed = 0
  for _, name in ipairs(ENGINE) do
    local all, missing = 0, {}
    for _, line in ipairs(lines_of(("gcov -t -o %s engine/%s.c 2>/dev/null")
        :format(build, name))) do
      local count, number = line:match("^%s*([%d#=*-]+):%s*(%d+):")
      if count and count ~= "-" and number ~= "0" then
        all = all + 1
        if count:find("#", 1, true) then missing[#missing + 1] = number end
      end
    end
    missed = missed + report("engine/" .. name .. ".c", all, missing)
  end
  return missed
end

if arg and arg[0] and arg[0]:find("spec/coverage.lua", 1, true) then
  local lua, c = report_lua(), report_c()
  print(("%d lines of Lua and %d of C were not run"):format(lua, c))
  return
end

-- Counting ---------------------------------------------------------------

local seen, names = {}, {}

local function on_line(_, number)
  local source = debug.getinfo(2, "S").source
  local name = names[source]
  if name == nil then
    name = source:match("^@%./(lua/fulcio/.*)$") or false
    names[source] = name
  end
  if name then seen[name .. ":" .. number] = true end
end

-- A hook is one coroutine's: each new one gets it too.
local function counted(run)
  if type(run) ~= "function" then return run end
  return function(...)
    debug.sethook(on_line, "l")
    return run(...)
  end
end

local create, wrap = coroutine.create, coroutine.wrap
rawset(coroutine, "create", function(run) return create(counted(run)) end)
rawset(coroutine, "wrap", function(run) return wrap(counted(run)) end)
local engine = require("fulcio.engine")
local spawn = engine.server.spawn
function engine.server.spawn(run, ...) return spawn(counted(run), ...) end
debug.sethook(on_line, "l")

require("busted").subscribe({ "suite", "end" }, function()
  local file = assert(io.open(build .. "/lines.txt", "w"))
  for line in pairs(seen) do file:write(line, "\n") end
  file:close()
  return nil, true
end)
