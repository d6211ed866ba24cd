--- engine/sandbox.c, limits.c, words.c, plain.c: scripts that may do no harm.
local engine = require("fulcio.engine")

local prelude = [[
  local words = { minutes = 60, anyone = { kind = "anyone", list = { 1 } } }
  function words.glob(text)
    if type(text) ~= "string" then error("glob needs a text", 2) end
    return setmetatable({ glob = text }, { __index = string })
  end
  function words.sorted(list)
    table.sort(list, function(a, b)
      while true do if a == b then break end end
    end)
  end
  function words.caught(run) return pcall(run) end
  function words.thrown() error({}) end
  return words
]]

local function new(options)
  options = options or {}
  return engine.sandbox.new({
    memory = options.memory or 16 * 1024 * 1024,
    instructions = options.instructions or 1000000,
    prelude = options.prelude or prelude,
  })
end

describe("sandbox", function()
  local box

  before_each(function()
    box = new()
  end)

  local function returns(expected, text)
    local value, message = box:load("x.lua", text)
    assert.is_nil(message)
    assert.same(expected, value)
  end

  local function fails(code, message, text)
    local value, said, word = box:load("x.lua", text)
    assert.is_nil(value)
    assert.equal(message, said)
    assert.equal(code, word)
  end

  local function bad(message, text)
    fails("bad_script", message, text)
  end

  describe("load", function()
    it("copies what a script returns", function()
      returns({
        text = "a\0b", yes = true, no = false, float = 1.5, integer = 7,
        list = { "a", { "b" } }, [3] = "third", [2.5] = "x", empty = {},
      }, [[return { text = "a\0b", yes = true, no = false, float = 1.5,
        integer = 7, list = { "a", { "b" } }, [3] = "third", [2.5] = "x",
        empty = {}, none = nil }]])
      returns("x", "return 'x', 'y'")
      returns(nil, "")
      assert.equal("integer", math.type(box:load("x.lua", "return 1 << 60")))
      assert.equal("float", math.type(box:load("x.lua", "return 1.0")))
    end)

    it("has the words of the prelude, without metatables", function()
      returns({ { glob = "x*" }, 600, { kind = "anyone", list = { 1 } } },
        "return { glob('x*'), 10 * minutes, anyone }")
      assert.is_nil(getmetatable((box:load("x.lua", "return glob('x')"))))
    end)

    it("has a closed list of other words", function()
      local words = box:load("x.lua", [[
        local words = {}
        for name, value in pairs(_ENV) do
          words[name] = type(value)
          if name == "string" then
            for inner in pairs(value) do words["string." .. inner] = true end
          end
        end
        return words]])
      assert.same({
        tostring = "function", tonumber = "function", type = "function",
        ipairs = "function", pairs = "function", next = "function",
        select = "function", string = "table", ["string.lower"] = true,
        ["string.upper"] = true, ["string.sub"] = true,
        ["string.len"] = true, ["string.byte"] = true,
        ["string.format"] = true, glob = "function", sorted = "function",
        caught = "function", thrown = "function", minutes = "number",
        anyone = "table",
      }, words)
    end)

    it("keeps everything else away", function()
      for _, word in ipairs({
        "pcall", "xpcall", "error", "assert", "coroutine", "load", "dofile",
        "loadfile", "require", "table", "math", "utf8", "os", "io", "debug",
        "package", "setmetatable", "getmetatable", "rawget", "rawset",
        "rawequal", "rawlen", "collectgarbage", "print", "warn", "_G",
        "loadstring", "setfenv", "getfenv", "unpack", "newproxy",
      }) do
        local _, message = box:load("x.lua", "local a = 1\nreturn " .. word)
        assert.equal(1, message:find('x.lua:2: unknown word "' .. word .. '"',
          1, true))
      end
      for _, method in ipairs({
        "rep", "find", "match", "gmatch", "gsub", "dump", "reverse", "char",
        "pack", "unpack", "packsize",
      }) do
        returns(nil, "return string." .. method)
        bad("x.lua:1: attempt to call a nil value (method '" .. method .. "')",
          "return (('x'):" .. method .. "())")
      end
    end)

    it("keeps string metatables from doing arithmetic", function()
      bad("x.lua:1: attempt to perform arithmetic on a string value "
        .. "(constant '10')", "return '10' + 1")
    end)

    it("gives the methods of the list to strings", function()
      returns({ "abc", "ABC", "b", 3, "098", "a-1" }, [[
        local text = "aBc"
        return { text:lower(), text:upper(), text:sub(2, 2):lower(),
          text:len(), ("0%d"):format(98), string.format("%s-%d", "a", 1) }]])
      returns({ 97, 98, 99 }, "return { ('abc'):byte(1, -1) }")
      returns({ 99 }, "return { ('abc'):byte(-1) }")
      returns({}, "return { ('abc'):byte(4), ('abc'):byte(-9, -5) }")
      returns({ 97 }, "return { ('abc'):byte(-9, 1) }")
    end)

    it("shows no addresses", function()
      returns({ "table", "function", "function", "nil", "true", "12", "x" },
        [[return { tostring({}), tostring(glob), tostring(pairs),
          tostring(nil), tostring(true), tostring(12), tostring("x") }]])
      bad("x.lua:1: bad argument #1 to 'format' (%p cannot be used)",
        "return (string.format('%%%-5p', 'x'))")
      bad("x.lua:1: bad argument #2 to 'format' (text or number expected)",
        "return (string.format('%s', {}))")
    end)

    it("gives each script globals of its own", function()
      returns("done", [[
        glob = nil  string.lower = nil  anyone.list[1] = "mine"
        tostring = "x"  _ENV.minutes = 1  leaked = true  return "done"]])
      returns({ "a", 1, "function", 60, "function" }, [[return {
        ("A"):lower(), anyone.list[1], type(glob), minutes,
        type(string.lower) }]])
      bad('x.lua:1: unknown word "leaked"', "return leaked")
    end)

    it("says where and what", function()
      bad('x.lua:2: unknown word "globb" (did you mean "glob"?)',
        "\nreturn (globb('x'))")
      bad('x.lua:1: unknown word "something"', "return something")
      bad('x.lua:1: unknown word "' .. ("x"):rep(100) .. '"',
        "return " .. ("x"):rep(100))
      bad("x.lua:2: glob needs a text", "local a =\nglob(1) return a")
      bad("x.lua:3: '}' expected (to close '{' at line 1) near 'b'",
        "return {\na = 1\nb = 2 }")
      bad("x.lua:1: attempt to index a nil value (local 'a')",
        "local a return a.b")
      bad("x.lua: is compiled Lua, not text", string.dump(function() end))
      bad("x.lua:1: error that is no text", "local a = thrown() return a")
      bad("x.lua:1: unknown word", "return (_ENV[1])")
    end)

    it("names a script with a long path by its end", function()
      local name = ("long/"):rep(20) .. "x.lua"
      local short = "..." .. name:sub(-56)
      assert.equal(short .. ":1: unknown word \"a\"",
        select(2, box:load(name, "return a")))
      assert.equal(short .. ": returns a table that contains itself as a",
        select(2, box:load(name, "local t = {} t.a = t return t")))
    end)

    it("passes over a byte order mark", function()
      returns(1, "\239\187\191return 1")
    end)

    it("refuses a text that is too long", function()
      local most = "return 1 --" .. ("x"):rep(262133)
      returns(1, most)
      bad("x.lua: is longer than 256 KiB", most .. "x")
    end)

    it("refuses what is no plain data", function()
      bad("x.lua: returns a table that contains itself as a.b",
        "local t = {} t.a = { b = t } return t")
      bad("x.lua: returns a table that contains itself as [2].x[1]",
        "local t = {} t[1] = 0 t[2] = { x = { t } } return t")
      bad("x.lua: returns a key that is neither text nor number",
        "return { [true] = 1 }")
      bad("x.lua: returns a key that is neither text nor number as a",
        "return { a = { [{}] = 1 } }")
      bad('x.lua: returns a field named "function"',
        "return { ['function'] = 1 }")
    end)

    it("goes 32 deep and no deeper", function()
      local nested = "local t = 1 for _ = 1, %d do t = { t } end return t"
      local value = box:load("x.lua", nested:format(32))
      for _ = 1, 32 do value = value[1] end
      assert.equal(1, value)
      local _, message, code = box:load("x.lua", nested:format(33))
      assert.truthy(message:find("x.lua: returns tables nested too deep", 1,
        true))
      assert.equal("bad_script", code)
    end)

    it("copies a table that is there twice, and no more than 1 MiB", function()
      returns({ { 1 }, { 1 } }, "local t = { 1 } return { t, t }")
      fails("out_of_memory", "x.lua: returns too much data",
        "local t = {} for _ = 1, 30 do t = { t, t } end return t")
    end)

    it("throws on what is no text", function()
      assert.has_error(function() box:load("x.lua") end)
      assert.has_error(function() box:load({}, "") end)
    end)
  end)

  describe("call", function()
    local function handle(body)
      return assert(box:load("x.lua", "return function(...) " .. body
        .. " end"))
    end

    it("calls a function with copies and copies two results", function()
      local first, second, third =
        box:call(handle("return ..."), { a = { 1 } }, "b", "c")
      assert.same({ a = { 1 } }, first)
      assert.equal("b", second)
      assert.is_nil(third)
      assert.same({}, { box:call(handle("")) })
      local all = box:call(handle("return { n = select('#', ...), ... }"),
        1, nil, false, "x")
      assert.same({ n = 4, 1, nil, false, "x" }, all)
    end)

    it("finds functions wherever a script puts them", function()
      local policy = box:load("x.lua", [[
        local calls = 0
        return { check = function() calls = calls + 1 return calls end,
          list = { function() return calls end } }]])
      assert.equal("function", (next(policy.check)))
      assert.equal(1, box:call(policy.check))
      assert.equal(2, box:call(policy.check))
      assert.equal(2, box:call(policy.list[1]))
    end)

    it("leaves the caller's tables alone", function()
      local claims = { list = { 1, 2 } }
      box:call(handle("local c = ... c.list[1] = nil c.x = 1"), claims)
      assert.same({ list = { 1, 2 } }, claims)
    end)

    it("hands over whole numbers as integers", function()
      assert.equal("12345678901 9007199254740992 1.5 -7 1e+100",
        box:call(handle([[
          local a, b, c, d, e = ...
          return tostring(a) .. " " .. tostring(b) .. " " .. tostring(c)
            .. " " .. tostring(d) .. " " .. tostring(e)]]),
          12345678901.0, 2.0 ^ 53, 1.5, -7, 1e100))
    end)

    it("treats null as absent in a map, and keeps it in a list", function()
      local null = engine.claims.null
      assert.equal("nil 3 null", box:call(handle([[
        local c = ...
        return tostring(c.a) .. " " .. #c.l .. " " .. tostring(c.l[2])]]),
        { a = null, l = { 1, null, 3 } }))
      assert.same({ l = { 1, null, 3 } },
        box:call(handle("return ..."), { a = null, l = { 1, null, 3 } }))
      assert.is_true(box:call(handle("return (...)[1] ~= 'x'"), { null }))
    end)

    it("says what went wrong", function()
      local value, message, code = box:call(handle("return ... .. 'x'"), {})
      assert.is_nil(value)
      assert.equal("x.lua:1: attempt to concatenate a table value", message)
      assert.equal("bad_script", code)
      value, message, code =
        box:call(handle("local t = {} t.a = t return 1, t"))
      assert.is_nil(value)
      assert.equal("x.lua: returns a table that contains itself as a", message)
      assert.equal("bad_script", code)
    end)

    it("refuses arguments that are too large", function()
      local function sizes(...) return (select(3, box:call(...))) end
      local count = handle("return #...")
      assert.equal(32768, box:call(count, ("x"):rep(32768)))
      assert.equal("out_of_memory", sizes(count, ("x"):rep(33000)))
      assert.equal("out_of_memory", sizes(count, ("x"):rep(5000000)))
      local list = {}
      for i = 1, 60000 do list[i] = i end
      assert.equal(60000, box:call(count, list))
      for i = 1, 200000 do list[i] = i end
      assert.equal("out_of_memory", sizes(count, list))
      assert.equal("x.lua: needs more memory than it may use",
        select(2, box:call(count, ("x"):rep(33000))))
      assert.equal("arguments are too large",
        select(2, box:call(count, ("x"):rep(5000000))))
    end)

    it("throws on arguments that cannot be copied", function()
      local itself = {}
      itself.x = itself
      local deep = {}
      for _ = 1, 40 do deep = { deep } end
      for _, argument in ipairs({ print, itself, deep, { f = print },
        io.stdout, { [true] = 1 } }) do
        assert.has_error(function() box:call(handle(""), argument) end)
      end
    end)

    it("throws on a handle it has not given", function()
      for _, wrong in ipairs({
        {}, { ["function"] = 0 }, { ["function"] = 99 },
        { ["function"] = "x" }, 1,
      }) do
        assert.has_error(function() box:call(wrong) end)
      end
    end)
  end)

  describe("limits", function()
    -- Each defeats a count hook or an allocator cap that stands alone.
    local attacks = {
      "while true do end",
      "goto a ::a:: goto a",
      "for i = 1, 9007199254740992 do end",
      "for i = 1, 2, 0.0000000001 do end",
      "repeat until false",
      "local function f() return f() end return f()",
      "while true do local a = { {}, {}, {}, {}, {} } end",
      "local t = {} while true do t = { t } if #t > 1 then "
        .. "break end t = {} end",
      [[local s = "x" for _ = 1, 14 do s = s .. s end
        while true do s:lower() end]],
      [[local s = "x" for _ = 1, 14 do s = s .. s end
        while true do local a = s:upper() .. s:sub(2) end]],
      [[local s = "\0" for _ = 1, 14 do s = s .. s end
        local a, b = s .. "a", s .. "b" while a < b do end]],
      [[local s = "x" for _ = 1, 14 do s = s .. s end
        local a, b = s .. "a", s .. "a" while a == b do end]],
      [[local t = {} for i = 1, 16000 do t["k" .. i] = 1 end
        for i = 1, 16000 do t["k" .. i] = nil end
        while true do next(t) end]],
      [[local t, i = {}, 0 while true do i = i + 1
        t[i .. ""] = 1 t[(i - 8000) .. ""] = nil end]],
      "local s = '' while true do s = string.format("
        .. "'%99.99f%99.99f', 1e308, 1e308) end",
      "caught(function() while true do end end)",
      [[while true do
        caught(function() while true do end end) end]],
      "sorted({ 3, 1, 2 })",
      "local s = 'x' while true do s = s .. s end",
      "local t = {} for i = 1, 9e9 do t[i] = {} end",
      "local t = {} for i = 1, 9e9 do t[i] = i end",
      "local t = {} for i = 1, 9e9 do t['k' .. i] = i end",
      "local function f() return f() + 1 end return f()",
      "local function f(...) return 1, f(...) end f(1)",
      "local t while true do t = { t, t, t, t, t, t, t } end",
      [[local s = string.format("%99d", 1)
        while true do s = string.format("%s%s", s, s) end]],
      [[local f while true do local g = f
        f = function() return g end end]],
      [[local s = "x" for _ = 1, 14 do s = s .. s end
        return { s .. s, s .. s .. s .. s .. s }]],
      [[local s = "\n" for _ = 1, 14 do s = s .. s end
        return { string.format("%q%q", s, s) }]],
    }

    it("stop every attack, and the sandbox works on", function()
      for _, attack in ipairs(attacks) do
        local value, message, code = box:load("x.lua", attack)
        assert.is_nil(value)
        assert.is_true(code == "too_long" or code == "out_of_memory", attack)
        assert.equal(1, message:find("x.lua:%d: "), message)
        returns("alive", "return 'alive'")
      end
    end)

    it("hold in a function that is called", function()
      for _, attack in ipairs(attacks) do
        local run = assert(box:load("x.lua", "return function() "
          .. attack .. "\nend"))
        local value, _, code = box:call(run)
        assert.is_nil(value)
        assert.is_true(code == "too_long" or code == "out_of_memory", attack)
        returns("alive", "return 'alive'")
      end
    end)

    it("are told apart", function()
      fails("too_long", "x.lua:1: took too long", "while true do end")
      fails("out_of_memory", "x.lua:2: needs more memory than it may use",
        "local s = 'x'\nwhile true do s = s .. s end")
    end)

    it("give the line of the script, not of the prelude", function()
      fails("too_long", "x.lua:2: took too long",
        "local t = { 3, 2, 1 }\nsorted(t)")
    end)

    it("let a call return no function, which would be kept", function()
      local run = assert(box:load("x.lua", [[return function()
        local x = {} return true, function() return x end end]]))
      local value, message, code = box:call(run)
      assert.same({ nil, "x.lua: returns a function", "bad_script" },
                  { value, message, code })
    end)

    it("are counted anew for every call", function()
      local small = new({ instructions = 10000 })
      local run = assert(small:load("x.lua",
        "return function(n) for _ = 1, n do end return n end"))
      for _ = 1, 20 do assert.equal(8000, small:call(run, 8000)) end
      assert.equal("too_long", (select(3, small:call(run, 20000))))
    end)

    -- One call that costs so many seconds.
    local function costly(seconds)
      local size, call, used = 50, nil, 0
      while used < seconds do
        size = size + size // 8
        call = ("string.find(string.rep('a', %d), '.-.-.-b')"):format(size)
        local run, start = assert(load("return " .. call)), os.clock()
        run()
        used = os.clock() - start
      end
      return "return { stall = function() " .. call .. " end }"
    end

    it("take no stall of the machine for what a script takes", function()
      box = new({ prelude = costly(0.04) })
      returns("alive", "stall() for _ = 1, 999 do end return 'alive'")
      fails("too_long", "x.lua:1: took too long", "while true do stall() end")
    end)

    it("take what comes again for no stall", function()
      local passed = 0
      box = new({ prelude = costly(0.01) })
      local run = assert(box:load("x.lua", [[return function(n)
        for _ = 1, n do stall() for _ = 1, 20 do end end return n end]]))
      while box:call(run, passed + 1) do passed = passed + 1 end
      assert.is_true(passed >= 2 and passed < 12, passed)
    end)

    it("hold while a script is read", function()
      local names = ("a,"):rep(189) .. "a"
      fails("too_long", "x.lua: takes too long to read",
        ("function z() local " .. names .. " "):rep(150)
        .. ("x=x "):rep(30000) .. ("end "):rep(150) .. "return {}")
      returns("alive", "return 'alive'")
      bad("x.lua: more than 1000 times goto or break",
        ("goto z "):rep(36000) .. "::z:: return {}")
      bad("x.lua: more than 1000 times goto or break",
        "while true do " .. ("break "):rep(40000) .. "end return {}")
      returns("alive", "return 'alive'")
    end)

    it("leave numbers and conversions of a format few and short", function()
      bad("x.lua:1: bad argument #2 to 'format' (number expected, got a long "
        .. "text)", "return (string.format('%d', string.format('%065d', 1)))")
      returns("7 %", "return (string.format('%d %%', '7'))")
      bad("x.lua:1: bad argument #1 to 'format' (too many conversions)",
        "return (string.format('" .. ("%s"):rep(65) .. "'))")
    end)

    it("end memory that scripts hold on to, not what they let go", function()
      for _ = 1, 50 do
        returns(true, [[for _ = 1, 1000 do local t = { "x", {}, {}, {} }
          t[2][1] = t end return true]])
      end
      local keep = assert(box:load("x.lua", [[
        local kept = {}
        return function(n) for i = 1, n do kept[#kept + 1] = { {}, {} } end
          return #kept end]]))
      local last
      for _ = 1, 1000 do
        local count, _, code = box:call(keep, 1000)
        if code then last = code break end
        assert.is_number(count)
      end
      assert.equal("out_of_memory", last)
    end)

    it("stop what is nested too deep to parse", function()
      for _, text in ipairs({
        "return " .. ("{"):rep(300) .. ("}"):rep(300),
        "return " .. ("("):rep(300) .. "1" .. (")"):rep(300),
        "return " .. ("not "):rep(300) .. "1",
        "return 1" .. ("^1"):rep(300),
        ("do "):rep(300) .. ("end "):rep(300),
        "return " .. ("function() return "):rep(300) .. ("end "):rep(300),
      }) do
        local value, message, code = box:load("x.lua", text)
        assert.is_nil(value)
        assert.equal(1, message:find("x.lua:", 1, true))
        assert.equal("bad_script", code)
        returns("alive", "return 'alive'")
      end
    end)

    it("leave no way to close or finalize values", function()
      bad("x.lua:1: variable 'a' got a non-closable value",
        "local a <close> = {}")
    end)

    it("keep widths within what Lua allows", function()
      for _, format in ipairs({ "%99999999d", "%.999f", "%100s" }) do
        local _, message, code = box:load("x.lua",
          "return (string.format('" .. format .. "', 1))")
        assert.truthy(message:find("invalid conversion", 1, true))
        assert.equal("bad_script", code)
      end
      bad("x.lua:1: more than 256 bytes asked for",
        "local s = string.format('%99s%99s%99s', '', '', '') "
        .. "return (s:byte(1, -1))")
    end)
  end)

  describe("new", function()
    it("throws on a prelude that fails", function()
      for expected, text in pairs({
        ["prelude:1: unexpected symbol near '?'"] = "?",
        ["prelude does not return a table"] = "return 1",
        ["prelude:1: no"] = "error('no')",
        ["not enough memory"] = "string.rep('x', 1e8)",
      }) do
        local done, message = pcall(new, { prelude = text })
        assert.is_false(done)
        assert.truthy(message:find(expected, 1, true), message)
      end
    end)

    it("throws on limits that are none", function()
      assert.has_error(function() new({ memory = 1000 }) end)
      assert.has_error(function() new({ instructions = 0 }) end)
      assert.has_error(function() new({ memory = "much" }) end)
      assert.has_error(function() engine.sandbox.new({ prelude = "" }) end)
      assert.has_error(function()
        engine.sandbox.new({ memory = 1e6, instructions = 1e6,
          prelude = "return {}", globals = {} })
      end)
      assert.has_error(function() engine.sandbox.new() end)
    end)

    it("keeps sandboxes apart", function()
      local other = new()
      local text = "return function() return %d end"
      local first = assert(box:load("x.lua", text:format(1)))
      local second = assert(other:load("x.lua", text:format(2)))
      assert.equal(1, box:call(first))
      assert.equal(2, other:call(second))
    end)
  end)
end)
