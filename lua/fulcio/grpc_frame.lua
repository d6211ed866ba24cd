--- gRPC's Length-Prefixed-Message: five bytes before each message.
--
-- https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. What is
-- refused is refused in grpc-go's words.

local engine = require("fulcio.engine")
local status = require("fulcio.grpc_status")

local INTERNAL, UNIMPLEMENTED = status.INTERNAL, status.UNIMPLEMENTED
local RESOURCE_EXHAUSTED = status.RESOURCE_EXHAUSTED

local max_message = 256 * 1024

local M = {}

--- A message, not compressed, with its prefix.
function M.frame(bytes)
  local size = #bytes
  return string.char(0, math.floor(size / 16777216) % 256,
                     math.floor(size / 65536) % 256,
                     math.floor(size / 256) % 256, size % 256) .. bytes
end

--- How the messages of a request that say so are compressed; nil: not.
--- Fulcio has gzip too. Ours are not compressed, as a server may choose.
function M.encoding_of(request)
  local name = request.headers["grpc-encoding"]
  if name ~= "" and name ~= "identity" then return name end
end

-- What is unacceptable of a message by its first byte: code, text; nil:
-- nothing.
local function check_flag(flag, encoding)
  if encoding and encoding ~= "gzip" then
    return UNIMPLEMENTED, ("grpc: Decompressor is not installed for "
      .. 'grpc-encoding "%s"'):format(encoding)
  elseif flag > 1 then
    return INTERNAL,
      ("grpc: received unexpected payload format %d"):format(flag)
  elseif flag == 1 and not encoding then
    return INTERNAL,
      "grpc: compressed flag set with identity or empty encoding"
  end
end

local function decompress(bytes, rest)
  local whole, message, code = engine.bytes.gunzip(bytes, max_message)
  if whole then return whole, rest end
  if code == "too_large" then
    return nil, RESOURCE_EXHAUSTED, ("grpc: received message after "
      .. "decompression larger than max %d"):format(max_message)
  end
  return nil, INTERNAL, "grpc: failed to decompress the message: " .. message
end

--- Takes one message off the front of `buffer`: message and the rest; nil
--- when more bytes are needed; nil, code, text when it is not acceptable.
function M.unframe(buffer, encoding)
  if #buffer < 5 then return nil end
  local flag, a, b, c, d = buffer:byte(1, 5)
  local code, text = check_flag(flag, encoding)
  if code then return nil, code, text end
  local size = ((a * 256 + b) * 256 + c) * 256 + d
  if size > max_message then
    return nil, RESOURCE_EXHAUSTED,
      ("grpc: received message larger than max (%d vs. %d)")
        :format(size, max_message)
  end
  if #buffer < 5 + size then return nil end
  local bytes, rest = buffer:sub(6, 5 + size), buffer:sub(6 + size)
  if flag == 1 then return decompress(bytes, rest) end
  return bytes, rest
end

return M
