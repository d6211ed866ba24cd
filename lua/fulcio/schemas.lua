--- What is sent to the API and answered by it, as JSON schemas.

local json = require("fulcio.json")

local list = json.list

local function of(name)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local function text(description)
  return { type = "string", description = description }
end

local function bytes(description)
  return { type = "string", format = "byte", description = description }
end

local function object(properties, required)
  return { type = "object", properties = properties,
           required = required and list(required) }
end

local function array(items)
  return { type = "array", items = items }
end

-- Of these, exactly one.
local function one_of(...)
  local choices = list({})
  for i, name in ipairs({ ... }) do
    choices[i] = { required = list({ name }) }
  end
  return choices
end

local key_request = object({
  publicKey = object({
    algorithm = { type = "string", description = "not looked at",
                  example = "ECDSA" },
    content = text("the public key, PEM"),
  }, { "content" }),
  proofOfPossession = bytes("signature of the key over the challenge: the"
    .. " token's email or sub, as the configuration says"),
}, { "publicKey", "proofOfPossession" })

local signing_request = object({
  credentials = object({
    oidcIdentityToken = text("the identity token; or it is the bearer"),
  }),
  publicKeyRequest = key_request,
  certificateSigningRequest = bytes("a PKCS#10 request, PEM"),
})
signing_request.oneOf = one_of("publicKeyRequest",
                               "certificateSigningRequest")

local signing_request_v1 = object({
  publicKey = object({
    content = bytes("the public key, PEM or DER"),
    algorithm = text("not looked at"),
  }, { "content" }),
  signedEmailAddress = bytes("signature of the key over the challenge"),
  certificateSigningRequest = {
    type = "string", format = "byte", nullable = true,
    description = "a PKCS#10 request, PEM, instead of key and signature",
  },
})

local signing_certificate = object({
  signedCertificateEmbeddedSct = object({ chain = of("CertificateChain") },
                                        { "chain" }),
  signedCertificateDetachedSct = object({
    chain = of("CertificateChain"),
    signedCertificateTimestamp = bytes("the log's answer; may be empty"),
  }, { "chain", "signedCertificateTimestamp" }),
})
signing_certificate.oneOf = one_of("signedCertificateEmbeddedSct",
                                   "signedCertificateDetachedSct")

local issuer = object({
  issuerUrl = text("what `iss` is"),
  wildcardIssuerUrl = text("what `iss` is like, * for its parts"),
  audience = text("what `aud` has"),
  challengeClaim = text("the claim that a proof signs"),
  spiffeTrustDomain = text("the trust domain of SPIFFE issuers"),
  issuerType = text("what kind of identity it vouches for"),
  subjectDomain = text("the domain of its subjects"),
  skipEmailVerification = { type = "boolean" },
}, { "audience", "challengeClaim", "spiffeTrustDomain", "issuerType",
     "subjectDomain", "skipEmailVerification" })
issuer.oneOf = one_of("issuerUrl", "wildcardIssuerUrl")

local error_info = object({
  ["@type"] = text("google.rpc.ErrorInfo"),
  reason = { type = "string", description = "stable, for programs",
             example = "CLAIM_MISSING" },
  domain = { type = "string", enum = list({ "fulcio" }) },
  metadata = { type = "object",
               additionalProperties = { type = "string" } },
}, { "@type", "reason", "domain", "metadata" })

return {
  SigningRequest = signing_request,
  SigningRequestV1 = signing_request_v1,
  SigningCertificate = signing_certificate,
  CertificateChain = object({
    certificates = array(text("a certificate, PEM")),
  }, { "certificates" }),
  TrustBundle = object({ chains = array(of("CertificateChain")) },
                       { "chains" }),
  Configuration = object({ issuers = array(issuer) }, { "issuers" }),
  Health = object({
    status = { type = "string", enum = list({ "SERVING" }) },
  }, { "status" }),
  Error = object({
    code = { type = "integer", description = "a status of gRPC" },
    message = text("for people; Fulcio's words"),
    details = array(error_info),
    status = text("NOT_SERVING, of /healthz alone"),
  }, { "code", "message", "details" }),
}
