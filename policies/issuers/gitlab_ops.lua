-- GitLab CI of GitLab's own operations.
return {
  issuer   = "https://ops.gitlab.net",
  audience = "sigstore",
  must     = anyone,
  provider = "gitlab",
  set      = { url = "https://ops.gitlab.net" },
}
