-- Buddy, by region. Narrow it: must = { workspace_domain = "acme" }.
return {
  issuer   = {
    "https://oidc.buddyusercontent.com",
    "https://eu-oidc.buddyusercontent.com",
    "https://asia-oidc.buddyusercontent.com",
  },
  audience = "sigstore",
  must     = anyone,
  provider = "buddy",
}
