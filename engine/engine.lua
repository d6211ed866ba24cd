---@meta fulcio.engine
--- fulcio.engine: bytes, keys, certificates, sockets. No decisions.
---
--- Conventions, which hold for every name below:
--- * The caller's mistake (wrong type, unknown option name) throws.
--- * The world's failure returns `nil, message, code`: `message` is for
---   people and has no final dot, `code` is a stable word. Never `false`.
--- * Bytes are strings, times are integer seconds since 1970 unless a name
---   ends in `_ms`. No NIDs, no bit flags.
--- * What may block (http, HSM keys) yields inside a coroutine that
---   engine.server started, and simply blocks anywhere else.
local engine = {}

--- The engine's version, "MAJOR.MINOR.PATCH".
engine.version = ""

-- bytes ----------------------------------------------------------------

engine.bytes = {}

--- Standard base64 with padding (RFC 4648 section 4).
---@param bytes string
---@return string
function engine.bytes.base64(bytes) end

--- base64url without padding (RFC 4648 section 5).
---@param bytes string
---@return string
function engine.bytes.base64url(bytes) end

--- Decodes either alphabet (not both), padding optional, nothing else
--- allowed: no blanks, no bits left over that are not zero.
---@param text string
---@return string|nil bytes
---@return string? message
---@return string? code "bad_base64"
function engine.bytes.unbase64(text) end

--- What gzip holds (RFC 1952), one member or several.
---@param bytes string
---@param limit integer bytes that it may be
---@return string|nil
---@return string? message
---@return string? code "bad_gzip" "too_large"
function engine.bytes.gunzip(bytes, limit) end

--- Lower-case hexadecimal.
---@param bytes string
---@return string
function engine.bytes.hex(bytes) end

--- SHA-256 digest, 32 bytes.
---@param bytes string
---@return string
function engine.bytes.sha256(bytes) end

--- A digest of the bytes.
---@param bytes string
---@param hash "SHA-256"|"SHA-384"|"SHA-512"
---@return string
function engine.bytes.digest(bytes, hash) end

--- `n` random bytes from the private generator.
---@param n integer 1 to 4096
---@return string
function engine.bytes.random(n) end

--- A text as a JSON string, quotes included. Control characters are
--- escaped, U+007F to U+009F too.
---@param text string
---@return string|nil
---@return string? message
---@return string? code "bad_utf8"
function engine.bytes.json(text) end

--- Whether no byte of the text is above 127.
---@param text string
---@return boolean
function engine.bytes.is_ascii(text) end

--- Whether the text is valid UTF-8 (RFC 3629: no surrogates, no overlong).
---@param text string
---@return boolean
function engine.bytes.is_utf8(text) end

--- Members of a JSON object in the order of `names`, each with a comma
--- before it; nil when `fields` has others, or a value that is no boolean,
--- no whole number and no text in UTF-8 of at most `limit` bytes, or when
--- all is longer than about 4,000 bytes.
---@param fields table<string, any>
---@param names string[]
---@param limit integer bytes
---@return string|nil
function engine.bytes.json_members(fields, names, limit) end

--- Whether one of the texts of a list is in the text.
---@param text string
---@param texts string[] at most 16, none of them empty
---@return boolean
function engine.bytes.has(text, texts) end

--- Whether the text is valid UTF-8 without control characters (U+0000 to
--- U+001F, U+007F to U+009F), and not longer than `most` bytes.
---@param text string
---@param most? integer
---@return boolean
function engine.bytes.is_printable(text, most) end

-- pkey -----------------------------------------------------------------

--- A key: software or HSM, private or public. `tostring` shows no secret.
---@class fulcio.pkey
---@field kind "EC"|"RSA"|"Ed25519"|"Ed448"|"unknown" the last two only from
---  a csr: they can be shown and refused as weak, not used
---@field bits integer 256, 384, 521, 2048, …
---@field name string "P-256", "RSA-2048", "Ed25519", … (as a template says)
---@field private boolean whether it can sign
local pkey = {}
engine.pkey = {}

--- Reads a public key: the first PEM block of any text (label PUBLIC KEY or
--- RSA PUBLIC KEY), otherwise the bytes as SPKI DER. P-224, P-256, P-384,
--- P-521, RSA and Ed25519 parse; secp256k1 and Ed448 do not.
---@param bytes string
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "bad_key" "unfit_key" (DSA, X25519)
function engine.pkey.parse(bytes) end

--- Opens a private key from a PEM file: PKCS#8, encrypted PKCS#8, PKCS#1,
--- SEC1, RFC 1423. A file that group or others can read or write is
--- refused, unless it was inherited (a path under /proc/self/fd).
---@param file string path
---@param password? string|fulcio.secret
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "no_file" "open_to_others" "bad_password" "bad_key"
function engine.pkey.open(file, password) end

--- Reads a JSON file in which a private key (PEM) may be, however deep: its
--- text with `null` in the key's place, and the key when there is one. Lua
--- never sees it. A file with a key is refused as `open` refuses it.
---@param file string path
---@return string|nil text
---@return fulcio.pkey|string|nil key or message
---@return string? code "no_file" "open_to_others" "bad_key"
function engine.pkey.open_json(file) end

--- The DER form of an ECDSA signature r||s; anything else stays as it is.
---@param signature string
---@return string
function engine.pkey.der(signature) end

--- Makes a seal: only it, in this process and in those forked later, opens
--- what it has shut. Collected, it is wiped.
---@return fulcio.seal
function engine.pkey.seal() end

--- What takes a private key to another process of ours, through memory that
--- others may read.
---@class fulcio.seal
local seal = {}

--- Encrypts a software private key (AES-256-GCM, another text each time).
---@param key fulcio.pkey
---@return string|nil bytes
---@return string? message
---@return string? code "not_private" "failed"
function seal:shut(key) end

