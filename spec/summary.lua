--- Output of `make test`: a line a file, each failure in full, one total.

local function first_lines(text, most)
  local lines = {}
  for line in tostring(text):gmatch("[^\n]+") do
    lines[#lines + 1] = "    " .. line
    if #lines == most then break end
  end
  return table.concat(lines, "\n")
end

local function place(record)
  local trace = record.element.trace or record.trace
  if not (trace and trace.short_src) then return record.name or "?" end
  return trace.short_src .. ":" .. tostring(trace.currentline)
end

return function()
  local busted = require("busted")
  local handler = require("busted.outputHandlers.base")()
  local before = {}

  local function counted()
    return {
      passed = handler.successesCount,
      failed = handler.failuresCount + handler.errorsCount,
      skipped = handler.pendingsCount,
    }
  end

  local function file_start()
    before = counted()
    before.clock = os.time()
    return nil, true
  end

  local function file_end(file)
    local now = counted()
    local text = ("%-36s %4d passed"):format(file.name,
      now.passed - before.passed)
    for _, word in ipairs({ "failed", "skipped" }) do
      local n = now[word] - before[word]
      if n > 0 then text = ("%s, %d %s"):format(text, n, word) end
    end
    local seconds = os.time() - before.clock
    if seconds > 4 then text = ("%s, %d s"):format(text, seconds) end
    print(text)
    io.stdout:flush()
    return nil, true
  end

  local function failed(element, parent, message, debug)
    local record = handler.format(element, parent, message, debug)
    print(("FAILED %s\n  %s"):format(place(record), record.name))
    local text = message
    if type(text) == "table" then
      text = text.message or require("pl.pretty").write(text)
    end
    print(first_lines(text, 60))
    return nil, true
  end

  local function suite_end()
    for _, record in ipairs(handler.pendings) do
      local reason = tostring(record.message or "pending")
      print(("skipped: %s: %s"):format(record.name or place(record),
        (reason:gsub("^%S+:%d+: ", ""))))
    end
    local now = counted()
    print(("%d passed, %d failed"):format(now.passed, now.failed))
    io.stdout:flush()
    return nil, true
  end

  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, file_end)
  busted.subscribe({ "failure" }, failed)
  busted.subscribe({ "error" }, failed)
  busted.subscribe({ "suite", "end" }, suite_end)
  return handler
end
