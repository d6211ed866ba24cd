-- Chainguard identities. Who has an address proves by that, others by sub.
return {
  san       = { uri = url("{iss}", "{sub}") },
  challenge = { "{email}", "{sub}" },
}
