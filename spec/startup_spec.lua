local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local options = require("fulcio.options")
local startup = require("fulcio.startup")

describe("startup", function()
  local directory, remove = authority.directory()

  setup(function()
    assert(engine.system.write(directory .. "/a.lua", [[return {
      issuer = "https://a.example", audience = "sigstore", must = anyone,
      san = { email = "{email}" } }]]))
  end)
  teardown(remove)

  local function prepare(...)
    local arguments = { "--ca", "ephemeralca", "--policies", directory, ... }
    return startup.prepare(assert(options.parse("serve", arguments, {})))
  end

  local function refuses(message, ...)
    local world, errors = prepare(...)
    assert.is_nil(world)
    assert.equal(1, #errors)
    assert.matches(message, errors[1], 1, true)
  end

  it("has all that the processes need", function()
    local world = assert(prepare())
    assert.is_truthy(world.ca.key)
    assert.is_truthy(world.policies:match("https://a.example"))
    assert.equal(0, world.sources.revision)
    assert.is_true(world.algorithms["P-256 SHA-256"])
    assert.is_truthy(world.log)
  end)

  it("has a log by URL, or none when the URL is empty", function()
    local world = assert(prepare("--ct-log-url", "http://127.0.0.1:1/x/"))
    assert.equal("http://127.0.0.1:1/x", world.log.url)
    assert.is_nil(assert(prepare("--ct-log-url", "")).log)
  end)

  it("wants a certificate and its key for TLS", function()
    assert.same({}, assert(prepare()).tls)
    refuses("--grpc-tls-certificate and --grpc-tls-key need each other",
            "--grpc-tls-key", "/nowhere.pem")
    refuses("--http-tls-key: /nowhere.pem", "--http-tls-certificate",
            "/nowhere.crt", "--http-tls-key", "/nowhere.pem")
  end)

  it("wants the log's key to be one", function()
    refuses("--ct-log-public-key-path: /nowhere.pem", "--ct-log-url",
            "http://127.0.0.1:1", "--ct-log-public-key-path", "/nowhere.pem")
    refuses("CT log's public key: ", "--ct-log-url", "http://127.0.0.1:1",
            "--ct-log-public-key-path", directory .. "/a.lua")
    local path = directory .. "/key.pem"
    assert(engine.system.write(path,
      assert(engine.pkey.generate("P-256")):pem()))
    assert(prepare("--ct-log-url", "http://127.0.0.1:1",
                   "--ct-log-public-key-path", path))
  end)

  it("says everything that is wrong at once", function()
    local settings = assert(options.parse("serve", {
      "--ca", "fileca", "--policies", "/nowhere",
      "--client-signing-algorithms", "x" }, {}))
    local world, errors = startup.prepare(settings)
    assert.is_nil(world)
    assert.equal(3, #errors)
  end)

  it("refuses a CA that is not built yet", function()
    local settings = assert(options.parse("serve",
      { "--ca", "ephemeralca", "--policies", directory }, {}))
    settings.ca = "tinkca"
    local world, errors = startup.prepare(settings)
    assert.is_nil(world)
    assert.same({ "--ca=tinkca is not built yet. Try: pkcs11ca, googleca,"
                  .. " kmsca, fileca or ephemeralca" }, errors)
  end)

  it("names the flags that only another CA looks at", function()
    local settings = assert(options.parse("serve", { "--ca", "ephemeralca",
      "--fileca-cert", "x", "--hsm-key-label=y", "--port", "0" }, {}))
    assert.same({ "--fileca-cert", "--hsm-key-label" },
                startup.ignored(settings))
    settings = assert(options.parse("serve", { "--ca", "fileca",
      "--fileca-cert", "x" }, {}))
    assert.same({}, startup.ignored(settings))
  end)

  it("knows whether every listener is on loopback", function()
    local function loopback(...)
      return assert(prepare(...)).options.loopback
    end
    assert.is_false(loopback())
    assert.is_false(loopback("--host", "127.0.0.1"))
    assert.is_true(loopback("--host", "127.0.0.1", "--grpc-host", "::1"))
    assert.is_true(loopback("--host", "localhost", "--grpc-host",
                            "127.1.2.3"))
  end)
end)
