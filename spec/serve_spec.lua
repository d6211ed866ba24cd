local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local program = require("spec.program")

local base64 = engine.bytes.base64

local PROGRAM_IS_SANITIZED = (os.getenv("BUILD") or ""):find("asan") ~= nil

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

-- The child that has a file open whose name ends so.
local function holder(process, ending)
  for _, pid in ipairs(process:children()) do
    local pipe = assert(io.popen(
      ("ls -l /proc/%d/fd 2>/dev/null"):format(pid)))
    local files = pipe:read("*a")
    pipe:close()
    if files:find(ending .. "\n", 1, true) then return pid end
  end
  error("no process has a file *" .. ending, 2)
end

-- The number in a P-256 key file, PKCS#8, as 32 bytes.
local function private_scalar(path)
  local base64_text = program.read(path):gsub("%-%-%-%-%-[^\n]*\n", "")
  local der = assert(engine.bytes.unbase64((base64_text:gsub("%s", ""))))
  local at = select(2, assert(der:find("\2\1\1\4\32", 1, true)))
  return der:sub(at + 1, at + 32)
end

-- Whether the writable memory of a process has these bytes, forwards or as
-- the limbs of a number; nil when we may not look.
local function in_memory(pid, bytes)
  local memory = io.open(("/proc/%d/mem"):format(pid), "rb")
  if not memory then return nil end
  local backwards, found = bytes:reverse(), false
  for line in io.lines(("/proc/%d/maps"):format(pid)) do
    local first, last = line:match("^(%x+)%-(%x+) rw")
    local size = first and tonumber(last, 16) - tonumber(first, 16)
    -- A sanitizer reserves terabytes that nobody writes.
    if first and size < 2 ^ 30 and not line:find("[v", 1, true) then
      memory:seek("set", tonumber(first, 16))
      local block = memory:read(size) or ""
      found = found or block:find(bytes, 1, true) ~= nil
        or block:find(backwards, 1, true) ~= nil
    end
  end
  memory:close()
  return found
end

