"""The same request under one idempotency key is scored once, also when it is sent twice at the same time."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from roster_builder import as_records, csv_of, lines_of, settings, wide
from sqlalchemy import func, select
from starlette.testclient import TestClient
from stores import KINDS, lost_commits, new_store

from dropout_risk.errors import StoreError
from dropout_risk.service import runs as sending
from dropout_risk.service.answers import MEDIA_TYPES
from dropout_risk.service.app import create_app
from dropout_risk.store import runs
from dropout_risk.store.database import UnknownOutcomeError
from dropout_risk.store.schema import Replay, Run, Score

JSON = {"content-type": "application/json"}
REPLAYED = "idempotency-replayed"


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with new_store(request.param) as store, TestClient(create_app(settings(store=store))) as client:
        assert client.app.state.service.named  # the first to ask makes the secret of the store
        yield client


@pytest.fixture(scope="module")
def body() -> bytes:
    return json.dumps({"tables": as_records(2)}).encode()


def send(client: TestClient, body: bytes, key: str | None = None, **headers: str) -> httpx2.Response:
    keyed = {} if key is None else {"idempotency-key": key}
    return client.post("/score", content=body, headers={**JSON, **keyed, **headers})


def kept(client: TestClient) -> tuple[int, int, int]:
    """Return how many runs, scores and answers the store holds."""
    with client.app.state.service.database.reading() as session:
        return tuple(session.scalar(select(func.count()).select_from(table)) for table in (Run, Score, Replay))


def kept_since(client: TestClient, before: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(now - then for now, then in zip(kept(client), before, strict=True))


def test_the_same_request_again_gets_the_same_answer_and_scores_nothing(client: TestClient, body: bytes) -> None:
    before = kept(client)
    first, again = send(client, body, "once"), send(client, body, "once")
    assert first.status_code == 200
    assert again.content == first.content
    assert (first.headers.get(REPLAYED), again.headers[REPLAYED]) == (None, "true")
    assert kept_since(client, before) == (1, 4, 1)


def test_the_same_request_sent_at_the_same_time_is_one_run(client: TestClient, body: bytes) -> None:
    before = kept(client)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: send(client, body, "together"), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get(REPLAYED, "") for answer in answers) == ["", *["true"] * 5]
    assert kept_since(client, before) == (1, 4, 1)


def test_another_request_under_the_key_is_refused_and_not_scored(client: TestClient, body: bytes) -> None:
    assert send(client, body, "mine").status_code == 200
    before = kept(client)
    for other in (json.dumps({"tables": as_records(1)}).encode(), body + b" "):
        answer = send(client, other, "mine")
        assert answer.status_code == 422
        assert "use a new key" in answer.json()["detail"]
    assert send(client, body, "mine", accept="text/csv").status_code == 422  # another answer is another request
    assert kept_since(client, before) == (0, 0, 0)


def test_without_a_key_and_under_two_keys_there_are_two_runs(client: TestClient, body: bytes) -> None:
    for keys in ([None, None], ["one", "two"]):
        before = kept(client)
        runs = {send(client, body, key).json()["run_id"] for key in keys}
        assert len(runs) == 2
        assert kept_since(client, before)[:2] == (2, 8)


def test_a_request_that_failed_may_be_sent_again_corrected_under_its_key(client: TestClient, body: bytes) -> None:
    assert send(client, b'{"tables": {}}', "corrected").status_code == 422
    assert send(client, body, "corrected").status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/csv", MEDIA_TYPES["xlsx"]])
def test_an_answer_in_any_format_is_given_again_byte_for_byte(client: TestClient, body: bytes, accept: str) -> None:
    first, again = (send(client, body, f"as {accept}", accept=accept) for _ in range(2))
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert again.headers.get("content-disposition") == first.headers.get("content-disposition")


def test_the_same_files_are_the_same_request_however_the_form_is_divided(client: TestClient) -> None:
    roster = csv_of(lines_of("roster", wide(as_records(2))["roster"], chinese=True))
    request: dict[str, Any] = {"headers": {"idempotency-key": "files"}, "data": {"lang": "en"}}
    first, again = (client.post("/score", files={"file": ("花名册.csv", roster)}, **request) for _ in range(2))
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert first.status_code == 200
    assert again.content == first.content
    other = client.post("/score", files={"file": ("花名册.csv", roster)}, headers=request["headers"])
    assert other.status_code == 422


@pytest.mark.parametrize("key", ["", "x" * 101, "tab\tinside"])
def test_a_key_that_cannot_be_used_is_refused(client: TestClient, body: bytes, key: str) -> None:
    before = kept(client)
    assert send(client, body, key).status_code == 422
    assert kept_since(client, before) == (0, 0, 0)


@pytest.mark.parametrize("accept", MEDIA_TYPES.values())
def test_a_long_answer_is_sent_in_pieces_and_is_the_same(
    client: TestClient, body: bytes, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = send(client, body, f"pieces {accept}", accept=accept)
    assert int(short.headers["content-length"]) == len(short.content)
    for at_once in (1, 100):
        monkeypatch.setattr(sending, "_AT_ONCE", at_once)
        long = send(client, body, f"pieces {accept}", accept=accept)
        assert "content-length" not in long.headers
        assert (long.content, long.headers["content-type"]) == (short.content, short.headers["content-type"])


# A commit that is lost -------------------------------------------------------------------------------


def test_an_answer_that_was_kept_although_the_commit_was_lost_is_given(client: TestClient, body: bytes) -> None:
    before = kept(client)
    with lost_commits(client.app.state.service.database, kept=True, most=1):
        given = send(client, body, "lost")
    again = send(client, body, "lost")
    for one in (given, again):
        assert (one.status_code, one.headers[REPLAYED]) == (200, "true")
    assert again.content == given.content
    assert kept_since(client, before) == (1, 4, 1)


def test_a_run_that_was_lost_in_the_commit_is_not_said_to_be_lost(client: TestClient, body: bytes) -> None:
    state = client.app.state.service
    for carried_out in (True, False):
        before = kept(client)
        with lost_commits(state.database, kept=carried_out):
            lost = send(client, body)
        assert lost.status_code == 503
        told = lost.json()
        assert (told["type"], told["title"]) == ("/docs#UnknownOutcomeError", UnknownOutcomeError.title)
        assert "nothing" not in told["detail"]
        for what in ("not known", "the same Idempotency-Key", "GET /runs"):
            assert what in told["detail"]
        assert lost.headers["retry-after"]
        run = re.search(r"[0-9a-f]{32}", told["detail"])
        assert run is not None
        assert (client.get(f"/runs/{run[0]}").status_code == 200) == carried_out
        assert kept_since(client, before) == ((1, 4, 0) if carried_out else (0, 0, 0))


def test_a_store_that_is_gone_after_the_commit_was_lost_changes_nothing_of_what_is_told(
    client: TestClient, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, asked = client.app.state.service.database, []

    def gone_at_the_second_look(*_: object) -> None:
        asked.append(1)
        if len(asked) > 1:
            raise StoreError("The store does not answer; nothing of this request was kept.")

    monkeypatch.setattr(runs, "answer_of", gone_at_the_second_look)
    with lost_commits(database, kept=True):
        told = send(client, body, "gone").json()
    assert len(asked) == 2
    assert told["type"] == "/docs#UnknownOutcomeError"
    assert "nothing" not in told["detail"]
