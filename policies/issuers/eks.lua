-- Amazon Elastic Kubernetes Service.
return {
  issuer   = glob("https://oidc.eks.*.amazonaws.com/id/*"),
  audience = "sigstore",
  must     = anyone,
  provider = "kubernetes",
}
