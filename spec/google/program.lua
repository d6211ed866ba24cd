--- The fake as a program of its own, for clients that need a network. The
--- process that answers dies where a connection is to be reset, and another
--- goes on with what it knew.
local engine = require("fulcio.engine")
local fake = require("spec.google.fake")
local files = require("spec.files")
local json = require("fulcio.json")

local read = files.found
local server = engine.server

local STATE = "/state.json"

local M = {}

local function save(self, directory)
  assert(engine.system.write(directory .. STATE, json.encode({
    faults = json.list(self.faults), refuse = self.refuse,
    made = json.list(self.made), by_request = self.by_request,
    by_name = self.by_name, issued = self.tokens.issued,
    asked = json.list(self.asked), token_faults = json.list(
      self.tokens.faults),
  })))
end

local function load(self, directory)
  local text = read(directory .. STATE)
  if not text then return end
  local state = assert(engine.claims.parse(text))
  for _, name in ipairs({ "faults", "refuse", "made", "by_request",
                          "by_name", "asked" }) do
    self[name] = state[name]
  end
  self.tokens.issued = state.issued
  self.tokens.faults = state.token_faults
end

-- GET shows what was asked and made; POST orders faults and forgets.
local function control(self, request)
  if request.method == "POST" then
    local value = assert(engine.claims.parse(request.body))
    self.faults, self.refuse = value.faults or {}, value.refuse or {}
    self.tokens.faults = value.token_faults or {}
    self.asked, self.made = {}, {}
  end
  return { status = 200, body = json.encode({
    asked = json.list(self.asked), made = json.list(self.made) }) }
end

local function note(self, request)
  self.asked[#self.asked + 1] = {
    method = request.method, path = request.path, query = request.query,
    headers = request.headers, body = request.body,
  }
end

local function answer(self, listener, directory)
  load(self, directory)
  self.reset = function()
    save(self, directory)
    os.exit(1)
  end
  self.silence = function()
    server.sleep(30)
    return { status = 500, headers = {}, body = "" }
  end
  server.http(listener, function(request)
    if request.path == "/control" then return control(self, request) end
    local made = self:handle(request)
    self.asked[#self.asked] = nil
    note(self, request)
    return made
  end, { on_error = function(trace) io.stderr:write(trace, "\n") end })
  server.run()
end

--- Runs it in DIRECTORY, where key.pem is the service account's key, until
--- it is told to stop; says "port N".
function M.run(directory, options)
  local about = { key = assert(engine.pkey.open(directory .. "/key.pem")) }
  for name, value in pairs(options or {}) do about[name] = value end
  local self = fake.new(about)
  local listener = assert(server.listen({}))
  print("port " .. listener.port)
  io.stdout:flush()
  server.supervise({ grace = 0, roles = { {
    name = "fake", count = 1,
    run = function() answer(self, listener, directory) end,
  } } })
end

return M
