-- Workloads by SPIFFE ID. Say which trust domain in the policy:
-- must = { sub = spiffe("example.com") }.
return {
  must = { sub = match("spiffe://.+") },
  san  = { uri = "{sub}" },
}
