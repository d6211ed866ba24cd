local says = require("fulcio.says")

local function check(field, value, options)
  local piece, errors = { name = "p.lua", extensions = {} }, {}
  says.checkers[field](piece, value, function(_, message)
    errors[#errors + 1] = message
  end, options or {})
  return piece, errors
end

describe("says", function()
  it("takes one name of a known kind", function()
    local piece, errors = check("san", { email = "{email}" })
    assert.same({}, errors)
    assert.equal("email", piece.san.type)
    for _, value in ipairs({ "x", {}, { email = "a", uri = "b" },
                             { mail = "x" }, { email = 5 },
                             { username = "{sub}" },
                             { username = "{a}!{b}!c" } }) do
      piece, errors = check("san", value)
      assert.equal(1, #errors)
      assert.is_true(value.username ~= nil or piece.san == nil)
    end
  end)

  it("lets an importer write any username", function()
    local _, errors = check("san", { username = "{sub}!a!b" },
                            { importer = true })
    assert.same({}, errors)
  end)

  it("knows extensions by name and by OID", function()
    local piece, errors = check("extensions", {
      build_trigger = "x", ["1.2.3"] = "y", runner_environment = false })
    assert.same({}, errors)
    assert.equal("1.2.3", piece.extensions["1.2.3"].entry.oid)
    assert.is_true(piece.extensions.runner_environment.drop)
    for _, key in ipairs({ "issuer", "issuer_v2", "subject", "nope",
                           "2.5.29.1", 5 }) do
      _, errors = check("extensions", { [key] = "x" })
      assert.equal(1, #errors)
    end
  end)

  it("makes a list of challenges", function()
    assert.equal(1, #check("challenge", "{sub}").challenge)
    assert.equal(2, #check("challenge", { "{a}", "{b}" }).challenge)
    local _, errors = check("challenge", {})
    assert.equal(1, #errors)
  end)

  it("orders keys as text", function()
    assert.same({ 1, "a", "b" }, says.sorted({ b = 1, a = 1, [1] = 1 }))
  end)
end)
