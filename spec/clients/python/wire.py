"""Asks for certificates byte by byte, as any client may: both versions of the
API, key and proof or request, every kind of key. Judged by pyca/cryptography
alone."""

import base64
import datetime
import hashlib
import json
import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from scene import call, case, read, refused, token

SCENE = read()
ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
JSON = {"Content-Type": "application/json"}

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-3072": lambda: rsa.generate_private_key(65537, 3072),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def hash_of(key):
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    sizes = {384: hashes.SHA384(), 521: hashes.SHA512()}
    return sizes.get(key.key_size, hashes.SHA256())


def sign(key, data):
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hash_of(key)))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hash_of(key))
    return key.sign(data)


def public(key, encoding=Encoding.PEM):
    return key.public_key().public_bytes(
        encoding, PublicFormat.SubjectPublicKeyInfo
    )


def request_of(key):
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hash_of(key))
        .public_bytes(Encoding.PEM)
    )


def text64(data):
    return base64.b64encode(data).decode()


# Asking -------------------------------------------------------------------


def post(path, body, bearer=None):
    headers = dict(JSON)
    if bearer:
        headers["Authorization"] = "Bearer " + bearer
    return call(SCENE["fulcio"] + path, json.dumps(body).encode(), headers)


def chain_of_v2(answer):
    status, headers, body = answer
    assert status == 200, (status, body)
    assert headers["Content-Type"] == "application/json", headers
    chain = json.loads(body)["signedCertificateEmbeddedSct"]["chain"]
    pems = chain["certificates"]
    assert not any(pem.endswith("\n") for pem in pems), "a newline at an end"
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in pems]


def chain_of_v1(answer):
    status, headers, body = answer
    assert status == 201, (status, body)
    kind = headers["Content-Type"]
    assert kind == "application/pem-certificate-chain", kind
    assert headers["SCT"] is None, "the SCT is in the certificate"
    return x509.load_pem_x509_certificates(body)


def proof(identity, key):
    return text64(sign(key, identity["challenge"].encode()))


def v2_key(identity, key, jwt=None):
    body = {
        "credentials": {
            "oidcIdentityToken": jwt or token(SCENE, identity["claims"])
        },
        "publicKeyRequest": {
            "publicKey": {"content": public(key).decode()},
            "proofOfPossession": proof(identity, key),
        },
    }
    return post("/api/v2/signingCert", body)


def v2_csr(identity, key):
    body = {"certificateSigningRequest": text64(request_of(key))}
    jwt = token(SCENE, identity["claims"])
    return post("/api/v2/signingCert", body, jwt)


def v1(encoding):
    def ask(identity, key):
        body = {
            "publicKey": {"content": text64(public(key, encoding))},
            "signedEmailAddress": proof(identity, key),
            "certificateSigningRequest": None,
        }
        jwt = token(SCENE, identity["claims"])
        return post("/api/v1/signingCert", body, jwt)

    return ask


def v1_csr(identity, key):
    body = {"certificateSigningRequest": text64(request_of(key))}
    jwt = token(SCENE, identity["claims"])
    return post("/api/v1/signingCert", body, jwt)


FORMS = {
    "v2, key": (v2_key, chain_of_v2),
    "v2, request": (v2_csr, chain_of_v2),
    "v1, key in PEM": (v1(Encoding.PEM), chain_of_v1),
    "v1, key in DER": (v1(Encoding.DER), chain_of_v1),
    "v1, request": (v1_csr, chain_of_v1),
}

# Judging ------------------------------------------------------------------


def verify_sct(leaf, issuer, key):
    """RFC 6962 3.2: what the timestamp signs; 3.3: where it is."""
    kind = x509.PrecertificateSignedCertificateTimestamps
    scts = leaf.extensions.get_extension_for_class(kind).value
    assert len(scts) == 1, "exactly one SCT"
    sct = scts[0]
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert sct.log_id == hashlib.sha256(key.public_bytes(*spki)).digest()
    tbs = leaf.tbs_precertificate_bytes
    when = sct.timestamp.replace(tzinfo=datetime.timezone.utc).timestamp()
    entry = struct.pack(">BBQH", 0, 0, round(when * 1000), 1)
    entry += hashlib.sha256(issuer.public_key().public_bytes(*spki)).digest()
    entry += len(tbs).to_bytes(3, "big") + tbs
    entry += len(sct.extension_bytes).to_bytes(2, "big") + sct.extension_bytes
    key.verify(sct.signature, entry, ec.ECDSA(hashes.SHA256()))
    return hashlib.sha256(b"\0" + entry).digest()


