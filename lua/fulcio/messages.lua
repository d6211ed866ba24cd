--- The protobuf messages and services that we speak, as data for protobuf.
--
-- sigstore/fulcio fulcio.proto (v2) and fulcio_legacy.proto (v1beta),
-- grpc.health.v1, grpc.reflection.v1, google.rpc.Status and ErrorInfo. The
-- same tables answer reflection, so that what is listed is what is read.

local M = {}

local function message(name, fields)
  fields.name = name
  return fields
end

-- dev.sigstore.fulcio.v2 -------------------------------------------------

local v2 = { package = "dev.sigstore.fulcio.v2", file = "fulcio.proto" }
M.v2 = v2

v2.Credentials = message("Credentials", {
  { 1, "oidc_identity_token", "string", oneof = "credentials" },
})
v2.PublicKeyAlgorithm = {
  name = "PublicKeyAlgorithm",
  [0] = "PUBLIC_KEY_ALGORITHM_UNSPECIFIED", "RSA_PSS", "ECDSA", "ED25519",
}
v2.PublicKey = message("PublicKey", {
  { 1, "algorithm", "enum", v2.PublicKeyAlgorithm },
  { 2, "content", "string" },
})
v2.PublicKeyRequest = message("PublicKeyRequest", {
  { 1, "public_key", "message", v2.PublicKey },
  { 2, "proof_of_possession", "bytes" },
})
v2.CreateSigningCertificateRequest =
  message("CreateSigningCertificateRequest", {
    { 1, "credentials", "message", v2.Credentials },
    { 2, "public_key_request", "message", v2.PublicKeyRequest,
      oneof = "key" },
    { 3, "certificate_signing_request", "bytes", oneof = "key" },
  })
v2.CertificateChain = message("CertificateChain", {
  { 1, "certificates", "string", repeated = true },
})
v2.SigningCertificateDetachedSCT = message("SigningCertificateDetachedSCT", {
  { 1, "chain", "message", v2.CertificateChain },
  { 2, "signed_certificate_timestamp", "bytes" },
})
v2.SigningCertificateEmbeddedSCT = message("SigningCertificateEmbeddedSCT", {
  { 1, "chain", "message", v2.CertificateChain },
})
v2.SigningCertificate = message("SigningCertificate", {
  { 1, "signed_certificate_detached_sct", "message",
    v2.SigningCertificateDetachedSCT, oneof = "certificate" },
  { 2, "signed_certificate_embedded_sct", "message",
    v2.SigningCertificateEmbeddedSCT, oneof = "certificate" },
})
v2.GetTrustBundleRequest = message("GetTrustBundleRequest", {})
v2.TrustBundle = message("TrustBundle", {
  { 1, "chains", "message", v2.CertificateChain, repeated = true },
})
v2.GetConfigurationRequest = message("GetConfigurationRequest", {})
v2.OIDCIssuer = message("OIDCIssuer", {
  { 1, "issuer_url", "string", oneof = "issuer" },
  { 2, "wildcard_issuer_url", "string", oneof = "issuer" },
  { 3, "audience", "string" },
  { 4, "challenge_claim", "string" },
  { 5, "spiffe_trust_domain", "string" },
  { 6, "issuer_type", "string" },
  { 7, "subject_domain", "string" },
  { 8, "skip_email_verification", "bool" },
})
v2.Configuration = message("Configuration", {
  { 1, "issuers", "message", v2.OIDCIssuer, repeated = true },
})
v2.services = {
  { name = "CA",
    { "CreateSigningCertificate", v2.CreateSigningCertificateRequest,
      v2.SigningCertificate },
    { "GetTrustBundle", v2.GetTrustBundleRequest, v2.TrustBundle },
    { "GetConfiguration", v2.GetConfigurationRequest, v2.Configuration },
  },
}

-- google.api -------------------------------------------------------------

local api = { package = "google.api", file = "google/api/httpbody.proto" }
M.api = api

api.HttpBody = message("HttpBody", {
  { 1, "content_type", "string" },
  { 2, "data", "bytes" },
})

-- google.protobuf --------------------------------------------------------

local google = { package = "google.protobuf",
                 file = "google/protobuf/empty.proto" }
M.google = google

google.Empty = message("Empty", {})

-- dev.sigstore.fulcio.v1beta ---------------------------------------------

local v1 = { package = "dev.sigstore.fulcio.v1beta",
             file = "fulcio_legacy.proto", needs = { api, google } }
M.v1 = v1

