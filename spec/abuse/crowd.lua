--- Many clients at once, all asking for certificates; every answer is looked
--- at after the clock has stopped. Prints one line of JSON: answers by kind,
--- and the seconds that the latest one took.
---
--- Usage: fulcio run spec/abuse/crowd.lua FULCIO ISSUER CLIENTS SECONDS
package.path = "./?.lua;" .. package.path
package.cpath = ("./%s/module/?.so;"):format(os.getenv("BUILD") or "build")
  .. package.cpath

local engine = require("fulcio.engine")
local json = require("fulcio.json")
local sockets = require("sockets")

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
  local body = json.encode({
    credentials = { oidcIdentityToken = token },
    publicKeyRequest = {
      publicKey = { content = key:pem() },
      proofOfPossession = engine.bytes.base64(assert(key:sign(email))),
    },
  })
  return { spki = key:spki(), bytes = ("POST /api/v2/signingCert HTTP/1.1\r\n"
    .. "Host: a\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body) }
end

local function is_certificate(text, spki, root)
  local body = engine.claims.parse(text)
  local form = body and body.signedCertificateEmbeddedSct
  local chain = form and engine.x509.parse(
    table.concat(form.chain.certificates, "\n"))
  return chain and chain[1]:pkey():spki() == spki
    and engine.x509.verify(chain, { time = system.now() })
    and chain[#chain].der == root.der
end

local function kind(result, root)
  local status, head, body =
    result.text:match("^HTTP/1%.1 (%d+) [^\r]*(.-)\r\n\r\n(.*)$")
  if not status then return "lost" end
  if status == "503" and head:find("\r\nretry%-after: %d") then
    return "busy"
  end
  return status == "200" and is_certificate(body, result.spki, root)
    and "issued" or "wrong"
end

local function send(client, requests)
  client.turn = client.turn % #requests + 1
  client.began, client.text = system.monotonic(), ""
  assert(sockets.send(client.fd, requests[client.turn].bytes))
end

-- Whether a whole answer has come.
local function is_whole(text)
  local head = select(2, text:find("\r\n\r\n", 1, true))
  local size = head and tonumber(text:match("\r\ncontent%-length: (%d+)"))
  return size and #text >= head + size
end

-- What came on a client's connection, if anything: its answer when whole.
local function look(client, requests)
  local bytes, ended = sockets.receive(client.fd, 0)
  client.text = client.text .. bytes
  if not ended and not is_whole(client.text) then return nil end
  return { text = client.text, spki = requests[client.turn].spki,
           took = system.monotonic() - client.began }, ended
end

local function run()
  local requests, results, crowd = {}, {}, {}
  for i = 1, 64 do requests[i] = prepare(i) end
  local port = tonumber(fulcio:match("%d+$"))
  for i = 1, clients do
    crowd[i] = { turn = i, fd = assert(sockets.connect(port)) }
  end
  for _, client in ipairs(crowd) do send(client, requests) end
  local started = system.monotonic()
  while #crowd > 0 do
    for i = #crowd, 1, -1 do
      local result, ended = look(crowd[i], requests)
      if result then
        results[#results + 1] = result
        if ended or system.monotonic() - started > seconds then
          sockets.close(table.remove(crowd, i).fd)
        else
          send(crowd[i], requests)
        end
      end
    end
  end
  return results
end

local roots = assert(engine.x509.parse(assert(engine.http.request({
  url = fulcio .. "/api/v1/rootCert" })).body))
local counts, latest = { issued = 0, busy = 0, wrong = 0, lost = 0 }, 0
for _, result in ipairs(run()) do
  local name = kind(result, roots[#roots])
  counts[name] = counts[name] + 1
  latest = math.max(latest, result.took)
end
counts.latest = latest
print(json.encode(counts))
