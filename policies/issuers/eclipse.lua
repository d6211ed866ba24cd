-- Service accounts of the Eclipse Foundation.
return {
  issuer   = "https://auth.eclipse.org/auth/realms/foundation-service-accounts",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
