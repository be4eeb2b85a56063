"""The Python client against the service itself: frames and files in, frames out, and sentences when it is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from service_builder import NEIGHBOUR, SCHOOL, Service, by_student, new_service, small_roster
from trained_county import two_counties

from dropout_risk import client as asking
from dropout_risk.client import Client, ServiceError, columns_of
from dropout_risk.county import newest_day
from dropout_risk.registers import lines_of_marks
from dropout_risk.schema import Tables
from dropout_risk.tables import tables_from_records, write_tables

DAY = str(newest_day(two_counties()).date())


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with new_service() as made:
        yield made


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client("http://testserver", service.keys["county"].token, transport=service.http._transport) as made:
        yield made


@pytest.fixture(scope="module")
def tables() -> Tables:
    return tables_from_records(small_roster(SCHOOL, NEIGHBOUR))


def test_frames_and_files_are_scored_alike_and_as_records_are(
    client: Client, service: Service, tables: Tables, tmp_path: object
) -> None:
    written = write_tables(tables, str(tmp_path))
    by_records = service.score("county", small_roster(SCHOOL, NEIGHBOUR), as_of=DAY, lang="zh")
    for roster in (dict(tables), written):
        scored = client.score(roster, as_of=DAY, lang="zh")
        assert scored.rows_in == len(scored.frame) + len(scored.refused) == by_records["rows_in"]
        assert scored.frame[["student_id", "risk", "rank"]].to_dict("records") == [
            {name: row[name] for name in ("student_id", "risk", "rank")} for row in by_records["students"]
        ]
        assert scored.as_of == DAY
        assert scored.run_id in {run["run_id"] for run in client.runs()}


def test_a_list_is_cut_from_a_run(client: Client, tables: Tables) -> None:
    scored = client.score(dict(tables), as_of=DAY)
    chosen = client.targets(str(scored.run_id), 2)
    assert chosen.frame["pseudonym"].tolist() == scored.frame["pseudonym"].tolist()[:2]
    assert chosen.considered == len(scored.frame)
    assert client.scores_of(str(scored.run_id))["risk"].tolist() == scored.frame["risk"].tolist()


def test_one_student_is_opened_only_when_asked(client: Client, tables: Tables) -> None:
    first = client.score(dict(tables), as_of=DAY).frame.iloc[0]
    assert client.student(first["pseudonym"])["student_id"] is None
    assert client.student(first["pseudonym"], open=True)["student_id"] == first["student_id"]
    assert client.model()["kind"] == "county"


def test_what_was_scored_in_one_language_is_read_in_another(client: Client, tables: Tables) -> None:
    told = {lang: client.score(dict(tables), as_of=DAY, lang=lang) for lang in ("zh", "en")}
    name = told["zh"].frame["pseudonym"][0]
    rows = {lang: one.frame.iloc[0].to_dict() for lang, one in told.items()}
    assert rows["zh"]["reasons"] != rows["en"]["reasons"]
    for asked, lang in ((None, "en"), ("zh", "zh"), ("en", "en")):  # the last score was in English
        entries = client.student(name, lang=asked)["history"][:2]
        for entry in entries:
            assert (entry["reasons"], entry["data_gaps"]) == (rows[lang]["reasons"], rows[lang]["data_gaps"])
    for scored in told.values():
        for lang, row in rows.items():
            first = client.targets(str(scored.run_id), 1, lang=lang).frame.iloc[0]
            assert (first["reasons"], first["data_gaps"]) == (row["reasons"], row["data_gaps"])
            first = client.scores_of(str(scored.run_id), lang=lang).iloc[0]
            assert (first["reasons"], first["data_gaps"]) == (row["reasons"], row["data_gaps"])


def test_what_is_refused_says_where_and_what_to_do(client: Client, service: Service) -> None:
    with pytest.raises(ServiceError, match="column reasons") as caught:
        client.score({"terms": pd.DataFrame({"term": ["x"]})}, reasons=99)
    assert caught.value.status == 422
    assert caught.value.problems[0]["column"] == "reasons"
    with Client("http://testserver", "dr_no_key", transport=service.http._transport) as stranger:
        with pytest.raises(ServiceError, match="does not count") as refused:
            stranger.model()
        assert refused.value.status == 401


def answering(*answers: Callable[[], httpx2.Response]) -> tuple[httpx2.MockTransport, list[httpx2.Request]]:
    """Return a service that answers so, one after the other, and what it was asked."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answers[len(asked) - 1]()

    return httpx2.MockTransport(answer), asked


