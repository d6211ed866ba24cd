--- Whom a policy trusts: issuers, by URL or glob, and audiences.

local engine = require("fulcio.engine")
local shelf = require("fulcio.shelf")
local words = require("fulcio.words")

local M = {}

local loopback = { localhost = true, ["127.0.0.1"] = true, ["::1"] = true,
                   ["[::1]"] = true }

-- Why this URL cannot be an issuer, nil when it can.
local function unfit(url, options)
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
  local why = unfit(text, options)
  if why then return nil, ('issuer "%s" %s'):format(text, why) end
  local pattern, message = engine.pattern.glob(text, "issuer")
  if not pattern then return nil, ('issuer "%s": %s'):format(text, message) end
  return { text = text, pattern = pattern }
end

local function exact(text, options)
  if text:find("*", 1, true) then
    return nil, ('issuer "%s" has a *: write glob("%s")'):format(text, text)
  end
  local why = unfit(text, options)
  if why then return nil, ('issuer "%s" %s'):format(text, why) end
  return { text = text }
end

-- One entry as { text, pattern? }, or nil and a message.
local function entry(value, options)
  if type(value) == "string" then return exact(value, options) end
  if words.of(value) == "glob" then return wildcard(value, options) end
  return nil, ("issuer: %s is neither a URL nor glob(…)")
    :format(words.show(value))
end

local function as_list(value)
  if type(value) == "table" and not value.__word then return value end
  return { value }
end

--- The issuers a policy names: a list of { text, pattern? }.
function M.issuers(value, report, options)
  local list = {}
  if value == nil then
    report({}, "issuer is missing: whose tokens is this policy for?")
    return list
  end
  if #as_list(value) == 0 then report({ "issuer" }, "issuer is empty") end
  for _, item in ipairs(as_list(value)) do
    local found, message = entry(item, options)
    if found then
      list[#list + 1] = found
    else
      report({ "issuer" }, message)
    end
  end
  return list
end

--- The audiences a policy accepts: a list of texts, never empty.
function M.audiences(value, report)
  if value == nil then
    report({}, 'audience is missing: audience = "sigstore" is usual')
    return {}
  end
  local list = as_list(value)
  if #list == 0 then report({ "audience" }, "audience is empty") end
  for _, audience in ipairs(list) do
    if type(audience) ~= "string" or audience == "" then
      report({ "audience" }, ("audience: %s must be a text, not empty")
        :format(words.show(audience)))
    end
  end
  return list
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
