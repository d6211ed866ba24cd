local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local program = require("spec.program")
local sockets = require("sockets")
local wire = require("spec.wire")

local POLICY = [[
return {
  issuer = "ISSUER", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

local POST = "POST /api/v2/signingCert HTTP/1.1\r\nHost: a\r\n"

-- What a front server and this one could read differently.
local framing = {
  { 400, "REQUEST_MALFORMED", POST
    .. "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" },
  { 400, "REQUEST_MALFORMED", POST .. "Content-Length: +5\r\n\r\n{}" },
  { 400, "REQUEST_MALFORMED", POST .. "Content-Length: -5\r\n\r\n{}" },
  { 400, "REQUEST_MALFORMED", POST .. "Content-Length: 5\r\n"
    .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  { 400, "REQUEST_MALFORMED", POST .. "Content-Length : 2\r\n\r\n{}" },
  { 400, "REQUEST_MALFORMED", "GET /healthz HTTP/1.1\nHost: a\n\n" },
  { 400, "REQUEST_MALFORMED", "GET /healthz HTTP/1.1\r\nHost: a\rb\r\n\r\n" },
  { 400, "REQUEST_MALFORMED", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n" },
  { 400, "REQUEST_MALFORMED", "GET /healthz HTTP/1.1\r\n\r\n" },
  { 400, "REQUEST_MALFORMED",
    "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
  { 400, "REQUEST_MALFORMED",
    "GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n" },
  { 431, "HEADER_TOO_LARGE", "GET /healthz HTTP/1.1\r\nHost: a\r\n"
    .. ("X: " .. ("y"):rep(1000) .. "\r\n"):rep(100) .. "\r\n" },
  { 501, "NOT_IMPLEMENTED",
    POST .. "Transfer-Encoding: gzip\r\n\r\nx" },
  { 413, "BODY_TOO_LARGE", POST .. "Content-Length: 262145\r\n\r\n{}" },
  { 400, "REQUEST_MALFORMED", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" },
  { 400, "REQUEST_MALFORMED", "GET /healthz\r\n\r\n" },
  { 505, "VERSION_UNKNOWN", "GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n" },
  { 417, "EXPECTATION_FAILED",
    POST .. "Expect: more\r\nContent-Length: 2\r\n\r\n{}" },
}

describe("a running CA", function()
  local scene, port

  setup(function()
    scene = deployment.start({ policies = { email = POLICY } })
    port = math.tointeger(scene.ports.http)
  end)

  teardown(function() scene:stop() end)

  local function ask(token)
    local key = assert(engine.pkey.generate("P-256"))
    return program.post(scene.fulcio .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = token },
      publicKeyRequest = { publicKey = { content = key:pem() },
        proofOfPossession =
          engine.bytes.base64(assert(key:sign("a@example.com"))) },
    })
  end

  local function issues()
    local token = program.post(scene.issuer .. "/token",
      { sub = "a", email = "a@example.com" }).body
    return ask(token).status == 200
  end

  -- Proportional set size of all its processes, MB.
  local function pss()
    local kib = 0
    local pids = scene.ca:children()
    pids[#pids + 1] = scene.ca.pid
    for _, pid in ipairs(pids) do
      local rollup = program.read(("/proc/%d/smaps_rollup"):format(pid))
      kib = kib + tonumber(rollup:match("\nPss:%s+(%d+)"))
    end
    return kib * 1024 / 1e6
  end

  local function open(count)
    local list = {}
    for i = 1, count do list[i] = assert(sockets.connect(port)) end
    return list
  end

  local function close(list)
    for _, fd in ipairs(list) do sockets.close(fd) end
  end

  it("closes a connection whose request does not end within ten seconds",
  function()
    local fd = assert(sockets.connect(port))
    assert(sockets.send(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n"))
    local answer, ended, headers = "", false, 0
    while not ended and headers < 60 do
      headers = headers + 1
      sockets.send(fd, "X: y\r\n")
      local bytes
      bytes, ended = sockets.receive(fd, 1000)
      answer = answer .. bytes
    end
    sockets.close(fd)
    assert.is_true(ended)
    assert.same({ 408 }, wire.statuses(answer))
    assert.matches("REQUEST_TIMEOUT", answer)
  end)

  it("refuses what two servers could read differently", function()
    for _, case in ipairs(framing) do
      local status, reason, bytes = table.unpack(case)
      local fd = assert(sockets.connect(port))
      sockets.send(fd, bytes .. "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
      local answer, ended
      repeat answer, ended = sockets.receive(fd, 20000) until answer
      sockets.close(fd)
      assert.is_true(ended, bytes)
      assert.same({ status }, wire.statuses(answer), bytes)
      assert.matches('"reason":"' .. reason .. '"', answer, 1, true)
    end
    assert.is_true(issues())
  end)

  it("holds 5,000 connections that say nothing, and serves others",
  function()
    if sockets.most < 12000 then
      return pending("needs 12,000 open files, may have " .. sockets.most)
    end
    assert.is_true(issues())
    local before = pss()
    local idle = open(5000)
    for i, fd in ipairs(idle) do
      if i % 2 == 0 then sockets.send(fd, "POST /api/v2/") end
    end
    for _ = 1, 8 do assert.is_true(issues()) end
    local after = pss()
    local _, ended = sockets.receive(idle[1], 0)
    close(idle)
    assert.is_false(ended)
    if os.getenv("LONG") then print(before, after) end
    if not (os.getenv("BUILD") or ""):find("asan") then
      assert.is_true(after - before < 40, after - before)
    end
    assert.is_true(issues())
  end)

  -- LONG=1: twenty seconds, and what was measured is printed.
  it("answers a thousand clients at once: a certificate, or when to come"
     .. " again", function()
    local long = os.getenv("LONG")
    local before = pss()
    local status, printed = program.run({ "run", "spec/abuse/crowd.lua",
      scene.fulcio, scene.issuer, "1000", long and "20" or "2" })
    local counts = assert(engine.claims.parse(printed), printed)
    if long then print(before, pss(), printed) end
    assert.equal(0, status)
    assert.equal(0, counts.wrong + counts.lost)
    assert.is_true(counts.issued > 0)
    assert.is_true(issues())
  end)
end)
