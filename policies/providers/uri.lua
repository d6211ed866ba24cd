-- Whatever the issuer calls by a URL of one host. Say which in the policy:
-- must = { sub = within("https://users.example.com") }.
return {
  must = { sub = match("[a-z][a-z0-9+.-]*://.+") },
  san  = { uri = "{sub}" },
}
