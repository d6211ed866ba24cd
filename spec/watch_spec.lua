local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local file = require("fulcio.ca.file")
local log = require("fulcio.log")
local policyset = require("fulcio.policyset")
local tls = require("fulcio.tls")
local watch = require("fulcio.watch")

local POLICY = [[
return {
  issuer = "https://%s.example", audience = "sigstore", must = anyone,
  san = { email = "{email}" },
}
]]

describe("watch", function()
  local directory, remove, world, watched, lines

  local function policies(name)
    assert(engine.system.write(directory .. "/policies/a.lua",
                               POLICY:format(name)))
  end

  local function published()
    return assert(engine.claims.parse((engine.server.published())))
  end

  before_each(function()
    lines = {}
    log.open({ mode = "prod", write = function(line)
      lines[#lines + 1] = line
    end })
    directory, remove = authority.directory()
    assert(engine.system.mkdir(directory .. "/policies"))
    policies("first")
    local options = authority.files(directory, { authority.pair() })
    options.ca, options.fileca_watch = "fileca", true
    options.policies, options.config_path = directory .. "/policies", ""
    world = { options = options, generation = 0 }
    watched = watch.new(world)
    world.ca = assert(file.open(options))
    world.sources = assert(policyset.read(options))
    world.sources.revision = 0
    world.policies = assert(policyset.load(world.sources, options))
  end)

  after_each(function()
    log.open({ mode = "prod" })
    remove()
  end)

  it("leaves everything as it is while nothing changes", function()
    local ca, set = world.ca, world.policies
    watched:look(false)
    assert.equal(ca, world.ca)
    assert.equal(set, world.policies)
    assert.equal(0, world.generation)
  end)

  it("publishes a new pair", function()
    authority.files(directory, { authority.pair() })
    local before = world.ca
    watched:look(false)
    assert.not_equal(before, world.ca)
    assert.is_true(world.generation > 0)
    assert.equal(world.ca.pem, published().chain)
    assert.equal(0, published().revision)
    local key = published().key
    local taken = assert(file.take(world.ca.pem, key, world.seal))
    assert.equal(world.ca.key:spki(), taken.key:spki())
    policies("second")
    watched:look(false)
    assert.equal(key, published().key)
  end)

  it("keeps the old pair while the new one is bad, and says why once",
  function()
    assert(engine.system.write(world.options.fileca_cert, "half"))
    local before = world.ca
    watched:look(false)
    watched:look(false)
    assert.equal(before, world.ca)
    assert.equal(0, world.generation)
    assert.equal(1, #lines)
    assert.matches("the CA stays as it was", lines[1], 1, true)
    assert.matches("chain.pem", lines[1], 1, true)
  end)

  -- A swapped link may lead to files of the same size and time: archives
  -- and images have one time for all.
  it("sees another pair of the same size and time", function()
    local options = world.options
    local function place(name)
      local one = authority.files(directory .. "/" .. name,
                                  { authority.pair() })
      os.execute(("cd %s/%s && cat /dev/zero | head -c $((4000 - "
        .. "$(stat -c %%s chain.pem))) | tr '\\0' '\\n' >>chain.pem"
        .. " && touch -d @1 *.pem"):format(directory, name))
      return one
    end
    os.execute(("cd %s && mkdir one two && ln -s one now"):format(directory))
    place("one")
    place("two")
    options.fileca_cert = directory .. "/now/chain.pem"
    options.fileca_key = directory .. "/now/key.pem"
    world.ca = assert(file.open(options))
    watched = watch.new(world)
    local before = world.ca
    os.execute(("cd %s && ln -s two next && mv -T next now")
      :format(directory))
    watched:look(false)
    assert.not_equal(before.pem, world.ca.pem)
  end)

  it("takes a pair whose key was open to others, once it is not", function()
    local before = world.ca
    authority.files(directory, { authority.pair() })
    os.execute("chmod 644 " .. world.options.fileca_key)
    watched:look(false)
    assert.equal(before, world.ca)
    assert.matches("chmod 600", lines[1], 1, true)
    os.execute("chmod 600 " .. world.options.fileca_key)
    watched:look(false)
    assert.not_equal(before, world.ca)
  end)

  it("looks at no pair without --fileca-watch, unless it is told to",
  function()
    world.options.fileca_watch = false
    watched = watch.new(world)
    authority.files(directory, { authority.pair() })
    local before = world.ca
    watched:look(false)
    assert.equal(before, world.ca)
    watched:look(true)
    assert.not_equal(before, world.ca)
  end)

  it("publishes new policies as texts", function()
    policies("second")
    watched:look(false)
    assert.is_truthy(world.policies:match("https://second.example"))
    assert.is_nil(world.policies:match("https://first.example"))
    local news = published()
    assert.equal(1, news.revision)
    assert.equal(POLICY:format("second"), news.sources[1].text)
    assert(policyset.load(news.sources, world.options))
  end)

  it("keeps the old policies while the new ones are bad", function()
    local before = world.policies
    assert(engine.system.write(directory .. "/policies/a.lua", "return {}"))
    watched:look(false)
    assert.equal(before, world.policies)
    assert.equal(0, world.generation)
    assert.matches("the policies stay as they were", lines[1], 1, true)
    assert.matches("a.lua:1: ", lines[1], 1, true)
    os.remove(directory .. "/policies/a.lua")
    watched:look(false)
    assert.equal(before, world.policies)
    assert.matches("--policies: ", lines[#lines], 1, true)
  end)

  it("has ports' certificates loaded again, and says so when they are bad",
  function()
    local options, pair = world.options, authority.pair()
    options.http_tls_certificate = directory .. "/tls.pem"
    options.http_tls_key = directory .. "/tls.key"
    assert(engine.system.write(options.http_tls_certificate,
                               pair.certificate.pem))
    assert(pair.key:save(options.http_tls_key))
    watched = watch.new(world)
    world.tls, world.tls_revision = tls.open(options), 0
    watched:look(false)
    assert.equal(0, world.tls_revision)
    assert(engine.system.write(options.http_tls_certificate, "half"))
    watched:look(false)
    assert.equal(0, world.tls_revision)
    assert.matches("a port's certificate stays as it was", lines[1], 1, true)
    assert.matches("tls.pem", lines[1], 1, true)
    assert(engine.system.write(options.http_tls_certificate,
                               pair.certificate.pem))
    watched:look(false)
    assert.equal(1, world.tls_revision)
    assert.equal(1, published().tls_revision)
  end)

  it("goes on with the rest when loading something throws", function()
    local load = policyset.load
    finally(function() policyset.load = load end)
    policyset.load = function() error("odd") end
    authority.files(directory, { authority.pair() })
    policies("second")
    local ca, set = world.ca, world.policies
    watched:look(false)
    assert.not_equal(ca, world.ca)
    assert.equal(set, world.policies)
    assert.is_true(world.generation > 0)
    assert.equal(world.ca.pem, published().chain)
    assert.matches('"severity":"ERROR"', lines[2], 1, true)
    assert.matches("odd", lines[2], 1, true)
    assert.matches("stack traceback", lines[2], 1, true)
    policyset.load = load
    policies("third")
    watched:look(false)
    assert.not_equal(set, world.policies)
  end)

  it("keeps the policies while a new file is odd, and publishes a CA",
  function()
    for _, text in ipairs({ POLICY:format("a"):gsub("must",
        'ca_file = "a\\0b", must', 1),
      (POLICY:format("a"):gsub("anyone", "{ a = { __word = {} } }")) }) do
      assert(engine.system.write(directory .. "/policies/a.lua", text))
      authority.files(directory, { authority.pair() })
      local ca, set, generation = world.ca, world.policies, world.generation
      watched:look(false)
      assert.not_equal(ca, world.ca)
      assert.equal(set, world.policies)
      assert.is_true(world.generation > generation)
      assert.matches("the policies stay as they were", lines[#lines], 1, true)
      assert.matches("a.lua:[23]: ", lines[#lines])
    end
  end)
end)
