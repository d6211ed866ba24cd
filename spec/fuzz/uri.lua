--- Fuzzing: URIs. The first line is parsed, the second joined to it.

local engine = require("fulcio.engine")
local san = require("fulcio.san")

local uri = engine.uri

-- What a certificate says is read as it was meant.
local function named(text, parsed)
  local name = san.name("uri", text)
  local again = name and uri.parse(name.value)
  assert(not again or again.host == parsed.host, "another host in the name")
end

return function(bytes)
  local line = bytes:find("\n", 1, true)
  local base = line and bytes:sub(1, line - 1) or bytes
  local path = line and bytes:sub(line + 1) or ""
  local parsed = uri.parse(base)
  if parsed then named(base, parsed) end
  -- Go prints the path "//a" of no host as a host.
  if parsed and parsed.host then
    local again = uri.parse(parsed.text)
    assert(not again or again.host == parsed.host, "the host changes")
    assert(not again or again.scheme == parsed.scheme)
    assert(not again or again.text == parsed.text, "printed otherwise")
  end
  local joined = uri.join(base, path)
  if joined and parsed and parsed.host then
    local again = uri.parse(joined)
    assert(not again or again.host == parsed.host, "a path moves the host")
  end
  local domain = uri.spiffe(base)
  if domain then
    assert(parsed and parsed.scheme == "spiffe" and parsed.host == domain)
  end
end
