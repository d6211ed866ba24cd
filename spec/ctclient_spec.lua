local authority = require("spec.authority")
local cjson = require("cjson")
local ctclient = require("fulcio.ctclient")
local engine = require("fulcio.engine")
local inside = require("fulcio.ctlog.inside")
local process = require("spec.process")
local refusal = require("fulcio.refusal")

local base64, sct, server = engine.bytes.base64, engine.sct, engine.server

describe("ctclient", function()
  local base = "http://log.example"
  local ca, key, der, tbs, directory, seen, answers

  -- What an honest log promises for `der`; `change` may spoil it.
  local function promise(change)
    local now = engine.system.now_ms()
    local about = { timestamp_ms = now, kind = "precert", extensions = "",
      tbs = tbs,
      issuer_key_hash = engine.bytes.sha256(ca.root:pkey():spki()) }
    if change and change.leaf then change.leaf(about) end
    local value = {
      sct_version = 0, id = base64(engine.bytes.sha256(key:spki())),
      timestamp = about.timestamp_ms, extensions = base64(about.extensions),
      signature = base64(assert(sct.sign(sct.leaf(about), key))),
    }
    if change and change.value then change.value(value) end
    return { status = 200, body = cjson.encode(value) }
  end

  setup(function()
    ca = authority.new()
    key = engine.pkey.generate("P-256")
    der = ca:precertificate()
    tbs = engine.x509.skim(der).defanged
    directory = process.directory()
  end)

  teardown(function() os.execute("rm -r " .. directory) end)

  before_each(function() seen, answers = {}, { promise() } end)

  local function client(options)
    options = options or {}
    options.url = options.url or base .. "/"
    options.unix = options.unix or directory .. "/log"
    options.public_key = options.public_key or key:pem()
    return assert(ctclient.new(options))
  end

  -- Runs a function on the loop, beside a log that gives the answers.
  local function on_loop(run)
    local results
    local listener = assert(server.listen({ unix = directory .. "/log" }))
    server.http(listener, function(request)
      seen[#seen + 1] = request
      local answer = answers[#seen] or answers[#answers]
      return type(answer) == "function" and answer(request) or answer
    end)
    server.spawn(function()
      results = table.pack(run())
      server.stop()
    end)
    server.run()
    return table.unpack(results, 1, results.n)
  end

  local function submit(log)
    log = log or client()
    return on_loop(function()
      return log:submit(der, ca.chain, "precert", tbs)
    end)
  end

  local function refused(code, log)
    local bytes, why = submit(log)
    assert.is_nil(bytes)
    assert.is_true(refusal.is(why))
    assert.equal(code, why.code)
    assert.equal("Error entering certificate in CTL", why.message)
    return why
  end

  it("submits as Fulcio does and returns the SCT", function()
    local bytes, read = submit(client({ origin = "other.example/2026" }))
    local request, expected = seen[1], cjson.decode(answers[1].body)
    assert.equal("POST", request.method)
    assert.equal("/ct/v1/add-pre-chain", request.path)
    assert.equal("application/json", request.headers["content-type"])
    assert.equal("other.example", request.headers.host)
    assert.same({ chain = { base64(der), base64(ca.root.der) } },
      cjson.decode(request.body))
    assert.same({ expected.id, expected.signature },
      { base64(read.log_id), base64(read.signature) })
    local parsed = sct.parse(bytes)
    assert.equal(0, parsed.version)
    assert.equal(expected.timestamp, parsed.timestamp_ms)
    assert.equal(base64(parsed.log_id), expected.id)
    assert.equal(1, #seen)
  end)

  it("submits a whole certificate to add-chain", function()
    local final = ca:certificate()
    answers = { promise({ leaf = function(about)
      about.kind, about.certificate = "x509", final
      about.tbs, about.issuer_key_hash = nil, nil
    end }) }
    local log = client()
    local bytes = assert(on_loop(function()
      return log:submit(final, ca.chain, "x509")
    end))
    assert.equal("/ct/v1/add-chain", seen[1].path)
    assert.equal(0, sct.parse(bytes).version)
  end)

  it("refuses at once those who would wait too long for their turn",
  function()
    local log = client()
    log.gate.enter = function() return false end
    local _, why = submit(log)
    assert.equal("overloaded", why.code)
    assert.equal(503, why.http)
    assert.equal(1, why.retry_after)
    assert.equal(0, #seen)
    assert.equal(0, log.failures)
  end)

  it("trusts no promise that is not the log's own", function()
    for i, answer in ipairs({
      promise({ value = function(value) value.id = "AAAA" end }),
      promise({ leaf = function(about) about.tbs = "another" end }),
      { status = 200, body = "<html>" },
    }) do
      seen, answers = {}, { answer }
      local why = refused("ct_failed")
      assert.equal(500, why.http)
      assert.equal(1, #seen, "case " .. i)
      assert.equal(base, why.log.ct_log)
      assert.matches("^bad SCT: ", why.log.error)
    end
  end)

  it("believes a log whose key it does not know", function()
    answers = { promise({ value = function(value)
      value.signature = base64("\4\3\0\2xx")
    end }) }
    local log = assert(ctclient.new({ url = base,
        unix = directory .. "/log" }))
    assert(submit(log))
  end)

  it("reads the log's key from its file once the log has written it",
    function()
      local path = os.tmpname()
      os.remove(path)
      local log = assert(ctclient.new({ url = base,
        unix = directory .. "/log", public_key_file = path }))
      refused("ct_failed", log)
      assert(engine.system.write(path, key:pem()))
      assert(submit(log))
      os.remove(path)
      assert(submit(log))
    end)

  it("refuses a key that is none", function()
    local log, message = ctclient.new({ url = base, public_key = "none" })
    assert.is_nil(log)
    assert.matches("^CT log's public key: ", message)
    local path = os.tmpname()
    assert.matches(path, refused("ct_failed", assert(ctclient.new({
      url = base, unix = directory .. "/log",
      public_key_file = path }))).log.error, 1, true)
    os.remove(path)
  end)

  it("tries again with the same precertificate", function()
    for _, status in ipairs({ 503, 429, 408 }) do
      local busy = { status = status, body = "busy" }
      seen, answers = {}, { busy, busy, promise() }
      assert(submit())
      assert.equal(3, #seen)
      assert.equal(seen[1].body, seen[3].body)
    end
  end)

  it("gives up after three attempts, and says when to come back",
    function()
      answers = { { status = 503, body = "busy" } }
      local why = refused("ct_unavailable")
      assert.equal(3, #seen)
      assert.same({ 503, 5, 503 }, { why.http, why.retry_after,
                                     why.log.status })
      assert.equal("busy", why.log.body)
    end)

  it("waits as long as the log asks, when that is in time", function()
    answers = { { status = 503, headers = { ["retry-after"] = "0" } },
                promise() }
    assert(submit())
    seen, answers = {}, { { status = 429,
      headers = { ["retry-after"] = "3600" } } }
    assert.equal(60, refused("ct_unavailable").retry_after)
    assert.equal(1, #seen)
    seen, answers = {}, { { status = 503, headers = {
      ["retry-after"] = os.date("!%a, %d %b %Y %H:%M:%S GMT",
                                os.time() + 30) } } }
    local seconds = refused("ct_unavailable").retry_after
    assert.is_true(seconds >= 28 and seconds <= 30)
    assert.equal(1, #seen)
  end)

  it("does not repeat what the log refused", function()
    for _, status in ipairs({ 400, 401, 403, 404, 413 }) do
      seen, answers = {}, { { status = status, body = "no" } }
      assert.equal(status, refused("ct_failed").log.status)
      assert.equal(1, #seen)
    end
    seen, answers = {}, { { status = 302, headers = { location = base } } }
    refused("ct_failed")
    seen, answers = {}, { { status = 500, body = "oops" } }
    refused("ct_unavailable")
    assert.equal(1, #seen)
  end)

  it("keeps little of what a stranger says", function()
    answers = { { status = 400, body = ("x"):rep(10000) } }
    assert.equal(200, #refused("ct_failed").log.body)
    answers = { { status = 200, body = ("x"):rep(300000) } }
    assert.matches("too large", refused("ct_unavailable").log.error)
  end)

  it("does not wait for a log for ever", function()
    answers = { function()
      server.sleep(5)
      return promise()
    end }
    local log = client()
    log.transport.attempt, log.budget = 0.05, 0.5
    assert.matches("no answer within",
      refused("ct_unavailable", log).log.error)
    assert.is_true(#seen >= 1 and #seen <= 3)
  end)

  it("leaves a log that keeps failing alone, but for one try a second",
    function()
      local clock, now = engine.system.monotonic, 1000
      local log = client({ unix = directory .. "/none" })
      log.budget = 0.1
      for _ = 1, 5 do refused("ct_unavailable", log) end
      log.transport.unix = directory .. "/log"
      finally(function() engine.system.monotonic = clock end)
      engine.system.monotonic = function() return now end
      log.next_probe = now + 1
      assert.equal(1, refused("ct_unavailable", log).retry_after)
      assert.equal(0, #seen)
      now = now + 1
      assert(submit(log))
      assert(submit(log))
      assert.equal(2, #seen)
    end)

  it("speaks over a unix socket, without the loop too", function()
    local path = directory .. "/other"
    local file = assert(io.open(directory .. "/answer", "w"))
    file:write(promise().body)
    file:close()
    local program = process.start({ "lua5.4", "-e", ([[
      package.cpath = %q
      local server = require("fulcio.engine").server
      local body = io.open(%q):read("a")
      server.http(assert(server.listen({ unix = %q })), function()
        return { status = 200, body = body }
      end)
      print("open")
      io.stdout:flush()
      server.run()
    ]]):format(package.cpath, directory .. "/answer", path) })
    finally(function() program:stop() end)
    program:wait_for("open")
    local log = assert(ctclient.new({ unix = path,
                                      public_key = key:pem() }))
    assert(log:submit(der, ca.chain, "precert", tbs))
  end)

  describe("in a dialog", function()
    local questions, replies

    -- Submits to a log that says `replies` in turn.
    local function submit_inside(log)
      questions = {}
      local listener = assert(server.listen({ unix = directory .. "/inside" }))
      log = log or client({ dialog = directory .. "/inside" })
      server.answer(listener, function(question)
        questions[#questions + 1] = question
        local reply = replies[#questions] or replies[#replies]
        return type(reply) == "function" and reply() or reply
      end)
      return on_loop(function()
        return log:submit(der, ca.chain, "precert", tbs)
      end)
    end

    -- An honest log's answer; `change` is signed too.
    local function logged(change)
      local about = { timestamp_ms = engine.system.now_ms(),
        kind = "precert", tbs = tbs,
        issuer_key_hash = engine.bytes.sha256(ca.root:pkey():spki()) }
      for name, value in pairs(change or {}) do about[name] = value end
      return inside.logged({ timestamp = about.timestamp_ms,
        signature = assert(sct.sign(sct.leaf(about), key)) })
    end

    it("names the chain, and sends it when the log does not know it",
    function()
      replies = { inside.refusal(404, "unknown chain"), logged() }
      local bytes, read = submit_inside()
      local parsed = sct.parse(bytes)
      assert.same({ engine.bytes.sha256(key:spki()), "", 0 },
        { parsed.log_id, parsed.extensions, parsed.version })
      assert.equal(read.timestamp_ms, parsed.timestamp_ms)
      local chain = inside.chain({ ca.root.der })
      assert.same({ inside.question("precert", inside.name(chain), der),
                    inside.question("precert", chain, der) }, questions)
      assert.equal(0, #seen)
    end)

    it("trusts the log no more than over HTTP", function()
      replies = { logged({ tbs = "another" }) }
      local _, why = submit_inside()
      assert.same({ "ct_failed", "bad SCT: its signature is wrong" },
        { why.code, why.log.error })
      replies = { logged({ timestamp_ms = 1 }) }
      _, why = submit_inside()
      assert.equal("bad SCT: its time is not ours", why.log.error)
    end)

    it("tries again what may pass", function()
      replies = { inside.refusal(503, "busy"), logged() }
      assert(submit_inside())
      assert.equal(2, #questions)
      replies = { function() error("oops") end, logged() }
      assert(submit_inside())
      assert.equal(2, #questions)
    end)

    it("does not repeat what the log refused", function()
      replies = { inside.refusal(400, "no poison") }
      local _, why = submit_inside()
      assert.same({ "ct_failed", 400, "no poison", 1 },
        { why.code, why.log.status, why.log.body, #questions })
    end)

    it("needs a path that a socket can have", function()
      local log, message = ctclient.new({ dialog = ("x"):rep(200) })
      assert.is_nil(log)
      assert.matches("^CT log: x+: a socket's path has at most", message)
    end)

    it("gives up when nobody answers", function()
      local log = client({ dialog = directory .. "/none" })
      log.budget = 0.1
      local why = refused("ct_unavailable", log)
      assert.matches("none: No such file", why.log.error)
      replies = { function() server.sleep(1) end }
      log = client({ dialog = directory .. "/inside" })
      log.transport.attempt, log.budget = 0.02, 0.1
      why = select(2, submit_inside(log))
      assert.matches("no answer in time", why.log.error)
    end)

    it("gives both questions of an attempt one time", function()
      local function late(answer)
        return function()
          server.sleep(0.15)
          return answer
        end
      end
      replies = { late(inside.refusal(404, "unknown chain")), late(logged()) }
      local log = client({ dialog = directory .. "/inside" })
      log.transport.attempt, log.budget = 0.2, 0.2
      local _, why = submit_inside(log)
      assert.matches("no answer in time", why.log.error)
      assert.equal(2, #questions)
    end)
  end)

  describe("is ready", function()
    local function ready(log, root)
      return on_loop(function() return log:ready(root or ca.root) end)
    end

    it("when the log accepts our root", function()
      answers = { { status = 200, body =
        '{"certificates":["AAAA","' .. base64(ca.root.der) .. '"]}' } }
      local log = client()
      assert.is_true(ready(log))
      assert.equal("/ct/v1/get-roots", seen[1].path)
      assert.is_true(ready(log))
      assert.equal(1, #seen)
      local other = authority.new("other")
      local ok, message = ready(log, other.root)
      assert.is_nil(ok)
      assert.matches('does not accept our root "CN=other', message)
    end)

    it("not while it does not answer as a log", function()
      for _, answer in ipairs({ { status = 404 }, { status = 200 },
                                { status = 200, body = "[]" },
                                { status = 200, body = "{}" } }) do
        seen, answers = {}, { answer }
        local ok, message = ready(client())
        assert.is_nil(ok)
        assert.matches("get%-roots was answered with status", message)
      end
      local ok, message = ready(client({ unix = directory .. "/none" }))
      assert.is_nil(ok)
      assert.matches("^CT log: ", message)
    end)

    it("and asked again after a submission failed", function()
      local good = { status = 200, body =
        '{"certificates":["' .. base64(ca.root.der) .. '"]}' }
      answers = { good, { status = 400 }, { status = 200, body = "{}" } }
      local log = client()
      assert.is_true(ready(log))
      refused("ct_failed", log)
      assert.is_nil((ready(log)))
      assert.equal(3, #seen)
    end)
  end)
end)
