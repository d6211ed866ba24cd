--- The openssl command, for specs: keys and requests of every odd kind.
local engine = require("fulcio.engine")

local M = {}

local directory

--- A new file name in a directory of this process.
function M.path(name)
  if not directory then
    directory = os.tmpname()
    os.remove(directory)
    assert(engine.system.mkdir(directory))
  end
  return directory .. "/" .. name
end

--- Removes what the specs of one file have left.
function M.clean()
  if not directory then return end
  for _, name in ipairs(engine.system.list(directory)) do
    os.remove(directory .. "/" .. name)
  end
  os.remove(directory)
  directory = nil
end

--- Writes a file that nobody else can read; its path.
function M.write(name, bytes, mode)
  local path = M.path(name)
  assert(engine.system.write(path, bytes, { mode = mode or 384 }))
  return path
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

--- Runs `openssl ARGUMENTS`, with %d standing for the directory; its output.
function M.run(arguments)
  M.path("")
  local command = arguments:gsub("%%d", function() return directory end)
  local pipe = io.popen("umask 077; openssl " .. command .. " 2>&1", "r")
  local output = pipe:read("*a")
  assert(pipe:close(), "openssl " .. command .. "\n" .. output)
  return output
end

--- A private key: the arguments of `openssl genpkey`. Its path.
function M.key(name, arguments)
  M.run("genpkey -quiet " .. arguments .. " -out %d/" .. name)
  return M.path(name)
end

--- The public key of a key file, PEM.
function M.public(path)
  return M.run("pkey -in " .. path .. " -pubout")
end

--- Signs with a key file: the arguments of `openssl dgst` or `pkeyutl`.
function M.sign(arguments, data)
  M.write("data", data)
  M.run(arguments .. " -out %d/signature %d/data")
  return M.read(M.path("signature"))
end

--- DER by hand.
function M.der(tag, content)
  local size = #content
  local length
  if size < 128 then
    length = string.char(size)
  elseif size < 256 then
    length = string.char(129, size)
  else
    length = string.char(130, math.floor(size / 256), size % 256)
  end
  return string.char(tag) .. length .. content
end

--- The elements that a constructed element holds.
function M.children(element)
  local function skip(at)
    local first, size = element:byte(at + 1), 0
    if first < 128 then return at + 2, first end
    for i = 1, first - 128 do size = size * 256 + element:byte(at + 1 + i) end
    return at + 2 + first - 128, size
  end
  local list, at = {}, skip(1)
  while at <= #element do
    local content, size = skip(at)
    list[#list + 1] = element:sub(at, content + size - 1)
    at = content + size
  end
  return list
end

--- Bytes from hexadecimal, blanks ignored.
function M.unhex(text)
  return (text:gsub("%s", ""):gsub("..", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

--- SubjectPublicKeyInfo of an RSA key from its numbers in hexadecimal.
function M.rsa_spki(modulus, exponent)
  local function integer(hex)
    local bytes = M.unhex(hex)
    if bytes:byte(1) >= 128 then bytes = "\0" .. bytes end
    return M.der(2, bytes)
  end
  local key = M.der(48, integer(modulus) .. integer(exponent))
  return M.der(48, M.unhex("300d06092a864886f70d0101010500")
    .. M.der(3, "\0" .. key))
end

return M
