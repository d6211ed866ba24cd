local cjson = require("cjson")
local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local process = require("spec.process")

-- Fewer under a sanitizer, where everything takes longer.
local ROUNDS = tonumber(os.getenv("ROUNDS") or 50)
local COLLECTORS = 2

local POLICY = [[
-- Anyone with an address.
return { issuer = "ISSUER", audience = "sigstore", must = anyone,
  provider = "email" }]]

-- A process that was killed often and soon is started again only after some
-- seconds.
local function get(url)
  local answer = assert(engine.http.request({ url = url, timeout = 30,
    max_body = 64 * 1024 * 1024 }))
  assert.equal(200, answer.status, answer.body)
  return cjson.decode(answer.body)
end

-- Every leaf of the log, in order.
local function entries(log)
  local size = get(log .. "/ct/v1/get-sth").tree_size
  local leaves = {}
  while #leaves < size do
    local page = get(("%s/ct/v1/get-entries?start=%d&end=%d"):format(log,
      #leaves, math.min(size, #leaves + 256) - 1)).entries
    for _, entry in ipairs(page) do
      leaves[#leaves + 1] = assert(engine.bytes.unbase64(entry.leaf_input))
    end
  end
  return leaves
end

-- The leaf that a certificate's SCT promises.
local function promised(certificate, issuer_key_hash)
  local skimmed = assert(engine.x509.skim(certificate))
  local list = assert(engine.sct.parse_list(skimmed.sct_list))
  local sct = assert(engine.sct.parse(list[1]))
  return engine.sct.leaf({ kind = "precert", tbs = skimmed.defanged,
    timestamp_ms = sct.timestamp_ms, extensions = sct.extensions,
    issuer_key_hash = issuer_key_hash })
end

local function root_of(leaves, size)
  local tree = engine.merkle.tree()
  for i = 1, size do
    tree:append(engine.merkle.leaf_hash(leaves[i]))
  end
  return tree:root()
end

local function lines_of(path)
  local list = {}
  for line in io.lines(path) do
    list[#list + 1] = assert(engine.bytes.unbase64(line))
  end
  return list
end

-- Any process of the CA: the supervisor, a worker or the log.
local function victim(ca)
  local all = ca:children()
  all[#all + 1] = ca.pid
  return all[math.random(#all)]
end

describe("A certificate that was handed out", function()
  local scene, collectors = nil, {}
  local heads = {}

  setup(function()
    scene = deployment.start({ policies = { email = POLICY },
      flags = { "--workers", "2" } })
    for i = 1, COLLECTORS do
      collectors[i] = process.start({ deployment.program, "run",
        "spec/collect.lua", scene.fulcio, scene.issuer,
        scene.directory .. "/got" .. i })
    end
  end)

  teardown(function()
    for _, collector in ipairs(collectors) do
      collector:signal("KILL")
      collector:stop()
    end
    if scene then scene:stop() end
    process.stop_all()
  end)

  local function round()
    os.execute(("sleep %.3f"):format(0.05 + math.random() * 0.45))
    local pid = victim(scene.ca)
    os.execute("kill -9 " .. pid)
    if pid == scene.ca.pid then
      scene.ca:stop()
      scene:serve()
    end
    scene:wait()
    heads[#heads + 1] = get(scene.log .. "/ct/v1/get-sth")
  end

  it(("is in the log after %d kills"):format(ROUNDS), function()
    for _ = 1, ROUNDS do round() end
    for _, collector in ipairs(collectors) do
      assert.is_true(collector:running(), collector:output())
      collector:signal("KILL")
    end
    local logged = {}
    for _, leaf in ipairs(entries(scene.log)) do logged[leaf] = true end
    local chain = assert(engine.x509.parse(
      deployment.read(scene.directory .. "/ca/chain.pem")))
    local issuer = engine.bytes.sha256(assert(chain[1]:pkey()):spki())
    local handed = 0
    for i = 1, COLLECTORS do
      for _, certificate in ipairs(lines_of(scene.directory .. "/got" .. i)) do
        handed = handed + 1
        assert.is_true(logged[promised(certificate, issuer)] or false,
          "certificate " .. handed .. " is not in the log")
      end
    end
    assert.is_true(handed > ROUNDS, handed .. " certificates are too few")
  end)

  it("stays where the log's earlier heads had it", function()
    local leaves = entries(scene.log)
    for i, head in ipairs(heads) do
      assert.is_true(head.tree_size <= #leaves)
      local root = engine.bytes.base64(root_of(leaves, head.tree_size))
      assert.equal(head.sha256_root_hash, root, "tree head " .. i)
    end
  end)
end)
