local authority = require("spec.authority")
local engine = require("fulcio.engine")
local transparency = require("spec.transparency")

local base64 = engine.bytes.base64

describe("a submission to the log", function()
  local log, ca

  before_each(function()
    log = transparency.open()
    ca = log.ca
  end)

  after_each(function() log:remove() end)

  it("may leave the root out", function()
    local below = ca:below("issuer")
    local der = below:precertificate()
    log:on_loop(function()
      assert(log:add(der, { below.chain[1].der }))
      assert(log:add(ca:precertificate(), {}))
    end)
    local entries = log:get("get-entries", "start=0&end=1").entries
    assert.equal(engine.sct.extra_data(below:ders(), der),
      engine.bytes.unbase64(entries[1].extra_data))
    local extra = engine.bytes.unbase64(entries[2].extra_data)
    assert.equal(ca.root.der, extra:sub(-#ca.root.der))
  end)

  it("may be of several CAs, each with its own chain", function()
    local one, two = ca:below("one"), ca:below("two")
    log:on_loop(function()
      for _ = 1, 2 do
        assert(log:add(one:precertificate(), one:ders()))
        assert(log:add(two:precertificate(), two:ders()))
      end
    end)
    assert.equal(4, log:get("get-sth").tree_size)
  end)

  -- What add-pre-chain (or add-chain) says to it, with nothing logged.
  local function refused(pattern, der, chain, final)
    local answer
    log:on_loop(function()
      local add = final and log.add_final or log.add
      answer = select(2, add(log, der, chain))
    end)
    assert.equal(400, answer.status)
    assert.matches("^Bad Request\n", answer.body)
    assert.matches(pattern, answer.body)
    assert.matches("text/plain", answer.headers["content-type"])
    assert.equal(0, log.context.ledger.tree.size)
  end

  it("is refused when its chain ends in no root of ours", function()
    local other = authority.new("other")
    refused("no accepted root", other:precertificate(), other:ders())
    refused("no accepted root", other:precertificate(), {})
    local below = other:below("issuer")
    refused("no accepted root", below:precertificate(), below:ders())
    refused("no accepted root", below:precertificate(),
      { below.chain[1].der })
  end)

  it("is refused when its issuer did not sign it", function()
    local twin = authority.new()
    refused("did not sign the first", twin:precertificate(), ca:ders())
    refused("no accepted root", twin:precertificate(), {})
    local below = ca:below("issuer")
    refused("did not sign the first", ca:precertificate(), below:ders())
    local der = ca:precertificate()
    local last = der:byte(-1)
    refused("did not sign the first",
      der:sub(1, -2) .. string.char((last + 1) % 256))
  end)

  it("is refused when its chain is out of order or has a gap", function()
    local one = ca:below("one")
    local two = one:below("two")
    local der, chain = two:precertificate(), two:ders()
    refused("did not sign the one before", der, { chain[1], chain[3] })
    refused("did not sign", der, { chain[2], chain[1], chain[3] })
    refused("no accepted root", der, { chain[1] })
  end)

  it("is refused when its chain names a certificate twice", function()
    local root = ca.root.der
    refused("there twice", ca:precertificate(), { root, root })
    local below = ca:below("issuer")
    local issuer = below.chain[1].der
    refused("there twice", below:precertificate(), { issuer, issuer, root })
  end)

  it("is refused when nobody knows its issuer's kind of key", function()
    local directory = log.directory
    assert(ca.key:save(directory .. "/ca.key"))
    assert(engine.system.write(directory .. "/ca.pem", ca.root.pem))
    assert(engine.system.write(directory .. "/extensions",
      "basicConstraints=critical,CA:TRUE\n"))
    assert(os.execute(([[cd %s && openssl req -new -newkey ec -nodes \
      -pkeyopt ec_paramgen_curve:secp256k1 -keyout odd.key -out odd.csr \
      -subj /CN=odd 2>/dev/null && openssl x509 -req -in odd.csr -days 9 \
      -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions \
      -outform DER -out odd.der 2>/dev/null]]):format(directory)))
    local file = assert(io.open(directory .. "/odd.der", "rb"))
    local odd = file:read("a")
    file:close()
    refused("", ca:precertificate(), { odd, ca.root.der })
  end)

  it("is refused when its chain runs through a leaf", function()
    local fake = ca:below("fake", { ca = false })
    refused("not a CA's", fake:precertificate(), fake:ders())
    local below = fake:below("issuer")
    refused("not a CA's", below:precertificate(), below:ders())
  end)

  it("is refused through a precertificate signing certificate", function()
    local below = ca:below("ct", { extended_key_usage =
      { "1.3.6.1.4.1.11129.2.4.4" } })
    refused("precertificate signing", below:precertificate(), below:ders())
  end)

  it("is refused at the wrong address", function()
    refused("cert / precert mismatch", ca:certificate())
    refused("cert / precert mismatch", ca:precertificate(), nil, true)
  end)

  it("is refused when its chain is too long", function()
    local below = ca
    for i = 1, 10 do below = below:below("number " .. i) end
    refused("too long", below:precertificate(), below:ders())
  end)

  it("is refused when it cannot be parsed", function()
    local leaf = base64(ca:precertificate())
    for _, body in ipairs({
      "", "{", "[]", "1", "null", '{"chain":[]}', '{"chain":"x"}',
      '{"chain":[1]}', '{"chain":{"a":"b"}}', '{"chain":[""]}',
      '{"chain":["!"]}', '{"chain":["MAA="]}', ("["):rep(100000),
      '{"chain":["' .. leaf .. '","MAA="]}',
      '{"chain":["' .. leaf .. '",""]}', '{"chain":["' .. leaf .. '",1]}',
    }) do
      local _, answer = log:ask("POST", "/ct/v1/add-pre-chain", nil, body)
      assert.equal(400, answer.status, body:sub(1, 80))
    end
  end)

  it("is remembered by chain without end of memory", function()
    local reader = log.context.submission
    log:on_loop(function()
      for i = 1, 3 do
        local below = ca:below("number " .. i)
        assert(log:add(below:precertificate(), below:ders()))
      end
      assert.equal(3, reader.count)
      reader.count = 256
      assert(log:add(ca:precertificate()))
      assert.equal(1, reader.count)
    end)
  end)
end)
