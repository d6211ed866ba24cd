local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local file = require("fulcio.ca.file")

describe("ca.file", function()
  local directory, remove = authority.directory()
  local intermediate, root = authority.pair()

  teardown(remove)

  local function refuses(options, ...)
    local ca, message = file.open(options)
    assert.is_nil(ca)
    for _, part in ipairs({ ... }) do
      assert.matches(part, message, 1, true)
    end
  end

  it("opens a chain and its key", function()
    local options = authority.files(directory, { intermediate, root })
    local ca = assert(file.open(options))
    assert.equal(2, #ca.chain)
    assert.equal(intermediate.certificate.der, ca.chain[1].der)
    assert.is_true(ca:ready(600))
    assert.equal(intermediate.certificate.pem .. root.certificate.pem,
                 ca.pem)
  end)

  it("opens a key with its password, given or in a file", function()
    local options = authority.files(directory, { root })
    os.remove(options.fileca_key)
    assert(root.key:save(options.fileca_key, "hunter2"))
    refuses(options, options.fileca_key)
    options.fileca_key_passwd = assert(engine.system.secret("hunter2"))
    assert(file.open(options))
    local written = directory .. "/passwd"
    for _, text in ipairs({ "hunter2", "hunter2\n", "hunter2\r\n" }) do
      assert(engine.system.write(written, text))
      options.fileca_key_passwd = assert(engine.system.secret("@" .. written))
      assert(file.open(options))
    end
    options.fileca_key_passwd = assert(engine.system.secret("hunter3"))
    refuses(options, options.fileca_key)
  end)

  it("misses files by flag and by name", function()
    refuses({ fileca_cert = "", fileca_key = "x" },
            "--fileca-cert must be set when using fileca")
    refuses({ fileca_cert = "x", fileca_key = "" },
            "--fileca-key must be set when using fileca")
    refuses({ fileca_cert = "/nowhere/chain.pem", fileca_key = "x" },
            "/nowhere/chain.pem")
    local options = authority.files(directory, { root })
    os.remove(options.fileca_key)
    local _, message = file.open(options)
    assert.equal(options.fileca_key .. ": No such file or directory", message)
    refuses({ fileca_cert = directory, fileca_key = "x" }, directory)
  end)

  it("refuses files that say nothing", function()
    local options = authority.files(directory, { root })
    assert(engine.system.write(options.fileca_cert, "nothing\n"))
    refuses(options, options.fileca_cert)
  end)

  -- The supervisor reads it, and must not wait for ever.
  it("refuses a chain that is a pipe, a folder, or large", function()
    for _, command in ipairs({ "mkfifo %s", "mkdir %s",
                               "head -c 2000000 /dev/zero >%s" }) do
      local path = directory .. "/odd"
      assert(os.execute("rm -rf " .. path .. " && " .. command:format(path)))
      refuses({ fileca_cert = path, fileca_key = "x" },
              "/odd: is no file of at most 1 MiB")
    end
  end)

  it("refuses another's key and names both identifiers", function()
    local other = assert(engine.pkey.generate("P-256"))
    refuses(authority.files(directory, { intermediate, root }, other),
            directory .. "/chain.pem: ", engine.bytes.hex(other:id()),
            engine.bytes.hex(intermediate.key:id()))
  end)

  it("refuses a key that others can read", function()
    local options = authority.files(directory, { root })
    os.execute("chmod 644 " .. options.fileca_key)
    refuses(options, options.fileca_key)
  end)

  describe("stamp", function()
    local options, before

    before_each(function()
      options = authority.files(directory, { intermediate, root })
      before = file.stamp(options)
    end)

    it("stays when nothing changes", function()
      assert.equal(before, file.stamp(options))
    end)

    it("changes with a write and with a file renamed over it", function()
      local handle = assert(io.open(options.fileca_cert, "ab"))
      handle:write("\n")
      handle:close()
      local written = file.stamp(options)
      assert.not_equal(before, written)
      assert(engine.system.write(directory .. "/next.pem", "x"))
      assert(os.rename(directory .. "/next.pem", options.fileca_key))
      assert.not_equal(written, file.stamp(options))
    end)

    it("changes when a symlink is swapped, and when files go", function()
      local function shell(command, ...)
        assert(os.execute(command:format(...)))
      end
      shell("mkdir -p %s/one %s/two && ln -sfn one %s/now", directory,
            directory, directory)
      local links = { fileca_cert = directory .. "/now/chain.pem",
                      fileca_key = directory .. "/now/key.pem" }
      authority.files(directory .. "/one", { intermediate, root })
      authority.files(directory .. "/two", { root })
      before = file.stamp(links)
      shell("ln -sfn two %s/next && mv -T %s/next %s/now", directory,
            directory, directory)
      assert.not_equal(before, file.stamp(links))
      shell("rm -r %s/two", directory)
      assert.equal("none none", file.stamp(links))
    end)
  end)

  it("goes to another process as chain and sealed key", function()
    local options = authority.files(directory, { intermediate, root })
    local ca, seal = assert(file.open(options)), engine.pkey.seal()
    local sealed = assert(file.seal(ca, seal))
    local taken = assert(file.take(ca.pem, sealed, seal))
    assert.equal(ca.pem, taken.pem)
    assert.equal(ca.expires, taken.expires)
    local signature = assert(taken.key:sign("data"))
    assert.is_true(ca.chain[1]:pkey():verify("data", signature))
    for _, wrong in ipairs({ { ca.pem, sealed, engine.pkey.seal() },
                             { "no chain", sealed, seal },
                             { ca.pem, "no key", seal } }) do
      local none, message = file.take(table.unpack(wrong))
      assert.is_nil(none)
      assert.is_string(message)
    end
  end)

  it("says how a key in an HSM is named", function()
    local ca, message = file.open({ fileca_cert = "chain.pem",
                                    fileca_key = "pkcs11:object=k" })
    assert.is_nil(ca)
    assert.truthy(message:find("--ca pkcs11ca", 1, true))
  end)
end)
