-- Service accounts of a Kubernetes cluster. Which cluster it is, only the
-- issuer says.
return {
  san = {
    uri = "https://kubernetes.io/namespaces/{kubernetes.io/namespace}"
      .. "/serviceaccounts/{kubernetes.io/serviceaccount/name}",
  },
}
