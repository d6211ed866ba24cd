--- Keeps to a rate: who comes too soon waits, or is told when to come back.

local engine = require("fulcio.engine")

local Pacing = {}
Pacing.__index = Pacing

--- Takes a turn: seconds to wait until it is there; nil and the seconds
--- when that would be more than `most`.
function Pacing:take(most)
  local now = self.clock()
  self.level = math.min(self.most,
    self.level + (now - self.at) * self.rate)
  self.at = now
  local wait = self.level >= 1 and 0 or (1 - self.level) / self.rate
  if wait > most then return nil, wait end
  self.level = self.level - 1
  return wait
end

local M = {}

--- So many turns a second, as many at once; `clock` in seconds.
function M.new(rate, clock)
  clock = clock or engine.system.monotonic
  local most = math.max(1, rate)
  return setmetatable({ rate = rate, level = most, most = most,
                        at = clock(), clock = clock }, Pacing)
end

return M
