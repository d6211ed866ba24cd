--- Every address the server answers.

local health = require("fulcio.health")
local openapi = require("fulcio.openapi")
local page = require("fulcio.page")
local signing = require("fulcio.signing")
local trust = require("fulcio.trust")

return {
  { "POST", "/api/v2/signingCert",   signing.v2 },
  { "GET",  "/api/v2/trustBundle",   trust.bundle },
  { "GET",  "/api/v2/configuration", trust.configuration },

  { "POST", "/api/v1/signingCert",   signing.v1 },  -- older cosign
  { "GET",  "/api/v1/rootCert",      trust.root },

  { "GET",  "/healthz",              health.check },
  { "GET",  "/openapi.json",         openapi.show },
  { "GET",  "/",                     page.show },
}
