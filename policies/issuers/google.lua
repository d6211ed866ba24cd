-- Google accounts. Narrow it to your own people:
-- must = { hd = "example.com" }.
return {
  issuer   = "https://accounts.google.com",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
