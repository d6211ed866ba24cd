--- A CA whose key is in an HSM.
---
--- The supervisor never loads a PKCS#11 module (a fork would break it): it
--- has everything checked in a child process and keeps the chain alone.
--- Each worker logs in for itself, beside its loop, one after the other.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")
local hsm = require("fulcio.hsm")
local log = require("fulcio.log")
local shelf = require("fulcio.shelf")

local Hsm = {}
Hsm.__index = Hsm

local function parse_all(ders)
  local list = {}
  for _, der in ipairs(ders) do
    local found = engine.x509.parse(der)
    if found then list[#list + 1] = found[1] end
  end
  return list
end

-- From a certificate up to its root, among those the token keeps.
local function climb(first, others)
  local path, current = { first }, first
  while current.subject_der ~= current.issuer_der do
    local above
    for _, other in ipairs(others) do
      if other.subject_der == current.issuer_der
         and other:signed(current.der) then
        above = other
      end
    end
    if not above or #path > 8 then return path end
    path[#path + 1], current = above, above
  end
  return path
end

local function chain_in_token(token, id)
  local found, message = token:certificates({ id = id })
  if not found then return nil, message end
  if not found[1] then
    return nil, ('no certificate with CKA_ID "%s" in the token: make one'
                 .. " with fulcio createca"):format(id)
  end
  local all
  all, message = token:certificates({})
  if not all then return nil, message end
  local first = engine.x509.parse(found[1])
  if not first then return nil, "the certificate cannot be parsed" end
  return climb(first[1], parse_all(all))
end

local function chain_in_file(path)
  local text, message = shelf.read(path)
  if not text then return nil, message end
  local certificates
  certificates, message = engine.x509.parse(text)
  if certificates then return certificates end
  return nil, path .. ": " .. message
end

local function read_chain(token, options)
  if options.aws_hsm_root_ca_path ~= "" then
    return chain_in_file(options.aws_hsm_root_ca_path)
  end
  return chain_in_token(token, options.hsm_caroot_id)
end

-- Opens token, chain and key: { token, chain, key }; nil, message, code.
local function connect(options, settings, name)
  local token, message, code = engine.pkcs11.open(settings)
  if not token then return nil, message, code end
  local certificates, key
  certificates, message, code = read_chain(token, options)
  if not certificates then return nil, message, code end
  key, message, code = token:key({ label = name.label, id = name.id,
                                   public = certificates[1]:pkey() })
  if not key then return nil, message, code end
  return { token = token, chain = certificates, key = key }
end

-- What a start must be sure of; the chain as PEM.
local function prove(options, settings, name)
  local found, message, code = connect(options, settings, name)
  if not found then return nil, message, code end
  local ok
  ok, message = chain.check(found.chain, found.key, engine.system.now())
  if not ok then return nil, message, "bad_chain" end
  local text = "fulcio start " .. engine.system.now()
  local signature
  signature, message, code = found.key:sign(text)
  if not signature then return nil, message, code end
  ok, message = found.chain[1]:pkey():verify(text, signature)
  if not ok then return nil, "a test signature: " .. message end
  local pems = {}
  for i, certificate in ipairs(found.chain) do pems[i] = certificate.pem end
  found.token:close()
  return table.concat(pems)
end

-- A worker that begins waits so many seconds for its HSM, then answers
-- that it is away; one that takes another's place answers sooner.
local PATIENCE, PATIENCE_AGAIN = 3, 0.5

-- A module that has not come back for so long, in seconds, hangs: of a
-- signature, or of a connection, which vendors try for long.
local HANGS, CONNECTION_HANGS = 10, 60

-- Waits until it is there, or is known not to come.
local function await(token, key, seconds)
  local last, asked = engine.system.monotonic() + seconds, false
  repeat
    local ok, _, code = token:ready()
    if code == "hsm_busy" and not asked then
      asked = true
      engine.server.spawn(function() token:probe(key) end)
    end
    if ok or code == "bad_pin" or code == "pin_locked" then return end
    engine.server.sleep(0.01)
  until engine.system.monotonic() > last
end

-- Threads that hang in a module cannot be ended, their process can: the
-- supervisor puts another in its place.
local function leave_if_it_hangs(token)
  local signing, connecting = token:still()
  if signing > HANGS or connecting > CONNECTION_HANGS then
    log.error("the HSM's module hangs: this worker ends, for another one", {
      signing = signing, connecting = connecting })
    engine.server.stop()
  end
end

-- A token that is not up heals by itself of these.
local passing = { hsm_gone = true, bad_pin = true, pin_locked = true }

-- So long, in seconds, nobody may have asked for a signature before one is
-- made to learn whether it still could be.
local IDLE = 5

-- Who is not ready may be asked for nothing any more, and would never learn
-- that its key is back, or that its HSM answers again.
local function worth_a_probe(token)
  local ok, _, code = token:ready()
  local _, _, idle, up = token:still()
  if not ok then return up or not passing[code] end
  return idle > IDLE
end

-- A probe may hang as long as a request does.
local function probe_now_and_then(token, key)
  while not engine.server.stopping() do
    engine.server.sleep(1)
    if worth_a_probe(token) then token:probe(key) end
  end
end

local function look_after(token)
  while not engine.server.stopping() do
    engine.server.sleep(1)
    leave_if_it_hangs(token)
  end
end

--- Logs in, in a worker: beside the loop, for an HSM may hang. `again`: in
--- the place of one that ended, perhaps because it did: then nobody waits to
--- see whether it still does.
function Hsm:start(again)
  local settings, name = self.settings, self.name
  settings.lazy, settings.lock, settings.prove = true, self.lock, again
  self.token = assert(engine.pkcs11.open(settings))
  self.key = assert(self.token:key({ label = name.label, id = name.id,
                                     public = self.chain[1]:pkey() }))
  await(self.token, self.key, again and PATIENCE_AGAIN or PATIENCE)
  engine.server.spawn(function() look_after(self.token) end)
  engine.server.spawn(function() probe_now_and_then(self.token, self.key) end)
end

--- Signs a TBSCertificate: DER; nil, message, code.
function Hsm:sign(tbs)
  return engine.draft.sign(tbs, self.key)
end

--- Every chain that a verifier may need.
function Hsm:bundle()
  return { self.chain }
end

--- Whether it can sign what lives for `seconds`; nil and why not.
function Hsm:ready(seconds)
  local ok, message = self.token:ready()
  if not ok then return nil, message end
  if engine.system.now() + seconds <= self.expires then return true end
  return nil, "the CA's chain ends "
    .. os.date("!%Y-%m-%dT%H:%M:%SZ", self.expires)
end

--- Ends what start began; the PIN is forgotten.
function Hsm:close()
  if self.token then self.token:close() end
  self.token, self.key, self.settings = nil, nil, nil
  collectgarbage()
end

local M = {}

--- Checks the HSM of `options` in a child process: the key is there, is
--- the certificate's, and signs. nil and a message.
function M.open(options)
  if options.hsm_caroot_id == "" and options.aws_hsm_root_ca_path == "" then
    return nil, "--hsm-caroot-id must be set when using pkcs11ca"
  end
  local settings, name = hsm.named(options)
  if not settings then return nil, "--ca pkcs11ca: " .. name end
  settings.verify = options.verify_signatures
  local warning = hsm.warning(options)
  if warning then log.warn(warning) end
  -- What the workers of an earlier run said of their PIN.
  local lock = options.data_dir .. "/pkcs11.lock"
  os.remove(lock)
  local pem, wrong, code = engine.system.apart(function()
    return prove(options, settings, name)
  end, CONNECTION_HANGS)
  if code == "timeout" then wrong = settings.module .. ": " .. wrong end
  if not pem then return nil, "--ca pkcs11ca: " .. wrong end
  local certificates = engine.x509.parse(pem)
  return setmetatable({
    chain = certificates, embeds = true, pem = pem, settings = settings,
    name = name, lock = lock, expires = chain.expires(certificates),
  }, Hsm)
end

return M
