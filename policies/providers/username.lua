-- People by name: alice becomes alice!example.com. Say which domain in the
-- policy: set = { subject_domain = "example.com" }.
return {
  set = { subject_domain = false },            -- false: the policy must say
  san = { username = "{sub}!{subject_domain}" },
}
