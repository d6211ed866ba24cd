--- What people who mean harm put into policies and claims, by name.

local hostile = {}

--- Bodies of functions that would never end, or take all memory.
hostile.bodies = {
  "while true do end",
  "repeat until false",
  "goto a ::a:: goto a",
  "for i = 1, 9007199254740992 do end",
  "for i = 1, 2, 0.0000000001 do end",
  "local function f() return f() end return f()",
  "local function f() return f() + 1 end return f()",
  "local function f(...) return 1, f(...) end f(1)",
  "local f while true do local g = f f = function() return g end end",
  "while true do local a = { {}, {}, {}, {}, {} } end",
  "local t while true do t = { t, t, t, t, t, t, t } end",
  "local t = {} for i = 1, 9e9 do t[i] = {} end",
  "local t = {} for i = 1, 9e9 do t[i] = i end",
  "local t = {} for i = 1, 9e9 do t['k' .. i] = i end",
  "local s = 'x' while true do s = s .. s end",
  "local s = 'x' for _ = 1, 14 do s = s .. s end while true do s:lower() end",
  "local s = 'x' for _ = 1, 14 do s = s .. s end"
    .. " while true do local a = s:upper() .. s:sub(2) end",
  "local s = '\\0' for _ = 1, 14 do s = s .. s end"
    .. " local a, b = s .. 'a', s .. 'b' while a < b do end",
  "local s = 'x' for _ = 1, 14 do s = s .. s end"
    .. " local a, b = s .. 'a', s .. 'a' while a == b do end",
  "local s = '' while true do"
    .. " s = string.format('%99.99f%99.99f', 1e308, 1e308) end",
  "local s = string.format('%99d', 1)"
    .. " while true do s = string.format('%s%s', s, s) end",
  "local t = {} for i = 1, 16000 do t['k' .. i] = 1 end"
    .. " for i = 1, 16000 do t['k' .. i] = nil end"
    .. " while true do next(t) end",
  "local t, i = {}, 0 while true do i = i + 1 t[i .. ''] = 1"
    .. " t[(i - 8000) .. ''] = nil end",
  "for k in pairs({ 1 }) do for i = 1, 1e15 do end end",
  "local t = {} t[1] = t while t[1] do t = t[1] end",
  "while true do tostring(1e308) tonumber('1e308') end",
  "while true do select('#', 1, 2, 3) type(1) end",
  "local n = 0 while n < 1 / 0 do n = n + 1 end",
  "error('no')", "return ('x'):rep(1e9)", "return string.rep('x', 1e9)",
  "return ('x'):gsub('x', 'y')", "return setmetatable({}, {})",
  "return coroutine.wrap(function() end)", "return pcall(1)",
  "return load('while true do end')", "return require('os')",
  "return io.open('/etc/passwd')", "return os.exit(0)",
  "return getmetatable('').__index", "return debug.getregistry()",
  "return claims.a.b.c", "return claims()", "return nil",
  "string.upper = nil return 1", "return 1", "return 'true'",
  "claims.email = nil return claims.nothing.at.all",
}

--- Expressions that backtrack, and what they are tried on.
hostile.expressions = {
  { "(a+)+b", "a" }, { "(a|aa)+b", "a" }, { "(a|a?)+b", "a" },
  { "(.*a){20}b", "a" }, { "(a*)*b", "a" }, { "([a-z]+)*!", "a" },
  { "(?:a+)+[^a]", "a" }, { "a*a*a*a*a*a*a*a*b", "a" },
  { "(x+x+)+y", "x" }, { "(?=(a+))a*b\\1", "a" }, { "((a+)+)+c", "a" },
  { "(\\w+\\s?)+:", "a " }, { "^(([a-z])+.)+[A-Z]([a-z])+", "a" },
  { "(a{1,30}){1,30}b", "a" }, { "(?i)(A+)+B", "a" },
  { "(\\p{L}+)+\\d", "ä" }, { "(a+)(?1)*b", "a" }, { "(?R)?a+b", "a" },
  { "(([ab]*)*)*c", "ab" }, { "(.+)+\\x00", "a" },
}

