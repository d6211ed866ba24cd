--- Fuzzing: patterns. The first line is the pattern, the rest the subject.
--- A glob takes what a plain matcher takes that knows nothing of PCRE2.

local engine = require("fulcio.engine")

local pattern = engine.pattern

local function try(compiled, subject)
  if not compiled then return end
  local matches, message, code = compiled:match(subject)
  assert(matches ~= nil or (message and code))
  return matches
end

-- The places in `subject` that `glob` may have reached, star by star.
local function reach(glob, subject)
  local at, i = { true }, 1
  while i <= #glob do
    local star = glob:match("^%*+", i)
    local after = {}
    for place = 1, #subject + 1 do
      local byte = subject:sub(place, place)
      if not star then
        if at[place] and byte == glob:sub(i, i) then after[place + 1] = true end
      else
        after[place] = after[place] or at[place]
        if after[place] and byte ~= "" and (#star > 1 or byte ~= "/") then
          after[place + 1] = true
        end
      end
    end
    at, i = after, i + #(star or "x")
  end
  return at[#subject + 1] == true
end

local function is_plain(text)
  for segment in (text .. "/"):gmatch("([^/]*)/") do
    if segment == "." or segment == ".." then return false end
  end
  return not text:find("[%c]") and not text:find("\194[\128-\159]")
end

local function check_glob(glob, subject, claim)
  if claim == nil or #glob * #subject > 40000 then return end
  if not engine.bytes.is_utf8(subject) then return assert(not claim) end
  assert(claim == (is_plain(subject) and reach(glob, subject)),
         "a glob takes something else")
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
  check_glob(text, subject, claim)
  if claim then
    assert(not ("/" .. subject .. "/"):find("/../", 1, true))
    assert(not subject:find("\0", 1, true))
  end
end
