local server = require("fulcio.engine").server

describe("shared", function()
  it("count from any number, in one place", function()
    server.count("spec_one")
    server.count("spec_one", 2)
    server.count("spec_part", 0.25)
    server.count("spec_part", 0.5)
    local counts = server.counts()
    assert.equal(3, counts.spec_one)
    assert.equal("integer", math.type(counts.spec_one))
    assert.equal(0.75, counts.spec_part)
  end)

  it("have functions that add to one", function()
    local add = server.counter("spec_add")
    add()
    add(2.5)
    assert.equal(3.5, server.counts().spec_add)
    server.counter("spec_add")(-3.5)
    assert.equal(0, server.counts().spec_add)
    assert.error(function() server.counter("") end)
    assert.error(function() server.counter(("k"):rep(241)) end)
    assert.error(function() add("much") end)
  end)

  it("have functions that put into the right bucket", function()
    local put = server.histogram({ "spec_1", "spec_2", "spec_more",
                                   "spec_sum" }, { 0.5, 1 })
    for _, value in ipairs({ 0.25, 0.5, 0.75, 1, 1.25, 8 }) do put(value) end
    local counts = server.counts()
    assert.same({ 2, 2, 2, 11.75 }, { counts.spec_1, counts.spec_2,
      counts.spec_more, counts.spec_sum })
    local none = server.histogram({ "spec_all", "spec_all_sum" }, {})
    none(3)
    assert.equal(1, server.counts().spec_all)
    for _, keys in ipairs({ { "a" }, { "a", "b", "c" }, { "", "b" },
                            { "a", ("k"):rep(241) }, { {}, "b" } }) do
      assert.error(function() server.histogram(keys, {}) end)
    end
    assert.error(function() server.histogram({ "a", "b", "c" }, { {} }) end)
  end)

  it("take keys of 1 to 240 bytes", function()
    server.count(("k"):rep(240))
    assert.equal(1, server.counts()[("k"):rep(240)])
    assert.error(function() server.count(("k"):rep(241)) end)
    assert.error(function() server.count("") end)
  end)

  it("forget no text that was published, and give each only once", function()
    local before = select(2, server.published())
    assert.equal(before + 1, server.publish("first, and long"))
    assert.same({ "first, and long", before + 1 }, { server.published(before) })
    assert.equal(before + 2, server.publish("a\0b"))
    assert.same({ "a\0b", before + 2 }, { server.published(before + 1) })
    local text, generation = server.published(before + 2)
    assert.is_nil(text)
    assert.equal(before + 2, generation)
    server.publish("")
    assert.equal("", (server.published(before)))
  end)
end)
