local routes = require("fulcio.routes")

describe("routes", function()
  it("are Fulcio's addresses and two of ours, each once, with its handler",
  function()
    local found = {}
    for _, route in ipairs(routes) do
      local address = route[1] .. " " .. route[2]
      assert.is_nil(found[address], address)
      assert.equal("function", type(route[3]), address)
      found[address] = true
    end
    assert.same({
      ["POST /api/v2/signingCert"] = true,
      ["GET /api/v2/trustBundle"] = true,
      ["GET /api/v2/configuration"] = true,
      ["POST /api/v1/signingCert"] = true,
      ["GET /api/v1/rootCert"] = true,
      ["GET /healthz"] = true,
      ["GET /openapi.json"] = true,
      ["GET /"] = true,
    }, found)
  end)
end)
