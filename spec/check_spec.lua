local check = require("fulcio.check")

local GOOD = [[
return {
  issuer = "https://issuer.example.com",
  audience = "sigstore",
  must = anyone,
  provider = "email",
}
]]

local dir

local function write(name, text)
  local file = assert(io.open(dir .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

local function sink()
  local out = { text = "" }
  function out:write(...)
    self.text = self.text .. table.concat({ ... })
  end
  return out
end

-- Exit status, standard output, standard error.
local function run(...)
  local stdout, stderr = sink(), sink()
  local status = check.run({ ... }, stdout, stderr)
  return status, stdout.text, (stderr.text:gsub(dir, "DIR"))
end

describe("check", function()
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -p " .. dir .. "/providers"))
  end)

  after_each(function()
    os.execute("rm -r " .. dir)
  end)

  it("has nothing to say of good policies", function()
    write("a.lua", GOOD)
    local status, out, err = run(dir)
    assert.equal(0, status)
    assert.equal("1 policy, no error\n", out)
    assert.equal("", err)
  end)

  it("prints every error of every file, and exits with 1", function()
    write("a.lua", (GOOD:gsub("audience", "audiance")))
    write("b.lua", (GOOD:gsub("anyone", "{}"):gsub("email", "emial")))
    write("providers/x.lua", "return { sna = 1 }")
    local status, out, err = run(dir)
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal([[
DIR/a.lua:1: audience is missing: audience = "sigstore" is usual
DIR/a.lua:3: unknown field "audiance" (did you mean "audience"?)
DIR/b.lua:4: must is empty: name the claims that a token needs, or write ]]
      .. [[must = anyone
DIR/b.lua:5: there is no provider "emial" (did you mean "email"?)
DIR/providers/x.lua:1: unknown field "sna" (did you mean "san"?)
5 errors
]], err)
  end)

  it("checks the shipped folder, whose policies are in issuers/", function()
    local status, out = run("policies", "--development")
    assert.equal(0, status)
    assert.truthy(out:find("^%d+ policies, no error"))
    local err
    status, out, err = run("policies")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("development.lua:4: issuer", 1, true))
  end)

  it("says what is wrong with a folder or a file", function()
    assert.equal(1, (run(dir)))
    assert.equal(1, (run(dir .. "/none")))
    assert.equal(1, (run(dir .. "/none.lua")))
    assert.equal(1, (run("--config-path", dir .. "/none.yaml")))
  end)

  it("takes one policy file as well", function()
    write("a.lua", GOOD)
    assert.equal(0, (run(dir .. "/a.lua")))
  end)

  it("checks Fulcio's configuration", function()
    local status, out = run("--config-path",
                            "spec/fixtures/fulcio-config.yaml")
    assert.equal(0, status)
    assert.equal("31 policies, no error\n", out)
    write("c.json", '{"OIDCIssuers": {"https://a.example": {"Type": "uri"},'
          .. ' "https://b.example": {"Type": "spiffe"}}}')
    local err
    status, out, err = run("--config-path=" .. dir .. "/c.json")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("https://a.example: uri issuer must have", 1, true))
    assert.truthy(err:find("https://b.example: spiffe issuer must", 1, true))
  end)

  it("warns of issuers that no token can pass", function()
    write("c.json", '{"OIDCIssuers": {"https://a.example": {"Type": "x",'
          .. '"ChallengeClaim": "sub"}}}')
    local status, _, err = run("--config-path", dir .. "/c.json")
    assert.equal(0, status)
    assert.equal('DIR/c.json:1: https://a.example: unknown type "x": no '
                 .. "token of it can pass (warning)\n", err)
  end)

  it("prints the policies that a configuration stands for", function()
    local status, out = run("--config-path",
                            "spec/fixtures/fulcio-config.json", "--print")
    assert.equal(0, status)
    assert.truthy(out:find("-- 01_accounts_google_com.lua\nreturn {", 1,
                           true))
  end)

  it("writes them as files to a folder", function()
    local status, out = run("--config-path",
      "spec/fixtures/fulcio-config.json", "--print", "--out", dir .. "/new")
    assert.equal(0, status)
    assert.equal("31 files written\n", out)
    assert.equal(0, (run(dir .. "/new")))
    local err
    status, out, err = run("--config-path",
      "spec/fixtures/fulcio-config.json", "--print", "--out", dir .. "/new")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("exists", 1, true))
  end)

  it("does not print what the language cannot say", function()
    write("c.json", [[{"OIDCIssuers": {"https://a.example": {
      "IssuerURL": "https://a.example", "ClientID": "s",
      "Type": "ci-provider", "CIProvider": "x"}},
      "CIIssuerMetadata": {"x": {
      "SubjectAlternativeNameTemplate": "{{ or .a .b }}"}}}]])
    local status, out, err = run("--config-path", dir .. "/c.json",
                                 "--print")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("san.uri cannot be written as a policy", 1, true))
  end)

  it("explains its use", function()
    for _, arguments in ipairs({ {}, { "a", "b" }, { "--bogus" },
                                 { "--print", "a" }, { "--config-path" },
                                 { "a", "--config-path", "b" },
                                 { "a", "--out", "b" } }) do
      local status, out, err = run(table.unpack(arguments))
      assert.equal(1, status)
      assert.equal("", out)
      assert.truthy(err:find("usage: fulcio check", 1, true))
    end
  end)
end)
