-- The certificate every policy issues, unless it names another template.
return {
  lifetime           = 10 * minutes,
  subject            = {},                      -- empty: the SAN is the name
  key_usage          = { "digital_signature" },
  extended_key_usage = { "code_signing" },
  keys               = { "P-256", "P-384", "P-521", "Ed25519", "RSA-2048+" },
}
