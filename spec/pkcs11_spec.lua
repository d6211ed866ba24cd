local hsm = require("spec.hsm.token")

local algorithms = { "P-256", "P-384", "RSA-2048", "Ed25519" }

-- Makes a key and signs with it: prints its name when all is well.
local ROUND = [[
local token = assert(open({}))
assert(token:generate({ algorithm = "%s", label = "k", id = "\1" }))
local key = assert(token:key({ label = "k" }))
assert(key.private)
for i = 1, 70 do
  local signature = assert(key:sign("text" .. i))
  assert(key:verify("text" .. i, signature))
end
io.write(key.name)
]]

describe("pkcs11", function()
  local token

  before_each(function() token = hsm.new() end)
  after_each(function() token:remove() end)

  for _, algorithm in ipairs(algorithms) do
    it("makes a " .. algorithm .. " key in the token and signs", function()
      assert.equal(algorithm, token:lua(ROUND:format(algorithm),
        algorithm == "Ed25519" and hsm.known_leaks or nil))
    end)
  end

  describe("through another module", function()
    local others = {
      ["p11-kit's remote"] = function()
        local other = hsm.new()
        other:serve()
        return other
      end,
      ["NSS softokn"] = hsm.nss,
      Kryoptic = hsm.kryoptic,
      ["a TPM"] = hsm.tpm,
    }
    local other
    after_each(function()
      if other then other:remove() end
    end)

    for name, make in pairs(others) do
      for _, algorithm in ipairs({ "P-256", "P-384", "RSA-2048" }) do
        it(("signs with %s by %s"):format(algorithm, name), function()
          local why
          other, why = make()
          if not other then pending(why) end
          assert.equal(algorithm, other:lua(ROUND:format(algorithm)))
        end)
      end
    end
  end)

  it("finds a key by label, by CKA_ID and by both", function()
    assert.equal("P-256 P-384 P-256 no_key", token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "P-256", label = "a", id = "1" }))
      assert(token:generate({ algorithm = "P-384", label = "b", id = "2" }))
      local _, _, code = token:key({ label = "a", id = "2" })
      io.write(assert(token:key({ label = "a" })).name, " ",
               assert(token:key({ id = "2" })).name, " ",
               assert(token:key({ label = "a", id = "1" })).name, " ", code)
    ]]))
  end)

  it("refuses a name that fits two keys", function()
    assert.equal("ambiguous_key", token:lua([[
      local token = assert(open({}))
      for i = 1, 2 do
        assert(token:generate({ algorithm = "P-256", label = "a",
                                id = tostring(i) }))
      end
      io.write((select(3, token:key({ label = "a" }))))
    ]]))
  end)

  it("is not disturbed by an Ed25519 key beside its own", function()
    assert.equal("P-256", token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "Ed25519", label = "e", id = "1" }))
      assert(token:generate({ algorithm = "P-256", label = "k", id = "2" }))
      local key = assert(token:key({ label = "k" }))
      assert(key:sign("text"))
      io.write(key.name)
    ]]))
  end)

  it("stores certificates under their CKA_ID and reads them", function()
    assert.equal("true 1 0", token:lua([[
      local token = assert(open({}))
      local key = assert(engine.pkey.generate("P-256"))
      local draft = assert(engine.draft.new({ key = key, ca = true,
        not_before = 0, not_after = 1000, subject = { { "CN", "x" } } }))
      local der = assert(engine.draft.sign(draft:plain(), key))
      local certificate = engine.x509.parse(der)[1]
      assert(token:store({ id = "99", label = "l", der = der,
        subject = certificate.subject_der, issuer = certificate.issuer_der,
        serial = "\2\1\5" }))
      local found = assert(token:certificates({ id = "99" }))
      io.write(tostring(found[1] == der), " ", #found, " ",
               #assert(token:certificates({ id = "98" })))
    ]]))
  end)

  it("lists what is there", function()
    assert.equal("private key k,public key k", token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "P-256", label = "k", id = "1" }))
      local names = {}
      for i, object in ipairs(assert(token:list())) do
        names[i] = object.class .. " " .. object.label
      end
      io.write(table.concat(names, ","))
    ]]))
  end)

  it("knows the module by what it says of itself", function()
    assert.equal("softhsm", token:lua(
      "io.write(assert(open({})):info().profile)"))
  end)

  describe("refuses by name", function()
    local cases = {
      { "a wrong PIN", "bad_pin", '{ pin = "7654321" }' },
      { "a token that is not there", "no_token", '{ label = "other" }' },
      { "a slot that is not there", "no_token", "{ slot = 99 }" },
      { "what is no module", "no_module", '{ module = "/etc/passwd" }' },
      { "what is no file", "no_module", '{ module = "/nowhere.so" }' },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        assert.equal(case[2], token:lua((
          "io.write((select(3, open(%s))))"):format(case[3])))
      end)
    end

    it("two tokens with one label, but not with its serial", function()
      token:add("spec")
      assert.equal("ambiguous_token true", token:lua([[
        local _, _, code = open({})
        local ids = {}
        for id in io.popen("softhsm2-util --show-slots"):read("a")
          :gmatch("\nSlot (%d+)\n") do ids[#ids + 1] = tonumber(id) end
        local first = assert(open({ slot = ids[1] }))
        local again = open({ serial = first:info().serial })
        io.write(code, " ", tostring(again ~= nil))
      ]]))
    end)

    it("a maker or a model that is another's", function()
      assert.equal("no_token no_token true", token:lua([[
        local ours = { manufacturer = "SoftHSM project", model = "SoftHSM v2" }
        io.write((select(3, open({ manufacturer = "Nobody" }))), " ",
                 (select(3, open({ model = "x" }))), " ",
                 tostring(open(ours) ~= nil))
      ]]))
    end)

    it("to guess a PIN, and a slot that is not there by its number",
       function()
      assert.equal("it wants a PIN and none was given\n"
        .. "on token in the slot of ID 77",
        token:lua(([[
          local _, message = engine.pkcs11.open({ module = %q,
                                                  label = "spec" })
          print(message:match("it wants.*"))
          _, message = engine.pkcs11.open({ module = %q, slot = 77 })
          print(message:match("on token in the slot of ID 77"))
        ]]):format(hsm.softhsm, hsm.softhsm)))
    end)

    it("an option nobody knows", function()
      assert.has_error(function() token:lua("open({ pim = 1 })") end)
    end)

    it("a profile nobody knows", function()
      assert.has_error(function() token:lua('open({ profile = "x" })') end)
    end)
  end)

  it("finds a slot by its ID alone, as crypto11 does", function()
    token:add("other")
    local listing = token:shell("softhsm2-util --show-slots")
    local id = listing:match(".*Slot (%d+)\n.-Label: *other ")
    assert.equal("true no_token", token:lua((([[
      local listed = engine.pkcs11.open({ module = %q, slot = %s, pin = %q,
                                          label = "other" })
      local _, _, code = engine.pkcs11.open({ module = %q, slot = 0,
                                              pin = %q })
      io.write(tostring(listed ~= nil), " ", code)
    ]]):format(hsm.softhsm, id, hsm.pin, hsm.softhsm, hsm.pin))))
  end)

  it("takes a PIN of more than 32 characters", function()
    local pin = ("7"):rep(60)
    token:add("long", pin)
    assert.equal("true", token:lua((
      'io.write(tostring(open({ label = "long", pin = "%s" }) ~= nil))')
      :format(pin)))
  end)

  it("signs no more when the token is closed", function()
    assert.equal("hsm_gone", token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "P-256", label = "k", id = "1" }))
      local key = assert(token:key({ label = "k" }))
      token:close()
      io.write((select(3, key:sign("x"))))
    ]]))
  end)

  it("signs in many coroutines at once", function()
    assert.equal("200", token:lua([[
      local token = assert(open({ sessions = 4 }))
      assert(token:generate({ algorithm = "P-256", label = "k", id = "1" }))
      local key, good, left = assert(token:key({ label = "k" })), 0, 20
      for i = 1, 20 do
        engine.server.spawn(function()
          for j = 1, 10 do
            local text = i .. "/" .. j
            if key:verify(text, assert(key:sign(text))) then
              good = good + 1
            end
          end
          left = left - 1
          if left == 0 then engine.server.stop() end
        end)
      end
      engine.server.run()
      io.write(good)
      token:close()
    ]]))
  end)

  it("parses URIs of RFC 7512 and refuses others", function()
    local engine = require("fulcio.engine")
    assert.same({
      token = "my token", object = "key", id = "\1\2", slot_id = 3,
      serial = "12", module_path = "/m.so", pin_value = "1;2",
    }, engine.pkcs11.parse_uri("pkcs11:token=my%20token;object=key;"
      .. "id=%01%02;slot-id=3;serial=12?module-path=/m.so&"
      .. "pin-value=1%3b2"))
    assert.same({ object = "k", pin_source = "file:/p" },
      engine.pkcs11.parse_uri("pkcs11:object=k?pin-source=file:/p"))
    for _, text in ipairs({ "", "pkcs11", "http://x", "pkcs11:id=%0",
                            "pkcs11:token=%zz", "pkcs11:unknown=1" }) do
      local uri, _, code = engine.pkcs11.parse_uri(text)
      assert.is_nil(uri)
      assert.equal("bad_uri", code)
    end
  end)
end)