def name_of(leaf):
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical and len(san.value) == 1
    return san.value[0].value


def log_key(name="log_key"):
    with open(SCENE[name], "rb") as file:
        return load_pem_public_key(file.read())


def judge(chain, identity, key):
    leaf, issuer = chain[0], chain[1]
    for below, above in zip(chain, chain[1:]):
        below.verify_directly_issued_by(above)
    with open(SCENE["root"], "rb") as file:
        assert chain[-1] == x509.load_pem_x509_certificate(file.read())
    der = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert leaf.public_key().public_bytes(*der) == public(key, Encoding.DER)
    assert name_of(leaf) == identity["san"], name_of(leaf)
    oidc = leaf.extensions.get_extension_for_oid(ISSUER_V2).value.value
    assert oidc[2:].decode() == SCENE["issuer"], oidc
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lifetime == datetime.timedelta(minutes=10), lifetime
    verify_sct(leaf, issuer, log_key())


def issues(form, identity, key):
    ask, read_chain = FORMS[form]
    judge(read_chain(ask(identity, key)), identity, key)


def in_the_log(identity):
    """The certificate's entry is among the log's entries."""
    key = KEYS["P-256"]()
    chain = chain_of_v2(v2_key(identity, key))
    wanted = verify_sct(chain[0], chain[1], log_key())
    log = SCENE["log"] + "/ct/v1/"
    size = json.loads(call(log + "get-sth")[2])["tree_size"]
    start = max(0, size - 256)
    found = json.loads(
        call(f"{log}get-entries?start={start}&end={size - 1}")[2]
    )["entries"]
    leaves = [base64.b64decode(entry["leaf_input"]) for entry in found]
    assert wanted in [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]


# Refusals -----------------------------------------------------------------


def must_be_refused(answer, status, words):
    got, headers, body = answer
    assert got == status, (got, body[:200])
    told = json.loads(body)
    assert words in told["message"], told
    assert headers["Content-Type"] == "application/json", headers


def refusals(identity):
    key, other = KEYS["P-256"](), KEYS["P-256"]()
    thief = dict(identity, challenge="mallory@example.com")

    def wrong_proof():
        answer = v2_key(thief, key)
        must_be_refused(answer, 400, "signature supplied")

    def forged_token():
        jwt = token(SCENE, identity["claims"])
        head, body, signature = jwt.split(".")
        forged = ".".join([head, body, signature[::-1]])
        answer = v2_key(identity, key, forged)
        must_be_refused(answer, 400, "processing the identity token")

    def other_audience():
        jwt = token(SCENE, dict(identity["claims"], aud="elsewhere"))
        answer = v2_key(identity, key, jwt)
        must_be_refused(answer, 400, "processing the identity token")

    def weak_key():
        answer = v2_key(identity, rsa.generate_private_key(65537, 1024))
        must_be_refused(answer, 400, "")

    case("refuses a proof of another name", wrong_proof)
    case("refuses a forged token", forged_token)
    case("refuses another audience", other_audience)
    case("refuses a weak key", weak_key)
    chain = chain_of_v2(v2_key(identity, key))
    refused(
        "a forged CT key does not verify",
        (InvalidSignature, AssertionError),
        lambda: verify_sct(chain[0], chain[1], log_key("forged_log_key")),
    )
    refused(
        "another issuer's key hash does not verify",
        InvalidSignature,
        lambda: verify_sct(chain[0], other, log_key()),
    )


def main():
    first = SCENE["identities"][0]
    for form in FORMS:
        for name, generate in KEYS.items():
            case(f"{form}, {name}", lambda: issues(form, first, generate()))
    for identity in SCENE["identities"][1:]:
        for form in FORMS:
            key = KEYS["P-256"]()
            case(
                f"{form}, as {identity['name']}",
                lambda: issues(form, identity, key),
            )
    case("the log has it", lambda: in_the_log(first))
    case("refusals", lambda: refusals(first))


if __name__ == "__main__":
    main()
