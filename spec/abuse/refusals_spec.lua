local engine = require("fulcio.engine")
local issuers = require("fulcio.issuers")
local json = require("fulcio.json")
local log = require("fulcio.log")
local openssl = require("spec.openssl")
local policy = require("fulcio.policy")
local program = require("spec.server_program")
local refusal = require("fulcio.refusal")
local server = require("fulcio.server")
local wire = require("spec.wire")
local worlds = require("spec.world")

local POLICY = [[
return {
  issuer   = "https://issuer.example",
  audience = "sigstore",
  must     = { email = present },
  san      = { email = "{email}" },
  check    = function(claims) return claims.sub ~= "refused", "not you" end,
}
]]

-- A program whose protocol layer words its refusals as a worker's does.
local SERVER = [[
  local refusal = require("fulcio.refusal")
  local reply = require("fulcio.reply")
  server.http(listen(), function(request)
    local last = engine.system.monotonic() + 0.6
    repeat until engine.system.monotonic() > last
    return { status = 200, body = "" }
  end, { request_seconds = 0.5, refuse = function(status)
    return reply.refusal(refusal.of_status(status))
  end })
  server.run()
]]

-- Each row of refusal.lua, by what provokes it: a function that returns the
-- response of a request.
describe("every refusal", function()
  local world, port

  setup(function()
    log.open({ mode = "prod", write = function() end })
    local _
    _, port = program.start(SERVER)
  end)

  teardown(function()
    program.stop()
    openssl.clean()
    log.open({ mode = "prod" })
  end)

  before_each(function() world = worlds.new({ policy = POLICY }) end)

  local function handle(body, method, path)
    return server.handle({
      method = method or "POST", path = path or "/api/v2/signingCert",
      body = body, headers = {}, peer = "", id = 1 }, world.context)
  end

  local function ask(changes)
    return handle(world:v2((world:asked(changes))))
  end

  local function claims(changes)
    return ask({ token = world:token(changes) })
  end

  local function token(header, payload, key)
    return ask({ token = assert(engine.jws.sign(json.encode(header),
      payload or "{}", key or world.issuer_key, "RS256")) })
  end

  local function wired(bytes)
    local answer = wire.send(port, bytes)
    local status, body = answer:match("^HTTP/1%.1 (%d+).-\r\n\r\n(.*)$")
    return { status = tonumber(status), body = body }
  end

  local function failing(code)
    world.context.ca = setmetatable({ sign = function()
      return nil, "it failed", code
    end }, { __index = world.context.ca })
    return ask()
  end

  local function with_log(code)
    world.context.log.submit = function()
      return nil, refusal(code, { log = { error = "it failed" } })
    end
    return ask()
  end

  local function request_pem(digest)
    local path = openssl.key("csr.pem", "-algorithm RSA"
      .. " -pkeyopt rsa_keygen_bits:2048")
    return openssl.run(("req -new -%s -subj /CN=a -key %s"):format(digest,
                                                                   path))
  end

  local function with_csr(pem)
    local asked = world:asked()
    return handle(json.encode({
      credentials = { oidcIdentityToken = asked.token },
      certificateSigningRequest = engine.bytes.base64(pem) }))
  end

  local now = engine.system.now()

  local provoked = {
    token_malformed = function() return ask({ token = "a.b" }) end,
    token_expired = function() return claims({ exp = now - 1 }) end,
    token_not_yet_valid = function() return claims({ nbf = now + 999 }) end,
    token_signature = function()
      local jwt = world:token()
      return ask({ token = jwt:gsub("[^.]+$", ("A"):rep(342)) })
    end,
    token_algorithm = function() return token({ alg = "HS256" }) end,
    unknown_issuer = function()
      return claims({ iss = "https://other.example" })
    end,
    issuer_unavailable = function()
      world.context.issuers = issuers.new({
        request = function() return nil, "no route", "refused" end })
      return ask()
    end,
    wrong_audience = function() return claims({ aud = "other" }) end,
    unknown_key = function()
      return token({ alg = "RS256", kid = "two" }, json.encode({
        iss = "https://issuer.example", aud = "sigstore", exp = now + 60 }))
    end,
    claim_missing = function() return claims({ email = "" }) end,
    claim_invalid = function() return claims({ email = 5 }) end,
    email_not_verified = function()
      return claims({ email_verified = false })
    end,
    must_not_met = function()
      world.context.policies = assert(policy.load({ {
        name = "a.lua", text = (POLICY:gsub("present", '"b@example.com"')),
      } }))
      return ask()
    end,
    check_refused = function() return claims({ sub = "refused" }) end,
    key_unparsable = function() return ask({ public_key = "no key" }) end,
    key_weak = function()
      local path = openssl.key("weak.pem", "-algorithm RSA"
        .. " -pkeyopt rsa_keygen_bits:1024")
      return ask({ public_key = openssl.public(path) })
    end,
    key_not_allowed = function()
      world.context.algorithms = { ["P-384 SHA-384"] = true }
      return ask()
    end,
    proof_wrong = function() return ask({ proof = "proof" }) end,
    csr_unparsable = function() return with_csr("no request") end,
    csr_algorithm = function() return with_csr(request_pem("sha1")) end,
    request_malformed = function() return handle("{") end,
    not_found = function() return handle("", "GET", "/nothing") end,
    method_not_allowed = function() return handle("", "PUT") end,
    not_grpc = function()
      return handle("{}", "POST", "/grpc.health.v1.Health/Check")
    end,
    not_implemented = function()
      return wired("POST / HTTP/1.1\r\nHost: a\r\n"
                   .. "Transfer-Encoding: tea\r\n\r\n")
    end,
    request_timeout = function() return wired("GET / HTTP/1.1\r\n") end,
    body_too_large = function()
      return wired("POST / HTTP/1.1\r\nHost: a\r\n"
                   .. "Content-Length: 9999999\r\n\r\n")
    end,
    header_too_large = function()
      return wired("GET /" .. ("x"):rep(20000))
    end,
    expectation_failed = function()
      return wired("POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n")
    end,
    version_unknown = function()
      return wired("GET / HTTP/2.0\r\nHost: a\r\n\r\n")
    end,
    overloaded = function()
      wired(wire.get("/"))
      local waiting, busy = {}, nil
      for i = 1, 10 do waiting[i] = wire.start(port, wire.get("/")) end
      for i = 1, 10 do
        local answer = waiting[i]()
        if answer:find("^HTTP/1%.1 503") then busy = answer end
      end
      assert.matches("\r\nretry%-after: 1\r\n", busy)
      return { status = 503, body = busy:match("\r\n\r\n(.*)$") }
    end,
    ca_unavailable = function() return failing("hsm_gone") end,
    ca_failed = function() return failing("sign_failed") end,
    ct_unavailable = function() return with_log("ct_unavailable") end,
    ct_failed = function() return with_log("ct_failed") end,
    internal = function()
      world.context.ca = nil
      return ask()
    end,
  }

  it("is provoked here", function()
    for code in pairs(refusal.rows) do
      assert.is_function(provoked[code], "nothing provokes " .. code)
    end
    for code in pairs(provoked) do
      assert.is_table(refusal.rows[code], "there is no refusal " .. code)
    end
  end)

  for code, row in pairs(refusal.rows) do
    it("says " .. code, function()
      local response = assert(provoked[code])()
      assert.equal(row[1], response.status, response.body)
      local body = assert(engine.claims.parse(response.body))
      assert.equal(code:upper(), body.details[1].reason, response.body)
      assert.equal(row[2], body.code)
      assert.equal("fulcio", body.details[1].domain)
    end)
  end

  it("does not hide a request that is good", function()
    assert.equal(200, (ask()).status)
  end)
end)
