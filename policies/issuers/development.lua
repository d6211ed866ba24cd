-- The issuer of examples/issuer, which signs whatever it is asked to: for
-- a first try on one machine, and never in production.
return {
  issuer   = "http://127.0.0.1:5556",
  audience = "sigstore",
  must     = anyone,
  provider = "email",
}