v1.PublicKey = message("PublicKey", {
  { 1, "algorithm", "string" },
  { 2, "content", "bytes" },
})
v1.CreateSigningCertificateRequest =
  message("CreateSigningCertificateRequest", {
    { 1, "publicKey", "message", v1.PublicKey },
    { 2, "signedEmailAddress", "bytes" },
    { 3, "certificateSigningRequest", "bytes" },
  })
v1.services = {
  { name = "CA",
    { "CreateSigningCertificate", v1.CreateSigningCertificateRequest,
      api.HttpBody },
    { "GetRootCertificate", google.Empty, api.HttpBody },
  },
}

-- grpc.health.v1 ---------------------------------------------------------

local health = { package = "grpc.health.v1",
                 file = "grpc/health/v1/health.proto" }
M.health = health

health.HealthCheckRequest = message("HealthCheckRequest", {
  { 1, "service", "string" },
})
health.ServingStatus = {
  name = "ServingStatus",
  [0] = "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN",
}
health.HealthCheckResponse = message("HealthCheckResponse", {
  { 1, "status", "enum", health.ServingStatus },
})
health.services = {
  { name = "Health",
    { "Check", health.HealthCheckRequest, health.HealthCheckResponse },
    { "Watch", health.HealthCheckRequest, health.HealthCheckResponse,
      server_streams = true },
  },
}

-- grpc.reflection.v1, and v1alpha, which older tools ask ------------------

local function reflection_of(version)
  local reflection = {
    package = "grpc.reflection." .. version,
    file = ("grpc/reflection/%s/reflection.proto"):format(version),
  }

  reflection.ExtensionRequest = message("ExtensionRequest", {
    { 1, "containing_type", "string" },
    { 2, "extension_number", "int32" },
  })
  reflection.ServerReflectionRequest = message("ServerReflectionRequest", {
    { 1, "host", "string" },
    { 3, "file_by_filename", "string", oneof = "message_request" },
    { 4, "file_containing_symbol", "string", oneof = "message_request" },
    { 5, "file_containing_extension", "message", reflection.ExtensionRequest,
      oneof = "message_request" },
    { 6, "all_extension_numbers_of_type", "string",
      oneof = "message_request" },
    { 7, "list_services", "string", oneof = "message_request" },
  })
  reflection.FileDescriptorResponse = message("FileDescriptorResponse", {
    { 1, "file_descriptor_proto", "bytes", repeated = true },
  })
  reflection.ExtensionNumberResponse = message("ExtensionNumberResponse", {
    { 1, "base_type_name", "string" },
    { 2, "extension_number", "int32", repeated = true },
  })
  reflection.ServiceResponse = message("ServiceResponse", {
    { 1, "name", "string" },
  })
  reflection.ListServiceResponse = message("ListServiceResponse", {
    { 1, "service", "message", reflection.ServiceResponse, repeated = true },
  })
  reflection.ErrorResponse = message("ErrorResponse", {
    { 1, "error_code", "int32" },
    { 2, "error_message", "string" },
  })
  reflection.ServerReflectionResponse = message("ServerReflectionResponse", {
    { 1, "valid_host", "string" },
    { 2, "original_request", "message", reflection.ServerReflectionRequest },
    { 4, "file_descriptor_response", "message",
      reflection.FileDescriptorResponse, oneof = "message_response" },
    { 5, "all_extension_numbers_response", "message",
      reflection.ExtensionNumberResponse, oneof = "message_response" },
    { 6, "list_services_response", "message", reflection.ListServiceResponse,
      oneof = "message_response" },
    { 7, "error_response", "message", reflection.ErrorResponse,
      oneof = "message_response" },
  })
  reflection.services = {
    { name = "ServerReflection",
      { "ServerReflectionInfo", reflection.ServerReflectionRequest,
        reflection.ServerReflectionResponse, client_streams = true,
        server_streams = true },
    },
  }
  return reflection
end

M.reflection, M.reflection_alpha = reflection_of("v1"),
                                   reflection_of("v1alpha")

-- google.rpc (grpc-status-details-bin) -----------------------------------

local rpc = {}
M.rpc = rpc

rpc.Entry = { { 1, "key", "string" }, { 2, "value", "string" } }
rpc.ErrorInfo = {
  { 1, "reason", "string" },
  { 2, "domain", "string" },
  { 3, "metadata", "message", rpc.Entry, repeated = true },
}
rpc.Any = { { 1, "type_url", "string" }, { 2, "value", "bytes" } }
rpc.Status = {
  { 1, "code", "int32" },
  { 2, "message", "string" },
  { 3, "details", "message", rpc.Any, repeated = true },
}

--- The packages that reflection lists, and the services a server offers.
M.packages = { v2, v1, api, google, health, M.reflection,
               M.reflection_alpha }

return M
