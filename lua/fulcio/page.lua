--- GET /: a page for people who come upon the server with a browser.

local engine = require("fulcio.engine")

local PAGE = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fulcio</title>
<h1>A certificate authority for code signing</h1>
<p>It speaks the API of Sigstore's Fulcio, over HTTP and gRPC: who shows an
identity token of an issuer that it trusts gets a certificate of a few
minutes for a key.</p>
<ul>
<li><a href="openapi.json">The API</a>, as OpenAPI
<li><a href="api/v2/trustBundle">The trust bundle</a>: what verifiers trust
(<a href="api/v1/rootCert">as PEM</a>)
<li><a href="api/v2/configuration">The configuration</a>: whose tokens it
takes
<li><a href="healthz">Whether it could issue now</a>
<li>%s
</ul>
<p>fulcio %s</p>
</html>
]]

local HEADERS = {
  ["content-type"] = "text/html; charset=utf-8",
  ["content-security-policy"] = "default-src 'none'",
  ["x-content-type-options"] = "nosniff",
}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
                   ['"'] = "&quot;" }

local function escaped(text)
  return (text:gsub('[&<>"]', entities))
end

local function link(url)
  local text = escaped(url)
  return ('Its certificates are in the log <a href="%s">%s</a>')
    :format(text .. "/ct/v1/get-sth", text)
end

local function about_log(context)
  local options = context.options or {}
  if not context.log then return "Its certificates are in no log" end
  local url = options.ct_log_url
  if url and url:find("^https?://[^@]*$") then
    return link((url:gsub("/+$", "")))
  end
  return "Its certificates are in a log of its own"
end

local M = {}

--- GET /
function M.show(_, context)
  local headers = {}
  for name, value in pairs(HEADERS) do headers[name] = value end
  return { status = 200, headers = headers,
           body = PAGE:format(about_log(context), engine.version) }
end

return M
