--- Load on a real CA while its HSM comes and goes: every certificate that it
--- gives is verified. A program of its own, for hsm_loss_spec.lua.
---
--- Usage: build/fulcio run spec/hsm/load.lua FULCIO ISSUER DATA OVER
--- DATA holds myrootCA.pem and ctlog.pub.pem. When the file OVER is there the
--- trouble is over: it goes on until certificates come again, and a second.

package.path = "./?.lua;" .. package.path

local cjson = require("cjson")
local engine = require("fulcio.engine")
local files = require("spec.files")

local read = files.found

local CONNECTIONS = 32

local fulcio, issuer, data, over = ...
local monotonic = engine.system.monotonic

local root = assert(engine.x509.parse(read(data .. "/myrootCA.pem")))[1]
local log = assert(engine.pkey.parse(read(data .. "/ctlog.pub.pem")))

local function ask(i)
  local email = ("user%d@example.com"):format(i)
  local key = assert(engine.pkey.generate("P-256"))
  local token = assert(engine.http.request({ url = issuer .. "/token",
    method = "POST", body = cjson.encode({ sub = email, email = email }) }))
  return { spki = key:spki(), email = email, body = cjson.encode({
    credentials = { oidcIdentityToken = token.body },
    publicKeyRequest = {
      publicKey = { content = key:pem() },
      proofOfPossession = engine.bytes.base64(assert(key:sign(email))),
    } }) }
end

-- The SCT is the log's, over this certificate as it was before.
local function logged(leaf)
  local skimmed = assert(engine.x509.skim(leaf.der))
  local sct = assert(engine.sct.parse(
    engine.sct.parse_list(assert(skimmed.sct_list))[1]))
  assert(engine.sct.verify(engine.sct.leaf({ kind = "precert",
    tbs = skimmed.defanged, timestamp_ms = sct.timestamp_ms,
    extensions = sct.extensions,
    issuer_key_hash = engine.bytes.sha256(root:pkey():spki()) }),
    sct.signature, log))
end

local function verify(request, answer)
  local chain = assert(engine.claims.parse(answer.body))
    .signedCertificateEmbeddedSct.chain.certificates
  local found = assert(engine.x509.parse(table.concat(chain, "\n")))
  local leaf = found[1]
  assert(found[2].der == root.der and #found == 2, "another CA")
  assert(engine.x509.verify(found, { time = engine.system.now(),
                                     usage = "code_signing" }))
  assert(leaf:pkey():spki() == request.spki, "another client's key")
  assert(leaf.san[1].value == request.email, "another client's name")
  logged(leaf)
end

local seen = { counts = {}, slowest = {}, serials = 0, broken = 0 }
local stopping, last_bad, last_good = false, 0, 0

local function note(status, seconds)
  seen.counts[status] = (seen.counts[status] or 0) + 1
  seen.slowest[status] = math.max(seen.slowest[status] or 0, seconds)
  if status == "200" then last_good = monotonic()
  else last_bad = monotonic() end
end

local function client(requests, i)
  while not stopping do
    i = i % #requests + 1
    local started = monotonic()
    local answer = engine.http.request({ url = fulcio
      .. "/api/v2/signingCert", method = "POST", body = requests[i].body,
      timeout = 20 })
    note(answer and tostring(answer.status) or "none", monotonic() - started)
    if answer and answer.status == 200 then
      verify(requests[i], answer)
    else
      engine.server.sleep(0.05)
    end
  end
end

local function wait(found, seconds)
  local until_then = monotonic() + seconds
  while not found() and monotonic() < until_then do
    engine.server.sleep(0.01)
  end
end

local function main()
  local requests = {}
  for i = 1, 16 do requests[i] = ask(i) end
  for i = 1, CONNECTIONS do
    engine.server.spawn(function() client(requests, i) end)
  end
  wait(function() return (seen.counts["200"] or 0) >= 100 end, 30)
  print("ready")
  io.stdout:flush()
  wait(function() return read(over) end, 60)
  local back = monotonic()
  wait(function() return last_good > back end, 20)
  seen.resumed = last_good > back and last_good - back or -1
  wait(function() return monotonic() - math.max(last_bad, back) > 1 end, 20)
  seen.clean = math.max(last_bad - back, 0)
  stopping = true
  engine.server.sleep(0.5)
  print(cjson.encode(seen))
  engine.server.stop()
end

engine.server.spawn(main)
engine.server.run()
