--- The rules that belong to a kind of name, whatever a policy says.
---
--- email: ASCII, the form of an address, byte for byte. uri: parses, and is
--- written as Go writes it again. username: NAME!DOMAIN, where NAME has no
--- "!" and is not an e-mail address.

local engine = require("fulcio.engine")
local oids = require("fulcio.oids")

-- The form that Fulcio accepts (govalidator's IsEmail), with no two ways to
-- read the same text, so that matching stays short. Of a quoted name it takes
-- one mark of quotation before each character.
local WIDE = [[\x{A0}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFEF}]]
local ATOM = [[[-a-zA-Z0-9!#$%&'*+/=?^_`{|}~]] .. WIDE .. "]+"
local SPACE = [[(?:(?:[ \t]*\r\n)?[ \t]+)?]]
local QUOTED = '(?:"' .. SPACE
  .. [[(?:\([\x01-\x09\x0b-\x7f]|[\x01-\x08\x0b\x0c\x0e-\x1f\x21\x23-\x5b]]
  .. [[\x5d-\x7f]] .. WIDE .. "]))*" .. SPACE .. '"'
local FIRST, LETTER = "[a-zA-Z0-9" .. WIDE .. "]", "[a-zA-Z" .. WIDE .. "]"
local INNER = "[-a-zA-Z0-9._~" .. WIDE .. "]*"
local LAST = "[-a-zA-Z0-9_~" .. WIDE .. "]*"
local EMAIL = "(?:" .. ATOM .. [[(?:\.]] .. ATOM .. ")*|" .. QUOTED .. ")@"
  .. FIRST .. "(?:" .. INNER .. FIRST .. [[)?\.]]
  .. LETTER .. "(?:" .. LAST .. LETTER .. [[)?\.?]]

local email_form = assert(engine.pattern.compile(EMAIL))

local is_ascii = engine.bytes.is_ascii

local M = {}

--- Whether a text has the form of an e-mail address; nil when that cannot
--- be said within the pattern's limits.
function M.is_email(text)
  return (email_form:match(text))
end

local rules = {}

function rules.email(text)
  if not is_ascii(text) then
    if not M.is_email(text) then return nil, "email address is not valid" end
    return nil, ('x509: "%s" cannot be encoded as an IA5String')
      :format(text), true
  end
  if not M.is_email(text) then return nil, "email address is not valid" end
  return { type = "email", value = text }
end

-- Go would print "https:/%2Fa b" as "https://a%20b": a path becomes a host.
local function moves(uri)
  if uri.host then return false end
  local again = engine.uri.parse(uri.text)
  return not again or again.host ~= nil
end

-- A host whose labels are empty or not ASCII: Go reads no certificate that
-- has it.
local function is_domain(uri)
  local host = (uri.host or "") .. (uri.port and ":" .. uri.port or "")
  return host == "" or host:find("^[\33-\126]+$") ~= nil
    and not ("." .. host .. "."):find("..", 1, true)
end

function rules.uri(text)
  local uri, message = engine.uri.parse(text)
  if not uri then return nil, message end
  if moves(uri) then return nil, "a URI's path cannot begin with //" end
  if not is_ascii(uri.text) then
    return nil, ('x509: "%s" cannot be encoded as an IA5String')
      :format(uri.text), true
  end
  if not is_domain(uri) then
    return nil, ('x509: cannot parse URI "%s": invalid domain')
      :format(uri.text), true
  end
  return { type = "uri", value = uri.text }
end

function rules.username(text)
  local name, domain = text:match("^(.*)!([^!]+)$")
  if not name or name == "" then
    return nil, "a username is NAME!DOMAIN"
  end
  if name:find("!", 1, true) then
    return nil, "a username cannot contain !"
  end
  if M.is_email(name) ~= false then
    return nil, "a username cannot be an e-mail address"
  end
  return { type = "other", oid = oids.username, value = name .. "!" .. domain }
end

--- The subjectAltName of a kind from its text: { type, value, oid }; nil
--- and the reason; and true when the reason is how X.509 writes names.
function M.name(kind, text)
  return rules[kind](text)
end

return M
