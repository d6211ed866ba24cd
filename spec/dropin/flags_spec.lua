local json = require("fulcio.json")
local options = require("fulcio.options")
local program = require("spec.program")

-- Every flag of Fulcio's serve: its default there, and another value. What
-- is left out of `ours` has Fulcio's default here too.
local flags = {
  { "log_type", "dev", "prod" },
  { "aws-hsm-root-ca-path", "", "root.pem" },
  { "gcp_private_ca_parent", "", "projects/p/locations/l/caPools/q" },
  { "hsm-caroot-id", "", "99" },
  { "hsm-key-label", "PKCS11CA", "key" },
  { "pkcs11-config-path", "config/crypto11.conf", "hsm.json" },
  { "ct-log-url", "http://localhost:6962/test", "https://log.example/2026" },
  { "ct-log-origin", "", "log.example" },
  { "ct-log-public-key-path", "", "ct.pem" },
  { "ct-log.tls-ca-cert", "", "roots.pem" },
  { "config-path", "/etc/fulcio-config/config.yaml", "config.json" },
  { "fileca-cert", "", "chain.pem" },
  { "fileca-key", "", "key.pem" },
  { "fileca-watch", true, "false", false },
  { "kms-resource", "", "hashivault://key" },
  { "kms-cert-chain-path", "", "chain.pem" },
  { "gcp-kms-retries", 0, "3", 3 },
  { "gcp-kms-timeout", 0, "7", 7 },
  { "tink-kms-resource", "", "gcp-kms://key" },
  { "tink-cert-chain-path", "", "chain.pem" },
  { "tink-keyset-path", "", "keyset.json" },
  { "host", "0.0.0.0", "::1" },
  { "port", 8080, "9090", 9090 },
  { "grpc-host", "0.0.0.0", "127.0.0.1" },
  { "grpc-port", 8081, "9091", 9091 },
  { "metrics-port", 2112, "9092", 9092 },
  { "legacy-unix-domain-socket", "@fulcio-legacy-grpc-socket", "/run/f" },
  { "read-header-timeout", 10, "1m30s", 90 },
  { "grpc-tls-certificate", "", "tls.pem" },
  { "grpc-tls-key", "", "tls-key.pem" },
  { "idle-connection-timeout", 30, "45s", 45 },
  { "client-signing-algorithms", {
    "ecdsa-sha2-256-nistp256", "ecdsa-sha2-384-nistp384",
    "ecdsa-sha2-512-nistp521", "rsa-sign-pkcs1-2048-sha256",
    "rsa-sign-pkcs1-3072-sha256", "rsa-sign-pkcs1-4096-sha256", "ed25519",
  }, "ed25519", { "ed25519" } },
}

-- Defaults that are not Fulcio's: a log of one's own, a configuration that
-- is asked for, no socket that nobody asked for.
local ours = { ["ct-log-url"] = { nil }, ["config-path"] = { "" },
               ["legacy-unix-domain-socket"] = { "" } }

local function key_of(name) return (name:gsub("[-.]", "_")) end

local function parse(arguments, environment)
  local all = { "--ca=fileca", table.unpack(arguments) }
  local found, errors = options.parse("serve", all, environment or {})
  return assert(found, errors and table.concat(errors, "\n"))
end

local function errors(arguments, environment)
  local all = { "--ca=fileca", table.unpack(arguments) }
  return select(2, options.parse("serve", all, environment or {}))[1]
end

local function file(ending, text)
  local path = os.tmpname() .. ending
  local handle = assert(io.open(path, "wb"))
  handle:write(text)
  handle:close()
  finally(function() os.remove(path) end)
  return path
end

describe("a flag of Fulcio's", function()
  for _, flag in ipairs(flags) do
    local name, default, text, value = flag[1], flag[2], flag[3], flag[4]
    if value == nil then value = text end
    local key, variable = key_of(name), "FULCIO_SERVE_" .. name:upper()

    describe("--" .. name, function()
      it("is taken as an argument", function()
        assert.same(value, parse({ "--" .. name .. "=" .. text })[key])
        if type(value) ~= "boolean" then
          assert.same(value, parse({ "--" .. name, text })[key])
        end
      end)

      it("is taken from the environment, with - and with _", function()
        assert.same(value, parse({}, { [variable] = text })[key])
        local usual = variable:gsub("[-.]", "_")
        assert.same(value, parse({}, { [usual] = text })[key])
      end)

      it("is taken from a file of YAML and of JSON", function()
        local yaml = file(".yaml", ("%s: %q\n"):format(name, text))
        assert.same(value, parse({ "-c", yaml })[key])
        local object = file(".json", json.encode({ [name] = text }))
        assert.same(value, parse({ "--config=" .. object })[key])
      end)

      it("has Fulcio's default, or a safer one", function()
        local wanted = default
        if ours[name] then wanted = ours[name][1] end
        assert.same(wanted, parse({})[key])
      end)

      it("is named to who mistypes it", function()
        local wrong = name:sub(1, 1) .. name:sub(3)
        local hint = ('(did you mean "%s"?)'):format(name)
        assert.matches(hint, errors({ "--" .. wrong, "x" }), 1, true)
        assert.matches(hint, errors({}, {
          ["FULCIO_SERVE_" .. wrong:upper()] = "x" }), 1, true)
      end)
    end)
  end

  it("may be --http-host and --http-port", function()
    local found = parse({ "--http-host", "::1", "--http-port=1" })
    assert.same({ "::1", 1 }, { found.host, found.port })
  end)

  it("may be nested in YAML, as viper has it", function()
    local yaml = file(".yaml", "ct-log:\n  tls-ca-cert: roots.pem\n")
    assert.equal("roots.pem", parse({ "-c=" .. yaml }).ct_log_tls_ca_cert)
  end)

  it("is not read from a file of another kind", function()
    for _, ending in ipairs({ "toml", "ini", "properties", "env" }) do
      assert.matches("is not read here; write it as YAML or JSON",
                     errors({ "-c", file("." .. ending, "a = 1\n") }), 1,
                     true)
    end
  end)

  it("is refused by the program itself, with the nearest name", function()
    local status, printed = program.run({ "serve", "--ca", "ephemeralca",
                                          "--grpc-prot", "1" },
                                        { FULCIO_SERVE_CT_LOG_UR = "x" })
    assert.equal(1, status)
    assert.matches('unknown flag --grpc-prot (did you mean "grpc-port"?)',
                   printed, 1, true)
    assert.matches('unknown variable FULCIO_SERVE_CT_LOG_UR (did you mean'
                   .. ' "ct-log-url"?)', printed, 1, true)
  end)
end)
