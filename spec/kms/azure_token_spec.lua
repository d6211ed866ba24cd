local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local token = require("fulcio.kms.azure_token")

describe("kms.azure_token", function()
  local directory, remove = authority.directory()
  local asked, answer

  setup(function()
    assert(engine.system.write(directory .. "/token", "federated\n"))
  end)
  teardown(remove)

  before_each(function()
    asked = {}
    answer = { access_token = "t", expires_in = 3600 }
    engine.http.set_backend(function(request)
      asked[#asked + 1] = request
      return { status = answer.access_token and 200 or 400, headers = {},
               body = json.encode(answer) }
    end)
  end)
  after_each(function() engine.http.set_backend(nil) end)

  local function current(environment)
    local held = assert(token.open(environment, "https://vault.azure.net"))
    local text, message = held:current(engine.system.monotonic() + 5)
    return text, message, held
  end

  local client = { AZURE_TENANT_ID = "tenant", AZURE_CLIENT_ID = "id" }
  local function with(name, value)
    return setmetatable({ [name] = value }, { __index = client })
  end

  it("comes for a client's secret", function()
    assert.equal("t", (current(with("AZURE_CLIENT_SECRET", "a b"))))
    assert.equal("https://login.microsoftonline.com/tenant/oauth2/v2.0/token",
                 asked[1].url)
    assert.equal("client_id=id&grant_type=client_credentials&scope="
      .. "https%3A%2F%2Fvault.azure.net%2F.default&client_secret=a+b",
      asked[1].body)
  end)

  it("comes for a federated token", function()
    assert.equal("t", (current(with("AZURE_FEDERATED_TOKEN_FILE",
                                    directory .. "/token"))))
    assert.matches("client_assertion=federated&client_assertion_type=urn",
                   asked[1].body, 1, true)
    assert.matches("/nowhere", select(2, current(with(
      "AZURE_FEDERATED_TOKEN_FILE", "/nowhere"))))
  end)

  it("comes from the machine", function()
    assert.equal("t", (current({ AZURE_CLIENT_ID = "id" })))
    assert.equal("http://169.254.169.254/metadata/identity/oauth2/token"
      .. "?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
      .. "&client_id=id", asked[1].url)
    assert.equal("true", asked[1].headers.Metadata)
  end)

  it("is kept until shortly before its end", function()
    local _, _, held = current({})
    local function again()
      return held:current(engine.system.monotonic() + 5)
    end
    again()
    assert.equal(1, #asked)
    held.held.ends = engine.system.monotonic() + 200
    again()
    assert.equal(2, #asked)
    held:forget()
    answer = { error = "invalid_client" }
    assert.same({ nil, "no access token of Azure: status 400, invalid_client",
                  n = 2 }, table.pack(again()))
  end)
end)
