--- A listening socket, which a process that is ending may still hold.

local engine = require("fulcio.engine")

-- In that time, in seconds, a process that was killed has let go.
local PATIENCE = 2

local M = {}

--- As engine.server.listen, but waits a little for one that is in use.
function M.listen(where)
  local deadline = engine.system.monotonic() + PATIENCE
  while true do
    local listener, message, code = engine.server.listen(where)
    if listener then return listener end
    if code ~= "in_use" or engine.system.monotonic() > deadline then
      return nil, message, code
    end
    engine.server.sleep(0.05)
  end
end

return M
