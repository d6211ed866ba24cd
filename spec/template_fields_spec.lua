local fields = require("fulcio.template_fields")

local function check(data)
  local errors = {}
  local template = fields.check(data, function(path, message)
    errors[#errors + 1] = table.concat(path, ".") .. ": " .. message
  end)
  return template, errors
end

describe("template_fields", function()
  it("has no limit of a day for a ca", function()
    local template, errors = check({ lifetime = 1e9, ca = true,
      path_length = 0, key_usage = { "cert_sign", "crl_sign" } })
    assert.same({}, errors)
    assert.is_true(template.ca)
    assert.equal(0, template.path_length)
  end)

  it("has a day at most, and no signing of certificates, for a leaf",
     function()
    local _, errors = check({ lifetime = 86400, keys = { "P-256" } })
    assert.same({}, errors)
    _, errors = check({ lifetime = 86401, keys = { "P-256" },
                        path_length = 0, key_usage = { "crl_sign" } })
    assert.same({ "key_usage: crl_sign is for a ca",
                  "lifetime: lifetime is over 24 hours",
                  "path_length: path_length is for a ca" }, (function()
      table.sort(errors)
      return errors
    end)())
  end)

  it("knows purposes by name or OID", function()
    local template, errors = check({ lifetime = 1, keys = { "P-256" },
      extended_key_usage = { "code_signing", "1.3.6.1.4.1.32473.1" } })
    assert.same({}, errors)
    assert.equal(2, #template.extended_key_usage)
    template, errors = check({ lifetime = 1, keys = { "P-256" },
                               extended_key_usage = { "1.x" } })
    assert.same({}, template.extended_key_usage)
    assert.equal(1, #errors)
  end)

  it("wants a table", function()
    for _, data in ipairs({ 5, "x", { __word = "anyone" } }) do
      local _, errors = check(data)
      assert.equal(1, #errors)
    end
  end)

  it("wants whole numbers and the right types", function()
    for name, value in pairs({ lifetime = 1.5, ca = 1, path_length = -1,
                               subject = 5, keys = "P-256",
                               key_usage = { 5 } }) do
      local data = { lifetime = 60, keys = { "P-256" } }
      data[name] = value
      local _, errors = check(data)
      assert.is_true(#errors >= 1, name)
    end
  end)
end)
