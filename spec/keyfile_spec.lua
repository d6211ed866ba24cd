local engine = require("fulcio.engine")
local openssl = require("spec.openssl")
local signer = require("yielding_signer")

local pkey = engine.pkey
local EC = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
local RSA = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"

teardown(openssl.clean)

local function refused(code, key, message, got)
  assert.is_nil(key)
  assert.equal(code, got)
  assert.is_nil(message:match("%.$"))
  return message
end

-- A key file in another form: arguments of openssl ec, rsa or pkcs8.
local function converted(path, arguments)
  os.remove(openssl.path("converted.pem"))
  local tool = arguments .. " -in " .. path .. " -out %d/converted.pem"
  openssl.run(tool)
  return openssl.path("converted.pem")
end

describe("pkey.open", function()
  local ec, rsa

  setup(function()
    ec = openssl.key("ec.pem", EC)
    rsa = openssl.key("rsa.pem", RSA)
  end)

  local function opens(path, original, password)
    local key = assert(pkey.open(path, password))
    assert.is_true(key.private)
    assert.equal(openssl.public(original), key:pem())
    assert.is_true(key:verify("data", assert(key:sign("data"))))
  end

  it("opens PKCS#8", function()
    opens(ec, ec)
    opens(rsa, rsa)
    opens(openssl.key("ed.pem", "-algorithm ED25519"), openssl.path("ed.pem"))
  end)

  it("opens PKCS#1 and SEC1, also after EC PARAMETERS", function()
    opens(converted(rsa, "rsa -traditional"), rsa)
    local sec1 = converted(ec, "ec")
    opens(sec1, ec)
    local parameters = openssl.run("ecparam -name prime256v1")
    opens(openssl.write("both.pem", parameters .. openssl.read(sec1)), ec)
  end)

  it("opens encrypted PKCS#8 with its password", function()
    for _, cipher in ipairs({ "-v2 aes256", "-v2 aes-128-cbc",
                              "-v2 des3", "-scrypt", "-v1 PBE-SHA1-3DES" }) do
      local path = converted(ec,
        "pkcs8 -topk8 " .. cipher .. " -passout pass:geheim")
      opens(path, ec, "geheim")
      refused("bad_password", pkey.open(path, "Geheim"))
      refused("bad_password", pkey.open(path, ""))
    end
  end)

  it("opens RFC 1423 encryption with its password", function()
    for tool, path in pairs({ ["ec -aes128"] = ec,
                              ["rsa -traditional -aes256"] = rsa }) do
      local locked = converted(path, tool .. " -passout pass:geheim")
      assert.truthy(openssl.read(locked):find("Proc-Type", 1, true))
      opens(locked, path, "geheim")
      refused("bad_password", pkey.open(locked, "wrong"))
      refused("bad_password", pkey.open(locked))
    end
  end)

  it("takes a password as a secret", function()
    local path = converted(ec, "pkcs8 -topk8 -passout pass:geheim")
    opens(path, ec, assert(engine.system.secret("geheim")))
  end)

  it("opens what has the empty password, and only with it", function()
    local path = openssl.path("empty.pem")
    assert(pkey.open(ec):save(path, ""))
    assert.is_true(pkey.open(path, "").private)
    refused("bad_password", pkey.open(path))
  end)

  it("takes a password that is not needed", function()
    opens(ec, ec, "not needed")
  end)

  it("asks nobody for a password that is missing", function()
    local path = converted(ec, "pkcs8 -topk8 -passout pass:geheim")
    local message = refused("bad_password", pkey.open(path))
    assert.truthy(message:find(path, 1, true))
    assert.truthy(message:find("no password was given", 1, true))
    refused("bad_password", pkey.open(path, ("x"):rep(5000)))
  end)

  it("refuses a file that others can read or write", function()
    local text = openssl.read(ec)
    for _, mode in ipairs({ 416, 388, 438, 400, 386 }) do
      local path = openssl.write("open.pem", text, mode)
      local message = refused("open_to_others", pkey.open(path))
      assert.truthy(message:find("chmod 600 " .. path, 1, true))
    end
    opens(openssl.write("closed.pem", text, 256), ec)
  end)

  it("takes an inherited descriptor whatever its mode", function()
    local path = openssl.write("memory.pem", openssl.read(ec), 420)
    local file = assert(io.open(path, "rb"))
    file:read(40)
    local found = 0
    for _, name in ipairs(engine.system.list("/proc/self/fd")) do
      local inherited = "/proc/self/fd/" .. name
      local about = engine.system.stat(inherited)
      if about and about.size == #openssl.read(path) then
        opens(inherited, ec)
        found = found + 1
      end
    end
    file:close()
    assert.is_true(found > 0)
  end)

  it("refuses what is not there, or no file", function()
    refused("no_file", pkey.open(openssl.path("absent.pem")))
    refused("no_file", pkey.open(openssl.path("")))
    local pipe = openssl.path("pipe")
    assert(os.execute("mkfifo -m 600 " .. pipe))
    refused("no_file", pkey.open(pipe))
  end)

  it("refuses what is no private key we use", function()
    for _, text in ipairs({
      "", "no PEM", openssl.public(ec), ("x"):rep(70000),
      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
      "-----BEGIN PRIVATE KEY-----\n",
    }) do
      refused("bad_key", pkey.open(openssl.write("bad.pem", text)))
    end
    for _, arguments in ipairs({
      "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
      "-algorithm ED448", "-algorithm X25519",
    }) do
      refused("bad_key", pkey.open(openssl.key("odd.pem", arguments)))
    end
  end)

  it("refuses halves that do not match", function()
    openssl.run("pkcs8 -topk8 -nocrypt -outform DER -in " .. ec
      .. " -out %d/ec.der")
    local der = openssl.read(openssl.path("ec.der"))
    local other = pkey.generate("P-256"):spki()
    local mixed = der:sub(1, -65) .. other:sub(-64)
    local path = openssl.write("mixed.pem",
      engine.draft.pem(mixed, "PRIVATE KEY"))
    refused("bad_key", pkey.open(path))
  end)
end)

