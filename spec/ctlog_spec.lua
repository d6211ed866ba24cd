local authority = require("spec.authority")
local cjson = require("cjson")
local engine = require("fulcio.engine")
local files = require("spec.files")
local process = require("spec.process")

local write = files.write

local base64, unbase64 = engine.bytes.base64, engine.bytes.unbase64
local server = engine.server

-- A log in a process of its own: the directory and the root's file.
local PROGRAM = ([[
  package.path, package.cpath = %q, %q
  local file = assert(io.open(arg[2]))
  local root = file:read("a")
  file:close()
  local ok, message = require("fulcio.ctlog").run({
    data_dir = arg[1], roots = { root }, port = 0 })
  if not ok then
    print(message)
    os.exit(1)
  end
  print("ended")
]]):format(package.path, package.cpath)

-- Runs a function with 1 to count on the loop, all at once.
local function together(count, run)
  local left = count
  for i = 1, count do
    server.spawn(function()
      run(i)
      left = left - 1
      if left == 0 then server.stop() end
    end)
  end
  server.run()
end

describe("ctlog as a process", function()
  local ca, directory, program, base

  local function start(prefix)
    local words = prefix or {}
    for _, word in ipairs({ "lua5.4", directory .. "/program.lua",
                            directory .. "/data", directory .. "/root" }) do
      words[#words + 1] = word
    end
    return process.start(words)
  end

  local function wait_until_open(one)
    return "http://" .. one:wait_for('log is open","address":"([%d.:]+)"')
  end

  local function submit(der, unix)
    local texts = { base64(der), base64(ca.root.der) }
    local answer, message = engine.http.request({
      url = (unix and "http://log" or base) .. "/ct/v1/add-pre-chain",
      unix_socket = unix, body = cjson.encode({ chain = texts }),
      headers = { ["content-type"] = "application/json" }, timeout = 5 })
    if not answer then return nil, message end
    if answer.status ~= 200 then return nil, answer.body, answer end
    return cjson.decode(answer.body)
  end

  local function get(path)
    local answer = assert(engine.http.request({ url = base .. path,
                                                max_body = 4 << 20 }))
    return answer.status == 200 and cjson.decode(answer.body), answer
  end

  -- The timestamps of all entries, by the precertificate they are for.
  local function logged()
    local found, size = {}, get("/ct/v1/get-sth").tree_size
    local at = 0
    while at < size do
      local entries = get(("/ct/v1/get-entries?start=%d&end=%d")
        :format(at, size - 1)).entries
      for _, entry in ipairs(entries) do
        local leaf = unbase64(entry.leaf_input)
        local extra = unbase64(entry.extra_data)
        found[string.unpack(">s3", extra)] = string.unpack(">I8", leaf, 3)
      end
      at = at + #entries
    end
    return found, size
  end

  setup(function()
    ca = authority.new()
    directory = process.directory()
    write(directory .. "/program.lua", PROGRAM)
    write(directory .. "/root", ca.root.pem)
  end)

  teardown(function() os.execute("rm -r " .. directory) end)

  before_each(function()
    program = start()
    base = wait_until_open(program)
  end)

  after_each(function()
    process.stop_all()
    os.execute("rm -r " .. directory .. "/data")
  end)

  it("answers over TCP and over its socket", function()
    local der = ca:precertificate()
    local first = assert(submit(der))
    assert.same(first, submit(der, directory .. "/data/ctlog.sock"))
    assert.equal("ok\n",
      engine.http.request({ url = base .. "/healthz" }).body)
    assert.equal(1, get("/ct/v1/get-sth").tree_size)
    assert.equal(400, select(3, submit("no certificate")).status)
  end)

  it("answers in ctfe's form what the protocol layer refuses", function()
    local answer = engine.http.request({ url = base .. "/ct/v1/add-chain",
      body = ("x"):rep(512001) })
    assert.equal(413, answer.status)
    assert.matches("^Request Entity Too Large\n", answer.body)
    answer = engine.http.request({ url = base .. "/ct/v1/add-chain",
      body = ("x"):rep(512000) })
    assert.equal(400, answer.status)
  end)

  it("has sockets that are its owner's alone", function()
    for _, name in ipairs({ "sock", "dialog" }) do
      local stat = engine.system.stat(directory .. "/data/ctlog." .. name)
      assert.equal(384, stat.mode % 512)
    end
  end)

  it("ends when it is told to, and goes on where it was", function()
    local ders, answers = {}, {}
    for i = 1, 20 do ders[i] = ca:precertificate() end
    together(20, function(i) answers[i] = assert(submit(ders[i])) end)
    local public = assert(io.open(directory .. "/data/ctlog.pub.pem"))
    local pem = public:read("a")
    public:close()
    program:signal("TERM")
    program:wait_for("ended")
    program = start()
    base = wait_until_open(program)
    assert.equal(20, get("/ct/v1/get-sth").tree_size)
    assert.same(answers[7], submit(ders[7]))
    assert.equal(base64(engine.bytes.sha256(engine.pkey.parse(pem):spki())),
      answers[1].id)
  end)

  it("is the only one on its directory", function()
    local second = start()
    second:wait_for("ctlog.db: another process holds it")
    while second:running() do server.sleep(0.01) end
    assert(submit(ca:precertificate()))
  end)

  it("takes over from one that is ending", function()
    local second = start()
    server.sleep(0.3)
    program:signal("KILL")
    base = wait_until_open(second)
    assert(submit(ca:precertificate()))
  end)

  it("has every SCT's entry after kill -9 at any moment", function()
    local promised = {}
    for round = 1, 5 do
      local ders = {}
      for i = 1, 300 do ders[i] = ca:precertificate() end
      local at, given, stopping = 0, 0, false
      together(16, function()
        while not stopping and at < #ders do
          at = at + 1
          local der = ders[at]
          local answer = submit(der)
          if not answer then break end
          promised[der] = answer.timestamp
          given = given + 1
          if given == 20 * round then
            stopping = true
            program:signal("KILL")
          end
        end
      end)
      program = start()
      base = wait_until_open(program)
      local found, size = logged()
      for der, timestamp in pairs(promised) do
        assert.equal(timestamp, found[der])
      end
      local head = get("/ct/v1/get-sth")
      assert.equal(size, head.tree_size)
    end
  end)

  it("gives no SCT when files may not grow, and recovers", function()
    program:stop()
    program = start({ "sh", "-c",
      'trap "" XFSZ; ulimit -S -f 400; exec "$@"', "sh" })
    base = wait_until_open(program)
    local promised, refused = {}, nil
    together(8, function()
      while not refused do
        local der = ca:precertificate()
        local answer, _, whole = submit(der)
        if answer then promised[der] = answer.timestamp
        else refused = refused or whole end
      end
    end)
    assert.equal(503, refused.status)
    assert.equal("1", refused.headers["retry-after"])
    assert.matches("no space left", program:output())
    os.execute(("prlimit --pid %d --fsize=unlimited"):format(program.pid))
    local last = ca:precertificate()
    local answer
    for _ = 1, 50 do
      answer = submit(last)
      if answer then break end
      server.sleep(0.1)
    end
    promised[last] = answer.timestamp
    local found, size = logged()
    for der, timestamp in pairs(promised) do
      assert.equal(timestamp, found[der])
    end
    program:stop()
    program = start()
    base = wait_until_open(program)
    assert.equal(size, get("/ct/v1/get-sth").tree_size)
  end)

  it("does not start on a damaged file, and names it", function()
    program:stop()
    local file = assert(io.open(directory .. "/data/ctlog.db", "r+b"))
    file:write("once a database")
    file:close()
    start():wait_for("ctlog.db: not a sound SQLite file")
  end)

  it("leaves the socket to the one that has it, for two seconds",
    function()
      local listeners, message, code = require("fulcio.ctlog").listen({
        data_dir = directory .. "/data" })
      assert.is_nil(listeners)
      assert.equal("in_use", code, message)
      assert(submit(ca:precertificate(), directory .. "/data/ctlog.sock"))
      program:signal("KILL")
      assert(require("fulcio.ctlog").listen({
        data_dir = directory .. "/data" }))
    end)

  it("does not start on an address in use", function()
    local holder = assert(server.listen({ host = "127.0.0.1", port = 0 }))
    local listeners, message, code = require("fulcio.ctlog").listen({
      data_dir = directory .. "/data/other", port = holder.port })
    assert.is_nil(listeners)
    assert.equal("in_use", code, message)
  end)
end)
