"""The service under requests that nobody thought of: what the OpenAPI document promises holds, and nothing is lost.

A few hundred cases each; with DROPOUT_RISK_NIGHTLY set, thousands.
"""

import copy
import io
import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from roster_builder import (
    Records,
    as_columns,
    as_records,
    csv_of,
    lines_of,
    parquet_of,
    wide,
    workbook_of,
    zip_of,
)
from roster_builder import settings as service_settings
from schemathesis.engine import from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.python.asgi import shutdown_lifespans
from starlette.testclient import TestClient

from dropout_risk.schema import TABLES
from dropout_risk.service.app import create_app
from dropout_risk.service.schemas import Problem, ScoreAnswer
from dropout_risk.store import keys

NIGHTLY = bool(os.environ.get("DROPOUT_RISK_NIGHTLY"))
JSON = {"content-type": "application/json"}
OF_STUDENTS = ("students", "enrolments", "attendance", "grades", "households", "status_changes")


def cases(usual: int, nightly: int) -> settings:
    quiet = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ]
    return settings(max_examples=nightly if NIGHTLY else usual, deadline=None, suppress_health_check=quiet)


# ---------------------------------------------------------------------------------------- as it is described

PHASES = ("examples", "coverage", "fuzzing", "stateful")


def described(app: Any, phase: str, cases: int) -> Any:
    """Return a service as its document describes it, for one phase of schemathesis with all its checks."""
    config = {
        "generation": {"max-examples": cases, "with-security-parameters": False, "deterministic": not NIGHTLY},
        "phases": {name: {"enabled": name == phase} for name in PHASES},
        # A roster that is well formed may still say nothing that can be scored, which is what 422 is for.
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "422"]}},
    }
    document = copy.deepcopy(app.openapi())
    if not NIGHTLY or phase == "stateful":  # one cell is as free as another: those of a few tables stand for all
        for request in ("ScoreRequest", "TargetsRequest"):
            tables = document["components"]["schemas"][request]["properties"]["tables"]["anyOf"][0]["properties"]
            for name in set(tables) - {"terms"}:
                tables[name] = {"type": ["array", "object"]}
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(config))
    schema.app = app
    return schema