describe("pkey:save", function()
  it("writes PKCS#8 that nobody else can read", function()
    for _, name in ipairs({ "P-256", "P-384", "RSA-2048", "Ed25519" }) do
      local key = assert(pkey.generate(name))
      local path = openssl.path(name .. ".pem")
      assert.is_true(key:save(path))
      assert.equal(384, engine.system.stat(path).mode % 512)
      assert.truthy(openssl.read(path):find("^%-%-%-%-%-BEGIN PRIVATE KEY"))
      assert.equal(key:pem(), openssl.public(path))
      assert.equal(key:spki(), assert(pkey.open(path)):spki())
    end
  end)

  it("encrypts with a password", function()
    local key = assert(pkey.generate("P-256"))
    local path = openssl.path("locked.pem")
    assert.is_true(key:save(path, "geheim"))
    assert.truthy(openssl.read(path):find("BEGIN ENCRYPTED PRIVATE KEY", 1,
      true))
    refused("bad_password", pkey.open(path))
    assert.equal(key:spki(), assert(pkey.open(path, "geheim")):spki())
    assert.equal(key:pem(),
      openssl.run("pkey -passin pass:geheim -pubout -in " .. path))
  end)

  it("never overwrites a file", function()
    local path = openssl.write("there.pem", "precious")
    refused("exists", pkey.generate("P-256"):save(path))
    assert.equal("precious", openssl.read(path))
  end)

  it("says when there is no such directory", function()
    local path = openssl.path("absent/key.pem")
    local message = refused("no_file", pkey.generate("P-256"):save(path))
    assert.truthy(message:find(path, 1, true))
  end)

  it("saves no public key, and none that is elsewhere", function()
    local key = pkey.generate("P-256")
    local path = openssl.path("public.pem")
    refused("not_private", pkey.parse(key:pem()):save(path))
    refused("not_private", signer.wrap(key):save(path))
  end)
end)
