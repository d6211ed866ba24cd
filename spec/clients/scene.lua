--- What every client is told: addresses, identities, what to trust, and what
--- must not be trusted.
local cjson = require("cjson")
local deployment = require("spec.deployment")
local engine = require("fulcio.engine")
local process = require("spec.process")

local scenes = {}

local policies = {
  email = [[
    -- People.
    return { issuer = "ISSUER", audience = "sigstore", provider = "email",
      must = { email = present } }]],
  github = [[
    -- Workflows of one repository.
    return { issuer = "ISSUER", audience = "sigstore", provider = "github",
      must = { repository = "acme/firmware" } }]],
  spiffe = [[
    -- Workloads of one trust domain.
    return { issuer = "ISSUER", audience = "sigstore", provider = "spiffe",
      must = { sub = spiffe("example.com") } }]],
}

local WORKFLOW = "acme/firmware/.github/workflows/release.yml@refs/heads/main"

scenes.identities = {
  {
    name = "email", san = "alice@example.com",
    challenge = "alice@example.com",
    claims = { sub = "1234", email = "alice@example.com",
      email_verified = true },
  },
  {
    name = "github", san = "https://github.com/" .. WORKFLOW,
    challenge = "repo:acme/firmware:ref:refs/heads/main",
    claims = {
      sub = "repo:acme/firmware:ref:refs/heads/main",
      repository = "acme/firmware", repository_id = "1",
      repository_owner = "acme", repository_owner_id = "2",
      repository_visibility = "public", ref = "refs/heads/main",
      sha = ("a"):rep(40), event_name = "push", workflow = "release",
      workflow_ref = WORKFLOW, workflow_sha = ("b"):rep(40),
      job_workflow_ref = WORKFLOW, job_workflow_sha = ("b"):rep(40),
      runner_environment = "github-hosted", run_id = "3", run_attempt = "1",
    },
  },
  {
    name = "spiffe", san = "spiffe://example.com/build",
    challenge = "spiffe://example.com/build",
    claims = { sub = "spiffe://example.com/build" },
  },
}

local function base64(bytes) return engine.bytes.base64(bytes) end

local START = "2020-01-01T00:00:00Z"

local function authority(certificates, url)
  local list = {}
  for i, der in ipairs(certificates) do list[i] = { rawBytes = der } end
  return {
    subject = { organization = "spec", commonName = "spec" }, uri = url,
    certChain = { certificates = list }, validFor = { start = START },
  }
end

local function log(url, spki, details, id)
  return {
    baseUrl = url, hashAlgorithm = "SHA2_256", logId = { keyId = id },
    publicKey = { rawBytes = spki, keyDetails = details,
      validFor = { start = START } },
  }
end

-- What clients trust. `change` may replace the CT log's key, the ID it goes
-- by, and the CA's chain (DER).
local function trusted_root(scene, change)
  local spki = change.log_key or scene.log_spki
  local id = change.log_id or engine.bytes.sha256(spki)
  local chain = {}
  for i, one in ipairs(change.chain or scene.chain) do
    chain[i] = base64(one.der)
  end
  local standin = scene.facts
  return {
    mediaType = "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    certificateAuthorities = { authority(chain, scene.fulcio) },
    ctlogs = { log(scene.log, base64(spki), "PKIX_ECDSA_P256_SHA_256",
      base64(id)) },
    tlogs = { log(standin.url, standin.rekor_key, "PKIX_ED25519",
      standin.rekor_id) },
    timestampAuthorities = { authority(standin.tsa_chain, standin.url) },
  }
end

local function service(url, major)
  return { { url = url, majorApiVersion = major, operator = "spec",
    validFor = { start = START } } }
end

local function trust_config(scene, root)
  return {
    mediaType =
      "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
    trustedRoot = root,
    signingConfig = {
      mediaType = "application/vnd.dev.sigstore.signingconfig.v0.2+json",
      caUrls = service(scene.fulcio, 1),
      oidcUrls = service(scene.issuer, 1),
      rekorTlogUrls = service(scene.facts.url, 2),
      tsaUrls = service(scene.facts.url .. "/api/v1/timestamp", 1),
      rekorTlogConfig = { selector = "ANY" },
      tsaConfig = { selector = "ANY" },
    },
  }