--- The private key that this seal has shut.
---@param bytes string
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "bad_key"
function seal:open(bytes) end

--- Makes a new private key in memory.
---@param algorithm string "P-256" "P-384" "P-521" "RSA-2048" "RSA-3072"
---  "RSA-4096" "Ed25519"
---@return fulcio.pkey|nil
---@return string? message
---@return string? code
function engine.pkey.generate(algorithm) end

--- Writes a software private key as PKCS#8 PEM to a new file, mode 0600.
--- An existing file is never overwritten.
---@param file string path
---@param password? string|fulcio.secret encrypts (PBES2, AES-256)
---@return true|nil
---@return string? message
---@return string? code "exists" "no_file" "not_private" "failed"
function pkey:save(file, password) end

--- Signs. The hash is fixed by the key unless given: SHA-256/384/512 by
--- curve, RSA PKCS#1 v1.5 with SHA-256, pure Ed25519. ECDSA as DER.
---@param data string
---@param hash? "SHA-256"|"SHA-384"|"SHA-512"
---@return string|nil signature
---@return string? message
---@return string? code "not_private" "hsm_gone" "hsm_busy" "sign_failed"
function pkey:sign(data, hash) end

--- Verifies a signature of the same form `sign` makes.
---@param data string
---@param signature string
---@param hash? "SHA-256"|"SHA-384"|"SHA-512"
---@param form? "der"|"any" any: an ECDSA signature may also be raw r||s
---@return true|nil
---@return string? message
---@return string? code "bad_signature"
function pkey:verify(data, signature, hash, form) end

--- SubjectPublicKeyInfo, DER.
---@return string
function pkey:spki() end

--- SubjectPublicKeyInfo, PEM.
---@return string
function pkey:pem() end

--- Key identifier: SHA-1 of the subjectPublicKey bits (RFC 5280 4.2.1.2).
---@return string bytes 20 of them
function pkey:id() end

--- Refuses what boulder's goodkey refuses (spec: RSA 2048/3072/4096 with
--- e = 65537, no small factor, no ROCA, 100 Fermat rounds; P-256/384/521).
---@return true|nil
---@return string? message
---@return string? code "weak_key"
function pkey:check() end

-- x509 -----------------------------------------------------------------

--- A parsed certificate, read only.
---@class fulcio.x509
---@field der string
---@field pem string one block with a final newline
---@field tbs string DER of the TBSCertificate
---@field subject string for people (RFC 4514)
---@field issuer string
---@field subject_der string
---@field issuer_der string
---@field serial string lower-case hexadecimal
---@field not_before integer
---@field not_after integer
---@field ca boolean
---@field path_length integer|nil
---@field key_usage string[] "digital_signature", "content_commitment",
---  "key_encipherment", "data_encipherment", "key_agreement", "cert_sign",
---  "crl_sign", "encipher_only", "decipher_only"
---@field extended_key_usage string[] "code_signing", "server_auth",
---  "client_auth", "email_protection", "time_stamping", "ocsp_signing",
---  "any", or an OID
---@field ski string|nil bytes
---@field aki string|nil bytes
---@field san { type: string, value: string, oid?: string }[] email, uri,
---  dns, ip, other (an otherName of UTF8String, with its type-id in `oid`);
---  "unknown" is another GeneralName and "malformed" what is none: their
---  value is the DER as it stands there
---@field san_critical boolean
---@field extensions { oid: string, value: string, critical: boolean }[]
---@field signature_algorithm string "ECDSA-SHA256", "SHA256-RSA", "Ed25519"
---@field fingerprint string SHA-256 of the DER, bytes
local x509 = {}
engine.x509 = {}

--- Every certificate in a PEM text, in order, or the one DER certificate.
---@param bytes string
---@return fulcio.x509[]|nil
---@return string? message
---@return string? code "bad_certificate"
function engine.x509.parse(bytes) end

