-- IBM Security Verify.
return {
  issuer   = "https://sigstore.verify.ibm.com/oauth2",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
