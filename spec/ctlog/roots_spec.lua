local authority = require("spec.authority")
local engine = require("fulcio.engine")
local transparency = require("spec.transparency")

describe("the log's roots", function()
  local log, new, given

  before_each(function()
    log = transparency.open()
    new = authority.new()   -- the same name, another key
  end)

  after_each(function() log:remove() end)

  local function status_of(ca)
    local status
    log:on_loop(function()
      status = select(2, log:add(ca:precertificate(), ca:ders())).status
    end)
    return status
  end

  -- Opens the log with a source that says only what is new in `given`.
  local function gives(first)
    given = first
    assert(log:reopen(function()
      local now = given
      given = nil
      return now
    end))
  end

  it("are kept after they are no longer given", function()
    assert(log:reopen({ new.root.pem }))
    assert.equal(200, status_of(log.ca))
    assert.equal(200, status_of(new))
    assert(log:reopen({}))
    assert.equal(200, status_of(log.ca))
    assert.equal(2, #log:get("get-roots").certificates)
    assert(log:reopen({ new.root.pem, log.ca.root.pem .. new.root.pem }))
    assert.equal(2, #log:get("get-roots").certificates)
  end)

  it("are asked for again when an unknown one comes", function()
    given = { log.ca.root.pem }
    assert(log:reopen(function() return given end))
    assert.equal(400, status_of(new))
    given = { new.root.pem }
    assert.equal(200, status_of(new))
    assert.equal(200, status_of(log.ca))
  end)

  it("are asked for again when a leaf comes without its root", function()
    given = {}
    assert(log:reopen(function() return given end))
    given = { new.root.pem }
    local status
    log:on_loop(function()
      status = select(2, log:add(new:precertificate(), {})).status
    end)
    assert.equal(200, status)
  end)

  it("are asked for each time, however often nothing was new", function()
    gives({ log.ca.root.pem })
    for _ = 1, 5 do assert.equal(400, status_of(new)) end
    given = { new.root.pem }
    assert.equal(200, status_of(new))
  end)

  it("are shown to whoever asks, new ones at once", function()
    given = {}
    assert(log:reopen(function() return given end))
    given = { new.root.pem }
    assert.same(engine.bytes.base64(new.root.der),
      log:get("get-roots").certificates[2])
  end)

  it("that cannot be read stop the start", function()
    local opened, message = log:reopen({ "no PEM" })
    assert.is_nil(opened)
    assert.matches("^root certificate: ", message)
  end)

  it("that cannot be read later are told, and the others stay", function()
    gives({})
    given = { "no PEM" }
    assert.equal(400, status_of(new))
    log.context.roots.next_time = math.huge
    for _ = 1, 5 do assert.equal(400, status_of(new)) end
    assert.equal(200, status_of(log.ca))
    local _, told = table.concat(log.said):gsub("cannot accept roots", "")
    assert.equal(1, told)
    given = { new.root.pem }
    assert.equal(200, status_of(new))
  end)

  it("are tried again when they could not be learned", function()
    gives({})
    local roots, ledger = log.context.roots, log.context.ledger
    given = { new.root.pem }
    function ledger.accept() return nil, "no space left", "disk_full" end
    assert.is_false(roots:accept(new.root.der))
    ledger.accept = nil
    roots.next_time = 0
    assert.is_true(roots:accept(new.root.der))
  end)

  it("that cannot be stored are not accepted", function()
    local ledger = log.context.ledger
    function ledger.accept() return nil, "no space left", "disk_full" end
    local ok, message = log.context.roots:learn({ new.root.pem })
    assert.is_nil(ok)
    assert.equal("no space left", message)
    assert.is_false(log.context.roots:accept(new.root.der))
    ledger.accept = nil
    assert.is_true(log.context.roots:learn({ new.root.pem }))
    assert.is_true(log.context.roots:accept(new.root.der))
  end)
end)
