-- Kaggle's model signing.
return {
  issuer   = "https://www.kaggle.com/api/v1/models/signing",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
