local cjson = require("cjson")
local engine = require("fulcio.engine")
local issuers = require("fulcio.issuers")
local log = require("fulcio.log")
local new_issuer = require("spec.issuer")
local process = require("spec.process")

local URL = "https://issuer.example.com"
local JWKS, DISCOVERY = "/jwks", "/openid-configuration"

local old = engine.pkey.generate("P-256")
local new = engine.pkey.generate("P-256")

local exact = { exact = true, wildcard = false }
local wildcard = { exact = false, wildcard = true }

-- Enough of engine.server to run coroutines until they all wait.
local function scheduler()
  local ready = {}
  local server = {}
  function server.spawn(run) ready[#ready + 1] = coroutine.create(run) end
  function server.signal()
    local waiting = {}
    return {
      wait = function()
        waiting[#waiting + 1] = coroutine.running()
        return coroutine.yield()
      end,
      wake = function()
        for _, thread in ipairs(waiting) do ready[#ready + 1] = thread end
        waiting = {}
      end,
    }
  end
  function server.turn()
    while #ready > 0 do
      local thread = table.remove(ready, 1)
      local ok, message = coroutine.resume(thread, true)
      if not ok then error(message, 0) end
    end
  end
  return server
end

describe("issuers", function()
  local issuer, cache, time, lines

  local function keys(kid, match, again, url)
    return cache:keys(url or issuer.url, match or exact, kid, "ES256", again)
  end

  local function refused(reason, ...)
    local found, refusal = keys(...)
    assert.is_nil(found)
    assert.equal(reason, refusal.reason)
    return refusal
  end

  local function open(options)
    options.clock = function() return time end
    options.request = options.request or function(request)
      return issuer:request(request)
    end
    return issuers.new(options)
  end

  before_each(function()
    time, lines = 1000, {}
    log.open({ mode = "prod", write = function(text)
      lines[#lines + 1] = text
    end })
    issuer = new_issuer(URL)
    issuer:add("old", "ES256", old)
    cache = open({})
  end)

  after_each(function() log.open({ mode = "prod" }) end)

  it("asks once and remembers", function()
    for _ = 1, 100 do
      local found = assert(keys("old"))
      assert.equal(old:spki(), found[1]:spki())
    end
    assert.equal(1, issuer:count(DISCOVERY))
    assert.equal(1, issuer:count(JWKS))
  end)

  it("does not wait for itself where nothing can be waited for", function()
    local inner
    cache = open({ request = function(request)
      if not inner then inner = { keys("old") } end
      return issuer:request(request)
    end })
    assert(keys("old"))
    assert.is_nil(inner[1])
    assert.equal("ISSUER_UNAVAILABLE", inner[2].reason)
  end)

  it("gives both fetches five seconds together", function()
    cache = open({ request = function(request)
      time = time + 2
      return issuer:request(request)
    end })
    keys("old")
    assert.equal(5, issuer.asked[1].timeout)
    assert.equal(3, issuer.asked[2].timeout)
  end)

  it("asks a handful of times for a thousand unknown keys", function()
    for i = 1, 1000 do
      time = time + 0.002
      refused("UNKNOWN_KEY", "junk" .. i)
    end
    assert.is_true(issuer:count(JWKS) <= 3)
    assert.equal(1, issuer:count(DISCOVERY))
    time = time + 10
    refused("UNKNOWN_KEY", "junk")
    refused("UNKNOWN_KEY", "junk")
    assert.is_true(issuer:count(JWKS) <= 4)
  end)

  it("finds a rotated key at once and forgets the old one", function()
    keys("old")
    issuer:add("new", "ES256", new)
    issuer:remove("old")
    assert.equal(new:spki(), keys("new")[1]:spki())
    refused("UNKNOWN_KEY", "old")
  end)

  it("follows an issuer that rotates again and again", function()
    keys("old")
    for i = 1, 50 do
      issuer:add("key" .. i, "ES256", new)
      issuer:remove("key" .. (i - 1))
      assert.is_truthy(keys("key" .. i), i)
    end
    assert.equal(51, issuer:count(JWKS))
  end)

  it("finds a rotated key within ten seconds under a flood", function()
    for i = 1, 100 do keys("junk" .. i) end
    issuer:add("new", "ES256", new)
    assert.is_true(refused("UNKNOWN_KEY", "new").log.limited)
    time = time + 10
    assert.is_truthy(keys("new"))
  end)

  it("asks again for keys that did not verify, when it may", function()
    keys(nil)
    issuer.keys = {}
    issuer:add(nil, "ES256", new)
    assert.equal(new:spki(), keys(nil, exact, true)[1]:spki())
    assert.is_truthy(keys(nil, exact, true))
    local found, refusal = keys(nil, exact, true)
    assert.is_nil(found)
    assert.is_nil(refusal)
    assert.equal(3, issuer:count(JWKS))
  end)

  it("refuses an algorithm that the issuer does not advertise", function()
    local found, refusal = cache:keys(URL, exact, "old", "ES384")
    assert.is_nil(found)
    assert.equal("TOKEN_ALGORITHM", refusal.reason)
  end)

  it("refreshes keys that are five minutes old", function()
    keys("old")
    issuer:remove("old")
    issuer:add("new", "ES256", new)
    time = time + 299
    assert.is_truthy(keys("old"))
    time = time + 2
    refused("UNKNOWN_KEY", "old")
    assert.equal(2, issuer:count(DISCOVERY))
  end)

  it("reads the document anew though junk keeps the keys fresh", function()
    keys("old")
    for _ = 1, 40 do
      time = time + 10
      refused("UNKNOWN_KEY", "junk")
    end
    assert.equal(41, issuer:count(JWKS))
    assert.equal(2, issuer:count(DISCOVERY))
  end)

  it("keeps keys for a day when a refresh fails", function()
    keys("old")
    issuer.down = true
    time = time + 301
    assert.is_truthy(keys("old"))
    assert.truthy(lines[1]:find("issuer not reachable", 1, true))
    local asked = #issuer.asked
    time = time + 29
    assert.is_truthy(keys("old"))
    assert.equal(asked, #issuer.asked)
    time = time + 2
    assert.is_truthy(keys("old"))
    assert.equal(asked + 1, #issuer.asked)
    time = time + 86400
    refused("ISSUER_UNAVAILABLE", "old")
    refused("ISSUER_UNAVAILABLE", "old")
    issuer.down = false
    time = time + 31
    assert.is_truthy(keys("old"))
  end)

  it("remembers for 30 seconds that an issuer cannot be read", function()
    issuer.down = true
    local refusal = refused("ISSUER_UNAVAILABLE", "old")
    assert.truthy(refusal.log.error:find("connection refused", 1, true))
    assert.equal(400, refusal.http)
    for _ = 1, 10 do
      assert.is_true(refused("ISSUER_UNAVAILABLE", "old").log.remembered)
    end
    assert.equal(1, #issuer.asked)
    issuer.down = false
    time = time + 31
    assert.is_truthy(keys("old"))
  end)

  it("survives a transport that throws", function()
    cache = open({ request = function() error("no transport") end })
    local refusal = refused("ISSUER_UNAVAILABLE", "old")
    assert.truthy(refusal.log.error:find("no transport", 1, true))
  end)

  it("asks issuers of a wildcard at public addresses only", function()
    keys("old", wildcard)
    assert.equal("public", issuer.asked[1].addresses)
    assert.equal("public", issuer.asked[2].addresses)
    keys("old", { wildcard = true, internal = true })
    assert.equal("any", issuer.asked[3].addresses)
    cache = open({})
    keys("old", exact)
    assert.equal("any", issuer.asked[5].addresses)
  end)

  it("takes up few new issuers of a wildcard at once", function()
    cache = open({ request = function() return nil, "no such host" end })
    local overloaded = 0
    for i = 1, 20 do
      local _, refusal = keys("old", wildcard, nil, URL .. "/" .. i)
      if refusal.reason == "OVERLOADED" then
        overloaded = overloaded + 1
        assert.equal(503, refusal.http)
        assert.equal(1, refusal.retry_after)
      end
    end
    assert.equal(15, overloaded)
    time = time + 1
    refused("ISSUER_UNAVAILABLE", "old", wildcard, nil, URL .. "/21")
    refused("OVERLOADED", "old", wildcard, nil, URL .. "/22")
  end)

  it("keeps a hundred of them, failures going first", function()
    keys("old", wildcard)
    local first = issuer
    cache.request = function(request)
      if request.url:sub(1, #URL) == URL then return first:request(request) end
      return nil, "no such host"
    end
    for i = 1, 300 do
      time = time + 1
      local _, refusal = keys("old", wildcard, nil, "https://" .. i)
      assert.equal("ISSUER_UNAVAILABLE", refusal.reason)
    end
    local count = 0
    for _ in pairs(cache.entries) do count = count + 1 end
    assert.equal(100, count)
    assert.is_truthy(cache.entries[URL])
  end)

  it("does not count the issuers that policies name", function()
    for i = 1, 150 do keys("old", exact, nil, "https://" .. i) end
    local count = 0
    for _ in pairs(cache.entries) do count = count + 1 end
    assert.equal(150, count)
  end)

  it("asks with the policy's own CA, and again when it changes", function()
    keys("old", { exact = true, ca_file = "/a.pem" })
    assert.equal("/a.pem", issuer.asked[1].ca_file)
    assert.equal("/a.pem", issuer.asked[2].ca_file)
    keys("old", { exact = true, ca_pem = "PEM" })
    assert.is_nil(issuer.asked[3].ca_file)
    assert.equal("PEM", issuer.asked[4].ca_pem)
    keys("old", { exact = true, ca_pem = "PEM" })
    assert.equal(4, #issuer.asked)
  end)

  it("asks http://127.0.0.1 in development alone", function()
    issuer = new_issuer("http://127.0.0.1:5556")
    issuer:add("old", "ES256", old)
    refused("ISSUER_UNAVAILABLE", "old")
    cache = open({ development = true })
    assert.is_truthy(keys("old"))
  end)
end)

describe("issuers in a cluster", function()
  local asked

  before_each(function()
    log.open({ mode = "prod", write = function() end })
  end)

  after_each(function() log.open({ mode = "prod" }) end)

  local function open(files)
    asked = {}
    return issuers.new({
      kubernetes = files,
      clock = function() return 1 end,
      request = function(request)
        asked[#asked + 1] = request
        return nil, "stop"
      end,
    })
  end

  local CLUSTER = "https://kubernetes.default.svc"

  it("shows the pod's token to the API server and trusts its CA", function()
    local file = os.tmpname()
    engine.system.write(file, "pod-token\n")
    local cache = open({ token_file = file, ca_file = "/cluster.crt" })
    cache:keys(CLUSTER, exact, nil, "RS256")
    assert.equal("Bearer pod-token", asked[1].headers.authorization)
    assert.equal("/cluster.crt", asked[1].ca_file)
    cache:keys(URL, exact, nil, "RS256")
    assert.is_nil(asked[2].headers.authorization)
    assert.is_nil(asked[2].ca_file)
    os.remove(file)
  end)

  it("does without a token when there is none", function()
    local cache = open({ token_file = "/nowhere/token" })
    cache:keys(CLUSTER, exact, nil, "RS256")
    assert.is_nil(asked[1].headers.authorization)
    assert.equal("/var/run/fulcio/ca.crt", asked[1].ca_file)
    cache = open({})
    cache:keys(CLUSTER, { exact = true, ca_file = "/own.pem" }, nil, "RS256")
    assert.equal("/own.pem", asked[1].ca_file)
  end)
end)

describe("issuers beside requests", function()
  local issuer, server, cache, time, waiting

  -- The transport answers when the spec lets it.
  local function open()
    time, waiting = 1000, {}
    server = scheduler()
    issuer = new_issuer(URL)
    issuer:add("old", "ES256", old)
    return issuers.new({
      server = server, clock = function() return time end,
      request = function(request)
        waiting[#waiting + 1] = coroutine.running()
        coroutine.yield()
        return issuer:request(request)
      end,
    })
  end

  local function answer_all()
    server.turn()
    while #waiting > 0 do
      assert(coroutine.resume(table.remove(waiting, 1)))
      server.turn()
    end
  end

  before_each(function() cache = open() end)

  it("fetches once for all who wait", function()
    local got = 0
    for _ = 1, 64 do
      server.spawn(function()
        local found = cache:keys(URL, exact, "old", "ES256")
        if found then got = got + 1 end
      end)
    end
    answer_all()
    assert.equal(64, got)
    assert.equal(1, issuer:count(JWKS))
    assert.equal(1, issuer:count(DISCOVERY))
    -- Only one of them has used up a fetch.
    issuer:add("new", "ES256", new)
    server.spawn(function() got = cache:keys(URL, exact, "new", "ES256") end)
    answer_all()
    assert.equal(new:spki(), got[1]:spki())
  end)

  it("refetches once for all who ask for unknown keys", function()
    server.spawn(function() cache:keys(URL, exact, "old", "ES256") end)
    answer_all()
    issuer:add("new", "ES256", new)
    local got = 0
    for _ = 1, 64 do
      server.spawn(function()
        if cache:keys(URL, exact, "new", "ES256") then got = got + 1 end
      end)
    end
    answer_all()
    assert.equal(64, got)
    assert.equal(2, issuer:count(JWKS))
  end)

  it("does not take an answer from before a rotation for the last", function()
    cache.request = function(request)
      local response = issuer:request(request)
      waiting[#waiting + 1] = coroutine.running()
      coroutine.yield()
      return response
    end
    server.spawn(function() cache:keys(URL, exact, "old", "ES256") end)
    answer_all()
    server.spawn(function() cache:keys(URL, exact, "junk", "ES256") end)
    server.turn()
    issuer:add("new", "ES256", new)
    local found
    server.spawn(function()
      found = cache:keys(URL, exact, "new", "ES256")
    end)
    answer_all()
    assert.is_truthy(found)
    assert.equal(3, issuer:count(JWKS))
  end)

  it("refreshes old keys without making anyone wait", function()
    server.spawn(function() cache:keys(URL, exact, "old", "ES256") end)
    answer_all()
    time = time + 301
    local found
    server.spawn(function()
      found = cache:keys(URL, exact, "old", "ES256")
    end)
    server.turn()
    assert.is_truthy(found)
    assert.equal(1, #waiting)
    answer_all()
    assert.equal(2, issuer:count(JWKS))
  end)

  it("gives up on a fetch that never ends", function()
    local refusal
    server.spawn(function()
      refusal = select(2, cache:keys(URL, exact, "old", "ES256"))
    end)
    server.turn()
    time = time + 7
    cache.entries[URL].flight.signal:wake()
    server.turn()
    assert.equal("ISSUER_UNAVAILABLE", refusal.reason)
    assert.equal("took too long", refusal.log.error)
  end)

  it("polls in a host that has no signals", function()
    local first = true
    local turns = 0
    cache = issuers.new({
      clock = function() return time end,
      request = function(request)
        if first then
          first = false
          coroutine.yield()
        end
        return issuer:request(request)
      end,
      sleep = function()
        turns = turns + 1
        coroutine.yield()
      end,
    })
    local one = coroutine.create(function()
      return cache:keys(URL, exact, "old", "ES256")
    end)
    local two = coroutine.create(function()
      return cache:keys(URL, exact, "old", "ES256")
    end)
    assert(coroutine.resume(one))
    assert(coroutine.resume(two))
    local _, first_keys = assert(coroutine.resume(one))
    local _, second_keys = assert(coroutine.resume(two))
    assert.is_truthy(first_keys)
    assert.equal(first_keys, second_keys)
    assert.equal(1, turns)
    assert.equal(1, issuer:count(JWKS))
  end)
end)

describe("issuers over TLS", function()
  local directory, url, ca_file

  local function shell(command)
    local pipe = io.popen(command)
    local text = pipe:read("a")
    pipe:close()
    return text
  end

  -- OpenSSL's own server shows the files of a directory.
  setup(function()
    log.open({ mode = "prod", write = function() end })
    directory = shell("mktemp -d"):match("%S+")
    ca_file = directory .. "/ca.pem"
    shell(("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
      .. "-keyout key.pem -out ca.pem -subj /CN=issuer "
      .. "-addext subjectAltName=IP:127.0.0.1 2>&1"):format(directory))
    local server = process.start({ "sh", "-c", "cd " .. directory
      .. " && exec openssl s_server -accept 127.0.0.1:0 -cert ca.pem"
      .. " -key key.pem -WWW" })
    url = "https://127.0.0.1:" .. server:wait_for("ACCEPT %S-:(%d+)")
    local issuer = new_issuer(url)
    issuer:add("old", "ES256", old)
    issuer.document.jwks_uri = url .. "/jwks"
    for path, value in pairs({ jwks = { keys = issuer.keys },
        [".well-known/openid-configuration"] = issuer.document }) do
      engine.system.mkdir(directory .. "/.well-known")
      engine.system.write(directory .. "/" .. path, cjson.encode(value))
    end
  end)

  teardown(function()
    process.stop_all()
    shell("rm -rf " .. directory)
    log.open({ mode = "prod" })
  end)

  local function ask(match)
    return issuers.new():keys(url, match, "old", "ES256")
  end

  it("are asked with a CA of their own", function()
    local found, refusal = ask({ exact = true, ca_file = ca_file })
    assert.equal(old:spki(), assert(found, refusal)[1]:spki())
    local file = io.open(ca_file)
    local pem = file:read("a")
    file:close()
    assert.is_truthy(ask({ exact = true, ca_pem = pem }))
  end)

  it("are not believed without it", function()
    local _, refusal = ask({ exact = true })
    assert.equal("ISSUER_UNAVAILABLE", refusal.reason)
    assert.truthy(refusal.log.error:lower():find("certificate"))
  end)

  it("are not asked at an inner address for a wildcard", function()
    local match = { wildcard = true, ca_file = ca_file }
    local _, refusal = ask(match)
    assert.equal("ISSUER_UNAVAILABLE", refusal.reason)
    match.internal = true
    assert.is_truthy(ask(match))
  end)
end)

-- Run by the program itself: 50 coroutines of one loop, one real issuer.
local LOOP = [[
local engine = require("fulcio.engine")
local issuers = require("fulcio.issuers")
local url, kid = ...
local asked, got = 0, 0
local cache = issuers.new({
  server = engine.server, development = true,
  request = function(request)
    asked = asked + 1
    return engine.http.request(request)
  end,
})
for _ = 1, 50 do
  engine.server.spawn(function()
    local keys = cache:keys(url, { exact = true }, nil, "ES256")
    if keys then got = got + 1 end
    cache:keys(url, { exact = true }, kid, "ES256")
    if got == 50 then engine.server.stop() end
  end)
end
engine.server.run()
print(("%d of 50 with %d fetches"):format(got, asked))
]]

describe("issuers on the loop", function()
  it("fetch once for all requests of a process", function()
    local file = os.tmpname()
    engine.system.write(file, LOOP)
    local fulcio = (os.getenv("BUILD") or "build") .. "/fulcio"
    local server = process.start({ fulcio, "run",
      "examples/issuer/issuer.lua", "--port", "0" })
    local url = server:wait_for("issuer (%S+)")
    local program = process.start({ fulcio, "run", file, url, "x" })
    local got, asked = program:wait_for("(%d+) of 50 with (%d+) fetches")
    process.stop_all()
    os.remove(file)
    assert.equal("50", got)
    assert.is_true(tonumber(asked) <= 4)
  end)
end)
