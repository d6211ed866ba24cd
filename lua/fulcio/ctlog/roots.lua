--- The roots a log accepts: those it is given now, and every one before.

local engine = require("fulcio.engine")
local log = require("fulcio.log")

-- Seconds after which roots that we could not learn are tried again.
local PAUSE = 1

local Roots = {}
Roots.__index = Roots

local function add(self, root)
  if self.by_der[root.der] then return end
  self.by_der[root.der] = root
  local same = self.by_subject[root.subject_der] or {}
  same[#same + 1] = root
  self.by_subject[root.subject_der] = same
  self.ders[#self.ders + 1] = root.der
end

-- The certificates of PEM texts that are not accepted yet.
local function unknown(self, pems)
  local new = {}
  for _, pem in ipairs(pems) do
    local parsed, message = engine.x509.parse(pem)
    if not parsed then return nil, "root certificate: " .. message end
    for _, root in ipairs(parsed) do
      if not self.by_der[root.der] then new[#new + 1] = root end
    end
  end
  return new
end

--- Accepts these roots (PEM texts) from now on, and on every later start.
function Roots:learn(pems)
  local new, message = unknown(self, pems)
  if not new then return nil, message end
  if #new == 0 then return true end
  local ders = {}
  for i = 1, #new do ders[i] = new[i].der end
  local ok
  ok, message = self.ledger:accept(ders)
  if not ok then return nil, message end
  for i = 1, #new do
    add(self, new[i])
    log.info("log accepts a root", { subject = new[i].subject })
  end
  return true
end

--- Asks whoever gives us roots for new ones. Each time: the CA's workers
--- have a new chain at once, and what they send must not be refused.
function Roots:refresh()
  local given = self.source and self.source()
  if given then self.given, self.next_time = given, 0 end
  local now = engine.system.monotonic()
  if not self.given or now < self.next_time then return end
  local ok, message = self:learn(self.given)
  if ok then
    self.given = nil
  else
    self.next_time = now + PAUSE
    log.error("log cannot accept roots", { error = message })
  end
end

--- Whether this certificate is a root we accept.
function Roots:accept(der)
  if not self.by_der[der] then self:refresh() end
  return self.by_der[der] ~= nil
end

local function signer(self, der, issuer_der)
  for _, root in ipairs(self.by_subject[issuer_der] or {}) do
    if root:signed(der) then return root end
  end
end

--- The accepted root that signed a certificate, or nil.
function Roots:above(der, issuer_der)
  local root = signer(self, der, issuer_der)
  if root then return root end
  self:refresh()
  return signer(self, der, issuer_der)
end

local M = {}

--- The roots a ledger remembers and those of `source`: PEM texts, or a
--- function that returns them, asked again whenever an unknown root comes: it
--- says nil, and cheaply, while they are the same.
function M.open(ledger, source)
  local roots = setmetatable({ ledger = ledger, by_der = {}, by_subject = {},
                               ders = {} }, Roots)
  local stored, message = ledger:roots()
  if not stored then return nil, message end
  for _, der in ipairs(stored) do
    local parsed
    parsed, message = engine.x509.parse(der)
    if not parsed then return nil, "stored root: " .. message end
    add(roots, parsed[1])
  end
  local current = source or {}
  if type(source) == "function" then
    roots.source, current = source, source()
  end
  local ok
  ok, message = roots:learn(current)
  if not ok then return nil, message end
  return roots
end

return M
