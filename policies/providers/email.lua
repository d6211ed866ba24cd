-- People: the e-mail address that the issuer has verified.
-- An issuer that stands before others (Dex) names them in a claim; say so in
-- the policy: issuer_name = "{federated_claims/connector_id}".
return {
  san = { email = "{email}" },
}
