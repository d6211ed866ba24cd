local crc32c = require("fulcio.kms.crc32c")
local engine = require("fulcio.engine")
local gcp = require("fulcio.kms.gcp")
local json = require("fulcio.json")
local log = require("fulcio.log")
local runtimes = require("spec.clients.runtimes")
local scenes = require("spec.google.scene")

local KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"

local function number(text) return ("%d"):format(crc32c.of(text)) end

describe("kms.gcp", function()
  local scene, keys, asked, spoil, sleep

  -- A key ring of three versions; the second is disabled.
  local function serve(request)
    local path, query = request.url:match("^https://[^/]+([^?]*)%??(.*)$")
    asked[#asked + 1] = { method = request.method, path = path,
                          query = query, body = request.body, headers = {} }
    if not scene.fake.tokens:allows({ headers = {
      authorization = request.headers.Authorization } }) then
      return { status = 401, headers = {}, body = "" }
    end
    local wrong = table.remove(spoil.answers or {}, 1)
    if wrong then return wrong end
    local version = path:match("cryptoKeyVersions/(%d+)")
    if path:find("/cryptoKeyVersions$") then
      local page = query:find("pageToken") and 1 or 3
      return { cryptoKeyVersions = { {
        name = KEY .. "/cryptoKeyVersions/" .. page, state = "ENABLED" } },
        nextPageToken = page == 3 and "a/b" or nil }
    elseif path:find("/publicKey$") then
      local pem = keys[version]:pem()
      return { pem = pem, pemCrc32c = spoil.pem or number(pem) }
    end
    local about = engine.claims.parse(request.body)
    local digest = engine.bytes.unbase64(about.digest.sha256)
    assert.equal(number(digest), about.digestCrc32c)
    local signature = assert(keys[version]:sign("text"))
    return {
      name = spoil.name or KEY .. "/cryptoKeyVersions/" .. version,
      signature = engine.bytes.base64(signature),
      signatureCrc32c = spoil.signature or number(signature),
      verifiedDigestCrc32c = spoil.digest == nil,
    }
  end

  setup(function()
    keys = {}
    for i = 1, 3 do
      keys[tostring(i)] = assert(engine.pkey.generate("P-256"))
    end
  end)

  before_each(function()
    log.open({ mode = "prod", write = function() end })
    scene, asked, spoil = scenes.new(), {}, {}
    local tokens = scene.fake:transport()
    engine.http.set_backend(function(request)
      if not request.url:find("cloudkms", 1, true) then
        return tokens(request)
      end
      local answer = serve(request)
      if answer.status then return answer end
      return { status = 200, headers = {}, body = json.encode(answer) }
    end)
    sleep = engine.server.sleep
    engine.server.sleep = function() end
  end)
  after_each(function()
    engine.server.sleep = sleep
    scene:close()
    log.open({ mode = "prod" })
  end)

  local function open(rest, changes)
    local environment = { HOME = "/nowhere", GOOGLE_APPLICATION_CREDENTIALS =
      scene.environment.GOOGLE_APPLICATION_CREDENTIALS }
    for name, value in pairs(changes or {}) do environment[name] = value end
    return gcp.open("gcpkms://" .. KEY .. (rest or ""), environment, {})
  end

  local function deadline() return engine.system.monotonic() + 3 end

  local function sign(signer)
    return signer:sign(engine.bytes.sha256("text"), "SHA-256", deadline())
  end

  it("finds the version whose key is in the chain, and signs", function()
    for _, version in ipairs({ "1", "3" }) do
      local signer = assert(open())
      assert.is_true(signer:bind(keys[version], deadline()))
      assert.equal(KEY .. "/cryptoKeyVersions/" .. version, signer.version)
      assert(keys[version]:verify("text", assert(sign(signer))))
    end
    local ok, message, code = assert(open()):bind(keys["2"], deadline())
    assert.is_nil(ok)
    assert.equal("no_key", code)
    assert.matches("none of the 2 enabled versions", message, 1, true)
  end)

  it("takes the version that the resource names, and no other", function()
    for _, form in ipairs({ "/cryptoKeyVersions/2", "/versions/2" }) do
      assert.is_true(assert(open(form)):bind(keys["2"], deadline()))
      assert.is_nil((assert(open(form)):bind(keys["1"], deadline())))
    end
  end)

  it("takes nothing that was damaged on its way", function()
    local signer = assert(open())
    assert(signer:bind(keys["3"], deadline()))
    for name, words in pairs({
      name = "signed by 1", signature = "signature was damaged",
      digest = "digest was damaged" }) do
      spoil = { [name] = "1" }
      local signature, message, code = sign(signer)
      assert.is_nil(signature)
      assert.equal("hsm_gone", code)
      assert.matches(words, message, 1, true)
    end
    spoil = { pem = "1" }
    local ok, message = assert(open()):bind(keys["3"], deadline())
    assert.is_nil(ok)
    assert.matches("damaged", message)
  end)

  it("names the permission, and tells trouble that passes", function()
    local signer = assert(open())
    assert(signer:bind(keys["3"], deadline()))
    local function answer(status, headers)
      return { status = status, headers = headers or {}, body = "" }
    end
    spoil = { answers = { answer(403) } }
    local signature, message, code = sign(signer)
    assert.is_nil(signature)
    assert.equal("sign_failed", code)
    assert.matches("cloudkms.cryptoKeyVersions.useToSign", message, 1, true)
    spoil = { answers = { answer(503), answer(401) } }
    assert(sign(signer))
    local busy = answer(429, { ["retry-after"] = "9" })
    spoil = { answers = { busy } }
    local seconds
    signature, message, code, seconds = sign(signer)
    assert.same({ nil, "hsm_busy", 9 }, { signature, code, seconds })
    assert.matches("status 429", message)
    spoil = { answers = { { status = 200, headers = {}, body = "{}" } } }
    assert.matches("no signature in the answer", select(2, sign(signer)))
  end)

  it("knows what a resource must be", function()
    for _, rest in ipairs({ "/x", "/cryptoKeyVersions/a", "?a" }) do
      local signer, message = open(rest)
      assert.is_nil(signer)
      assert.matches("is not gcpkms://", message, 1, true)
    end
    local signer, message = open("", {
      GOOGLE_APPLICATION_CREDENTIALS = "/nowhere.json" })
    assert.is_nil(signer)
    assert.matches("/nowhere.json", message, 1, true)
    signer, message = open("", {
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS = "http://x.example" })
    assert.is_nil(signer)
    assert.matches("not https", message)
    assert.equal("http://127.0.0.1:1", assert(open("", {
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS = "http://127.0.0.1:1/" }))
      .client.endpoint)
  end)

  it("asks as Google's schema has it", function()
    local installed, missing = runtimes.install("google")
    if not installed then return pending(missing) end
    local signer = assert(open())
    assert(signer:bind(keys["1"], deadline()))
    assert(sign(signer))
    local path = scene.directory .. "/requests.json"
    assert(engine.system.write(path, json.encode(json.list(asked))))
    local pipe = io.popen(runtimes.built .. "/google/bin/python"
      .. " spec/clients/google/judge.py schema " .. path
      .. " cloudkms 2>&1")
    local text = pipe:read("a")
    pipe:close()
    assert.is_nil(text:find("not ok", 1, true), text)
    assert.equal(#asked, select(2, text:gsub("ok ", "")), text)
  end)
end)
