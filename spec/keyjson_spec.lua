local engine = require("fulcio.engine")
local json = require("fulcio.json")

describe("keyjson", function()
  local path = os.tmpname()
  local key, pem

  setup(function()
    local saved = os.tmpname()
    os.remove(saved)
    key = assert(engine.pkey.generate("P-256"))
    assert(key:save(saved))
    local file = assert(io.open(saved))
    pem = file:read("a")
    file:close()
    os.remove(saved)
  end)

  teardown(function() os.remove(path) end)

  local function write(text, mode)
    os.remove(path)
    assert(engine.system.write(path, text, { mode = mode }))
  end

  local function open(text, mode)
    write(type(text) == "table" and json.encode(text) or text, mode)
    return engine.pkey.open_json(path)
  end

  local function refuses(code, words, ...)
    local text, message, got = open(...)
    assert.is_nil(text)
    assert.equal(code, got)
    assert.matches(words, message, 1, true)
    assert.is_nil(message:find("BEGIN", 1, true))
  end

  it("takes the key out of the text", function()
    local text, found = open({ a = 1, private_key = pem, z = 'x"\\' })
    assert.equal('{"a":1,"private_key":null,"z":"x\\"\\\\"}', text)
    assert.equal(key:spki(), found:spki())
    assert.is_true(found.private)
  end)

  it("finds it however deep, and however it is written", function()
    local escaped = pem:gsub("[^\n]", function(c)
      return ("\\u%04x"):format(c:byte())
    end):gsub("\n", "\\n")
    local text, found = open('{"a":{"b":[{"k":"' .. escaped .. '"}]}}')
    assert.equal('{"a":{"b":[{"k":null}]}}', text)
    assert.equal(key:spki(), found:spki())
  end)

  it("gives a text without a key as it is, who ever can read it", function()
    for _, text in ipairs({ "{}", "", '{"a":"b\\"c"}', '"', '"\\', "\\",
                            '{"a":"\\u00', '"abc' }) do
      local got, found = open(text, 420)
      assert.equal(text, got)
      assert.is_nil(found)
    end
  end)

  it("refuses a key that others can read", function()
    refuses("open_to_others", path, { k = pem }, 420)
  end)

  it("refuses two keys, and what is none", function()
    refuses("bad_key", "more than one private key", { a = pem, b = pem })
    refuses("bad_key", "no PEM private key", { a = "PRIVATE KEY" })
    refuses("bad_key", "no PEM private key",
            { a = pem:gsub("\n.*\n", "\nAAAA\n") })
    refuses("bad_key", "too large", ("x"):rep(65537))
  end)

  it("misses a file by its name", function()
    local text, message, code = engine.pkey.open_json("/nowhere.json")
    assert.is_nil(text)
    assert.equal("no_file", code)
    assert.matches("/nowhere.json", message, 1, true)
  end)
end)
