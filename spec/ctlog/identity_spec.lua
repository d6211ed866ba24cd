local engine = require("fulcio.engine")
local transparency = require("spec.transparency")

describe("the log's key", function()
  local log

  before_each(function() log = transparency.open() end)

  after_each(function() log:remove() end)

  local function path(name) return log.directory .. "/ctlog." .. name end

  it("is made once, for its owner alone, and its public half for all",
    function()
      local stat = engine.system.stat
      assert.equal(384, stat(path("key.pem")).mode % 512)
      assert.equal(420, stat(path("pub.pem")).mode % 512)
      assert.equal(384, stat(path("db")).mode % 512)
      local file = assert(io.open(path("pub.pem")))
      local public = engine.pkey.parse(file:read("a"))
      file:close()
      local spki = log.context.key:spki()
      assert.equal("P-256", public.name)
      assert.equal(spki, public:spki())
      assert(log:reopen())
      assert.equal(spki, log.context.key:spki())
    end)

  it("is missed when the log is there", function()
    os.remove(path("key.pem"))
    local opened, message = log:reopen()
    assert.is_nil(opened)
    assert.equal(("%s: missing, but %s was made with it; bring it back")
      :format(path("key.pem"), path("db")), message)
  end)

  it("does not begin another log when the first is lost", function()
    log.context.ledger:close()
    os.remove(path("db"))
    local opened, message = log:reopen()
    assert.is_nil(opened)
    assert.matches("missing, but this log was in use", message)
    os.remove(path("pub.pem"))
    os.remove(path("key.pem"))
    assert(log:reopen())
  end)

  it("is of the kind that logs sign with", function()
    log.context.ledger:close()
    os.remove(path("key.pem"))
    engine.pkey.generate("P-384"):save(path("key.pem"))
    local opened, message = log:reopen()
    assert.is_nil(opened)
    assert.matches("P%-384, but a log signs with P%-256", message)
  end)

  it("must fit the log", function()
    log.context.ledger:close()
    os.remove(path("key.pem"))
    engine.pkey.generate("P-256"):save(path("key.pem"))
    assert.matches("belongs to another key", select(2, log:reopen()))
  end)

  it("is refused when others can read it", function()
    os.execute("chmod 644 " .. path("key.pem"))
    local opened, _, code = log:reopen()
    assert.is_nil(opened)
    assert.equal("open_to_others", code)
  end)
end)