def visit(schema: Any) -> Counter[tuple[str, int]]:
    """Send what schemathesis thinks of; return how often each operation gave each status."""
    seen: Counter[tuple[str, int]] = Counter()
    failures: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, NonFatalError):
            failures.append(f"{event.label}: {event.value!r}")
        if not isinstance(event, ScenarioFinished):
            continue
        for case_id, sent in event.recorder.interactions.items():
            case, response = event.recorder.cases[case_id].value, sent.response
            seen[case.operation.label, response.status_code] += 1
            if response.status_code >= 400:
                assert Problem.model_validate_json(response.content).status == response.status_code
        for check in (check for checks in event.recorder.checks.values() for check in checks):
            if check.failure_info is not None:
                told = check.failure_info
                failures.append(
                    f"{event.recorder.label} {check.name}: {told.failure.message}\n{told.code_sample[:2000]}"
                )
    assert not failures, "\n\n".join(failures[:5])
    assert not [answer for answer in seen if answer[1] >= 500 or answer[1] == 429]
    return seen


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Any, str]]:
    """A service that asks for keys, and a key for all students of the roster."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAX_FAILURES", "MAX_FAILURES_OF_ORIGIN"):  # wrong keys are part of the tests
            patch.setattr(keys, name, 10**9)
        app = create_app(service_settings(access="keys"))
        county = as_records(2)["schools"][0]["county_id"]
        key = keys.create(app.state.service.database, "county", [county, "513425"], label="fuzz")
        yield app, key.token
        shutdown_lifespans()


def with_key(schema: Any, token: str) -> Any:
    """Add the key to every request, but to those that try whether one is needed."""

    @schema.auth()
    class _Key:
        def get(self, case: Any, context: Any) -> str:
            return token

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return schema


OPERATIONS = {
    "POST /score", "POST /targets", "GET /students/{name}", "GET /runs", "GET /runs/{run_id}",
    "GET /runs/{run_id}/scores", "GET /model", "GET /health/live", "GET /health/ready", "GET /metrics",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "usual", "nightly"), [("examples", 1, 1), ("coverage", 1, 1), ("fuzzing", 200, 500)])
def test_every_operation_is_as_it_is_described(guarded: tuple[Any, str], phase: str, usual: int, nightly: int) -> None:
    app, token = guarded
    seen = visit(with_key(described(app, phase, nightly if NIGHTLY else usual), token))
    assert {operation for operation, _ in seen} >= (OPERATIONS if phase != "examples" else {"POST /score"})
    assert seen.total() >= 2 * len(seen)


@pytest.mark.slow
def test_without_a_key_every_operation_says_so_as_it_is_described(guarded: tuple[Any, str]) -> None:
    seen = visit(described(guarded[0], "fuzzing", 50 if NIGHTLY else 10))
    assert {operation for operation, _ in seen} == OPERATIONS
    open_to_all = {operation for operation, status in seen if status < 300}
    assert open_to_all == {"GET /health/live", "GET /health/ready", "GET /metrics"}


@pytest.mark.slow
def test_what_the_answers_lead_to_is_there(guarded: tuple[Any, str]) -> None:
    app, token = guarded
    schema = with_key(described(app, "stateful", 300 if NIGHTLY else 50), token)
    roster = {"tables": as_records(1)}

    @schema.hook
    def map_case(context: Any, case: Any) -> Any:
        if case.operation.label == "POST /score":  # else hardly one would be scored
            case.media_type, case.body, case.query = "application/json", roster, {}
        return case

    seen = visit(schema)
    for operation in ("POST /score", "GET /runs/{run_id}", "GET /runs/{run_id}/scores", "GET /students/{name}"):
        assert seen[operation, 200], seen


# ---------------------------------------------------------------------------------------- damaged rosters


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(service_settings())) as client:
        yield client


def send(client: TestClient, tables: Any, **fields: Any) -> Any:
    body = json.dumps({"tables": tables, **fields}, ensure_ascii=False).encode()  # NaN and Infinity as they are
    return client.post("/score", content=body, headers=JSON)


def by_student(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each student's answer without the rank, which depends on who else is in the request."""
    return {row["student_id"]: {k: v for k, v in row.items() if k != "rank"} for row in answer["students"]}


def assert_answer_or_problem(response: Any) -> dict[str, Any] | None:
    """Return the answer with every row accounted for, None for a problem document."""
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert Problem.model_validate(response.json()).status == response.status_code
        return None
    answer: dict[str, Any] = response.json()
    ScoreAnswer.model_validate(answer)
    assert answer["rows_in"] == answer["scored"] + answer["refused_count"]
    assert (answer["scored"], answer["refused_count"]) == (len(answer["students"]), len(answer["refused"]))
    assert all(0 <= row["risk"] <= 1 for row in answer["students"])
    assert all(row["message"] for row in answer["refused"])
    return answer


