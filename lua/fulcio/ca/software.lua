--- A CA whose key is in this process's memory; ephemeral.lua and file.lua
--- open one.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")

local Software = {}
Software.__index = Software

--- Begins in a worker, which has the key already.
function Software:start()
  return self
end

--- Signs a TBSCertificate: DER; nil, message, code.
function Software:sign(tbs)
  return engine.draft.sign(tbs, self.key)
end

--- Every chain that a verifier may need.
function Software:bundle()
  return { self.chain }
end

--- Whether it can sign what lives for `seconds`; nil and why not.
function Software:ready(seconds)
  if not self.key then return nil, "the CA's key is closed" end
  if engine.system.now() + seconds <= self.expires then return true end
  return nil, "the CA's chain ends "
    .. os.date("!%Y-%m-%dT%H:%M:%SZ", self.expires)
end

--- Lets go of the key, which is wiped: for a process that must not have it.
function Software:close()
  self.key = nil
  collectgarbage()
  collectgarbage()
end

local M = {}

--- A CA of a checked chain, the signing certificate first, and its key.
function M.new(certificates, key)
  return setmetatable({
    chain = certificates,
    embeds = true,
    expires = chain.expires(certificates),
    key = key,
  }, Software)
end

return M
