-- Google Kubernetes Engine.
return {
  issuer   = glob("https://container.googleapis.com"
    .. "/v1/projects/*/locations/*/clusters/*"),
  audience = "sigstore",
  must     = anyone,
  provider = "kubernetes",
}
