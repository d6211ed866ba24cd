"""Asks for one certificate as sigstore-python does, and prints its chain.

Usage: certificate.py FULCIO TOKEN"""

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sigstore._internal.fulcio import FulcioClient
from sigstore.oidc import IdentityToken

fulcio, token = sys.argv[1:]
identity = IdentityToken(token)
name = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, identity.identity)])
request = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(name)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
)
answer = FulcioClient(fulcio).signing_cert.post(request, identity)
for certificate in [answer.cert, *answer.chain]:
    print(certificate.public_bytes(serialization.Encoding.PEM).decode(), end="")
