"""Signs and verifies with sigstore-python, unmodified."""

import hashlib
import json

from sigstore import dsse
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext
from sigstore.verify import Verifier, policy

from scene import case, read, refused, token

ARTIFACT = b"an artifact\n"
SCENE = read()


def trust(path=SCENE["trust_config"]):
    with open(path, encoding="utf-8") as file:
        return ClientTrustConfig.from_json(file.read())


def sign(claims, act, config=None):
    context = SigningContext.from_trust_config(config or trust())
    with context.signer(IdentityToken(token(SCENE, claims))) as signer:
        return act(signer).to_json()


def artifact(signer):
    return signer.sign_artifact(ARTIFACT)


def statement(signer):
    subject = dsse.Subject(
        name="artifact",
        digest={"sha256": hashlib.sha256(ARTIFACT).hexdigest()},
    )
    return signer.sign_dsse(
        dsse.StatementBuilder()
        .subjects([subject])
        .predicate_type("https://example.com/predicate")
        .predicate({})
        .build()
    )


def verifier(path=SCENE["trust_config"]):
    return Verifier(trusted_root=trust(path).trusted_root)


def who(san):
    return policy.Identity(identity=san, issuer=SCENE["issuer"])


def positive(identity):
    def signs_artifact():
        bundle = sign(identity["claims"], artifact)
        verifier().verify_artifact(
            ARTIFACT, Bundle.from_json(bundle), who(identity["san"])
        )

    def signs_statement():
        bundle = sign(identity["claims"], statement)
        kind, payload = verifier().verify_dsse(
            Bundle.from_json(bundle), who(identity["san"])
        )
        assert kind == "application/vnd.in-toto+json", kind
        assert json.loads(payload)["subject"][0]["name"] == "artifact"

    case(f"artifact as {identity['name']}", signs_artifact)
    case(f"statement as {identity['name']}", signs_statement)


def negative(identity):
    bundle = sign(identity["claims"], artifact)

    def verify(path=SCENE["trust_config"], san=identity["san"], data=ARTIFACT):
        verifier(path).verify_artifact(
            data, Bundle.from_json(bundle), who(san)
        )

    case("a bundle to refuse", verify)
    for name, path in SCENE["wrong_trust_configs"].items():
        refused(f"refuses {name}", VerificationError, lambda: verify(path))
    refused(
        "refuses another identity",
        VerificationError,
        lambda: verify(san="mallory@example.com"),
    )
    refused(
        "refuses another artifact",
        VerificationError,
        lambda: verify(data=b"another"),
    )
    wrong = trust(SCENE["wrong_trust_configs"]["forged CT key"])
    refused(
        "refuses to sign under a forged CT key",
        Error,
        lambda: sign(identity["claims"], artifact, wrong),
    )


def main():
    for identity in SCENE["identities"]:
        positive(identity)
    case("negative controls", lambda: negative(SCENE["identities"][0]))


if __name__ == "__main__":
    main()
