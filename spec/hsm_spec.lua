local hsm = require("fulcio.hsm")
local process = require("spec.process")

local MODULE = "/usr/lib/softhsm/libsofthsm2.so"

describe("hsm", function()
  local directory

  setup(function() directory = process.directory() end)
  teardown(function() os.execute("rm -rf " .. directory) end)

  local function write(name, text)
    local path = directory .. "/" .. name
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  local function config(text)
    return write("crypto11.conf", text)
  end

  it("reads Fulcio's crypto11.conf", function()
    local token = assert(hsm.read(config(([[{
      "Path": "%s", "TokenLabel": "fulcio", "Pin": "2324",
      "MaxSessions": 4, "PoolWaitTimeout": 10000000000, "UserType": 1,
      "LoginNotSupported": true
    }]]):format(MODULE))))
    assert.same({ module = MODULE, label = "fulcio", pin = "2324",
                  sessions = 4, wait = 10, login = false }, token)
  end)

  it("takes 0 for what was not said, as crypto11 does", function()
    local token = assert(hsm.read(config(([[{ "Path": "%s", "Pin": "2324",
      "SlotNumber": 0, "MaxSessions": 0, "PoolWaitTimeout": 0 }]])
      :format(MODULE))))
    assert.same({ module = MODULE, slot = 0, pin = "2324", login = true },
                token)
  end)

  it("takes an empty text for what was not said, as crypto11 does", function()
    local token = assert(hsm.read(config(([[{ "Path": "%s", "TokenLabel": "",
      "TokenSerial": "", "SlotNumber": 7, "Pin": "2324" }]])
      :format(MODULE))))
    assert.same({ module = MODULE, slot = 7, pin = "2324", login = true },
                token)
  end)

  it("knows every profile that the engine knows", function()
    local file = assert(io.open("engine/quirk.c"))
    local source = file:read("a")
    file:close()
    for name in source:gmatch('%.name = "([^"]+)"') do
      assert(hsm.read(config(('{"Path":"%s","TokenLabel":"x","Profile":"%s"}')
        :format(MODULE, name))), name)
    end
  end)

  it("takes a folder with one module for it, and no braces", function()
    local token = assert(hsm.read(config(
      '"Path" : "/usr/lib/softhsm/",\n"TokenLabel": "fulcio",\n'
      .. '"Pin" : "2324"\n')))
    assert.equal(MODULE, token.module)
  end)

  it("takes the PIN from a file or the environment", function()
    local pin = write("pin", "123456\n")
    assert(os.execute("chmod 600 " .. pin))
    local token = assert(hsm.read(config(
      ('{"Path":"%s","SlotNumber":0,"PinSource":"file:%s"}')
        :format(MODULE, pin))))
    assert.equal("userdata", type(token.pin))
    assert.equal(0, token.slot)
    token = assert(hsm.read(config(
      ('{"Path":"%s","TokenSerial":"1","PinSource":"env:HOME"}')
        :format(MODULE))))
    assert.equal("userdata", type(token.pin))
  end)

  it("refuses a PIN's file that is open to others, as a key's", function()
    local pin = write("pin", "123456\n")
    local text = ('{"Path":"%s","TokenLabel":"x","PinSource":"file:%s"}')
      :format(MODULE, pin)
    for mode, good in pairs({ ["640"] = false, ["604"] = false,
                              ["620"] = false, ["600"] = true,
                              ["711"] = true }) do
      assert(os.execute(("chmod %s %s"):format(mode, pin)))
      local token, message = hsm.read(config(text))
      assert.equal(good, token ~= nil, mode)
      if not good then
        assert.truthy(message:find(("%s: PIN file is open to others"
          .. " (chmod 600 %s)"):format(pin, pin), 1, true), message)
      end
    end
    assert(os.execute("chmod 644 " .. pin))
    local token, message = hsm.read_uri("pkcs11:object=k?module-path="
      .. MODULE .. "&pin-source=file:" .. pin)
    assert.is_nil(token)
    assert.truthy(message:find("chmod 600", 1, true), message)
  end)

  it("knows a PIN in a configuration that is open to others", function()
    local path = config(('{"Path":"%s","TokenLabel":"x","Pin":"1"}')
      :format(MODULE))
    local options = { hsm_key_label = "k", pkcs11_config_path = path }
    assert(os.execute("chmod 644 " .. path))
    assert.equal(path .. ": a PIN is in it, and it is open to others"
                 .. " (chmod 600 " .. path .. ")", hsm.warning(options))
    assert(os.execute("chmod 600 " .. path))
    assert.is_nil(hsm.warning(options))
    config(('{"Path":"%s","TokenLabel":"x","PinSource":"env:P"}')
      :format(MODULE))
    assert(os.execute("chmod 644 " .. path))
    assert.is_nil(hsm.warning(options))
    options.hsm_key_label = "pkcs11:object=k"
    assert.is_nil(hsm.warning(options))
  end)

  local refused = {
    { "unknown members, with the nearest name",
      '{"Path":"M","TokenLabl":"x"}', 'did you mean "TokenLabel"' },
    { "members of the wrong type", '{"Path":"M","TokenLabel":1}',
      "TokenLabel must be a string" },
    { "no module", '{"TokenLabel":"x"}', "Path is missing" },
    { "no token", '{"Path":"M"}', "give one of TokenLabel" },
    { "a PIN twice",
      '{"Path":"M","TokenLabel":"x","Pin":"1","PinSource":"env:P"}',
      "a PIN and its source are given: leave one of them out" },
    { "two names of a token",
      '{"Path":"M","TokenLabel":"x","SlotNumber":1}',
      "give one of TokenLabel" },
    { "more sessions than there can be",
      '{"Path":"M","TokenLabel":"x","MaxSessions":1025}',
      "MaxSessions must be a whole number, 0 to 1024" },
    { "a time that is none",
      '{"Path":"M","TokenLabel":"x","PoolWaitTimeout":-5}',
      "PoolWaitTimeout must be a whole number" },
    { "half a slot", '{"Path":"M","SlotNumber":0.5}',
      "SlotNumber must be a whole number" },
    { "a slot below all", '{"Path":"M","SlotNumber":-1}',
      "SlotNumber must be a whole number" },
    { "another user than the usual",
      '{"Path":"M","TokenLabel":"x","UserType":2}',
      "UserType must be a whole number, 0 to 1" },
    { "an unknown profile, with the nearest name",
      '{"Path":"M","TokenLabel":"x","Profile":"yubihsm"}',
      'did you mean "yubihsm2"' },
    { "what is not JSON", "Path = x", "it is not JSON" },
    { "a list", "[1]", "unknown member" },
    { "a module that is not there, with one that is",
      '{"Path":"/usr/lib64/softhsm/","TokenLabel":"x"}', "did you mean" },
    { "a folder without a module",
      '{"Path":"/etc/ssl","TokenLabel":"x"}', "no PKCS#11 module in it" },
    { "a PIN source of another kind",
      '{"Path":"M","TokenLabel":"x","PinSource":"exec:x"}',
      "give file:/PATH or env:NAME" },
  }
  for _, case in ipairs(refused) do
    it("refuses " .. case[1], function()
      local path = config((case[2]:gsub('"M"', '"' .. MODULE .. '"')))
      local token, message = hsm.read(path)
      assert.is_nil(token)
      assert.truthy(message:find(case[3], 1, true), message)
      assert.truthy(message:find(path, 1, true), message)
    end)
  end

  it("refuses a file that is not there by its name", function()
    local token, message = hsm.read(directory .. "/none")
    assert.is_nil(token)
    assert.truthy(message:find("/none", 1, true))
  end)

  local function named(label)
    return hsm.named({ hsm_key_label = label, pkcs11_config_path = config(
      ('{"Path":"%s","TokenLabel":"x"}'):format(MODULE)) })
  end

  it("takes a label for the token of the file", function()
    local token, name = named("PKCS11CA")
    assert.equal("x", token.label)
    assert.same({ label = "PKCS11CA" }, name)
  end)

  it("takes a URI for token and key", function()
    local token, name = named("pkcs11:token=t;object=k;id=%01?module-path="
      .. MODULE .. "&pin-value=99")
    assert.same({ module = MODULE, label = "t", pin = "99" }, token)
    assert.same({ label = "k", id = "\1" }, name)
    token = named("pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;"
      .. "serial=12;id=1?module-path=" .. MODULE .. "&pin-value=9")
    assert.same({ module = MODULE, serial = "12", pin = "9",
      model = "SoftHSM v2", manufacturer = "SoftHSM project" }, token)
  end)

  for uri, what in pairs({
    ["pkcs11:token=t;object=k"] = "no module-path",
    ["pkcs11:token=t?module-path=" .. MODULE] = "names no key",
    ["pkcs11:object=k?module-path=/nowhere.so"] = "no such PKCS#11 module",
    ["pkcs11:object=%zz"] = "RFC 7512",
    ["pkcs11:object=k;type=cert"] = "its type must be private",
    ["pkcs11:object=k;library-description=x"] = "leave out library-",
    ["pkcs11:object=k;library-manufacturer=x"] = "leave out library-",
    ["pkcs11:object=k;library-version=2.1"] = "leave out library-",
    ["pkcs11:object=k;slot-description=x"] = "leave out slot-",
    ["pkcs11:object=k?pin-value=1&pin-source=file:/x"] =
      "one of pin-value and pin-source",
  }) do
    it("refuses the URI " .. uri, function()
      local token, message = named(uri)
      assert.is_nil(token)
      assert.truthy(message:find(what, 1, true), message)
    end)
  end
end)
