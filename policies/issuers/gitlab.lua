-- GitLab CI, gitlab.com.
return {
  issuer   = "https://gitlab.com",
  audience = "sigstore",
  must     = anyone,
  provider = "gitlab",
}
