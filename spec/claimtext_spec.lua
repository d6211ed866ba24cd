local claimfill = require("fulcio.claimfill")
local claimtext = require("fulcio.claimtext")

local function fill(value, claims, options)
  local node = assert(claimtext.compile(value, options or { optional = true }))
  return claimfill.fill(node, { claims = claims or {}, set = {},
                                default = {} })
end

describe("claimtext", function()
  it("joins the texts around claims", function()
    assert.equal("a-b-c", fill("a-{x}-{y}", { x = "b", y = "c" }))
    assert.equal("}x}}", fill("}{x}}}", { x = "x" }))
    assert.equal("{", fill("{{"))
    assert.equal("{x", fill("{{{x}", { x = "x" }))
  end)

  it("refuses texts that cannot be meant", function()
    for _, text in ipairs({ "", "{", "a{b", "{}", "{?}", "{ a}", "{a }",
                            "{{ .a }}", "{{.a}}" }) do
      local node, message = claimtext.compile(text, { optional = true })
      assert.is_nil(node)
      assert.is_string(message)
    end
  end)

  it("takes so many claims a text, and makes so many bytes", function()
    assert.equal(128, #fill(("{x}"):rep(128), { x = "1" }))
    assert.same({ '"' .. ("{x}"):rep(26) .. '{x…" has too many claims: 128, '
        .. "with what stands between them, are allowed" },
      { select(2, claimtext.compile(("{x}"):rep(129), {})) })
    assert.equal(65536, #fill("{x}{x}", { x = ("a"):rep(32768) }))
    local text, problem = fill(".{x}{x}", { x = ("a"):rep(32768) })
    assert.is_nil(text)
    assert.same({ "claim_invalid", "x", "makes a text longer than 64 KiB" },
      { problem.code, problem.claim, problem.why })
  end)

  it("tells an absent {claim?} from a refusal", function()
    local text, problem = fill("{x?}")
    assert.is_nil(text)
    assert.is_nil(problem)
    text, problem = fill("{x}")
    assert.is_nil(text)
    assert.same({ "claim_missing", "x" }, { problem.code, problem.claim })
  end)

  it("refuses inside pick and url as well", function()
    local pick = { __word = "pick", count = 2, "k", { a = "{x}" } }
    local _, problem = fill(pick, { k = "a" })
    assert.equal("x", problem.claim)
    _, problem = fill({ __word = "url", count = 2, "https://h/", pick },
                      { k = "b" })
    assert.same({ "claim_invalid", "k" }, { problem.code, problem.claim })
    _, problem = fill({ __word = "url", count = 2, "{h}", "p" },
                      { h = "https://%zz" })
    assert.same({ "claim_invalid", "h" }, { problem.code, problem.claim })
  end)

  it("lets no path become a host", function()
    for _, base in ipairs({ "https:", "https://", "https:///a", "https://?q",
                            "a", "https://#f" }) do
      local text, problem = fill({ __word = "url", count = 2, "{h}", "{p}" },
                                 { h = base, p = "/evil.example/x" })
      assert.is_nil(text)
      assert.same({ "claim_invalid", "h" }, { problem.code, problem.claim })
    end
  end)

  it("takes further words from an importer alone", function()
    local form = { __word = "same", "{x}" }
    assert.is_nil((claimtext.compile(form, {})))
    assert.equal("1", fill(form, { x = "1" }, { forms = {
      same = function(value, options, compile)
        return compile(value[1], options)
      end } }))
  end)

  it("tells which claims a text reads", function()
    local node = assert(claimtext.compile({ __word = "url", count = 2, "{a}",
      { __word = "pick", count = 3, "b", { x = "{c}" }, "{d?}" } },
      { optional = true }))
    local names = {}
    claimtext.each_claim(node, function(name) names[name] = true end)
    assert.same({ a = true, b = true, c = true, d = true }, names)
    assert.equal("a", claimtext.first(node))
    assert.equal("x", claimtext.only((claimtext.compile("{x}", {}))))
    assert.is_nil(claimtext.only((claimtext.compile("x{x}", {}))))
    assert.is_nil(claimtext.first((claimtext.compile("x", {}))))
  end)
end)
