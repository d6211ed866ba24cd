--- Bytes on a TCP connection, sent as they are.
local wire = {}

-- A file with the bytes, which outlives this function.
local function stored(bytes)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

--- Sends the parts, one after the other with a pause between them. Returns
--- a function that waits for all that comes until the server closes (at
--- most 10 seconds).
function wire.start(port, ...)
  local paths, steps = {}, {}
  for i, bytes in ipairs({ ... }) do
    paths[i] = stored(bytes)
    steps[i] = "cat " .. paths[i] .. " >&3"
  end
  local pipe = assert(io.popen(([[exec 2>/dev/null bash -c '
    exec 3<>/dev/tcp/127.0.0.1/%d || exit 1
    trap "" PIPE
    %s
    timeout 10 cat <&3']]):format(port, table.concat(steps,
    "; sleep 0.1; "))))
  return function()
    local answer = pipe:read("a")
    pipe:close()
    for _, path in ipairs(paths) do os.remove(path) end
    return answer
  end
end

--- Sends as `start` does, and waits.
function wire.send(port, ...)
  return wire.start(port, ...)()
end

--- A whole GET whose answer ends the connection.
function wire.get(path)
  return ("GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    :format(path)
end

--- The status codes of all answers in a text, in order.
function wire.statuses(answer)
  local list = {}
  for status in answer:gmatch("HTTP/1%.1 (%d%d%d) ") do
    list[#list + 1] = tonumber(status)
  end
  return list
end

return wire
