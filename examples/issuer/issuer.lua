--- A development OIDC issuer: signs any claims it is sent, for anyone.
---
--- Usage: build/fulcio run examples/issuer/issuer.lua --port 5556
---        [--host 127.0.0.1] [--keys DIR]
local engine = require("fulcio.engine")
local json = require("fulcio.json")

local ALGORITHMS = { { "RS256", "RSA-2048" }, { "ES256", "P-256" } }
local LIFETIME = 600

local options = { host = "127.0.0.1", port = "5556" }

local function read_options(words)
  for i = 1, #words, 2 do
    local name = words[i]:match("^%-%-(%a+)$")
    if not (name == "host" or name == "port" or name == "keys")
      or not words[i + 1] then
      error("unknown option " .. words[i] .. ": --port N, --host ADDRESS"
        .. " or --keys DIR", 0)
    end
    options[name] = words[i + 1]
  end
  local loopback = options.host:find("^127%.%d+%.%d+%.%d+$")
    or options.host == "::1"
  if not loopback then
    error(options.host .. " is not a loopback address: this issuer signs"
      .. " whatever anyone asks for, so it stays on 127.0.0.1", 0)
  end
end

-- Keys -----------------------------------------------------------------

local keys = {}      -- what JWKS lists: { algorithm=, kid=, key= }, newest last
local current = {}   -- by algorithm: the one that signs

local function add(algorithm, key)
  local kid = engine.bytes.base64url(engine.bytes.sha256(key:spki()))
  local entry = { algorithm = algorithm, kid = kid, key = key }
  keys[#keys + 1] = entry
  current[algorithm] = entry
end

-- A key of --keys DIR is opened when it is there, and saved when it is new.
local function first_key(algorithm, kind)
  local file = options.keys and options.keys .. "/" .. algorithm .. ".pem"
  if file and engine.system.stat(file) then
    return assert(engine.pkey.open(file))
  end
  local key = assert(engine.pkey.generate(kind))
  if file then assert(key:save(file)) end
  return key
end

local function rotate(keep)
  if not keep then keys = {} end
  for _, row in ipairs(ALGORITHMS) do
    add(row[1], assert(engine.pkey.generate(row[2])))
  end
end

-- Answers --------------------------------------------------------------

local function answer(status, body, kind)
  return { status = status, body = body,
    headers = { ["content-type"] = kind or "application/json" } }
end

local function refuse(status, message)
  return answer(status, json.encode({ error = message }) .. "\n")
end

local function parameters(query)
  local found = {}
  for name, value in (query or ""):gmatch("([^&=]+)=?([^&]*)") do
    found[name] = value
  end
  return found
end

local issuer_url

local function discovery()
  return answer(200, json.encode({
    issuer = issuer_url,
    jwks_uri = issuer_url .. "/keys",
    response_types_supported = { "id_token" },
    subject_types_supported = { "public" },
    id_token_signing_alg_values_supported = { "RS256", "ES256" },
  }))
end

local function jwks()
  local list = json.list({})
  for i, entry in ipairs(keys) do
    local jwk = engine.jws.jwk(entry.key)
    jwk.kid, jwk.alg, jwk.use = entry.kid, entry.algorithm, "sig"
    list[i] = jwk
  end
  return answer(200, json.encode({ keys = list }))
end

-- The claims are signed as they were sent, byte for byte; what is missing
-- is put in front of them. A claim that is sent as null stays null.
local function completed(body, claims)
  local now = engine.system.now()
  local usual = { iss = issuer_url, aud = "sigstore", iat = now,
    exp = now + LIFETIME }
  if claims.email ~= nil then usual.email_verified = true end
  local missing = {}
  for name, value in pairs(usual) do
    if claims[name] == nil then missing[name] = value end
  end
  local front = json.encode(missing):sub(1, -2)
  local rest = body:match("^%s*{%s*(.*)$")
  if front == "{" or rest:find("^}") then return front .. rest end
  return front .. "," .. rest
end

local function token(request)
  local entry = current[parameters(request.query).alg or "RS256"]
  if not entry then return refuse(400, "alg is RS256 or ES256") end
  local claims, message = engine.claims.parse(request.body)
  if type(claims) ~= "table" or claims[1] ~= nil then
    return refuse(400, message or "send the claims as a JSON object")
  end
  local header = json.encode({ alg = entry.algorithm, kid = entry.kid,
    typ = "JWT" })
  local jwt = assert(engine.jws.sign(header, completed(request.body, claims),
    entry.key, entry.algorithm))
  return answer(200, jwt, "application/jwt")
end

local function rotated(request)
  rotate(parameters(request.query).keep)
  return jwks()
end

local routes = {
  ["GET /.well-known/openid-configuration"] = discovery,
  ["GET /keys"] = jwks,
  ["POST /token"] = token,
  ["POST /rotate"] = rotated,
}

local function handle(request)
  local route = routes[request.method .. " " .. request.path]
  if not route then return refuse(404, "GET /.well-known/openid-configuration,"
    .. " GET /keys, POST /token or POST /rotate") end
  return route(request)
end

read_options({ ... })
if options.keys then assert(engine.system.mkdir(options.keys)) end
for _, row in ipairs(ALGORITHMS) do add(row[1], first_key(row[1], row[2])) end
local listener = assert(engine.server.listen({ host = options.host,
  port = tonumber(options.port) }))
issuer_url = "http://" .. listener.address
engine.server.http(listener, handle)
print("issuer " .. issuer_url)
io.stdout:flush()
engine.server.run()
