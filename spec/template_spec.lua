local engine = require("fulcio.engine")
local template = require("fulcio.template")

local NOW = 1800000000

local LEAF = [[
return {
  lifetime = 10 * minutes,
  key_usage = { "digital_signature" },
  extended_key_usage = { "code_signing" },
  keys = { "P-256", "RSA-2048+" },
}
]]

local function shipped(name)
  local file = assert(io.open("policies/templates/" .. name .. ".lua"))
  local text = file:read("*a")
  file:close()
  return assert(template.load(name .. ".lua", text))
end

local function errors(old, new)
  local first, last = LEAF:find(old, 1, true)
  local found, wrong = template.load("t.lua", LEAF:sub(1, first - 1) .. new
                                     .. LEAF:sub(last + 1))
  assert.is_nil(found)
  local lines = {}
  for i, one in ipairs(wrong) do
    lines[i] = ("%s:%d: %s"):format(one.file, one.line, one.message)
  end
  return lines
end

-- A root, and its key.
local function authority()
  local key = assert(engine.pkey.generate("P-256"))
  local draft = assert(engine.draft.new(template.profile(shipped("root"), key,
                                                         nil, NOW)))
  local der = assert(engine.draft.sign(draft:plain(), key))
  return assert(engine.x509.parse(der))[1], key
end

local function grant(more)
  local granted = {
    policy = "p.lua", template = shipped("leaf"), challenge = "s",
    san = { type = "uri", value = "https://example.com/x" },
    extensions = { { oid = "1.3.6.1.4.1.57264.1.1", name = "issuer",
                     text = "i", value = "i" } },
  }
  for name, value in pairs(more or {}) do granted[name] = value end
  return granted
end

describe("template", function()
  it("is the shipped leaf: ten minutes, code signing, usual keys", function()
    local leaf = shipped("leaf")
    assert.equal("leaf", leaf.name)
    assert.equal(600, leaf.lifetime)
    assert.same({ "digital_signature" }, leaf.key_usage)
    assert.same({ "code_signing" }, leaf.extended_key_usage)
    assert.same({}, leaf.subject)
    for _, row in ipairs({ { "P-256", "SHA-256" }, { "P-384", "SHA-384" },
                           { "P-521", "SHA-512" }, { "Ed25519", "none" },
                           { "RSA-2048", "SHA-256" },
                           { "RSA-4096", "SHA-256" } }) do
      assert.is_true(template.allows(leaf, row[1], row[2]))
    end
    assert.is_false(template.allows(leaf, "P-384", "SHA-256"))
    assert.is_false(template.allows(leaf, "RSA-2048", "SHA-512"))
    assert.is_false(template.allows(leaf, "P-224", "SHA-256"))
  end)

  -- { what is replaced, by what, the one error }
  local rows = {
    { "lifetime", "lifetme",
      "t.lua:1: lifetime is missing: lifetime = 10 * minutes" },
    { "10 * minutes", "25 * hours", "t.lua:2: lifetime is over 24 hours" },
    { "10 * minutes", '"10m"',
      "t.lua:2: lifetime must be a time: 10 * minutes" },
    { "10 * minutes", "0", "t.lua:2: lifetime must be a time: 10 * minutes" },
    { '"digital_signature"', '"cert_sign"',
      "t.lua:3: cert_sign is for a ca" },
    { '{ "digital_signature" }', "{ a = 1 }",
      "t.lua:3: key_usage must be a list of texts" },
    { '{ "P-256", "RSA-2048+" }', "{}",
      "t.lua:5: keys is empty: no client could use it" },
    { '  keys = { "P-256", "RSA-2048+" },\n', "",
      't.lua:1: keys is missing: keys = { "P-256", "RSA-2048+" }' },
    { '"P-256"', '"P-192"', 't.lua:5: unknown key "P-192"' },
    { '"P-256"', "256", "t.lua:5: keys must be a list of texts" },
    { "  keys", '  subject = { O = "x" },\n  keys',
      't.lua:5: subject is a list of pairs: { { "O", "Example" } }' },
    { "  keys", '  subject = { { "O" } },\n  keys',
      't.lua:5: a part of subject is a pair: { "O", "Example" }' },
    { "  keys", "  path_length = 0,\n  keys",
      "t.lua:5: path_length is for a ca" },
    { "  keys", '  ca = "yes",\n  keys',
      "t.lua:5: ca must be true or false" },
    { '"code_signing"', '"code_singing"', "t.lua:4: extended_key_usage: "
      .. 'unknown "code_singing" (did you mean "code_signing"?)' },
    { '"digital_signature"', '"signature"',
      't.lua:3: key_usage: unknown "signature"' },
    { "  keys", '  subject = { { "o", "x" } },\n  keys',
      't.lua:5: subject: unknown "o" (did you mean "C"?)' },
    { "10 * minutes", "10 * minuts",
      't.lua:2: unknown word "minuts" (did you mean "minutes"?)' },
  }

  for _, row in ipairs(rows) do
    it("refuses " .. row[2]:gsub("%s+", " "), function()
      local found = errors(row[1], row[2])
      if row[3] then assert.equal(row[3], found[1]) end
    end)
  end

  it("says which unknown field was meant", function()
    assert.same({
      "t.lua:1: lifetime is missing: lifetime = 10 * minutes",
      't.lua:2: unknown field "lifetme" (did you mean "lifetime"?)',
    }, errors("lifetime", "lifetme"))
  end)

  it("makes a root that signs leaves, and one below it", function()
    local root, key = authority()
    assert.is_true(root.ca)
    assert.equal(1, root.path_length)
    assert.equal(NOW + 3650 * 86400, root.not_after)
    local below = assert(engine.pkey.generate("P-256"))
    local draft = assert(engine.draft.new(template.profile(
      shipped("intermediate"), below, root, NOW)))
    local der = assert(engine.draft.sign(draft:plain(), key))
    local intermediate = assert(engine.x509.parse(der))[1]
    assert.equal(0, intermediate.path_length)
    assert.same({ "code_signing" }, intermediate.extended_key_usage)
    assert(engine.x509.verify({ intermediate, root },
                              { time = NOW, usage = "code_signing" }))
  end)

  it("is filled with a grant and a key", function()
    local root, key = authority()
    local client = assert(engine.pkey.generate("P-256"))
    local draft = assert(template.fill(grant(), client, root, NOW))
    local der = assert(engine.draft.sign(draft:plain(), key))
    local leaf = assert(engine.x509.parse(der))[1]
    assert(engine.x509.verify({ leaf, root },
                              { time = NOW, usage = "code_signing" }))
    assert.equal(NOW, leaf.not_before)
    assert.equal(NOW + 600, leaf.not_after)
    assert.equal("https://example.com/x", leaf.san[1].value)
    assert.is_false(leaf.ca)
    assert.equal(client:spki(), leaf:pkey():spki())
  end)

  it("refuses a name that X.509 cannot write", function()
    local root = authority()
    local client = assert(engine.pkey.generate("P-256"))
    local draft, why = template.fill(grant({
      san = { type = "email", value = "ü@example.com" } }), client, root, NOW)
    assert.is_nil(draft)
    assert.equal("CLAIM_INVALID", why.reason)
  end)

  it("refuses what no certificate can hold", function()
    local root = authority()
    local client = assert(engine.pkey.generate("P-256"))
    local draft, why = template.fill(grant({
      extensions = { { oid = "1.2", value = "x" },
                     { oid = "1.2", value = "x" } } }), client, root, NOW)
    assert.is_nil(draft)
    assert.equal("CA_FAILED", why.reason)
  end)
end)
