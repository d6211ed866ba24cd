local issuer = require("fulcio.issuer")

local function issuers(value, options)
  local errors = {}
  local list = issuer.issuers(value, function(_, message)
    errors[#errors + 1] = message
  end, options or {})
  return list, errors
end

local function glob(text)
  return { __word = "glob", count = 1, text }
end

describe("issuer", function()
  it("is a URL, a glob, or a list of them", function()
    local list, errors = issuers({ "https://a.example/x",
                                   glob("https://*.example/*") })
    assert.same({}, errors)
    assert.is_true(issuer.fits(list[1], "https://a.example/x"))
    assert.is_false(issuer.fits(list[1], "https://a.example/x/"))
    assert.is_true(issuer.fits(list[2], "https://b.example/c-_9"))
    for _, iss in ipairs({ "https://b.c.example/d", "https://.example/d",
                           "https://b.example/", "https://b.example/c/d",
                           "https://b.example/c?d", "x https://b.example/c",
                           "https://b.example/c\n" }) do
      assert.is_false(issuer.fits(list[2], iss), iss)
    end
  end)

  it("is nothing else", function()
    for _, value in ipairs({ 5, "", "x", "ftp://a.example", "https://",
                             "https:///x", "https://u@a.example",
                             "https://a.example#x", "https://*.example",
                             glob("http://*.example"), glob("*"),
                             { __word = "glob", count = 0 }, {}, { {} } }) do
      local _, errors = issuers(value)
      assert.equal(1, #errors)
    end
    local _, errors = issuers(nil)
    assert.equal(1, #errors)
  end)

  it("is on loopback without TLS for development alone", function()
    for _, option in ipairs({ "development", "loopback" }) do
      local _, errors = issuers("http://localhost:1", { [option] = true })
      assert.same({}, errors)
    end
    for _, host in ipairs({ "localhost.example", "127.0.0.1.example",
                            "example.com" }) do
      local _, errors = issuers("http://" .. host, { development = true })
      assert.equal(1, #errors)
    end
  end)

  it("has audiences, never none", function()
    local errors = 0
    local function report() errors = errors + 1 end
    assert.same({ "a" }, issuer.audiences("a", report))
    assert.same({ "a", "b" }, issuer.audiences({ "a", "b" }, report))
    assert.equal(0, errors)
    for _, value in ipairs({ "", 5, {}, { "" }, { 5 }, glob("*") }) do
      errors = 0
      issuer.audiences(value, report)
      assert.is_true(errors > 0)
    end
  end)
end)