end

-- Three ways to trust the wrong thing.
local function wrongs(scene)
  local other = assert(engine.pkey.generate("P-256")):spki()
  return {
    ["another CT log"] = { log_key = other },
    ["forged CT key"] = { log_key = other,
      log_id = engine.bytes.sha256(scene.log_spki) },
    ["another CA"] = { chain = scene.other_chain },
  }
end

-- Facts of the stand-in; without it (no Go here) addresses that answer
-- nothing, which the wire client does not ask.
local function start_standin(program)
  if not io.open(program) then
    return nil, { url = "http://127.0.0.1:9", tsa_chain = {}, rekor_key = "",
      rekor_id = "" }
  end
  local standin = process.start({ program })
  return standin, cjson.decode(standin:wait_for("({.*})"))
end

local function write_trust(scene, told, write)
  local root = trusted_root(scene, {})
  told.trusted_root = write("trusted_root.json", root)
  told.trust_config = write("trust_config.json", trust_config(scene, root))
  told.wrong_roots, told.wrong_trust_configs = {}, {}
  for name, change in pairs(wrongs(scene)) do
    local file = name:gsub(" ", "_") .. ".json"
    local wrong = trusted_root(scene, change)
    told.wrong_roots[name] = write("root_" .. file, wrong)
    told.wrong_trust_configs[name] = write("config_" .. file,
      trust_config(scene, wrong))
  end
end

local function write_scene(scene)
  local directory = scene.directory
  local function write(name, value)
    local path = directory .. "/" .. name
    deployment.write(path, type(value) == "table" and cjson.encode(value)
      or value)
    return path
  end
  local told = {
    fulcio = scene.fulcio, issuer = scene.issuer, log = scene.log,
    grpc = ("127.0.0.1:%d"):format(scene.ports.grpc),
    tls_certificate = scene.tls .. "/chain.pem",
    tls_key = scene.tls .. "/key.pem",
    standin = scene.facts.url, identities = scenes.identities,
    root = directory .. "/ca/root.pem",
    log_key = directory .. "/data/ctlog.pub.pem",
    forged_log_key = write("forged.pem",
      assert(engine.pkey.generate("P-256")):pem()),
  }
  write_trust(scene, told, write)
  return write("scene.json", told)
end

local function certificates(path)
  return assert(engine.x509.parse(deployment.read(path)))
end

-- A directory with a certificate for this machine and its key, for the gRPC
-- port.
local function tls_files()
  local directory = process.directory()
  local make = [[openssl req -x509 -newkey ec -nodes -subj /CN=localhost \
    -pkeyopt ec_paramgen_curve:P-256 -days 2 \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
    -keyout DIR/key.pem -out DIR/chain.pem 2>/dev/null]]
  deployment.run({ "sh", "-c", (make:gsub("DIR", directory)) })
  return directory
end

--- Starts all of it; `file` is what a driver reads. `options`: backend and
--- environment, as deployment.start has them.
function scenes.start(standin_program, options)
  options = options or {}
  local tls = tls_files()
  local scene = deployment.start({ policies = policies,
    backend = options.backend, environment = options.environment, flags = {
      "--grpc-tls-certificate", tls .. "/chain.pem",
      "--grpc-tls-key", tls .. "/key.pem" } })
  scene.tls = tls
  scene.standin, scene.facts = start_standin(standin_program)
  local directory = scene.directory
  deployment.run({ deployment.program, "run", "examples/authority.lua",
    directory .. "/other" })
  scene.chain = certificates(directory .. "/ca/chain.pem")
  scene.other_chain = certificates(directory .. "/other/chain.pem")
  scene.log_spki = assert(engine.pkey.parse(
    deployment.read(directory .. "/data/ctlog.pub.pem"))):spki()
  scene.file = write_scene(scene)
  return scene
end

--- Ends all of it; true when the CA went by itself.
function scenes.stop(scene)
  if scene.standin then scene.standin:stop() end
  os.execute("rm -rf " .. scene.tls)
  return scene:stop()
end

return scenes
