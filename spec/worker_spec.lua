local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local file = require("fulcio.ca.file")
local json = require("fulcio.json")
local log = require("fulcio.log")
local policyset = require("fulcio.policyset")
local worker = require("fulcio.worker")

local POLICY = [[
return {
  issuer = "https://%s.example", audience = "sigstore", must = anyone,
  san = { email = "{email}" },
}
]]

local function sources(name)
  return { { name = "a.lua", text = POLICY:format(name) } }
end

describe("worker", function()
  local directory, remove, world, context, lines, stop

  before_each(function()
    lines = {}
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
    directory, remove = authority.directory()
    local options = authority.files(directory, { authority.pair() })
    stop = stub(engine.server, "stop")
    world = { options = options, ca = assert(file.open(options)),
              seal = engine.pkey.seal(), sources = sources("first"),
              generation = select(2, engine.server.published()) }
    world.sources.revision = 0
    world.policies = assert(policyset.load(world.sources, options))
    context = worker.context(world)
  end)

  after_each(function()
    log.open({ mode = "prod" })
    stop:revert()
    remove()
  end)

  local function publish(chain, name, revision, key)
    engine.server.publish(json.encode({
      chain = chain, key = key, sources = sources(name),
      revision = revision }))
    worker.refresh(context)
  end

  it("begins with what the supervisor has loaded", function()
    worker.refresh(context)
    assert.equal(world.ca, context.ca)
    assert.equal(world.policies, context.policies)
    assert.is_nil(context.log)
  end)

  it("takes new policies from their texts", function()
    publish(world.ca.pem, "second", 1)
    assert.is_truthy(context.policies:match("https://second.example"))
    assert.is_nil(context.policies:match("https://first.example"))
    assert.equal(world.ca, context.ca)
  end)

  it("takes policies and chain only when they are new", function()
    publish(world.ca.pem, "second", 0)
    assert.equal(world.policies, context.policies)
    assert.equal(world.ca, context.ca)
    assert.same({}, lines)
  end)

  local function new_ca()
    authority.files(directory, { authority.pair() })
    return assert(file.open(world.options))
  end

  it("takes a new chain and its key, whatever is in the files by now",
  function()
    local new = new_ca()
    os.remove(world.options.fileca_cert)
    new_ca()
    publish(new.pem, "first", 0, assert(file.seal(new, world.seal)))
    assert.equal(new.pem, context.ca.pem)
    assert.equal(new.chain[1]:pkey():spki(), context.ca.key:spki())
    assert.stub(stop).was_not_called()
    assert.same({}, lines)
  end)

  it("ends when it cannot have the new CA, for one that can", function()
    local new = new_ca()
    publish(new.pem, "first", 0, assert(file.seal(new, engine.pkey.seal())))
    assert.equal(world.ca, context.ca)
    assert.stub(stop).was_called(1)
    assert.matches("this worker cannot have the new CA", lines[1], 1, true)
  end)

  it("keeps its policies when it cannot load new ones", function()
    engine.server.publish(json.encode({
      chain = world.ca.pem, revision = 1,
      sources = { { name = "a.lua", text = "return {}" } } }))
    worker.refresh(context)
    assert.equal(world.policies, context.policies)
    assert.matches("the policies stay as they were", lines[1], 1, true)
  end)

  it("loads its ports' certificates when they are new", function()
    local loads = 0
    context.tls = { http = { reload = function()
      loads = loads + 1
      if loads == 1 then return true end
      return nil, "half a file"
    end } }
    context.tls_revision = 0
    local function revise(revision)
      engine.server.publish(json.encode({
        chain = world.ca.pem, sources = sources("first"), revision = 0,
        tls_revision = revision }))
      worker.refresh(context)
    end
    revise(0)
    assert.equal(0, loads)
    revise(1)
    assert.equal(1, loads)
    assert.same({}, lines)
    revise(2)
    assert.equal(2, loads)
    assert.matches("half a file", lines[1], 1, true)
  end)
end)