DAYS = ["2999-01-01", "9999-12-31", "1066-01-01", "2021-13-45", "2021-02-30", "0000-00-00", "tomorrow", "2050年1月1日"]
NUMBERS = [
    -1,
    -0.0,
    1e308,
    -1e308,
    10**30,
    10**400,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    "NaN",
    "1e999",
    "９",
    "1" * 9000,
]
PLACES = ["nowhere", "", "  ", "\u202eS1", "S" * 81, "S" * 100_000, "=1+1", "学校", "\u0000", "é\u0301", "💥"]
JUNK = st.one_of(
    st.sampled_from([*DAYS, *NUMBERS, *PLACES]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates().map(str),
    st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
KINDS = ("junk", "drop", "delete", "copy", "twice", "extra", "move", "rename", "negative", "text")
ROW_DAMAGE = st.tuples(
    st.sampled_from(OF_STUDENTS), st.sampled_from(KINDS), st.integers(0, 999), st.integers(0, 99), JUNK
)


def pick(items: Any, number: int) -> Any:
    """Return one of `items`, whatever the number."""
    return sorted(items)[number % len(items)]


def damage(tables: Records, plan: list[tuple[str, str, int, int, Any]], *, touched: set[str]) -> None:
    """Damage rows of the students in `touched`; what they share with others (schools, terms, calendar) stays.

    The scores of the others cannot move then: exams and schools are compared with the county's own values, which the
    model brings, and of the rows of a school only its newest day of attendance counts for all, which others have too.
    """
    schools = [row["school_id"] for row in tables["schools"]]
    for name, kind, place, column, junk in plan:
        own = [
            n
            for n, row in enumerate(tables[name])
            if isinstance(row.get("student_id"), str) and row["student_id"] in touched
        ]
        if not own:
            continue
        row = tables[name][pick(own, place)]
        cell = pick(row, column)
        match kind:
            case "junk":
                row[cell] = junk
            case "drop":
                del row[cell]
            case "delete":
                tables[name].remove(row)
            case "copy":
                tables[name].append({**row, cell: junk})
            case "twice":
                tables[name].append(dict(row))
            case "extra":
                row[str(junk)[:50] or "?"] = junk
            case "move" if name == "enrolments":
                row["school_id"] = pick([*schools, "nowhere", "S" * 99], place)
            case "rename":
                row["student_id"] = f"new {junk}"[:99]
            case "negative" if isinstance(row[cell], int | float):
                row[cell] = -row[cell]
            case "text":
                row[cell] = f" {row[cell]}　"


def roster() -> tuple[Records, set[str]]:
    """Return a roster of ten students, and those of them whose rows may be damaged: some of each school."""
    tables = as_records(5)
    touched = {row["student_id"] for row in tables["students"][::2]}
    day = tables["terms"][-1]["start"]
    tables["status_changes"] = [{"student_id": one, "date": day, "change": "transfer_in"} for one in sorted(touched)]
    return tables, touched


@pytest.fixture(scope="module")
def whole(client: TestClient) -> dict[str, dict[str, Any]]:
    """The answers to the roster as it is."""
    answer = assert_answer_or_problem(send(client, roster()[0]))
    assert answer is not None
    assert answer["scored"] == 10
    return by_student(answer)


@pytest.mark.slow
@cases(150, 3000)
@given(plan=st.lists(ROW_DAMAGE, min_size=3, max_size=9), in_columns=st.booleans())
def test_damage_to_some_students_moves_no_other_score_and_loses_no_row(
    client: TestClient, whole: dict[str, dict[str, Any]], plan: list[Any], in_columns: bool
) -> None:
    tables, touched = roster()
    damage(tables, plan, touched=touched)
    answer = assert_answer_or_problem(send(client, as_columns(tables) if in_columns else tables))
    assert answer is not None
    assert_every_row_is_told(answer, tables)
    found = by_student(answer)
    assert {s: found.get(s) for s in whole if s not in touched} == {s: whole[s] for s in whole if s not in touched}


def assert_every_row_is_told(answer: dict[str, Any], tables: Records) -> None:
    """Check that each row of the roster is among the scored or the refused."""
    term = tables["terms"][-1]["term"]
    refused = {row["row"] for row in answer["refused"]}
    scored = {row["student_id"] for row in answer["students"]}
    for number, row in enumerate(tables["enrolments"], start=1):
        if row.get("term") == term:
            assert number in refused or str(row.get("student_id")).strip() in scored


TABLE_DAMAGE = st.tuples(
    st.sampled_from(["terms", "calendar", "schools", *OF_STUDENTS]),
    st.sampled_from(["leave out", "empty", "blank", "rename", "column", "junk", "none", "twice", "shorter"]),
    st.integers(0, 99), st.lists(JUNK, min_size=1, max_size=3),
)  # fmt: skip


def damage_tables(tables: Records, plan: list[tuple[str, str, int, list[Any]]]) -> dict[str, Any]:
    """Return tables of which some are damaged as a whole, also those that all students share."""
    damaged: dict[str, Any] = dict(tables)
    for name, kind, place, junk in plan:
        rows, column = damaged.get(name), pick(TABLES[name].names, place)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            continue  # it is junk already
        match kind:
            case "leave out":
                del damaged[name]
            case "empty":
                damaged[name] = []
            case "blank":
                damaged[name] = [{}, *rows[:1]]
            case "rename":
                damaged[name] = [{f"{key}!": value for key, value in row.items()} for row in rows]
            case "column":
                damaged[name] = [{key: value for key, value in row.items() if key != column} for row in rows]
            case "junk":
                damaged[name] = [{**row, column: junk[n % len(junk)]} for n, row in enumerate(rows)]
            case "none":
                damaged[name] = junk[0]
            case "twice":
                damaged[name] = rows * 2
            case "shorter":
                damaged[name] = {**as_columns({name: rows})[name], column: junk}
    return damaged


@pytest.mark.slow
@cases(120, 3000)
@given(plan=st.lists(TABLE_DAMAGE, min_size=1, max_size=3), as_of=st.none() | st.dates().map(str) | JUNK)
def test_whatever_happens_to_the_tables_the_answer_is_scores_or_a_problem(
    client: TestClient, plan: list[Any], as_of: Any
) -> None:
    assert_answer_or_problem(send(client, damage_tables(as_records(2), plan), as_of=as_of))


def test_a_million_rows_are_a_problem(client: TestClient) -> None:
    rows = [{"student_id": "G1"}] * 1_000_000
    assert send(client, {**as_records(1), "students": rows}).status_code == 413


# ---------------------------------------------------------------------------------------- damaged files

Splices = list[tuple[float, int, bytes]]
SPLICES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60), st.binary(max_size=60)), min_size=1, max_size=4)


