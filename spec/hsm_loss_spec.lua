-- An HSM that goes away under load, and comes back: the whole program.
local cjson = require("cjson")
local engine = require("fulcio.engine")
local hsm = require("spec.hsm.token")
local process = require("spec.process")
local program = require("spec.program")

local POLICY = [[return { issuer = "%s", audience = "sigstore",
  must = { email = present }, san = { email = "{email}" } }]]

describe("The CA of an HSM", function()
  local token, issuer, issuer_url, server, urls, load

  setup(function() issuer, issuer_url = program.issuer() end)
  teardown(function() issuer:stop() end)

  before_each(function()
    token = hsm.new()
    token.environment.SHIM_COUNT = token.directory .. "/count"
    local policies = token.directory .. "/policies"
    assert(engine.system.mkdir(policies))
    assert(engine.system.write(policies .. "/email.lua",
                               POLICY:format(issuer_url)))
  end)

  after_each(function()
    if load then load:stop() end
    if server then server:stop() end
    load, server = nil, nil
    token:remove()
  end)

  local function configure()
    local path = token.directory .. "/crypto11.conf"
    assert(engine.system.write(path,
      ('{"Path":"%s","TokenLabel":"spec","Pin":"%s","MaxSessions":%d}')
        :format(token.module, hsm.pin, token.sessions or 0)))
    return path
  end

  local function createca()
    local status, output = program.run({ "createca", "--hsm-caroot-id", "99",
      "--pkcs11-config-path", configure(), "--generate-key", "P-256",
      "--out", token.directory .. "/data/myrootCA.pem" }, token.environment)
    assert.equal(0, status, output)
  end

  local function serve(workers)
    server, urls = program.serve(token.directory .. "/data", { "--ca",
      "pkcs11ca", "--hsm-caroot-id", "99", "--pkcs11-config-path",
      configure(), "--policies", token.directory .. "/policies",
      "--workers", workers or "2" }, token.environment)
  end

  local function begin()
    assert(engine.system.mkdir(token.directory .. "/data"))
    createca()
  end

  local function start_load()
    load = process.start({ (os.getenv("BUILD") or "build") .. "/fulcio",
      "run", "spec/hsm/load.lua", urls.http, issuer_url,
      token.directory .. "/data", token.directory .. "/over" })
    load:wait_for("ready", 60)
  end

  -- What the load saw, once the trouble is over.
  local function result()
    assert(engine.system.write(token.directory .. "/over", ""))
    return cjson.decode((load:wait_for("({.*})", 60)))
  end

  local function tree_size()
    return program.parsed(program.get(urls.ctlog .. "/ct/v1/get-sth"))
      .tree_size
  end

  local function certificate()
    local key = engine.pkey.generate("P-256")
    local jwt = program.post(issuer_url .. "/token",
                             { sub = "a", email = "a@example.com" }).body
    return program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = jwt },
      publicKeyRequest = { publicKey = { content = key:pem() },
        proofOfPossession =
          engine.bytes.base64(assert(key:sign("a@example.com"))) } }).status
  end

  -- Nothing but certificates and 503, nobody died, all is in the log.
  local function assert_clean(seen, workers)
    for status in pairs(seen.counts) do
      assert.truthy(status == "200" or status == "503", status .. "\n"
                    .. (server:output():match("[^\n]*status=500[^\n]*")
                        or server:output():sub(-1000)))
    end
    assert.is_true((seen.counts["503"] or 0) > 0)
    assert.is_true(seen.resumed >= 0, "it did not resume")
    assert.same(workers, server:children())
    assert.is_true(tree_size() >= seen.counts["200"])
    if os.getenv("TIMES") then print(cjson.encode(seen)) end
  end

  it("goes on by itself when its remote HSM is back", function()
    begin()
    local remote = token:serve()
    serve()
    local workers = server:children()
    start_load()
    token.lose(remote)
    os.execute("sleep 3")
    token:serve()
    assert_clean(result(), workers)
  end)

  it("goes on when the token's files are back", function()
    begin()
    serve()
    local workers, tokens = server:children(), token.directory .. "/tokens"
    start_load()
    os.execute(("mv %s %s.away; sleep 1; mv %s.away %s")
      :format(tokens, tokens, tokens, tokens))
    assert_clean(result(), workers)
  end)

  it("tries a PIN that was changed once, whoever asks, and says so",
     function()
    begin()
    local shim = os.getenv("PWD") .. "/" .. hsm.shim
    local remote = token:serve(shim)
    serve()
    local function logins()
      return select(2, program.read(token.environment.SHIM_COUNT)
        :gsub("C_Login", ""))
    end
    token.lose(remote)
    token:shell(("pkcs11-tool --module %s --login --pin %s --change-pin"
      .. " --new-pin 99999999"):format(hsm.softhsm, hsm.pin))
    local before = logins()
    token:serve(shim)
    for _ = 1, 20 do certificate() end
    server:wait_for('code="bad_pin"')
    assert.equal(503, certificate())
    assert.equal(503, program.get(urls.http .. "/healthz").status)
    assert.equal(before + 1, logins())
    -- Nor do the workers that take the place of dead ones; the log is first.
    local workers = server:children()
    for i = 2, #workers do os.execute("kill -9 " .. workers[i]) end
    program.wait(function()
      local now = server:children()
      return #now == #workers and now[2] ~= workers[2]
        and now[3] ~= workers[3]
    end)
    for _ = 1, 20 do assert.equal(503, certificate()) end
    server:wait_for("the PIN was refused before")
    assert.equal(before + 1, logins())
  end)

  local function healthz()
    return program.get(urls.http .. "/healthz").status
  end

  local function ca_up()
    return program.get(urls.metrics .. "/metrics").body
      :match("\nfulcio_ca_up (%d)")
  end

  -- While nobody asks for a certificate.
  local function assert_noticed(lose, find)
    assert.equal(200, healthz())
    lose()
    assert.is_true(program.wait(function() return healthz() == 503 end))
    assert.equal("0", ca_up())
    find()
    assert.is_true(program.wait(function() return healthz() == 200 end))
    assert.equal("1", ca_up())
    assert.equal(200, certificate())
  end

  it("is missed by a worker that nobody asks for a certificate", function()
    begin()
    serve("1")
    local tokens = token.directory .. "/tokens"
    assert_noticed(function()
      assert(os.rename(tokens, tokens .. ".away"))
    end, function()
      assert(os.rename(tokens .. ".away", tokens))
    end)
  end)

  it("is missed in a remote place as well", function()
    begin()
    local remote = token:serve()
    serve("1")
    assert_noticed(function() token.lose(remote) end,
                   function() token:serve() end)
  end)

  -- Where the threads of each worker may run: "0-1", or "0" and "1" when
  -- they have not all the same.
  local function places()
    local found = {}
    for _, pid in ipairs(server:children()) do
      local at, lists = "/proc/" .. pid .. "/", {}
      for _, task in ipairs(engine.system.list(at .. "task")) do
        local allowed = program.read(at .. "task/" .. task .. "/status")
          :match("\nCpus_allowed_list:%s+(%S+)")
        lists[allowed] = true
      end
      if program.read(at .. "comm"):find("^worker") then
        found[#found + 1] = lists
      end
    end
    return found
  end

  -- Whether each worker has one place for all of its threads, and another.
  local function apart()
    assert.equal(200, certificate())
    local seen = {}
    for _, lists in ipairs(places()) do
      local one = next(lists)
      if next(lists, one) or not one:find("^%d+$") or seen[one] then
        return false
      end
      seen[one] = true
    end
    return true
  end

  local function processors()
    local list = program.read("/proc/self/status")
      :match("\nCpus_allowed_list:%s+(%S+)")
    return list, not list:find("^%d+$")
  end

  it("that computes keeps each worker to one processor", function()
    local everywhere, several = processors()
    if not several then return pending("one processor") end
    begin()
    serve("2")
    assert.same({ { [everywhere] = true }, { [everywhere] = true } }, places())
    assert.is_true(program.wait(apart))
    assert.equal(2, #places())
  end)

  it("that one waits for leaves workers where they are", function()
    local everywhere = processors()
    token.module, token.environment.SHIM_SIGN_MS = hsm.shim, "20"
    begin()
    serve("1")
    for _ = 1, 3 do assert.equal(200, certificate()) end
    assert.same({ { [everywhere] = true } }, places())
  end)

  it("is asked for as many signatures at once as it has sessions", function()
    token.module, token.sessions = hsm.shim, 8
    local hold = token.directory .. "/hold"
    begin()
    token.environment.SHIM_HOLD = hold
    serve("1")
    start_load()
    assert(engine.system.write(hold, ""))
    local count = token.environment.SHIM_COUNT
    assert.is_true(program.wait(function()
      return program.read(count):find("\n8 at once") ~= nil
    end))
    -- The loop does not wait for them.
    assert.equal(200, program.get(urls.http .. "/api/v2/trustBundle").status)
    assert(os.remove(hold))
    assert.is_true(result().resumed >= 0)
    assert.is_nil(program.read(count):find("\n9 at once"))
  end)
end)
