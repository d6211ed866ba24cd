--- Whether Google would make a certificate now: asked with validateOnly,
--- seldom, since that costs quota.

local engine = require("fulcio.engine")
local log = require("fulcio.log")

-- Seconds for which an answer holds, and a bad one; and to wait for it.
local GOOD, BAD, PATIENCE = 60, 5, 4

local Probe = {}
Probe.__index = Probe

local function monotonic() return engine.system.monotonic() end

-- What is asked for, in nobody's name.
local function profile(self, seconds)
  self.key = self.key or assert(engine.pkey.generate("P-256"))
  local now = engine.system.now()
  return {
    key = self.key, not_before = now, not_after = now + seconds,
    key_usage = { "digital_signature" },
    extended_key_usage = { "code_signing" },
    san = { type = "uri", value = "https://readiness.invalid/fulcio" },
  }
end

--- A certificate was made: that is as good as an answer.
function Probe:passed()
  self.ok, self.message, self.again = true, nil, monotonic() + GOOD
end

-- 400: we are known and allowed, but a pool's policy may not like what is
-- in nobody's name.
local function judge(failed)
  if failed.http ~= 400 then return nil, failed.message end
  log.warn("Google CA Service would not make a certificate to try with", {
    error = failed.message, field = failed.field })
  return true
end

--- Whether it would; nil and why not. `create` is called with a profile
--- and a deadline, and returns nil and a failure where it fails.
function Probe:ask(create, seconds)
  if self.asking or self.again and monotonic() < self.again then
    return self.ok, self.message
  end
  self.asking = true
  local ran, answer, failed = pcall(create, profile(self, seconds),
                                    monotonic() + PATIENCE)
  self.asking = false
  if not ran then error(answer, 0) end
  local ok, message = answer and true, nil
  if not answer then ok, message = judge(failed) end
  self.ok, self.message = ok, message
  self.again = monotonic() + (ok and GOOD or BAD)
  return self.ok, self.message
end

local M = {}

--- One that has not been asked yet.
function M.new()
  return setmetatable({}, Probe)
end

return M
