local page = require("fulcio.page")
local routes = require("fulcio.routes")

describe("page", function()
  local function body(context) return page.show({}, context).body end

  it("links addresses that there are", function()
    local known, links = {}, 0
    for _, route in ipairs(routes) do
      if route[1] == "GET" then known[route[2]] = true end
    end
    for link in body({}):gmatch('href="([^"]+)"') do
      assert.is_true(known["/" .. link], link)
      links = links + 1
    end
    assert.equal(5, links)
  end)

  it("says which log there is", function()
    local function with(url) return { log = {}, options = { ct_log_url = url } }
    end
    assert.matches("in no log", body({ options = {} }), 1, true)
    assert.matches("a log of its own", body(with(nil)), 1, true)
    assert.matches('<a href="https://log.example/a/ct/v1/get-sth">'
                   .. "https://log.example/a</a>",
                   body(with("https://log.example/a/")), 1, true)
  end)

  it("shows no password of a log's address, and no markup in it", function()
    local function with(url)
      return body({ log = {}, options = { ct_log_url = url } })
    end
    assert.is_nil(with("https://me:hunter2@log.example"):find("hunter2"))
    assert.is_nil(with('https://log.example/"><b>'):find("<b>", 1, true))
  end)

  it("is HTML that loads nothing", function()
    local headers = page.show({}, {}).headers
    assert.equal("text/html; charset=utf-8", headers["content-type"])
    assert.equal("default-src 'none'", headers["content-security-policy"])
    headers["content-type"] = nil
    assert.is_string(page.show({}, {}).headers["content-type"])
  end)
end)
