local comparison = require("fulcio.google.comparison")
local engine = require("fulcio.engine")

describe("google.comparison", function()
  local key = assert(engine.pkey.generate("P-256"))
  local now = engine.system.now()

  local function certificate(changes)
    local profile = { key = key, signer = key, not_before = now,
      not_after = now + 600, key_usage = { "digital_signature" },
      extended_key_usage = { "code_signing" },
      san = { type = "email", value = "a@example.com" },
      extensions = { { oid = "1.2.3", value = "\12\1x" } } }
    for name, value in pairs(changes or {}) do
      profile[name] = value ~= "none" and value or nil
    end
    return comparison.likeness(assert(engine.draft.new(profile)))
  end

  local function differs(words, changes)
    local ok, message = comparison.check(certificate(), certificate(changes),
                                         now)
    assert.is_nil(ok)
    assert.matches(words, message, 1, true)
  end

  it("takes what was asked for, and what a CA adds by itself", function()
    assert.is_true(comparison.check(certificate(), certificate(), now))
    assert.is_true(comparison.check(certificate(), certificate({
      ca = false, not_after = now + 60, extensions = {
        { oid = "1.3.6.1.5.5.7.1.1", value = "\48\0" },
        { oid = "1.2.3", value = "\12\1x" } } }), now))
  end)

  it("names every difference", function()
    differs("public key", { key = assert(engine.pkey.generate("P-256")) })
    differs("subject", { subject = { { "CN", "x" } } })
    differs("a CA where none was asked for", { ca = true })
    differs("subject alternative name is another", {
      san = { type = "email", value = "b@example.com" } })
    differs("subject alternative name is missing", { san = "none",
      subject = "none" })
    differs("extended key usage is another", {
      extended_key_usage = { "code_signing", "server_auth" } })
    differs("extended key usage is missing", { extended_key_usage = "none" })
    differs("key usage is missing", { key_usage = "none" })
    differs("extension 1.2.3 is missing", { extensions = {} })
    differs("extension 1.2.3 is another", { extensions = {
      { oid = "1.2.3", value = "\12\1y" } } })
    differs("extension 1.2.3 differs in being critical", { extensions = {
      { oid = "1.2.3", value = "\12\1x", critical = true } } })
    differs("extension 1.2.4 was not asked for", { extensions = {
      { oid = "1.2.3", value = "\12\1x" }, { oid = "1.2.4", value = "x" } } })
    differs("lifetime: 601 s instead of 600 s", { not_after = now + 601 })
    differs("lifetime: 600 s instead of 600 s", {
      not_before = now + 100, not_after = now + 700 })
    differs("it begins in the future", {
      not_before = now + 61, not_after = now + 600 })
    differs("it has ended", { not_before = now - 100, not_after = now })
  end)

  it("wants the path length that was asked for", function()
    local wanted = certificate({ ca = true, path_length = 0 })
    assert.is_true(comparison.check(wanted, wanted, now))
    local ok, message = comparison.check(wanted,
      certificate({ ca = true, path_length = 1 }), now)
    assert.is_nil(ok)
    assert.matches("another path length", message)
  end)
end)
