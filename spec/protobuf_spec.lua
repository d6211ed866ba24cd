local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf

local oracle = require("spec.protobuf")
local unhex = require("spec.hex")

local v2 = messages.v2

describe("protobuf", function()
  -- As protoc --encode writes it.
  local request = unhex([[
    0a 05 0a 03 61 62 63
    12 0d 0a 07 08 02 12 03 50 45 4d 12 02 00 ff
  ]])

  it("reads a request as protoc writes it", function()
    local read = assert(protobuf.decode(v2.CreateSigningCertificateRequest,
                                        request))
    assert.equal("abc", read.credentials.oidc_identity_token)
    local key = read.public_key_request
    assert.equal(2, key.public_key.algorithm)
    assert.equal("PEM", key.public_key.content)
    assert.equal("\0\255", key.proof_of_possession)
  end)

  it("writes what it reads", function()
    local read = protobuf.decode(v2.CreateSigningCertificateRequest, request)
    assert.equal(request,
      protobuf.encode(v2.CreateSigningCertificateRequest, read))
  end)

  it("leaves defaults out, but not those of a oneof", function()
    assert.equal("", protobuf.encode(v2.PublicKey, { content = "" }))
    assert.equal(unhex("0a 00"),
      protobuf.encode(v2.Credentials, { oidc_identity_token = "" }))
  end)

  it("reads what is true or false", function()
    local kind = { { 8, "skip_email_verification", "bool" } }
    for hex, value in pairs({ ["40 01"] = true, ["40 00"] = false,
                              ["40 80 01"] = true }) do
      assert.equal(value,
        protobuf.decode(kind, unhex(hex)).skip_email_verification)
    end
  end)

  it("keeps repeated fields in order", function()
    local bytes = protobuf.encode(v2.CertificateChain,
                                  { certificates = { "a", "", "b" } })
    assert.equal(unhex("0a 01 61 0a 00 0a 01 62"), bytes)
    assert.same({ "a", "", "b" },
      protobuf.decode(v2.CertificateChain, bytes).certificates)
  end)

  it("lets the last member of a oneof win", function()
    local read = protobuf.decode(v2.CreateSigningCertificateRequest,
      unhex("12 02 12 00 1a 01 43"))
    assert.is_nil(read.public_key_request)
    assert.equal("C", read.certificate_signing_request)
  end)

  it("merges a message that is sent in parts", function()
    local read = protobuf.decode(v2.CreateSigningCertificateRequest,
      unhex("12 04 0a 02 08 02 12 03 12 01 53"))
    assert.equal(2, read.public_key_request.public_key.algorithm)
    assert.equal("S", read.public_key_request.proof_of_possession)
  end)

  it("passes over unknown fields of every wire type", function()
    local read = assert(protobuf.decode(v2.PublicKey, unhex([[
      78 01  79 0102030405060708  7a 02 aabb  7d 01020304  12 01 50
    ]])))
    assert.equal("P", read.content)
  end)

  it("reads a negative enum as a number", function()
    local read = protobuf.decode(v2.PublicKey,
                                 unhex("08 ff ff ff ff ff ff ff ff ff 01"))
    assert.equal(-1, read.algorithm)
  end)

  local malformed = {
    ["a key cut short"] = "80",
    ["a varint of eleven bytes"] = "08 ffffffffffffffffffff 01",
    ["a length beyond the end"] = "12 05 61",
    ["a length near 2^64"] = "12 ffffffffffffffffff01 61",
    ["a length that leads back to its own field"] =
      "12 f5 ff ff ff ff ff ff ff ff 01 61",
    ["an unknown field that leads back to itself"] =
      "7a f5 ff ff ff ff ff ff ff ff 01 61",
    ["a length of more than 64 bits"] = "12 81808080808080808002 61",
    ["an unknown field cut short"] = "79 01",
    ["a group"] = "7b 7c",
    ["field number zero"] = "02 00",
    ["text that is not UTF-8"] = "12 02 c0 80",
  }
  for what, bytes in pairs(malformed) do
    it("refuses " .. what, function()
      local read, message, code = protobuf.decode(v2.PublicKey, unhex(bytes))
      assert.is_nil(read)
      assert.is_string(message)
      assert.equal("bad_message", code)
    end)
  end

  it("writes a negative number as it reads it", function()
    for hex, value in pairs({
        ["08 ff ff ff ff ff ff ff ff ff 01"] = -1,
        ["08 80 80 80 80 f8 ff ff ff ff 01"] = -2147483648,
        ["08 ff ff ff ff 07"] = 2147483647 }) do
      assert.equal(value,
                   protobuf.decode(v2.PublicKey, unhex(hex)).algorithm)
      assert.equal(unhex(hex),
                   protobuf.encode(v2.PublicKey, { algorithm = value }))
    end
  end)

  it("writes messages longer than the room it begins with", function()
    local list = {}
    for i = 1, 300 do list[i] = ("%d"):format(i):rep(i) end
    local bundle = { chains = { { certificates = list },
                                { certificates = { "a" } } } }
    local bytes = protobuf.encode(v2.TrustBundle, bundle)
    assert.equal(oracle.encode(v2.TrustBundle, bundle), bytes)
    assert.same(bundle, protobuf.decode(v2.TrustBundle, bytes))
  end)

  local mistakes = {
    ["a number for a text"] = { { 1, "a", "string" }, { a = 1 },
                                "a is a number, not a string" },
    ["a text for a number"] = { { 1, "a", "int32" }, { a = "1" },
                                "a is a string, not a number" },
    ["half a number"] = { { 1, "a", "int32" }, { a = 0.5 },
                          "a is not whole" },
    ["a text for a message"] = { { 1, "a", "message", {} }, { a = "x" },
                                 "a is a string, not a table" },
    ["one for a list"] = { { 1, "a", "bool", repeated = true },
                           { a = true }, "a is a boolean, not a table" },
    ["a type that is none"] = { { 1, "a", "float" }, { a = 1 },
                                'cannot be "float"' },
  }
  for what, case in pairs(mistakes) do
    it("throws at " .. what, function()
      assert.error_matches(function()
        protobuf.encode({ case[1] }, case[2])
      end, case[3], 1, true)
    end)
  end

  it("throws at a message that is in itself", function()
    local kind = {}
    kind[1] = { 1, "inner", "message", kind }
    local message = {}
    message.inner = message
    assert.error_matches(function() protobuf.encode(kind, message) end,
                         "nested too deep", 1, true)
  end)

  -- Pieces of messages, whole and broken, in any order.
  it("agrees with another reader about whatever comes", function()
    local pieces = {
      request, request:sub(3, 9), "\10\5\10\3abc", "\18\2\18\0", "\26\1C",
      "\8", "\18", "\26\127", "\122\2ab", "\121", "\255\255\255\255\15",
      "\255\255\255\255\255\255\255\255\255\1", "\192\128", "\0", "\64\2",
      "\34\2hi", "\42\4\10\2ab", "\58\0",
    }
    local kinds = { v2.CreateSigningCertificateRequest, v2.PublicKey,
                    v2.TrustBundle, v2.OIDCIssuer, messages.rpc.Status,
                    messages.reflection.ServerReflectionRequest }
    for _ = 1, 20000 do
      local parts = {}
      for i = 1, math.random(6) do parts[i] = pieces[math.random(#pieces)] end
      local bytes = table.concat(parts):sub(1, math.random(60))
      local kind = kinds[math.random(#kinds)]
      local mine, message = protobuf.decode(kind, bytes)
      local theirs, other = oracle.decode(kind, bytes)
      assert.same(theirs, mine)
      assert.equal(other, message)
      if mine then
        assert.equal(oracle.encode(kind, mine), protobuf.encode(kind, mine))
      end
    end
  end)

  it("refuses nesting without end", function()
    local loop = {}
    loop[1] = { 1, "inner", "message", loop }
    local bytes = ""
    for _ = 1, 40 do bytes = "\10" .. string.char(#bytes) .. bytes end
    local read, message = protobuf.decode(loop, bytes)
    assert.is_nil(read)
    assert.equal("protobuf: nested too deep", message)
  end)
end)
