local cors = require("fulcio.cors")

local function options(headers)
  return cors.preflight({ method = "OPTIONS", headers = headers })
end

describe("cors", function()
  it("lets any origin ask", function()
    local answer = options({
      origin = "https://a.example",
      ["access-control-request-method"] = "POST",
      ["access-control-request-headers"] = "content-type",
    })
    assert.equal(204, answer.status)
    assert.equal("", answer.body)
    assert.same({
      vary = "Origin, Access-Control-Request-Method,"
        .. " Access-Control-Request-Headers",
      ["access-control-allow-origin"] = "*",
      ["access-control-allow-methods"] = "POST",
      ["access-control-allow-headers"] = "content-type",
    }, answer.headers)
  end)

  it("refuses without a word what is not allowed", function()
    local refused = {
      { origin = "null", ["access-control-request-method"] = "PUT" },
      { ["access-control-request-method"] = "POST" },
      { origin = "null", ["access-control-request-method"] = "POST",
        ["access-control-request-headers"] = "accept,authorization" },
    }
    for _, headers in ipairs(refused) do
      local answer = options(headers)
      assert.equal(204, answer.status)
      assert.is_nil(answer.headers["access-control-allow-origin"])
      assert.matches("^Origin, ", answer.headers.vary)
    end
  end)

  it("leaves other requests alone", function()
    assert.is_nil(options({ origin = "null" }))
    assert.is_nil(cors.preflight({
      method = "POST",
      headers = { ["access-control-request-method"] = "POST" } }))
  end)

  local function applied(method, origin)
    return cors.apply({ method = method, headers = { origin = origin } },
                      { headers = {} }).headers
  end

  it("marks every answer", function()
    assert.same({ vary = "Origin" }, applied("GET"))
    assert.same({ vary = "Origin", ["access-control-allow-origin"] = "*" },
                applied("POST", "https://a.example"))
    assert.same({ vary = "Origin", ["access-control-allow-origin"] = "*" },
                applied("OPTIONS", "https://a.example"))
    assert.same({ vary = "Origin" }, applied("GET", ""))
    assert.same({ vary = "Origin" }, applied("DELETE", "https://a.example"))
  end)
end)
