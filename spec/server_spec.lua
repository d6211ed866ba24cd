local engine = require("fulcio.engine")
local json = require("fulcio.json")
local log = require("fulcio.log")
local server = require("fulcio.server")
local worlds = require("spec.world")

describe("server", function()
  local world = worlds.new()
  local lines

  before_each(function()
    lines = {}
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
  end)

  after_each(function() log.open({ mode = "prod" }) end)

  local function ask(method, path, body, headers, context)
    return server.handle({ method = method, path = path, body = body or "",
                           headers = headers or {}, peer = "127.0.0.1",
                           id = 1, protocol = "http/1.1" },
                         context or world.context)
  end

  local function parsed(response)
    return assert(engine.claims.parse(response.body))
  end

  it("issues by v2: 200 and JSON", function()
    local response = ask("POST", "/api/v2/signingCert",
                         world:v2((world:asked())))
    assert.equal(200, response.status, response.body)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal("Origin", response.headers.vary)
    local chain = parsed(response).signedCertificateEmbeddedSct.chain
    assert.equal(2, #chain.certificates)
    for _, pem in ipairs(chain.certificates) do
      assert.matches("^%-%-%-%-%-BEGIN CERTIFICATE.*%-%-%-%-%-$", pem)
    end
  end)

  it("issues by v1: 201 and PEM without a final newline", function()
    local asked = world:asked()
    local response = ask("POST", "/api/v1/signingCert", json.encode({
      publicKey = { content = engine.bytes.base64(asked.public_key) },
      signedEmailAddress = engine.bytes.base64(asked.proof),
    }), { authorization = "Bearer " .. asked.token })
    assert.equal(201, response.status, response.body)
    assert.equal("application/pem-certificate-chain",
                 response.headers["content-type"])
    assert.is_nil(response.headers.sct)
    assert.matches("%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n"
                   .. "%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-", response.body)
    assert.matches("%-%-%-%-%-$", response.body)
  end)

  it("moves the chain to the detached form without a log", function()
    local alone = worlds.new({ log = false })
    local response = ask("POST", "/api/v2/signingCert",
                         alone:v2((alone:asked())), nil, alone.context)
    local detached = parsed(response).signedCertificateDetachedSct
    assert.equal("", detached.signedCertificateTimestamp)
    assert.equal(2, #detached.chain.certificates)
  end)

  local function refused(response, status, code, message, reason)
    assert.equal(status, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal("Origin", response.headers.vary)
    local body = parsed(response)
    assert.equal(code, body.code)
    assert.equal(message, body.message)
    assert.equal(reason, body.details[1].reason)
  end

  it("complains about the token first in v2, about the key in v1",
  function()
    refused(ask("POST", "/api/v2/signingCert", "{}"), 400, 3,
            "There was an error processing the identity token",
            "TOKEN_MALFORMED")
    refused(ask("POST", "/api/v2/signingCert", "{}",
                { authorization = "Bearer " .. world:token() }), 400, 3,
            "The public key supplied in the request could not be parsed",
            "KEY_UNPARSABLE")
    refused(ask("POST", "/api/v1/signingCert", "{}"), 400, 3,
            "The public key supplied in the request could not be parsed",
            "KEY_UNPARSABLE")
  end)

  it("refuses unknown addresses and methods as Fulcio does", function()
    refused(ask("GET", "/ping"), 404, 5, "Not Found", "NOT_FOUND")
    refused(ask("POST", "/api/v2/signingCert/"), 404, 5, "Not Found",
            "NOT_FOUND")
    for _, method in ipairs({ "GET", "PUT", "HEAD", "OPTIONS", "FOO",
                              "post" }) do
      refused(ask(method, "/api/v2/signingCert"), 501, 12,
              "Method Not Allowed", "METHOD_NOT_ALLOWED")
      refused(ask(method, "/api/v2"), 404, 5, "Not Found", "NOT_FOUND")
    end
    refused(ask("POST", "/"), 404, 5, "Not Found", "NOT_FOUND")
    refused(ask("GET", "/api/v2/trust%42undle"), 404, 5, "Not Found",
            "NOT_FOUND")
  end)

  it("answers gRPC's addresses to gRPC alone", function()
    local response = server.handle({ method = "POST", body = "{}",
      path = "/dev.sigstore.fulcio.v2.CA/GetTrustBundle", peer = "", id = 1,
      headers = { ["content-type"] = "application/json" },
      protocol = "h2" }, world.context)
    assert.equal(415, response.status)
    assert.matches('invalid gRPC request content-type \\"application/json',
                   response.body, 1, true)
  end)

  it("answers HEAD as GET, which has no effects", function()
    for _, path in ipairs({ "/", "/healthz", "/api/v2/trustBundle" }) do
      assert.same(ask("GET", path), ask("HEAD", path))
    end
  end)

  it("answers a preflight request", function()
    local response = ask("OPTIONS", "/api/v2/signingCert", "", {
      origin = "https://a.example",
      ["access-control-request-method"] = "POST",
    })
    assert.equal(204, response.status)
    assert.equal("*", response.headers["access-control-allow-origin"])
  end)

  describe("request ID", function()
    local function refused_with(id)
      local response = ask("GET", "/ping", "", { ["x-request-id"] = id })
      return assert(engine.claims.parse(lines[#lines])).request_id,
        response.headers["x-request-id"]
    end

    it("is the client's, in the log and in a refusal", function()
      assert.same({ "a-1", "a-1" }, { refused_with("a-1") })
      local longest = ("x"):rep(128)
      assert.same({ longest, longest }, { refused_with(longest) })
    end)

    it("is ours when there is none, or none to repeat", function()
      local seen = {}
      for _, id in ipairs({ ("x"):rep(129), "", "a b", "a\nb", "\195\188" }) do
        local logged, told = refused_with(id)
        assert.equal(logged, told)
        assert.matches("^[%w+/]+%-%d+$", logged)
        assert.is_nil(seen[logged])
        seen[logged] = true
      end
      assert.is_nil(seen[refused_with()])
    end)

    it("is in the lines of a request that is granted", function()
      local response = ask("POST", "/api/v2/signingCert",
        world:v2((world:asked())), { ["x-request-id"] = "good" })
      assert.equal(200, response.status)
      assert.is_nil(response.headers["x-request-id"])
      assert.equal("good",
                   assert(engine.claims.parse(lines[#lines])).request_id)
    end)

    it("is never a token in the log", function()
      assert.equal("(not logged)", (refused_with(world:token():sub(1, 100))))
    end)

    it("ends with the request", function()
      refused_with("a")
      log.info("something else")
      assert.is_nil(assert(engine.claims.parse(lines[#lines])).request_id)
    end)

    it("is each coroutine's own", function()
      log.begin("outer")
      coroutine.wrap(function()
        assert.is_nil(log.current())
        refused_with("inner")
      end)()
      assert.equal("outer", log.current())
      log.begin(nil)
    end)
  end)

  it("logs a refusal with its details, the client hears none", function()
    local response = ask("POST", "/api/v2/signingCert", world:v2(
      (world:asked({ token = world:token({ aud = "other" }) }))))
    assert.equal("WRONG_AUDIENCE", parsed(response).details[1].reason)
    local line = assert(engine.claims.parse(lines[#lines]))
    assert.equal("WRONG_AUDIENCE", line.reason)
    assert.equal("https://issuer.example", line.issuer)
    assert.equal("/api/v2/signingCert", line.path)
  end)

  it("answers its own mistakes with 500 and tells the log alone", function()
    local broken = setmetatable({ policies = false },
                                { __index = world.context })
    local response = ask("POST", "/api/v2/signingCert",
                         world:v2((world:asked())), nil, broken)
    refused(response, 500, 13, "Internal Server Error", "INTERNAL")
    assert.is_nil(response.body:find("lua", 1, true))
    local all = table.concat(lines)
    assert.matches("traceback", all)
  end)

  it("records what it issued", function()
    ask("POST", "/api/v2/signingCert", world:v2((world:asked())))
    local line = assert(engine.claims.parse(lines[#lines]))
    assert.equal("certificate issued", line.message)
    assert.equal("a@example.com", line.san)
    assert.equal("email.lua", line.policy)
    assert.matches("^%x+$", line.serial)
  end)
end)
