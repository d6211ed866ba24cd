"""Google's own libraries judge what we send and the fake that we test with.

    judge.py schema REQUESTS.json [cloudkms]
                                     our requests, by Google's schemas
    judge.py client URL              Google's client, on the fake
    judge.py token [FILE]            a token, as google-auth fetches it

Each prints "ok WHAT" or "not ok WHAT: WHY" a line; `token` prints JSON.
"""
import base64
import json
import os
import re
import sys

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
POOL = "projects/p/locations/l/caPools/pool"
failed = False


def say(name, run):
    global failed
    try:
        run()
        print("ok", name)
    except Exception as error:  # every failure is a finding
        failed = True
        text = str(error).replace("\n", " ")
        print(f"not ok {name}: {type(error).__name__} {text}")


def discovery(service):
    import googleapiclient.discovery_cache

    folder = os.path.dirname(googleapiclient.discovery_cache.__file__)
    with open(os.path.join(folder, "documents", service + ".v1.json")) as file:
        return json.load(file)


def methods(node):
    for method in node.get("methods", {}).values():
        yield method
    for child in node.get("resources", {}).values():
        yield from methods(child)


def check(document, schema, value, where):
    """A value by a schema of the discovery document; unknown is wrong."""
    if "$ref" in schema:
        schema = document["schemas"][schema["$ref"]]
    kind = schema["type"]
    if kind == "object":
        assert isinstance(value, dict), f"{where}: no object"
        known = schema.get("properties", {})
        for name, member in value.items():
            rule = known.get(name) or schema.get("additionalProperties")
            assert rule, f"{where}: unknown {name}"
            assert "Output only" not in rule.get("description", ""), name
            check(document, rule, member, f"{where}.{name}")
    elif kind == "array":
        assert isinstance(value, list), f"{where}: no list"
        for one in value:
            check(document, schema["items"], one, where)
    elif kind == "string":
        assert isinstance(value, str), f"{where}: no text"
        if schema.get("format") == "byte":
            base64.b64decode(value, validate=True)
        if schema.get("format") == "google-duration":
            assert re.fullmatch(r"\d+(\.\d{1,9})?s", value), where
        if "enum" in schema:
            assert value in schema["enum"], f"{where}: {value}"
    elif kind == "boolean":
        assert isinstance(value, bool), f"{where}: no boolean"
    elif kind == "integer":
        assert isinstance(value, int), f"{where}: no integer"
    else:
        raise AssertionError(f"{where}: {kind}")


def find_method(document, request):
    for method in methods(document):
        pattern = re.escape(method["flatPath"])
        pattern = re.sub(r"\\{[^}]*\\}", "[^/:]+", pattern)
        if method["httpMethod"] == request["method"]:
            if re.fullmatch("/" + pattern, request["path"]):
                return method
    raise AssertionError("no such method: " + request["path"])


def check_request(document, request, service):
    method = find_method(document, request)
    for name, value in method["parameters"].items():
        if value["location"] == "path" and "pattern" in value:
            path = re.sub(r"^/v1/", "", request["path"])
            prefix = value["pattern"].rstrip("$")
            assert re.match(prefix, path), f"{name}: {path}"
    for pair in filter(None, (request.get("query") or "").split("&")):
        name, value = pair.split("=", 1)
        assert name in method["parameters"], f"unknown parameter {name}"
        if method["parameters"][name]["type"] == "boolean":
            assert value in ("true", "false")
    if request["method"] == "POST":
        body = json.loads(request["body"])
        check(document, method["request"], body, method["request"]["$ref"])
        if service == "privateca":
            strict(method["request"]["$ref"], body)


def strict(name, body):
    from google.cloud.security import privateca_v1
    from google.protobuf import json_format

    message = getattr(privateca_v1, name)
    json_format.ParseDict(body, message.pb(message()))


def judge_requests(path, service="privateca"):
    document = discovery(service)
    with open(path) as file:
        requests = json.load(file)
    for number, request in enumerate(requests):
        say(f"request {number + 1} {request['path']}",
            lambda: check_request(document, request, service))


