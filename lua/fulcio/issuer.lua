--- Whom a policy trusts: issuers, by URL or glob, and audiences.

local engine = require("fulcio.engine")
local says = require("fulcio.says")
local shelf = require("fulcio.shelf")
local words = require("fulcio.words")

-- One policy may be for so many pairs of issuer and audience; a glob is
-- tried for each token whose issuer no policy names.
local PAIRS, GLOBS = 10000, 100

local M = {}

local loopback = { localhost = true, ["127.0.0.1"] = true, ["::1"] = true,
                   ["[::1]"] = true }

-- Why this URL cannot be an issuer, nil when it can.
local function unfit(url, options)
  if not engine.bytes.is_printable(url) then
    return "is not a URL: https://HOST/…"
  end
  local uri = engine.uri.parse((url:gsub("%*", "x")))
  if not uri or not uri.scheme or (uri.host or "") == "" then
    return "is not a URL: https://HOST/…"
  end
  if uri.query or uri.fragment or uri.user then
    return "must have neither query, fragment nor user"
  end
  if uri.scheme == "https" then return nil end
  if uri.scheme ~= "http" then return "must be https://" end
  if not loopback[uri.host] then
    return "must be https:// (http:// is for loopback alone)"
  end
  if not options.development and not options.loopback then
    return "is http://: allowed with --development, or when every"
      .. " listener is on loopback"
  end
end

local function wildcard(value, options)
  local text = value[1]
  if value.count ~= 1 or type(text) ~= "string" then
    return nil, 'issuer: glob takes one text: glob("https://HOST/*")'
  end
  local why, shown = unfit(text, options), words.show(text)
  if why then return nil, ("issuer %s %s"):format(shown, why) end
  local pattern, message = engine.pattern.glob(text, "issuer")
  if not pattern then return nil, ("issuer %s: %s"):format(shown, message) end
  return { text = text, pattern = pattern }
end

local function exact(text, options)
  if text:find("*", 1, true) then
    local shown = words.show(text)
    return nil, ("issuer %s has a *: write glob(%s)"):format(shown, shown)
  end
  local why = unfit(text, options)
  if why then return nil, ("issuer %s %s"):format(words.show(text), why) end
  return { text = text }
end

-- One entry as { text, pattern? }, or nil and a message.
local function entry(value, options)
  if type(value) == "string" then return exact(value, options) end
  if words.of(value) == "glob" then return wildcard(value, options) end
  return nil, ("issuer: %s is neither a URL nor glob(…)")
    :format(words.show(value))
end

-- A field as a list that is not empty; nil after a report.
local function listed(value, field, report)
  local list = says.list(value, field, report)
  if list and #list > 0 then return list end
  if list then report({ field }, field .. " is empty") end
end

local function has_many_globs(list, report)
  local globs = 0
  for _, item in ipairs(list) do
    if words.of(item) == "glob" then globs = globs + 1 end
  end
  if globs <= GLOBS then return false end
  report({ "issuer" }, ("issuer has %d globs: at most %d are allowed")
    :format(globs, GLOBS))
  return true
end

--- The issuers a policy names: a list of { text, pattern? }.
function M.issuers(value, report, options)
  local found = {}
  if value == nil then
    report({}, "issuer is missing: whose tokens is this policy for?")
    return found
  end
  local list = listed(value, "issuer", report)
  if not list or has_many_globs(list, report) then return found end
  for _, item in ipairs(list) do
    local one, message = entry(item, options)
    if one then
      found[#found + 1] = one
    else
      report({ "issuer" }, message)
    end
  end
  return found
end

--- The audiences a policy accepts: a list of texts, never empty.
function M.audiences(value, report)
  local found = {}
  if value == nil then
    report({}, 'audience is missing: audience = "sigstore" is usual')
    return found
  end
  for _, audience in ipairs(listed(value, "audience", report) or {}) do
    if type(audience) == "string" and audience ~= ""
       and engine.bytes.is_printable(audience) then
      found[#found + 1] = audience
    else
      report({ "audience" }, ("audience: %s must be a text that prints, not"
        .. " empty"):format(words.show(audience)))
    end
  end
  return found
end

local function length(value)
  return type(value) == "table" and not value.__word and #value or 1
end

--- Whether a policy's data names so many issuers and audiences that their
--- pairs are too many; then it is reported.
function M.too_many(data, report)
  local issuers, audiences = length(data.issuer), length(data.audience)
  if issuers * audiences <= PAIRS then return false end
  report({ issuers > 1 and "issuer" or "audience" },
    ("issuer and audience make %d pairs: at most %d are allowed")
    :format(issuers * audiences, PAIRS))
  return true
end

--- Where a policy's `ca_file` is: absolute, or beside the policy in `dir`.
function M.ca_file(file, dir)
  if not file or file:sub(1, 1) == "/" or not dir then return file end
  return dir .. "/" .. file
end

-- What is wrong with a file of certificates; nil when nothing is.
local function bad_certificates(path)
  local found = engine.system.stat(path)
  if found and found.kind ~= "file" then return path .. ": is no file" end
  local text, message = shelf.read(path)
  if not text then return message end
  local parsed, wrong = engine.x509.parse(text)
  return not parsed and ("%s: %s"):format(path, wrong) or nil
end

--- Reports a `ca_file` that has no certificates in it.
function M.check_ca_file(path, report)
  local message = bad_certificates(path)
  if message then report({ "ca_file" }, "ca_file: " .. message) end
end

--- Whether an entry of `issuers` means this issuer.
function M.fits(found, iss)
  if found.pattern then return found.pattern:match(iss) == true end
  return found.text == iss
end

return M
