-- GitHub Actions, github.com. Narrow it to your own releases:
-- must = { repository_owner = "acme", ref = glob("refs/tags/v*") }.
return {
  issuer   = "https://token.actions.githubusercontent.com",
  audience = "sigstore",
  must     = anyone,
  provider = "github",
}
