local credentials = require("fulcio.google.credentials")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local on_loop = require("spec.on_loop")
local scenes = require("spec.google.scene")

local server = engine.server

describe("google.credentials", function()
  local scene, clock, now

  before_each(function()
    log.open({ mode = "prod", write = function() end })
    scene = scenes.new()
    clock, now = engine.system.monotonic, 1000
    engine.system.monotonic = function() return now end
  end)

  after_each(function()
    engine.system.monotonic = clock
    scene:close()
    log.open({ mode = "prod" })
  end)

  local function open(hosts)
    return credentials.open({ environment = scene.environment,
                              hosts = hosts })
  end

  local function user(changes)
    local data = { type = "authorized_user", client_id = "client",
                   client_secret = "client secret",
                   refresh_token = "refresh" }
    for name, value in pairs(changes or {}) do data[name] = value end
    return data
  end

  it("looks where Google's clients look, in their order", function()
    local environment = scene.environment
    environment.GCE_METADATA_HOST = "metadata.example:8080"
    environment.GOOGLE_APPLICATION_CREDENTIALS = nil
    assert.equal("http://metadata.example:8080", open().source.url)
    environment.GCE_METADATA_HOST = nil
    assert.equal("http://169.254.169.254", open().source.url)
    local function well_known(directory, id)
      assert(engine.system.mkdir(directory))
      assert(engine.system.write(
        directory .. "/application_default_credentials.json",
        require("fulcio.json").encode(user({ client_id = id }))))
    end
    well_known(scene.directory .. "/.config/gcloud", "home")
    assert.equal("home", open().source.client_id)
    well_known(scene.directory .. "/sdk", "sdk")
    environment.CLOUDSDK_CONFIG = scene.directory .. "/sdk"
    assert.equal("sdk", open().source.client_id)
    scene:credentials(user({ client_id = "named" }))
    assert.equal("named", open().source.client_id)
  end)

  it("asks no metadata server where there is none", function()
    scene.environment.GOOGLE_APPLICATION_CREDENTIALS = ""
    scene.environment.NO_GCE_CHECK = "true"
    local found, message = open()
    assert.is_nil(found)
    assert.matches("NO_GCE_CHECK", message)
  end)

  it("names the file, the field and the remedy", function()
    local cases = {
      ["not a JSON object"] = "3",
      ['type: "gdch_service_account" is not supported'] = {
        type = "gdch_service_account" },
      ['type: "external_account_authorized_user" is not supported'] = {
        type = "external_account_authorized_user" },
      ['universe_domain: "example.com"'] = user({
        universe_domain = "example.com" }),
      ["client_secret: missing"] = user({ client_secret = 3 }),
      ["source_credentials: missing"] = {
        type = "impersonated_service_account" },
      ["source_credentials: refresh_token: missing"] = {
        type = "impersonated_service_account",
        source_credentials = user({ refresh_token = true }) },
    }
    for words, data in pairs(cases) do
      local path = scene:credentials(data)
      local found, message = open()
      assert.is_nil(found)
      assert.matches(path, message, 1, true)
      assert.matches(words, message, 1, true)
    end
    scene:credentials(scene:service_account(), "644")
    assert.matches("chmod 600", select(2, open()))
  end)

  it("fetches once, keeps the token, and renews it before its end", function()
    scene:credentials(user())
    local held = assert(open())
    local first = assert(held:token(now + 5))
    now = now + 3599 - 226
    assert.equal(first, held:token(now + 5))
    assert.equal(1, scene.fake:count("/token$"))
    now = now + 2
    assert.not_equal(first, held:token(now + 5))
    assert.equal(2, scene.fake:count("/token$"))
  end)

  it("goes on with an old token while a new one cannot be had", function()
    scene:credentials(user())
    local held = assert(open())
    local first = assert(held:token(now + 5))
    now = now + 3599 - 100
    scene.fake.tokens.faults = { "400" }
    assert.equal(first, held:token(now + 5))
    assert.equal(first, held:token(now + 5))
    assert.equal(2, scene.fake:count("/token$"))
    now = now + 2
    assert.not_equal(first, held:token(now + 5))
    now = now + 4000
    scene.fake.tokens.faults = { "400" }
    local token, message, code = held:token(now + 5)
    assert.is_nil(token)
    assert.equal("refused", code)
    assert.matches("invalid_grant: Token has been revoked.", message, 1, true)
    assert.is_nil(held:token(now + 5))
    assert.equal(4, scene.fake:count("/token$"))
  end)

  it("forgets what Google did not take, and that alone", function()
    scene:credentials(user())
    local held = assert(open())
    local first = assert(held:token(now + 5))
    held:drop("another")
    assert.equal(first, held:token(now + 5))
    held:drop(first)
    assert.not_equal(first, held:token(now + 5))
  end)

  it("survives a source that throws", function()
    scene:credentials(user())
    local held = assert(open())
    held.source = { fetch = function() error("broken") end }
    local token, message, code = held:token(now + 5)
    assert.is_nil(token)
    assert.matches("broken", message)
    assert.equal("unavailable", code)
  end)

  it("says which project pays", function()
    scene:credentials(user({ quota_project_id = "mine" }))
    assert.equal("mine", assert(open()).quota_project)
    scene:credentials(user())
    assert.is_nil(assert(open()).quota_project)
  end)

  describe("on a loop", function()
    local function slow(held, seconds)
      local fetch, count = held.source.fetch, 0
      held.source = { fetch = function(_, how)
        count = count + 1
        server.sleep(seconds)
        return fetch(held.real, how)
      end }
      return function() return count end
    end

    before_each(function() engine.system.monotonic = clock end)

    it("fetches once for all who wait", function()
      scene:credentials(user())
      local held = assert(open())
      held.real = held.source
      held:on_loop(server)
      local fetched = slow(held, 0.05)
      local tokens, left = {}, 20
      on_loop(function()
        local done = server.signal()
        for i = 1, 20 do
          server.spawn(function()
            tokens[i] = held:token(clock() + 5)
            left = left - 1
            done:wake()
          end)
        end
        while left > 0 do done:wait(5) end
      end)
      assert.equal(1, fetched())
      for i = 2, 20 do assert.equal(tokens[1], tokens[i]) end
    end)

    it("lets nobody wait beyond his deadline", function()
      scene:credentials(user())
      local held = assert(open())
      held.real = held.source
      held:on_loop(server)
      slow(held, 0.2)
      on_loop(function()
        local token, message, code = held:token(clock() + 0.05)
        assert.is_nil(token)
        assert.equal("no access token in time", message)
        assert.equal("unavailable", code)
        assert.is_string(held:token(clock() + 5))
      end)
    end)
  end)
end)
