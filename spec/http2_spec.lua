local frames = require("spec.frames")
local program = require("spec.server_program")
local wire = require("spec.wire")

local frame, get, post = frames.frame, frames.get, frames.post
local END_STREAM, PADDED = frames.END_STREAM, frames.PADDED
local preface, goodbye = frames.preface, frames.goodbye

local CALM, NO_ERROR, CANCEL, REFUSED = 11, 0, 8, 7

local SERVER = [[
  local signal = server.signal()
  local routes = {}

  routes["/wait"] = function(request)
    print("waiting" .. (request.query or ""))
    signal:wait()
    return { status = 200, body = "waited" }
  end
  routes["/wake"] = function()
    signal:wake()
    return { status = 200, body = "woken" }
  end
  routes["/big"] = function()
    return { status = 200, body = ("x"):rep(200000) }
  end
  routes["/trailers"] = function()
    return { status = 200, body = "text", trailers = { ["x-end"] = "1" } }
  end
  routes["/bare"] = function()
    return { status = 200, trailers = { ["x-end"] = "1" } }
  end
  routes["/empty"] = function() return { status = 204 } end
  routes["/wrong"] = function() return { status = 200, headers = 1 } end
  routes["/upload"] = function(request)
    return { status = 200, stream = function(write)
      local sizes = {}
      for bytes in request.read do sizes[#sizes + 1] = #bytes end
      write(table.concat(sizes, " "))
      return { ["x-end"] = "1" }
    end }
  end
  routes["/echo"] = function(request)
    return { status = 200, stream = function(write)
      for bytes in request.read do write("<" .. bytes .. ">") end
      print("read to the end")
    end }
  end
  routes["/endless"] = function()
    return { status = 200, stream = function(write)
      local count = 0
      while write(("x"):rep(10000)) do count = count + 1 end
      print("gone after " .. count)
    end }
  end
  routes["/patient"] = function()
    return { status = 200, stream = function(write)
      write("first")
      print("patient")
      while not server.stopping() and write("") do server.sleep(0.02) end
      write("last")
    end }
  end
  routes["/throws"] = function()
    return { status = 200, stream = function(write)
      write("begun")
      server.sleep(0.05)
      error("in the middle")
    end }
  end

  local late
  server.http(listen(), function(request)
    if routes[request.path] then return routes[request.path](request) end
    local lines = { request.method .. " " .. request.path .. " "
                    .. request.protocol .. " " .. request.body }
    for name, value in pairs(request.headers) do
      lines[#lines + 1] = name .. ": " .. value
    end
    return { status = 200, body = table.concat(lines, "\n") .. "\n" }
  end, {
    request_seconds = 1, idle_seconds = %s,
    streams = { ["/upload"] = true, ["/echo"] = true },
    refuse = function(status, request)
      return { status = status,
               body = (request and request.path or "?") .. " " .. status }
    end,
    on_error = function(trace) print(trace) end,
  })
  server.run()
]]

local function start(idle)
  return program.start((SERVER:gsub("%%s", idle or "30")))
end

-- All that the server sends for these bytes, until it closes.
local function talk(port, ...)
  return frames.parse(wire.send(port, preface, ...))
end

local function goaways(list)
  local errors = {}
  for i, one in ipairs(frames.only(list, "GOAWAY")) do
    errors[i] = one.error
  end
  return errors
end

-- Resident memory of a process, in KiB.
local function resident(pid)
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local size = line:match("^VmHWM:%s*(%d+)")
    if size then return tonumber(size) end
  end
end

describe("http2", function()
  local running, port

  it("answers at once on paths that stream by default, and on others when "
    .. "the request is whole", function()
    running, port = program.start([[
      server.http(listen(), function(request)
        return { status = request.read and 404 or 200, body = request.path }
      end, { request_seconds = 1,
             streams = { ["/known"] = false, ["*"] = true } })
      server.run()
    ]])
    finally(program.stop)
    -- Neither ends; the known one is refused when its time is over.
    local list = talk(port, post(1, "/strange") .. post(3, "/known"),
                      goodbye)
    assert.equal(404, frames.only(list, "HEADERS", 1)[1].status)
    assert.equal("/strange", frames.body(list, 1))
    assert.equal(408, frames.only(list, "HEADERS", 3)[1].status)
    list = talk(port, post(1, "/known") .. frame("DATA", END_STREAM, 1)
                .. goodbye)
    assert.equal(200, frames.only(list, "HEADERS", 1)[1].status)
  end)

  describe("answers", function()
    before_each(function() running, port = start() end)
    after_each(program.stop)

    local function one(...)
      local list = talk(port, ...)
      local head = frames.only(list, "HEADERS", 1)
      return head[1] and head[1].status, frames.body(list, 1), list
    end

    it("a request, and tells its host once", function()
      local status, body = one(get(1, "/a?b=1", { ["x-a"] = "y" }) .. goodbye)
      assert.equal(200, status)
      assert.matches("^GET /a h2 \n", body)
      assert.matches("\nhost: a\n", body)
      assert.matches("\nx%-a: y\n", body)
    end)

    it("a request whose host is told as an ordinary field", function()
      local status, body = one(frame("HEADERS", 5, 1,
        frames.field(":method", "GET") .. frames.field(":scheme", "http")
        .. frames.field(":path", "/") .. frames.field("host", "b"))
        .. goodbye)
      assert.equal(200, status)
      assert.matches("\nhost: b\n", body)
    end)

    it("many requests at once, each on its stream", function()
      local asked = {}
      for i = 1, 99, 2 do asked[#asked + 1] = get(i, "/" .. i) end
      local list = talk(port, table.concat(asked) .. goodbye)
      for i = 1, 99, 2 do
        assert.matches("^GET /" .. i .. " ", frames.body(list, i))
      end
      assert.is_true(program.finish(running))
    end)

    it("a fast one while a slow one waits", function()
      local list = talk(port, get(1, "/wait"), get(3, "/wake") .. goodbye)
      assert.equal("waited", frames.body(list, 1))
      assert.equal("woken", frames.body(list, 3))
    end)

    it("with a body that waits for windows", function()
      local status, body = one(get(1, "/big"),
        frame("WINDOW_UPDATE", 0, 0, "\0\4\0\0")
        .. frame("WINDOW_UPDATE", 0, 1, "\0\4\0\0") .. goodbye)
      assert.equal(200, status)
      assert.equal(200000, #body)
    end)

    it("a body of several frames, with padding", function()
      local _, body = one(post(1, "/") .. frame("DATA", 0, 1, "one ")
        .. frame("DATA", PADDED, 1, "\3two \0\0\0")
        .. frame("DATA", END_STREAM, 1, "three") .. goodbye)
      assert.matches("^POST / h2 one two three\n", body)
    end)

    it("HEAD and 204 without a body", function()
      local status, body = one(frame("HEADERS", 5, 1,
        frames.request("HEAD", "/")) .. goodbye)
      assert.same({ 200, "" }, { status, body })
      status, body = one(get(1, "/empty") .. goodbye)
      assert.same({ 204, "" }, { status, body })
    end)

    it("with trailers after the body, or right after the head", function()
      local _, body, list = one(get(1, "/trailers") .. goodbye)
      assert.equal("text", body)
      local heads = frames.only(list, "HEADERS", 1)
      assert.same({ 4, 5 }, { heads[1].flags, heads[2].flags })
      list = talk(port, get(1, "/bare") .. goodbye)
      heads = frames.only(list, "HEADERS", 1)
      assert.same({ 4, 5 }, { heads[1].flags, heads[2].flags })
      assert.same({}, frames.only(list, "DATA"))
    end)

    it("500 to what cannot be sent", function()
      local status, body = one(get(1, "/wrong") .. goodbye)
      assert.same({ 500, "/wrong 500" }, { status, body })
      assert.matches("table expected", running:output())
    end)

    it("a request that ends in trailers", function()
      local status, body = one(post(1, "/") .. frame("DATA", 0, 1, "text")
        .. frame("HEADERS", 5, 1, frames.field("x-end", "1")) .. goodbye)
      assert.equal(200, status)
      assert.matches("^POST / h2 text\n", body)
    end)
  end)

  describe("lets a handler", function()
    before_each(function() running, port = start("1") end)
    after_each(program.stop)

    it("read a body as it comes", function()
      local list = talk(port, post(1, "/upload"), frame("DATA", 0, 1, "ab"),
        frame("DATA", END_STREAM, 1, "c") .. goodbye)
      assert.equal("2 1", frames.body(list, 1))
      assert.equal(2, #frames.only(list, "HEADERS", 1))
    end)

    it("answer what it reads at once", function()
      local list = talk(port, post(1, "/echo") .. frame("DATA", 0, 1, "a"),
        frame("DATA", 0, 1, "b"), frame("DATA", END_STREAM, 1) .. goodbye)
      assert.equal("<a><b>", frames.body(list, 1))
      assert.matches("read to the end", running:output())
    end)

    it("hear the end when the peer resets, leaves or falls silent", function()
      talk(port, post(1, "/echo"), frame("RST_STREAM", 0, 1, "\0\0\0\8")
        .. goodbye)
      running:wait_for("(read to the end)")
      talk(port, post(1, "/echo") .. post(3, "/echo"))
      running:wait_for("read to the end.*read to the end(.*)")
      assert.is_true(program.finish(running))
    end)

    it("write no more than the peer takes", function()
      talk(port, get(1, "/endless"), frame("RST_STREAM", 0, 1, "\0\0\0\8")
        .. goodbye)
      local count = tonumber(running:wait_for("gone after (%d+)"))
      assert.is_true(count < 20)
    end)

    it("write for a peer that takes nothing, and then no longer", function()
      local list = talk(port, get(1, "/endless"))
      running:wait_for("gone after (%d+)")
      assert.equal(CANCEL, frames.only(list, "RST_STREAM", 1)[1].error)
    end)

    it("fail in the middle: the stream is reset", function()
      local list = talk(port, get(1, "/throws") .. goodbye)
      assert.equal("begun", frames.body(list, 1))
      assert.equal(2, frames.only(list, "RST_STREAM", 1)[1].error)
      assert.matches("in the middle", running:output())
    end)

    it("stream in HTTP/2 only", function()
      assert.same({ 500 }, wire.statuses(wire.send(port,
        wire.get("/endless"))))
      assert.matches("only HTTP/2 can stream", running:output())
    end)
  end)

  describe("refuses", function()
    before_each(function() running, port = start() end)
    after_each(program.stop)

    local LONG = ("x"):rep(17000)
    local cases = {
      { "a long field", 431, "/long",
        frame("HEADERS", 1, 1, (frames.request("GET", "/long",
          { ["x-a"] = LONG }):sub(1, 16000)))
        .. frame("CONTINUATION", 4, 1, (frames.request("GET", "/long",
          { ["x-a"] = LONG }):sub(16001))) },
      { "many fields", 431, "/many", frame("HEADERS", 5, 1,
        frames.request("GET", "/many") .. frames.field("x", "y"):rep(130)) },
      { "a long path", 431, "?", frame("HEADERS", 1, 1, (frames.request("GET",
          "/" .. LONG):sub(1, 16000)))
        .. frame("CONTINUATION", 4, 1, (frames.request("GET", "/" .. LONG)
          :sub(16001))) },
      { "two hosts", 400, "/", get(1, "/", { host = "b" }) },
      { "a fragment in the path", 400, "?", get(1, "/#a") },
      { "bytes outside ASCII in the path", 400, "?", get(1, "/\195\164") },
      { "a tunnel", 400, "?", frame("HEADERS", 5, 1,
        frames.field(":method", "CONNECT")
        .. frames.field(":authority", "a:1")) },
      { "a body that is announced too long", 413, "/announced",
        post(1, "/announced", { ["content-length"] = "262145" })
        .. frame("DATA", 0, 1, "x") },
      { "a body that does not end", 408, "/slow", post(1, "/slow")
        .. frame("DATA", 0, 1, "x") },
    }
    for _, case in ipairs(cases) do
      local what, status, path, bytes = table.unpack(case)
      it(what .. ": " .. status, function()
        local list = talk(port, bytes, goodbye)
        assert.equal(status, frames.only(list, "HEADERS", 1)[1].status)
        assert.equal(path .. " " .. status, frames.body(list, 1))
      end)
    end

    it("a body that becomes too long, when it has come: 413", function()
      local data = frame("DATA", 0, 1, ("x"):rep(15000)):rep(4)
      local list = talk(port, post(1, "/"), data, data, data, data,
        data .. frame("DATA", END_STREAM, 1) .. goodbye)
      assert.equal(413, frames.only(list, "HEADERS", 1)[1].status)
      assert.same({}, frames.only(list, "RST_STREAM"))
    end)

    it("who does not end what was answered: it is reset", function()
      local list = talk(port, post(1, "/#a") .. goodbye)
      assert.equal(NO_ERROR, frames.only(list, "RST_STREAM", 1)[1].error)
    end)

    it("more streams than it has announced", function()
      local asked = {}
      for i = 1, 203, 2 do asked[#asked + 1] = post(i, "/") end
      local list = talk(port, table.concat(asked), goodbye)
      assert.equal(REFUSED, frames.only(list, "RST_STREAM", 201)[1].error)
      local last = frames.only(list, "RST_STREAM", 199)[1]
      assert.equal(NO_ERROR, last.error) -- it was answered 408
    end)

    it("what it cannot hold: 503", function()
      local asked = {}
      for i = 1, 199, 2 do
        asked[#asked + 1] = post(i, "/", { ["x-a"] = ("y"):rep(15000) })
      end
      asked = preface .. table.concat(asked)
      local crowd, refused = {}, 0
      for i = 1, 50 do crowd[i] = wire.start(port, asked, goodbye) end
      for _, answers in ipairs(crowd) do
        for _, head in ipairs(frames.only(frames.parse(answers()),
                                          "HEADERS")) do
          if head.status == 503 then refused = refused + 1 end
        end
      end
      assert.is_true(refused > 0)
      local list = talk(port, get(1, "/") .. goodbye)
      assert.equal(200, frames.only(list, "HEADERS", 1)[1].status)
    end)

    it("a preface that does not end, or is another's", function()
      assert.matches("^HTTP/1.1 408 ", wire.send(port, "PR"))
      for _, begun in ipairs({ "PRI * HTTP/2.0\r\n",
                               "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" }) do
        local list = frames.parse(wire.send(port, begun))
        assert.equal(#list, #frames.only(list, "SETTINGS"))
      end
    end)

    it("a header block that does not end", function()
      assert.same({ CALM }, goaways(talk(port, frame("HEADERS", 0, 1,
        frames.request("GET", "/")))))
    end)

    it("what is no HTTP/2", function()
      assert.same({ 1 }, goaways(talk(port, frame("DATA", 0, 1, "x"))))
    end)
  end)

  describe("ends a connection that", function()
    setup(function() running, port = start() end)

    teardown(function()
      local went = program.finish(running)
      program.stop()
      assert.is_true(went)
    end)

    local ping = frame("PING", 0, 0, "12345678")
    local block = frames.field("x", ("y"):rep(16000))
    local cancel = "\0\0\0\8"
    local function resets()
      local list = {}
      for i = 1, 20000, 2 do
        list[#list + 1] = get(i, "/wait")
        list[#list + 1] = frame("RST_STREAM", 0, i, cancel)
      end
      return table.concat(list)
    end
    -- One field of 4,000 bytes in the table, then named a byte each time.
    local function bomb()
      return frame("HEADERS", 4, 1, frames.request("GET", "/")
        .. "\64\1x\127\161\30" .. ("y"):rep(4000) .. ("\190"):rep(10000))
    end
    local floods = {
      { "takes back 10,000 requests", resets },
      { "sends 100,000 pings", function() return ping:rep(100000) end },
      { "sends settings without end", function()
        return frame("SETTINGS", 0, 0):rep(10000)
      end },
      { "sends empty frames without end", function()
        return post(1, "/echo") .. frame("DATA", 0, 1):rep(10000)
      end },
      { "sends padding without end", function()
        return post(1, "/echo") .. frame("DATA", PADDED, 1, "\0"):rep(10000)
      end },
      { "sends priorities without end", function()
        return frame("PRIORITY", 0, 3, "\0\0\0\0\1"):rep(10000)
      end },
      { "opens windows without end", function()
        return post(1, "/echo")
          .. frame("WINDOW_UPDATE", 0, 1, "\0\0\0\1"):rep(10000)
      end },
      { "continues a header block without end", function()
        return frame("HEADERS", 1, 1, frames.request("GET", "/"))
          .. frame("CONTINUATION", 0, 1, block):rep(1000)
      end },
      { "continues a header block in small frames", function()
        return frame("HEADERS", 1, 1, frames.request("GET", "/"))
          .. frame("CONTINUATION", 0, 1, frames.field("x", "y")):rep(1000)
      end },
      { "sends a header list that grows when it is read", bomb },
    }
    for i, flood in ipairs(floods) do
      it(flood[1], function()
        talk(port, get(1, "/") .. goodbye)
        local before = resident(running.pid)
        local other = wire.start(port, preface .. get(1, "/wait?" .. i)
                                 .. goodbye)
        running:wait_for("waiting" .. i .. "\n()")
        local list = talk(port, flood[2]())
        assert.same({ CALM }, goaways(list))
        talk(port, get(1, "/wake") .. goodbye)
        assert.is_true(resident(running.pid) - before < 4096)
        assert.equal("waited", frames.body(frames.parse(other()), 1))
      end)
    end

  end)

  describe("has patience, but not with who", function()
    before_each(function() running, port = start("1") end)
    after_each(program.stop)

    it("is idle", function()
      local list = talk(port, get(1, "/"))
      assert.same({ NO_ERROR }, goaways(list))
      assert.equal(1, frames.only(list, "GOAWAY")[1].last)
    end)

    it("takes no answer", function()
      local list = talk(port, get(1, "/big"))
      assert.equal(65535, #frames.body(list, 1))
      assert.equal(CANCEL, frames.only(list, "RST_STREAM", 1)[1].error)
      assert.same({ NO_ERROR }, goaways(list))
    end)
  end)

  describe("when it stops", function()
    before_each(function() running, port = start() end)
    after_each(program.stop)

    local pong = frame("PING", frames.ACK, 0, "goodbye\0")

    -- What comes for these bytes when the server is told to stop after the
    -- first of them.
    local function stopped(first, printed, ...)
      local list = wire.start(port, preface .. first, "", "", ...)
      running:wait_for(printed)
      assert.is_true(program.finish(running))
      return frames.parse(list())
    end

    local function farewells(list)
      local last = {}
      for i, one in ipairs(frames.only(list, "GOAWAY")) do
        assert.equal(NO_ERROR, one.error)
        last[i] = one.last
      end
      return last
    end

    it("says so, answers what was on its way, and goes", function()
      local list = stopped(get(1, "/wait"), "waiting", get(3, "/wake"), pong)
      assert.equal("waited", frames.body(list, 1))
      assert.equal("woken", frames.body(list, 3))
      assert.same({ 0x7fffffff, 3 }, farewells(list))
    end)

    it("takes no request after its last word", function()
      local list = stopped(get(1, "/patient"), "patient", pong,
                           get(3, "/"))
      assert.equal("firstlast", frames.body(list, 1))
      assert.equal("", frames.body(list, 3))
      assert.same({ 0x7fffffff, 1 }, farewells(list))
    end)

    it("lets long streams hear of it", function()
      local list = stopped(get(1, "/patient"), "patient")
      assert.equal("firstlast", frames.body(list, 1))
    end)
  end)
end)
