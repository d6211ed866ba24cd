-- Codefresh. Narrow it: must = { account_name = "acme" }.
return {
  issuer   = "https://oidc.codefresh.io",
  audience = "sigstore",
  must     = anyone,
  provider = "codefresh",
}
