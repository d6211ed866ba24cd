-- Buildkite. Narrow it: must = { organization_slug = "acme" }.
return {
  issuer   = "https://agent.buildkite.com",
  audience = "sigstore",
  must     = anyone,
  provider = "buildkite",
}
