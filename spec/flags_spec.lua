local flags = require("fulcio.flags")

-- The flags of `fulcio serve` in sigstore's Fulcio.
local fulcio = [[config log_type ca aws-hsm-root-ca-path
gcp_private_ca_parent hsm-caroot-id hsm-key-label pkcs11-config-path
ct-log-url ct-log-origin ct-log-public-key-path ct-log.tls-ca-cert
config-path fileca-cert fileca-key fileca-key-passwd fileca-watch
kms-resource kms-cert-chain-path gcp-kms-retries gcp-kms-timeout
tink-kms-resource tink-cert-chain-path tink-keyset-path host port grpc-host
grpc-port metrics-port legacy-unix-domain-socket read-header-timeout
grpc-tls-certificate grpc-tls-key idle-connection-timeout
client-signing-algorithms]]

describe("flags", function()
  local function names(command)
    local found = {}
    for _, group in ipairs(flags[command]) do
      for _, flag in ipairs(group) do
        assert.is_nil(found[flag[1]], flag[1] .. " is there twice")
        found[flag[1]] = flag
      end
    end
    return found
  end

  it("are all that Fulcio has, and ours", function()
    local serve = names("serve")
    for name in fulcio:gmatch("%S+") do
      assert.is_truthy(serve[name], name)
    end
    for name in ("policies data-dir workers development ctlog-host"
                 .. " ctlog-port metrics-host user"):gmatch("%S+") do
      assert.is_truthy(serve[name], name)
    end
  end)

  it("each say what they are for", function()
    for command in pairs(flags) do
      for name, flag in pairs(names(command)) do
        assert.is_true(#flag[2] > 3, name)
        assert.is_true(flag.kind ~= "choice" or #flag.choices > 1, name)
      end
    end
  end)
end)
