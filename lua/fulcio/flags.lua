--- Every flag of every command, as data: what it is, and what it is for.
--- options.lua reads command lines with it and prints `--help` from it.
---
--- Names are Fulcio's where Fulcio has the flag. `kind` is text (default),
--- integer, port, boolean, duration, list, secret, directory or choice.
--- `backend`: only that `--ca` looks at it.

local algorithms = {
  "ecdsa-sha2-256-nistp256", "ecdsa-sha2-384-nistp384",
  "ecdsa-sha2-512-nistp521", "rsa-sign-pkcs1-2048-sha256",
  "rsa-sign-pkcs1-3072-sha256", "rsa-sign-pkcs1-4096-sha256", "ed25519",
}

local general = {
  title = "General",
  { "config", short = "c", value = "FILE",
    "file of these flags, JSON or YAML: port: 8080" },
  { "log_type", kind = "choice", choices = { "dev", "prod" },
    default = "dev", "dev: for people, on stdout; prod: JSON, on stderr" },
  { "data-dir", kind = "directory", value = "DIR", default = "/var/lib/fulcio",
    "the log's file, its socket and its key live here" },
  { "workers", kind = "integer", minimum = 1, maximum = 256,
    "processes that answer (default: one a processor)" },
  { "user", value = "NAME", default = "",
    "become this user, who owns DATA_DIR, once the ports are open" },
  { "development", kind = "boolean", default = false,
    "allow http:// issuers on loopback; never in production" },
}

local listeners = {
  title = "Listeners",
  { "host", alias = "http-host", default = "0.0.0.0", "HTTP address" },
  { "port", alias = "http-port", kind = "port", default = 8080,
    "HTTP port; 0 takes a free one" },
  { "grpc-host", default = "0.0.0.0", "gRPC address" },
  { "grpc-port", kind = "port", default = 8081, "gRPC port" },
  { "grpc-tls-certificate", value = "FILE", default = "",
    "chain of the gRPC port, PEM; then it speaks TLS alone" },
  { "grpc-tls-key", value = "FILE", default = "", "its key" },
  { "http-tls-certificate", value = "FILE", default = "",
    "the same for the HTTP port" },
  { "http-tls-key", value = "FILE", default = "", "its key" },
  { "metrics-host", default = "127.0.0.1", "Prometheus address" },
  { "metrics-port", kind = "port", default = 2112, "Prometheus port" },
  { "legacy-unix-domain-socket", default = "",
    "path or @NAME of a socket for our own user (default: none)" },
  { "idle-connection-timeout", kind = "duration", default = 30,
    "how long a connection may wait for its next request" },
  { "read-header-timeout", kind = "duration", default = 10,
    "how long a metrics request may take to arrive" },
}

local who = {
  title = "Who gets a certificate",
  { "policies", value = "DIR", default = "", "directory of policies" },
  { "config-path", value = "FILE", default = "",
    "Fulcio's own config.yaml or config.json (default:"
    .. " /etc/fulcio-config/config.yaml where it exists)" },
  { "client-signing-algorithms", kind = "list", default = algorithms,
    "keys and hashes that clients may use" },
}