class Client:
    """Google's REST client on the fake."""

    def __init__(self, url):
        import google.auth.credentials
        from google.cloud.security import privateca_v1 as api
        from google.cloud.security.privateca_v1.services import (
            certificate_authority_service as service)

        self.api, self.url = api, url
        token = self.token()

        class Bearer(google.auth.credentials.Credentials):
            def refresh(self, request):
                self.token = token

        rest = service.transports.CertificateAuthorityServiceRestTransport
        self.client = service.CertificateAuthorityServiceClient(
            transport=rest(host=url.split("//")[1], url_scheme="http",
                           credentials=Bearer()))

    def token(self):
        import requests

        answer = requests.post(self.url + "/token", data={
            "grant_type": "refresh_token", "client_id": "client",
            "client_secret": "client secret", "refresh_token": "refresh"})
        return answer.json()["access_token"]

    def order(self, *faults):
        import requests

        requests.post(self.url + "/control", json={"faults": list(faults)})

    def key(self):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        return public.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)

    def create(self, request_id="", change=None, retry=None, **more):
        api = self.api
        certificate = api.Certificate({
            "lifetime": {"seconds": 600},
            "config": {
                "public_key": {"format": 1, "key": self.key()},
                "subject_config": {
                    "subject": {},
                    "subject_alt_name": {"email_addresses": ["a@b.c"]}},
                "x509_config": {"key_usage": {
                    "base_key_usage": {"digital_signature": True},
                    "extended_key_usage": {"code_signing": True}}}}})
        if change:
            change(certificate)
        return self.client.create_certificate(
            request=api.CreateCertificateRequest(
                parent=POOL, certificate=certificate, certificate_id="x",
                request_id=request_id, **more), retry=retry)

    def makes(self):
        from cryptography import x509

        made = self.create()
        leaf = x509.load_pem_x509_certificate(made.pem_certificate.encode())
        chain = [x509.load_pem_x509_certificate(pem.encode())
                 for pem in made.pem_certificate_chain]
        leaf.verify_directly_issued_by(chain[0])
        chain[0].verify_directly_issued_by(chain[1])
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.RFC822Name) == ["a@b.c"]

    def repeats(self):
        same = "0f5c2a6e-8e0b-4b6a-9d5a-0c3f1c7b2a11"
        first, second = self.create(same), self.create(same)
        assert first.pem_certificate == second.pem_certificate

    def validates(self):
        assert self.create(validate_only=True).pem_certificate == ""

    def fetches(self):
        found = self.client.fetch_ca_certs(ca_pool=POOL)
        assert len(found.ca_certs[0].certificates) == 2

    def reads(self):
        pool = self.client.get_ca_pool(name=POOL)
        assert pool.tier == self.api.CaPool.Tier.DEVOPS
        authority = self.client.get_certificate_authority(
            name=POOL + "/certificateAuthorities/ca-1")
        assert len(authority.pem_ca_certificates) == 2

    def raises(self, kind, run):
        try:
            run()
        except kind as error:
            return error
        raise AssertionError("no " + kind.__name__)

    def refuses(self):
        from google.api_core import exceptions as e

        for fault, kind in (("403", e.Forbidden), ("400",
                            e.BadRequest), ("429", e.TooManyRequests),
                            ("503", e.ServiceUnavailable),
                            ("404", e.NotFound)):
            self.order(fault)
            error = self.raises(kind, self.create)
            if fault == "429":
                assert "0.2s" in str(error.details), error.details
            if fault == "400":
                assert "certificate.lifetime" in str(error.details[0])
        self.raises(e.BadRequest, lambda: self.create("no uuid"))
        self.raises(e.BadRequest, lambda: self.create(
            "00000000-0000-0000-0000-000000000000"))

        def endless(certificate):
            certificate.lifetime = {"seconds": 0}

        self.raises(e.BadRequest, lambda: self.create(change=endless))

    def recovers(self):
        from google.api_core import exceptions as e
        from google.api_core.retry import Retry, if_exception_type

        self.order("503", "503")
        self.create(retry=Retry(if_exception_type(e.ServiceUnavailable)))


def drive(url):
    client = Client(url)
    for name in ("makes", "repeats", "validates", "fetches", "reads",
                 "refuses", "recovers"):
        say("client " + name, getattr(client, name))


def token(path):
    import google.auth
    import google.auth.transport.requests

    class Request(google.auth.transport.requests.Request):
        """Google's own addresses lead to the fake."""

        def __call__(self, url, *rest, **more):
            if "cloudresourcemanager" in url:
                url = os.environ["FAKE"] + "/control"
            url = re.sub(r"^https://\w+\.googleapis\.com",
                         os.environ["FAKE"], url)
            return super().__call__(url, *rest, **more)

    request = Request()
    if path:
        # A person's scopes were chosen when the person logged in.
        with open(path) as file:
            person = json.load(file)["type"] == "authorized_user"
        found, _ = google.auth.load_credentials_from_file(
            path, scopes=None if person else [SCOPE], request=request)
    else:
        found, _ = google.auth.default(scopes=[SCOPE], request=request)
    if os.environ.get("SELF_SIGNED"):
        found = found.with_always_use_jwt_access(True)
        found._create_self_signed_jwt(None)
    if not found.valid:  # asking for the project has fetched one
        found.refresh(request)
    print(json.dumps({"token": found.token}))


if sys.argv[1] == "schema":
    judge_requests(*sys.argv[2:])
elif sys.argv[1] == "client":
    drive(sys.argv[2])
else:
    token(sys.argv[2] if len(sys.argv) > 2 else None)
sys.exit(1 if failed else 0)
