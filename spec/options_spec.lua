local options = require("fulcio.options")

local function parse(arguments, environment)
  return options.parse("serve", arguments, environment or {})
end

local function errors(arguments, environment)
  local parsed, list = parse(arguments, environment)
  assert.is_nil(parsed)
  return list
end

local function file(name, text)
  local path = os.tmpname() .. name
  local handle = assert(io.open(path, "wb"))
  handle:write(text)
  handle:close()
  finally(function() os.remove(path) end)
  return path
end

describe("options", function()
  it("have defaults that are safe", function()
    local parsed = assert(parse({ "--ca", "ephemeralca" }))
    assert.equal("127.0.0.1", parsed.metrics_host)
    assert.equal("127.0.0.1", parsed.ctlog_host)
    assert.equal("", parsed.legacy_unix_domain_socket)
    assert.is_nil(parsed.ct_log_url)
    assert.is_false(parsed.development)
    assert.equal(7, #parsed.client_signing_algorithms)
  end)

  it("take a value after the flag or in it", function()
    local parsed = assert(parse({ "--ca=fileca", "--port", "0",
                                  "--ct-log.tls-ca-cert", "roots.pem",
                                  "--http-host=::1", "--workers=3" }))
    assert.equal("fileca", parsed.ca)
    assert.equal(0, parsed.port)
    assert.equal("roots.pem", parsed.ct_log_tls_ca_cert)
    assert.equal("::1", parsed.host)
    assert.equal(3, parsed.workers)
  end)

  it("know an empty value from none", function()
    local parsed = assert(parse({ "--ca=fileca", "--ct-log-url", "" }))
    assert.equal("", parsed.ct_log_url)
    assert.equal("--ct-log-url", parsed.given.ct_log_url)
    assert.is_nil(parsed.given.port)
  end)

  it("take a boolean alone and with =", function()
    assert.is_true(assert(parse({ "--ca=fileca", "--development" }))
                   .development)
    assert.is_false(assert(parse({ "--ca=fileca", "--fileca-watch=false" }))
                    .fileca_watch)
  end)

  it("prefer a flag to the environment, that to the file, that to the "
     .. "default", function()
    local path = file(".yaml", "port: 1\nhost: a\ngrpc-port: 2\n"
                      .. "ct-log:\n  tls-ca-cert: x.pem\n")
    local parsed = assert(parse(
      { "--ca=fileca", "--port", "3", "-c", path },
      { FULCIO_SERVE_PORT = "4", FULCIO_SERVE_HOST = "b", HOME = "/" }))
    assert.equal(3, parsed.port)
    assert.equal("b", parsed.host)
    assert.equal(2, parsed.grpc_port)
    assert.equal("x.pem", parsed.ct_log_tls_ca_cert)
    assert.equal(6962, parsed.ctlog_port)
  end)

  it("read the environment in Fulcio's spelling and in the usual one",
  function()
    local parsed = assert(parse({}, { FULCIO_SERVE_CA = "fileca",
                                      ["FULCIO_SERVE_GRPC-PORT"] = "1",
                                      FULCIO_SERVE_METRICS_PORT = "2",
                                      FULCIO_SERVE_LOG_TYPE = "prod" }))
    assert.equal(1, parsed.grpc_port)
    assert.equal(2, parsed.metrics_port)
    assert.equal("prod", parsed.log_type)
  end)

  it("leave what is set for serve alone in other commands", function()
    local set = { FULCIO_SERVE_PORT = "1", FULCIO_SERVE_LOG_TYPE = "prod" }
    local parsed = assert(options.parse("createca", {}, set))
    assert.is_nil(parsed.port)
    assert.equal("prod", parsed.log_type)
    set.FULCIO_SERVE_PROT = "1"
    local none, list = options.parse("createca", {}, set)
    assert.is_nil(none)
    assert.matches("unknown variable FULCIO_SERVE_PROT", list[1], 1, true)
  end)

  it("read a JSON file with numbers, booleans and lists", function()
    local path = file(".json", '{"ca":"fileca","port":7,"fileca-watch":false,'
                      .. '"client-signing-algorithms":["ed25519"]}')
    local parsed = assert(parse({ "--config=" .. path }))
    assert.equal(7, parsed.port)
    assert.is_false(parsed.fileca_watch)
    assert.same({ "ed25519" }, parsed.client_signing_algorithms)
  end)

  it("open secrets without showing them", function()
    local path = file(".txt", "hunter2\n")
    local parsed = assert(parse({ "--ca=fileca", "--fileca-key-passwd",
                                  "@" .. path }))
    assert.equal("userdata", type(parsed.fileca_key_passwd))
    assert.is_nil(tostring(parsed.fileca_key_passwd):find("hunter2", 1, true))
    assert.matches("--fileca-key-passwd: ",
                   errors({ "--ca=fileca", "--fileca-key-passwd",
                            "@/nowhere" })[1], 1, true)
  end)

  it("refuse everything that is wrong at once", function()
    assert.same({
      'unknown flag --polices (did you mean "policies"?)',
      'unexpected argument "serve"',
      '--port: "http" is not a port, 0 to 65535',
      "unknown variable FULCIO_SERVE_METRIC_PORT"
        .. ' (did you mean "metrics-port"?)',
      'required flag "ca" not set',
    }, errors({ "--polices=x", "serve", "--port", "http" },
              { FULCIO_SERVE_METRIC_PORT = "1" }))
  end)

  it("refuse a CA that does not exist in Fulcio's words", function()
    assert.same({ "--ca=tinka is not a valid selection. Try: pkcs11ca,"
                  .. " googleca, fileca, or ephemeralca" },
                errors({ "--ca", "tinka" }))
  end)

  it("refuse a flag without its value", function()
    assert.same({ "--port needs a value" },
                errors({ "--ca=fileca", "--port" }))
  end)

  it("take the last of a flag that is given twice, as Fulcio", function()
    local found = assert(parse(
      { "--ca=tinka", "--port=x", "--fileca-watch=false", "--ca=fileca",
        "--http-port", "2", "--fileca-watch", "--host=a", "--host=" },
      { FULCIO_SERVE_PORT = "3", FULCIO_SERVE_HOST = "b" }))
    assert.equal("fileca", found.ca)
    assert.equal(2, found.port)
    assert.is_true(found.fileca_watch)
    assert.equal("", found.host)
  end)

  it("refuse a number or a time that is none, whatever comes after it",
  function()
    assert.same({ '--workers: "x" is not a whole number, at least 1,'
                  .. " at most 256" },
                errors({ "--ca=fileca", "--workers=x", "--workers=1" }))
    assert.same({ '--idle-connection-timeout: "x" is not a time such as 30s' },
                errors({ "--ca=fileca", "--idle-connection-timeout=x",
                         "--idle-connection-timeout=1s" }))
  end)

  it("add up a list that is given twice", function()
    local found = assert(options.parse("serve", {
      "--ca=fileca", "--client-signing-algorithms=ed25519",
      "--client-signing-algorithms", "ecdsa-sha2-256-nistp256" }, {}))
    assert.same({ "ed25519", "ecdsa-sha2-256-nistp256" },
                found.client_signing_algorithms)
  end)

  it("refuse a file that is missing, broken or says unknown things",
  function()
    assert.matches("^%-%-config: /nowhere.yaml",
                   errors({ "--ca=fileca", "-c/nowhere.yaml" })[1])
    local broken = file(".json", '{"ca":')
    assert.matches("--config: " .. broken .. ": ",
                   errors({ "--config", broken })[1], 1, true)
    local unknown = file(".yml", "prt: 1\n")
    assert.same({ unknown .. ': unknown flag prt (did you mean "port"?)' },
                errors({ "--ca=fileca", "--config", unknown }))
  end)
end)
