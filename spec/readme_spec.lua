local cjson = require("cjson")
local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local flags = require("fulcio.flags")
local process = require("spec.process")

local README = deployment.read("README.md")

-- The fenced blocks of a text, in order.
local function blocks(text, kind)
  local list = {}
  for block in text:gmatch("\n```" .. kind .. "\n(.-)\n```") do
    list[#list + 1] = block
  end
  return list
end

local function shell(command)
  local pipe = io.popen("{ " .. command .. "\n} 2>&1")
  local output = pipe:read("a")
  return output, pipe:close() == true
end

local policy = [[
-- Anyone with an address.
return { issuer = "ISSUER", audience = "sigstore", must = anyone,
  provider = "email" }]]

describe("README.md", function()
  teardown(process.stop_all)

  it("shows a policy that loads", function()
    local directory = process.directory()
    deployment.write(directory .. "/github.lua", blocks(README, "lua")[1])
    local output, done = shell(("%s check %s"):format(deployment.program,
      directory))
    os.execute("rm -rf " .. directory)
    assert.is_true(done, output)
  end)

  it("shows the commands that there are", function()
    local first = blocks(README, "")[1]
    local serve, sign = first:match("^(%S+ %S+)\n(%S+ run %S+) ")
    assert.equal("make serve", serve)
    assert.equal("build/fulcio run examples/sign.lua", sign)
    local script = deployment.read("examples/serve.bash")
    assert.matches("$program run examples/sign.lua $fulcio $issuer $data",
      script, 1, true)
    for name, default in pairs({ PORT = "5555", ISSUER_PORT = "5556" }) do
      assert.matches(("{%s:-%s}"):format(name, default), script, 1, true)
      assert.matches(":" .. default, first, 1, true)
    end
  end)

  it("names flags that there are", function()
    local known = {}
    for _, groups in pairs(flags) do
      for _, group in ipairs(groups) do
        for _, flag in ipairs(group) do known[flag[1]] = true end
      end
    end
    for flag in README:gmatch("%-%-([%l_][%w._-]+)") do
      assert.is_true(known[flag] or false, "--" .. flag)
    end
  end)

  it("names codes and limits that there are", function()
    assert.is_table(require("fulcio.refusal").rows.token_expired)
    for size in README:gmatch("RSA of ([%d, or]+) bits") do
      for bits in size:gmatch("%d+") do
        assert(engine.pkey.generate("RSA-" .. bits))
      end
    end
  end)
end)

describe("examples/README.md", function()
  it("gets a certificate with curl and openssl alone", function()
    local scene = deployment.start({ policies = { email = policy } })
    local script = blocks(deployment.read("examples/README.md"), "")[1]
      :gsub("http://127.0.0.1:5555", scene.fulcio)
      :gsub("http://127.0.0.1:5556", scene.issuer)
      :gsub("build/key.pem", scene.directory .. "/key.pem")
    local output = shell(script)
    local answer = cjson.decode(output:match("{.*}"))
    local chain = answer.signedCertificateEmbeddedSct.chain.certificates
    local leaf = assert(engine.x509.parse(chain[1]))[1]
    assert.is_true(scene:stop())
    assert.equal("alice@example.com", leaf.san[1].value)
  end)
end)
