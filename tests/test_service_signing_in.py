"""Who comes in: keys that count and keys that do not, this machine, and what every answer says to a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from service_builder import NO_MODEL, Service, assert_problem, new_service
from starlette.testclient import TestClient

from dropout_risk.access import PURPOSES
from dropout_risk.service.app import create_app
from dropout_risk.service.settings import Settings
from dropout_risk.store import keys
from dropout_risk.store.audit import lines
from dropout_risk.store.database import Database

CLOSED: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/score"): {"json": {"tables": {}}},
    ("POST", "/targets"): {"json": {"run_id": "r1", "capacity": 1}},
    ("GET", "/students/{name}"): {},
    ("GET", "/runs"): {},
    ("GET", "/runs/{run_id}"): {},
    ("GET", "/runs/{run_id}/scores"): {},
    ("GET", "/model"): {},
}
"""Every operation that asks who is there, and something to send."""
OPEN = {("GET", "/health/live"), ("GET", "/health/ready")}
OF_THIS_MACHINE = {("GET", "/metrics")}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with new_service(model=NO_MODEL) as made:
        yield made


def send(http: TestClient, operation: tuple[str, str], **headers: str) -> httpx2.Response:
    method, path = operation
    return http.request(method, path.format(name="S1", run_id="r1"), headers=headers, **CLOSED.get(operation, {}))


def but_for_its_id(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return all of an answer that may tell one case from another."""
    return response.status_code, response.content, {k: v for k, v in response.headers.items() if k != "x-request-id"}


# Keys ------------------------------------------------------------------------------------------------


def test_every_operation_is_named_above(service: Service) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert there == {*CLOSED} | OPEN | OF_THIS_MACHINE


@pytest.mark.parametrize("operation", CLOSED)
def test_without_a_key_that_counts_everything_is_closed(operation: tuple[str, str]) -> None:
    with new_service(model=NO_MODEL) as service:
        now = datetime.now(UTC)
        good = service.keys["county"]
        expired = keys.create(service.database, "county", ["990101"], days=1, now=now - timedelta(days=2))
        revoked = keys.create(service.database, "county", ["990101"])
        keys.revoke(service.database, revoked.id)
        bad = [
            expired.token,
            revoked.token,
            f"dr_{good.id}_wrong",
            "dr_nobody_wrong",
            "wrong",
            good.token + "x",
            "秘密",
        ]
        without = send(service.http, operation)
        assert assert_problem(without, 401)["detail"].startswith("Send a key")
        assert without.headers["www-authenticate"] == "Bearer"
        answers = [send(service.http, operation, authorization=f"Bearer {key}".encode()) for key in bad]  # type: ignore[arg-type]
        answers += [send(service.http, operation, **{"x-api-key": revoked.token})]
        assert {but_for_its_id(answer)[:2] for answer in answers} == {but_for_its_id(answers[0])[:2]}
        assert_problem(answers[0], 401)
        assert service.audit == []


@pytest.mark.parametrize("scheme", ["Basic {key}", "{key}", "bearer{key}", "Bearer", "Bearer   "])
def test_another_way_to_send_a_key_is_no_key(scheme: str, service: Service) -> None:
    header = scheme.format(key=service.keys["county"].token)
    assert_problem(service.http.get("/runs", headers={"authorization": header}), 401)


def test_a_key_may_come_in_either_header(service: Service) -> None:
    token = service.keys["county"].token
    for headers in ({"authorization": f"Bearer {token}"}, {"authorization": f"bearer  {token} "}, {"x-api-key": token}):
        assert service.http.get("/runs", headers=headers).status_code == 200
    both = {"authorization": f"Bearer {token}x", "x-api-key": token}
    assert_problem(service.http.get("/runs", headers=both), 401)


@pytest.mark.parametrize("path", ["/score", "/targets"])
def test_nothing_is_read_of_what_a_stranger_sends(path: str, service: Service) -> None:
    too_much = {"content-type": "text/x-unknown", "content-length": "10000000000"}
    assert_problem(service.http.post(path, content=b"", headers=too_much), 401)
    assert_problem(service.ask("auditor", "POST", path, content=b"", headers=too_much), 403)


