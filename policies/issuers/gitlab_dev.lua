-- GitLab CI of GitLab's own development.
return {
  issuer   = "https://dev.gitlab.org",
  audience = "sigstore",
  must     = anyone,
  provider = "gitlab",
  set      = { url = "https://dev.gitlab.org" },
}
