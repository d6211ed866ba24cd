--- Output of `make test`: a line a file, each failure in full, one total.
local busted = require("busted")
local new_handler = require("busted.outputHandlers.base")

local function indented(text, most)
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

local function counted(handler)
  return {
    passed = handler.successesCount,
    failed = handler.failuresCount + handler.errorsCount,
    skipped = handler.pendingsCount,
    clock = os.time(),
  }
end

local function file_line(name, before, now)
  local text = ("%-36s %4d passed"):format(name, now.passed - before.passed)
  for _, word in ipairs({ "failed", "skipped" }) do
    local n = now[word] - before[word]
    if n > 0 then text = ("%s, %d %s"):format(text, n, word) end
  end
  local seconds = now.clock - before.clock
  if seconds > 4 then text = ("%s, %d s"):format(text, seconds) end
  return text
end

local function failure(record)
  local message = record.message
  if type(message) == "table" then
    message = message.message or require("pl.pretty").write(message)
  end
  return ("FAILED %s\n  %s\n%s"):format(place(record), record.name,
    indented(message, 60))
end

-- A line a reason: "skipped: REASON: NAME and 12 more".
local function skipped(records)
  local lines, by_reason = {}, {}
  for _, record in ipairs(records) do
    local reason = tostring(record.message or "pending")
      :gsub("^%S+:%d+: ", "")
    local line = by_reason[reason]
    if not line then
      line = { reason = reason, name = record.name or place(record), more = 0 }
      by_reason[reason], lines[#lines + 1] = line, line
    else
      line.more = line.more + 1
    end
  end
  for i, line in ipairs(lines) do
    local more = line.more > 0 and (" and %d more"):format(line.more) or ""
    lines[i] = ("skipped: %s: %s%s"):format(line.reason, line.name, more)
  end
  return lines
end

-- busted goes on with a subscriber's neighbours when it returns nil, true.
local function on(event, act)
  busted.subscribe(event, function(...)
    act(...)
    io.stdout:flush()
    return nil, true
  end)
end

return function()
  local handler = new_handler()
  local before

  local function failed(element, parent, message, debug)
    print(failure(handler.format(element, parent, message, debug)))
  end

  on({ "file", "start" }, function() before = counted(handler) end)
  on({ "file", "end" }, function(file)
    print(file_line(file.name, before, counted(handler)))
  end)
  on({ "failure" }, failed)
  on({ "error" }, failed)
  on({ "suite", "end" }, function()
    for _, line in ipairs(skipped(handler.pendings)) do print(line) end
    local total = counted(handler)
    print(("%d passed, %d failed"):format(total.passed, total.failed))
  end)
  return handler
end
