"""Bearer tokens of an OpenID provider, from the outside: an issuer on this machine, and those who pretend to be it."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from service_builder import NEIGHBOUR, NO_MODEL, SCHOOL, Service, assert_problem, new_service, scored_by, small_roster

from dropout_risk.errors import SettingsError
from dropout_risk.service import tokens
from dropout_risk.service.tokens import ROLE_CLAIM, SCOPE_CLAIM, Tokens

ISSUER, AUDIENCE = "https://login.example.org", "dropout-risk"
KINDS: dict[str, tuple[type[Key], Any]] = {
    "RS256": (RSAKey, 2048),
    "PS256": (RSAKey, 2048),
    "ES256": (ECKey, "P-256"),
    "Ed25519": (OKPKey, "Ed25519"),
}


def new_key(kid: str | None, alg: str = "ES256") -> Any:
    kind, size = KINDS[alg]
    parameters = {"kid": kid} if kid else {}
    return kind.generate_key(size, parameters | {"use": "sig"}, auto_kid=False)  # type: ignore[attr-defined]


def published(*keys: Any) -> bytes:
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


class Issuer:
    """Signs tokens, and answers with its keys at `url`."""

    def __init__(self) -> None:
        self.key = new_key("k1")
        self.body, self.status, self.asked = published(self.key), 200, 0
        self.url = ""

    def token(self, *, key: Any = None, alg: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that counts, but for what is said otherwise; None leaves a claim out."""
        key = key or self.key
        told = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": int(time.time()) + 60,
            ROLE_CLAIM: "county", SCOPE_CLAIM: "990101", **claims,
        }  # fmt: skip
        kid = {"kid": key.kid} if key.kid else {}
        known = {name: value for name, value in told.items() if value is not None}
        return jwt.encode({"alg": alg, **kid, **(header or {})}, known, key, algorithms=list(KINDS))


@contextmanager
def answering(issuer: Issuer) -> Iterator[str]:
    """Publish the issuer's keys on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            self.send_response(issuer.status)
            if issuer.status == 302:
                self.send_header("location", issuer.body.decode())
            self.send_header("content-length", str(len(issuer.body)))
            self.end_headers()
            self.wfile.write(issuer.body)

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    with answering(made) as made.url:
        yield made


@pytest.fixture
def service(issuer: Issuer) -> Iterator[Service]:
    with with_tokens(issuer.url) as made:
        yield made


@contextmanager
def with_tokens(keys: str) -> Iterator[Service]:
    with new_service(model=NO_MODEL, oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_keys=keys) as made:
        yield made


def ask(service: Service, token: str) -> httpx2.Response:
    return service.http.get("/runs", headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may be fetched again at once."""
    monkeypatch.setattr(tokens, "_AGAIN_SECONDS", 0.0)


# Who comes in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", KINDS)
def test_a_token_of_the_issuer_lets_in_with_its_role_and_scope(alg: str, issuer: Issuer, service: Service) -> None:
    key = new_key("other", alg)
    issuer.body = published(issuer.key, key)
    assert ask(service, issuer.token(key=key, alg=alg)).status_code == 200
    (line,) = service.audit
    assert (line.subject, line.role, line.scope) == (f"{ISSUER}|anna", "county", "990101")
    assert line.action == "read_runs"


@pytest.mark.parametrize(
    ("role", "scope", "kept"),
    [
        ("school", "S1 S2", "S1,S2"),
        ("school", ["S1", "S2"], "S1,S2"),
        ("province", "51*", "51*"),
        ("auditor", None, ""),
        ("auditor", [], ""),
    ],
)
def test_the_scope_is_a_text_or_a_list(role: str, scope: Any, kept: str, issuer: Issuer, service: Service) -> None:
    assert ask(service, issuer.token(**{ROLE_CLAIM: role, SCOPE_CLAIM: scope})).status_code == 200
    assert [(line.role, line.scope) for line in service.audit] == [(role, kept)]


