--- Configurations of Fulcio's, as JSON.
local cjson = require("cjson")

local M = {}

--- One issuer, https://i.example.com unless it says otherwise; `more` of the
--- configuration.
function M.issuer(issuer, more)
  local whole = { OIDCIssuers = { ["https://i.example.com"] = issuer } }
  issuer.IssuerURL = issuer.IssuerURL or "https://i.example.com"
  issuer.ClientID = issuer.ClientID or "sigstore"
  for name, value in pairs(more or {}) do whole[name] = value end
  return cjson.encode(whole)
end

--- One CI provider with these templates.
function M.provider(templates, default, san)
  return M.issuer({ Type = "ci-provider", CIProvider = "x" }, {
    CIIssuerMetadata = { x = {
      DefaultTemplateValues = default,
      ExtensionTemplates = templates,
      SubjectAlternativeNameTemplate = san or "san" } } })
end

return M
