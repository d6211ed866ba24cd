-- An intermediate that signs leaves, and code signing leaves only.
return {
  lifetime           = 1095 * days,
  subject            = {
    { "O", "Fulcio" },
    { "CN", "Fulcio Intermediate CA" },
  },
  key_usage          = { "cert_sign", "crl_sign" },
  extended_key_usage = { "code_signing" },
  ca                 = true,
  path_length        = 0,
}
