-- Azure Kubernetes Service; tokens may name their issuer with a final slash.
return {
  issuer   = {
    glob("https://*.oic.prod-aks.azure.com/*/*"),
    glob("https://*.oic.prod-aks.azure.com/*/*/"),
    glob("https://oidc.prod-aks.azure.com/*"),
    glob("https://oidc.prod-aks.azure.com/*/"),
    glob("https://oidc.prod-aks.azure.com/*/*"),
  },
  audience = "sigstore",
  must     = anyone,
  provider = "kubernetes",
}