def test_the_keys_may_lie_in_a_file(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(issuer.body)
    with with_tokens(str(file)) as service:
        assert ask(service, issuer.token()).status_code == 200
        assert_problem(ask(service, issuer.token(key=new_key("k1"))), 401)


def test_one_audience_of_several_is_enough(issuer: Issuer, service: Service) -> None:
    assert ask(service, issuer.token(aud=["another", AUDIENCE])).status_code == 200


def test_keys_of_the_service_count_beside_tokens(issuer: Issuer, service: Service) -> None:
    issuer.status = 500
    assert service.ask("county", "GET", "/runs").status_code == 200
    assert issuer.asked == 0


def test_a_token_of_another_scope_does_not_get_what_the_same_person_was_told_before(issuer: Issuer) -> None:
    def sent(**claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.token(**claims)}", "idempotency-key": "once"}

    body = {"tables": small_roster(SCHOOL, NEIGHBOUR)}
    wide = {ROLE_CLAIM: "school", SCOPE_CLAIM: [SCHOOL, NEIGHBOUR]}
    narrow = {ROLE_CLAIM: "school", SCOPE_CLAIM: SCHOOL}
    with new_service(oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_keys=issuer.url) as service:
        first = scored_by(service.http.post("/score", json=body, headers=sent(**wide)))
        assert first["scored"] == 8
        assert scored_by(service.http.post("/score", json=body, headers=sent(**wide))) == first
        again = service.http.post("/score", json=body, headers=sent(**narrow))
        assert assert_problem(again, 422)["type"] == "/docs#OtherRequestError"
        scores = service.http.get(f"/runs/{first['run_id']}/scores", headers=sent(**narrow)).json()
        assert {row["school_id"] for row in scores["students"]} == {SCHOOL}


# Who does not ----------------------------------------------------------------------------------------

SAID = "This token does not count: it is expired, of another issuer or audience, or not signed by the issuer."


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.example.com"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"exp": int(time.time()) - 1},
        {"exp": "tomorrow"},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"sub": None},
        {"sub": ""},
    ],
)
def test_wrong_claims_let_nobody_in(claims: dict[str, Any], issuer: Issuer, service: Service) -> None:
    assert ask(service, issuer.token()).status_code == 200
    assert assert_problem(ask(service, issuer.token(**claims)), 401)["detail"] == SAID


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_by_hand(issuer: Issuer, header: dict[str, Any], secret: bytes | None) -> str:
    """Return the claims of a token that counts under another header, signed with a shared secret or not at all."""
    claims = issuer.token().split(".")[1]
    text = f"{encoded(header)}.{claims}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest() if secret else b""
    return f"{text}.{encoded(signature)}"


def test_signatures_of_others_let_nobody_in(issuer: Issuer, service: Service) -> None:
    public = issuer.key.as_pem(private=False)
    stranger, rsa = new_key("k1"), new_key("k1", "RS256")
    head, claims, signature = issuer.token().split(".")
    more = json.loads(base64.urlsafe_b64decode(claims + "==")) | {SCOPE_CLAIM: "990102"}
    own_key = {"jwk": stranger.as_dict(private=False)}
    wrong = {
        "none": signed_by_hand(issuer, {"alg": "none", "kid": "k1"}, None),
        "None": signed_by_hand(issuer, {"alg": "None"}, None),
        "HS256 with the public key": signed_by_hand(issuer, {"alg": "HS256", "kid": "k1"}, public),
        "HS256 with nothing": signed_by_hand(issuer, {"alg": "HS256", "kid": "k1"}, b"\0"),
        "ES256 with HMAC": signed_by_hand(issuer, {"alg": "ES256", "kid": "k1"}, public),
        "another key of the same name": issuer.token(key=stranger),
        "another kind of key": issuer.token(key=rsa, alg="RS256"),
        "a key that it brings": issuer.token(key=stranger, header=own_key),
        "other claims": f"{head}.{encoded(more)}.{signature}",
        "no signature": f"{head}.{claims}.",
        "unknown kid": issuer.token(key=new_key("k9")),
        "a kid that is none": signed_by_hand(issuer, {"alg": "ES256", "kid": ["k1"]}, public),
        "an unknown header that must be understood": signed_by_hand(issuer, {"alg": "ES256", "crit": ["x"]}, public),
    }
    for case, token in wrong.items():
        assert assert_problem(ask(service, token), 401)["detail"] == SAID, case
    assert service.audit == []


@pytest.mark.parametrize(
    "token",
    ["x", "..", "a.b.c", "e30.e30.e30", "eyJhbGciOiJFUzI1NiJ9..", "bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10", "0" * 9000,
     "a.b.c.d.e"],
)  # fmt: skip
def test_what_is_no_token_lets_nobody_in(token: str, service: Service) -> None:
    assert_problem(ask(service, token), 401)


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        (None, None),
        ("teacher", "S1"),
        ("county", None),
        ("county", "51*"),
        ("auditor", "S1"),
        (["county"], "990101"),
        ({"role": "county"}, "990101"),
        ("county", 990101),
        ("county", {"990101": True}),
        ("county", [["990101"]]),
        ("county", ["990101", 3]),
        ("county", ["990101 "]),
        ("county", True),
    ],
)
def test_a_role_and_a_scope_that_do_not_fit_let_nobody_in(
    role: Any, scope: Any, issuer: Issuer, service: Service
) -> None:
    document = assert_problem(ask(service, issuer.token(**{ROLE_CLAIM: role, SCOPE_CLAIM: scope})), 401)
    assert document["type"] == "/docs#SignInError"


