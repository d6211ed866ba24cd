local engine = require("fulcio.engine")
local health = require("fulcio.health")
local log = require("fulcio.log")

describe("health", function()
  local function good() return true end
  local function bad() return nil, "it is gone" end

  setup(function() log.open({ mode = "prod", write = function() end }) end)
  teardown(function() log.open({ mode = "prod" }) end)

  local function check(ca, ct)
    return health.check({}, { ca = { ready = ca, chain = {} },
                              log = ct and { ready = ct } })
  end

  it("serves when CA and log are ready", function()
    for _, ct in ipairs({ good, false }) do
      local response = check(good, ct)
      assert.equal(200, response.status)
      assert.equal('{"status":"SERVING"}\n', response.body)
    end
  end)

  it("does not serve without CA or log, and says which", function()
    for reason, pair in pairs({ CA_UNAVAILABLE = { bad, good },
                                CT_UNAVAILABLE = { good, bad } }) do
      local response = check(pair[1], pair[2])
      assert.equal(503, response.status)
      local body = assert(engine.claims.parse(response.body))
      assert.equal("NOT_SERVING", body.status)
      assert.equal(14, body.code)
      assert.equal(reason, body.details[1].reason)
      assert.equal("5", response.headers["retry-after"])
    end
  end)

  it("asks the CA for as long as a certificate lives", function()
    local asked
    check(function(_, seconds)
      asked = seconds
      return true
    end)
    assert.equal(600, asked)
  end)
end)
