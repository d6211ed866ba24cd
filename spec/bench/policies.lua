--- The policies that are measured, by the kind of token.

local texts = {
  email = [[return {
    issuer = "ISSUER", audience = "sigstore", must = anyone,
    provider = "email",
  }]],
  github = [[return {
    issuer = "ISSUER", audience = "sigstore",
    must = { repository = "octo-org/octo-repo" }, provider = "github",
  }]],
}

local M = {}

--- A policy's text, for tokens of an issuer.
function M.text(kind, issuer)
  return (texts[kind]:gsub("ISSUER", issuer))
end

return M