def splice(content: bytes, splices: Splices) -> bytes:
    """Return `content` with other bytes here and there."""
    for where, gone, new in splices:
        at = int(where * len(content))
        content = content[:at] + new + content[at + gone :]
    return content


def _roster() -> list[dict[str, Any]]:
    return wide(as_records(2))["roster"]


def _lines() -> list[list[Any]]:
    return lines_of("roster", _roster(), chinese=True)


WHOLE_FILES: dict[str, Callable[[], bytes]] = {
    "花名册.csv": lambda: csv_of(_lines(), encoding="gb18030", title="花名册"),
    "roster.csv": lambda: csv_of(_lines()),
    "花名册.xlsx": lambda: workbook_of({"花名册": _lines()}, title="花名册"),
    "roster.xls": lambda: workbook_of({"花名册": _lines()}),
    "roster.parquet": lambda: parquet_of(_roster()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_FILES)
@cases(60, 1500)
@given(splices=SPLICES)
def test_a_damaged_file_is_scores_or_a_problem(client: TestClient, name: str, splices: Splices) -> None:
    content = splice(WHOLE_FILES[name](), splices)
    assert_answer_or_problem(client.post("/score", files={"file": (name, content)}))


@pytest.mark.slow
@cases(60, 1500)
@given(part=st.sampled_from(["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"]), splices=SPLICES)
def test_a_workbook_that_is_damaged_inside_is_scores_or_a_problem(
    client: TestClient, part: str, splices: Splices
) -> None:
    book = zipfile.ZipFile(io.BytesIO(WHOLE_FILES["花名册.xlsx"]()))
    entries = {name: book.read(name) for name in book.namelist()}
    entries[part] = splice(entries[part], splices)
    assert_answer_or_problem(client.post("/score", files={"file": ("花名册.xlsx", zip_of(entries))}))


@pytest.mark.slow
@cases(120, 2000)
@given(splices=SPLICES, kind=st.sampled_from(["json", "form"]))
def test_a_damaged_body_is_scores_or_a_problem(client: TestClient, splices: Splices, kind: str) -> None:
    if kind == "json":
        request = client.build_request("POST", "/score", json={"tables": as_records(2)})
    else:
        request = client.build_request("POST", "/score", files={"file": ("花名册.csv", WHOLE_FILES["roster.csv"]())})
    content = splice(request.read(), splices)
    response = client.post("/score", content=content, headers={"content-type": request.headers["content-type"]})
    assert_answer_or_problem(response)


PRINTED = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
HEADERS = ("content-type", "accept", "content-encoding", "idempotency-key", "x-purpose", "x-request-id", "x-api-key")


@pytest.mark.slow
@cases(150, 3000)
@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), PRINTED, max_size=3),
    kind=st.sampled_from(["", "application/json;", "multipart/form-data; boundary=", "application/json; charset"]),
    more=PRINTED,
)
def test_headers_of_any_kind_are_no_failure(client: TestClient, headers: dict[str, str], kind: str, more: str) -> None:
    given_headers = {"content-type": kind + more, **headers}
    encoded = {name: value.encode("latin-1") for name, value in given_headers.items()}
    assert_answer_or_problem(client.post("/score", content=b"{}", headers=encoded))
