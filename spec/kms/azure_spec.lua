local azure = require("fulcio.kms.azure")
local engine = require("fulcio.engine")
local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")
local server_program = require("spec.server_program")

-- A vault with a key of two versions, for us and for Azure's own client.
local FAKE = [[
local json = require("fulcio.json")
local keys = { one = engine.pkey.generate("P-256"),
               two = engine.pkey.generate("P-256"),
               rsa = engine.pkey.generate("RSA-2048") }
local listener = assert(server.listen({}))
local base = ("http://127.0.0.1:%d"):format(listener.port)

local function jwk(version)
  local key = engine.jws.jwk(keys[version])
  key.kty = key.kty .. "-HSM"
  key.kid = base .. "/keys/ca/" .. version
  return { key = key, attributes = { enabled = true } }
end

-- r and s of a DER signature, 32 bytes each.
local function raw(der)
  local function number(at)
    local size = der:byte(at + 1)
    local text = der:sub(at + 2, at + 1 + size)
    return ("\0"):rep(32 - #text) .. text:sub(-32), at + 2 + size
  end
  local r, next_at = number(3)
  return r .. number(next_at)
end

local function sign(version, request)
  local asked = engine.claims.parse(request.body)
  local digest = engine.bytes.unbase64(asked.value)
  if digest ~= engine.bytes.sha256("text") then return nil end
  local signature = keys[version]:sign("text")
  return { kid = jwk(version).key.kid, value = engine.bytes.base64url(
    asked.alg == "ES256" and raw(signature) or signature) }
end

-- Azure's own client takes nothing but https, and is led back here.
local function scheme_of(request)
  local theirs = (request.headers["user-agent"] or ""):find("azsdk")
  return theirs and base:gsub("http", "https") or base
end

local function page(request)
  local path = request.path
  if path == "/keys/ca/versions" then
    local second = (request.query or ""):find("page=2")
    return { value = json.list({ { kid = base .. "/keys/ca/"
      .. (second and "two" or "one"), attributes = { enabled = true } } }),
      nextLink = not second and scheme_of(request) .. path
        .. "?api-version=7.4&page=2" or nil }
  end
  local version, what = path:match("^/keys/ca/(%w+)/?(%w*)$")
  if path == "/keys/ca" or path == "/keys/ca/" then version = "two" end
  if not keys[version] then return nil end
  if what == "sign" then return sign(version, request) end
  return jwk(version)
end

server.http(listener, function(request)
  if request.headers.authorization ~= "Bearer azure-token" then
    return { status = 401, body = '{"error":{"code":"Unauthorized"}}',
      headers = { ["www-authenticate"] = 'Bearer authorization='
        .. '"https://login.microsoftonline.com/t", resource='
        .. '"https://vault.azure.net"' } }
  end
  local value = page(request)
  return { status = value and 200 or 404, body = json.encode(value or {
    error = { code = "KeyNotFound", message = "not here" } }),
    headers = { ["content-type"] = "application/json" } }
end)
print("port " .. listener.port)
server.run()
]]

describe("kms.azure", function()
  local vault, url, host
  local sleep = engine.server.sleep

  setup(function()
    local port
    vault, port = server_program.start(FAKE)
    host = ("127.0.0.1:%d"):format(port)
    url = "http://" .. host
  end)
  teardown(function()
    server_program.stop()
    process.stop_all()
  end)

  before_each(function() engine.server.sleep = function() end end)
  after_each(function() engine.server.sleep = sleep end)

  local function open(rest)
    local signer = assert(azure.open("azurekms://" .. host .. (rest or "/ca"),
                                     {}))
    signer.token = { current = function() return "azure-token" end,
                     forget = function() end }
    return signer
  end

  local function deadline() return engine.system.monotonic() + 5 end

  local function public(version)
    local answer = assert(engine.http.request({
      url = url .. "/keys/ca/" .. version,
      headers = { Authorization = "Bearer azure-token" } }))
    local jwk = engine.claims.parse(answer.body).key
    jwk.kty = jwk.kty:gsub("%-HSM", "")
    return assert(engine.jws.key(jwk))
  end

  it("finds the version whose key is in the chain, and signs", function()
    for _, version in ipairs({ "one", "two" }) do
      local key, signer = public(version), open()
      assert.is_true(signer:bind(key, deadline()))
      assert.equal(version, signer.version)
      for _ = 1, 8 do
        local signature = assert(signer:sign(engine.bytes.sha256("text"),
                                             "SHA-256", deadline()))
        assert(key:verify("text", signature, "SHA-256", "der"))
      end
    end
    local key, signer = public("rsa"), open("/ca/rsa")
    assert.is_true(signer:bind(key, deadline()))
    assert(key:verify("text", assert(signer:sign(
      engine.bytes.sha256("text"), "SHA-256", deadline()))))
    local ok, message, code = open():bind(key, deadline())
    assert.is_nil(ok)
    assert.equal("no_key", code)
    assert.matches("none of the 2 enabled versions", message, 1, true)
  end)

  it("says what the vault said", function()
    local signer = open("/other")
    local ok, message, code = signer:bind(public("one"), deadline())
    assert.is_nil(ok)
    assert.equal("sign_failed", code)
    assert.matches("status 404, KeyNotFound: not here", message, 1, true)
    signer.version = "x"
    assert.is_nil((signer:sign("d", "SHA-256", deadline())))
    vault:signal("STOP")
    vault:signal("CONT")
  end)

  it("renews a token that is refused, once", function()
    local signer, forgot = open(), 0
    local tokens = { "old", "azure-token" }
    signer.token = {
      current = function() return tokens[math.min(forgot + 1, 2)] end,
      forget = function() forgot = forgot + 1 end,
    }
    assert.is_true(signer:bind(public("one"), deadline()))
    assert.equal(1, forgot)
    tokens = { "old", "old" }
    assert.matches("status 401", select(2, signer:bind(public("one"),
                                                       deadline())))
    signer.token = { current = function() return nil, "no token" end }
    local ok, message, code = signer:bind(public("one"), deadline())
    assert.is_nil(ok)
    assert.equal("hsm_gone", code)
    assert.matches("no token", message)
  end)

  it("passes on when to come back", function()
    finally(function() engine.http.set_backend(nil) end)
    local signer = open()
    signer.version = "one"
    engine.http.set_backend(function()
      return { status = 429, headers = { ["retry-after"] = "8" }, body = "" }
    end)
    local signature, message, code, seconds = signer:sign("d", "SHA-256",
                                                          deadline())
    assert.same({ nil, "hsm_busy", 8 }, { signature, code, seconds })
    assert.matches("status 429", message)
    engine.http.set_backend(function()
      return { status = 200, headers = {}, body = "{}" }
    end)
    assert.matches("no signature of version one", select(2,
      signer:sign("d", "SHA-256", deadline())), 1, true)
    engine.http.set_backend(function() return nil, "no route", "network" end)
    assert.equal("hsm_gone", select(3, signer:sign("d", "SHA-256",
                                                   deadline())))
  end)

  it("knows what a resource and its environment must be", function()
    for _, resource in ipairs({ "azurekms://x", "azurekms://x/a/b/c",
                                "azurekms://x y/a" }) do
      local signer, message = azure.open(resource, {})
      assert.is_nil(signer)
      assert.matches("is not azurekms://", message, 1, true)
    end
    local signer, message = azure.open("azurekms://v.vault.azure.net/a",
                                       { AZURE_CLIENT_SECRET = "x" })
    assert.is_nil(signer)
    assert.matches("AZURE_TENANT_ID", message)
    assert.equal("https://managedhsm.azure.net", assert(azure.open(
      "azurekms://v.managedhsm.azure.net/a", {})).token.audience)
    assert.equal("https://vault.azure.net", assert(azure.open(
      "azurekms://v.vault.azure.net/a", {})).token.audience)
  end)

  it("speaks to a fake that Azure's own client understands", function()
    local installed, missing = runtimes.install("kms")
    if not installed then return pending(missing) end
    local pipe = io.popen(runtimes.built .. "/kms/bin/python"
      .. " spec/clients/kms/judge.py azure " .. url .. " 2>&1")
    local text = pipe:read("a")
    pipe:close()
    assert.equal("ok azure\n", text)
  end)
end)