def busy() -> httpx2.Response:
    return httpx2.Response(503, headers={"retry-after": "7"}, json={"detail": "The service is busy."})


def lost() -> httpx2.Response:
    raise httpx2.ConnectError("gone")


def done() -> httpx2.Response:
    return httpx2.Response(200, json={"kind": "county"})


def test_a_busy_service_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(asking.time, "sleep", waited.append)
    transport, asked = answering(busy, lost, done)
    assert Client("http://x", transport=transport).model() == {"kind": "county"}
    assert waited == [7.0, 1.0]
    assert len({request.headers.get("idempotency-key") for request in asked}) == 1


@pytest.mark.parametrize(("answer", "said"), [(busy, "busy"), (lost, "does not answer")])
def test_it_gives_up_in_the_end(
    answer: Callable[[], httpx2.Response], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    transport, asked = answering(*[answer] * 3)
    with pytest.raises(ServiceError, match=said):
        Client("http://x", retries=2, transport=transport).model()
    assert len(asked) == 3


def test_an_answer_of_something_else_is_told() -> None:
    transport, _ = answering(lambda: httpx2.Response(502, text="<html>"))
    with pytest.raises(ServiceError, match="status 502"):
        Client("http://x", transport=transport).model()


def test_a_table_becomes_columns_that_mean_the_same(tables: Tables) -> None:
    again = tables_from_records({name: columns_of(frame) for name, frame in tables.items() if len(frame)})
    for name, frame in again.items():
        pd.testing.assert_frame_equal(frame, tables[name], check_dtype=False, check_categorical=False)


def one_day(tables: Tables) -> Tables:
    """Return the tables with the marks of an exam known on one day, as a school that writes mark sheets has them."""
    marks = tables["grades"]
    day = marks.groupby(["term", "exam"], observed=True)["exam_date"].transform("first")
    return tables.replace(grades=marks.assign(exam_date=day, recorded_at=day))


def test_marks_are_sent_as_sheets_and_the_scores_are_the_same_to_the_bit(
    client: Client, service: Service, tables: Tables, tmp_path: Path
) -> None:
    tables = one_day(tables)
    transport, asked = answering(lambda: httpx2.Response(422, json={"detail": "no"}))
    with pytest.raises(ServiceError):
        Client("http://x", transport=transport).score(dict(tables))
    sent = json.loads(asked[0].content)["tables"]
    assert {"chinese", "math"} <= set(sent["grades"])
    assert "subject" not in sent["grades"]
    as_rows = {**sent, "grades": columns_of(tables["grades"])}
    one, other = (service.score("county", roster, as_of=DAY) for roster in (sent, as_rows))
    assert by_student(one) == by_student(other)
    assert one["problems"] == other["problems"]
    risks = [row["risk"] for row in one["students"]]
    assert client.score(dict(tables), as_of=DAY).frame["risk"].tolist() == risks
    files = [path for path in write_tables(tables, tmp_path / "files") if path.stem != "grades"]
    lines_of_marks(tables["grades"]).to_csv(tmp_path / "成绩册.csv", index=False)
    assert client.score([*files, tmp_path / "成绩册.csv"], as_of=DAY).frame["risk"].tolist() == risks


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("grades", {"subject": "总分"}),
        ("grades", {"subject": None}),
        ("grades", {"absent": True}),
        ("grades", {"absent": None}),
        ("grades", {"score": "88"}),
        ("attendance", {"date": "2020年9月1日"}),
        ("attendance", {"code": None}),
    ],
)
def test_what_lines_cannot_say_is_sent_as_it_is(tables: Tables, table: str, change: dict[str, object]) -> None:
    frame = one_day(tables)[table].assign(**change)
    transport, asked = answering(lambda: httpx2.Response(422, json={"detail": "no"}))
    with pytest.raises(ServiceError):
        Client("http://x", transport=transport).score({table: frame})
    assert json.loads(asked[0].content)["tables"][table] == columns_of(frame)


def test_scores_of_a_student_are_those_of_the_answer(client: Client, tables: Tables) -> None:
    scored = client.score(dict(tables), as_of=DAY)
    told = {"students": scored.frame.to_dict("records")}
    assert by_student(told).keys() == set(scored.frame["student_id"])
