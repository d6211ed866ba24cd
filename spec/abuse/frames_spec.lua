local deployment = require("spec.deployment")
local sockets = require("sockets")

local POLICY = [[
return {
  issuer = "ISSUER", audience = "sigstore", must = { email = present },
  san = { email = "{email}" },
}
]]

local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local CALL = "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate"

-- HTTP/2 frame header (RFC 9113 section 4.1): length, type, flags, stream.
local function frame(kind, flags, stream, payload)
  return string.pack(">I3 B B I4", #payload, kind, flags, stream) .. payload
end

-- Literal fields without indexing (RFC 7541 section 6.2.2).
local function field(name, value)
  return "\0" .. string.pack("s1 s1", name, value)
end

local HEADERS = field(":method", "POST") .. field(":scheme", "http")
  .. field(":path", CALL) .. field(":authority", "a")
  .. field("content-type", "application/grpc") .. field("te", "trailers")
local MESSAGE = string.pack(">B s4", 0, "\10\5\10\3a.b")

local GOOD = PREFACE .. frame(4, 0, 0, "") .. frame(1, 4, 1, HEADERS)
  .. frame(0, 1, 1, MESSAGE)

-- What an attack would be made of.
local floods = {
  frame(4, 0, 0, ""):rep(3000),                        -- SETTINGS
  frame(6, 0, 0, ("p"):rep(8)):rep(3000),              -- PING
  frame(2, 0, 1, "\0\0\0\0\1"):rep(3000),              -- PRIORITY
  frame(9, 0, 1, "x"):rep(3000),                       -- CONTINUATION alone
  frame(1, 0, 1, HEADERS) .. frame(9, 0, 1, "\0"):rep(3000),
  frame(1, 0, 1, HEADERS) .. frame(9, 0, 1, field("x", ("y"):rep(200)))
    :rep(500),
  frame(8, 0, 0, "\127\255\255\255"):rep(10),          -- WINDOW_UPDATE
  frame(0, 0, 7, ("x"):rep(1000)), frame(0, 0, 0, "x"),
  frame(7, 0, 0, ("\0"):rep(8)), frame(5, 4, 1, "\0\0\0\2" .. HEADERS),
  frame(4, 1, 0, "x"), frame(4, 0, 1, ""), frame(4, 0, 0, "12345"),
  frame(1, 5, 2, HEADERS), frame(1, 5, 0, HEADERS), frame(200, 255, 9, "x"),
  frame(1, 5, 1, "\255\255\255\255\255\255\255"), frame(1, 5, 1, "\128"),
  frame(1, 13, 1, "\255" .. HEADERS), ("\255"):rep(9),
}

-- Two thousand streams that are opened and given up at once.
local reset = {}
for i = 1, 2000 do
  reset[i] = frame(1, 5, 2 * i - 1, HEADERS)
    .. frame(3, 0, 2 * i - 1, "\0\0\0\8")
end
floods[#floods + 1] = table.concat(reset)

-- The same numbers on every run.
local state = 1
local function random(most)
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 65536 % most + 1
end

local function mutated(bytes)
  for _ = 1, random(4) do
    local at = #PREFACE + random(#bytes - #PREFACE)
    local kind = random(3)
    local rest = bytes:sub(at + (kind == 2 and 2 or 1))
    bytes = bytes:sub(1, at - (kind == 1 and 1 or 0))
      .. string.char(random(256) - 1) .. rest
  end
  return bytes
end

describe("a running CA that speaks HTTP/2", function()
  local scene, port

  setup(function()
    scene = deployment.start({ policies = { email = POLICY } })
    port = math.tointeger(scene.ports.grpc)
  end)

  teardown(function() scene:stop() end)

  local function send(bytes, pause)
    local fd = assert(sockets.connect(port))
    sockets.send(fd, bytes)
    local answer = sockets.receive(fd, pause)
    sockets.close(fd)
    return answer
  end

  -- Whether a call is answered: HEADERS on its stream that end it.
  local function serves()
    local answer, at = send(GOOD, 2000), 1
    while at + 9 <= #answer do
      local size, kind, flags, stream = string.unpack(">I3 B B I4", answer,
                                                      at)
      if kind == 1 and stream == 1 and flags % 2 == 1 then return true end
      at = at + 9 + size
    end
    return false
  end

  it("survives floods and frames that make no sense", function()
    local children = scene.ca:children()
    assert.is_true(serves())
    for _, bytes in ipairs(floods) do
      send(PREFACE .. frame(4, 0, 0, "") .. bytes, 50)
      send(GOOD .. bytes, 50)
    end
    assert.is_true(serves())
    assert.same(children, scene.ca:children())
  end)

  it("survives a thousand calls with bytes changed", function()
    local children = scene.ca:children()
    for _ = 1, 1000 do send(mutated(GOOD), 0) end
    assert.is_true(serves())
    assert.same(children, scene.ca:children())
  end)
end)
