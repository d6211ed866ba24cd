-- Buddy's own test systems.
return {
  issuer   = {
    "https://dev-oidc.buddyusercontent.com",
    "https://psd-oidc.buddyusercontent.com",
    "https://stage-oidc.buddyusercontent.com",
  },
  audience = "sigstore",
  must     = anyone,
  provider = "buddy",
}
