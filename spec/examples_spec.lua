local cjson = require("cjson")
local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")

local ISSUER = "examples/issuer/issuer.lua"

local function start_issuer(...)
  return process.start({ deployment.program, "run", ISSUER, ... })
end

local function post(url, body)
  return assert(engine.http.request({ url = url, method = "POST",
    body = body or "" }))
end

local function get(url)
  return cjson.decode(assert(engine.http.request({ url = url })).body)
end

local function header_of(token)
  return cjson.decode(engine.jws.parse(token).header)
end

-- The payload, when a key that the issuer lists verifies the token.
local function verified(issuer, token)
  local parts = engine.jws.parse(token)
  local header = cjson.decode(parts.header)
  local found = get(issuer .. "/.well-known/openid-configuration")
  for _, jwk in ipairs(get(found.jwks_uri).keys) do
    if jwk.kid == header.kid then
      local key = assert(engine.jws.key(jwk))
      assert(engine.jws.verify(parts, key, header.alg))
      return parts.payload
    end
  end
  return nil
end

local function claims_of(issuer, token)
  local payload = verified(issuer, token)
  return cjson.decode(payload)
end

describe("The development issuer", function()
  local running, issuer

  setup(function()
    running = start_issuer("--port", "0")
    issuer = running:wait_for("issuer (http://%S+)")
  end)

  teardown(function()
    assert.is_true(running:stop())
    process.stop_all()
  end)

  it("refuses any address but loopback", function()
    for _, host in ipairs({ "0.0.0.0", "::", "192.0.2.1", "example.com" }) do
      local refused = start_issuer("--port", "0", "--host", host)
      refused:wait_for("is not a loopback address")
      refused:stop()
    end
  end)

  it("refuses an option that it does not know", function()
    local refused = start_issuer("--prot", "0")
    refused:wait_for("unknown option %-%-prot")
    refused:stop()
  end)

  it("signs claims as they were sent", function()
    local sent = '{ "iss" : "x", "aud":["a"], "iat":1, "exp":2.50, "n":1e2 }'
    local token = post(issuer .. "/token", sent).body
    assert.equal(sent:sub(3), verified(issuer, token):sub(2))
  end)

  it("adds the claims that every token has", function()
    local token = post(issuer .. "/token", '{"email":"a@example.com"}').body
    local claims = claims_of(issuer, token)
    assert.equal(issuer, claims.iss)
    assert.equal("sigstore", claims.aud)
    assert.equal(600, claims.exp - claims.iat)
    assert.is_true(claims.email_verified)
    token = post(issuer .. "/token", "{}").body
    claims = claims_of(issuer, token)
    assert.is_nil(claims.email_verified)
  end)

  it("signs with RSA, and with P-256 when asked to", function()
    local token = post(issuer .. "/token", "{}").body
    assert.equal("RS256", header_of(token).alg)
    token = post(issuer .. "/token?alg=ES256", "{}").body
    assert.equal("ES256", header_of(token).alg)
    assert(verified(issuer, token))
  end)

  it("says what is wrong with a request", function()
    for path, body in pairs({ ["/token"] = "[1]", ["/token?alg=none"] = "{}",
      ["/token?"] = "{" }) do
      local answer = post(issuer .. path, body)
      assert.equal(400, answer.status)
      assert.is_string(cjson.decode(answer.body).error)
    end
    assert.equal(404, post(issuer .. "/tokens", "{}").status)
  end)

  it("forgets its old keys on rotation, unless asked to keep them", function()
    local old = post(issuer .. "/token", "{}").body
    post(issuer .. "/rotate?keep=1")
    assert(verified(issuer, old))
    local new = post(issuer .. "/token", "{}").body
    assert.not_equal(header_of(old).kid, header_of(new).kid)
    post(issuer .. "/rotate")
    assert.is_nil(verified(issuer, old))
    assert.is_nil(verified(issuer, new))
    assert(verified(issuer, post(issuer .. "/token", "{}").body))
  end)

  it("keeps its keys where it is told to", function()
    local directory = process.directory()
    local kids = {}
    for i = 1, 2 do
      local one = start_issuer("--port", "0", "--keys", directory .. "/keys")
      local url = one:wait_for("issuer (http://%S+)")
      kids[i] = get(url .. "/keys").keys[1].kid
      one:stop()
    end
    os.execute("rm -rf " .. directory)
    assert.equal(kids[1], kids[2])
  end)
end)

