"""The scene a driver plays in, and how it says what happened: a line a case,
"ok NAME" or "not ok NAME: reason"."""

import json
import sys
import traceback
import urllib.error
import urllib.request


def read():
    with open(sys.argv[1], encoding="utf-8") as file:
        return json.load(file)


def call(url, body=None, headers=None, method=None):
    """Status, headers and body of one exchange; no status is an error."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def token(scene, claims):
    body = json.dumps(claims).encode()
    status, _, text = call(scene["issuer"] + "/token", body)
    if status != 200:
        raise RuntimeError(f"the issuer answered {status}: {text!r}")
    return text.decode()


def case(name, run):
    try:
        run()
    except Exception as error:  # whatever went wrong is the finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"not ok {name}: {reason} ({place.name}:{place.lineno})")
    else:
        print(f"ok {name}")
    sys.stdout.flush()


def refused(name, kind, run):
    """A case that is ok when `run` raises `kind`."""

    def must_raise():
        try:
            run()
        except kind:
            return
        raise AssertionError("it was accepted")

    case(name, must_raise)
