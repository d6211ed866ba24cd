--- engine/system.c and secret.c: clocks, files, secrets, privileges.
local engine = require("fulcio.engine")

local build = os.getenv("BUILD") or "build"
local system = engine.system

local function content(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("*a")
  pipe:close()
  return (output:gsub("%s+$", ""))
end

-- Runs Lua code that has this module in a process of its own.
local function child(code, environment)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write("package.cpath = './", build, "/module/?.so;' .. package.cpath\n")
  out:write("local system = require('fulcio.engine').system\n", code)
  out:close()
  local output = run((environment or "") .. " lua5.4 " .. file)
  os.remove(file)
  return output
end

describe("system", function()
  local directory

  before_each(function()
    directory = run("mktemp -d")
  end)

  after_each(function()
    os.execute("rm -rf '" .. directory .. "'")
  end)

  describe("clocks", function()
    it("count seconds and milliseconds since 1970", function()
      local now, now_ms = system.now(), system.now_ms()
      assert.is_true(math.abs(now - os.time()) <= 2)
      assert.is_true(math.abs(now_ms - now * 1000) <= 2000)
      assert.equal("integer", math.type(now_ms))
    end)

    it("have one that never goes back", function()
      local last = system.monotonic()
      for _ = 1, 1000 do
        local next = system.monotonic()
        assert.is_true(next >= last)
        last = next
      end
    end)
  end)

  describe("secret", function()
    it("hides its text", function()
      local secret = system.secret("hunter2")
      assert.equal("fulcio.secret: hidden", tostring(secret))
      assert.equal("fulcio.secret", getmetatable(secret))
      assert.is_false(pcall(function() return secret.bytes end))
      assert.is_false(pcall(function() return #secret end))
    end)

    it("reads a file and an environment variable", function()
      assert(system.write(directory .. "/pin", "1234\n"))
      assert.is_userdata(system.secret("@" .. directory .. "/pin"))
      assert.is_userdata(system.secret("env:PATH"))
    end)

    it("says which file or variable is missing", function()
      local secret, message, code = system.secret("@" .. directory .. "/none")
      assert.is_nil(secret)
      assert.equal(directory .. "/none: No such file or directory", message)
      assert.equal("no_file", code)
      secret, message, code = system.secret("env:FULCIO_NO_SUCH_NAME")
      assert.is_nil(secret)
      assert.equal("environment variable FULCIO_NO_SUCH_NAME is not set",
        message)
      assert.equal("no_file", code)
    end)

    it("reads a credential of systemd's, by its name alone", function()
      assert(system.write(directory .. "/passwd", "1234\n"))
      local told = "CREDENTIALS_DIRECTORY=" .. directory
      local ask = [[local _, why = system.secret("credential:%s") print(why)]]
      assert.equal("fulcio.secret: hidden", child(
        [[print(system.secret("credential:passwd"))]], told))
      assert.equal("credential ../passwd: not a name",
        child(ask:format("../passwd"), told))
      assert.equal("credential : not a name", child(ask:format(""), told))
      assert.equal(directory .. "/none: No such file or directory",
        child(ask:format("none"), told))
      assert.equal("credential passwd: CREDENTIALS_DIRECTORY is not set",
        child(ask:format("passwd")))
    end)

    it("refuses a file that is no password", function()
      assert(system.write(directory .. "/big", ("x"):rep(65537)))
      local secret, message, code = system.secret("@" .. directory .. "/big")
      assert.is_nil(secret)
      assert.truthy(message:find("File too large", 1, true))
      assert.equal("no_file", code)
      assert.is_nil((system.secret("@" .. directory)))
      assert(system.write(directory .. "/most", ("x"):rep(65536)))
      assert.is_userdata(system.secret("@" .. directory .. "/most"))
    end)

    it("wipes a text from the command line", function()
      local file = directory .. "/show.lua"
      assert(system.write(file, [[
        local system = require("fulcio.engine").system
        for i = 1, 3 do assert(system.secret((arg[i]:gsub("^.*=", "")))) end
        io.write((io.open("/proc/self/cmdline"):read("a"):gsub("%z", " ")))]]))
      assert.equal("xxxxxxx --pin=xxxx -p=xxxxx 12345 --pin=1234567",
        run(build .. "/fulcio run " .. file
          .. " hunter2 --pin=1234 -p=abcde 12345 --pin=1234567")
        :match("show%.lua (.*)$"))
    end)

    it("takes a text and nothing else", function()
      assert.is_false(pcall(system.secret))
      assert.is_false(pcall(system.secret, {}))
      assert.is_false(pcall(system.secret, "@a\0b"))
    end)
  end)

  describe("list", function()
    it("names what is in a directory, by bytes", function()
      for _, name in ipairs({ "b", "a", "B", ".hidden" }) do
        assert(system.write(directory .. "/" .. name, ""))
      end
      assert.same({ ".hidden", "B", "a", "b" }, system.list(directory))
    end)

    it("says what is missing", function()
      local names, message, code = system.list(directory .. "/none")
      assert.is_nil(names)
      assert.equal(directory .. "/none: No such file or directory", message)
      assert.equal("no_file", code)
      assert(system.write(directory .. "/file", ""))
      assert.equal("no_file", select(3, system.list(directory .. "/file")))
    end)

    it("throws on a path with NUL", function()
      assert.has_error(function() system.list("/tmp\0/x") end)
    end)
  end)

  describe("stat", function()
    it("tells files, directories and the rest apart", function()
      assert(system.write(directory .. "/file", "12345", { mode = 420 }))
      local stat = system.stat(directory .. "/file")
      assert.equal("file", stat.kind)
      assert.equal(5, stat.size)
      assert.equal(420, stat.mode)
      assert.is_true(math.abs(stat.mtime - os.time()) < 10)
      assert.equal("directory", system.stat(directory).kind)
      assert.equal(448, system.stat(directory).mode)
      assert.equal("other", system.stat("/dev/null").kind)
    end)

    it("gives a text that changes with what is there", function()
      local path = directory .. "/stamped"
      assert(system.write(path, "12345"))
      local first = system.stat(path).stamp
      assert.equal(first, system.stat(path).stamp)
      assert(system.write(path .. "2", "12345"))
      for _, command in ipairs({ "cp -p %s %s2 && mv %s2 %s",
                                 "chmod 640 %s", "touch -d @1 %s" }) do
        os.execute((command:gsub("%%s", path)))
        local second = system.stat(path).stamp
        assert.not_equal(first, second)
        first = second
      end
    end)

    it("says what is missing", function()
      local stat, message, code = system.stat(directory .. "/none")
      assert.is_nil(stat)
      assert.equal(directory .. "/none: No such file or directory", message)
      assert.equal("no_file", code)
    end)
  end)

  it("tells the whole path of a relative one", function()
    local pipe = io.popen("pwd -P")
    assert.equal(pipe:read("l") .. "/a/b", system.absolute("a/b"))
    pipe:close()
    assert.equal("/a", system.absolute("/a"))
  end)

  describe("mkdir", function()
    it("makes parents, for the owner alone", function()
      assert.is_true(system.mkdir(directory .. "/a//b/c/"))
      assert.equal(448, system.stat(directory .. "/a").mode)
      assert.equal(448, system.stat(directory .. "/a/b/c").mode)
      assert.is_true(system.mkdir(directory .. "/a/b/c"))
    end)

    it("sets the mode it is given whatever the umask says", function()
      assert.is_true(system.mkdir(directory .. "/open", 493))
      assert.equal(493, system.stat(directory .. "/open").mode)
      assert.is_true(system.mkdir(directory .. "/open", 448))
      assert.equal(493, system.stat(directory .. "/open").mode)
    end)

    it("refuses where a file is in the way", function()
      assert(system.write(directory .. "/file", ""))
      local made, message, code = system.mkdir(directory .. "/file")
      assert.is_nil(made)
      assert.equal(directory .. "/file: File exists", message)
      assert.equal("exists", code)
      assert.is_nil((system.mkdir(directory .. "/file/below")))
      assert.equal("no_file", select(3, system.mkdir("")))
      assert.equal("failed", select(3, system.mkdir(("x"):rep(5000))))
      assert.equal("failed", select(3, system.mkdir(("x"):rep(300))))
      assert.is_false(pcall(system.mkdir, "x", 4096))
    end)
  end)

  describe("write", function()
    it("writes and replaces a whole file", function()
      local path = directory .. "/file"
      assert.is_true(system.write(path, "one\0two"))
      assert.equal("one\0two", content(path))
      assert.equal(384, system.stat(path).mode)
      assert.is_true(system.write(path, "", { mode = 420 }))
      assert.equal("", content(path))
      assert.equal(420, system.stat(path).mode)
      assert.same({ "file" }, system.list(directory))
    end)

    it("never writes over a file when told so", function()
      local path = directory .. "/file"
      assert.is_true(system.write(path, "one", { exclusive = true }))
      local done, message, code = system.write(path, "two",
        { exclusive = true })
      assert.is_nil(done)
      assert.equal(path .. ": File exists", message)
      assert.equal("exists", code)
      assert.equal("one", content(path))
      assert.same({ "file" }, system.list(directory))
    end)

    it("leaves nothing behind when it fails", function()
      assert(system.mkdir(directory .. "/taken"))
      assert.is_nil((system.write(directory .. "/taken", "x")))
      assert.same({ "taken" }, system.list(directory))
      local _, message, code = system.write(directory .. "/none/x", "x")
      assert.equal(directory .. "/none/x: No such file or directory", message)
      assert.equal("no_file", code)
      assert.equal("failed", select(3, system.write(("x"):rep(5000), "x")))
    end)

    it("reports a full disk", function()
      assert.equal("failed", child(
        "print(select(3, system.write('" .. directory .. "/x', "
        .. "('x'):rep(4096))))", "trap '' XFSZ; ulimit -f 1;"))
      assert.same({}, system.list(directory))
    end)

    it("throws on an option it does not know", function()
      assert.has_error(function()
        system.write(directory .. "/x", "", { modus = 1 })
      end)
      assert.has_error(function()
        system.write(directory .. "/x", "", { mode = -1 })
      end)
      assert.same({}, system.list(directory))
    end)
  end)

  it("counts the processors it may use", function()
    local count = system.processors()
    assert.is_true(count >= 1)
    assert.equal("1", child("print(system.processors())", "taskset -c 0"))
  end)

  describe("harden", function()
    it("sets umask and no_new_privs, and forbids core dumps", function()
      local output = child([[
        assert(system.harden({}))
        for line in io.lines("/proc/self/status") do
          if line:find("^Umask") or line:find("^NoNewPrivs") then
            print((line:gsub("%s+", "")))
          end
        end
        for line in io.lines("/proc/self/limits") do
          local core = line:match("^Max core file size%s+(%S+%s+%S+)")
          if core then print((core:gsub("%s+", " "))) end
        end]])
      assert.equal("Umask:0077\nNoNewPrivs:1\n0 0", output)
    end)

    it("becomes another user for good", function()
      if run("id -u") ~= "0" then return pending("needs root") end
      assert.equal("65534 65534 65534 65534", child([[
        assert(system.harden({ user = "nobody" }))
        for line in io.lines("/proc/self/status") do
          local ids = line:match("^Uid:%s+(.*)")
          if ids then print((ids:gsub("%s+", " "))) end
        end]]))
      assert.equal("cannot become user root: Operation not permitted",
        child([[
          assert(system.harden({ user = "nobody" }))
          print((select(2, system.harden({ user = "root" }))))]]))
    end)

    it("says that a user does not exist", function()
      local done, message, code = system.harden({ user = "no-such-user" })
      assert.is_nil(done)
      assert.equal("user no-such-user does not exist", message)
      assert.equal("no_user", code)
      assert.has_error(function() system.harden({ usr = "x" }) end)
      assert.has_error(function() system.harden() end)
    end)
  end)

  it("keeps a process from files for good, but for those that are open",
  function()
    local output = child((([[
      assert(system.harden({}))
      local open = assert(io.open("%s/open", "w"))
      local ok, message, code = system.read_only()
      if not ok then print(code) return end
      print(open:write("x") and open:close())
      print((io.open("%s/open", "a")), (io.open("%s/new", "w")))
      print((os.remove("%s/open")), (system.mkdir("%s/d")))
      print(io.open("%s/open"):read("a"))
    ]]):gsub("%%s", directory)))
    if output == "unsupported" then
      return pending("this kernel has no Landlock")
    end
    assert.equal("true\nnil\tnil\nnil\tnil\nx", output)
  end)

  it("tells the service manager, and does nothing without one", function()
    assert.equal("done", child("system.notify('READY=1') print('done')"))
    assert.equal("done", child("system.notify('READY=1') print('done')",
      "NOTIFY_SOCKET=/none/socket"))
    assert.equal("READY=1", run([[LD_PRELOAD= perl -MSocket -e '
      socket(S, AF_UNIX, SOCK_DGRAM, 0);
      my $name = "fulcio-spec-$$";
      my $build = $ENV{BUILD} || "build";
      bind(S, pack_sockaddr_un("\0$name"));
      $ENV{NOTIFY_SOCKET} = "\@$name";
      system("lua5.4", "-e", "package.cpath = [=[./$build/module/?.so]=]
        require([=[fulcio.engine]=]).system.notify([=[READY=1]=])");
      recv(S, my $state, 100, MSG_DONTWAIT);
      print $state;']]))
  end)
end)