-- Ports that nobody listens on now: those of a process that has ended.
local function free_ports(n)
  local file = os.tmpname()
  deployment.write(file, ([[
    local server, held = require("fulcio.engine").server, {}
    for i = 1, %d do
      held[i] = assert(server.listen({ host = "127.0.0.1", port = 0 }))
      print(held[i].port)
    end]]):format(n))
  local ports = {}
  for port in io.popen(deployment.program .. " run " .. file):lines() do
    ports[#ports + 1] = port
  end
  os.remove(file)
  return ports
end

describe("What make serve runs", function()
  local directory, environment

  setup(function()
    directory = process.directory()
    local ports = free_ports(5)
    environment = { PORT = ports[1], ISSUER_PORT = ports[2],
      LOG_PORT = ports[3], GRPC_PORT = ports[4], METRICS_PORT = ports[5] }
  end)

  teardown(function()
    process.stop_all()
    os.execute("rm -rf " .. directory)
  end)

  local function serve()
    return process.start({ "examples/serve.bash", deployment.program,
      directory }, environment)
  end

  -- Runs the command that it prints.
  local function first_certificate(running)
    local command = running:wait_for("\n  (%S+ run examples/sign.lua[^\n]+)\n")
    local words = {}
    for word in command:gmatch("%S+") do words[#words + 1] = word end
    local client = process.start(words)
    client:wait_for("verified: chain, key and SCT")
    client:stop()
  end

  local function tree_size()
    return get("http://127.0.0.1:" .. environment.LOG_PORT
      .. "/ct/v1/get-sth").tree_size
  end

  it("gets a certificate with the command that it prints", function()
    local running = serve()
    first_certificate(running)
    assert.equal(1, tree_size())
    assert.is_true(running:stop())
  end)

  it("goes on with the same CA and log, and leaves nothing behind", function()
    local root = deployment.read(directory .. "/ca/root.pem")
    local running = serve()
    first_certificate(running)
    assert.equal(2, tree_size())
    assert.equal(root, deployment.read(directory .. "/ca/root.pem"))
    local children = running:children()
    assert.equal(2, #children)
    assert.is_true(running:stop())
    for _, pid in ipairs(children) do
      assert.is_nil(io.open("/proc/" .. pid .. "/exe"))
    end
  end)

  it("ends with what is wrong when a port is taken", function()
    local held = assert(engine.server.listen({ host = "127.0.0.1",
      port = tonumber(environment.PORT) }))
    local running = serve()
    running:wait_for("%-%-port")
    local last = os.time() + 20
    while running:running() and os.time() < last do
      os.execute("sleep 0.05")
    end
    assert.is_false(running:running())
    assert.equal(environment.PORT, tostring(held.port))
  end)
end)

describe("The walkthrough of an HSM", function()
  local directory, ports, output

  local function environment()
    return { PORT = ports[1], ISSUER_PORT = ports[2], LOG_PORT = ports[3],
             GRPC_PORT = ports[4], METRICS_PORT = ports[5] }
  end

  setup(function()
    directory, ports = process.directory(), free_ports(5)
    local script = process.start({ "examples/softhsm/walkthrough.bash",
      deployment.program, directory }, environment())
    script:wait_for("verified: chain, key and SCT", 60)
    output = script:output()
    script:stop()
  end)

  teardown(function()
    process.stop_all()
    os.execute("rm -rf " .. directory)
  end)

  it("needs only the commands and files of Fulcio's README", function()
    assert.equal('"Path" : "/usr/lib/softhsm/",\n"TokenLabel": "fulcio",\n'
      .. '"Pin" : "2324"\n', deployment.read(directory
      .. "/config/crypto11.conf"))
    for _, command in ipairs({
      "softhsm2-util --init-token --slot 0 --label fulcio",
      "--keypairgen --id 1 --label PKCS11CA --key-type EC:secp384r1",
      "createca --org=acme --country=UK --locality=SomeTown"
        .. " --province=SomeProvince --postal-code=XXXX"
        .. " --street-address=XXXX --hsm-caroot-id 99 --out myrootCA.pem",
      "serve --ca pkcs11ca --hsm-caroot-id 99",
    }) do
      assert.truthy(output:find(command, 1, true), command)
    end
  end)

  it("leaves the root in the token, under its ID", function()
    local shown = output:match("Certificate Object.-\n\n")
    assert.truthy(shown:find("PKCS11CA", 1, true), output)
    assert.truthy(shown:find("ID:%s+3939")) -- "99"
  end)

  -- The CA of the walkthrough again, in its directory.
  local function serve()
    return process.start({ "sh", "-c", ("cd %s && exec %s serve --ca pkcs11ca"
      .. " --hsm-caroot-id 99"):format(directory,
      "$OLDPWD/" .. deployment.program) }, {
        SOFTHSM2_CONF = directory .. "/config/softhsm2.conf",
        FULCIO_SERVE_POLICIES = directory .. "/policies",
        FULCIO_SERVE_DEVELOPMENT = "true", FULCIO_SERVE_DATA_DIR = directory,
        FULCIO_SERVE_HOST = "127.0.0.1", FULCIO_SERVE_PORT = ports[1],
        FULCIO_SERVE_GRPC_HOST = "127.0.0.1",
        FULCIO_SERVE_GRPC_PORT = ports[4],
        FULCIO_SERVE_METRICS_PORT = ports[5],
        FULCIO_SERVE_CTLOG_PORT = ports[3] })
  end

  it("gives sigstore-python a certificate that openssl verifies", function()
    local ready, reason = runtimes.install("python")
    if not ready then pending(reason) end
    local issuer = start_issuer("--port", ports[2], "--keys",
                                directory .. "/issuer")
    local url = issuer:wait_for("issuer (http://%S+)")
    local running = serve()
    running:wait_for("listening.*listening")
    local token = post(url .. "/token", '{"sub":"a","email":"a@example.com"}')
    local client = process.start({ runtimes.built .. "/python/bin/python",
      "spec/clients/python/certificate.py", "http://127.0.0.1:" .. ports[1],
      token.body })
    local leaf, root = client:wait_for(
      "(%-%-.-END CERTIFICATE%-%-%-%-%-\n)(.-END CERTIFICATE%-%-%-%-%-\n)")
    assert.equal(deployment.read(directory .. "/myrootCA.pem"), root)
    deployment.write(directory .. "/leaf.pem", leaf)
    assert.is_true(os.execute(("openssl verify -CAfile %s/myrootCA.pem"
      .. " %s/leaf.pem >/dev/null"):format(directory, directory)))
    assert.is_true(running:stop())
  end)
end)
