-- Workloads of a SPIFFE trust domain. Put in your own issuer and domain.
return {
  issuer   = "https://oidc.example.com",
  audience = "sigstore",
  must     = { sub = spiffe("example.com") },
  provider = "spiffe",
}
