"""The HTTP service, from the outside: what goes in over HTTP, what comes out, what is in the log."""

import copy
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from service_builder import (
    JSON,
    OF_STUDENTS,
    Roster,
    assert_problem,
    by_student,
    enrolled,
    open_service,
    post,
    roster_of,
    scored_by,
)
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from dropout_risk.asof import term_ends
from dropout_risk.bundle import Bundle, save_bundle
from dropout_risk.cohort import cohorts
from dropout_risk.county import check_county
from dropout_risk.errors import SettingsError
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.pipeline import score
from dropout_risk.reference import build_reference
from dropout_risk.schema import TABLES, Tables
from dropout_risk.scores import Scores
from dropout_risk.service.app import create_app
from dropout_risk.service.examples import PROBLEMS, SCORE_ANSWER, SCORE_REQUESTS
from dropout_risk.service.problems import RowsError
from dropout_risk.service.schemas import ModelAnswer, Problem, ScoreAnswer, ScoreRequest
from dropout_risk.service.scoring import checked
from dropout_risk.service.settings import Settings, load_settings
from dropout_risk.synthetic import make_county
from dropout_risk.training import county_model

ROOT = Path(__file__).parents[1]
BANDS = {"high": 0.2, "raised": 0.1, "watch": 0.05}


@pytest.fixture(scope="module")
def county() -> Tables:
    """Three terms of a county in which many leave, so that trees are learned from it."""
    return make_county(600, terms=3, seed=5, shift=2.0)


@pytest.fixture(scope="module")
def bundle(county: Tables) -> Bundle:
    """A county model as `train` makes it, without the evaluation."""
    X, y, groups, term = cohorts(county)
    last = term_ends(county)[-1]
    return Bundle(
        model=county_model().fit(X, y, groups=groups, term=term),
        kind="county",
        created="2026-11-22",
        preset="default",
        bands=BANDS,
        reference=build_reference(county, last).to_dict(),
        data={"rows": len(y), "as_of": str(last.date())},
    )


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bundle(bundle, tmp_path_factory.mktemp("models") / "county")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(open_service(folder))) as client:
        yield client


@pytest.fixture(scope="module")
def batch(county: Tables, bundle: Bundle) -> Scores:
    """The county's own run, at the end of its last term."""
    return score(check_county(county), bundle)


@pytest.fixture(scope="module")
def small_roster(county: Tables, batch: Scores) -> Roster:
    """Six students of one school who get a score."""
    school = batch.frame["school_id"].iloc[0]
    return roster_of(county, batch.frame.loc[batch.frame["school_id"] == school, "student_id"].iloc[:6])


def scored(client: TestClient, body: Any) -> dict[str, Any]:
    return scored_by(post(client, body))


