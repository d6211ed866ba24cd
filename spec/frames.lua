--- HTTP/2 as bytes (RFC 9113): frames to send, and those that came.
local frames = {}

local names = { [0] = "DATA", "HEADERS", "PRIORITY", "RST_STREAM",
  "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
  "CONTINUATION" }
local types = {}
for number, name in pairs(names) do types[name] = number end

frames.END_STREAM, frames.ACK, frames.END_HEADERS, frames.PADDED = 1, 1, 4, 8

--- One frame.
function frames.frame(name, flags, id, payload)
  payload = payload or ""
  return string.pack(">I3BBI4", #payload, types[name], flags, id) .. payload
end

local frame = frames.frame

--- What a connection begins with.
frames.preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. frame("SETTINGS", 0, 0)

-- A string of HPACK (RFC 7541 section 5.2), not compressed.
local function text(value)
  local size = #value
  if size < 127 then return string.char(size) .. value end
  local out = { "\127" }
  size = size - 127
  while size >= 128 do
    out[#out + 1] = string.char(size % 128 + 128)
    size = size // 128
  end
  return table.concat(out) .. string.char(size) .. value
end

--- A field that no table keeps (section 6.2.2).
function frames.field(name, value)
  return "\0" .. text(name) .. text(value)
end

--- The header list of a request, and further fields.
function frames.request(method, path, more)
  local out = frames.field(":method", method)
    .. frames.field(":scheme", "http") .. frames.field(":path", path)
    .. frames.field(":authority", "a")
  for name, value in pairs(more or {}) do
    out = out .. frames.field(name, value)
  end
  return out
end

--- A whole request without a body.
function frames.get(id, path, more)
  return frame("HEADERS", frames.END_HEADERS + frames.END_STREAM, id,
               frames.request("GET", path, more))
end

--- The beginning of one with a body.
function frames.post(id, path, more)
  return frame("HEADERS", frames.END_HEADERS, id,
               frames.request("POST", path, more))
end

--- Says that nothing more is asked: the server closes after its answers.
frames.goodbye = frame("GOAWAY", 0, 0, ("\0"):rep(8))

-- A status as the first field of an answer, where no table was changed yet.
local indexed = { [0x88] = 200, [0x89] = 204, [0x8a] = 206, [0x8b] = 304,
  [0x8c] = 400, [0x8d] = 404, [0x8e] = 500 }

local function status(payload)
  return indexed[payload:byte()] or tonumber(payload:match("^H\3(%d%d%d)"))
end

--- The frames in what a server has sent, in order: { type, flags, id,
--- payload }, and `error` and `status` where there is one. What is cut short
--- is left out.
function frames.parse(bytes)
  local list, at = {}, 1
  while #bytes - at + 1 >= 9 do
    local size, kind, flags, id = string.unpack(">I3BBI4", bytes, at)
    if at + 8 + size > #bytes then break end
    local one = { type = names[kind] or kind, flags = flags, id = id,
                  payload = bytes:sub(at + 9, at + 8 + size) }
    if one.type == "RST_STREAM" then
      one.error = string.unpack(">I4", one.payload)
    elseif one.type == "GOAWAY" then
      one.last, one.error = string.unpack(">I4I4", one.payload)
    elseif one.type == "HEADERS" then
      one.status = status(one.payload)
    end
    list[#list + 1] = one
    at = at + 9 + size
  end
  return list
end

--- Of these, those of a type, and of a stream if `id` is given.
function frames.only(list, name, id)
  local found = {}
  for _, one in ipairs(list) do
    if one.type == name and (not id or one.id == id) then
      found[#found + 1] = one
    end
  end
  return found
end

--- The body that came on a stream.
function frames.body(list, id)
  local parts = {}
  for _, one in ipairs(frames.only(list, "DATA", id)) do
    parts[#parts + 1] = one.payload
  end
  return table.concat(parts)
end

return frames