describe("serve", function()
  local directory, remove, issuer, issuer_url
  local started = {}

  setup(function()
    directory, remove = authority.directory()
    issuer, issuer_url = program.issuer()
    assert(engine.system.mkdir(directory .. "/policies"))
    assert(engine.system.write(directory .. "/policies/email.lua",
                               POLICY:format(issuer_url)))
  end)

  teardown(function()
    issuer:stop()
    remove()
  end)

  after_each(function()
    for _, process in ipairs(started) do process:stop() end
    started = {}
  end)

  local function serve(arguments, data)
    local all = { "--policies", directory .. "/policies" }
    for _, word in ipairs(arguments) do all[#all + 1] = word end
    local process, urls = program.serve(data or directory .. "/data", all)
    started[#started + 1] = process
    return process, urls
  end

  local function token()
    return program.post(issuer_url .. "/token",
                        { sub = "a", email = "a@example.com" }).body
  end

  local function key()
    local made = assert(engine.pkey.generate("P-256"))
    return made, assert(made:sign("a@example.com"))
  end

  local function v2(urls)
    local made, proof = key()
    return program.post(urls.http .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = token() },
      publicKeyRequest = { publicKey = { content = made:pem() },
                           proofOfPossession = base64(proof) },
    }), made
  end

  local function v1(urls)
    local made, proof = key()
    return program.post(urls.http .. "/api/v1/signingCert", {
      publicKey = { content = base64(made:pem()) },
      signedEmailAddress = base64(proof),
    }, { Authorization = "Bearer " .. token() })
  end

  local function embedded(response)
    assert.equal(200, response.status, response.body)
    local chain = program.parsed(response).signedCertificateEmbeddedSct.chain
    return assert(engine.x509.parse(table.concat(chain.certificates, "\n")))
  end

  local function logged(urls, serial)
    local sth = program.parsed(program.get(urls.ctlog .. "/ct/v1/get-sth"))
    local entries = program.parsed(program.get(
      ("%s/ct/v1/get-entries?start=0&end=%d"):format(
        urls.ctlog, sth.tree_size - 1))).entries
    for _, entry in ipairs(entries) do
      local leaf = assert(engine.bytes.unbase64(entry.leaf_input))
      local bytes = serial:gsub("%x%x", function(pair)
        return string.char(tonumber(pair, 16))
      end)
      if leaf:find(bytes, 1, true) then return sth.tree_size end
    end
    return nil
  end

  it("issues over v2 and v1, with an SCT of its own log", function()
    local process, urls = serve({ "--ca", "ephemeralca" })
    local response, made = v2(urls)
    local chain = embedded(response)
    assert.equal(made:spki(), chain[1]:pkey():spki())
    assert(engine.x509.verify(chain, { time = engine.system.now(),
                                       usage = "code_signing" }))
    assert.is_truthy(engine.x509.skim(chain[1].der).sct_list)
    assert.is_truthy(logged(urls, chain[1].serial))
    local old = v1(urls)
    assert.equal(201, old.status, old.body)
    assert.equal(2, #assert(engine.x509.parse(old.body)))
    local page = program.get(urls.metrics .. "/metrics").body
    assert.matches("fulcio_new_certs 2\n", page, 1, true)
    assert.is_true(process:stop())
  end)

  -- What curl says of a gRPC call without fields, headers and trailers too.
  local function call(url, method, arguments)
    local pipe = assert(io.popen(("printf '\\0\\0\\0\\0\\0' | curl -sv "
      .. "--http2-prior-knowledge -H 'content-type: application/grpc' "
      .. "-H 'te: trailers' --data-binary @- -o - %s %s/%s 2>&1")
      :format(arguments or "", url, method)))
    local told = pipe:read("a")
    pipe:close()
    return told
  end

  it("speaks HTTP and gRPC on both ports", function()
    local _, urls = serve({ "--ca", "ephemeralca" })
    local root = program.get(urls.http .. "/api/v1/rootCert").body
    assert.equal(root, program.get(urls.grpc .. "/api/v1/rootCert").body)
    for _, url in ipairs({ urls.http, urls.grpc }) do
      local told = call(url, "dev.sigstore.fulcio.v1beta.CA"
                             .. "/GetRootCertificate")
      assert.matches("< grpc-status: 0", told, 1, true)
      assert.matches(root:sub(1, 200), told, 1, true)
    end
  end)

  it("answers what it refuses unread as gRPC hears it", function()
    local _, urls = serve({ "--ca", "ephemeralca" })
    local told = call(urls.grpc, "x/y", "-H 'x: " .. ("x"):rep(17000) .. "'")
    told = told:gsub("xx+", "")
    assert.matches("< HTTP/2 200", told, 1, true)
    assert.matches("< grpc-status: 8", told, 1, true)
  end)

  it("serves older clients on a socket when it is told to", function()
    local path = directory .. "/legacy.sock"
    local process = serve({ "--ca", "ephemeralca",
                            "--legacy-unix-domain-socket", path })
    assert.equal(384, engine.system.stat(path).mode % 512)
    local method = "dev.sigstore.fulcio.v1beta.CA/GetRootCertificate"
    assert.matches("< grpc-status: 0",
      call("http://localhost", method, "--unix-socket " .. path), 1, true)
    assert.is_true(process:stop())
    assert.is_nil(engine.system.stat(path))
    local name = "fulcio-spec-" .. process.pid
    serve({ "--ca", "ephemeralca", "--legacy-unix-domain-socket",
            "@" .. name })
    assert.matches("< grpc-status: 0",
      call("http://localhost", method, "--abstract-unix-socket " .. name),
      1, true)
  end)

  it("has a data directory for nobody else", function()
    serve({ "--ca", "ephemeralca" })
    local found = assert(engine.system.stat(directory .. "/data"))
    assert.equal(448, found.mode % 512)
  end)

  it("answers alike from every worker: one ephemeral root", function()
    local _, urls = serve({ "--ca", "ephemeralca" })
    local first = program.get(urls.http .. "/api/v1/rootCert").body
    for _ = 1, 20 do
      assert.equal(first, program.get(urls.http .. "/api/v1/rootCert").body)
    end
  end)

  describe("with a CA in files", function()
    local data, options

    before_each(function()
      data = directory .. "/file"
      assert(engine.system.mkdir(data))
      options = authority.files(data, { authority.pair() })
    end)

    local function file_ca(more)
      local all = { "--ca", "fileca", "--fileca-cert", options.fileca_cert,
                    "--fileca-key", options.fileca_key }
      for _, word in ipairs(more or {}) do all[#all + 1] = word end
      return serve(all, data)
    end

    it("continues the same CA and log after SIGTERM", function()
      local process, urls = file_ca()
      local before = embedded((v2(urls)))
      local size = logged(urls, before[1].serial)
      assert.is_true(process:stop())
      process, urls = file_ca()
      assert.equal(before[2].der, embedded((v2(urls)))[2].der)
      assert.is_truthy(logged(urls, before[1].serial) > size)
      assert.is_true(process:stop())
    end)

    it("takes a new pair, and keeps the old one while it is bad", function()
      local process, urls = file_ca()
      local before = embedded((v2(urls)))[2].der
      assert(engine.system.write(options.fileca_cert, "half a file"))
      process:wait_for("the CA stays as it was")
      assert.equal(before, embedded((v2(urls)))[2].der)
      authority.files(data, { authority.pair() })
      process:wait_for("the CA's chain and key are new")
      local after = program.wait(function()
        local now = embedded((v2(urls)))[2].der
        return now ~= before and now
      end)
      assert.is_truthy(after)
      for _ = 1, 8 do
        assert.equal(after, embedded((v2(urls)))[2].der)
      end
    end)

    -- Pairs in folders of their own; "bad" has the chain of one of them and
    -- the key of another. `now` is a link, so a swap is one moment.
    local function folders()
      local names, first = {}, nil
      for _, name in ipairs({ "first", "second", "bad" }) do
        local pair = { authority.pair() }
        first = first or pair[1].key
        assert(engine.system.mkdir(data .. "/" .. name))
        authority.files(data .. "/" .. name, pair, name == "bad" and first)
        names[pair[1].certificate.pem] = name
      end
      options = { fileca_cert = data .. "/now/chain.pem",
                  fileca_key = data .. "/now/key.pem" }
      return names
    end

    local function swap(name)
      assert(os.execute(("cd '%s' && ln -s %s next && mv -T next now")
        :format(data, name)))
    end

    -- The name of the pair that a certificate hangs on, and is signed by.
    local function issued_by(names, urls)
      local chain = embedded((v2(urls)))
      assert(engine.x509.verify(chain, { time = engine.system.now(),
                                         usage = "code_signing" }))
      return names[chain[2].pem]
    end

    local function all_answer(names, urls, wanted)
      for _ = 1, 16 do
        assert.equal(wanted, issued_by(names, urls))
        local bundle = program.get(urls.http .. "/api/v1/rootCert").body
        assert.equal(wanted, names[engine.x509.parse(bundle)[1].pem])
      end
    end

    it("answers with the last good pair, whatever is in the files by then",
    function()
      local names = folders()
      swap("first")
      local process, urls = file_ca()
      all_answer(names, urls, "first")
      swap("second")
      process:wait_for("the CA's chain and key are new")
      swap("bad")
      process:wait_for("the CA stays as it was")
      all_answer(names, urls, "second")
      local log_process = holder(process, "/ctlog.db")
      for _, pid in ipairs(process:children()) do
        if pid ~= log_process then os.execute("kill -9 " .. pid) end
      end
      all_answer(names, urls, "second")
    end)

    it("loses no request of its only worker while the pair changes",
    function()
      local names = folders()
      swap("first")
      local process, urls = file_ca({ "--workers", "1" })
      local children = process:children()
      swap("second")
      assert.is_true(program.wait(function()
        return assert(issued_by(names, urls)) == "second"
      end))
      all_answer(names, urls, "second")
      assert.same(children, process:children())
    end)

    -- Which processes have a key in memory.
    local function holders(process, path)
      local scalar = private_scalar(path)
      local log_process = holder(process, "/ctlog.db")
      local found = {}
      for _, pid in ipairs(process:children()) do
        found[pid == log_process and "log" or "worker"] =
          in_memory(pid, scalar)
      end
      return found
    end

    it("has no CA key in the log's process, a new one neither", function()
      folders()
      swap("first")
      local process, urls = file_ca()
      embedded((v2(urls)))
      local found = holders(process, options.fileca_key)
      -- A sanitizer keeps what was freed, as it was.
      if PROGRAM_IS_SANITIZED or next(found) == nil then
        pending("the memory of others may not be read here")
        return
      end
      assert.same({ worker = true, log = false }, found)
      swap("second")
      assert.is_true(program.wait(function()
        return holders(process, options.fileca_key).worker
      end))
      embedded((v2(urls)))
      found = holders(process, options.fileca_key)
      assert.same({ worker = true, log = false }, found)
    end)

    it("does not start with a key of another", function()
      local other = assert(engine.pkey.generate("P-256"))
      os.remove(options.fileca_key)
      assert(other:save(options.fileca_key))
      local status, printed = program.run({ "serve", "--ca", "fileca",
        "--fileca-cert", options.fileca_cert, "--policies",
        directory .. "/policies", "--development", "--host", "127.0.0.1",
        "--fileca-key", options.fileca_key, "--data-dir", data })
      assert.equal(1, status)
      assert.matches("the key is not the certificate's", printed, 1, true)
    end)
  end)

  it("loads policies again, and keeps the old ones while they are bad",
  function()
    local policies = directory .. "/changing"
    assert(engine.system.mkdir(policies))
    local good = POLICY:format(issuer_url)
    assert(engine.system.write(policies .. "/email.lua", good))
    local process, urls = program.serve(directory .. "/data",
      { "--ca", "ephemeralca", "--policies", policies })
    started[#started + 1] = process
    assert.equal(200, (v2(urls)).status)
    assert(engine.system.write(policies .. "/email.lua", "return {\n}\n"))
    process:wait_for("the policies stay as they were")
    assert.equal(200, (v2(urls)).status)
    assert(engine.system.write(policies .. "/email.lua",
      (good:gsub('email = present', 'email = "b@example.com"'))))
    process:wait_for("the policies are new")
    for _ = 1, 8 do
      local response = v2(urls)
      assert.equal(400, response.status)
      assert.matches("MUST_NOT_MET", response.body)
    end
    assert(engine.system.write(policies .. "/email.lua", good))
    process:signal("HUP")
    assert.is_true(program.wait(function()
      return (v2(urls)).status == 200
    end))
  end)

  it("replaces a worker that dies", function()
    local process, urls = serve({ "--ca", "ephemeralca" })
    local before = process:children()
    os.execute("kill -9 " .. before[#before])
    assert.is_true(program.wait(function()
      return #process:children() == #before
    end))
    assert.is_true(program.wait(function()
      return (v2(urls)).status == 200
    end))
  end)

  it("starts its log again when that dies, and the log goes on", function()
    local process, urls = serve({ "--ca", "ephemeralca" })
    local before = embedded((v2(urls)))
    local log_process = holder(process, "/ctlog.db")
    os.execute("kill -9 " .. log_process)
    local after = embedded(assert(program.wait(function()
      local response = v2(urls)
      return response.status == 200 and response
    end)))
    assert.not_equal(log_process, holder(process, "/ctlog.db"))
    assert.is_truthy(logged(urls, before[1].serial))
    assert.is_truthy(logged(urls, after[1].serial))
  end)

  it("answers 503 while its log is away, and is not healthy", function()
    local _, urls = serve({ "--ca", "ephemeralca", "--ct-log-url",
                            "http://127.0.0.1:1/log" })
    local response = v2(urls)
    assert.equal(503, response.status, response.body)
    assert.equal(14, program.parsed(response).code)
    assert.is_truthy(response.headers["retry-after"])
    assert.equal(503, program.get(urls.http .. "/healthz").status)
  end)

  it("issues detached and without SCT when told to have no log", function()
    local process, urls = serve({ "--ca", "ephemeralca", "--ct-log-url", "" })
    local detached =
      program.parsed((v2(urls))).signedCertificateDetachedSct
    assert.equal("", detached.signedCertificateTimestamp)
    assert.is_nil(urls.ctlog)
    assert.matches("without an SCT", process:output(), 1, true)
  end)

  describe("does not start", function()
    local function refuses(message, ...)
      local arguments = { "serve", "--data-dir", directory .. "/data",
                          "--host", "127.0.0.1", "--port", "0", ... }
      local status, printed = program.run(arguments)
      assert.equal(1, status)
      assert.matches(message, printed, 1, true)
    end

    it("without a CA, or with one that is not there", function()
      refuses('required flag "ca" not set')
      refuses("--ca=tinkca is not a valid selection. Try: pkcs11ca, googleca,"
              .. " fileca, or ephemeralca", "--ca", "tinkca")
      refuses("--fileca-cert must be set when using fileca", "--ca",
              "fileca", "--policies", directory .. "/policies")
    end)

    it("without policies, or with bad ones, all of them named", function()
      refuses("give --policies DIR or --config-path FILE", "--ca",
              "ephemeralca")
      refuses("--config-path: ", "--ca", "ephemeralca", "--config-path",
              "/nowhere.yaml")
      local bad = directory .. "/bad"
      assert(engine.system.mkdir(bad))
      assert(engine.system.write(bad .. "/a.lua", "return {\n}\n"))
      assert(engine.system.write(bad .. "/b.lua", "return {\n}\n"))
      refuses("a.lua:1:", "--ca", "ephemeralca", "--policies", bad)
      refuses("b.lua:1:", "--ca", "ephemeralca", "--policies", bad)
    end)

    it("with a port that is taken", function()
      local _, urls = serve({ "--ca", "ephemeralca" })
      refuses("--metrics-port: ", "--ca", "ephemeralca", "--policies",
              directory .. "/policies", "--development", "--metrics-port",
              urls.metrics:match("%d+$"))
    end)

    it("with an algorithm that nobody knows", function()
      refuses("could not find matching signature algorithm for flag: x",
              "--ca", "ephemeralca", "--development",
              "--client-signing-algorithms", "x")
    end)
  end)
end)
