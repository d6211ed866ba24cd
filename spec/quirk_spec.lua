-- Modules that cannot be bought here, as spec/hsm/shim.c plays them.
local hsm = require("spec.hsm.token")

describe("quirk", function()
  local token

  before_each(function()
    token = hsm.new()
    token.module = hsm.shim
  end)
  after_each(function() token:remove() end)

  -- Opens with a PIN, makes a key, signs; the profile that was chosen.
  local function round(profile, pin, key)
    return token:lua(([[
      local token, message, code = open({ pin = %s })
      if not token then
        io.write(code, ": ", message)
        return
      end
      assert(token:generate({ algorithm = "P-256", %s }))
      local key = assert(token:key({ %s }))
      for i = 1, 5 do
        assert(key:verify("x", assert(key:sign("x"))))
      end
      io.write(token:info().profile)
    ]]):format(pin, key, key), { SHIM_PROFILE = profile,
                                 SHIM_PIN = hsm.pin })
  end

  local KEY = 'label = "k", id = "1"'
  local pins = {
    ["aws-cloudhsm"] = '"user:' .. hsm.pin .. '"',
    ["azure-cloud-hsm"] = '"cu1:' .. hsm.pin .. '"',
    luna = '"' .. hsm.pin .. '"',
    nshield = '""',
    ["gcp-kms"] = '"anything"',
  }
  for profile, pin in pairs(pins) do
    it("works by the rules of " .. profile, function()
      assert.equal(profile, round(profile, pin, KEY))
    end)
  end

  it("works by the rules of yubihsm2", function()
    assert.equal("yubihsm2", round("yubihsm2", '"0001' .. hsm.pin .. '"',
                                   'label = "k", id = "\\1\\2"'))
  end)

  it("says how a PIN must look before it is tried", function()
    local output = round("aws-cloudhsm", '"' .. hsm.pin .. '"', KEY)
    assert.truthy(output:find("bad_pin: ", 1, true))
    assert.truthy(output:find("USER:PASSWORD", 1, true))
    output = round("yubihsm2", '"xyz"', KEY)
    assert.truthy(output:find("four hexadecimal digits", 1, true))
  end)

  it("tries no PIN of a form that cannot be right", function()
    local count = token.directory .. "/count"
    token:lua('open({ pin = "7654321" })', {
      SHIM_PROFILE = "aws-cloudhsm", SHIM_COUNT = count })
    assert.is_nil(io.open(count))
  end)

  it("reads long CKA_IDs as they are", function()
    local id = ("projects/p/locations/l/keyRings/r/cryptoKeys/k/"):rep(4)
    assert.equal("gcp-kms", round("gcp-kms", '"x"',
                                  ('label = "k", id = "%s"'):format(id)))
  end)

  it("stores no certificate where there can be none", function()
    for _, profile in ipairs({ "aws-cloudhsm", "gcp-kms" }) do
      assert.equal("unsupported false", token:lua([[
        local token = assert(open({ pin = "user:12345678" }))
        local _, _, code = token:store({ id = "1", label = "l", der = "",
          subject = "", issuer = "", serial = "" })
        io.write(code, " ", tostring(token:info().certificates))
      ]], { SHIM_PROFILE = profile, SHIM_PIN = hsm.pin }))
    end
  end)

  it("uses the profile it is told to", function()
    assert.equal("luna", token:lua(
      'io.write(assert(open({ profile = "luna" })):info().profile)'))
  end)

  it("keeps below the sessions of a YubiHSM", function()
    assert.equal("8", token:lua([[
      local token = assert(open({ sessions = 100, pin = "000112345678" }))
      io.write(token:info().sessions)
    ]], { SHIM_PROFILE = "yubihsm2" }))
  end)

  it("does one thing at a time over p11-kit", function()
    token:serve()
    assert.equal("1", token:lua(
      "io.write(assert(open({ sessions = 100 })):info().sessions)"))
  end)
end)
