-- CircleCI, one issuer for all and one for each organization.
return {
  issuer   = {
    "https://oidc.circleci.com",
    glob("https://oidc.circleci.com/org/*"),
  },
  audience = "sigstore",
  must     = anyone,
  provider = "circleci",
}