@pytest.mark.parametrize("sub", ["x" * 300, "line\nline", "nul\0"])
def test_a_subject_that_the_audit_cannot_keep_whole_is_refused(sub: str, issuer: Issuer, service: Service) -> None:
    assert_problem(ask(service, issuer.token(sub=sub)), 401)


def test_without_settings_no_token_lets_in(issuer: Issuer) -> None:
    with new_service(model=NO_MODEL) as service:
        assert_problem(ask(service, issuer.token()), 401)
    assert issuer.asked == 0


@pytest.mark.parametrize("address", ["http://login.example.org/keys", "ftp://login.example.org/keys", "file:///keys"])
def test_keys_do_not_come_by_a_way_on_which_others_could_change_them(address: str) -> None:
    with pytest.raises(SettingsError, match="https"):
        Tokens(ISSUER, AUDIENCE, address)


# The keys of the issuer ------------------------------------------------------------------------------


def test_the_keys_are_fetched_once(issuer: Issuer, service: Service) -> None:
    for _ in range(3):
        assert ask(service, issuer.token()).status_code == 200
    assert issuer.asked == 1


def test_strangers_do_not_make_the_service_ask_again_and_again(issuer: Issuer, service: Service) -> None:
    for _ in range(5):
        assert_problem(ask(service, issuer.token(key=new_key("k9"))), 401)
    assert issuer.asked == 1


@pytest.mark.usefixtures("at_once")
def test_a_new_key_is_fetched_and_the_old_one_counts_no_more(issuer: Issuer, service: Service) -> None:
    old = issuer.token()
    assert ask(service, old).status_code == 200
    issuer.key = new_key("k2")
    issuer.body = published(issuer.key)
    assert ask(service, issuer.token()).status_code == 200
    assert_problem(ask(service, old), 401)


DAMAGE = [b"", b"nothing", b"[]", b"{}", b'{"keys": 3}', b'{"keys": [3]}', b'{"keys": [{"kty": "?"}]}', b"\xff"]


@pytest.mark.parametrize(("status", "body"), [(500, b""), (404, b""), *((200, body) for body in DAMAGE)])
def test_an_issuer_in_trouble_is_told(status: int, body: bytes, issuer: Issuer, service: Service) -> None:
    issuer.status, issuer.body = status, body
    for _ in range(3):
        response = ask(service, issuer.token())
        document = assert_problem(response, 503)
        assert document["type"] == "/docs#IssuerError"
        assert "keys of the token issuer cannot be read" in document["detail"]
        assert int(response.headers["retry-after"]) > 0
    assert issuer.asked == 1, "who waits for an answer in vain holds up all others"


@pytest.mark.usefixtures("at_once")
def test_an_issuer_that_does_not_answer_is_told_and_asked_again(issuer: Issuer, service: Service) -> None:
    good, issuer.body = issuer.body, b""
    assert_problem(ask(service, issuer.token()), 503)
    issuer.body = good
    assert ask(service, issuer.token()).status_code == 200


def test_nobody_at_the_address_is_told() -> None:
    issuer = Issuer()
    with answering(issuer) as url:
        pass
    with with_tokens(url) as service:
        assert_problem(ask(service, issuer.token()), 503)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with with_tokens(str(tmp_path / "keys.json")) as service:
        assert_problem(ask(service, Issuer().token()), 503)


@pytest.mark.usefixtures("at_once")
def test_keys_that_were_fetched_count_on_while_the_issuer_is_away(
    issuer: Issuer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(service, issuer.token()).status_code == 200
    issuer.status = 500
    assert_problem(ask(service, issuer.token(key=new_key("k9"))), 401)
    assert issuer.asked == 2
    assert ask(service, issuer.token()).status_code == 200
    monkeypatch.setattr(tokens, "_KEPT_SECONDS", 0.0)
    assert_problem(ask(service, issuer.token()), 503)


def test_keys_are_not_fetched_from_where_others_could_change_them(issuer: Issuer, service: Service) -> None:
    other = Issuer()
    with answering(other) as elsewhere:
        # By this name the same machine counts as another one.
        issuer.status, issuer.body = 302, elsewhere.replace("127.0.0.1", "0.0.0.0").encode()
        assert_problem(ask(service, other.token()), 503)
    assert other.asked == 1
