local hosts = require("fulcio.google.hosts")

describe("google.hosts", function()
  local function allowed(...) return (hosts.check(...)) end

  it("allow Google's own, by https", function()
    assert.is_true(allowed("https://sts.googleapis.com/v1/token", "f"))
    assert.is_true(allowed("https://A.GOOGLEAPIS.COM:443/x", "f"))
    assert.is_nil(allowed("http://sts.googleapis.com/", "f"))
  end)

  it("refuse others by name", function()
    for _, url in ipairs({ "https://evil.example/", "https://googleapis.com/",
        "https://sts.googleapis.com.evil.example/",
        "https://evilgoogleapis.com/", "http://127.0.0.1/" }) do
      local ok, message = hosts.check(url, "token_uri")
      assert.is_nil(ok)
      assert.matches("^token_uri: the host ", message)
      assert.matches("--gcp_token_hosts", message, 1, true)
    end
    for _, url in ipairs({ "evil", "https://", "", 3,
                           "https://sts.googleapis.com@evil.example/",
                           "https://user:pass@sts.googleapis.com/" }) do
      local ok, message = hosts.check(url, "token_uri")
      assert.is_nil(ok)
      assert.matches("^token_uri: ", message)
    end
    assert.matches("is not https",
                   select(2, hosts.check("ftp://x.googleapis.com", "f")))
  end)

  it("allow those in a list, http on loopback alone", function()
    local list = { "Token.example", "127.0.0.1:8080" }
    assert.is_true(allowed("https://token.example:1/x", "f", list))
    assert.is_true(allowed("http://127.0.0.1:8080/x", "f", list))
    assert.is_nil(allowed("http://127.0.0.1:8081/x", "f", list))
    assert.is_nil(allowed("http://token.example/x", "f", list))
    assert.is_true(allowed("http://token.example/x", "f", list, true))
  end)

  it("know loopback", function()
    for _, url in ipairs({ "http://127.0.0.1:1", "http://localhost/",
                           "http://[::1]:2/" }) do
      assert.is_true(hosts.is_loopback(url))
    end
    assert.is_false(hosts.is_loopback("http://127.0.0.1.example"))
    assert.is_false(hosts.is_loopback("nothing"))
  end)
end)
