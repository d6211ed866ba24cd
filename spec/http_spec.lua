local engine = require("fulcio.engine")
local process = require("spec.process")

local server = engine.server

local modules = ("package.path, package.cpath = %q, %q\n"):format(
  package.path, package.cpath)

-- A Lua text in a process of its own.
local function child(text, words, environment)
  local all = words or {}
  for _, word in ipairs({ "lua5.4", "-e", modules .. text }) do
    all[#all + 1] = word
  end
  return process.start(all, environment)
end

-- Answers as the path says, on TCP and on a unix socket.
local SERVER = [[
  local server = require("fulcio.engine").server
  local answers = {
    ["/echo"] = function(request)
      local lines = { request.method, request.body }
      for name, value in pairs(request.headers) do
        lines[#lines + 1] = name .. "=" .. value
      end
      return { status = 200, body = table.concat(lines, "\n") }
    end,
    ["/slow"] = function()
      server.sleep(20)
      return { status = 200 }
    end,
    ["/big"] = function(request)
      return { status = 200, body = ("x"):rep(tonumber(request.query)) }
    end,
    ["/heads"] = function(request)
      local headers = {}
      for i = 1, tonumber(request.query) do
        headers["x-number-" .. i] = ("y"):rep(1000)
      end
      return { status = 200, headers = headers }
    end,
    ["/twice"] = function()
      return { status = 200, headers = { ["x-two"] = { "a", "b,c" } } }
    end,
    ["/moved"] = function()
      return { status = 302, headers = { location = "/echo" }, body = "go" }
    end,
    ["/teapot"] = function() return { status = 418, body = "short" } end,
    ["/empty"] = function() return { status = 204 } end,
  }
  local function handler(request) return answers[request.path](request) end
  local tcp = assert(server.listen({ host = "127.0.0.1", port = 0 }))
  local unix = assert(server.listen({ unix = SOCKET }))
  server.http(tcp, handler)
  server.http(unix, handler)
  io.stdout:write("port ", tcp.port, "\n"):flush()
  server.run()
]]

-- Runs a function on the loop of this process.
local function on_loop(run)
  server.spawn(function()
    run()
    server.stop()
  end)
  server.run()
end

local function blocking(run) run() end

local program, directory, base

setup(function()
  directory = process.directory()
  program = child(("SOCKET = %q\n"):format(directory .. "/s") .. SERVER)
  base = "http://127.0.0.1:" .. program:wait_for("port (%d+)")
end)

teardown(function()
  process.stop_all()
  os.execute("rm -r " .. directory)
end)

for name, mode in pairs({ ["http while it blocks"] = blocking,
                          ["http on the loop"] = on_loop }) do
  local function request(about)
    local answer, message, code
    mode(function() answer, message, code = engine.http.request(about) end)
    return answer, message, code
  end

  local function get(path, about)
    about = about or {}
    about.url = base .. path
    return request(about)
  end

  local function lines(answer)
    local found = {}
    for line in (answer.body .. "\n"):gmatch("(.-)\n") do
      found[#found + 1] = line
      found[line] = true
    end
    return found
  end

  describe(name, function()
    it("gets, and sends nothing that was not asked for", function()
      local answer = assert(get("/echo"))
      assert.equal(200, answer.status)
      local echo = lines(answer)
      assert.equal("GET", echo[1])
      assert.equal("", echo[2])
      assert.is_true(echo["user-agent=fulcio/" .. engine.version])
      assert.is_nil(answer.body:find("content-type", 1, true))
      assert.is_nil(answer.body:find("encoding", 1, true))
      assert.is_nil(answer.body:find("expect", 1, true))
    end)

    it("posts a body with headers of one's own", function()
      local body = ("z"):rep(200000) .. "\0\1\255"
      local answer = assert(get("/echo", {
        body = body, headers = { ["Content-Type"] = "application/json",
                                 Host = "log.example", ["X-Empty"] = "" },
        max_body = 300000,
      }))
      assert.equal(body, answer.body:match("^POST\n(.-)\n"))
      local echo = lines(answer)
      assert.is_true(echo["content-type=application/json"])
      assert.is_true(echo["host=log.example"])
      assert.is_true(echo["x-empty="])
      assert.is_true(echo["content-length=" .. #body])
    end)

    it("posts nothing, and uses other methods", function()
      assert.equal("POST",
        lines(get("/echo", { method = "POST" }))[1])
      assert.equal("PUT",
        lines(get("/echo", { method = "PUT", body = "x" }))[1])
      assert.equal("DELETE",
        lines(get("/echo", { method = "DELETE" }))[1])
      assert.equal("", get("/big?10", { method = "HEAD" }).body)
    end)

    it("returns every status, and redirects as they are", function()
      local answer = assert(get("/teapot"))
      assert.same({ 418, "short" }, { answer.status, answer.body })
      answer = assert(get("/moved"))
      assert.same({ 302, "go", "/echo" },
        { answer.status, answer.body, answer.headers.location })
      assert.equal(204, get("/empty").status)
    end)

    it("gives headers lower-case names and joins those that repeat",
      function()
        assert.equal("a, b,c", get("/twice").headers["x-two"])
      end)

    it("takes a body up to the limit and no larger", function()
      assert.equal(262144, #get("/big?262144").body)
      local answer, message, code = get("/big?262145")
      assert.is_nil(answer)
      assert.equal("too_large", code)
      assert.equal(base .. "/big: the answer is too large", message)
      assert.equal(10, #get("/big?10", { max_body = 10 }).body)
      assert.equal("too_large",
        select(3, get("/big?11", { max_body = 10 })))
    end)

    it("takes no endless headers", function()
      assert.equal(200, get("/heads?50").status)
      assert.equal("too_large", select(3, get("/heads?70")))
    end)

    it("gives up at its deadline", function()
      local answer, message, code = get("/slow", { timeout = 0.05 })
      assert.is_nil(answer)
      assert.equal("timeout", code)
      assert.equal(base .. "/slow: no answer within 0.05 s", message)
    end)

    it("speaks over a unix socket", function()
      local about = { url = "http://log/echo",
                      unix_socket = directory .. "/s" }
      assert.is_true(lines(request(about))["host=log"])
      about.unix_socket = directory .. "/none"
      assert.equal("refused", select(3, request(about)))
    end)

    it("tells a closed port, an unknown name and a bad address apart",
      function()
        assert.equal("refused",
          select(3, request({ url = "http://127.0.0.1:1/" })))
        local message, code = select(2, request({
          url = "http://nobody.invalid/x?token=1" }))
        assert.equal("dns", code)
        assert.matches("^http://nobody.invalid/x: ", message)
        for _, url in ipairs({ "ftp://127.0.0.1/", "file:///etc/passwd",
                               "http://", "nonsense url", "",
                               "http://user:pass@127.0.0.1/" }) do
          assert.equal("bad_address", select(3, request({ url = url })))
        end
      end)

    it("refuses addresses that are not public, after DNS", function()
      for _, host in ipairs({ "localhost", "127.0.0.1", "[::1]",
                              "2130706433", "0x7f.1" }) do
        local url = base:gsub("127.0.0.1", (host:gsub("%%", "%%%%")))
        local answer, message, code = request({
          url = url:gsub("^http", "https"), addresses = "public" })
        assert.is_nil(answer)
        assert.equal("bad_address", code)
        assert.matches("leads to an address that is not public", message)
      end
      assert.equal("bad_address", select(3, request({
        url = base .. "/echo", addresses = "public" })))
      assert.equal(200, get("/echo", { addresses = "any" }).status)
    end)

    it("throws on the caller's mistakes", function()
      for _, about in ipairs({
        { url = base, urk = 1 }, { url = 1 }, {}, { url = "http://a\0b" },
        { url = base, timeout = 0 }, { url = base, timeout = "5" },
        { url = base, max_body = -1 }, { url = base, addresses = "some" },
        { url = base, headers = { ["X-A"] = "b\r\nX-C: d" } },
        { url = base, headers = { ["X A"] = "b" } },
        { url = base, headers = { "b" } }, { url = base, headers = 1 },
      }) do
        assert.has_error(function() request(about) end)
      end
      assert.equal(200, get("/echo").status)
    end)
  end)
end

describe("http on the loop", function()
  it("has many requests under way at once", function()
    local done, open = 0, 0
    on_loop(function()
      local signal = server.signal()
      for i = 1, 200 do
        server.spawn(function()
          open = open + 1
          local answer = assert(engine.http.request({
            url = base .. "/big?" .. i }))
          assert.equal(i, #answer.body)
          done = done + 1
          signal:wake()
        end)
      end
      while done < 200 do signal:wait() end
    end)
    assert.equal(200, open)
  end)

  it("lets others run while it waits", function()
    local order = {}
    on_loop(function()
      local signal = server.signal()
      server.spawn(function()
        engine.http.request({ url = base .. "/slow", timeout = 0.3 })
        order[#order + 1] = "slow"
        signal:wake()
      end)
      assert(engine.http.request({ url = base .. "/echo" }))
      order[#order + 1] = "quick"
      signal:wait()
    end)
    assert.same({ "quick", "slow" }, order)
  end)

  it("blocks in a coroutine that is not the loop's", function()
    local status
    on_loop(function()
      local co = coroutine.wrap(function()
        return engine.http.request({ url = base .. "/echo" }).status
      end)
      status = co()
    end)
    assert.equal(200, status)
  end)

  it("can be left unfinished", function()
    local leaving = child(([[
      local engine = require("fulcio.engine")
      engine.server.spawn(function()
        engine.http.request({ url = "%s/slow" })
      end)
      engine.server.spawn(function()
        engine.server.sleep(0.05)
        engine.server.stop()
      end)
      engine.server.run()
      print("left")
    ]]):format(base))
    leaving:wait_for("left")
    while leaving:running() do engine.server.sleep(0.01) end
    assert.equal("left\n", leaving:output())
  end)
end)

describe("http and the environment's proxies", function()
  it("asks them for strangers, never for loopback or for addresses that "
    .. "must be public", function()
    local proxied = child(([[
      local http = require("fulcio.engine").http
      local function try(request)
        local answer, message, code = http.request(request)
        print(code or answer.status, message)
      end
      try({ url = "%s/teapot" })
      try({ url = "http://log/teapot", unix_socket = %q })
      try({ url = "http://name.invalid/" })
      try({ url = "https://10.0.0.1/", addresses = "public" })
      print("end")
    ]]):format(base, directory .. "/s"), nil, {
      http_proxy = "http://127.0.0.1:1", https_proxy = "http://127.0.0.1:1",
      all_proxy = "http://127.0.0.1:1" })
    proxied:wait_for("end")
    local said = {}
    for line in proxied:output():gmatch("[^\n]+") do
      said[#said + 1] = line
    end
    assert.equal("418\tnil", said[1])
    assert.equal("418\tnil", said[2])
    assert.matches("^refused\t.*127.0.0.1 port 1 ", said[3])
    assert.matches("^bad_address\t", said[4])
  end)
end)

describe("http over TLS", function()
  local tls, port

  setup(function()
    assert(os.execute(([[cd %s && openssl req -x509 -newkey ec -nodes \
      -pkeyopt ec_paramgen_curve:P-256 -keyout key -out cert -days 2 \
      -subj /CN=test -addext subjectAltName=DNS:localhost 2>/dev/null]])
      :format(directory)))
    tls = process.start({ "openssl", "s_server", "-accept", "127.0.0.1:0",
      "-cert", directory .. "/cert", "-key", directory .. "/key", "-www" })
    port = tls:wait_for("ACCEPT 127.0.0.1:(%d+)")
  end)

  local function get(host, ca_file)
    return engine.http.request({ url = ("https://%s:%s/"):format(host, port),
                                 ca_file = ca_file })
  end

  it("trusts the CA file it is given", function()
    local answer = assert(get("localhost", directory .. "/cert"))
    assert.equal(200, answer.status)
  end)

  it("trusts the CA text it is given", function()
    local file = assert(io.open(directory .. "/cert"))
    local pem = file:read("a")
    file:close()
    local url = ("https://localhost:%s/"):format(port)
    assert.equal(200,
      engine.http.request({ url = url, ca_pem = pem }).status)
    assert.equal("tls",
      select(3, engine.http.request({ url = url, ca_pem = "none" })))
  end)

  it("refuses other certificates, names, and files that are not there",
    function()
      for _, case in ipairs({
        { "localhost" }, { "127.0.0.1", directory .. "/cert" },
        { "localhost", directory .. "/none" },
      }) do
        local answer, message, code = get(case[1], case[2])
        assert.is_nil(answer)
        assert.equal("tls", code, message)
      end
    end)

  it("trusts nobody else when it is given a CA file", function()
    local other = directory .. "/other"
    os.execute(([[cd %s && openssl req -x509 -newkey ec -nodes -out other \
      -pkeyopt ec_paramgen_curve:P-256 -keyout /dev/null -days 2 \
      -subj /CN=other 2>/dev/null]]):format(directory))
    assert.equal("tls", select(3, get("localhost", other)))
  end)
end)

describe("addresses that are public", function()
  -- Without descriptors for sockets, nothing leaves this machine.
  local ASK = [[
    local http = require("fulcio.engine").http
    http.request({ url = "https://127.0.0.1:1/" })
    local files, file = {}
    repeat
      file = io.open("/dev/null")
      files[#files + 1] = file
    until not file
    for _, address in ipairs(ADDRESSES) do
      print(address, select(3, http.request({
        url = "https://" .. address .. "/", addresses = "public" })))
    end
    print("end")
  ]]

  local function ask(addresses)
    local list = {}
    for i, address in ipairs(addresses) do
      list[i] = ("%q"):format(address)
    end
    local asked = child("ADDRESSES = {" .. table.concat(list, ",") .. "}\n"
      .. ASK, { "prlimit", "--nofile=32" })
    asked:wait_for("end")
    local codes = {}
    for address, code in asked:output():gmatch("(%S+)\t(%S+)\n") do
      codes[address] = code
    end
    return codes
  end

  it("are not those of private, special or cloud networks", function()
    local refused = {
      "0.0.0.0", "10.0.0.0", "10.255.255.255", "100.64.0.0",
      "100.127.255.255", "127.255.255.255", "168.63.129.16",
      "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.192",
      "192.0.2.1", "192.88.99.1", "192.168.255.255", "198.18.0.0",
      "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
      "240.0.0.1", "255.255.255.255",
      "[::]", "[::1]", "[::ffff:8.8.8.8]", "[::ffff:127.0.0.1]",
      "[::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::8.8.8.8]",
      "[100::1]", "[2001::1]", "[2001:1ff::1]", "[2001:db8::1]",
      "[2002:7f00:1::]", "[2002:808:808::]", "[3fff:fff::1]",
      "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]",
      "[ff02::1]", "[4000::1]",
    }
    local codes = ask(refused)
    for _, address in ipairs(refused) do
      assert.equal("bad_address", codes[address], address)
    end
  end)

  it("are all the others, up to the networks' very borders", function()
    local allowed = {
      "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255",
      "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15",
      "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
      "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
      "198.17.255.255", "198.20.0.0", "223.255.255.255",
      "[2000::1]", "[2001:200::1]", "[2001:db7:ffff::1]", "[2001:db9::1]",
      "[2003::1]", "[3ffe::1]", "[3fff:1000::1]", "[64:ff9b::8.8.8.8]",
    }
    local codes = ask(allowed)
    for _, address in ipairs(allowed) do
      assert.equal("refused", codes[address], address)
    end
  end)
end)

describe("another transport", function()
  after_each(function() engine.http.set_backend(nil) end)

  it("takes the place of libcurl, and may yield", function()
    engine.http.set_backend(function(request)
      return { status = coroutine.yield(request.url), headers = {},
               body = "" }
    end)
    local co = coroutine.create(function()
      return engine.http.request({ url = "any:thing" }).status
    end)
    assert.same({ true, "any:thing" }, { coroutine.resume(co) })
    assert.same({ true, 299 }, { coroutine.resume(co, 299) })
    engine.http.set_backend(nil)
    assert.equal(200, engine.http.request({ url = base .. "/echo" }).status)
  end)

  it("is a function", function()
    assert.has_error(function() engine.http.set_backend("curl") end)
  end)
end)
