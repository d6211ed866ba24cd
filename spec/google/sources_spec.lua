local credentials = require("fulcio.google.credentials")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local scenes = require("spec.google.scene")

local IAM = "https://iamcredentials.googleapis.com/v1/projects/-/"
  .. "serviceAccounts/x@example.com:generateAccessToken"

-- Every kind of credential file: its token is taken by the service, and its
-- mistakes are named.
describe("google", function()
  local scene

  before_each(function()
    log.open({ mode = "prod", write = function() end })
    scene = scenes.new()
  end)

  after_each(function()
    scene:close()
    log.open({ mode = "prod" })
  end)

  local function open(data, hosts)
    if data then scene:credentials(data) end
    return credentials.open({ environment = scene.environment,
                              hosts = hosts })
  end

  local function fetch(data, hosts)
    local held = assert(open(data, hosts))
    return held:token(engine.system.monotonic() + 5)
  end

  local function accepted(token)
    return scene.fake.tokens:allows({ headers = {
      authorization = "Bearer " .. token } })
  end

  local function refuses(words, data, hosts)
    local held, message = open(data, hosts)
    assert.is_nil(held)
    assert.matches(words, message, 1, true)
  end

  local function fails(words, data, code)
    local token, message, why = fetch(data)
    assert.is_nil(token)
    assert.matches(words, message, 1, true)
    assert.equal(code, why)
  end

  local function with(base, changes)
    local data = {}
    for name, value in pairs(base) do data[name] = value end
    for name, value in pairs(changes or {}) do
      data[name] = value ~= false and value or nil
    end
    return data
  end

  describe("service_account", function()
    it("signs its own token, without a network", function()
      local token = assert(fetch(scene:service_account()))
      assert.is_true(accepted(token))
      assert.equal(0, #scene.fake.asked)
      local parts = assert(engine.jws.parse(token))
      assert.equal('{"alg":"RS256","kid":"key-1","typ":"JWT"}', parts.header)
    end)

    it("has it exchanged once Google did not take it", function()
      local held = assert(open(scene:service_account()))
      local deadline = engine.system.monotonic() + 5
      local first = held:token(deadline)
      held:drop(first)
      local second = assert(held:token(deadline))
      assert.equal(1, scene.fake:count("^/token$"))
      assert.is_true(accepted(second))
      held:drop(second)
      scene.fake.tokens.faults = { "503", "503" }
      assert.is_truthy(engine.jws.parse(assert(held:token(deadline))))
      held:drop(held.held.token)
      scene.fake.tokens.faults = { "400" }
      local token, message = held:token(deadline)
      assert.is_nil(token)
      assert.matches("token_uri https://oauth2.googleapis.com/token: status"
        .. " 400, invalid_grant", message, 1, true)
    end)

    it("names what its file lacks", function()
      refuses("private_key: missing",
              with(scene:service_account(), { private_key = false }))
      refuses("client_email: missing",
              with(scene:service_account(), { client_email = false }))
      refuses('token_uri: the host "evil.example"', scene:service_account({
        token_uri = "https://evil.example/token" }))
      local path = os.tmpname()
      os.remove(path)
      assert(assert(engine.pkey.generate("P-256")):save(path))
      local file = io.open(path)
      refuses("private_key: not an RSA key",
              scene:service_account({ private_key = file:read("a") }))
      file:close()
      os.remove(path)
    end)
  end)

  local user = { type = "authorized_user", client_id = "client",
                 client_secret = "client secret", refresh_token = "refresh" }

  describe("authorized_user", function()
    it("refreshes", function()
      assert.is_true(accepted(assert(fetch(user))))
      assert.equal("grant_type=refresh_token&client_id=client"
        .. "&client_secret=client+secret&refresh_token=refresh",
        scene.fake.asked[1].body)
      assert.equal("https://oauth2.googleapis.com/token",
                   scene.fake.asked[1].url)
    end)

    it("honours a token_uri of a host that is allowed", function()
      local data = with(user, { token_uri = "https://x.example:1/token" })
      refuses('token_uri: the host "x.example:1"', data)
      assert(fetch(data, { "x.example" }))
      assert.equal("https://x.example:1/token", scene.fake.asked[1].url)
    end)

    it("tries again once, and says what was wrong", function()
      scene.fake.tokens.faults = { "503" }
      assert(fetch(user))
      scene.fake.tokens.faults = { "503", "503" }
      fails("status 503, later", user, "unavailable")
      scene.fake.tokens.faults = { "html" }
      fails("the answer is no JSON object", user, "unavailable")
      fails("invalid_grant: Bad Request",
            with(user, { refresh_token = "old" }), "refused")
      engine.http.set_backend(function()
        return { status = 200, headers = {}, body = "{}" }
      end)
      fails("the answer has no access_token", user, "refused")
      engine.http.set_backend(function() return nil, "refused", "network" end)
      fails("token_uri refused", user, "unavailable")
    end)
  end)

  describe("metadata", function()
    before_each(function()
      scene.environment.GOOGLE_APPLICATION_CREDENTIALS = nil
    end)

    it("asks the metadata server", function()
      assert.is_true(accepted(assert(fetch())))
    end)

    it("takes no other server for it", function()
      scene.fake.tokens.flavor = "Other"
      fails("is no metadata server", nil, "refused")
    end)

    it("says that nobody answers", function()
      engine.http.set_backend(function() return nil, "no route", "network" end)
      fails("metadata server no route", nil, "unavailable")
    end)
  end)

  local federated = {
    type = "external_account",
    audience = "//iam.googleapis.com/projects/1/locations/global/"
      .. "workloadIdentityPools/p/providers/v",
    subject_token_type = "urn:ietf:params:oauth:token-type:jwt",
    token_url = "https://sts.googleapis.com/sts/v1/token",
    credential_source = { url = "https://x.googleapis.com/subject" },
  }

  describe("federation", function()
    local function subject(text)
      local path = scene.directory .. "/subject"
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
      return path
    end

    it("exchanges what a file has, as text and as JSON", function()
      for text, format in pairs({
        subject = false, ['{"t":"subject"}'] = {
          type = "json", subject_token_field_name = "t" } }) do
        local data = with(federated, { credential_source = {
          file = subject(text), format = format or nil } })
        assert.is_true(accepted(assert(fetch(data))))
      end
    end)

    it("exchanges what an address gives, as text and as JSON", function()
      assert.is_true(accepted(assert(fetch(federated))))
      assert.is_true(accepted(assert(fetch(with(federated, {
        credential_source = {
          url = "https://x.googleapis.com/subject.json",
          headers = { Metadata = "true" },
          format = { type = "json", subject_token_field_name = "value" },
        } })))))
    end)

    it("goes on to another account", function()
      assert.is_true(accepted(assert(fetch(with(federated, {
        service_account_impersonation_url = IAM,
        service_account_impersonation = { token_lifetime_seconds = 600 },
      })))))
      assert.matches('"lifetime":"600s"', scene.fake.asked[3].body)
    end)

    it("names what its file lacks", function()
      local function source(value) return with(federated,
        { credential_source = value }) end
      refuses("audience: missing", with(federated, { audience = false }))
      refuses('subject_token_type: "urn:ietf:params:aws:token-type', with(
        federated, { subject_token_type =
          "urn:ietf:params:aws:token-type:aws4_request" }))
      refuses('token_url: the host "evil.example"', with(federated,
        { token_url = "https://evil.example/x.googleapis.com" }))
      refuses("credential_source: missing", source(false))
      refuses("credential_source: executable is not supported",
              source({ executable = { command = "x" } }))
      refuses("credential_source: environment_id is not supported",
              source({ environment_id = "aws1" }))
      refuses("credential_source: certificate is not supported",
              source({ certificate = {} }))
      refuses("neither file nor url", source({}))
      refuses("subject_token_field_name: missing", source({
        file = "x", format = { type = "json" } }))
      refuses('credential_source.format.type: unknown "xml"', source({
        file = "x", format = { type = "xml" } }))
      refuses('credential_source.url: the host "evil.example', source({
        url = "http://evil.example/x" }))
      refuses('service_account_impersonation_url: the host "evil.example"',
        with(federated, { service_account_impersonation_url =
          "https://evil.example/x" }))
    end)

    it("says what its source lacks", function()
      local function source(value) return with(federated,
        { credential_source = value }) end
      fails("credential_source.file: /nowhere", source({
        file = "/nowhere" }), "refused")
      fails("is empty", source({ file = subject("") }), "refused")
      fails('no field "t"', source({ file = subject("{}"),
        format = { type = "json", subject_token_field_name = "t" } }),
        "refused")
      fails("token_url https://sts.googleapis.com/sts/v1/token: status 400",
            source({ file = subject("wrong") }), "refused")
    end)
  end)

  describe("impersonation", function()
    local function impersonated(source)
      return { type = "impersonated_service_account", delegates = {},
               service_account_impersonation_url = IAM,
               source_credentials = source }
    end

    it("begins with a person's token or a service account's", function()
      assert.is_true(accepted(assert(fetch(impersonated(user)))))
      assert.is_true(accepted(assert(fetch(impersonated(
        scene:service_account())))))
    end)

    it("says what went wrong", function()
      fails("token_uri", impersonated(with(user, { client_id = "x" })),
            "refused")
      local real = scene.fake:transport()
      engine.http.set_backend(function(asked)
        if asked.url == IAM then
          return { status = 403, headers = {}, body = [[{"error":{"status":
            "PERMISSION_DENIED","message":"iam.serviceAccounts"}}]] }
        end
        return real(asked)
      end)
      fails("PERMISSION_DENIED: iam.serviceAccounts", impersonated(user),
            "refused")
      engine.http.set_backend(function(asked)
        if asked.url == IAM then
          return { status = 200, headers = {}, body = "{}" }
        end
        return real(asked)
      end)
      fails("no expireTime", impersonated(user), "refused")
    end)
  end)
end)
