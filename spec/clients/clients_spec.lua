local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")
local scenes = require("spec.clients.scene")

local scene

-- Runs a driver and returns what it said, case by case.
local function outcomes(command)
  local pipe = io.popen(command .. " " .. scene.file .. " 2>&1")
  local found, other = {}, {}
  for line in pipe:lines() do
    local name, reason = line:match("^not ok ([^:]+): (.*)$")
    if name then found[name] = reason
    elseif line:find("^ok ") then found[line:sub(4)] = "ok"
    else other[#other + 1] = line end
  end
  pipe:close()
  return found, table.concat(other, "\n")
end

-- Cases ----------------------------------------------------------------

local KEYS = { "P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096",
  "Ed25519" }

local WRONGS = { "another CT log", "forged CT key", "another CA",
  "another identity", "another artifact" }

local function refusing(list)
  for _, name in ipairs(WRONGS) do list[#list + 1] = "refuses " .. name end
  return list
end

local function library_cases(more)
  local list = {}
  for _, identity in ipairs(scenes.identities) do
    list[#list + 1] = "artifact as " .. identity.name
    list[#list + 1] = "statement as " .. identity.name
  end
  for _, name in ipairs(more) do list[#list + 1] = name end
  return refusing(list)
end

local function go_cases()
  local list = { "hears that the audience is wrong" }
  for i, identity in ipairs(scenes.identities) do
    for _, key in ipairs(i == 1 and KEYS or { "P-256" }) do
      local tail = (" as %s with %s"):format(identity.name, key)
      list[#list + 1] = "statement" .. tail
      if key ~= "Ed25519" then list[#list + 1] = "artifact" .. tail end
    end
  end
  return refusing(list)
end

local function wire_cases()
  local list = { "the log has it", "refusals",
    "refuses a proof of another name", "refuses a forged token",
    "refuses another audience", "refuses a weak key",
    "a forged CT key does not verify",
    "another issuer's key hash does not verify" }
  for _, form in ipairs({ "v2, key", "v2, request", "v1, key in PEM",
    "v1, key in DER", "v1, request" }) do
    for _, key in ipairs(KEYS) do list[#list + 1] = form .. ", " .. key end
    for i = 2, #scenes.identities do
      list[#list + 1] = form .. ", as " .. scenes.identities[i].name
    end
  end
  return list
end

local function grpc_cases()
  local list = { "TLS 1.3 is preferred, and h2", "TLS 1.2 will do",
    "TLS 1.1 will not", "no TLS is refused", "no common protocol is refused",
    "a bad pair leaves the old", "a new pair for new connections" }
  for _, name in ipairs({ "v2, key", "v2, request", "v2, token as metadata",
    "v2, compressed", "v1, key", "v1, roots", "trust bundle",
    "configuration", "a refusal and its reason", "an unknown method",
    "a message too large", "a deadline", "200 calls at once", "health",
    "health, watched", "reflection" }) do
    list[#list + 1] = name .. " over TLS"
    list[#list + 1] = name .. " on the HTTP port"
  end
  return list
end

local function curl_cases()
  local list = {}
  for _, identity in ipairs(scenes.identities) do
    list[#list + 1] = "v1 as " .. identity.name
    list[#list + 1] = "v2 as " .. identity.name
  end
  return list
end

local BUILT = runtimes.built
local PYTHON = BUILT .. "/python/bin/python spec/clients/python/"

local clients = {
  { name = "wire", needs = { "python" }, command = PYTHON .. "wire.py",
    cases = wire_cases() },
  { name = "curl", needs = {}, command =
      "lua5.4 spec/clients/curl/client.lua", cases = curl_cases() },
  { name = "sigstore-python", needs = { "python", "go" },
    command = PYTHON .. "client.py",
    cases = library_cases({ "a bundle to refuse", "negative controls",
      "refuses to sign under a forged CT key" }) },
  { name = "sigstore-js", needs = { "node", "go" },
    command = "node " .. BUILT .. "/node/client.mjs",
    cases = library_cases({ "negative controls",
      "hears that the audience is wrong" }) },
  { name = "sigstore-go", needs = { "go" }, command = BUILT .. "/sigstore-go",
    cases = go_cases() },
  { name = "sigstore-java", needs = { "java", "go" },
    command = ("java -cp '%s/java/classes:%s/java/lib/*' Client")
      :format(BUILT, BUILT),
    cases = library_cases({ "artifact with an RSA key", "negative controls",
      "hears that the audience is wrong" }) },
  { name = "grpc-go", needs = { "go" }, command = BUILT .. "/grpc",
    cases = grpc_cases() },
}

describe("A real client", function()
  local installed = {}

  setup(function()
    for _, name in ipairs({ "python", "node", "go", "java" }) do
      installed[name] = { runtimes.install(name) }
    end
    scene = scenes.start(BUILT .. "/standin")
  end)

  teardown(function()
    if scene then assert.is_true(scenes.stop(scene)) end
    process.stop_all()
  end)

  local function needed(client)
    for _, name in ipairs(client.needs) do
      if not installed[name][1] then pending(installed[name][2]) end
    end
  end

  for _, client in ipairs(clients) do
    describe(client.name, function()
      local found, other

      setup(function() found, other = outcomes(client.command) end)

      for _, case in ipairs(client.cases) do
        it(case, function()
          needed(client)
          assert.equal("ok", found[case] or "it did not come to it\n" .. other)
        end)
      end

      it("has no other cases", function()
        needed(client)
        local n = 0
        for _ in pairs(found) do n = n + 1 end
        assert.equal(#client.cases, n)
      end)
    end)
  end
end)
