local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local hostile = require("spec.abuse.hostile")
local json = require("fulcio.json")
local policy = require("fulcio.policy")
local program = require("spec.program")

local GOOD = [[
return {
  issuer = "ISSUER", audience = "sigstore",
  must = { email = present, case = "good" }, san = { email = "{email}" },
}
]]

local CHECK = [[
return {
  issuer = "ISSUER", audience = "sigstore", must = { case = "%s" },
  san = { email = "{email}" },
  check = function(claims) %s
end }
]]

local MATCH = [[
return {
  issuer = "ISSUER", audience = "sigstore",
  must = { case = "%s", text = match(%q) }, san = { email = "{email}" },
}
]]

local HAS = MATCH:gsub("match%(%%q%)", "has(match(%%q))")

-- A list of a text, as long as a token may be.
local function list_of(text)
  return "[" .. ('"' .. text .. '",'):rep(math.floor(40000 / (#text + 3)))
    .. '"' .. text .. '"]'
end

-- The policies, and the claims that call for each: { name, members }.
local function cases()
  local policies, list = { good = GOOD }, {}
  local function add(name, members, text)
    policies[name] = text
    list[#list + 1] = { name = name, members = members }
  end
  for i, body in ipairs(hostile.bodies) do
    local name = "check" .. i
    add(name, ('"case":"%s"'):format(name),
        CHECK:format(name, "do " .. body .. " end"))
  end
  for i, pair in ipairs(hostile.expressions) do
    local name = "match" .. i
    add(name, ('"case":"%s","text":"%s"'):format(name,
        pair[2]:rep(math.floor(4000 / #pair[2]))),
        MATCH:format(name, pair[1]))
  end
  for i, pair in ipairs(hostile.lists) do
    local name = "match list" .. i
    add(name, ('"case":"%s","text":%s'):format(name, list_of(pair[2])),
        HAS:format(name, pair[1]))
  end
  for _, text in ipairs(hostile.texts) do
    add("email " .. text, '"case":"good","email":' .. json.text(text))
    add("case " .. text, '"case":' .. json.text(text))
  end
  for _, members in ipairs(hostile.members) do
    add("claims " .. members:sub(1, 40), '"case":"good",' .. members)
  end
  return policies, list
end

describe("a running CA", function()
  local policies, list = cases()
  local scene, issuer_key, kid, key, proof

  setup(function()
    scene = deployment.start({ policies = policies,
                               flags = { "--workers", "1" } })
    issuer_key = assert(engine.pkey.open(
      scene.directory .. "/issuer/RS256.pem"))
    kid = engine.bytes.base64url(engine.bytes.sha256(issuer_key:spki()))
    key = assert(engine.pkey.generate("P-256"))
    proof = engine.bytes.base64(assert(key:sign("a@example.com")))
  end)

  teardown(function() scene:stop() end)

  -- A token of these members; those of them that every token has are
  -- replaced, not there twice.
  local function ask(members)
    local usual = {
      { "iss", scene.issuer }, { "aud", "sigstore" }, { "sub", "a" },
      { "email", "a@example.com" }, { "email_verified", true },
      { "exp", engine.system.now() + 600 },
    }
    local parts = { members }
    for _, one in ipairs(usual) do
      local name = ('"%s":'):format(one[1])
      if not members:find(name, 1, true) then
        table.insert(parts, 1, name .. (type(one[2]) == "string"
          and json.text(one[2]) or tostring(one[2])))
      end
    end
    return program.post(scene.fulcio .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = assert(engine.jws.sign(
        json.encode({ alg = "RS256", kid = kid }),
        "{" .. table.concat(parts, ",") .. "}", issuer_key, "RS256")) },
      publicKeyRequest = { publicKey = { content = key:pem() },
                           proofOfPossession = proof },
    })
  end

  -- Milliseconds of the processor that the CA's processes have used.
  local function used()
    local total = 0
    for _, pid in ipairs(scene.ca:children()) do
      local text = program.read(("/proc/%d/schedstat"):format(pid))
      total = total + tonumber(text:match("^%d+"))
    end
    return total / 1e6
  end

  -- LONG=1 prints which case took most of the processor.
  it("refuses 200 policies and claims that mean harm, and lives on",
  function()
    assert.is_true(#list >= 200, #list)
    assert.equal(200, ask('"case":"good"').status)
    local children, most, worst = scene.ca:children(), 0, nil
    for _, case in ipairs(list) do
      local before = used()
      local response = ask(case.members)
      assert.is_truthy(response, case.name)
      local took = used() - before
      if took > most then most, worst = took, case.name end
      assert.equal(400, response.status, case.name .. response.body)
      local reason = program.parsed(response).details[1].reason
      if case.name:find("^check") then
        assert.equal("CHECK_REFUSED", reason, case.name)
      elseif case.name:find("^match") then
        assert.equal("MUST_NOT_MET", reason, case.name)
      end
    end
    if os.getenv("LONG") then print(#list, most, worst) end
    assert.same(children, scene.ca:children())
    assert.equal(200, ask('"case":"good"').status)
  end)

  it("loads no policy that means harm while it loads, and loads the next",
  function()
    for _, body in ipairs(hostile.bodies) do
      local set, errors = policy.load({
        { name = "bad.lua", text = "do " .. body .. " end\n" },
        { name = "good.lua", text = (GOOD:gsub("ISSUER",
                                               "https://a.example")) } })
      assert.is_nil(set, body)
      for _, wrong in ipairs(errors) do
        assert.equal("bad.lua", wrong.file, body)
      end
    end
  end)
end)
