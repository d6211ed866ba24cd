local compile = require("fulcio.compile")

local function piece(data, options)
  local errors = {}
  local made = compile.piece(data, function(path, message)
    errors[#errors + 1] = table.concat(path, ".") .. ": " .. message
  end, options or { kind = "policy", name = "p.lua" })
  return made, errors
end

describe("compile", function()
  it("makes texts nodes and matchers tests", function()
    local made, errors = piece({
      must = { b = "x", a = { __word = "present" } }, san = { uri = "{x}" },
      set = { s = "1" }, default = { d = "2" },
      extensions = { build_trigger = "{y?}", runner_environment = false },
      challenge = "{sub}", check = { ["function"] = 1 }, internal = true,
    })
    assert.same({}, errors)
    assert.same({ "a", "b" }, { made.must[1].claim, made.must[2].claim })
    assert.equal('"x"', made.must[2].wanted)
    assert.equal("uri", made.san.type)
    assert.is_true(made.extensions.runner_environment.drop)
    assert.equal(1, #made.challenge)
    assert.equal(1, made.checks[1].handle["function"])
    assert.is_true(made.internal)
  end)

  it("reports every field that is wrong", function()
    local _, errors = piece({ must = 5, san = "x", set = { a = 1 },
                              extensions = 5, challenge = 5, check = 5,
                              [1] = "x", other = 1 })
    assert.equal(8, #errors, table.concat(errors, "\n"))
  end)

  it("knows what belongs into a policy and not into a provider", function()
    local options = { kind = "provider", name = "x.lua" }
    local _, errors = piece({ issuer = "i", audience = "a", provider = "x",
      ca_file = "f", internal = true, unverified_email = true }, options)
    assert.equal(6, #errors)
    for _, message in ipairs(errors) do
      assert.truthy(message:find("belongs into the policy", 1, true))
    end
    local made
    made, errors = piece({ set = { a = false, b = "x" } }, options)
    assert.same({}, errors)
    assert.same({ "a" }, made.owed)
  end)

  it("takes an empty default from an importer alone", function()
    local data = { default = { a = "" } }
    local _, errors = piece(data)
    assert.equal(1, #errors)
    local made
    made, errors = piece(data, { kind = "policy", name = "p.lua",
                                 empty_default = true })
    assert.same({}, errors)
    assert.equal("", made.default.a)
  end)

  it("lists the fields there are", function()
    assert.equal(15, #compile.fields.policy)
    assert.equal(9, #compile.fields.provider)
  end)
end)
