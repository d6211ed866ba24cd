local cjson = require("cjson")
local log = require("fulcio.log")
local refusal = require("fulcio.refusal")

describe("log", function()
  local lines

  local function open(mode)
    lines = {}
    log.open({ mode = mode, write = function(text)
      lines[#lines + 1] = text
    end })
  end

  local function logged(fields)
    open("prod")
    log.info("event", fields)
    assert.equal(1, select(2, lines[1]:gsub("\n", "")))
    return cjson.decode(lines[1])
  end

  after_each(function() log.open({ mode = "prod" }) end)

  it("writes one JSON object a line in production", function()
    open("prod")
    log.warn("certificate issued", { serial = "0a", chain = 2, ok = true })
    local record = cjson.decode(lines[1])
    assert.equal("WARNING", record.severity)
    assert.equal("certificate issued", record.message)
    assert.equal("0a", record.serial)
    assert.equal(2, record.chain)
    assert.is_true(record.ok)
    assert.truthy(record.ts:find("^%d%d%d%d%-%d%d%-%d%dT[%d:]+%.%d%d%dZ$"))
  end)

  it("names each severity as Fulcio does and drops debug", function()
    open("prod")
    log.debug("d")
    log.info("i")
    log.warn("w")
    log.error("e")
    local seen = {}
    for i, text in ipairs(lines) do seen[i] = cjson.decode(text).severity end
    assert.same({ "INFO", "WARNING", "ERROR" }, seen)
  end)

  it("writes text for people in development, debug too", function()
    open("dev")
    log.debug("hello\27[2J", { name = "a b\n", count = 3 })
    assert.truthy(lines[1]:find("^%d%d:%d%d:%d%d%.%d%d%d DEBUG"))
    assert.truthy(lines[1]:find([[hello\u001b[2J count=3 name="a b\n"]],
                                1, true))
    assert.equal(1, select(2, lines[1]:gsub("\n", "")))
  end)

  it("keeps a hostile value inside its own string", function()
    local hostile = 'x","severity":"INFO"}\n{"\0\27[31m'
    assert.equal(hostile, logged({ claim = hostile }).claim)
  end)

  it("shows bytes that are not UTF-8 in hexadecimal", function()
    assert.equal("a\\xff\\xc3", logged({ claim = "a\255\195" }).claim)
    assert.equal("é", logged({ claim = "é" }).claim)
    assert.equal("\194\15531m", logged({ claim = "\194\15531m" }).claim)
    assert.truthy(lines[1]:find([["\u009b31m"]], 1, true))
  end)

  it("cuts a value at 256 bytes and never inside a character", function()
    local long = logged({ claim = ("x"):rep(300) }).claim
    assert.equal(("x"):rep(256) .. "…", long)
    local split = logged({ claim = ("x"):rep(255) .. "éé" }).claim
    assert.equal(("x"):rep(255) .. "…", split)
    assert.equal(256, #logged({ claim = ("x"):rep(256) }).claim)
  end)

  it("never writes a token, a key or a password", function()
    local jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln"
    local record = logged({
      token = "abc", password = "abc", pin = "1234", key = "abc",
      authorization = "abc", url = "/x?token=" .. jwt,
      header = "bearer abc", list = { jwt },
      pem = "-----BEGIN PRIVATE KEY-----\nabc",
      issuer = "https://example.com",
    })
    for name, value in pairs(record) do
      assert.is_nil(tostring(value):find("abc"), name)
      assert.is_nil(tostring(value):find("eyJ"), name)
      assert.is_nil(tostring(value):find("1234"), name)
    end
    assert.equal("(not logged)", record.url)
    assert.equal("https://example.com", record.issuer)
  end)

  it("takes numbers that JSON lacks, and tables", function()
    local record = logged({ a = 0 / 0, b = math.huge, c = { "x", "y" },
                            d = { print } })
    assert.truthy(record.a:find("nan"))
    assert.equal("inf", record.b)
    assert.equal('["x","y"]', record.c)
    assert.equal("table", record.d)
  end)

  it("logs a refusal with what the client does not hear", function()
    open("prod")
    log.refused(refusal("claim_missing", {
      client = { claim = "sha" }, log = { policy = "github.lua" },
    }), { id = 7 })
    log.refused(refusal("ca_failed"))
    local first, second = cjson.decode(lines[1]), cjson.decode(lines[2])
    assert.equal("WARNING", first.severity)
    assert.equal("CLAIM_MISSING", first.reason)
    assert.equal("sha", first.claim)
    assert.equal("github.lua", first.policy)
    assert.equal(7, first.id)
    assert.equal("ERROR", second.severity)
    assert.equal(500, second.status)
  end)

  it("throws on a mode that does not exist", function()
    assert.has_error(function() log.open({ mode = "loud" }) end,
                     'log: mode is "dev" or "prod", not "loud"')
  end)

  it("writes to a standard stream unless told otherwise", function()
    local written = {}
    local stderr = io.stderr
    io.stderr = { -- luacheck: ignore 122
      write = function(_, text) written[#written + 1] = text end,
      flush = function() end,
    }
    log.open({ mode = "prod" })
    io.stderr = stderr -- luacheck: ignore 122
    log.info("to standard error")
    assert.truthy(written[1]:find("to standard error"))
  end)
end)
