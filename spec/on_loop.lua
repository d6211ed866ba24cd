--- Runs a function in a coroutine on this process's loop, which then ends;
--- throws what it throws.
local server = require("fulcio.engine").server

return function(run)
  local ok, trace
  server.spawn(function()
    ok, trace = xpcall(run, debug.traceback)
    server.stop()
  end)
  server.run()
  if not ok then error(trace, 0) end
end
