-- GitHub Actions of enterprises with an issuer of their own.
return {
  issuer   = glob("https://token.actions.githubusercontent.com/*"),
  audience = "sigstore",
  must     = anyone,
  provider = "github",
}
