local engine = require("fulcio.engine")

local sha256 = engine.bytes.sha256

describe("finder", function()
  it("finds the numbers of a hundred thousand hashes", function()
    local finder, hashes = engine.finder.new(), {}
    for i = 0, 99999 do hashes[i + 1] = sha256(tostring(i)) end
    finder:add(table.concat(hashes, "", 1, 50000), 0)
    for i = 50000, 99999 do finder:add(hashes[i + 1], i) end
    for i = 0, 99999 do
      assert(finder:find(hashes[i + 1]) == i)
    end
    for i = 1, 1000 do
      assert.same({}, { finder:find(sha256("none " .. i)) })
    end
  end)

  it("finds all that begin alike, and nothing in what is empty", function()
    local finder = engine.finder.new()
    local hash = ("x"):rep(32)
    assert.same({}, { finder:find(hash) })
    finder:add("", 5)
    assert.same({}, { finder:find(hash) })
    finder:add(hash, 7)
    finder:add(("x"):rep(8) .. ("y"):rep(24), 3)
    finder:add(("x"):rep(7) .. ("y"):rep(25), 4)
    local found = { finder:find(hash) }
    table.sort(found)
    assert.same({ 3, 7 }, found)
  end)

  it("has numbers of 32 bits and hashes of 32 bytes", function()
    local finder, hash = engine.finder.new(), ("z"):rep(32)
    finder:add(hash, 0xfffffffd)
    assert.equal(0xfffffffd, finder:find(hash))
    for _, wrong in ipairs({ { hash, 0xfffffffe }, { hash, -1 },
                             { "short", 1 }, { hash } }) do
      assert.has_error(function() finder:add(table.unpack(wrong)) end)
    end
    assert.has_error(function() finder:find("short") end)
  end)
end)
