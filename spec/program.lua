--- The real program, for specs: started on free ports, asked, stopped.

local engine = require("fulcio.engine")
local files = require("spec.files")
local json = require("fulcio.json")
local process = require("spec.process")

local M = {}

--- The program under test: BUILD names another build than build/.
M.path = (os.getenv("BUILD") or "build") .. "/fulcio"

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Polls until `found()` is true or a minute is over; returns what it gave.
function M.wait(found)
  for _ = 1, 1200 do
    local value = found()
    if value then return value end
    os.execute("sleep 0.05")
  end
end

--- What a file holds; nil when it is not there.
M.read = files.found

--- Starts `build/fulcio ARGUMENTS`; `environment` is added to ours.
function M.start(arguments, environment)
  return process.start({ M.path, table.unpack(arguments) }, environment)
end

--- Runs `build/fulcio ARGUMENTS` to its end: exit status and output.
function M.run(arguments, environment)
  local words = { "env" }
  for name, value in pairs(environment or {}) do
    words[#words + 1] = quoted(name .. "=" .. value)
  end
  words[#words + 1] = M.path
  for _, word in ipairs(arguments) do words[#words + 1] = quoted(word) end
  local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1; echo $?"))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.-)(%d+)\n$")
  return tonumber(status), output
end

--- The development issuer: its process and URL.
function M.issuer()
  local issuer = M.start({ "run", "examples/issuer/issuer.lua",
                           "--port", "0" })
  return issuer, issuer:wait_for("issuer (http://[%d.:]+)\n")
end

local usual = {
  { "--workers", "2" }, { "--host", "127.0.0.1" }, { "--port", "0" },
  { "--metrics-port", "0" }, { "--ctlog-port", "0" },
  { "--grpc-host", "127.0.0.1" }, { "--grpc-port", "0" },
}

--- Starts `serve` on free loopback ports and waits until it answers:
--- process, and URLs by service ("http", "metrics", "ctlog").
function M.serve(directory, arguments, environment)
  local all = { "serve", "--data-dir", directory, "--development" }
  local given = {}
  for _, word in ipairs(arguments) do
    given[word] = true
    all[#all + 1] = word
  end
  for _, pair in ipairs(usual) do
    if not given[pair[1]] then
      all[#all + 1], all[#all + 2] = pair[1], pair[2]
    end
  end
  os.remove(directory .. "/ports.json")
  local server = M.start(all, environment)
  local ports = M.wait(function()
    local text = M.read(directory .. "/ports.json")
    return text or not server:running()
  end)
  if type(ports) ~= "string" then
    error("does not start:\n" .. server:output(), 2)
  end
  local urls = {}
  for name, port in pairs(assert(engine.claims.parse(ports))) do
    urls[name] = ("http://127.0.0.1:%d"):format(port)
  end
  M.wait(function() return M.get(urls.http .. "/healthz") end)
  return server, urls
end

--- GET: the response, or nil.
function M.get(url)
  return (engine.http.request({ url = url, timeout = 10 }))
end

--- POST of a value as JSON: the response, or nil.
function M.post(url, value, headers)
  return (engine.http.request({
    url = url, method = "POST", headers = headers, timeout = 20,
    body = type(value) == "string" and value or json.encode(value) }))
end

--- Parsed JSON of a response's body.
function M.parsed(response)
  return assert(engine.claims.parse(response.body))
end

return M
