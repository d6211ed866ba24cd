local engine = require("fulcio.engine")
local openssl = require("spec.openssl")
local program = require("spec.server_program")
local ports = require("fulcio.tls")
local wire = require("spec.wire")

local EC = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"

-- A certificate for this machine and its key: their paths.
local function pair(name, arguments)
  local key = openssl.key(name .. ".key", arguments or EC)
  openssl.run(("req -x509 -key %s -subj /CN=%s -days 2 -addext "
    .. "subjectAltName=IP:127.0.0.1 -out %%d/%s.pem"):format(key, name, name))
  return openssl.path(name .. ".pem"), key
end

-- The output of a shell command, whatever comes of it.
local function shell(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local output = pipe:read("a")
  pipe:close()
  return output
end

local SERVER = [[
  local tls = assert(server.tls{ certificate = %q, key = %q })
  server.http(listen(), function(request)
    if request.path == "/reload" then
      local ok, message, code = tls:reload()
      return { status = 200, body = ok and "new" or code .. ": " .. message }
    elseif request.path == "/big" then
      return { status = 200, body = ("x"):rep(1000000) }
    end
    return { status = 200, body = ("%%s %%s %%d\n"):format(
      request.protocol, request.path, #request.body) }
  end, { tls = tls, plain = %s, request_seconds = 0.5, idle_seconds = 0.5 })
  server.run()
]]

describe("tls", function()
  local certificate, key
  local running, port

  setup(function() certificate, key = pair("first") end)
  teardown(openssl.clean)
  after_each(program.stop)

  local function serve(plain)
    running, port = program.start(SERVER:format(certificate, key,
                                                tostring(plain or false)))
  end

  local function curl(path, arguments)
    return shell(("curl -s --cacert %s %s https://127.0.0.1:%d%s"):format(
      certificate, arguments or "", port, path))
  end

  -- What openssl says when it connects, having sent what `input` prints.
  local function client(arguments, input)
    return shell(("{ %s; sleep 0.2; } | timeout 10 openssl s_client "
      .. "-connect 127.0.0.1:%d %s"):format(input or "true", port, arguments))
  end

  describe("in a server", function()
    before_each(function() serve() end)

    it("speaks HTTP/2 and HTTP/1.1, as the client prefers", function()
      assert.equal("h2 /a 0\n", curl("/a"))
      assert.equal("http/1.1 /a 0\n", curl("/a", "--http1.1"))
      assert.equal("http/1.1 /a 0\n", curl("/a", "--no-alpn"))
      assert.is_true(program.finish(running))
    end)

    it("prefers TLS 1.3, takes 1.2, and nothing older", function()
      assert.matches("TLSv1%.3", client("-brief"))
      assert.matches("TLSv1%.2", client("-brief -tls1_2"))
      assert.matches("alert", client("-tls1_1 -cipher ALL:@SECLEVEL=0"))
    end)

    it("takes no cipher without forward secrecy", function()
      assert.matches("handshake failure",
        client("-tls1_2 -cipher AES128-SHA:AES128-GCM-SHA256"))
    end)

    it("gives no tickets and does not negotiate again", function()
      local told = client("-tls1_2", "echo R")
      assert.matches("RENEGOTIATING", told)
      assert.matches("no renegotiation", told)
      assert.is_nil(told:find("TLS session ticket:", 1, true))
    end)

    it("carries long bodies both ways", function()
      for _, version in ipairs({ "--http1.1", "--http2" }) do
        assert.equal("1000000", curl("/big", version
          .. " -o /dev/null -w '%{size_download}'"))
        local name = version:find("2") and "h2" or "http/1.1"
        assert.equal(name .. " / 250000\n", shell(
          "head -c 250000 /dev/zero | curl -s --cacert " .. certificate
          .. " " .. version .. " --data-binary @- https://127.0.0.1:"
          .. port))
      end
    end)

    it("answers requests that were sent ahead", function()
      local asked = "GET /%d HTTP/1.1\\r\\nHost: a\\r\\nX: " .. ("x"):rep(9000)
        .. "\\r\\n\\r\\n"
      local told = client("-quiet", ("printf '%s'"):format(
        asked:format(1) .. asked:format(2) .. asked:format(3)
        .. asked:format(4)))
      assert.matches("/1 0\n.*/2 0\n.*/3 0\n.*/4 0\n", told)
    end)

    it("says goodbye to who is idle", function()
      local told = shell(("sleep 3 | openssl s_client -brief -connect"
        .. " 127.0.0.1:%d"):format(port))
      assert.is_nil(told:find("unexpected eof", 1, true))
    end)

    it("tells plain HTTP no more than that it is wrong", function()
      local answer = wire.send(port, wire.get("/"))
      assert.same({ 400 }, wire.statuses(answer))
      assert.matches("\r\n\r\n$", answer)
      assert.same({ 400 }, wire.statuses(wire.send(port,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
    end)

    it("does not wait for a handshake that does not end", function()
      assert.equal("", wire.send(port, "\22"))
      assert.equal("", wire.send(port, "\22\3\1\2\0\1"))
    end)

    it("ends what is no handshake, with an alert", function()
      assert.matches("^\21\3", wire.send(port, "\22\3\1\0\5hello"))
      assert.is_true(program.finish(running))
    end)
  end)

  it("speaks plainly beside it where that is wanted", function()
    serve(true)
    assert.equal("h2 /a 0\n", curl("/a"))
    assert.matches("http/1.1 /a 0\n$", wire.send(port, wire.get("/a")))
    assert.equal("h2 /a 0\n", shell(
      "curl -s --http2-prior-knowledge http://127.0.0.1:" .. port .. "/a"))
  end)

  it("takes new files, and keeps the old ones while they are bad", function()
    local kept, kept_key = openssl.read(certificate), openssl.read(key)
    local new, new_key = pair("second")
    serve()
    openssl.write("first.pem", openssl.read(new))
    local trust = " --cacert " .. openssl.write("kept.pem", kept)
    assert.matches("^bad_key: .*first.key: not the key of the certificate",
                   curl("/reload", trust))
    assert.equal("h2 / 0\n", curl("/", trust))
    openssl.write("first.pem", "no certificate")
    assert.matches("^bad_certificate: .*first.pem: no certificate",
                   curl("/reload", trust))
    openssl.write("first.pem", openssl.read(new))
    openssl.write("first.key", openssl.read(new_key))
    assert.equal("new", curl("/reload", trust))
    assert.equal("", curl("/", trust))
    assert.equal("h2 / 0\n", curl("/"))
    openssl.write("first.pem", kept)
    openssl.write("first.key", kept_key)
  end)

  it("refuses files by code", function()
    local function refused(files, code, words)
      local tls, message, got = engine.server.tls(files)
      assert.is_nil(tls)
      assert.equal(code, got)
      assert.matches(words, message, 1, true)
    end
    local other = openssl.key("other.key", EC)
    local open = openssl.write("open.key", openssl.read(key), 420)
    openssl.run("pkey -in " .. key
      .. " -aes256 -passout pass:x -out %d/locked.key")
    refused({ certificate = "/none", key = key }, "bad_certificate", "/none")
    refused({ certificate = certificate, key = "/none" }, "no_file", "/none")
    refused({ certificate = certificate, key = open }, "open_to_others",
            "chmod 600")
    refused({ certificate = certificate, key = other }, "bad_key", other)
    refused({ certificate = key, key = key }, "bad_certificate", key)
    refused({ certificate = certificate, key = certificate }, "bad_key",
            certificate)
    refused({ certificate = certificate,
              key = openssl.path("locked.key") }, "bad_password", "password")
  end)

  it("has its files named", function()
    assert.error(function() engine.server.tls({ key = key }) end)
    assert.error(function() engine.server.tls({ key = key, chain = "" }) end)
  end)

  describe("of the ports", function()
    local function settings(changes)
      local all = { host = "a", port = 1, grpc_host = "a", grpc_port = 2 }
      for name, value in pairs(changes) do all[name] = value end
      return all
    end

    it("is off unless both files are named", function()
      local found, errors = ports.open(settings({}))
      assert.same({}, found)
      assert.same({}, errors)
      found, errors = ports.open(settings({ grpc_tls_key = key }))
      assert.same({}, found)
      assert.same({ "--grpc-tls-certificate and --grpc-tls-key need each"
                    .. " other" }, errors)
    end)

    it("is each port's own", function()
      local found = ports.open(settings({
        grpc_tls_certificate = certificate, grpc_tls_key = key }))
      assert.is_nil(found.http)
      assert.is_truthy(found.grpc)
    end)

    it("is one where they share a port", function()
      local shared = { grpc_port = 1, grpc_tls_certificate = certificate,
                       grpc_tls_key = key }
      local found, errors = ports.open(settings(shared))
      assert.same({}, errors)
      assert.equal(found.grpc, found.http)
      shared.http_tls_certificate, shared.http_tls_key = pair("third")
      errors = select(2, ports.open(settings(shared)))
      assert.matches("differ on one and the same port", errors[1])
    end)

    it("names the flag of a file that is bad", function()
      local errors = select(2, ports.open(settings({
        http_tls_certificate = "/none", http_tls_key = key })))
      assert.matches("^%-%-http%-tls%-certificate: /none: ", errors[1])
      errors = select(2, ports.open(settings({
        http_tls_certificate = certificate, http_tls_key = "/none" })))
      assert.matches("^%-%-http%-tls%-key: /none: ", errors[1])
    end)

    it("has a stamp that changes with its files", function()
      local options = settings({ http_tls_certificate = certificate,
                                 http_tls_key = openssl.path("fourth.key") })
      local before = ports.stamp(options)
      assert.equal(before, ports.stamp(options))
      openssl.write("fourth.key", "x")
      assert.not_equal(before, ports.stamp(options))
    end)

    it("stays as it was where a file is bad", function()
      local chain, secret = pair("fifth")
      local found = ports.open(settings({ http_tls_certificate = chain,
                                          http_tls_key = secret }))
      assert.same({}, ports.reload(found))
      openssl.write("fifth.pem", "")
      assert.equal(1, #ports.reload(found))
    end)
  end)
end)