def test_after_too_many_failures_even_the_right_key_has_to_wait() -> None:
    with new_service(model=NO_MODEL) as service:
        good = service.keys["school"]
        wrong = {"x-api-key": f"dr_{good.id}_wrong"}
        statuses = [service.http.get("/runs", headers=wrong).status_code for _ in range(keys.MAX_FAILURES)]
        assert statuses == [401] * keys.MAX_FAILURES
        for operation in CLOSED:
            response = send(service.http, operation, **{"x-api-key": good.token})
            document = assert_problem(response, 429)
            assert document["type"] == "/docs#LockedError"
            assert 0 < int(response.headers["retry-after"]) <= keys.LOCKED_FOR.total_seconds()
            assert response.headers["retry-after"] in document["detail"]
        assert service.ask("county", "GET", "/runs").status_code == 200
        elsewhere = TestClient(service.http.app, client=("10.0.0.9", 1))
        assert elsewhere.get("/runs", headers={"x-api-key": good.token}).status_code == 200
        figures = service.http.get("/metrics").text
        assert 'dropout_risk_denied_total{reason="LockedError"} 7.0' in figures
        assert f'dropout_risk_denied_total{{reason="SignInError"}} {keys.MAX_FAILURES}.0' in figures


def test_a_key_that_is_revoked_counts_no_more_at_once() -> None:
    with new_service(model=NO_MODEL) as service:
        assert service.ask("county", "GET", "/runs").status_code == 200
        keys.revoke(service.database, service.keys["county"].id)
        assert_problem(service.ask("county", "GET", "/runs"), 401)


@pytest.mark.parametrize("host", ["[::1", "a b", "", "x" * 5000, "localhost:99999", "@", "[", "é"])
def test_whatever_name_the_service_is_called_by_nothing_breaks(host: str) -> None:
    with trial() as http:
        for path in ("/runs", "/runs/", "/metrics", "/nowhere"):
            response = http.get(path, headers={b"host": host.encode()}, follow_redirects=False)
            assert response.status_code < 500


# This machine ----------------------------------------------------------------------------------------


