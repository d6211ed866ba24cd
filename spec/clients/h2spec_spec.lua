local openssl = require("spec.openssl")
local program = require("spec.server_program")
local runtimes = require("spec.clients.runtimes")

local SERVER = [[
  local tls = assert(server.tls{ certificate = %q, key = %q })
  server.http(listen(), function(request)
    return { status = 200, body = request.method .. " " .. request.path }
  end, { tls = tls, plain = true })
  server.run()
]]

describe("h2spec", function()
  local ready, reason
  local running, port

  setup(function()
    ready, reason = runtimes.install("go")
    local key = openssl.key("tls.key",
                            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256")
    openssl.run("req -x509 -key " .. key .. " -subj /CN=a -days 2"
                .. " -out %d/tls.pem")
    running, port = program.start(SERVER:format(openssl.path("tls.pem"), key))
  end)

  teardown(function()
    local went = program.finish(running)
    program.stop()
    openssl.clean()
    assert.is_true(went)
  end)

  -- Its last line, and what failed.
  local function conformance(arguments)
    local pipe = io.popen(("%s/h2spec --strict -o 5 -h 127.0.0.1 -p %d %s 2>&1")
      :format(runtimes.built, port, arguments))
    local output = pipe:read("a")
    pipe:close()
    return output:match("(%d+ tests, .-)\n") or output,
      output:match("Failures:.*") or ""
  end

  for _, way in ipairs({ { "in plain text", "" }, { "over TLS", "-t -k" } }) do
    it("finds nothing wrong " .. way[1], function()
      if not ready then pending(reason) end
      local summary, failures = conformance(way[2])
      assert.equal("146 tests, 146 passed, 0 skipped, 0 failed", summary,
                   failures)
    end)
  end
end)
