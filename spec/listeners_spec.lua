local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local listeners = require("fulcio.listeners")
local log = require("fulcio.log")
local program = require("spec.program")

describe("listeners", function()
  local directory, remove

  before_each(function() directory, remove = authority.directory() end)
  after_each(function() remove() end)

  local function settings(changes)
    local all = { host = "127.0.0.1", port = 0, grpc_host = "127.0.0.1",
                  grpc_port = 0, metrics_host = "127.0.0.1",
                  metrics_port = 0, user = "", data_dir = directory .. "/data",
                  legacy_unix_domain_socket = "", ct_log_url = "" }
    for name, value in pairs(changes or {}) do all[name] = value end
    return all
  end

  -- Opens them in a child, for it gives rights up: what they are and what
  -- is told of them, or nil and a message.
  local function open(changes, secured)
    local text, message = engine.system.apart(function()
      local lines, asked = {}, settings(changes)
      log.open({ mode = "prod", write = function(line)
        lines[#lines + 1] = line
      end })
      local found, why = listeners.open(asked)
      if not found then return nil, why, "failed" end
      assert(listeners.announce(asked, found, secured or {}))
      return json.encode({ shared = found.grpc == found.http,
        legacy = found.legacy and found.legacy.address,
        lines = table.concat(lines) })
    end, 60)
    if not text then return nil, message end
    return engine.claims.parse(text), engine.claims.parse(
      assert(program.read(directory .. "/data/ports.json")))
  end

  local function free_port()
    local listener = assert(engine.server.listen({}))
    local port = listener.port
    listener:close()
    return port
  end

  it("are those of HTTP, gRPC and metrics, and are told", function()
    local found, ports = open()
    assert.is_false(found.shared)
    local names = {}
    for name, port in pairs(ports) do
      names[#names + 1] = name
      assert.matches(("http://127.0.0.1:%d"):format(port), found.lines, 1, true)
    end
    table.sort(names)
    assert.same({ "grpc", "http", "metrics" }, names)
  end)

  it("are one for HTTP and gRPC on the same port", function()
    local port = free_port()
    local found, ports = open({ port = port, grpc_port = port })
    assert.is_true(found.shared)
    assert.equal(port, ports.http)
    assert.equal(port, ports.grpc)
  end)

  it("tell which of them speak TLS", function()
    local found = open(nil, { grpc = true })
    assert.matches('"service":"grpc","url":"https:', found.lines, 1, true)
    assert.matches('"service":"http","url":"http:', found.lines, 1, true)
  end)

  it("have a socket for older clients when it is asked for", function()
    local path = directory .. "/legacy"
    assert.equal(path, open({ legacy_unix_domain_socket = path }).legacy)
    assert.equal("@fulcio-spec", open({
      legacy_unix_domain_socket = "@fulcio-spec" }).legacy)
    local _, message = open({ legacy_unix_domain_socket = "relative" })
    assert.matches("--legacy-unix-domain-socket: ", message, 1, true)
  end)

  it("name the flag of a port that is taken", function()
    local taken = assert(engine.server.listen({}))
    for name, flag in pairs({ port = "--port", grpc_port = "--grpc-port",
                              metrics_port = "--metrics-port" }) do
      local _, message = open({ [name] = taken.port })
      assert.matches(flag .. ": cannot listen on 127.0.0.1", message, 1, true)
    end
    taken:close()
  end)
end)