@contextmanager
def trial(client: tuple[str, int] = ("127.0.0.1", 5), **options: Any) -> Iterator[TestClient]:
    """Run a service that needs no key on its own machine, and ask from `client`."""
    with new_service(model=NO_MODEL, access="local", **options) as service:
        yield TestClient(service.http.app, client=client, base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize("machine", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("name", ["127.0.0.1:8000", "localhost:8000", "localhost", "[::1]:8000", "office"])
def test_this_machine_needs_no_key_for_trials(machine: str, name: str) -> None:
    with trial((machine, 5)) as http:
        assert http.get("/runs", headers={"host": name}).status_code == 200


@pytest.mark.parametrize("machine", ["10.0.0.9", "128.0.0.1", "::2", "localhost", ""])
def test_other_machines_are_not_let_in_without_a_key(machine: str) -> None:
    with trial((machine, 5)) as http:
        for operation in CLOSED:
            assert "its own machine only" in assert_problem(send(http, operation), 401)["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-for": ""},
        {"X-Real-IP": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x-forwarded-proto": "https"},
        {"x-forwarded-host": "localhost"},
        {"via": "1.1 proxy"},
        {"host": "risk.example.org"},
        {"host": "127.0.0.1.example.org:8000"},
    ],
)
def test_nobody_comes_in_through_a_proxy_or_under_another_name(headers: dict[str, str]) -> None:
    with trial() as http:
        for operation in CLOSED:
            assert_problem(send(http, operation, **headers), 401)


def test_a_key_counts_for_trials_as_well_and_a_wrong_one_is_refused() -> None:
    with new_service(model=NO_MODEL, access="local") as service:
        http = TestClient(service.http.app, client=("10.0.0.9", 1))
        assert http.get("/runs", headers={"x-api-key": service.keys["county"].token}).status_code == 200
        assert_problem(service.http.get("/runs", headers={"x-api-key": "wrong"}), 401)


def test_where_keys_are_needed_this_machine_needs_one_too(service: Service) -> None:
    http = TestClient(service.http.app, client=("127.0.0.1", 1), base_url="http://127.0.0.1")
    assert_problem(http.get("/runs"), 401)


def test_the_figures_are_for_this_machine_and_for_those_who_look_after_it(service: Service) -> None:
    http = TestClient(service.http.app, client=("10.0.0.9", 1))

    def ask(who: str) -> httpx2.Response:
        return http.get("/metrics", headers={"x-api-key": service.keys[who].token})

    assert service.http.get("/metrics").status_code == 200
    assert_problem(http.get("/metrics"), 401)
    assert {who: ask(who).status_code for who in ("auditor", "admin", "school", "county", "province")} == {
        "auditor": 200, "admin": 200, "school": 403, "county": 403, "province": 403,
    }  # fmt: skip


# What every answer says to a browser -----------------------------------------------------------------

SAFE = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def test_every_answer_is_kept_out_of_caches_and_other_pages() -> None:
    with new_service(model=NO_MODEL, cors_origins="https://office.example.org") as service:

        @service.http.app.get("/broken")  # type: ignore[attr-defined]
        def broken() -> None:
            raise RuntimeError

        token = {"x-api-key": service.keys["county"].token}
        preflight = {"origin": "https://office.example.org", "access-control-request-method": "POST"}
        answers = {
            200: service.http.get("/runs", headers=token),
            401: service.http.get("/runs"),
            404: service.http.get("/nowhere"),
            405: service.http.get("/score"),
            422: service.http.get("/runs", params={"limit": 0}, headers=token),
            500: service.http.get("/broken"),
            503: service.http.get("/model", headers=token),
        }
        assert {status: answer.status_code for status, answer in answers.items()} == {n: n for n in answers}
        for answer in [*answers.values(), service.http.options("/score", headers=preflight), service.http.get("/docs")]:
            assert {name: answer.headers.get(name) for name in SAFE} == SAFE
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["x-request-id"]


def test_other_pages_may_not_call_the_service(service: Service) -> None:
    origin = {"origin": "https://office.example.org"}
    response = service.ask("county", "GET", "/runs", headers=origin)
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = {**origin, "access-control-request-method": "POST"}
    assert_problem(service.http.options("/score", headers=preflight), 405)


def test_pages_that_are_named_may_call_the_service() -> None:
    with new_service(model=NO_MODEL, cors_origins="https://a.example.org, https://b.example.org") as service:

        def allowed(origin: str) -> str | None:
            response = service.ask("county", "GET", "/runs", headers={"origin": origin})
            assert "access-control-allow-credentials" not in response.headers
            return response.headers.get("access-control-allow-origin")

        assert allowed("https://a.example.org") == "https://a.example.org"
        assert allowed("https://b.example.org") == "https://b.example.org"
        assert allowed("https://c.example.org") is None
        assert allowed("https://a.example.org.evil.org") is None
        asked = "authorization, content-type, idempotency-key, x-api-key, x-purpose, x-request-id"
        preflight = {"access-control-request-method": "POST", "access-control-request-headers": asked}
        good = service.http.options("/score", headers={**preflight, "origin": "https://a.example.org"})
        assert good.status_code == 200
        assert "x-purpose" in good.headers["access-control-allow-headers"]
        bad = service.http.options("/score", headers={**preflight, "origin": "https://c.example.org"})
        assert bad.status_code == 400
        assert "access-control-allow-origin" not in bad.headers


def test_no_address_and_no_failure_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else traces in this process: an address may hold the id of a student, a failure its record."""
    traced = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(traced))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with new_service(model=NO_MODEL) as service:
        assert_problem(service.ask("county", "GET", "/students/G513425201001011328"), 404)
    assert traced.get_finished_spans() == ()


# What for --------------------------------------------------------------------------------------------


def test_the_purpose_is_one_of_a_list_and_stands_in_the_audit() -> None:
    with new_service(model=NO_MODEL) as service:
        assert service.ask("county", "GET", "/runs").status_code == 200
        for purpose in PURPOSES:
            assert service.ask("county", "GET", "/runs", headers={"x-purpose": purpose}).status_code == 200
        for wrong in ("", "Support", "王小明", "support,planning", "curiosity"):
            response = service.ask("county", "GET", "/runs", headers={b"x-purpose": wrong.encode()})
            detail = assert_problem(response, 422)["detail"]
            assert detail == f"The header X-Purpose takes one of {', '.join(PURPOSES)}."
        assert [line.purpose for line in service.audit] == ["support", *PURPOSES]


def test_a_store_that_does_not_answer_is_told_before_keys_are_looked_at() -> None:
    settings = Settings(model=NO_MODEL, store="sqlite:////nowhere/at/all/store.db")
    with TestClient(create_app(settings)) as http:
        for operation in CLOSED:
            assert "The store does not answer" in assert_problem(send(http, operation), 503)["detail"]
        assert http.get("/health/live").status_code == 200


def test_every_kind_of_problem_is_explained_where_its_type_leads(service: Service) -> None:
    page = service.http.get("/docs").text
    for kind in ("SignInError", "LockedError", "AccessError", "NotFoundError", "NotAcceptableError", "BusyError",
                 "IssuerError", "OtherRequestError", "StoreError"):  # fmt: skip
        assert f'id="{kind}"' in page


def test_two_services_on_one_store_let_in_the_same_people() -> None:
    with new_service(model=NO_MODEL) as service:
        url = service.database.url.render_as_string(hide_password=False)
        with TestClient(create_app(Settings(model=NO_MODEL, store=url))) as other:
            token = {"x-api-key": service.keys["county"].token}
            assert other.get("/runs", headers=token).status_code == 200
        database = Database(url)
        assert [line.subject for line in lines(database)] == [service.keys["county"].id]
        database.close()
