-- The Dex of Sigstore's staging instance.
return {
  issuer   = "https://oauth2.sigstage.dev/auth",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
  issuer_name = "{federated_claims/connector_id}",
}
