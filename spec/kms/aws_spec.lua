local aws = require("fulcio.kms.aws")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local kms = require("fulcio.ca.kms")
local log = require("fulcio.log")
local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")
local authority = require("spec.ca.authority")
local signing = require("fulcio.signing")
local worlds = require("spec.world")

local KEY = "arn:aws:kms:eu-west-1:111122223333:key/x"

local function deadline() return engine.system.monotonic() + 5 end

describe("kms.aws", function()
  local directory, remove = authority.directory()
  local variables = { AWS_ACCESS_KEY_ID = "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY = "secret/key+x", AWS_REGION = "eu-west-1" }
  local said, asked, answers, key

  setup(function() key = assert(engine.pkey.generate("P-256")) end)
  teardown(remove)

  before_each(function()
    said, asked = {}, {}
    log.open({ mode = "prod", write = function(line)
      said[#said + 1] = line
    end })
  end)
  after_each(function()
    engine.http.set_backend(nil)
    log.open({ mode = "prod" })
  end)

  -- A service in this process; `answers` may hold a failure for each action.
  local function pretend(changes)
    answers = changes or {}
    engine.http.set_backend(function(request)
      asked[#asked + 1] = request
      local action = request.headers["X-Amz-Target"]:match("%.(.*)$")
      local wrong = table.remove(answers[action] or {}, 1)
      if wrong then
        if wrong == "gone" then return nil, "no route", "network" end
        return { status = wrong[1], headers = {}, body = json.encode({
          __type = "com.amazonaws.kms#" .. wrong[2], message = "words" }) }
      end
      local value = { KeyId = KEY, PublicKey = engine.bytes.base64(
        key:spki()) }
      if action == "Sign" then
        local about = engine.claims.parse(request.body)
        local text = engine.bytes.unbase64(about.Message)
        local known = engine.bytes.digest("fulcio starts", "SHA-256")
        value = { KeyId = KEY, Signature = engine.bytes.base64(assert(
          key:sign(text == known and "fulcio starts" or text))) }
      end
      return { status = 200, headers = {}, body = json.encode(value) }
    end)
  end

  local function open(resource)
    return assert(aws.open(resource or "awskms:///alias/ca", variables))
  end

  it("stays with the key that an alias led to", function()
    pretend()
    local signer = open()
    assert.is_true(signer:bind(key, deadline()))
    assert.equal("https://kms.eu-west-1.amazonaws.com/", asked[1].url)
    assert(signer:sign("digest", "SHA-256", deadline(), "message"))
    local about = engine.claims.parse(asked[#asked].body)
    assert.equal(KEY, about.KeyId)
    assert.equal("DIGEST", about.MessageType)
    assert.equal("ECDSA_SHA_256", about.SigningAlgorithm)
  end)

  it("refuses another key", function()
    pretend()
    local other = assert(engine.pkey.generate("P-256"))
    local ok, message, code = open():bind(other, deadline())
    assert.is_nil(ok)
    assert.equal("no_key", code)
    assert.matches("is not that of the chain's first", message, 1, true)
  end)

  it("tries again what passes, and names what does not", function()
    pretend()
    local signer = open()
    assert.is_true(signer:bind(key, deadline()))
    local function sign() return signer:sign("d", "SHA-256", deadline()) end
    answers.Sign = { { 400, "ThrottlingException" },
                     { 500, "KMSInternalException" } }
    assert(sign())
    answers.Sign = { "gone", "gone" }
    assert(sign())
    local cases = {
      hsm_busy = { 400, "ThrottlingException" },
      hsm_gone = { 500, "DependencyTimeoutException" },
      sign_failed = { 400, "AccessDeniedException" },
    }
    for code, wrong in pairs(cases) do
      answers.Sign = { wrong, wrong, wrong }
      local signature, message, why = sign()
      assert.is_nil(signature)
      assert.equal(code, why)
      assert.matches(wrong[2], message, 1, true)
    end
    for _, name in ipairs({ "DisabledException", "KMSInvalidStateException",
                            "NotFoundException" }) do
      local before = #asked
      answers.Sign = { { 400, name } }
      assert.equal("sign_failed", select(3, sign()))
      assert.equal(before + 1, #asked)
    end
    answers.Sign = { { 400, "ExpiredTokenException" },
                     { 400, "ExpiredTokenException" } }
    assert.equal("hsm_gone", select(3, sign()))
  end)

  it("knows what a resource and its environment must be", function()
    local function refuses(words, resource, changes)
      local all = {}
      for name, value in pairs(variables) do all[name] = value end
      for name, value in pairs(changes or {}) do
        all[name] = value or nil
      end
      local signer, message = aws.open(resource, all)
      assert.is_nil(signer)
      assert.matches(words, message, 1, true)
    end
    refuses("is not awskms://[HOST]/KEY", "awskms://x")
    refuses("is not awskms://[HOST]/KEY", "awskms:///a b")
    refuses("AWS_REGION is not set", "awskms:///x", { AWS_REGION = false })
    refuses("AWS_SECRET_ACCESS_KEY is not set", "awskms:///x",
            { AWS_SECRET_ACCESS_KEY = false })
    assert.equal("https://x.example", open("awskms://x.example/alias/a").url)
    assert.equal("http://127.0.0.1:1", open("awskms://127.0.0.1:1/a").url)
    assert.equal("eu-west-1", open("awskms:///" .. KEY).region)
  end)

  describe("with real judges", function()
    local installed, missing, moto, url

    setup(function()
      installed, missing = runtimes.install("kms")
      if not installed then return end
      local listener = assert(engine.server.listen({}))
      local port = ("%d"):format(listener.port)
      listener:close()
      moto = process.start({ runtimes.built .. "/kms/bin/moto_server",
                             "-H", "127.0.0.1", "-p", port })
      moto:wait_for("(Running on)")
      url = "127.0.0.1:" .. port
    end)

    teardown(function() if moto then moto:stop() end end)

    before_each(function() if not installed then pending(missing) end end)

    local function judge(session)
      local seen
      local listener = assert(engine.server.listen({}))
      engine.server.http(listener, function(request)
        seen = request
        return { status = 200, body = "{}" }
      end)
      local at = ("http://127.0.0.1:%d/"):format(listener.port)
      engine.server.spawn(function()
        engine.http.request({
          url = at, body = '{"KeyId":"x"}', headers = {
            ["Content-Type"] = "application/x-amz-json-1.1",
            ["X-Amz-Target"] = "TrentService.Sign",
            ["X-Amz-Security-Token"] = session },
          aws_sigv4 = { region = "eu-west-1", service = "kms",
            key = "AKIDEXAMPLE", secret = "secret/key+x" } })
        engine.server.stop()
      end)
      engine.server.run()
      local path = directory .. "/request.json"
      assert(engine.system.write(path, json.encode({
        method = seen.method, url = at, headers = seen.headers,
        body = seen.body, key = "AKIDEXAMPLE", secret = "secret/key+x",
        service = "kms", region = "eu-west-1" })))
      local pipe = io.popen(runtimes.built .. "/kms/bin/python"
        .. " spec/clients/kms/judge.py sigv4 " .. path .. " 2>&1")
      local text = pipe:read("a")
      pipe:close()
      return text
    end

    it("signs requests as botocore does", function()
      assert.equal("ok sigv4\n", judge())
      assert.equal("ok sigv4\n", judge("session-token"))
    end)

    local function create(spec)
      local answer = assert(engine.http.request({
        url = "http://" .. url .. "/", body = json.encode({
          KeySpec = spec, KeyUsage = "SIGN_VERIFY" }),
        headers = { ["Content-Type"] = "application/x-amz-json-1.1",
                    ["X-Amz-Target"] = "TrentService.CreateKey" },
        aws_sigv4 = { region = "eu-west-1", service = "kms", key = "x",
                      secret = "y" } }))
      return engine.claims.parse(answer.body).KeyMetadata.KeyId
    end

    local function public_of(id)
      local answer = assert(engine.http.request({
        url = "http://" .. url .. "/", body = json.encode({ KeyId = id }),
        headers = { ["Content-Type"] = "application/x-amz-json-1.1",
                    ["X-Amz-Target"] = "TrentService.GetPublicKey" },
        aws_sigv4 = { region = "eu-west-1", service = "kms", key = "x",
                      secret = "y" } }))
      return assert(engine.pkey.parse(engine.bytes.unbase64(
        engine.claims.parse(answer.body).PublicKey)))
    end

    it("issues with keys of moto, which wants whole messages", function()
      for _, spec in ipairs({ "ECC_NIST_P256", "ECC_NIST_P384",
                              "RSA_2048" }) do
        local id = create(spec)
        local public = public_of(id)
        local root = authority.certificate("root")
        local made = authority.certificate("signing", root, { key = public,
          extended_key_usage = { "code_signing" }, path_length = 0 })
        local path = directory .. "/" .. spec .. ".pem"
        assert(engine.system.write(path, made.certificate.pem
                                   .. root.certificate.pem))
        local world = worlds.new()
        world.context.ca = assert(kms.open({ environment = variables,
          kms_resource = "awskms://" .. url .. "/" .. id,
          kms_cert_chain_path = path, verify_signatures = "all" }))
        assert.is_true(world.context.ca.signer.raw)
        local issued = signing.issue(world.context, (world:asked()))
        assert.is_true(issued.embedded)
        local ok, message, code = world.context.ca.signer:sign("", "SHA-256",
          deadline(), ("x"):rep(4097))
        assert.is_nil(ok)
        assert.matches("longer than 4096 bytes", message)
        assert.equal("sign_failed", code)
      end
      assert.matches("hashes digests again", said[1])
    end)
  end)
end)