local authority = {
  title = "Certificate authority",
  { "ca", kind = "choice", required = true,
    choices = { "pkcs11ca", "googleca", "kmsca", "fileca", "ephemeralca" },
    refuse = "--ca=%s is not a valid selection. Try: pkcs11ca, googleca,"
      .. " fileca, or ephemeralca",
    "pkcs11ca, googleca, kmsca, fileca or ephemeralca" },
  { "fileca-cert", backend = "fileca", value = "FILE", default = "",
    "chain, PEM, the signing certificate first" },
  { "fileca-key", backend = "fileca", value = "FILE", default = "",
    "private key, PEM" },
  { "fileca-key-passwd", backend = "fileca", kind = "secret",
    value = "SECRET",
    "its password: text, @FILE, credential:NAME or env:NAME" },
  { "fileca-watch", backend = "fileca", kind = "boolean", default = true,
    "load both files again when they change" },
  { "pkcs11-config-path", backend = "pkcs11ca", value = "FILE",
    default = "config/crypto11.conf", "crypto11 JSON" },
  { "hsm-caroot-id", backend = "pkcs11ca", default = "",
    "CKA_ID of the root certificate" },
  { "hsm-key-label", backend = "pkcs11ca", default = "PKCS11CA",
    "CKA_LABEL of the key pair" },
  { "aws-hsm-root-ca-path", backend = "pkcs11ca", value = "FILE",
    default = "", "root certificate, when it is not in the HSM" },
  { "verify-signatures", kind = "choice", choices = { "all", "sampled" },
    default = "sampled", "which HSM signatures are verified" },
  { "gcp_private_ca_parent", backend = "googleca", default = "",
    "projects/P/locations/L/caPools/POOL[/certificateAuthorities/ID]" },
  { "gcp_private_ca_version", backend = "googleca",
    default = "v1", "version of Google's API; there is v1 alone" },
  { "gcp_private_ca_endpoint", backend = "googleca", value = "URL",
    default = "", "its address (default: Google's); http on loopback only" },
  { "gcp_token_hosts", backend = "googleca", kind = "list", default = {},
    "hosts besides *.googleapis.com that credentials may name" },
  { "kms-resource", backend = "kmsca", value = "URI", default = "",
    "openbao://KEY, hashivault://KEY, awskms://, gcpkms:// or azurekms://" },
  { "kms-cert-chain-path", backend = "kmsca", value = "FILE",
    default = "", "its chain, PEM, the signing certificate first" },
  { "gcp-kms-retries", backend = "kmsca", kind = "integer", minimum = 0,
    default = 0, "no effect: a request is repeated as its time allows" },
  { "gcp-kms-timeout", backend = "kmsca", kind = "integer", minimum = 0,
    default = 0, "seconds of one request to gcpkms:// (default: 2)" },
  { "tink-kms-resource", backend = "tinkca", default = "",
    "key that wraps tinkca's keyset" },
  { "tink-cert-chain-path", backend = "tinkca", value = "FILE",
    default = "", "chain of tinkca" },
  { "tink-keyset-path", backend = "tinkca", value = "FILE", default = "",
    "keyset of tinkca" },
}

local transparency = {
  title = "Certificate transparency",
  { "ct-log-url", value = "URL",
    'log to use; "" for none (default: one of our own)' },
  { "ct-log-origin", default = "", "sent to the log as Host" },
  { "ct-log-public-key-path", value = "FILE", default = "",
    "the log's key, PEM; with it every SCT is verified" },
  { "ct-log.tls-ca-cert", value = "FILE", default = "",
    "roots for the connection to the log" },
  { "ctlog-host", default = "127.0.0.1", "our own log's address" },
  { "ctlog-port", kind = "port", default = 6962, "and its port" },
}

local roots = {
  title = "Log",
  { "roots", value = "FILE", default = "",
    "certificates whose chains the log takes, PEM" },
}

local subject = {
  title = "Subject",
  { "org", default = "Fulcio Root CA", "organisation" },
  { "country", default = "", "country" },
  { "province", default = "", "state or province" },
  { "locality", default = "", "locality" },
  { "street-address", default = "", "street address" },
  { "postal-code", default = "", "postal code" },
  { "common-name", default = "", "common name" },
}

local making = {
  title = "Certificate",
  { "out", value = "FILE", default = "", "where to write it, PEM" },
  { "template", value = "NAME", default = "root",
    "policies/templates/NAME.lua, or a file" },
  { "lifetime", kind = "duration", "instead of the template's: 87600h" },
  { "hsm-timeout", kind = "duration", default = 60,
    "for all that is asked of the HSM; an RSA key may take minutes" },
  { "csr", kind = "boolean", default = false,
    "make a request for another CA to sign, not a root" },
  { "import", value = "FILE", default = "",
    "take the chain that the other CA made of the request" },
}

local keys = {
  title = "Key",
  { "hsm", kind = "choice", choices = { "softhsm", "aws" },
    default = "softhsm", "aws: the certificate is kept in --out alone" },
  { "hsm-caroot-id", default = "", "CKA_ID of the certificate" },
  { "generate-key", value = "ALGORITHM", default = "",
    "make the key too: P-256, P-384, RSA-2048, Ed25519, …" },
  { "key", value = "FILE", default = "",
    "a key file instead of an HSM; it is made when it is not there" },
  { "key-passwd", kind = "secret", value = "SECRET",
    "its password: text, @FILE, credential:NAME or env:NAME" },
}

-- Of a group, the flags of these names.
local function only(group, ...)
  local wanted = {}
  for _, name in ipairs({ ... }) do wanted[name] = true end
  local part = { title = group.title }
  for _, flag in ipairs(group) do
    if wanted[flag[1]] then part[#part + 1] = flag end
  end
  return part
end

return {
  createca = {
    only(general, "config", "log_type"), subject, making, keys,
    only(authority, "pkcs11-config-path", "hsm-key-label"),
  },
  serve = { general, listeners, who, authority, transparency },
  ctlog = {
    only(general, "config", "log_type", "data-dir", "user"),
    only(transparency, "ctlog-host", "ctlog-port"),
    roots,
  },
}
