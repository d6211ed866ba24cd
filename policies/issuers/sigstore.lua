-- Sigstore's Dex, which stands before Google, GitHub and Microsoft accounts
-- and names them in a claim.
return {
  issuer   = "https://oauth2.sigstore.dev/auth",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
  issuer_name = "{federated_claims/connector_id}",
}
