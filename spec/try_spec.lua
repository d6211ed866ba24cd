local try = require("fulcio.try")

local POLICY = [[
return {
  issuer = "https://issuer.example.com",
  audience = "sigstore",
  must = { ref = "main" },
  san = { uri = "https://ci.example.com/{ref}" },
  extensions = { build_trigger = "{event}", ["1.2.3"] = "own" },
}
]]
local CLAIMS = [[{ "iss": "https://issuer.example.com", "aud": "sigstore",
  "sub": "s", "ref": "main", "event": "push" }]]

local dir

local function write(name, text)
  local file = assert(io.open(dir .. "/" .. name, "wb"))
  file:write(text)
  file:close()
  return dir .. "/" .. name
end

-- Exit status and everything that was written.
local function run(...)
  local out = { text = "" }
  function out:write(...)
    self.text = self.text .. table.concat({ ... })
  end
  return try.run({ ... }, out, out), (out.text:gsub(dir, "DIR"))
end

describe("try", function()
  local policy, claims

  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. dir))
    policy, claims = write("p.lua", POLICY), write("c.json", CLAIMS)
  end)

  after_each(function()
    os.execute("rm -r " .. dir)
  end)

  it("prints what the certificate would say", function()
    local status, text = run(policy, claims)
    assert.equal(0, status)
    assert.equal([[
granted by p.lua
  name       URI https://ci.example.com/main
  challenge  s
  template   leaf, 600 seconds
  .1   issuer = https://issuer.example.com
  .8   issuer_v2 = https://issuer.example.com
  .20  build_trigger = push
  .24  subject = s
  1.2.3 = own
]], text)
  end)

  it("prints the refusal and the claim that caused it", function()
    local status, text = run(policy, write("d.json",
                                           (CLAIMS:gsub("main", "other"))))
    assert.equal(1, status)
    assert.equal([[
refused: MUST_NOT_MET
  claim      ref
  policy     p.lua
  must       ref: "main"
]], text)
  end)

  it("takes a folder, or Fulcio's configuration", function()
    assert.equal(0, (run(dir, claims)))
    local config = write("config.yaml", [[
oidc-issuers:
  https://issuer.example.com:
    issuer-url: https://issuer.example.com
    client-id: sigstore
    type: uri
    subject-domain: https://users.example.com
]])
    local status, text = run(config, claims)
    assert.equal(1, status)
    assert.truthy(text:find("MUST_NOT_MET\n  claim      sub\n", 1, true))
  end)

  it("says why it could not try", function()
    local status, text = run(write("q.lua", "return { issuer = 5 }"), claims)
    assert.equal(2, status)
    assert.truthy(text:find("DIR/q.lua:1: audience is missing", 1, true))
    status, text = run(policy, write("d.json", "{"))
    assert.equal(2, status)
    assert.truthy(text:find("^DIR/d.json: "))
    status, text = run(policy, write("d.json", "5"))
    assert.equal(2, status)
    assert.equal("DIR/d.json: not a JSON object\n", text)
    status, text = run(policy, dir .. "/none.json")
    assert.equal(2, status)
    assert.truthy(text:find("none.json", 1, true))
  end)

  it("explains its use", function()
    for _, arguments in ipairs({ {}, { "a" }, { "a", "b", "c" },
                                 { "--bogus", "a" } }) do
      local status, text = run(table.unpack(arguments))
      assert.equal(2, status)
      assert.truthy(text:find("usage: fulcio try", 1, true))
    end
  end)

  it("tries the development issuer's policy when told to", function()
    local token = write("d.json", [[{ "iss": "http://127.0.0.1:5556",
      "aud": "sigstore", "sub": "s", "email": "a@example.com",
      "email_verified": true }]])
    local file = "policies/issuers/development.lua"
    assert.equal(2, (run(file, token)))
    assert.equal(0, (run(file, token, "--development")))
  end)
end)
