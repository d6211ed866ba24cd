local policy_file = require("fulcio.policy_file")
local words = require("fulcio.words")

describe("policy_file", function()
  it("writes what reads back as the same", function()
    local data = {
      issuer = { __word = "glob", count = 1, "https://*.example" },
      audience = { "a", "b" },
      must = { ["a b"] = { __word = "present" }, ["end"] = "x", n = 5,
               list = { "p", { __word = "glob", count = 1, "q*" } },
               t = true },
      san = { uri = { __word = "url", count = 2, "https://h", "{a}\n\"\\\1" } },
      extensions = { build_trigger = { __word = "pick", count = 3, "k",
        { ["true"] = "1", b = "2" }, false } },
      unverified_email = true,
    }
    local text = policy_file.text(data, "two\nlines")
    assert.equal("-- two\n-- lines\nreturn {\n", text:sub(1, 25))
    assert.same(data, assert(words.sandbox():load("p.lua", text)))
  end)

  it("keeps the order of a policy, and two spaces", function()
    assert.equal([[
return {
  issuer = "i",
  audience = "a",
  must = anyone,
  san = {
    email = "{email}",
  },
  challenge = { "{email}", "{sub}" },
}
]], policy_file.text({ challenge = { "{email}", "{sub}" }, audience = "a",
      must = { __word = "anyone" }, san = { email = "{email}" },
      issuer = "i" }))
  end)
end)
