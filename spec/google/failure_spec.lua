local failure = require("fulcio.google.failure")
local json = require("fulcio.json")

describe("google.failure", function()
  local call = { name = "certificates.create", resource = "pool",
                 permission = "privateca.certificates.create" }

  local function of(status, body, headers)
    return failure.of({ status = status, headers = headers or {},
      body = type(body) == "table" and json.encode(body) or body }, call)
  end

  it("says what Google says, permission and field", function()
    local found = of(403, { error = { status = "PERMISSION_DENIED",
      message = "no", details = { {
        ["@type"] = "type.googleapis.com/google.rpc.ErrorInfo",
        metadata = { permission = "a.b.c" } } } } })
    assert.equal("certificates.create: PERMISSION_DENIED; no; permission"
      .. " a.b.c is needed on pool", found.message)
    assert.equal("a.b.c", found.permission)
    found = of(400, { error = { status = "INVALID_ARGUMENT", details = { {
      ["@type"] = "type.googleapis.com/google.rpc.BadRequest",
      fieldViolations = { { field = "certificate.lifetime" } } } } } })
    assert.equal("certificate.lifetime", found.field)
    assert.matches("field certificate.lifetime", found.message, 1, true)
  end)

  it("guesses the permission where Google does not name it", function()
    assert.equal("certificates.create: status 403; permission"
      .. " privateca.certificates.create is needed on pool",
      of(403, "<html>").message)
  end)

  it("takes the longer of two waits", function()
    local body = { error = { details = { {
      ["@type"] = "type.googleapis.com/google.rpc.RetryInfo",
      retryDelay = "3.5s" } } } }
    assert.equal(3.5, of(429, body).retry_after)
    assert.equal(9, of(429, body, { ["retry-after"] = "9" }).retry_after)
    assert.equal(3.5, of(429, body, { ["retry-after"] = "2" }).retry_after)
    assert.equal(2, of(429, "", { ["retry-after"] = "2" }).retry_after)
  end)

  it("survives whatever comes", function()
    for _, body in ipairs({ "", "[]", "3", '{"error":3}', '{"error":"x"}',
        '{"error":{"details":3,"status":[],"message":{}}}',
        '{"error":{"details":[3,{},{"@type":3}]}}',
        '{"error":{"details":[{"@type":'
          .. '"type.googleapis.com/google.rpc.RetryInfo",'
          .. '"retryDelay":{}}]}}',
        '{"error":{"details":[{"@type":'
          .. '"type.googleapis.com/google.rpc.BadRequest",'
          .. '"fieldViolations":[3]}]}}' }) do
      assert.equal("certificates.create: status 400", of(400, body).message)
    end
    assert.equal("certificates.create: x", failure.none("x", call).message)
  end)
end)