def but_for_the_run(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what each run and each store has of its own."""
    students = [{k: v for k, v in row.items() if k != "pseudonym"} for row in answer["students"]]
    return {**answer, "run_id": None, "students": students}


@pytest.fixture(scope="module")
def whole(client: TestClient, small_roster: Roster) -> dict[str, Any]:
    """The answer, in English, to the small roster as it is."""
    return scored(client, {"tables": small_roster, "lang": "en"})


# ---------------------------------------------------------------------------------------- one school


@pytest.mark.slow
def test_every_school_gets_exactly_the_numbers_of_the_countys_own_run(
    client: TestClient, county: Tables, batch: Scores
) -> None:
    expected = by_student(batch.to_dict())
    schools = enrolled(county)
    seen: dict[str, dict[str, Any]] = {}
    for school in sorted(schools.unique()):
        answer = scored(client, {"tables": roster_of(county, schools.index[schools == school])})
        assert answer["rows_in"] == (schools == school).sum()
        assert answer["as_of"] == batch.as_of
        seen |= by_student(answer)
    assert len(seen) == len(expected)
    assert seen == expected


@pytest.mark.slow
def test_an_earlier_day_is_scored_with_what_was_known_then(client: TestClient, small_roster: Roster) -> None:
    day = small_roster["terms"][1]["end"]
    early = scored(client, {"as_of": day, "tables": small_roster})
    without_later = copy.deepcopy(small_roster)
    for name in ("attendance", "grades", "status_changes"):
        date_of = {"grades": "recorded_at"}.get(name, "date")
        without_later[name] = [row for row in small_roster[name] if row[date_of] <= day]
    assert early["as_of"] == day
    assert by_student(scored(client, {"as_of": day, "tables": without_later})) == by_student(early)


@pytest.mark.slow
def test_language_and_number_of_reasons(client: TestClient, small_roster: Roster, whole: dict[str, Any]) -> None:
    zh = scored(client, {"tables": small_roster, "reasons": 2})
    assert "由人作出决定" in zh["disclaimer"]
    assert "a person decides" in whole["disclaimer"]
    for chinese, english in zip(zh["students"], whole["students"], strict=True):
        assert chinese["risk"] == english["risk"]
        assert [reason["feature"] for reason in chinese["reasons"]] == [r["feature"] for r in english["reasons"][:2]]
        assert all(reason["text"].isascii() for reason in english["reasons"])
        assert not any(reason["text"].isascii() for reason in chinese["reasons"])


def test_headers_may_be_chinese(client: TestClient, small_roster: Roster, whole: dict[str, Any]) -> None:
    chinese = {
        name: [{TABLES[name][column].zh: value for column, value in row.items()} for row in rows]
        for name, rows in small_roster.items()
    }
    assert by_student(scored(client, {"tables": chinese, "lang": "en"})) == by_student(whole)


@pytest.mark.slow
def test_answers_are_the_same_side_by_side(client: TestClient, small_roster: Roster, whole: dict[str, Any]) -> None:
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda _: scored(client, {"tables": small_roster, "lang": "en"}), range(4)))
    assert [but_for_the_run(answer) for answer in together] == [but_for_the_run(whole)] * 4
    assert len({answer["run_id"] for answer in together}) == 4


# ---------------------------------------------------------------------------------------- damage

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=12),
    st.sampled_from([10**400, -(10**30), 1e308, "NaN", "Infinity"]),
    st.sampled_from(["2999-01-01", "9999-12-31", "1066-01-01", "2021-13-45"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


def current_rows(roster: Roster) -> list[tuple[int, str]]:
    """Return position, from 1, and student of the enrolments that say nothing else than the last term."""
    term = roster["terms"][-1]["term"]
    return [(n, row.get("student_id")) for n, row in enumerate(roster["enrolments"], 1) if row.get("term") == term]


def assert_all_accounted_for(answer: dict[str, Any], roster: Roster) -> None:
    assert answer["rows_in"] == answer["scored"] + answer["refused_count"]
    assert answer["scored"] == len(answer["students"])
    assert answer["refused_count"] == len(answer["refused"])
    refused = {row["row"] for row in answer["refused"]}
    students = {row["student_id"] for row in answer["students"]}
    for row, student in current_rows(roster):
        assert row in refused or str(student).strip() in students
    assert all(row["message"] for row in answer["refused"])


def pick(items: Any, number: int) -> Any:
    """Return one of `items`, whatever the number."""
    return sorted(items)[number % len(items)]


def damage_rows(roster: Roster, plan: list[tuple[str, str, int, int, Any]], *, touched: set[str]) -> Roster:
    """Return a copy in which rows of the students in `touched` are damaged."""
    roster = copy.deepcopy(roster)
    for name, kind, place, column, junk in plan:
        places = [
            n
            for n, row in enumerate(roster[name])
            if row and isinstance(row.get("student_id"), str) and row["student_id"] in touched
        ]
        if not places:
            continue
        row = roster[name][pick(places, place)]
        match kind:
            case "junk":
                row[pick(row, column)] = junk
            case "drop":
                del row[pick(row, column)]
            case "delete":
                roster[name].remove(row)
            case "copy":
                roster[name].append({**row, pick(row, column): junk})
            case "extra":
                row["note"] = junk
    return roster


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(OF_STUDENTS), st.sampled_from(["junk", "drop", "delete", "copy", "extra"]),
            st.integers(0, 999), st.integers(0, 99), JUNK,
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_damage_to_some_rows_costs_no_other_row_its_score(
    client: TestClient, small_roster: Roster, whole: dict[str, Any], plan: list[tuple[str, str, int, int, Any]]
) -> None:
    students = [row["student_id"] for row in small_roster["students"]]
    roster = damage_rows(small_roster, plan, touched=set(students[:3]))
    answer = scored(client, {"tables": roster, "lang": "en"})
    assert_all_accounted_for(answer, roster)
    before, after = by_student(whole), by_student(answer)
    assert {student: after.get(student) for student in students[3:]} == {s: before[s] for s in students[3:]}


def damage_tables(roster: Roster, plan: list[tuple[str, str, int, list[Any]]]) -> Roster:
    """Return a copy in which whole tables are damaged, also those that all students share."""
    roster = copy.deepcopy(roster)
    for name, kind, place, junk in plan:
        rows, column = roster.get(name, []), pick(TABLES[name].names, place)
        match kind:
            case "leave out":
                roster.pop(name, None)
            case "empty":
                roster[name] = []
            case "blank":
                roster[name] = [{}, *rows[:1]]
            case "rename":
                roster[name] = [{f"{key}!": value for key, value in row.items()} for row in rows]
            case "column":
                roster[name] = [{key: value for key, value in row.items() if key != column} for row in rows]
            case "junk":
                roster[name] = [{**row, column: junk[n % len(junk)]} for n, row in enumerate(rows)]
    return roster


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(["terms", "calendar", "schools", *OF_STUDENTS]),
            st.sampled_from(["leave out", "empty", "blank", "rename", "column", "junk"]),
            st.integers(0, 99), st.lists(JUNK, min_size=1, max_size=3),
        ),
        min_size=1, max_size=3,
    ),
    as_of=st.none() | st.dates().map(str),
)  # fmt: skip
def test_whatever_happens_to_the_tables_the_answer_is_scores_or_a_problem(
    client: TestClient, small_roster: Roster, plan: list[tuple[str, str, int, list[Any]]], as_of: str | None
) -> None:
    response = post(client, {"tables": damage_tables(small_roster, plan), "as_of": as_of})
    if response.status_code == 200:
        answer = response.json()
        assert answer["rows_in"] == answer["scored"] + answer["refused_count"]
    else:
        assert_problem(response, 422)


DAMAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "a list for a number": ("enrolments", {"grade": [7]}),
    "an object for a text": ("enrolments", {"school_id": {"id": 1}}),
    "a grade out of range": ("enrolments", {"grade": 17}),
    "a huge number": ("enrolments", {"grade": 1e308}),
    "an unknown school": ("enrolments", {"school_id": "nowhere"}),
    "an unknown term": ("enrolments", {"term": "nowhen"}),
    "no student": ("enrolments", {"student_id": None}),
    "an unknown student": ("enrolments", {"student_id": "nobody"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_row_is_refused_and_the_good_ones_are_scored(
    client: TestClient, small_roster: Roster, whole: dict[str, Any], damage: str
) -> None:
    name, change = DAMAGE[damage]
    roster = copy.deepcopy(small_roster)
    row, student = current_rows(roster)[0]
    roster[name][row - 1] |= change
    answer = scored(client, {"tables": roster, "lang": "en"})
    assert answer["rows_in"] == 6
    assert answer["refused_count"] == 1
    (refused,) = answer["refused"]
    assert (refused["table"], refused["row"], refused["column"]) == (name, row, next(iter(change)))
    assert by_student(answer) == {other: row for other, row in by_student(whole).items() if other != student}


@pytest.mark.slow
def test_a_term_whose_rows_are_all_refused_is_not_replaced_by_an_earlier_one(
    client: TestClient, small_roster: Roster
) -> None:
    roster = copy.deepcopy(small_roster)
    for row, _ in current_rows(roster):
        roster["enrolments"][row - 1]["school_id"] = "nowhere"
    answer = scored(client, {"tables": roster})
    assert answer["students"] == []
    assert [(row["column"], row["row"]) for row in answer["refused"]] == [
        ("school_id", row) for row, _ in current_rows(roster)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attendance", "grades", "households", "status_changes"])
def test_a_table_that_can_be_missing_may_be_left_out_or_empty(
    client: TestClient, small_roster: Roster, name: str
) -> None:
    without = {other: rows for other, rows in small_roster.items() if other != name}
    answer = scored(client, {"tables": without})
    assert answer["scored"] == 6
    assert but_for_the_run(scored(client, {"tables": {**without, name: []}})) == but_for_the_run(answer)


def test_a_bad_cell_outside_the_roster_is_told_and_costs_no_score(client: TestClient, small_roster: Roster) -> None:
    roster = copy.deepcopy(small_roster)
    roster["attendance"][4]["code"] = "Q"
    answer = scored(client, {"tables": roster, "lang": "en"})
    assert answer["scored"] == 6
    (problem,) = [problem for problem in answer["problems"] if problem["level"] == "error"]
    assert (problem["table"], problem["row"], problem["column"], problem["value"]) == ("attendance", 5, "code", "Q")
    assert problem["message"].isascii()


@pytest.mark.slow
def test_problems_are_counted_where_they_are_too_many_to_list(client: TestClient, small_roster: Roster) -> None:
    roster = copy.deepcopy(small_roster)
    for row in roster["attendance"][:250]:
        row["code"] = "Q"
    answer = scored(client, {"tables": roster})
    assert len(answer["problems"]) + answer["problems_left_out"] >= 250
    assert answer["problems_left_out"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["students", "enrolments"])
def test_a_table_that_is_needed_is_asked_for(client: TestClient, small_roster: Roster, name: str) -> None:
    without = {other: rows for other, rows in small_roster.items() if other != name}
    for roster in (without, {**without, name: []}):
        document = assert_problem(post(client, {"tables": roster, "lang": "zh"}), 422)
        assert {"table": name, "row": None} in [
            {key: problem[key] for key in ("table", "row")} for problem in document["problems"]
        ]
        assert any("缺少" in problem["message"] for problem in document["problems"])


# ---------------------------------------------------------------------------------------- the envelope

BAD_REQUESTS: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "half": (b'{"tables": {', 400),
    "not UTF-8": ('{"tables": {"成绩": []}}'.encode("gb18030"), 400),
    "too deep": (b'{"tables": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "a number of 5,000 digits": (b'{"rows": [{"a": ' + b"9" * 5000 + b"}]}", 400),
    "a list": (b"[]", 422),
    "an empty object": (b"{}", 422),
    "an unknown field": (b'{"tables": {}, "capacity": 5}', 422),
    "tables and rows": (b'{"tables": {}, "rows": []}', 422),
    "an unknown table": (b'{"tables": {"pupils": [{"a": 1}]}}', 422),
    "a table that is none": (b'{"tables": {"grades": 3}}', 422),
    "a record that is none": (b'{"tables": {"grades": [{}, "x"]}}', 422),
    "no tables": (b'{"tables": {}}', 422),
    "a number as text": (b'{"tables": {}, "reasons": "3"}', 422),
    "no reasons": (b'{"tables": {}, "reasons": 0}', 422),
    "too many reasons": (b'{"tables": {}, "reasons": 11}', 422),
    "an unknown language": (b'{"tables": {}, "lang": "fr"}', 422),
    "a day that is none": (b'{"tables": {}, "as_of": "2022-02-30"}', 422),
    "rows for a county model": (b'{"rows": [{"a": 1}]}', 422),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_is_a_problem(client: TestClient, case: str) -> None:
    body, status = BAD_REQUESTS[case]
    assert_problem(client.post("/score", content=body, headers=JSON), status)


def nested(depth: int) -> bytes:
    return b'{"rows": [{"a": ' + b"[" * depth + b"]" * depth + b"}]}"


BODIES = {
    **{f"{depth} deep": nested(depth) for depth in (198, 199, 100_000)},
    "numbers": b'{"rows": [{"a": NaN, "b": -Infinity, "c": 1e400, "d": -0, "e": -0.0, "f": 9007199254740993}]}',
    "a long number": b'{"rows": [{"a": ' + b"9" * 4000 + b"}]}",
    "too long a number": b'{"rows": [{"a": ' + b"9" * 5000 + b"}]}",
    "a number as a setting": b'{"tables": {}, "reasons": 3.0}',
    "a day": b'{"tables": {}, "as_of": "2020-01-01"}',
    "no day": b'{"tables": {}, "as_of": "2020-13-01"}',
    "a pair of surrogates": rb'{"rows": [{"\ud83d\ude00": "\ud83d\ude00"}]}',
    "half a pair": rb'{"rows": [{"a": "\ud800"}]}',
    "the other half": rb'{"rows": [{"a": "\udc00"}]}',
    "a surrogate in UTF-8": b'{"rows": [{"a": "\xed\xa0\x80"}]}',
    "no UTF-8": b'{"rows": [{"a": "\xff"}]}',
    "a byte order mark": b'\xef\xbb\xbf{"tables": {}}',
    "a control character": b'{"rows": [{"a": "\x01"}]}',
    "the character nought": rb'{"rows": [{"a": "\u0000"}]}',
    "a setting twice": b'{"lang": "xx", "lang": "en", "tables": {}}',
    "tables twice": b'{"tables": {}, "tables": 5}',
    "a cell twice": b'{"rows": [{"a": 1, "a": 2}]}',
    "a wrong table, then a right one": b'{"tables": {"students": [], "students": {"a": 1}}}',
    "an end too early": b'{"tables": {"students": [',
    "an end too late": b'{"tables": {}} x',
    "nothing": b"",
    "no object": b"[]",
    "both": b'{"tables": {}, "rows": []}',
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_is_read_as_its_model_reads_it(case: str) -> None:
    try:
        expected = repr(ScoreRequest.model_validate_json(BODIES[case]))
    except ValidationError as error:
        with pytest.raises((HTTPException, RowsError)) as refused:
            checked(ScoreRequest, BODIES[case])
        told = getattr(refused.value, "detail", None) or str(refused.value.problems)
        assert error.errors()[0]["msg"].removeprefix("Value error, ") in told
    else:
        assert repr(checked(ScoreRequest, BODIES[case])) == expected


def test_of_a_column_that_is_sent_twice_the_last_counts() -> None:
    request = checked(ScoreRequest, b'{"tables": {"students": {"a": 1, "a": [2]}}}')
    assert request.tables == {"students": {"a": [2]}}


def test_all_problems_of_the_envelope_are_named_at_once_with_their_place(client: TestClient) -> None:
    tables = {"grades": [{}, {}, 7], "terms": {"term": [], "start": 3}, "schools": 3}
    body = {"tables": tables, "reasons": 99, "capacity": 5}
    problems = assert_problem(post(client, body), 422)["problems"]
    assert [(p["table"], p["row"], p["column"]) for p in problems] == [
        (None, None, "reasons"),
        ("grades", 3, None),
        ("terms", None, "start"),
        ("schools", None, None),
        (None, None, "capacity"),
    ]


def test_a_million_faults_make_a_short_answer(client: TestClient) -> None:
    body = b'{"tables": {"grades": [' + b"1," * 1_000_000 + b'1], "terms": [3, 4]}, "lang": "fr"}'
    document = assert_problem(client.post("/score", content=body, headers=JSON), 422)
    assert [(p["table"], p["row"]) for p in document["problems"]] == [(None, None), ("grades", 1), ("terms", 1)]


def test_a_roster_whose_terms_and_students_multiply_is_a_problem_and_fills_no_memory(client: TestClient) -> None:
    ids, terms = [f"S{number}" for number in range(30_000)], [f"t{number}" for number in range(30_000)]
    tables = {
        "schools": {"school_id": ["K"], "county_id": ["990101"]},
        "terms": {"term": terms, "start": ["2020-09-01"] * len(terms), "end": ["2021-01-15"] * len(terms)},
        "students": {"student_id": ids},
        "enrolments": {"student_id": ids, "school_id": ["K"] * len(ids), "term": terms, "grade": [7] * len(ids)},
    }
    answer = client.post("/score", json={"tables": tables, "lang": "en"})
    assert_problem(answer, 422)
    assert "30,000 students times 30,000 terms" in answer.json()["detail"]


def test_an_as_of_date_before_the_first_term_is_refused(client: TestClient, small_roster: Roster) -> None:
    document = assert_problem(post(client, {"tables": small_roster, "as_of": "1999-01-01"}), 422)
    assert "1999-01-01" in document["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/csv"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=gb18030"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_taken(client: TestClient, headers: dict[str, str]) -> None:
    assert_problem(client.post("/score", content=b"{}", headers=headers), 415)
    assert client.post("/score", content=b"{}", headers=JSON | {"content-type": "application/json; charset=UTF-8"}
                       ).status_code == 422  # fmt: skip


def test_unknown_addresses_and_methods_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404)
    response = client.get("/score")
    assert_problem(response, 405)
    assert response.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_refused(folder: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 600] * 2

    with TestClient(create_app(open_service(folder, max_body_bytes=1000))) as client:
        assert_problem(client.post("/score", content=b" " * 1001, headers=JSON), 413)
        assert_problem(client.post("/score", content=chunks(), headers=JSON), 413)
        assert client.post("/score", content=b" " * 1000, headers=JSON).status_code == 400


@pytest.mark.parametrize(("headers", "chunks_read"), [([(b"content-length", b"1001")], 0), ([], 3)])
def test_no_more_of_a_body_is_read_than_the_limit_allows(
    folder: Path, headers: list[tuple[bytes, bytes]], chunks_read: int
) -> None:
    app = create_app(open_service(folder, max_body_bytes=1000))
    received, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/score",
        "raw_path": b"/score", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"application/json"), *headers], "client": ("127.0.0.1", 5),
    }  # fmt: skip
    with TestClient(app):
        anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 413
    assert received == chunks_read


@pytest.mark.slow
def test_more_students_than_allowed_are_refused(folder: Path, small_roster: Roster) -> None:
    with TestClient(create_app(open_service(folder, max_students=5))) as client:
        assert_problem(post(client, {"tables": small_roster}), 413)
    with TestClient(create_app(open_service(folder, max_students=6))) as client:
        scored(client, {"tables": small_roster})


# ---------------------------------------------------------------------------------------- a flat table


@pytest.fixture(scope="module")
def flat_bundle() -> Bundle:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "days absent": rng.poisson(3, 1500).astype(float),
            "distance": rng.gamma(2, 2, 1500),
            "boards": rng.random(1500) < 0.3,
            "route": pd.Categorical(rng.choice(["bus", "foot", "驴"], 1500)),
        }
    )
    X.loc[::9, "distance"] = np.nan
    chance = 1 / (1 + np.exp(4 - 0.6 * X["days absent"] - X["route"].eq("foot")))
    y = (rng.random(1500) < chance).astype(int)
    return Bundle(model=DropoutRiskClassifier().fit(X, y), kind="flat", created="2026-11-22", bands=BANDS)


@pytest.fixture(scope="module")
def flat_client(flat_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = save_bundle(flat_bundle, tmp_path_factory.mktemp("models") / "flat")
    with TestClient(create_app(open_service(folder))) as client:
        yield client


FLAT_ROWS: list[dict[str, Any]] = [
    {"days absent": 9, "distance": 1.5, "boards": False, "route": "foot"},
    {"days absent": 0, "distance": None, "boards": True, "route": "驴"},
    {"days absent": 4, "distance": 7, "boards": False, "route": None},
]


def flat_risks(answer: dict[str, Any]) -> dict[int, float]:
    return {student["row"]: student["risk"] for student in answer["students"]}


def test_flat_rows_get_the_risks_of_the_model(flat_client: TestClient, flat_bundle: Bundle) -> None:
    answer = scored(flat_client, {"rows": FLAT_ROWS, "lang": "en"})
    X = pd.DataFrame(FLAT_ROWS).astype({"distance": float, "route": "category"})
    expected = flat_bundle.model.predict_proba(X)[:, 1]
    assert flat_risks(answer) == pytest.approx({1: expected[0], 2: expected[1], 3: expected[2]}, abs=1e-12)
    assert [student["rank"] for student in answer["students"]] == [1, 2, 3]
    assert [student["risk"] for student in answer["students"]] == pytest.approx(sorted(expected, reverse=True))
    assert {student["row"]: student["data_gaps"] for student in answer["students"]} == {
        1: [], 2: ["distance"], 3: ["route"],
    }  # fmt: skip


def test_a_bad_flat_row_is_refused_and_the_good_ones_keep_their_risk(flat_client: TestClient) -> None:
    whole = flat_risks(scored(flat_client, {"rows": FLAT_ROWS}))
    bad = [{**FLAT_ROWS[0], "days absent": "4"}, {**FLAT_ROWS[0], "route": ["bus"], "distance": "?"}]
    answer = scored(flat_client, {"rows": [bad[0], *FLAT_ROWS, bad[1]], "lang": "en"})
    assert [(row["row"], row["column"], row["value"]) for row in answer["refused"]] == [
        (1, "days absent", "4"),
        (5, "distance", "?"),
    ]
    assert flat_risks(answer) == {row + 1: risk for row, risk in whole.items()}


def test_new_levels_and_unknown_columns_are_told(flat_client: TestClient) -> None:
    rows = [{**FLAT_ROWS[0], "route": "ferry", "shoe size": 31}, FLAT_ROWS[1]]
    answer = scored(flat_client, {"rows": rows, "lang": "en"})
    assert "Column route holds 1 values that the model has never seen; they count as missing." in answer["notes"]
    assert "Columns that the model has not learned were not used: shoe size." in answer["notes"]
    missing = scored(flat_client, {"rows": [{**FLAT_ROWS[0], "route": None}, FLAT_ROWS[1]]})
    assert flat_risks(answer) == flat_risks(missing)


def test_columns_that_no_row_has_are_asked_for(flat_client: TestClient) -> None:
    document = assert_problem(post(flat_client, {"rows": [{"days absent": 1}, {"boards": True}]}), 422)
    assert "distance" in document["detail"]
    assert "route" in document["detail"]


@pytest.mark.parametrize("body", [{"rows": []}, {"rows": [{}]}, {"rows": [{"days absent": []}]}, {"tables": {}},
                                  {"rows": FLAT_ROWS, "as_of": "2022-07-08"}])  # fmt: skip
def test_flat_requests_that_cannot_be_scored_are_problems(flat_client: TestClient, body: dict[str, Any]) -> None:
    assert_problem(post(flat_client, body), 422)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(cells=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(sorted(FLAT_ROWS[0])), JUNK), max_size=3))
def test_damage_to_flat_rows_costs_no_other_row_its_score(
    flat_client: TestClient, cells: list[tuple[int, str, Any]]
) -> None:
    rows = copy.deepcopy(FLAT_ROWS)
    for row, column, value in cells:
        rows[row][column] = value
    response = post(flat_client, {"rows": [*rows, *FLAT_ROWS]})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["rows_in"] == answer["scored"] + answer["refused_count"] == 6
    before, after = flat_risks(scored(flat_client, {"rows": FLAT_ROWS})), flat_risks(answer)
    assert {row + 3: risk for row, risk in before.items()} == {row: after[row] for row in (4, 5, 6)}
    untouched = {1, 2, 3} - {row + 1 for row, _, _ in cells}
    assert {row: after[row] for row in untouched} == {row: before[row] for row in untouched}


# ---------------------------------------------------------------------------------------- without a model


def without_a_model(model: str, reason: str, **options: Any) -> None:
    with TestClient(create_app(open_service(model, **options))) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        for response in (client.get("/health/ready"), client.get("/model"), post(client, {"tables": {}})):
            assert reason in assert_problem(response, 503)["detail"]
        assert client.get("/docs").status_code == 200


def test_a_missing_model_is_told_and_the_service_lives(tmp_path: Path) -> None:
    without_a_model(str(tmp_path / "nowhere"), "is no folder")


def test_a_damaged_model_is_told_and_the_service_lives(bundle: Bundle, tmp_path: Path) -> None:
    folder = save_bundle(bundle, tmp_path / "model")
    (folder / "bundle.json").write_text("{}")
    without_a_model(str(folder), "does not match its digest")


def test_a_model_of_other_features_is_told_and_the_service_lives(flat_bundle: Bundle, tmp_path: Path) -> None:
    other = Bundle(model=flat_bundle.model, kind="county", created="2026-11-22")
    without_a_model(str(save_bundle(other, tmp_path / "model")), "other features")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")  # in MLflow
def test_an_address_that_is_no_model_is_told_and_the_service_lives(tmp_path: Path) -> None:
    without_a_model("models:/x@y@z", "is no model", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


# ---------------------------------------------------------------------------------------- what it says of itself


def test_ready_and_model_name_the_same_version(client: TestClient, bundle: Bundle) -> None:
    assert client.get("/health/ready").json() == {"status": "ready", "model": bundle.version_label, "trouble": None}
    answer = client.get("/model").json()
    ModelAnswer.model_validate(answer)
    assert answer["version"] == bundle.version_label
    assert answer["kind"] == "county"
    assert answer["bands"] == BANDS
    assert [feature["name"] for feature in answer["features"]] == bundle.model.feature_names
    assert {feature["name"]: feature["zh"] for feature in answer["features"]}["absence_rate"] == "本学期缺勤率"


def test_a_flat_model_names_its_columns_and_levels(flat_client: TestClient) -> None:
    features = flat_client.get("/model").json()["features"]
    assert {feature["name"]: feature.get("levels") for feature in features} == {
        "days absent": None, "distance": None, "boards": None, "route": ["bus", "foot", "驴"],
    }  # fmt: skip


def test_the_examples_of_the_documentation_are_true(client: TestClient) -> None:
    answer = scored(client, SCORE_REQUESTS["county"]["value"])
    assert set(answer) == set(SCORE_ANSWER)
    assert (answer["rows_in"], answer["scored"], answer["refused_count"]) == (2, 1, 1)
    shown, given = SCORE_ANSWER["refused"][0], answer["refused"][0]
    assert [shown[key] for key in ("table", "row", "student_id", "column", "value")] == [
        given[key] for key in ("table", "row", "student_id", "column", "value")
    ]
    ScoreAnswer.model_validate(SCORE_ANSWER)
    for status, document in PROBLEMS.items():
        assert Problem.model_validate(document).status == status


def test_the_openapi_document_is_complete(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names <= set(document["components"]["schemas"])
    operation = document["paths"]["/score"]["post"]
    assert set(operation["responses"]) == {
        "200", "400", "401", "403", "406", "408", "413", "415", "422", "429", "500", "503",
    }  # fmt: skip
    assert operation["requestBody"]["content"]["application/json"]["examples"]
    request = document["components"]["schemas"]["ScoreRequest"]
    assert request["additionalProperties"] is False
    tables = next(part for part in request["properties"]["tables"]["anyOf"] if part.get("type") == "object")
    assert set(tables["properties"]) == {*TABLES, "roster"}
    for form in tables["properties"]["students"]["anyOf"]:
        columns = form.get("items", form)["properties"]
        assert "birth_date" in columns
        assert not {"name", "id_number"} & set(columns)


def test_the_page_needs_nothing_from_the_network(client: TestClient) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for word in ("http://", "https://", "<script", "src=", "@import", "url("):
        assert word not in response.text
    for word in ("POST /score", "GET /model", "G002", 'id="TableError"', "413"):
        assert word in response.text


def test_scores_are_not_to_be_stored_on_the_way(client: TestClient, small_roster: Roster) -> None:
    assert post(client, {"tables": small_roster}).headers["cache-control"] == "no-store"


# ---------------------------------------------------------------------------------------- logs


def test_no_value_of_a_student_is_logged(
    client: TestClient, small_roster: Roster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    roster = json.loads(json.dumps(small_roster))
    roster["students"][0] |= {"name": "王小明", "id_number": "513425201001011328"}
    roster["enrolments"][0]["grade"] = "王小明"
    students = [row["student_id"] for row in roster["students"]]
    assert post(client, {"tables": roster}).status_code == 200
    assert post(client, {"tables": {**roster, "students": []}}).status_code == 422
    for secret in ("王小明", "513425", *students):
        assert secret not in caplog.text


def test_an_unexpected_error_is_a_number_in_answer_and_log_and_nothing_more(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(open_service(folder))

    @app.get("/broken")
    def broken() -> None:
        raise KeyError("G513425201001011328")

    with TestClient(app) as client:
        response = client.get("/broken")
    document = assert_problem(response, 500)
    assert document["instance"] in caplog.text
    assert "KeyError" in caplog.text
    assert "Traceback" not in response.text
    assert "KeyError" not in response.text
    assert "G513425201001011328" not in response.text + caplog.text


# ---------------------------------------------------------------------------------------- settings


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('model = "models/ours"\nmax_students = 7\n', "utf-8")
    environ = {"DROPOUT_RISK_SETTINGS": str(file), "DROPOUT_RISK_MAX_STUDENTS": "9", "DROPOUT_RISK_TRACKING_URI": ""}
    assert load_settings(environ) == Settings(model="models/ours", max_students=9)
    assert load_settings({}) == Settings(model="models/demo", max_body_bytes=50_000_000, max_students=50_000)


def test_the_example_file_holds_the_defaults() -> None:
    assert load_settings({"DROPOUT_RISK_SETTINGS": str(ROOT / "serve/settings.example.toml")}) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle = 3", ["modle", "max_students"]),
        ("model = 3\nmax_students = true\nmax_body_bytes = 0", ["model is 3", "max_students is True", "is 0"]),
        ("model = ", ["not proper TOML"]),
        (None, ["cannot be read"]),
    ],
)
def test_wrong_settings_are_named_all_at_once(tmp_path: Path, text: str | None, words: list[str]) -> None:
    file = tmp_path / "settings.toml"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings({"DROPOUT_RISK_SETTINGS": str(file)})
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(SettingsError, match="max_students is '1e3'"):
        load_settings({"DROPOUT_RISK_MAX_STUDENTS": "1e3"})


# ---------------------------------------------------------------------------------------- a real server


@pytest.mark.slow
def test_uvicorn_serves_from_the_root_of_the_repository(
    folder: Path, small_roster: Roster, client: TestClient, tmp_path: Path
) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{tmp_path}/store.db"
    settings = {"DROPOUT_RISK_MODEL": str(folder), "DROPOUT_RISK_STORE": store, "DROPOUT_RISK_ACCESS": "local"}
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serve.app:app", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT, env={**os.environ, **settings},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
            ready = _wait_until_it_answers(http, server)
            answer = http.post("/score", json={"tables": small_roster})
    finally:
        server.terminate()
        output = server.communicate(timeout=30)[0]
    assert ready.status_code == 200, output
    assert but_for_the_run(answer.json()) == but_for_the_run(scored(client, {"tables": small_roster}))
    assert not any(row["student_id"] in output for row in small_roster["students"])


def _wait_until_it_answers(http: httpx2.Client, server: "subprocess.Popen[str]") -> httpx2.Response:
    for _ in range(240):
        assert server.poll() is None, "the server has ended"
        try:
            return http.get("/health/ready")
        except httpx2.ConnectError:
            time.sleep(0.25)
    raise AssertionError("the server did not answer within a minute")