--- Expressions for each text of a list, and the text, of which there are as
--- many as a token holds: each stays below what one text may cost.
hostile.lists = {
  { "(a+)+b", ("a"):rep(14) .. "b!" }, { "(a|a?)+b", ("a"):rep(9) .. "b!" },
  { "(.*a){4}b", ("a"):rep(40) .. "b!" }, { "(a+)+b", ("a"):rep(40) .. "b!" },
  { "(?:(?=\\p{L}*+1)|(?=\\p{L}*+2)|(?=\\p{L}*+3)|.)*!",
    "!" .. ("a"):rep(4000) },
}

--- Values of a claim that look like instructions to somebody.
hostile.texts = {
  "{sub}", "{{sub}}", "{{.sub}}", "{{ .email }}", "${sub}", "%1", "%0", "%s",
  "%n%n%n", "$(id)", "`id`", "#{1+1}", "<%= 1 %>", "{sub?}", "{", "}",
  "{{", "a{sub}@example.com}", "\\u0000", "../../etc/passwd",
  "'; DROP TABLE entries; --", "\u{202e}moc.elpmaxe@a", "a@example.com, b",
  "a@example.com\u{feff}", " a@example.com", "a@example.com ", "@", "a@",
  "<a@example.com>", "\"a b\"@example.com", "a@[127.0.0.1]",
}

local function nested(open, close, depth)
  return open:rep(depth) .. close:rep(depth)
end

-- Many members, the last one twice.
local function members(count)
  local list = {}
  for i = 1, count do list[i] = ('"m%d":%d'):format(i, i) end
  return table.concat(list, ",")
end

--- Members of a token's claims, as JSON text.
hostile.members = {
  '"a":' .. nested("[", "]", 33), '"a":' .. nested("[", "]", 5000),
  '"a":' .. ("["):rep(30000), '"a":' .. ('{"a":'):rep(40) .. "1"
    .. ("}"):rep(40), '"a":' .. ('{"a":'):rep(5000),
  '"a":' .. ('[{"a":'):rep(20) .. "1" .. ("}]"):rep(20),
  '"a":"\255"', '"a":"\192\128"', '"a":"\237\160\128"', '"a":"\244\144\128"',
  '"a":"\195"', '"\255":1', '"a":"\\ud800"', '"a":"\\udc00\\ud800"',
  '"a":"\\x41"', '"a":"\\u00"', '"a":"\n"', '"a":"\0"', '"a":\1',
  '"a":0x10', '"a":nan', '"a":Infinity', '"a":-', '"a":01', '"a":1.',
  '"a":.5', '"a":1e', '"a":+1', '"a":1e400', '"a":12345678901234567890',
  '"a":tru', '"a":True', '"a":nil', '"a":\'x\'', '"a":undefined', '"a":',
  '"a":1,', '"a" 1', 'a:1', '"a":1 "b":2', '"a":[1,]', '"a":{,}',
  '"a":1}{"b":2', '"a":1,"a":1', '"a":1,"\\u0061":2',
  '"a":{"b":1,"b":2}', '"a":/*x*/1', '"a":1//x',
  members(3000) .. ',"m3000":1', '"a":"' .. ("\\u0041"):rep(9000),
  '"a":' .. ("9"):rep(400), '"a":"\u{feff}',
  '"exp":1e30', '"exp":-1', '"exp":"9999999999s"', '"exp":{}', '"nbf":1e16',
  '"iss":{}', '"iss":["a"]', '"aud":{"sigstore":true}', '"aud":[["sigstore"]]',
  '"sub":{}', '"sub":5', '"email":{"a":1}', '"email":["a@example.com"]',
  '"email":5', '"email":true', '"email":null', '"email":""',
  '"email_verified":"yes"', '"email_verified":1', '"email_verified":[]',
}

return hostile
