local authority = require("spec.ca.authority")
local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local json = require("fulcio.json")
local process = require("spec.process")
local program = require("spec.program")

local server = engine.server

local POLICY = [[
return {
  issuer = "%s", audience = "sigstore", must = { email = present },
  san = { email = "{email}" }, ca_file = "%s",
}
]]

local function shell(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1")
  local text = pipe:read("a")
  pipe:close()
  return text
end

-- An issuer over TLS whose certificate a private CA signed; OpenSSL's own
-- server shows the files of its directory.
local Issuer = {}
Issuer.__index = Issuer

local function new_issuer(directory)
  local self = setmetatable({ directory = directory, keys = {}, turn = 0 },
                            Issuer)
  shell(("mkdir -p %s/.well-known && cd %s && "
    .. "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca-key.pem"
    .. " -out ca.pem -subj /CN=private && openssl req -newkey rsa:2048 -nodes"
    .. " -keyout key.pem -out csr.pem -subj /CN=issuer && "
    .. "printf 'subjectAltName=IP:127.0.0.1' >ext && openssl x509 -req"
    .. " -in csr.pem -CA ca.pem -CAkey ca-key.pem -set_serial 2 -days 2"
    .. " -extfile ext -out cert.pem"):format(directory, directory))
  self.server = process.start({ "sh", "-c", "cd " .. directory
    .. " && exec openssl s_server -accept 127.0.0.1:0 -cert cert.pem"
    .. " -key key.pem -WWW" })
  self.url = "https://127.0.0.1:" .. self.server:wait_for("ACCEPT %S-:(%d+)")
  assert(engine.system.write(
    directory .. "/.well-known/openid-configuration", json.encode({
      issuer = self.url, jwks_uri = self.url .. "/jwks",
      id_token_signing_alg_values_supported = json.list({ "RS256" }),
      response_types_supported = json.list({ "id_token" }) })))
  return self
end

-- Keys as Google and GitHub show them: several, with certificates and
-- members that nobody knows, among keys for other uses.
function Issuer:publish()
  local list = json.list({
    { kty = "oct", k = "AAAA", kid = "symmetric" },
    { kty = "RSA", use = "enc", kid = "encryption", n = "AQAB", e = "AQAB" },
    { kty = "NEW", kid = "unknown", ["x-more"] = { a = json.list({ 1 }) } },
  })
  for _, one in ipairs(self.keys) do
    local jwk = engine.jws.jwk(one.key)
    jwk.kid, jwk.use, jwk.alg = one.kid, "sig", "RS256"
    jwk.x5c, jwk.x5t = json.list({ "MIIC" }), one.kid
    jwk.issued_by = "nobody"
    list[#list + 1] = jwk
  end
  assert(engine.system.write(self.directory .. "/jwks",
                             json.encode({ keys = list })))
end

-- Adds a key and drops the oldest of three; tokens are then signed by it.
function Issuer:rotate()
  self.turn = self.turn + 1
  self.keys[#self.keys + 1] = { kid = "key-" .. self.turn,
    key = assert(engine.pkey.generate("RSA-2048")) }
  if #self.keys > 3 then table.remove(self.keys, 1) end
  self:publish()
  self.current = self.keys[#self.keys]
end

function Issuer:token()
  local now = engine.system.now()
  return assert(engine.jws.sign(
    json.encode({ alg = "RS256", kid = self.current.kid }),
    json.encode({ iss = self.url, aud = "sigstore", exp = now + 600,
                  sub = "a", email = "a@example.com",
                  email_verified = true }),
    self.current.key, "RS256"))
end

describe("a running CA under load", function()
  local issuer, scene, key, proof

  setup(function()
    issuer = new_issuer(process.directory())
    issuer:rotate()
    scene = deployment.start({
      policies = { tls = POLICY:format(issuer.url,
                                       issuer.directory .. "/ca.pem") },
      flags = { "--workers", "2" } })
    key = assert(engine.pkey.generate("P-256"))
    proof = engine.bytes.base64(assert(key:sign("a@example.com")))
  end)

  teardown(function()
    scene:stop()
    issuer.server:stop()
    os.execute("rm -rf " .. issuer.directory)
  end)

  local function ask()
    return program.post(scene.fulcio .. "/api/v2/signingCert", {
      credentials = { oidcIdentityToken = issuer:token() },
      publicKeyRequest = { publicKey = { content = key:pem() },
                           proofOfPossession = proof },
    })
  end

  -- The certificates of an answer, which must hang together.
  local function chain_of(response)
    assert(response and response.status == 200, response and response.body)
    local form = program.parsed(response).signedCertificateEmbeddedSct
    local chain = assert(engine.x509.parse(
      table.concat(form.chain.certificates, "\n")))
    assert(engine.x509.verify(chain, { time = engine.system.now(),
                                       usage = "code_signing" }))
    return chain
  end

  -- Asks from eight sides until `act` is done; every answer, in order.
  local function under_load(act)
    local answers, going, fault = {}, true, nil
    local left, done = 9, server.signal()
    local function side(run)
      server.spawn(function()
        local ok, why = pcall(run)
        if not ok then fault = fault or why end
        left = left - 1
        done:wake()
      end)
    end
    for _ = 1, 8 do
      side(function()
        while going do answers[#answers + 1] = ask() or "lost" end
      end)
    end
    side(function()
      local ok, why = pcall(act, answers)
      going = false
      if not ok then error(why, 0) end
    end)
    server.spawn(function()
      while left > 0 do done:wait(60) end
      server.stop()
    end)
    server.run()
    assert.is_nil(fault)
    return answers
  end

  -- Waits, as a coroutine of the loop does.
  local function pass(seconds) server.signal():wait(seconds) end

  it("follows an issuer that changes its keys", function()
    local answers = under_load(function(before)
      for _ = 1, 6 do
        issuer:rotate()
        local count = #before
        for _ = 1, 400 do
          if #before > count + 20 then break end
          pass(0.05)
        end
      end
    end)
    assert.is_true(#answers > 100)
    for _, response in ipairs(answers) do chain_of(response) end
  end)

  it("takes a new CA behind a link, and keeps it while the next is bad",
  function()
    local place = scene.directory
    local function pair(name, entries, other)
      assert(engine.system.mkdir(place .. "/" .. name))
      authority.files(place .. "/" .. name, entries, other)
    end
    local function swap(name)
      shell(("cd %s && ln -s %s next && mv -T next ca"):format(place, name))
    end
    shell(("cd %s && mv ca first && ln -s first ca"):format(place))
    local first, second = { authority.pair() }, { authority.pair() }
    pair("second", second)
    pair("bad", first, second[1].key)
    local old = chain_of(ask())[2].der
    local answers = under_load(function(seen)
      swap("second")
      for _ = 1, 1200 do
        if seen[1] and chain_of(seen[#seen])[2].der ~= old then break end
        pass(0.05)
      end
      swap("bad")
      for _ = 1, 1200 do
        if scene.ca:output():find("stays as it was", 1, true) then break end
        pass(0.05)
      end
    end)
    local counts = {}
    for _, response in ipairs(answers) do
      local der = chain_of(response)[2].der
      counts[der] = (counts[der] or 0) + 1
    end
    local new = second[1].certificate.der
    assert.is_true(counts[new] > 0)
    counts[new], counts[old] = nil, nil
    assert.same({}, counts)
    assert.matches("the CA stays as it was", scene.ca:output(), 1, true)
    assert.matches("the key is not the certificate's", scene.ca:output(), 1,
                   true)
    for _ = 1, 8 do assert.equal(new, chain_of(ask())[2].der) end
  end)
end)
