-- A root that signs intermediates, or leaves where there is no intermediate.
return {
  lifetime    = 3650 * days,
  subject     = { { "O", "Fulcio Root CA" }, { "CN", "Fulcio Root CA" } },
  key_usage   = { "cert_sign", "crl_sign" },
  ca          = true,
  path_length = 1,
}
