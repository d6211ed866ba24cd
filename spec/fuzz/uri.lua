--- Fuzzing: URIs. The first line is parsed, the second joined to it.

local engine = require("fulcio.engine")

local uri = engine.uri

return function(bytes)
  local line = bytes:find("\n", 1, true)
  local base = line and bytes:sub(1, line - 1) or bytes
  local path = line and bytes:sub(line + 1) or ""
  local parsed = uri.parse(base)
  -- Go prints the path "//a" of no scheme and no host as a host.
  if parsed and parsed.scheme then
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
