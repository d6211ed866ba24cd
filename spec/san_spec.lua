local san = require("fulcio.san")

describe("san", function()
  it("knows an address as Fulcio does", function()
    for _, text in ipairs({
      "a@b.co", "A.B+c@Example.COM", "!#$%&'*+/=?^_`{|}~-@x.y", "a@1.b",
      "a@b-c.d", "a@b..c.d", "a@b.c.", '"a"b"@c.d', '"a"\tb"@c.d', "ü@ü.ü",
      "a@b_c.d", "1@2.x", '"(x"@c.d', '"a"b "@c.d',
    }) do
      assert.is_true(san.is_email(text), text)
    end
    for _, text in ipairs({
      "", "a", "@", "a@", "@b.c", "a@b", "a@b.1", "a@-b.c", "a@b.c-", "a@.c",
      "a b@c.d", "a@b c.d", ".a@b.c", "a.@b.c", "a..b@c.d", "a@b@c.d",
      "a@b..c", "a@b.c\n", "\na@b.c", '"a@b.c', 'a"b@c.d', "a@b.c..", "a,b@c.d",
      "a@[127.0.0.1]", "<a@b.c>", "a@b.c..d", "a@b.c.1d", "a@b.c.-d",
      '"a b"@c.d', '"a@b"@c.d', '""@c.d',
    }) do
      assert.is_false(san.is_email(text), text)
    end
  end)

  it("answers soon for texts made to take long", function()
    for _, text in ipairs({ ("a."):rep(1000) .. "@", ("a@"):rep(1000),
                            "a@" .. ("a."):rep(1000) .. "1",
                            '"' .. ("(\t"):rep(900) .. "@" }) do
      assert.is_not_true(san.is_email(text))
    end
  end)

  it("has one name of each kind", function()
    assert.same({ type = "email", value = "A@b.co" },
                san.name("email", "A@b.co"))
    assert.same({ type = "uri", value = "https://h/a%20b" },
                san.name("uri", "https://h/a b"))
    assert.same({ type = "uri", value = "relative" },
                san.name("uri", "relative"))
    assert.same({ type = "other", oid = "1.3.6.1.4.1.57264.1.7",
                  value = "a!b.co" }, san.name("username", "a!b.co"))
  end)

  it("says why there is none", function()
    local rows = {
      { "email", "x", "email address is not valid" },
      { "email", "ü", "email address is not valid" },
      { "uri", "https://h/%zz",
        'parse "https://h/%zz": invalid URL escape "%zz"' },
      { "uri", "https:/%2Fevil.example é/x",
        "a URI's path cannot begin with //" },
      { "uri", "/%2Fevil.example é", "a URI's path cannot begin with //" },
      { "username", "a", "a username is NAME!DOMAIN" },
      { "username", "!b", "a username is NAME!DOMAIN" },
      { "username", "a!", "a username is NAME!DOMAIN" },
      { "username", "a!b!c", "a username cannot contain !" },
      { "username", "a@b.co!c", "a username cannot be an e-mail address" },
    }
    for _, row in ipairs(rows) do
      local name, why, encoding = san.name(row[1], row[2])
      assert.is_nil(name)
      assert.equal(row[3], why)
      assert.is_nil(encoding)
    end
  end)

  it("has none that a certificate cannot say, or Go cannot read", function()
    local rows = {
      { "email", "ü@b.co",
        'x509: "ü@b.co" cannot be encoded as an IA5String' },
      { "uri", "https://h/?ü",
        'x509: "https://h/?ü" cannot be encoded as an IA5String' },
    }
    for _, text in ipairs({ "https://../x", "https://h./", "https://a..b",
                            "https://.h", "https://%C3%BC/x" }) do
      rows[#rows + 1] = { "uri", text, ('x509: cannot parse URI "%s": '
        .. "invalid domain"):format(text) }
    end
    for _, row in ipairs(rows) do
      local name, why, encoding = san.name(row[1], row[2])
      assert.is_nil(name)
      assert.equal(row[3], why)
      assert.is_true(encoding)
    end
    for _, text in ipairs({ "https://[::1]/", "https://h:80", "mailto:x",
                            "https:///x", "https://h/%C3%BC" }) do
      assert.equal(text, san.name("uri", text).value)
    end
  end)
end)
