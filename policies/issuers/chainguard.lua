-- Chainguard.
return {
  issuer   = "https://issuer.enforce.dev",
  audience = "sigstore",
  must     = anyone,
  provider = "chainguard",
}
