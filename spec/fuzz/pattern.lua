--- Fuzzing: patterns. The first line is the pattern, the rest the subject.

local engine = require("fulcio.engine")

local pattern = engine.pattern

local function try(compiled, subject)
  if not compiled then return end
  local matches, message, code = compiled:match(subject)
  assert(matches ~= nil or (message and code))
  return matches
end

return function(bytes)
  local line = bytes:find("\n", 1, true)
  local text = line and bytes:sub(1, line - 1) or bytes
  local subject = line and bytes:sub(line + 1) or ""
  try(pattern.compile(text), subject)
  local claim = try(pattern.glob(text, "claim"), subject)
  try(pattern.glob(text, "issuer"), subject)
  if not text:find("*", 1, true) then
    assert(not claim or subject == text, "a glob without * took another")
  end
  if claim then
    assert(not ("/" .. subject .. "/"):find("/../", 1, true))
    assert(not subject:find("\0", 1, true))
  end
end
