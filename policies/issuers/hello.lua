-- Hellō accounts.
return {
  issuer   = "https://issuer.hello.coop",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
