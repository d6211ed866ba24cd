local program = require("spec.server_program")
local wire = require("spec.wire")

local SERVER = [[
local listener = listen()
server.http(listener, function(request)
  if request.path == "/fail" then error("broken") end
  if request.path == "/nothing" then return nil end
  if request.path == "/sleep" then server.sleep(0.2) end
  if request.path == "/header" then
    return { status = 200, headers = { ["x-bad"] = "a\r\nb: c" } }
  end
  if request.path == "/length" then
    return { status = 200, headers = { ["content-length"] = "3" } }
  end
  if request.path == "/list" then
    return { status = 200, headers = { ["set-cookie"] = { "a", "b" },
                                       ["x-number"] = 7 } }
  end
  if request.path == "/none" then return { status = 204 } end
  if request.path == "/close" then
    return { status = 200, headers = { connection = "close" }, body = "x" }
  end
  if request.path == "/large" then
    return { status = 200, body = ("x"):rep(3000000) }
  end
  local names = {}
  for name, value in pairs(request.headers) do
    names[#names + 1] = name .. "=" .. value
  end
  table.sort(names)
  return { status = 200, body = table.concat({ request.method,
    request.path, tostring(request.query), request.body, request.peer,
    request.protocol, table.concat(names, "&") }, "|") }
end, { request_seconds = 0.7, on_error = function(trace)
  print("trace: " .. trace)
end })
server.run()
]]

describe("http1", function()
  local running, port

  setup(function()
    running, port = program.start(SERVER)
  end)

  teardown(program.stop)

  local function statuses(...)
    return wire.statuses(wire.send(port, ...))
  end

  -- A whole request whose answer ends the connection.
  local function request(line, ...)
    return table.concat({ line, "Host: a", "Connection: close", ... },
      "\r\n") .. "\r\n\r\n"
  end

  it("answers 500 where the handler's answer is none, and says why",
  function()
    local answers = {
      ["nil"] = "no response but a nil",
      ["{}"] = "no status of 200 to 599",
      ["{ status = 600 }"] = "no status of 200 to 599",
      ["{ status = 200, headers = { [1] = 'x' } }"] = "names are strings",
      ["{ status = 200, headers = { A = 'x' } }"] = "lower%-case letters",
      ["{ status = 200, headers = { a = 'x\\n' } }"] = "control character",
      ["{ status = 200, headers = { date = 'x' } }"] = "not the handler's",
      ["{ status = 200, headers = { a = many(129) } }"] =
        "more than 128 header fields",
      ["{ status = 200, trailers = { date = 'x' } }"] = "not the handler's",
      ["{ status = 200, trailers = named(17) }"] = "more than 16 trailers",
      ["{ status = 200, stream = print }"] = "only HTTP/2 can stream",
    }
    for text, why in pairs(answers) do
      local other, at = program.start([[
        local function many(count)
          local list = {}
          for i = 1, count do list[i] = "x" end
          return list
        end
        local function named(count)
          local map = {}
          for i = 1, count do map["a" .. i] = "x" end
          return map
        end
        local answer = function() return ]] .. text .. [[, many, named end
        server.http(listen(), function() return (answer()) end, {
          on_error = function(trace) print(trace) end })
        server.run()
      ]])
      assert.same({ 500 }, wire.statuses(wire.send(at,
        request("GET / HTTP/1.1"))), text)
      local _, said = program.finish(other)
      assert.matches(why, said)
    end
  end)

  it("gives the handler what was asked", function()
    local answer = wire.send(port, request("GET /a%20b?c=d&e HTTP/1.1",
      "X-Twice: 1", "x-twice:2 ", "X-Empty:"))
    assert.matches("^HTTP/1%.1 200 OK\r\n", answer)
    assert.matches("\r\ndate: %a%a%a, %d%d %a%a%a %d%d%d%d [%d:]+ GMT\r\n",
      answer)
    assert.matches("\r\nconnection: close\r\n", answer)
    assert.matches("\r\n\r\nGET|/a%%20b|c=d&e||127%.0%.0%.1|http/1%.1|" ..
      "connection=close&host=a&x%-empty=&x%-twice=1, 2$", answer)
  end)

  it("tells an absent query from an empty one", function()
    assert.matches("|/|nil|", wire.send(port, request("GET / HTTP/1.1")))
    assert.matches("|/||", wire.send(port, request("GET /? HTTP/1.1")))
  end)

  it("takes the absolute form of a target", function()
    assert.matches("GET|/x|y|", wire.send(port,
      request("GET http://a:80/x?y HTTP/1.1")))
    assert.matches("GET|/|nil|", wire.send(port,
      request("GET https://a HTTP/1.1")))
    assert.matches("OPTIONS|%*|nil|", wire.send(port,
      request("OPTIONS * HTTP/1.1")))
  end)

  it("reads a body of a known length, in whatever pieces it comes",
  function()
    local whole = request("POST / HTTP/1.1", "Content-Length: 11")
      .. "hello\0world"
    assert.matches("|nil|hello%zworld|", wire.send(port, whole))
    assert.matches("|nil|hello%zworld|", wire.send(port, whole:sub(1, 9),
      whole:sub(10, #whole - 8), whole:sub(-8, -3), whole:sub(-2)))
  end)

  it("reads chunks with extensions and trailers", function()
    local answer = wire.send(port, request("POST / HTTP/1.1",
      "Transfer-Encoding: Chunked") ..
      "5;a=b\r\nhello\r\n00B\r\n, dear worl\r\n1\r", "\nd\r\n0\r\nX: y\r",
      "\nZ: \r\n\r\n")
    assert.matches("|hello, dear world|", answer)
    assert.matches("&transfer%-encoding=Chunked$", answer)
  end)

  it("answers what was sent ahead, in order", function()
    local answer = wire.send(port,
      "GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n" ..
      "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" ..
      "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" ..
      "1\r\nc\r\n0\r\n\r\n" .. request("GET /4 HTTP/1.1"))
    assert.matches("GET|/sleep.*POST|/2|nil|ab.*POST|/3|nil|c.*GET|/4|",
      answer)
  end)

  it("says go on to who asks before the body", function()
    local head = request("POST / HTTP/1.1", "Content-Length: 2",
      "Expect: 100-continue")
    local answer = wire.send(port, head, "ab")
    assert.same({ 100, 200 }, wire.statuses(answer))
    assert.same({ 200 }, statuses(head .. "ab"))
    assert.same({ 413 }, statuses(request("POST / HTTP/1.1",
      "Content-Length: 999999", "Expect: 100-continue")))
    assert.same({ 417 }, statuses(request("POST / HTTP/1.1",
      "Content-Length: 2", "Expect: a-miracle") .. "ab"))
  end)

  it("leaves methods that it does not know to the handler", function()
    for _, method in ipairs({ "BREW", "get", "GETX", "M-SEARCH", "!" }) do
      local answer = wire.send(port, request(method .. " /x HTTP/1.1",
                                             "Content-Length: 2") .. "hi")
      assert.matches("\r\n\r\n" .. method .. "|/x|nil|hi|", answer, 1, true)
    end
  end)

  it("answers HEAD as GET less the body", function()
    local answer = wire.send(port, request("HEAD /x HTTP/1.1"))
    assert.matches("\r\ncontent%-length: %d%d", answer)
    assert.matches("\r\n\r\n$", answer)
  end)

  it("keeps an HTTP/1.0 connection only when asked to", function()
    assert.matches("\r\nconnection: close\r\n",
      wire.send(port, "GET / HTTP/1.0\r\n\r\n"))
    local answer = wire.send(port,
      "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
      "GET /2 HTTP/1.0\r\n\r\n")
    assert.matches("\r\nconnection: keep%-alive\r\n.*GET|/2|", answer)
  end)

  it("closes when the handler says so", function()
    local answer = wire.send(port,
      "GET /close HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.same({ 200 }, wire.statuses(answer))
    assert.matches("\r\nconnection: close\r\n", answer)
  end)

  it("writes lists of headers, numbers, and no body with 204", function()
    local answer = wire.send(port, request("GET /list HTTP/1.1"))
    assert.matches("\r\nset%-cookie: a\r\nset%-cookie: b\r\n", answer)
    assert.matches("\r\nx%-number: 7\r\n", answer)
    answer = wire.send(port, request("GET /none HTTP/1.1"))
    assert.matches("^HTTP/1%.1 204 No Content\r\n", answer)
    assert.is_nil(answer:find("content-length", 1, true))
  end)

  it("sends an answer that is larger than the socket takes", function()
    local answer = wire.send(port, request("GET /large HTTP/1.1"))
    assert.matches("\r\ncontent%-length: 3000000\r\n", answer)
    assert.equal(3000000, #answer:match("\r\n\r\n(.*)$"))
  end)

  it("answers what was sent ahead of an answer that is taken slowly",
  function()
    local pipe = io.popen(([[python3 -c '
import socket, time
peer = socket.create_connection(("127.0.0.1", %d))
peer.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 3
  + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
time.sleep(0.1)
text = peer.makefile("rb").read()
print(len(text) // 3000000, text.count(b"HTTP/1.1 200 "), text[-4:])
']]):format(port))
    assert.equal("3 4 b'st=a'\n", pipe:read("a"))
    pipe:close()
  end)

  it("answers 500 to a handler that fails, and says why here", function()
    assert.same({ 500 }, statuses(request("GET /fail HTTP/1.1")))
    running:wait_for("trace: %S+: broken\nstack traceback:")
    assert.same({ 500 }, statuses(request("GET /nothing HTTP/1.1")))
    running:wait_for("trace: the handler returned no response but a nil")
    assert.same({ 500 }, statuses(request("GET /header HTTP/1.1")))
    running:wait_for('trace: control character in header "x%-bad"')
    assert.same({ 500 }, statuses(request("GET /length HTTP/1.1")))
    running:wait_for('trace: header "content%-length" is not the handler')
  end)

  describe("refuses", function()
    local LONG = ("x"):rep(20000)
    local post = "POST / HTTP/1.1\r\nHost: a\r\n"
    local chunked = post .. "Transfer-Encoding: chunked\r\n\r\n"
    local cases = {
      { "a length twice", 400,
        post .. "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx" },
      { "a length as a list", 400,
        post .. "Content-Length: 1, 1\r\n\r\nx" },
      { "a length with a sign", 400, post .. "Content-Length: +1\r\n\r\nx" },
      { "a negative length", 400, post .. "Content-Length: -1\r\n\r\nx" },
      { "a hexadecimal length", 400,
        post .. "Content-Length: 0x1\r\n\r\nx" },
      { "an empty length", 400, post .. "Content-Length: \r\n\r\nx" },
      { "a length beyond 64 bits", 413,
        post .. "Content-Length: 99999999999999999999999\r\n\r\nx" },
      { "a length with a coding", 400, post ..
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
      { "a coding twice", 400, post .. "Transfer-Encoding: chunked\r\n" ..
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
      { "an unknown coding", 501,
        post .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
      { "a coding that only looks like one", 501,
        post .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
      { "a coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\n" ..
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
      { "a space before the colon", 400,
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n" },
      { "a header without a name", 400,
        "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n" },
      { "a header without a colon", 400,
        "GET / HTTP/1.1\r\nHost: a\r\nxy\r\n\r\n" },
      { "a folded line", 400,
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n" },
      { "LF alone", 400, "GET / HTTP/1.1\nHost: a\n\n" },
      { "LF alone after a header", 400,
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n" },
      { "CR alone", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n" },
      { "NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n" },
      { "a control character", 400,
        "GET / HTTP/1.1\r\nHost: a\r\nX: \1\r\n\r\n" },
      { "no host", 400, "GET / HTTP/1.1\r\n\r\n" },
      { "two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" },
      { "a host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
      { "a host whose port is none", 400,
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n" },
      { "a host with two ports", 400,
        "GET / HTTP/1.1\r\nHost: a:80:90\r\n\r\n" },
      { "an address that does not end", 400,
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
      { "garbage", 400, "\22\3\1\2\0\1\0\1\252\3\3" },
      { "a line of one word", 400, "GET\r\nHost: a\r\n\r\n" },
      { "two spaces in the first line", 400,
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a tab in the first line", 400,
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a target of no known form", 400,
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a fragment", 400, "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "bytes outside ASCII in the target", 400,
        "GET /\195\164 HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a space in the target", 400,
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a version in lower case", 400,
        "GET / http/1.1\r\nHost: a\r\n\r\n" },
      { "another version", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
      { "a method that is no token", 400,
        "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a tunnel", 400, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "a long header", 431,
        "GET / HTTP/1.1\r\nHost: a\r\nX: " .. LONG .. "\r\n\r\n" },
      { "a long target", 431, "GET /" .. LONG },
      { "many headers", 431, "GET / HTTP/1.1\r\nHost: a\r\n"
        .. ("a:\r\n"):rep(128) .. "\r\n" },
      { "a body that is announced too long", 413,
        post .. "Content-Length: 262145\r\n\r\nx" },
      { "chunks that become too long", 413, chunked
        .. ("10000\r\n" .. ("x"):rep(65536) .. "\r\n"):rep(5) },
      { "a chunk without a size", 400, chunked .. "\r\n0\r\n\r\n" },
      { "a chunk size with a sign", 400, chunked .. "+1\r\nx\r\n0\r\n\r\n" },
      { "a chunk size with 0x", 400, chunked .. "0x1\r\nx\r\n0\r\n\r\n" },
      { "a chunk size with a space", 400, chunked .. "1 \r\nx\r\n0\r\n\r\n" },
      { "a chunk size of many digits", 400,
        chunked .. "000000001\r\nx\r\n0\r\n\r\n" },
      { "LF alone after a chunk size", 400, chunked .. "1\nx\r\n0\r\n\r\n" },
      { "a chunk longer than its size", 400,
        chunked .. "1\r\nxy\r\n0\r\n\r\n" },
      { "LF alone after a chunk", 400, chunked .. "1\r\nx\n0\r\n\r\n" },
      { "CR alone in an extension", 400,
        chunked .. "1;a\rb\r\nx\r\n0\r\n\r\n" },
      { "a folded trailer", 400, chunked .. "0\r\nX: y\r\n z\r\n\r\n" },
      { "a trailer without a colon", 400, chunked .. "0\r\nX\r\n\r\n" },
      { "LF alone in a trailer", 400, chunked .. "0\r\nX: y\n\r\n" },
      { "LF alone at the end of chunks", 400, chunked .. "0\r\n\n" },
      { "long extensions", 431, chunked .. "1;" .. LONG },
      { "long trailers", 431, chunked .. "0\r\nX: " .. LONG },
    }
    for _, case in ipairs(cases) do
      local what, status, bytes = table.unpack(case)
      it(what .. ": " .. status, function()
        local answer = wire.send(port, bytes)
        assert.same({ status }, wire.statuses(answer))
        assert.matches("\r\nconnection: close\r\n", answer)
      end)
    end
  end)

  it("has no words for another protocol", function()
    assert.equal("", wire.send(port, "GET / RTSP/1.0\r\nHost: a\r\n\r\n"))
    assert.equal("", wire.send(port, "HELLO TO YOU\r\n\r\n"))
  end)

  it("lets a whole head be as long as the limit", function()
    local start = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
    local function head(size)
      return start .. ("x"):rep(size - #start - 4) .. "\r\n\r\n"
    end
    assert.same({ 200 }, statuses(head(16384)))
    assert.same({ 431 }, statuses(head(16385)))
  end)

  it("takes a body as long as the limit", function()
    assert.same({ 200 }, statuses(request("POST / HTTP/1.1",
      "Content-Length: 262144") .. ("x"):rep(262144)))
  end)

  it("does not wait for a request that does not end", function()
    assert.same({ 408 }, statuses("GET / HT"))
    assert.same({ 408 }, statuses("POST / HTTP/1.1\r\nHost: a\r\n" ..
      "Content-Length: 5\r\n\r\nab"))
    local drops = {}
    for i = 1, 12 do drops[i] = "X: y\r\n" end
    assert.same({ 408 }, statuses("GET / HTTP/1.1\r\nHost: a\r\n",
      table.unpack(drops)))
  end)

  it("takes a host that is empty, an address, or has a port", function()
    for _, host in ipairs({ "", "a:", "a:80", "[::1]", "[::1]:80" }) do
      assert.same({ 200 }, statuses("GET / HTTP/1.1\r\nHost: " .. host
        .. "\r\nConnection: close\r\n\r\n"), host)
    end
  end)

  it("skips one empty line before a request", function()
    assert.same({ 200 }, statuses("\r\n" .. request("GET / HTTP/1.1")))
  end)

  it("still answers after all that", function()
    assert.same({ 200 }, statuses(request("GET / HTTP/1.1")))
    assert.is_true(program.finish(running))
  end)
end)
