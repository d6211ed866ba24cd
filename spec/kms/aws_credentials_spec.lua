local authority = require("spec.ca.authority")
local credentials = require("fulcio.kms.aws_credentials")
local engine = require("fulcio.engine")
local json = require("fulcio.json")

describe("kms.aws_credentials", function()
  local directory, remove = authority.directory()
  local asked, pages

  setup(function()
    assert(engine.system.write(directory .. "/token", "web-token\n"))
  end)
  teardown(remove)

  before_each(function()
    asked = {}
    engine.http.set_backend(function(request)
      asked[#asked + 1] = request
      local page = pages[request.url]
      if not page then return { status = 404, headers = {}, body = "" } end
      return { status = 200, headers = {}, body = type(page) == "table"
               and json.encode(page) or page }
    end)
  end)
  after_each(function() engine.http.set_backend(nil) end)

  local function current(environment)
    local held = assert(credentials.open(environment, "eu-west-1"))
    local found, message = held:current(engine.system.monotonic() + 5)
    return found, message, held
  end

  local function ends(seconds)
    return os.date("!%Y-%m-%dT%H:%M:%SZ", engine.system.now() + seconds)
  end

  local function made(more)
    local value = { AccessKeyId = "id", SecretAccessKey = "secret",
                    Token = "session", Expiration = ends(3600) }
    for name, field in pairs(more or {}) do value[name] = field end
    return value
  end

  it("come from the environment", function()
    assert.same({ key = "a", secret = "b", session = "c" }, (current({
      AWS_ACCESS_KEY_ID = "a", AWS_SECRET_ACCESS_KEY = "b",
      AWS_SESSION_TOKEN = "c" })))
    local held, message = credentials.open({ AWS_ACCESS_KEY_ID = "a" }, "x")
    assert.is_nil(held)
    assert.matches("AWS_SECRET_ACCESS_KEY", message)
  end)

  it("come from a web identity", function()
    local environment = { AWS_ROLE_ARN = "arn:aws:iam::1:role/x",
      AWS_WEB_IDENTITY_TOKEN_FILE = directory .. "/token" }
    local value = made({ SessionToken = "session",
                         Expiration = engine.system.now() + 3600 })
    value.Token = nil
    pages = { ["https://sts.eu-west-1.amazonaws.com/"] = {
      AssumeRoleWithWebIdentityResponse = {
        AssumeRoleWithWebIdentityResult = { Credentials = value } } } }
    local found = assert(current(environment))
    assert.equal("session", found.session)
    assert.matches("WebIdentityToken=web%-token", asked[1].body)
    assert.matches("RoleArn=arn%%3Aaws", asked[1].body)
    assert.equal("application/json", asked[1].headers.Accept)
    pages = {}
    assert.matches("AWS STS: status 404", select(2, current(environment)))
    environment.AWS_WEB_IDENTITY_TOKEN_FILE = "/nowhere"
    assert.matches("/nowhere", select(2, current(environment)))
    environment.AWS_ROLE_ARN = nil
    assert.matches("AWS_ROLE_ARN", select(2, credentials.open(environment)))
  end)

  it("come from a container", function()
    pages = { ["http://169.254.170.2/x"] = made(),
              ["http://127.0.0.1:9/y"] = { AccessKeyId = "id" } }
    assert.equal("id", assert(current({
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = directory .. "/token" })).key)
    assert.equal("web-token", asked[1].headers.Authorization)
    assert.matches("no credentials in the answer", select(2, current({
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:9/y" })))
    assert.matches("/nowhere", select(2, current({
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/nowhere" })))
  end)

  it("come from the instance", function()
    local base = "http://169.254.169.254/latest"
    local roles = base .. "/meta-data/iam/security-credentials/"
    pages = { [base .. "/api/token"] = "imds", [roles] = "role\n",
              [roles .. "role"] = made() }
    assert.equal("session", assert(current({})).session)
    assert.equal("PUT", asked[1].method)
    assert.equal("imds", asked[3].headers["X-aws-ec2-metadata-token"])
    pages[roles] = ""
    assert.matches("has no role", select(2, current({})))
    pages = {}
    assert.matches("AWS instance metadata: status 404",
                   select(2, current({})))
    local held, message = credentials.open({
      AWS_EC2_METADATA_DISABLED = "true" })
    assert.is_nil(held)
    assert.matches("AWS_ACCESS_KEY_ID is not set", message)
  end)

  it("are kept until shortly before their end", function()
    pages = { ["http://169.254.170.2/x"] = made() }
    local _, _, held = current({
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" })
    local function again()
      return held:current(engine.system.monotonic() + 5)
    end
    assert(again())
    assert.equal(1, #asked)
    held.held.ends = engine.system.now() + 200
    pages = {}
    assert(again())
    assert.equal(2, #asked)
    held.held.ends = engine.system.now() - 1
    assert.is_nil(again())
    held:forget()
    assert.is_nil(again())
  end)
end)
