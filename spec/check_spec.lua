local process = require("spec.process")

local HERE = os.getenv("PWD")

-- What a check says of a tree that holds these files, as a list of lines,
-- and whether it was content.
local function check(name, files)
  local directory = process.directory()
  for path, text in pairs(files) do
    local folder = path:match("^(.*)/")
    if folder then os.execute("mkdir -p " .. directory .. "/" .. folder) end
    local file = assert(io.open(directory .. "/" .. path, "w"))
    file:write(text)
    file:close()
  end
  local pipe = io.popen(("cd %s && BUILD=%s/build lua5.4 %s/spec/check/%s.lua"
    .. " 2>&1"):format(directory, HERE, HERE, name))
  local found = {}
  for line in pipe:lines() do found[#found + 1] = line end
  local content = pipe:close() == true
  os.execute("rm -rf " .. directory)
  return found, content
end

local function finds(expected, name, files)
  files.Makefile = files.Makefile or "all:\n"
  local found, content = check(name, files)
  assert.same(expected, found)
  assert.equal(#expected == 0, content)
end

local function lines(text, n) return (text .. "\n"):rep(n) end

describe("make check", function()
  it("finds functions of more than 60 lines, C", function()
    local good = "static int good(int x) {\n" .. lines("  x++;", 58) .. "}\n"
    finds({}, "lengths", { ["engine/a.c"] = good })
    finds({ "engine/a.c:2: bad has 61 lines, at most 60 are read with ease" },
      "lengths", { ["engine/a.c"] = "\nint bad(int x,\n  int y) {\n"
        .. lines("  x++;", 58) .. "}\n" .. good })
  end)

  it("finds functions of more than 60 lines, Lua", function()
    local function text(n)
      return "--- A.\nlocal function f(x)\n  -- if do\n  if x then x = 1\n"
        .. "  elseif y then x = [[ if ]] else x = \"do \\\" do\" end\n"
        .. lines("  f()", n) .. "end\n"
    end
    finds({}, "lengths", { ["lua/a.lua"] = text(55) })
    finds({ "lua/a.lua:2: function has 61 lines, at most 60 are read with"
      .. " ease" }, "lengths", { ["lua/a.lua"] = text(56) })
  end)

  it("lets a chapter of a spec be as long as it is", function()
    local chapter = 'describe("a", function()\n' .. lines("  f()", 70)
      .. "end)\n"
    finds({}, "lengths", { ["spec/a_spec.lua"] = chapter })
    finds({ "spec/a_spec.lua:1: function has 72 lines, at most 60 are read"
      .. " with ease" }, "lengths",
      { ["spec/a_spec.lua"] = chapter:gsub("describe", "it") })
  end)

  it("finds lines of more than 80 columns, not bytes", function()
    finds({}, "lengths", { ["lua/a.lua"] = "-- " .. ("é"):rep(77) .. "\n" })
    finds({ "lua/a.lua:1: 81 columns" }, "lengths",
      { ["lua/a.lua"] = "-- " .. ("é"):rep(78) .. "\n" })
  end)

  it("finds white space at the end of a line", function()
    finds({ "lua/a.lua:1: white space at the end" }, "lengths",
      { ["lua/a.lua"] = "-- a \n" })
  end)

  it("finds what is left to do, and paths of one machine", function()
    finds({ "lua/a.lua:2: TO" .. "DO left: do it, or open an issue",
      "lua/a.lua:3: /ho" .. "me/ is a path of one machine" }, "leftovers",
      { ["lua/a.lua"] = "--- A.\n-- TO" .. "DO: b\n-- /ho" .. "me/c\n",
        ["lua/b.lua"] = "--- MASTO" .. "DON.\n" })
  end)

  it("finds a file that does not say what it is", function()
    finds({ "lua/a.lua:1: the first line says what the file is: --- …" },
      "leftovers", { ["lua/a.lua"] = "local a = 1\n" })
  end)

  it("finds links and rules that lead nowhere", function()
    finds({
      "README.md:1: no such file: c.md",
      "README.md:2: no such heading: a/b.md#two",
      "README.md:3: no such rule: make gold",
    }, "links", {
      ["README.md"] = "[a](a/b.md) [c](c.md) [d](https://example.com)\n"
        .. "[1](a/b.md#one-more) [2](a/b.md#two)\n`make all` `make gold`\n",
      ["a/b.md"] = "# One more\n```\n# two\n```\n",
    })
  end)

  it("knows every name that the engine offers", function()
    local text = io.open("engine/engine.lua"):read("a")
    local short = text:gsub("function engine.bytes.hex", "-- %0", 1)
      :gsub("%-%-%- Standard base64[^\n]*\n%-%-%-[^\n]*\n%-%-%-[^\n]*\n", "")
      .. "--- No such thing.\nfunction engine.bytes.gone() end\n"
    local found = {}
    for _, line in ipairs((check("documented", {
      ["engine/engine.lua"] = short }))) do
      found[#found + 1] = line:match("bytes%.%l+64 .*$")
        or line:match("bytes%.hex .*$") or line:match("bytes%.gone .*$")
    end
    assert.same({ "bytes.base64 has no sentence above it",
      "bytes.hex exists and is not documented",
      "bytes.gone is documented and does not exist" }, found)
  end)
end)
