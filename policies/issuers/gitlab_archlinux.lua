-- GitLab CI of Arch Linux.
return {
  issuer   = "https://gitlab.archlinux.org",
  audience = "sigstore",
  must     = anyone,
  provider = "gitlab",
  set      = { url = "https://gitlab.archlinux.org" },
}
