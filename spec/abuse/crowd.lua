--- Many clients at once, all asking for certificates; every answer is looked
--- at after the clock has stopped. Prints one line of JSON: answers by kind,
--- and the seconds that the latest one took.
---
--- Usage: fulcio run spec/abuse/crowd.lua FULCIO ISSUER CLIENTS SECONDS
package.path = "./?.lua;" .. package.path

local engine = require("fulcio.engine")
local json = require("fulcio.json")

local system = engine.system
local fulcio, issuer, clients, seconds = arg[1], arg[2], arg[3], arg[4]
clients, seconds = tonumber(clients), tonumber(seconds)

local function post(url, body)
  return engine.http.request({ url = url, method = "POST", body = body,
                               timeout = 30 })
end

-- A request that is good, and the key it is for.
local function prepare(i)
  local email = ("a%d@example.com"):format(i)
  local token = assert(post(issuer .. "/token",
    json.encode({ sub = email, email = email }))).body
  local key = assert(engine.pkey.generate("P-256"))
  return { spki = key:spki(), body = json.encode({
    credentials = { oidcIdentityToken = token },
    publicKeyRequest = {
      publicKey = { content = key:pem() },
      proofOfPossession = engine.bytes.base64(assert(key:sign(email))),
    },
  }) }
end

local function is_certificate(result, root)
  local body = engine.claims.parse(result.answer.body)
  local form = body and body.signedCertificateEmbeddedSct
  local chain = form and engine.x509.parse(
    table.concat(form.chain.certificates, "\n"))
  return chain and chain[1]:pkey():spki() == result.spki
    and engine.x509.verify(chain, { time = system.now() })
    and chain[#chain].der == root.der
end

local function kind(result, root)
  local answer = result.answer
  if not answer then return "lost" end
  if answer.status == 503 and answer.headers["retry-after"] then
    return "busy"
  end
  return answer.status == 200 and is_certificate(result, root) and "issued"
    or "wrong"
end

local function run()
  local requests, results, left = {}, {}, clients
  for i = 1, 64 do requests[i] = prepare(i) end
  local done, started = engine.server.signal(), system.monotonic()
  for i = 1, clients do
    engine.server.spawn(function()
      local turn = i
      while system.monotonic() - started < seconds do
        turn = turn % #requests + 1
        local at = system.monotonic()
        local answer = post(fulcio .. "/api/v2/signingCert",
                            requests[turn].body)
        results[#results + 1] = { answer = answer, spki = requests[turn].spki,
                                  took = system.monotonic() - at }
      end
      left = left - 1
      if left == 0 then done:wake() end
    end)
  end
  while left > 0 do done:wait(60) end
  return results
end

engine.server.spawn(function()
  local roots = assert(engine.x509.parse(assert(engine.http.request({
    url = fulcio .. "/api/v1/rootCert" })).body))
  local counts = { issued = 0, busy = 0, wrong = 0, lost = 0 }
  local latest = 0
  for _, result in ipairs(run()) do
    local name = kind(result, roots[#roots])
    counts[name] = counts[name] + 1
    latest = math.max(latest, result.took)
  end
  counts.latest = latest
  print(json.encode(counts))
  engine.server.stop()
end)
engine.server.run()
