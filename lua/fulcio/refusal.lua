--- Every way to say no: code, HTTP and gRPC status, words for the client.
---
--- A step returns `nil, refusal(code, details)`. What the client hears is
--- the row's message (Fulcio's own texts, clients match on them), the
--- reason, and `details.client`; `details.log` goes to the log alone.

local TOKEN = "There was an error processing the identity token"
local KEY = "The public key supplied in the request could not be parsed"
local WEAK = "The public key supplied in the request is insecure"
local PROOF = "The signature supplied in the request could not be verified"
local CSR = "The certificate signing request could not be parsed"
local CA = "error communicating with CA backend"
local CT = "Error entering certificate in CTL"

-- gRPC's numbers (google.rpc.Code).
local INVALID, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12
local INTERNAL, UNAVAILABLE = 13, 14

-- code = { HTTP status, gRPC status, message, Retry-After in seconds }
local rows = {
  token_malformed      = { 400, INVALID, TOKEN },
  token_expired        = { 400, INVALID, TOKEN },
  token_not_yet_valid  = { 400, INVALID, TOKEN },
  token_signature      = { 400, INVALID, TOKEN },
  token_algorithm      = { 400, INVALID, TOKEN },
  unknown_issuer       = { 400, INVALID, TOKEN },
  issuer_unavailable   = { 400, INVALID, TOKEN },
  wrong_audience       = { 400, INVALID, TOKEN },
  unknown_key          = { 400, INVALID, TOKEN },

  claim_missing        = { 400, INVALID, TOKEN },
  claim_invalid        = { 400, INVALID, TOKEN },
  email_not_verified   = { 400, INVALID, TOKEN },
  must_not_met         = { 400, INVALID, TOKEN },
  check_refused        = { 400, INVALID, TOKEN },

  key_unparsable       = { 400, INVALID, KEY },
  key_weak             = { 400, INVALID, WEAK },
  key_not_allowed      = { 400, INVALID, "signing algorithm not permitted" },
  proof_wrong          = { 400, INVALID, PROOF },
  csr_unparsable       = { 400, INVALID, CSR },
  csr_algorithm        = { 400, INVALID, "unrecognized signature algorithm" },

  request_malformed    = { 400, INVALID, "The request could not be parsed" },
  not_found            = { 404, NOT_FOUND, "Not Found" },
  method_not_allowed   = { 501, UNIMPLEMENTED, "Method Not Allowed" },
  not_grpc             = { 415, INVALID,
                           "invalid gRPC request content-type" },
  not_implemented      = { 501, UNIMPLEMENTED, "Not Implemented" },
  request_timeout      = { 408, INVALID, "http: request timeout" },
  body_too_large       = { 413, INVALID, "http: request body too large" },
  header_too_large     = { 431, INVALID, "http: request header too large" },
  expectation_failed   = { 417, INVALID, "Expectation Failed" },
  version_unknown      = { 505, UNIMPLEMENTED, "HTTP Version Not Supported" },

  overloaded           = { 503, UNAVAILABLE, "the server is overloaded", 1 },
  ca_unavailable       = { 503, UNAVAILABLE, CA, 5 },
  ca_failed            = { 500, INTERNAL, CA },
  ct_unavailable       = { 503, UNAVAILABLE, CT, 5 },
  ct_failed            = { 500, INTERNAL, CT },
  internal             = { 500, INTERNAL, "Internal Server Error" },
}

-- What the protocol layer says with a status alone.
local by_status = {
  [400] = "request_malformed",
  [404] = "not_found",
  [408] = "request_timeout",
  [413] = "body_too_large",
  [417] = "expectation_failed",
  [431] = "header_too_large",
  [501] = "not_implemented",
  [503] = "overloaded",
  [505] = "version_unknown",
}

local Refusal = {}

local nothing = setmetatable({}, {
  __newindex = function()
    error("a refusal without details is read only", 2)
  end,
})

local fields = { client = true, log = true, message = true,
                 retry_after = true }

function Refusal.__tostring(refused)
  return refused.reason .. ": " .. refused.message
end

local M = {}

--- The codes there are, for specs and documents: code to row.
M.rows = rows

--- Makes a refusal. `details` may have `client` (texts the client may
--- hear, by name), `log` (the log's own), `message` (instead of the row's)
--- and `retry_after` in seconds.
function M.new(code, details)
  local row = rows[code]
  if not row then
    error(("unknown refusal %q"):format(tostring(code)), 2)
  end
  for name in pairs(details or nothing) do
    if not fields[name] then
      error(("refusal %s: unknown detail %q"):format(code, tostring(name)), 2)
    end
  end
  details = details or nothing
  return setmetatable({
    code = code,
    reason = code:upper(),
    http = row[1],
    grpc = row[2],
    message = details.message or row[3],
    client = details.client or nothing,
    log = details.log or nothing,
    retry_after = details.retry_after or row[4],
  }, Refusal)
end

--- Whether a value, caught or returned, is a refusal.
function M.is(value)
  return getmetatable(value) == Refusal
end

--- The refusal of a status that the protocol layer gives by itself.
function M.of_status(status)
  return M.new(by_status[status] or "internal")
end

return setmetatable(M, {
  __call = function(_, code, details)
    return M.new(code, details)
  end,
})
