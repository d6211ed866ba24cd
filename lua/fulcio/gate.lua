--- Lets so many through at once, and the others in the order they came.

local engine = require("fulcio.engine")

local Gate = {}
Gate.__index = Gate

local function wait(turn, seconds)
  local clock = engine.system.monotonic
  local deadline = clock() + seconds
  while not turn.granted do
    local left = deadline - clock()
    if left <= 0 then break end
    turn.signal:wait(left)
  end
  turn.gone = not turn.granted
  return turn.granted
end

--- Goes through, at once or in turn; false when that takes longer than
--- `seconds`. Where nothing can wait, all go through.
function Gate:enter(seconds)
  if self.inside < self.most or not engine.server then
    self.inside = self.inside + 1
    return true
  end
  local turn = { granted = false, signal = engine.server.signal() }
  self.last = self.last + 1
  self.turns[self.last] = turn
  return wait(turn, seconds)
end

--- Leaves: the next one's turn, if any still waits.
function Gate:leave()
  while self.first <= self.last do
    local turn = self.turns[self.first]
    self.turns[self.first] = nil
    self.first = self.first + 1
    if not turn.gone then
      turn.granted = true
      turn.signal:wake()
      return
    end
  end
  self.inside = self.inside - 1
end

local M = {}

--- A gate for `most` at once.
function M.new(most)
  return setmetatable({ most = most, inside = 0, first = 1, last = 0,
                        turns = {} }, Gate)
end

return M