--- Verifies chain[1] to chain[#chain] (the trust anchor) through the others.
--- The second of not_after counts as past.
---@param chain fulcio.x509[]
---@param options { time: integer, usage?: "code_signing" }
---@return true|nil
---@return string? message
---@return string? code "bad_chain" "expired"
function engine.x509.verify(chain, options) end

--- What `x509.skim` found.
---@class fulcio.skimmed
---@field tbs string
---@field defanged string
---@field issuer_der string
---@field serial string
---@field not_after integer
---@field poisoned boolean
---@field sct_list? string

--- Reads a certificate or precertificate without building an X509 object:
--- what a log needs, cheaply. `defanged` is the TBS without poison and SCT
--- list (RFC 6962 section 3.2).
---@param der string
---@return fulcio.skimmed|nil
---@return string? message
---@return string? code "bad_certificate"
function engine.x509.skim(der) end

--- The certificate's public key.
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "bad_key"
function x509:pkey() end

--- Whether this certificate's key signed `der`, another certificate.
--- Names, times and usages are not looked at.
---@param der string
---@return true|nil
---@return string? message
---@return string? code "bad_signature" "bad_certificate"
function x509:signed(der) end

-- draft ----------------------------------------------------------------

--- A certificate being made (RFC 5280), DER written directly.
---@class fulcio.draft
---@field serial string hexadecimal
local draft = {}
engine.draft = {}

--- What a certificate says. `issuer` absent: self-signed by `signer`
--- (default `key`). `subject` is a list of
--- { "C"|"ST"|"L"|"street"|"postalCode"|"O"|"OU"|"CN", text }. An extension
--- has a `value`, the content of extnValue, already encoded, or else a
--- `text`, which becomes a UTF8String; its `name` is not looked at.
---@class fulcio.profile
---@field key fulcio.pkey
---@field issuer? fulcio.x509
---@field signer? fulcio.pkey
---@field not_before integer
---@field not_after integer
---@field serial? string
---@field subject? { [1]: string, [2]: string }[]
---@field key_usage? string[]
---@field extended_key_usage? string[]
---@field ca? boolean
---@field path_length? integer
---@field san? { type: "email"|"uri"|"other", value: string, oid?: string }
---@field extensions? fulcio.custom[]
---@field texts? string[] the text of each extension, in place of its own, so
---  that one table may stand for an extension of every certificate

---@class fulcio.custom
---@field oid string
---@field value? string
---@field text? string
---@field raw? boolean its text is its value, not to be made a UTF8String
---@field critical? boolean
---@field name? string

--- Starts a certificate. Extensions come out in the order: keyUsage
--- (critical), basicConstraints (critical, when `ca` is set), extKeyUsage,
--- SKI, AKI (when the issuer has an SKI), SAN, `extensions` as listed.
---@param profile fulcio.profile
---@return fulcio.draft|nil
---@return string? message
---@return string? code "bad_draft" "not_ascii" "bad_utf8"
function engine.draft.new(profile) end

--- TBSCertificate with the CT poison (RFC 6962 section 3.1).
---@return string tbs
function draft:poisoned() end

--- TBSCertificate with the SCT list in the poison's place.
---@param sct_list string SignedCertificateTimestampList
---@return string tbs
function draft:stamped(sct_list) end

--- TBSCertificate with neither.
---@return string tbs
function draft:plain() end

--- Certificate DER from a TBSCertificate, signed.
---@param tbs string
---@param key fulcio.pkey
---@return string|nil der
---@return string? message
---@return string? code as pkey:sign
function engine.draft.sign(tbs, key) end

--- Certificate DER from a TBSCertificate and a signature made elsewhere.
---@param tbs string
---@param signature string
---@return string der
function engine.draft.join(tbs, signature) end

--- One PEM block with a final newline.
---@param der string
---@param label? string default "CERTIFICATE"
---@param newline? string stands between lines instead, and not at the end:
---  "\\n" (two characters) makes what JSON has between quotation marks
---@return string
function engine.draft.pem(der, label, newline) end

-- extension ------------------------------------------------------------

engine.extension = {}

--- DER UTF8String.
---@param text string
---@return string|nil der
---@return string? message
---@return string? code "bad_utf8"
function engine.extension.utf8(text) end

--- DER of an object identifier in dots, nil when it is not one.
---@param oid string
---@return string|nil der
---@return string? message
---@return string? code "bad_oid"
function engine.extension.oid(oid) end

--- Content of a subjectAltName extension with one name.
---@param name { type: "email"|"uri"|"other", value: string, oid?: string }
---@return string|nil der
---@return string? message
---@return string? code "not_ascii" (control characters too) "bad_utf8"
function engine.extension.san(name) end

-- csr ------------------------------------------------------------------

--- A certificate signing request (RFC 2986).
---@class fulcio.csr
---@field key fulcio.pkey
---@field algorithm string Go's name: "ECDSA-SHA256", "SHA256-RSA", …
---@field hash string|nil "SHA-256" …, "none" for Ed25519; nil when it is
---  not one we know (SHA-1, RSA-PSS, anything else)
local csr = {}
engine.csr = {}

--- Reads a PEM request, label CERTIFICATE REQUEST or NEW CERTIFICATE REQUEST.
---@param pem string
---@return fulcio.csr|nil
---@return string? message
---@return string? code "bad_csr"
function engine.csr.parse(pem) end

--- Whether the request is signed by its own key.
---@return true|nil
---@return string? message
---@return string? code "bad_signature" "unknown_algorithm"
function csr:verify() end

--- Makes a request, PEM.
---@param profile { key: fulcio.pkey, subject?: { [1]: string, [2]: string }[] }
---@return string|nil pem
---@return string? message
---@return string? code as pkey:sign, "bad_csr"
function engine.csr.create(profile) end

-- jws ------------------------------------------------------------------

engine.jws = {}

--- A compact JWS in its parts.
---@class fulcio.jws
---@field header string
---@field payload string
---@field input string
---@field signature string

--- Splits a compact JWS (RFC 7515): exactly two dots, base64url, no
--- padding, no bits left over; at most 64 KiB.
---@param token string
---@return fulcio.jws|nil
---@return string? message
---@return string? code "bad_token"
function engine.jws.parse(token) end

--- Verifies what `parse` gave. `algorithm` is one of RS256 RS384 RS512
--- ES256 ES384 ES512 PS256 PS384 PS512 EdDSA; a key of another kind or
--- curve is refused.
---@param parts { input: string, signature: string }
---@param key fulcio.pkey
---@param algorithm string
---@return true|nil
---@return string? message
---@return string? code "bad_signature" "wrong_key" "unknown_algorithm"
function engine.jws.verify(parts, key, algorithm) end

--- Makes a compact JWS from the header's and payload's JSON texts. PS256,
--- PS384 and PS512 need a key in software.
---@param header string
---@param payload string
---@param key fulcio.pkey
---@param algorithm string
---@return string|nil token
---@return string? message
---@return string? code as pkey:sign, "wrong_key"
function engine.jws.sign(header, payload, key, algorithm) end

--- A public key from a JSON Web Key (RFC 7517, 7518, 8037), decoded: EC
--- (P-256, P-384, P-521), RSA of 2048 to 8192 bits, Ed25519. Other members,
--- `use` and `alg` too, are the caller's to look at.
---@param jwk table
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "bad_key"
function engine.jws.key(jwk) end

--- The public JSON Web Key of a key: kty, crv, x, y, n, e as they apply.
---@param key fulcio.pkey
---@return table
function engine.jws.jwk(key) end

-- claims ---------------------------------------------------------------

engine.claims = {}

--- Strict JSON (RFC 8259): valid UTF-8, no duplicate member, depth at most
--- 32, integers within 2^53. Values are as lua-cjson's: every number is a
--- float, null is `claims.null`.
---@param json string
---@return any|nil
---@return string? message in the words of Go's encoding/json; a duplicate
---  and a number begin with their place: "a.b[0]: …"
---@return string? code "bad_json" "bad_utf8" "duplicate_member" "too_deep"
---  "number_range"
function engine.claims.parse(json) end

--- The texts of an object of a known form, by their paths ("a", "a.b.c"): at
--- most 8 paths, through at most four objects. What `parse` would find there,
--- for less than half of what it costs.
---@param json string
---@param ... string paths
---@return boolean|nil true; nil when anything else is in it, or when it is
---  no JSON: ask `parse` for what it says
---@return string|nil ... the text of each path, nil when it is not there
function engine.claims.texts(json, ...) end

--- What JSON null becomes.
engine.claims.null = nil

-- protobuf -------------------------------------------------------------

engine.protobuf = {}

--- A message type is a list of fields { number, name, type [, detail] }:
--- type is "string", "bytes", "bool", "int32", "enum" or "message" (detail:
--- the message type), with `repeated = true` and `oneof = NAME` where they
--- apply.
---@alias fulcio.message table

--- Reads a message (proto3's wire format, no groups, nested at most 16
--- deep) as a table by field name. What was not sent is absent, unknown
--- fields are passed over, a message in parts is merged; of a oneof the last
--- member counts, and is named in the field of the oneof's name.
---@param type fulcio.message
---@param bytes string
---@return table|nil
---@return string? message
---@return string? code "bad_message"
function engine.protobuf.decode(type, bytes) end

--- Writes a message. Absent fields and defaults are left out, but a member
--- of a oneof is written when it is set.
---@param type fulcio.message
---@param message table
---@return string
function engine.protobuf.encode(type, message) end

-- uri ------------------------------------------------------------------

engine.uri = {}

--- A URI in its parts.
---@class fulcio.uri
---@field scheme? string
---@field opaque? string
---@field user? string
---@field host? string
---@field port? string
---@field path string
---@field query? string
---@field fragment? string
---@field text string

--- Parses as Go's net/url does; `text` is how it prints it again. `path`
--- and `fragment` are decoded, `user` ("name:password") and `query` are as
--- printed; `host` has no port and no brackets. What is empty is absent,
--- except `path`, and the user of "https://@host".
---@param text string
---@return fulcio.uri|nil
---@return string? message in Go's words
---@return string? code "bad_uri"
function engine.uri.parse(text) end

--- Joins and cleans as Go's url.JoinPath does.
---@param base string
---@param ... string
---@return string|nil
---@return string? message
---@return string? code "bad_uri"
function engine.uri.join(base, ...) end

--- The trust domain of a SPIFFE ID, or nil when it is not one.
---@param text string
---@return string|nil trust_domain
---@return string? message
---@return string? code "bad_spiffe_id"
function engine.uri.spiffe(text) end

-- pattern --------------------------------------------------------------

--- A compiled PCRE2 pattern: UTF, whole text, match limit 100,000, 10 ms
--- of the processor, subject at most 4 KiB.
---@class fulcio.pattern
local pattern = {}
engine.pattern = {}

--- Compiles a regular expression.
---@param expression string
---@return fulcio.pattern|nil
---@return string? message
---@return string? code "bad_pattern"
function engine.pattern.compile(expression) end

--- Compiles a glob. "issuer": `*` is [-_a-zA-Z0-9]+ . "claim": `*` stops
--- at "/", `**` does not; segments "." and "..", NUL and control characters
--- never match.
---@param glob string
---@param kind "issuer"|"claim"
---@return fulcio.pattern|nil
---@return string? message
---@return string? code "bad_pattern"
function engine.pattern.glob(glob, kind) end

--- Whether the whole subject matches; nil, message, code when the subject
--- is too long or a limit was reached.
---@param subject string
---@return boolean|nil
---@return string? message
---@return string? code "too_long" "match_limit" "bad_utf8"
function pattern:match(subject) end

-- budget ---------------------------------------------------------------

--- The time that one decision may take: 20 ms of the processor, from the
--- first look. A process decides on one token at a time.
engine.budget = {}

--- Begins another decision.
function engine.budget.begin() end

--- Looks at the clock: whether the decision has had its time.
---@return boolean
function engine.budget.is_over() end

-- sandbox --------------------------------------------------------------

--- A second Lua state for what operators write: own allocator cap, closed
--- list of globals, a count hook that yields. Besides the words of the
--- prelude scripts have tostring tonumber type ipairs pairs next select and
--- string.{lower,upper,sub,len,byte,format}; an unknown word is an error.
--- No text of theirs is longer than 32 KiB, no table has more than 16,384
--- fields or 65,536 elements. What `load` kept lives as long as the sandbox:
--- make a new one for a new set of scripts.
---@class fulcio.sandbox
local sandbox = {}
engine.sandbox = {}

--- Opens one. `prelude` is trusted Lua that returns a table: the words
--- scripts may use besides the built-in list. It has base, string, table
--- and math, but must call string functions by name (string.rep(s, 2)). An
--- error of level 2 in a word shows the script's line. `memory` is bytes;
--- `instructions` holds for each load and call, which also may take 25 ns
--- of processor time an instruction, at least 20 ms. A prelude that does
--- not load throws.
---@param options { memory: integer, instructions: integer, prelude: string }
---@return fulcio.sandbox
function engine.sandbox.new(options) end

--- Runs a script (text only, at most 256 KiB, with globals of its own) and
--- copies the first thing it returns into this state as plain data: at most
--- 1 MiB, nested 32 deep. A function becomes { ["function"] = number },
--- which `call` takes.
---@param name string file name for messages
---@param text string
---@return any|nil
---@return string? message "NAME:LINE: reason", or "NAME: reason"
---@return string? code "bad_script" "too_long" "out_of_memory"
function sandbox:load(name, text) end

--- Calls a function that `load` met, with copies of plain data, and copies
--- its first two results out. Whole numbers arrive as integers. null is
--- absent in a map; in a list it keeps its place, and is equal only to
--- another null. Functions and cycles in arguments throw.
---@param handle { ["function"]: integer }
---@param ... any
---@return any first nil, message, code when the call failed
---@return any second
---@return string? code "bad_script" "too_long" "out_of_memory"
function sandbox:call(handle, ...) end

-- sct ------------------------------------------------------------------

engine.sct = {}

--- What a log entry is made of.
---@class fulcio.entry
---@field timestamp_ms integer
---@field kind "x509"|"precert"
---@field certificate? string
---@field tbs? string
---@field issuer_key_hash? string
---@field extensions? string

--- MerkleTreeLeaf, which is also what an SCT signs (RFC 6962 3.2, 3.4).
---@param entry fulcio.entry
---@return string
function engine.sct.leaf(entry) end

--- The other way.
---@param leaf string
---@return table|nil entry
---@return string? message
---@return string? code "bad_leaf"
function engine.sct.parse_leaf(leaf) end

--- DigitallySigned (sha256 with ecdsa or rsa) over `input`.
---@param input string
---@param key fulcio.pkey
---@return string|nil
---@return string? message
---@return string? code as pkey:sign
function engine.sct.sign(input, key) end

--- Verifies a DigitallySigned.
---@param input string
---@param signed string
---@param key fulcio.pkey
---@return true|nil
---@return string? message
---@return string? code "bad_signature"
function engine.sct.verify(input, signed, key) end

--- A signed certificate timestamp.
---@class fulcio.sct
---@field version? integer
---@field log_id string
---@field timestamp_ms integer
---@field extensions? string
---@field signature string

--- SerializedSCT.
---@param sct fulcio.sct
---@return string
function engine.sct.serialize(sct) end

--- The other way.
---@param bytes string
---@return fulcio.sct|nil
---@return string? message
---@return string? code "bad_sct"
function engine.sct.parse(bytes) end

--- SignedCertificateTimestampList of SerializedSCTs.
---@param scts string[]
---@return string
function engine.sct.list(scts) end

--- The other way.
---@param bytes string
---@return string[]|nil
---@return string? message
---@return string? code "bad_sct"
function engine.sct.parse_list(bytes) end

--- TreeHeadSignature input, 50 bytes (RFC 6962 section 3.5).
---@param timestamp_ms integer
---@param size integer
---@param root string 32 bytes
---@return string
function engine.sct.tree_head(timestamp_ms, size, root) end

--- extra_data of a log entry: the precertificate when given, then the chain.
---@param chain string[] DER, issuer first
---@param precert? string DER
---@return string
function engine.sct.extra_data(chain, precert) end

-- finder ---------------------------------------------------------------

engine.finder = {}

--- Numbers by SHA-256 hash, in memory: some 20 bytes each.
---@class fulcio.finder
local finder = {}

---@return fulcio.finder
function engine.finder.new() end

--- Adds hashes with their numbers, which follow each other.
---@param hashes string any number of 32-byte hashes, joined
---@param first integer the first one's number, less than 2^32
function finder:add(hashes, first) end

--- The numbers that a hash was added with; and, rarely, of another hash that
--- begins with the same eight bytes.
---@param hash string 32 bytes
---@return integer ...
function finder:find(hash) end

-- merkle ---------------------------------------------------------------

--- A Merkle tree in memory (RFC 6962 section 2.1).
---@class fulcio.tree
---@field size integer
local tree = {}
engine.merkle = {}

--- SHA-256(00 || leaf).
---@param leaf string
---@return string
function engine.merkle.leaf_hash(leaf) end

--- An empty tree.
---@return fulcio.tree
function engine.merkle.tree() end

--- Appends leaf hashes.
---@param hashes string any number of 32-byte hashes, joined
function tree:append(hashes) end

--- Root of the first `size` leaves (default all).
---@param size? integer
---@return string
function tree:root(size) end

--- Inclusion path of leaf `index` (from 0) in the first `size` leaves.
---@param index integer
---@param size integer
---@return string[]
function tree:inclusion(index, size) end

--- Consistency proof between two sizes.
---@param first integer
---@param second integer
---@return string[]
function tree:consistency(first, second) end

--- Verifies an inclusion path.
---@param leaf_hash string
---@param index integer
---@param size integer
---@param path string[]
---@param root string
---@return boolean
function engine.merkle.verify_inclusion(leaf_hash, index, size, path, root) end

-- http -----------------------------------------------------------------

engine.http = {}

--- What to ask for.
---@class fulcio.exchange
---@field url string
---@field method? string
---@field headers? table<string,string>
---@field body? string
---@field timeout? number
---@field max_body? integer
---@field ca_file? string
---@field ca_pem? string
---@field unix_socket? string
---@field addresses? "any"|"public"
---@field aws_sigv4? fulcio.exchange.sigv4

--- Whose request it is, as AWS wants it signed (Signature Version 4).
---@class fulcio.exchange.sigv4
---@field region string
---@field service string
---@field key string access key ID
---@field secret string|fulcio.secret

--- One HTTP exchange, with http or https as the URL says. Redirects are
--- returned, not followed. `timeout` (seconds, default 5) is for everything
--- together; `max_body` is 256 KiB unless given. `ca_file` and `ca_pem`
--- (PEM text) stand instead of the system's authorities. `addresses =
--- "public"`: https only, no proxy, and the very address connected to must
--- not be private, loopback, link-local or a cloud's metadata. Elsewhere
--- the environment's proxies are used, but never for loopback. Header
--- names of the answer are in lower case.
---@param request fulcio.exchange
---@return { status: integer, headers: table<string,string>, body: string }|nil
---@return string? message
---@return string? code "refused" "dns" "timeout" "tls" "too_large"
---  "bad_address" "network"
function engine.http.request(request) end

--- Replaces the transport in a host that has its own (HAProxy, nginx).
---@param transport? fun(request: table): table|nil, string?, string?
function engine.http.set_backend(transport) end

-- system ---------------------------------------------------------------

--- Bytes that Lua can hand on but not read; wiped when collected.
---@class fulcio.secret
engine.system = {}

--- Seconds since 1970.
---@return integer
function engine.system.now() end

--- Milliseconds since 1970.
---@return integer
function engine.system.now_ms() end

--- Seconds of a clock that never goes back, with fraction.
---@return number
function engine.system.monotonic() end

--- A secret: the text itself, "@FILE" (its content less one final line end),
--- "credential:NAME" (of systemd's) or "env:NAME". Text is wiped from the
--- command line where it stood. At most 64 KiB from a file.
---@param source string
---@return fulcio.secret|nil
---@return string? message
---@return string? code "no_file"
function engine.system.secret(source) end

--- Names in a directory, sorted, without "." and "..".
---@param directory string
---@return string[]|nil
---@return string? message
---@return string? code "no_file" "denied" "failed"
function engine.system.list(directory) end

--- What is at a path. `stamp` is a text that changes when something else is
--- there, or it was written, moved or had its mode changed.
---@class fulcio.path
---@field kind "file"|"directory"|"other"
---@field size integer
---@field mtime number
---@field mode integer
---@field stamp string

--- What a path is, symbolic links followed.
---@param path string
---@return fulcio.path|nil
---@return string? message
---@return string? code "no_file" "denied" "failed"
function engine.system.stat(path) end

--- The path from the root on: of a relative one, from where we are now.
---@param path string
---@return string|nil
---@return string? message
---@return string? code "no_file" "denied"
function engine.system.absolute(path) end

--- Makes a directory (parents too), mode 0700 unless given. One that is
--- there already stays as it is.
---@param path string
---@param mode? integer
---@return true|nil
---@return string? message
---@return string? code "exists" "no_file" "denied" "disk_full" "failed"
function engine.system.mkdir(path, mode) end

--- Writes a whole file by way of a temporary one, fsync and rename; mode
--- 0600 unless given. `exclusive`: never over one that is there.
---@param path string
---@param bytes string
---@param options? { mode?: integer, exclusive?: boolean }
---@return true|nil
---@return string? message
---@return string? code "exists" "no_file" "denied" "disk_full" "failed"
function engine.system.write(path, bytes, options) end

--- Number of processors this process may use: its affinity, and the
--- quota of its cgroup rounded up.
---@return integer
function engine.system.processors() end

--- No core dumps, no tracing, no_new_privs, umask 077; `user` drops root
--- for good.
---@param options { user?: string }
---@return true|nil
---@return string? message
---@return string? code "no_user" "denied" "failed"
function engine.system.harden(options) end

--- From now on this process, and what it starts, makes, changes and removes
--- no file (Landlock); what is open stays so. After `harden`.
---@return true|nil
---@return string? message
---@return string? code "unsupported" by this kernel
function engine.system.read_only() end

--- sd_notify: tells the service manager; does nothing without one.
---@param state string "READY=1"
function engine.system.notify(state) end

--- Runs a function in a child process, for what must not happen in this
--- one: PKCS#11 before a fork. It returns a text, or nil, message, code.
--- After so many seconds the child is ended: it may hang.
---@param run fun(): string|nil, string?, string?
---@param seconds integer 1 to 86,400
---@return string|nil text
---@return string? message
---@return string? code "timeout" "failed", or the function's own
function engine.system.apart(run, seconds) end

-- pkcs11 ---------------------------------------------------------------

--- A token of a PKCS#11 module, logged in to. It reconnects by itself
--- after its HSM was away; what it was asked meanwhile is refused.
---@class fulcio.token
local token = {}
engine.pkcs11 = {}

---@class fulcio.token.options
---@field module string the library's path
---@field init? string a text for C_Initialize (NSS)
---@field label? string the token's
---@field serial? string the token's
---@field manufacturer? string the token's
---@field model? string the token's
---@field slot? integer the slot's ID
---@field pin? string|fulcio.secret
---@field login? boolean default true
---@field profile? string instead of what the module says of itself
---@field sessions? integer most of this process, default 8
---@field wait? number seconds that a signature waits for its turn, default
---  2; when more would be needed, it is refused at once
---@field verify? "sampled"|"all" which signatures are verified
---@field lock? string a file that processes hold in turn to connect; a PIN
---  that one of them was refused is not tried by the others
---@field lazy? boolean connect beside the loop, now and as often as needed:
---  open never fails then, and a key with `public` is looked for when used
---@field prove? boolean sign nothing in a loop until a probe was answered

--- Opens a token. Never before a fork: each process opens its own.
---@param options fulcio.token.options
---@return fulcio.token|nil
---@return string? message
---@return string? code "no_module" "no_token" "ambiguous_token" "bad_pin"
---  "pin_locked" "hsm_gone" "hsm_busy" "hsm_failed"
function engine.pkcs11.open(options) end

--- Parses the PKCS#11 URI (RFC 7512) of a private key. Attributes that would
--- not be looked at are refused.
---@param text string
---@return table|nil parts token, serial, manufacturer, model, slot_id, object,
---  id, module_path, pin_value, pin_source, as far as they are there
---@return string? message
---@return string? code "bad_uri"
function engine.pkcs11.parse_uri(text) end

--- A private key, by label, CKA_ID or both, as an ordinary pkey. `public`
--- stands in where the token keeps no public half.
---@param name { label?: string, id?: string, public?: fulcio.pkey }
---@return fulcio.pkey|nil
---@return string? message
---@return string? code "no_key" "ambiguous_key" "unsupported" and as open
function token:key(name) end

--- Makes a key pair in the token: sensitive, never extractable.
---@param key { algorithm: string, label: string, id: string } as
---  pkey.generate names algorithms
---@return true|nil
---@return string? message
---@return string? code "unsupported" "read_only" and as open
function token:generate(key) end

--- Every certificate with that CKA_ID and label, as DER.
---@param name { label?: string, id?: string }
---@return string[]|nil
---@return string? message
---@return string? code as open
function token:certificates(name) end

--- Stores a certificate; names and serial number are its own DER.
---@param certificate table id, label, der, subject, issuer, serial
---@return true|nil
---@return string? message
---@return string? code "unsupported" "read_only" and as open
function token:store(certificate) end

--- Every key and certificate the login shows.
---@return { class: string, label?: string, id?: string }[]|nil objects
---  class is "private key", "public key" or "certificate"
---@return string? message
---@return string? code as open
function token:list() end

--- What the module and the token say of themselves, and the profile.
---@return table profile, serial, model, sessions, certificates (whether
---  it keeps them), manufacturer, library
function token:info() end

--- Whether it is there now, and its last signature was good; asks nothing
--- of the HSM.
---@return true|nil
---@return string? message
---@return string? code "hsm_gone" "bad_pin" …
function token:ready() end

--- How long the module has not come back from what it was asked to do.
---@return number signing seconds since the last signature, while some wait,
--- or since a call that hangs has kept it from being connected anew
---@return number connecting seconds that a connection has taken up to now
---@return number idle seconds since the last signature, while none waits
---@return boolean up whether it is connected
function token:still() end

--- Has a key of this token sign something, also while the HSM has not
--- answered others: key:sign then refuses at once, until one is answered.
---@param key fulcio.pkey
---@return string|nil signature
---@return string? message
---@return string? code as key:sign has it
function token:probe(key) end

--- Ends its sessions and threads; its keys then refuse to sign.
function token:close() end

-- server ---------------------------------------------------------------

--- Listeners, workers and the event loop; nil in a host without them.
engine.server = {}

--- A listening socket, opened before workers are forked.
---@class fulcio.listener
---@field port integer
---@field address string "127.0.0.1:8080", "[::1]:8080" or the socket's path
local Listener = {}

--- Opens a TCP listener (default 127.0.0.1, port 0: any) or a unix socket
--- (mode 0600, or "@NAME" in no file system, which anybody may connect to:
--- see `same_user`), or takes the one that the service manager opened for that
--- port or path. A unix socket's file that nobody answers on is replaced.
---@param where { host?: string, port?: integer, unix?: string, mode?: integer }
---@return fulcio.listener|nil
---@return string? message
---@return string? code "in_use" "bad_address" "denied"
function engine.server.listen(where) end

--- Closes it, and removes the file of a unix socket that this process
--- opened; also done when collected.
function Listener:close() end

--- What to keep running. `on_ready`: all run their loops. `on_reload`:
--- SIGHUP. `on_tick` runs every second. These run in the supervisor, and
--- what they throw goes to `on_error` (default: standard error), as does
--- what a `run` throws, in its process. `grace` seconds for draining
--- (default 10), then SIGKILL.
---@class fulcio.supervision
---@field roles { name: string, count: integer, run: fun(index: integer) }[]
---@field on_ready? fun()
---@field on_reload? fun()
---@field on_tick? fun()
---@field on_error? fun(trace: string)
---@field grace? number

--- Supervises processes until SIGTERM or SIGINT: forks each role's
--- `count` processes in the order of the roles, replaces one that dies at
--- once (later, when it died five times within a second of its start),
--- ends the roles in reverse order, and dies with no child left. Children
--- obey no other process's SIGTERM. Each calls `run(index)`, which sets up
--- and then calls `server.run`. Returns when all have ended; nil and a
--- message when one ended by itself before all were ready.
---@param options fulcio.supervision
---@return true|nil
---@return string? message
function engine.server.supervise(options) end

--- Limits of a listener. Defaults: 16 KiB, 256 KiB, 10 s from a request's
--- first byte until it is whole, 30 s, 10,000 in all processes together.
--- `refuse` words an answer that the protocol layer gives itself (400, 408,
--- 413, 417, 431, 500, 501, 503, 505) and cannot wait; it is handed the
--- request, without its body, where that is known. 503 gets `retry-after: 1`
--- unless it has one. `same_user`: a unix socket hears only our own uid.
--- `streams`: paths whose handlers read the body themselves, by HTTP/2, as
--- a set; its "*" is for all paths that are not in it, true or false: their
--- handlers need not wait for what a client may never end. With `tls` only
--- TLS is answered, unless `plain` is true.
---@class fulcio.limits
---@field max_header? integer
---@field max_body? integer
---@field request_seconds? number
---@field idle_seconds? number
---@field max_connections? integer
---@field refuse? fun(status: integer, request?: fulcio.request):
---  fulcio.response
---@field on_error? fun(trace: string)
---@field same_user? boolean
---@field streams? table<string,boolean>
---@field tls? fulcio.tls
---@field plain? boolean

--- Answers HTTP on a listener in this process: HTTP/1.1, and HTTP/2 where
--- a connection begins with its preface. `handler` runs in its own
--- coroutine; an error in it is answered 500 and told to `on_error`. HEAD
--- runs it too; its body is counted and not sent. When requests that wait
--- would take more than 2 seconds to start, further ones get 503.
---@param listener fulcio.listener
---@param handler fun(request: fulcio.request): fulcio.response
---@param options? fulcio.limits
function engine.server.http(listener, handler, options) end

--- Answers questions on a unix socket in this process, of our own uid only.
--- `handler` runs in its own coroutine for each; what it returns is the
--- answer. An error in it is answered with no bytes and told to `on_error`.
---@param listener fulcio.listener
---@param handler fun(question: string): string
---@param on_error? fun(trace: string)
function engine.server.answer(listener, handler, on_error) end

--- Questions to who answers on a unix socket, many at once. It connects when
--- first asked, and again when the other end had gone. Same machine, same
--- program.
---@class fulcio.dialog
local dialog = {}

---@param path string of at most 107 bytes
---@return fulcio.dialog|nil
---@return string? message
---@return string? code "bad_address"
function engine.server.dialog(path) end

--- Asks, in a coroutine of the loop, and waits for the answer. Both are at
--- most 1 MiB.
---@param question string
---@param seconds number
---@return string|nil
---@return string? message
---@return string? code "unavailable" "timeout" "too_long"
function dialog:ask(question, seconds) end

---@class fulcio.request
---@field method string
---@field path string without the query, not decoded
---@field query string|nil
---@field headers table<string,string> lower-case names; a field that came
---  twice is joined with ", "
---@field body string
---@field peer string address, or "uid:NUMBER" on a unix socket
---@field id integer per process
---@field protocol "http/1.1"|"h2"
---@field read? fun(): string|nil where the path is in `streams`: waits for
---  the next bytes of the body; nil at its end, when the peer has gone, and
---  when nothing came for `idle_seconds`. `body` is empty then.

---@class fulcio.response
---@field status integer 200 to 599
---@field headers? table<string,string|number|string[]> lower-case names;
---  the engine adds date and content-length itself. `connection = "close"`
---  ends an HTTP/1 connection.
---@field body? string
---@field trailers? table<string,string> HTTP/2 only
---@field stream? fun(write: fun(bytes: string): true|nil): table|nil
---  HTTP/2 only: gives the body bit by bit, after the headers have gone, and
---  returns trailers. `write` waits while 64 KiB are unsent; nil: the peer
---  has gone.

--- A certificate and its key, from files, for listeners that speak TLS 1.2
--- and 1.3.
---@class fulcio.tls
local tls = {}

--- Loads a chain (PEM, the server's certificate first) and its key, in a
--- file that nobody else can read.
---@param files { certificate: string, key: string }
---@return fulcio.tls|nil
---@return string? message
---@return string? code "bad_certificate" "bad_key" "no_file"
---  "open_to_others" "bad_password"
function engine.server.tls(files) end

--- Loads both files again, in this process; new connections get what they
--- hold. When they are not good, all stays as it was.
---@return true|nil
---@return string? message
---@return string? code as server.tls
function tls:reload() end

--- Starts a coroutine on the loop. What it throws goes to `on_error`, or
--- out of `server.run` when there is none.
---@param run fun()
---@param on_error? fun(trace: string)
function engine.server.spawn(run, on_error) end

--- As `spawn`, but runs it at once, until it first waits for something.
--- Only in a coroutine of the server.
---@param run fun()
---@param on_error? fun(trace: string)
function engine.server.begin(run, on_error) end

--- Sleeps, in a coroutine of ours; blocks elsewhere.
---@param seconds number
function engine.server.sleep(seconds) end

--- A condition that coroutines of one process wait for.
---@return fulcio.signal
function engine.server.signal() end

---@class fulcio.signal
local signal = {}

--- Waits until `wake`; false when `seconds` passed first. Throws outside a
--- coroutine of ours.
---@param seconds? number
---@return boolean woken
function signal:wait(seconds) end

--- Resumes everyone who waits, in order, in the loop's next turn.
function signal:wake() end

--- Runs the loop until the process is told to stop (`stop`, SIGTERM, SIGINT)
--- and has drained: requests are finished, idle connections closed, spawned
--- coroutines left where they are.
function engine.server.run() end

--- What is written to io.stdout and io.stderr leaves, from now on, at the
--- end of each of the loop's turns, or when it is flushed.
function engine.server.gather() end

--- Asks this process's loop to drain and end.
function engine.server.stop() end

--- Whether it has been told to stop.
---@return boolean
function engine.server.stopping() end

--- Adds to a shared counter, made on first use; all processes see it. There
--- are 4,096; a key beyond them is not counted.
---@param key string 1 to 240 bytes
---@param by? number default 1
function engine.server.count(key, by) end

--- A function that adds to a shared counter, or to some (default 1), as
--- `count` does.
---@param key string
---@param ... string further keys
---@return fun(by?: number)
function engine.server.counter(key, ...) end

--- A function that puts a number into the first bucket whose bound is not
--- below it, and adds it to the sum.
---@param keys string[] of each bucket, of what is above all, of the sum
---@param bounds number[] that rise
---@return fun(value: number)
function engine.server.histogram(keys, bounds) end

--- All shared counters.
---@return table<string, number>
function engine.server.counts() end

--- In the supervisor: hands a text to all workers, under the next
--- generation number.
---@param bytes string
---@return integer generation
function engine.server.publish(bytes) end

--- The newest published text and its generation (0: none yet). Cheap to
--- ask for the number alone: pass the one you know and get nil when it
--- is still the newest.
---@param known? integer
---@return string|nil bytes
---@return integer generation
function engine.server.published(known) end

-- store ----------------------------------------------------------------

--- A SQLite file (WAL, synchronous=FULL); nil in a host without it.
---@class fulcio.store
local store = {}
engine.store = {}

--- Opens or makes it, mode 0600. Held by one process: another waits 2 s
--- for it to end, then gets "locked".
---@param file string
---@return fulcio.store|nil
---@return string? message
---@return string? code "locked" "no_file" "corrupt"
function engine.store.open(file) end

--- Runs statements, one or several, without results; `...` are the
--- parameters of the first. Strings bind as BLOB, whole numbers as INTEGER,
--- nil as NULL.
---@param sql string
---@param ... any
---@return integer|nil changes
---@return string? message
---@return string? code "disk_full" "locked" "corrupt" "constraint" "failed"
function store:execute(sql, ...) end

--- Runs one query; rows are lists of columns.
---@param sql string
---@param ... any
---@return any[][]|nil
---@return string? message
---@return string? code
function store:query(sql, ...) end

--- Closes it; also done when collected.
function store:close() end

return engine
