"""Clouds' own libraries judge how we speak to their key services.

    judge.py sigv4 REQUEST.json    a signed request, by botocore
    judge.py azure URL             azure-keyvault-keys, on the fake

Prints "ok WHAT" or "not ok WHAT: WHY".
"""
import json
import sys


def sigv4(path):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    with open(path) as file:
        asked = json.load(file)
    headers = asked["headers"]
    given = headers["authorization"]
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(asked["method"], asked["url"],
                         data=asked["body"].encode(),
                         headers={name: headers[name] for name in signed})
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(asked["key"], asked["secret"]),
                     asked["service"], asked["region"])
    text = auth.string_to_sign(request, auth.canonical_request(request))
    wanted = auth.signature(text, request)
    assert given.startswith("AWS4-HMAC-SHA256 Credential=" + asked["key"])
    assert "content-type" in signed and "x-amz-target" in signed, signed
    assert ("x-amz-security-token" in signed) == (
        "x-amz-security-token" in headers), signed
    assert given.endswith("Signature=" + wanted), given


def azure(url):
    import hashlib

    from azure.core.credentials import AccessToken
    from azure.core.pipeline.transport import RequestsTransport
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient
    from azure.keyvault.keys.crypto import SignatureAlgorithm

    class Known:
        def get_token(self, *scopes, **more):
            return AccessToken("azure-token", 4102444800)

    class Plain(RequestsTransport):
        """The library wants https, which the fake does not speak."""

        def send(self, request, **more):
            url = request.url
            request.url = url.replace("https://", "http://")
            try:
                return super().send(request, **more)
            finally:
                request.url = url

    more = {"transport": Plain(), "verify_challenge_resource": False,
            "api_version": "7.4"}
    client = KeyClient(url.replace("http://", "https://"), Known(), **more)
    key = client.get_key("ca")
    versions = list(client.list_properties_of_key_versions("ca"))
    assert len(versions) == 2, versions
    crypto = CryptographyClient(
        key.id.replace("http://", "https://"), Known(), **more)
    digest = hashlib.sha256(b"text").digest()
    signature = crypto.sign(SignatureAlgorithm.es256, digest).signature
    assert len(signature) == 64
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    point = ec.EllipticCurvePublicNumbers(
        int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big"),
        ec.SECP256R1()).public_key()
    point.verify(utils.encode_dss_signature(
        int.from_bytes(signature[:32], "big"),
        int.from_bytes(signature[32:], "big")), digest,
        ec.ECDSA(utils.Prehashed(hashes.SHA256())))


judges = {"sigv4": sigv4, "azure": azure}
try:
    judges[sys.argv[1]](sys.argv[2])
    print("ok", sys.argv[1])
except Exception as error:  # every failure is a finding
    print(f"not ok {sys.argv[1]}: {type(error).__name__} {error}")
    sys.exit(1)
