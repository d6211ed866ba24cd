-- The cluster that the program itself runs in. Narrow it:
-- must = { ["kubernetes.io/namespace"] = "release" }.
return {
  issuer   = "https://kubernetes.default.svc",
  audience = "sigstore",
  must     = { ["kubernetes.io/namespace"] = present },
  provider = "kubernetes",
  internal = true,
}
