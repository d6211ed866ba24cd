local engine = require("fulcio.engine")
local grpc = require("fulcio.grpc")
local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf
local refusal = require("fulcio.refusal")

local Request = messages.health.HealthCheckRequest
local Response = messages.health.HealthCheckResponse

local function framed(bytes, flag)
  return string.char(flag or 0, 0, 0, 0, #bytes) .. bytes
end

local function request(body, headers)
  headers = headers or {}
  headers["content-type"] = "application/grpc"
  return { method = "POST", path = "/s/m", protocol = "h2",
           headers = headers, body = body or framed("") }
end

-- gzip --no-name, of a HealthCheckRequest for "x".
local ZIPPED = engine.bytes.unbase64("H4sIAAAAAAAAA+NirAAAi5QTtQMAAAA=")

local function zipped_zeros(count)
  local pipe = assert(io.popen(("head -c %d /dev/zero | gzip -nc")
    :format(count), "r"))
  local bytes = pipe:read("a")
  pipe:close()
  return bytes
end

local function framed_long(bytes, flag)
  return string.char(flag) .. (">s4"):pack(bytes)
end

local function methods(call)
  return { ["/s/m"] = { input = Request, output = Response, call = call } }
end

local function serving() return { status = 1 } end

describe("grpc", function()
  it("answers a unary call with a message and status 0", function()
    local heard
    local response = grpc.handle(methods(function(context, message)
      heard = { context, message.service }
      return { status = 1 }
    end), request(framed(protobuf.encode(Request, { service = "x" }))), "c")
    assert.same({ "c", "x" }, heard)
    assert.equal(framed("\8\1"), response.body)
    assert.equal("0", response.trailers["grpc-status"])
    assert.equal("application/grpc", response.headers["content-type"])
  end)

  it("words a refusal as status, message and details", function()
    local refused = refusal("claim_missing", { client = { claim = "sha" } })
    local response, again = grpc.handle(methods(function()
      error(refused, 0)
    end), request())
    assert.equal(refused, again)
    local headers = response.headers
    assert.equal("3", headers["grpc-status"])
    assert.equal("There was an error processing the identity token",
                 headers["grpc-message"])
    local bytes = engine.bytes.unbase64(headers["grpc-status-details-bin"])
    local status = assert(protobuf.decode(messages.rpc.Status, bytes))
    assert.equal(3, status.code)
    local info = assert(protobuf.decode(messages.rpc.ErrorInfo,
                                        status.details[1].value))
    assert.equal("CLAIM_MISSING", info.reason)
    assert.same({ key = "claim", value = "sha" }, info.metadata[1])
  end)

  it("tells a client of trouble when to come back", function()
    local response = grpc.handle(methods(function()
      error(refusal("overloaded"), 0)
    end), request())
    assert.equal("14", response.headers["grpc-status"])
    assert.equal("1", response.headers["retry-after"])
  end)

  it("keeps the reason of its own failure to itself", function()
    local log = require("fulcio.log")
    local lines = {}
    log.open({ mode = "prod",
               write = function(text) lines[#lines + 1] = text end })
    local response = grpc.handle(methods(function()
      error("secret detail")
    end), request())
    log.open({ mode = "prod" })
    assert.equal("13", response.headers["grpc-status"])
    assert.is_nil(response.headers["grpc-message"]:find("secret", 1, true))
    assert.truthy(lines[1]:find("secret detail", 1, true))
  end)

  local refused = {
    { "an unknown method", "12", function()
      return grpc.handle({}, request())
    end },
    { "a compressed message whose encoding is not told", "13", function()
      return grpc.handle(methods(serving), request(framed(ZIPPED, 1)))
    end, "grpc: compressed flag set with identity or empty encoding" },
    { "an encoding that it does not read", "12", function()
      return grpc.handle(methods(serving),
        request(framed(""), { ["grpc-encoding"] = "deflate" }))
    end, 'grpc: Decompressor is not installed for grpc-encoding "deflate"' },
    { "a message that is neither compressed nor not", "13", function()
      return grpc.handle(methods(serving),
        request(framed(ZIPPED, 2), { ["grpc-encoding"] = "gzip" }))
    end, "grpc: received unexpected payload format 2" },
    { "what only says that it is gzip", "13", function()
      return grpc.handle(methods(serving),
        request(framed("x", 1), { ["grpc-encoding"] = "gzip" }))
    end, "grpc: failed to decompress the message: not gzip" },
    { "little that becomes much", "8", function()
      return grpc.handle(methods(serving),
        request(framed_long(zipped_zeros(300000), 1),
                { ["grpc-encoding"] = "gzip" }))
    end, "grpc: received message after decompression larger than max 262144" },
    { "a message cut short", "13", function()
      return grpc.handle(methods(serving), request("\0\0\0\0\9x"))
    end },
    { "no message", "13", function()
      return grpc.handle(methods(serving), request(""))
    end },
    { "two messages", "13", function()
      return grpc.handle(methods(serving), request(framed("") .. framed("")))
    end },
    { "a message over the limit", "8", function()
      return grpc.handle(methods(serving), request("\0\255\0\0\0"))
    end, "grpc: received message larger than max (4278190080 vs. 262144)" },
    { "what is not protobuf", "3", function()
      return grpc.handle(methods(serving), request(framed("\255")))
    end },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local response = case[3]()
      assert.equal(200, response.status)
      assert.equal(case[2], response.headers["grpc-status"])
      if case[4] then
        assert.equal(case[4], response.headers["grpc-message"])
      end
    end)
  end

  it("reads messages compressed by gzip, and those beside them that are "
     .. "not", function()
    local heard = {}
    local answer = methods(function(_, message)
      heard[#heard + 1] = message.service
      return { status = 1 }
    end)
    local plain = protobuf.encode(Request, { service = "y" })
    for _, body in ipairs({ framed(ZIPPED, 1), framed(plain) }) do
      local response = grpc.handle(answer,
        request(body, { ["grpc-encoding"] = "gzip" }))
      assert.equal(framed("\8\1"), response.body)
    end
    assert.same({ "x", "y" }, heard)
  end)

  it("names what is unknown as grpc-go does", function()
    for path, text in pairs({
      ["/s/other"] = "unknown method other for service s",
      ["/t/m"] = "unknown service t", ["/s/m/"] = "unknown service s/m",
      ["/s"] = 'malformed method name: "/s"',
    }) do
      local asked = request()
      asked.path = path
      local response = grpc.handle(methods(serving), asked)
      assert.equal(text, response.headers["grpc-message"])
    end
  end)

  it("says which encoding of messages it reads", function()
    local response = grpc.handle(methods(serving), request(framed("", 1)))
    assert.equal("identity, gzip", response.headers["grpc-accept-encoding"])
  end)

  it("answers at once those who wait for nothing", function()
    local called = false
    local response = grpc.handle(methods(function() called = true end),
      request(nil, { ["grpc-timeout"] = "0S" }))
    assert.same({ "4", "context deadline exceeded" }, {
      response.headers["grpc-status"], response.headers["grpc-message"] })
    assert.is_false(called)
  end)

  it("refuses a time to wait that is none, in grpc-go's words", function()
    for text, words in pairs({
        [""] = 'transport: timeout string is too short: ""',
        S = 'transport: timeout string is too short: "S"',
        ["123456789S"] =
          'transport: timeout string is too long: "123456789S"',
        ["1X"] = 'transport: timeout unit is not recognized: "1X"',
        ["1.5S"] = 'strconv.ParseUint: parsing "1.5": invalid syntax',
        ["-1S"] = 'strconv.ParseUint: parsing "-1": invalid syntax' }) do
      local response = grpc.handle(methods(serving),
        request(nil, { ["grpc-timeout"] = text }))
      assert.same({ "13", "malformed grpc-timeout: " .. words }, {
        response.headers["grpc-status"], response.headers["grpc-message"] })
    end
  end)

  it("refuses other methods than POST", function()
    local asked = request()
    asked.method = "PUT"
    local response = grpc.handle(methods(serving), asked)
    assert.same({ 405, "13" },
                { response.status, response.headers["grpc-status"] })
  end)

  it("percent-encodes what a header cannot carry", function()
    local response = grpc.handle(methods(function()
      error(refusal("internal", { message = "50% \n\195\188" }), 0)
    end), request())
    assert.equal("50%25 %0A%C3%BC", response.headers["grpc-message"])
  end)

  it("takes only HTTP/2 with its content type for a call", function()
    assert.is_true(grpc.is_call(request()))
    local other = request()
    other.protocol = "http/1.1"
    assert.is_false(grpc.is_call(other))
    assert.is_false(grpc.is_call({ protocol = "h2", headers = {} }))
    for kind, is in pairs({ ["+proto"] = true, ["; a=b"] = true,
                            ["-web"] = false, ["+web"] = true }) do
      local call = request()
      call.headers["content-type"] = "application/grpc" .. kind
      assert.equal(is, grpc.is_call(call), kind)
    end
  end)

  it("streams messages both ways", function()
    local chunks = { framed(protobuf.encode(Request, { service = "ab" })),
                     "" }
    -- cut inside a frame
    chunks = { chunks[1]:sub(1, 3), chunks[1]:sub(4) .. framed("") }
    local heard, sent = {}, {}
    local stream = { ["/s/m"] = {
      input = Request, output = Response,
      stream = function(_, read, send)
        for message in read do
          heard[#heard + 1] = message.service or ""
          send({ status = #heard })
        end
      end,
    } }
    local asked = request()
    asked.read = function() return table.remove(chunks, 1) end
    local response = grpc.handle(stream, asked)
    local trailers = response.stream(function(bytes)
      sent[#sent + 1] = bytes
      return true
    end)
    assert.same({ "ab", "" }, heard)
    assert.same({ framed("\8\1"), framed("\8\2") }, sent)
    assert.equal("0", trailers["grpc-status"])
  end)

  it("knows which methods stream", function()
    assert.same({ ["/a"] = false, ["/b"] = true }, grpc.streams({
      ["/a"] = { call = serving }, ["/b"] = { stream = serving } }))
  end)

  it("words what the protocol layer refuses", function()
    for status, code in pairs({ [413] = "8", [431] = "8", [408] = "4",
                                [503] = "14", [500] = "13" }) do
      local response = grpc.refuse(refusal.of_status(status))
      assert.equal(200, response.status)
      assert.equal("", response.body)
      assert.equal(code, response.headers["grpc-status"])
    end
    assert.equal("1", grpc.refuse(refusal.of_status(503))
                        .headers["retry-after"])
  end)

  describe("with a deadline", function()
    local server = engine.server

    -- The response to a call that takes `seconds`, and whether it was
    -- finished, too.
    local function call(timeout, seconds)
      local response, finished
      server.spawn(function()
        local done = server.signal()
        response = grpc.handle(methods(function()
          server.sleep(seconds)
          finished = true
          done:wake()
          return { status = 1 }
        end), request(nil, { ["grpc-timeout"] = timeout }))
        local before = finished
        if not before then done:wait() end
        finished = { before or false, finished }
        server.stop()
      end)
      server.run()
      return response, finished
    end

    it("answers in time", function()
      local response, finished = call("60S", 0.01)
      assert.equal("0", response.trailers["grpc-status"])
      assert.same({ true, true }, finished)
      assert.equal("0", call("1H", 0).trailers["grpc-status"])
    end)

    it("does not wait longer, and finishes what it began", function()
      local response, finished = call("20m", 0.3)
      assert.equal("4", response.headers["grpc-status"])
      assert.equal("context deadline exceeded",
                   response.headers["grpc-message"])
      assert.same({ false, true }, finished)
      assert.equal("4", call("1n", 0.1).headers["grpc-status"])
    end)
  end)
end)
