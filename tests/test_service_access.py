"""Nobody sees what is not theirs: every operation, asked by every role for what is its own and what is not."""

import csv
import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pandas as pd
import pytest
from openpyxl import load_workbook
from service_builder import (
    COUNTY,
    FAR,
    HOLDERS,
    NEIGHBOUR,
    OTHER_COUNTY,
    SCHOOL,
    Roster,
    Service,
    assert_problem,
    by_student,
    new_service,
    scored_by,
    small_roster,
    students_of,
)
from sqlalchemy import event, inspect, text

from dropout_risk.errors import StoreError
from dropout_risk.service.logs import JsonLines
from dropout_risk.service.sealing import name_of, unseal
from dropout_risk.store.audit import lines, verify
from dropout_risk.store.runs import Pseudonyms, answer_of, pseudonyms
from dropout_risk.store.schema import AuditLine

pytestmark = pytest.mark.slow

SCHOOLS = (SCHOOL, NEIGHBOUR, FAR)
REACHED: dict[str, tuple[str, ...]] = {
    "school": (SCHOOL,),
    "neighbour": (NEIGHBOUR,),
    "county": (SCHOOL, NEIGHBOUR),
    "other_county": (FAR,),
    "province": SCHOOLS,
    "other_province": (),
    "auditor": (),
    "admin": (),
}
"""The schools whose students each may see, as a person would say it."""

SCORERS = ("school", "neighbour", "county", "other_county", "province", "other_province")
NOBODY = "0" * 32
"""Id of a run that is not there."""

JSON, CSV = "application/json", "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = "text/html"


@dataclass(frozen=True)
class World:
    """A service with runs in it: one of all schools, and one of each."""

    service: Service
    runs: Mapping[str, str]
    named: Pseudonyms

    def ask(self, who: str | None, method: str, path: str, **request: Any) -> httpx2.Response:
        return self.service.ask(who, method, path, **request)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world("sqlite") as made:
        yield made


@contextmanager
def new_world(kind: str) -> Iterator[World]:
    with new_service(kind) as service:
        runs = {"all": service.score("province", small_roster(*SCHOOLS))["run_id"]}
        for who, school in (("school", SCHOOL), ("neighbour", NEIGHBOUR), ("other_county", FAR)):
            runs[school] = service.score(who, small_roster(school))["run_id"]
        yield World(service, runs, pseudonyms(service.database))


def may_see(who: str, run: str) -> bool:
    """Return whether somebody may see a run of `World.runs`."""
    return who == "auditor" or bool(REACHED[who]) and (run == "all" or run in REACHED[who])


# What each role may do -------------------------------------------------------------------------------


def operations(world: World, run: str, student: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return every operation that shows children, each as method, path and request."""
    return {
        "targets": ("POST", "/targets", {"json": {"run_id": run, "capacity": 2}}),
        "student": ("GET", f"/students/{student}", {}),
        "student as a page": ("GET", f"/students/{student}", {"headers": {"accept": HTML}}),
        "student in English": ("GET", f"/students/{student}", {"params": {"lang": "en"}}),
        "student opened": ("GET", f"/students/{student}", {"params": {"open": "true"}}),
        "run": ("GET", f"/runs/{run}", {}),
        "scores": ("GET", f"/runs/{run}/scores", {"headers": {"accept": JSON}}),
        "scores as CSV": ("GET", f"/runs/{run}/scores", {"headers": {"accept": CSV}}),
        "scores as a workbook": ("GET", f"/runs/{run}/scores", {"headers": {"accept": XLSX}}),
    }


def forbidden(who: str) -> set[str]:
    """Return the operations that a role may not do whatever the data."""
    if who == "admin":
        return set(operations(None, "", "")) | {"runs", "score"}  # type: ignore[arg-type]
    if who == "auditor":
        return set(operations(None, "", "")) - {"run"} | {"score"}  # type: ignore[arg-type]
    return {"student opened"} if who in ("province", "other_province") else set()


@pytest.mark.parametrize("who", HOLDERS)
def test_what_is_within_the_scope_is_shown_and_what_a_role_may_not_do_is_not(who: str, world: World) -> None:
    school = next(iter(REACHED[who]), SCHOOL)
    for name in (students_of(school)[0], world.named(students_of(school)[0])):
        for case, (method, path, request) in operations(world, world.runs["all"], name).items():
            response = world.ask(who, method, path, **request)
            if case in forbidden(who):
                assert "may not" in assert_problem(response, 403)["detail"], case
            elif who == "other_province":
                assert_problem(response, 404)
            else:
                assert response.status_code == 200, (case, response.text)
    assert world.ask(who, "GET", "/runs").status_code == (403 if who == "admin" else 200)
    assert world.ask(who, "GET", "/model").status_code == 200
    response = world.ask(who, "POST", "/score", json={"tables": small_roster(school)})
    assert response.status_code == (403 if "score" in forbidden(who) else 200)


# What is not there for them --------------------------------------------------------------------------


@contextmanager
def statements(service: Service) -> Iterator[list[str]]:
    """Write down what the service asks its store."""
    engine = service.http.app.state.service.database.engine  # type: ignore[attr-defined]
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def told(response: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return everything that an answer tells but for the id of its request."""
    return response.status_code, response.content, {k: v for k, v in response.headers.items() if k != "x-request-id"}


@pytest.mark.parametrize("who", HOLDERS)
def test_what_is_beyond_the_scope_answers_byte_for_byte_as_what_is_not_there(who: str, world: World) -> None:
    assert_as_if_not_there(world, who)


def test_the_same_holds_in_postgresql() -> None:
    with new_world("postgresql") as world:
        for who in ("neighbour", "other_county"):
            assert_as_if_not_there(world, who)
            seen = world.ask(who, "GET", f"/runs/{world.runs['all']}/scores").json()["students"]
            assert [row["school_id"] for row in seen] == [REACHED[who][0]] * 4
        assert world.service.audit[-1].allowed
        assert verify(world.service.database).ok


def assert_as_if_not_there(world: World, who: str) -> None:
    """Ask in every way for what is beyond the scope: answer and way to it are those of what is not there."""
    runs = [run_id for run, run_id in world.runs.items() if not may_see(who, run)]
    foreign = [student for school in SCHOOLS if school not in REACHED[who] for student in students_of(school)[:1]]
    names = [name for student in foreign for name in (student, world.named(student))]
    there = [*((run, "S0") for run in runs), *((NOBODY, name) for name in names)]
    for case, (method, path, request) in operations(world, NOBODY, "S0").items():
        with statements(world.service) as expected:
            missing = world.ask(who, method, path, **request)
        assert missing.status_code in (403, 404), case
        for run, name in there:
            method, path, request = operations(world, run, name)[case]
            with statements(world.service) as asked:
                assert told(world.ask(who, method, path, **request)) == told(missing), case
            assert asked == expected, case


@pytest.mark.parametrize("who", [who for who in HOLDERS if who != "admin"])
def test_the_runs_that_are_listed_are_those_that_may_be_seen(who: str, world: World) -> None:
    listed = {run["run_id"]: run for run in world.ask(who, "GET", "/runs", params={"limit": 200}).json()["runs"]}
    known = {run: run_id for run, run_id in world.runs.items() if run_id in listed}
    assert set(known) == {run for run in world.runs if may_see(who, run)}
    for run, run_id in known.items():
        entry = listed[run_id]
        assert entry == world.ask(who, "GET", f"/runs/{run_id}").json()
        seen = SCHOOLS if who == "auditor" else REACHED[who]
        assert entry["students"] == sum(4 for school in seen if run in ("all", school))
        own = who == "auditor" or HOLDERS[who] == HOLDERS[maker_of(run)]
        assert (entry["rows_in"] is not None) == (entry["data_digest"] is not None) == own
        assert (entry["scored"] is not None) == (entry["refused"] is not None) == own


def maker_of(run: str) -> str:
    return {"all": "province", SCHOOL: "school", NEIGHBOUR: "neighbour", FAR: "other_county"}[run]


@pytest.mark.parametrize("who", SCORERS)
def test_a_run_of_others_is_no_place_in_the_list(who: str, world: World) -> None:
    def after(run_id: str) -> Any:
        return world.ask(who, "GET", "/runs", params={"before": run_id}).json()

    for run, run_id in world.runs.items():
        if not may_see(who, run):
            assert after(run_id) == after(NOBODY) == {"runs": [], "next": None}


def test_pages_of_the_list_leave_nothing_out_and_show_nothing_twice(world: World) -> None:
    whole = [run["run_id"] for run in world.ask("county", "GET", "/runs", params={"limit": 200}).json()["runs"]]
    assert len(whole) > 2
    paged: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = world.ask("county", "GET", "/runs", params={"limit": 1, **before}).json()
        paged += [run["run_id"] for run in page["runs"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert paged == whole


# Nothing of others in what is theirs -----------------------------------------------------------------


def plain(response: httpx2.Response) -> str:
    """Return all text of an answer, that of a workbook included, and of its headers."""
    headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
    if response.headers["content-type"] != XLSX:
        return f"{headers}\n{response.text}"
    with zipfile.ZipFile(io.BytesIO(response.content)) as book:
        return "\n".join([headers, *(book.read(name).decode() for name in book.namelist())])


@pytest.mark.parametrize("who", HOLDERS)
def test_no_answer_holds_a_student_of_others_and_none_an_id_that_was_not_opened(who: str, world: World) -> None:
    every = [student for school in SCHOOLS for student in students_of(school)]
    foreign = [student for school in SCHOOLS if school not in REACHED[who] for student in students_of(school)]
    schools = [school for school in SCHOOLS if school not in REACHED[who]]
    own = [student for school in REACHED[who] for student in students_of(school)]
    seen = []
    for run in (*world.runs.values(), NOBODY):
        for case, (method, path, request) in operations(world, run, "S0").items():
            if not case.startswith("student"):
                seen.append(plain(world.ask(who, method, path, **request)))
    for student in every:
        for accept in (JSON, HTML):
            seen.append(plain(world.ask(who, "GET", f"/students/{world.named(student)}", headers={"accept": accept})))
    seen.append(plain(world.ask(who, "GET", "/runs")))
    seen.append(plain(world.ask(who, "GET", "/model")))
    seen.append(plain(world.ask(who, "POST", "/targets", json={"run_id": world.runs["all"], "capacity": {"x": 1}})))
    whole = "\n".join(seen)
    hidden = [*every, *map(world.named, foreign), *(f"{school}<" for school in schools), *(f'"{s}"' for s in schools)]
    assert not [word for word in hidden if re.search(rf"(?<!\w){re.escape(word)}", whole)]
    if who in SCORERS:  # what is theirs is there, or this test would see nothing
        assert all(world.named(student) in whole for student in own)


@pytest.mark.parametrize("who", ["school", "county"])
def test_only_a_role_that_may_opens_an_id(who: str, world: World) -> None:
    student = students_of(SCHOOL)[0]
    for name in (student, world.named(student)):
        closed = world.ask(who, "GET", f"/students/{name}").json()
        opened = world.ask(who, "GET", f"/students/{name}", params={"open": "true"}).json()
        assert closed["student_id"] is None
        assert opened == {**closed, "student_id": student}
        page = world.ask(who, "GET", f"/students/{name}", params={"open": "true"}, headers={"accept": HTML}).text
        assert student in page
        assert student not in world.ask(who, "GET", f"/students/{name}", headers={"accept": HTML}).text


@pytest.mark.parametrize("who", ["school", "neighbour", "county", "other_county"])
def test_a_run_of_many_tells_no_more_than_one_of_those_within_the_scope(who: str, world: World) -> None:
    """The same province scores with and without the others: whoever may see some of them sees no difference."""
    alone = world.service.score("province", small_roster(*REACHED[who]))["run_id"]
    together = world.runs["all"]

    def asked(run: str) -> dict[str, Any]:
        answers = {}
        for case, (method, path, request) in operations(world, run, "S0").items():
            if case.startswith("student"):
                continue
            response = world.ask(who, method, path, **request)
            assert response.status_code == 200, case
            answers[case] = cells(response) if "workbook" in case else response.text.replace(run, "RUN")
        for per, capacity in (("school", 1), ("county", {COUNTY: 3, OTHER_COUNTY: 3}), ("school", {SCHOOL: 2, FAR: 1})):
            body = {"run_id": run, "capacity": capacity, "per": per, "lang": "en"}
            response = world.ask(who, "POST", "/targets", json=body)
            answers[f"targets {per} {capacity}"] = response.text.replace(run, "RUN")
        entry = json.loads(answers["run"])
        answers["run"] = {name: value for name, value in entry.items() if name != "at"}
        return answers

    def cells(response: httpx2.Response) -> list[Any]:
        book = load_workbook(io.BytesIO(response.content))
        rows = [row for sheet in book for row in sheet.iter_rows(values_only=True)]
        return [row for row in rows if row[0] != "run_id"]

    assert asked(together) == asked(alone)


def test_where_a_student_stands_among_others_is_known_to_who_sent_them(world: World) -> None:
    student = students_of(SCHOOL)[0]

    def ranks(who: str) -> dict[str, int | None]:
        history = world.ask(who, "GET", f"/students/{student}").json()["history"]
        return {entry["run_id"]: entry["rank"] for entry in history}

    school, province = ranks("school"), ranks("province")
    assert school[world.runs["all"]] is None
    assert school[world.runs[SCHOOL]] in (1, 2, 3, 4)
    assert province[world.runs["all"]] in range(1, 13)
    assert province[world.runs[SCHOOL]] is None


# Rosters with students of others ---------------------------------------------------------------------


def places_of(roster: Roster, school: str) -> list[int]:
    """Return the positions, from 1, of the enrolments of the last term at a school."""
    term = roster["terms"][-1]["term"]
    return [n for n, row in enumerate(roster["enrolments"], 1) if (row["school_id"], row["term"]) == (school, term)]


def without(roster: Roster, school: str) -> Roster:
    """Return the roster without the rows of the last term at a school."""
    gone = set(places_of(roster, school))
    return Roster({**roster, "enrolments": [row for n, row in enumerate(roster["enrolments"], 1) if n not in gone]})


@pytest.mark.parametrize(
    ("who", "foreign"), [("school", (NEIGHBOUR, FAR)), ("neighbour", (SCHOOL, FAR)), ("county", (FAR,)),
                         ("other_county", (SCHOOL, NEIGHBOUR))]
)  # fmt: skip
def test_a_student_of_others_costs_its_own_row_and_no_other_its_score(
    who: str, foreign: tuple[str, ...], world: World
) -> None:
    roster = small_roster(*SCHOOLS)
    answer = world.service.score(who, roster, lang="en")
    places = {place for school in foreign for place in places_of(roster, school)}
    assert {row["row"] for row in answer["refused"]} == places
    assert answer["rows_in"] == 12
    for row in answer["refused"]:
        assert (row["table"], row["column"], row["value"]) == ("enrolments", "school_id", None)
        assert "outside the scope of your key" in row["message"]
    clean = roster
    for school in foreign:
        clean = without(clean, school)
    expected = world.service.score(who, clean, lang="en")
    assert expected["refused"] == []
    assert by_student(answer) == by_student(expected)
    assert [row["rank"] for row in answer["students"]] == [row["rank"] for row in expected["students"]]
    assert {row["school_id"] for row in answer["students"]} == set(REACHED[who])
    seen = world.ask("province", "GET", f"/runs/{answer['run_id']}").json()
    assert seen["students"] == answer["scored"]


@pytest.mark.parametrize("who", ["neighbour", "other_county", "other_province"])
def test_a_roster_of_others_is_answered_and_every_row_is_refused(who: str, world: World) -> None:
    roster = small_roster(SCHOOL)
    answer = world.service.score(who, roster)
    assert (answer["rows_in"], answer["scored"], answer["refused_count"]) == (4, 0, 4)
    assert answer["students"] == []
    assert all("不在您的密钥范围内" in row["message"] for row in answer["refused"])
    assert [row["row"] for row in answer["refused"]] == places_of(roster, SCHOOL)
    assert world.ask(who, "GET", f"/runs/{answer['run_id']}").json()["students"] == 0
    assert world.ask(who, "GET", f"/runs/{answer['run_id']}/scores").json()["students"] == []
    for other in ("school", "county", "province"):
        assert_problem(world.ask(other, "GET", f"/runs/{answer['run_id']}"), 404)


@pytest.mark.parametrize("accept", [CSV, XLSX])
def test_refused_rows_stand_in_the_tables_too(accept: str, world: World) -> None:
    roster = small_roster(SCHOOL, FAR)
    response = world.ask("school", "POST", "/score", json={"tables": roster}, headers={"accept": accept})
    assert response.status_code == 200
    if accept == CSV:
        rows = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))
    else:
        head, *body = load_workbook(io.BytesIO(response.content))["scores"].iter_rows(values_only=True)
        rows = [dict(zip(head, row, strict=True)) for row in body]
    refused = [row for row in rows if row["not_scored"]]
    assert len(rows) == 8
    assert {row["student_id"] for row in refused} == set(students_of(FAR))
    assert not any(row["risk"] or row["band"] or row["rank"] for row in refused)


def test_the_place_of_a_refused_row_is_that_in_the_file_that_was_sent(world: World) -> None:
    roster = small_roster(SCHOOL, FAR)
    files = [
        ("file", (f"{name}.csv", pd.DataFrame(rows).to_csv(index=False).encode("utf-8-sig")))
        for name, rows in roster.items()
        if rows
    ]
    answer = scored_by(world.ask("school", "POST", "/score", files=files, data={"lang": "en"}))
    assert answer["scored"] == 4
    assert {(row["file"], row["row"]) for row in answer["refused"]} == {
        ("enrolments.csv", place + 1) for place in places_of(roster, FAR)
    }
    assert by_student(answer) == by_student(world.service.score("school", small_roster(SCHOOL), lang="en"))


def test_what_a_roster_brings_is_text_wherever_it_is_shown(world: World) -> None:
    script, formula = "<script>alert(1)</script>", '=HYPERLINK("http://example.org")'
    roster = Roster(json.loads(json.dumps(small_roster(SCHOOL))))
    for row in roster["enrolments"]:
        row["class_id"] = script if row["student_id"] == students_of(SCHOOL)[0] else formula
    run = world.service.score("school", roster)["run_id"]
    page = world.ask("school", "GET", f"/students/{students_of(SCHOOL)[0]}", headers={"accept": HTML})
    assert "&lt;script&gt;" in page.text
    assert script not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    table = world.ask("school", "GET", f"/runs/{run}/scores", headers={"accept": CSV}).text
    cells = {row["class_id"] for row in csv.DictReader(io.StringIO(table.removeprefix("\ufeff")))}
    assert cells == {script, f"'{formula}"}


def claiming(roster: Roster, **counties: str) -> Roster:
    """Return the roster with other counties for some schools."""
    schools = [
        {**row, "county_id": counties.get(f"s{row['school_id']}", row["county_id"])} for row in roster["schools"]
    ]
    return Roster({**roster, "schools": schools})


def test_writing_another_county_beside_a_school_brings_it_within_nobodys_reach(world: World) -> None:
    roster = claiming(small_roster(SCHOOL, FAR), **{f"s{FAR}": COUNTY})
    answer = world.service.score("county", roster, lang="en")
    assert {row["row"] for row in answer["refused"]} == set(places_of(roster, FAR))
    assert all("outside the scope" in row["message"] for row in answer["refused"])
    before = world.ask("other_county", "GET", f"/students/{students_of(FAR)[0]}").json()
    assert answer["run_id"] not in {entry["run_id"] for entry in before["history"]}


@pytest.mark.parametrize("who", ["school", "county", "province"])
def test_a_school_does_not_move_to_another_county_by_a_roster(who: str, world: World) -> None:
    roster = claiming(small_roster(SCHOOL, NEIGHBOUR), **{f"s{SCHOOL}": OTHER_COUNTY})
    answer = world.service.score(who, roster, lang="en")
    moved = {row["row"]: row["message"] for row in answer["refused"] if "another county" in row["message"]}
    assert set(moved) == set(places_of(roster, SCHOOL))
    assert not {row["school_id"] for row in answer["students"]} & {SCHOOL}


def test_a_school_that_the_model_does_not_know_is_where_the_roster_says(world: World) -> None:
    roster = small_roster(SCHOOL)
    new = json.loads(json.dumps(roster).replace(SCHOOL, "9901010077"))
    assert world.service.score("county", Roster(new))["scored"] == 4
    assert world.service.score("other_county", Roster(new))["scored"] == 0


def test_where_a_child_has_been_before_is_part_of_its_own_record(world: World) -> None:
    roster = small_roster(SCHOOL)
    first = roster["terms"][0]["term"]
    moved = [{**row, "school_id": FAR} if row["term"] == first else row for row in roster["enrolments"]]
    schools = [*roster["schools"], *(row for row in small_roster(FAR)["schools"] if row["school_id"] == FAR)]
    unique = list({row["school_id"]: row for row in schools}.values())
    answer = world.service.score("school", Roster({**roster, "enrolments": moved, "schools": unique}))
    assert (answer["scored"], answer["refused_count"]) == (4, 0)


def test_a_list_is_made_of_those_within_the_scope(world: World) -> None:
    body = {"tables": small_roster(*SCHOOLS), "capacity": 20}
    answer = world.ask("school", "POST", "/targets", json=body).json()
    assert answer["considered"] == len(answer["students"]) == 4
    assert {row["school_id"] for row in answer["students"]} == {SCHOOL}
    assert OTHER_COUNTY not in json.dumps(answer["expected"])


def failing(*_: Any, **__: Any) -> Any:
    raise RuntimeError(f"of {students_of(SCHOOL)[0]}")


@pytest.mark.parametrize(
    ("case", "status", "said"),
    [
        ("a place that is not there", 422, "990101 has no capacity"),
        ("the audit is full", 503, "nothing of what was being written was kept"),
        ("something that nobody foresaw", 500, "The service has failed. "),
    ],
)
def test_a_list_that_fails_after_its_roster_was_scored_says_what_is_kept(
    case: str, status: int, said: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"tables": small_roster(SCHOOL), "capacity": {"x": 1} if "place" in case else 2, "lang": "en"}
    if "nobody" in case:
        monkeypatch.setattr("dropout_risk.service.routes.targets.target_list", failing)
    refuse = "create trigger no_list before insert on audit when new.action = 'list' begin select raise(abort, ''); end"
    with world.service.database.turn() as connection:
        connection.execute(text(refuse if "audit" in case else "select 1"))
    try:
        detail = assert_problem(world.ask("school", "POST", "/targets", json=body), status)["detail"]
    finally:
        with world.service.database.turn() as connection:
            connection.execute(text("drop trigger if exists no_list"))
    monkeypatch.undo()
    assert said in detail
    assert "nothing was scored" not in detail
    assert students_of(SCHOOL)[0] not in detail
    (run_id,) = re.findall("kept as the run ([0-9a-f]{32}): send run_id", detail)
    assert world.ask("school", "GET", f"/runs/{run_id}").json()["students"] == 4
    again = world.ask("school", "POST", "/targets", json={"run_id": run_id, "capacity": 2})
    assert len(again.json()["students"]) == 2
    wrong = world.ask("school", "POST", "/targets", json={"run_id": run_id, "capacity": {"x": 1}})
    assert run_id not in assert_problem(wrong, 422)["detail"]


def test_a_list_of_a_roster_without_scores_says_why(world: World) -> None:
    answer = world.ask("school", "POST", "/targets", json={"tables": small_roster(FAR), "capacity": 2})
    detail = assert_problem(answer, 422)["detail"]
    assert "No student of this roster got a score" in detail
    assert "is kept as the run" in detail


def test_the_same_request_of_somebody_else_is_another_request(world: World) -> None:
    body = {"tables": small_roster(*SCHOOLS)}
    headers = {"idempotency-key": "the-same"}
    answers = {
        who: scored_by(world.ask(who, "POST", "/score", json=body, headers=headers))
        for who in ("county", "school", "other_county")
    }
    assert {who: answer["scored"] for who, answer in answers.items()} == {"county": 8, "school": 4, "other_county": 4}
    again = world.ask("school", "POST", "/score", json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == answers["school"]


# The audit -------------------------------------------------------------------------------------------


@pytest.fixture
def written(world: World) -> Iterator[Any]:
    """Return what gives the lines that were written since it was last asked."""
    number = verify(world.service.database).lines

    def since() -> list[AuditLine]:
        nonlocal number
        found = list(lines(world.service.database, after=number))
        number += len(found)
        return found

    yield since
    assert verify(world.service.database).ok


def test_a_roster_that_is_scored_leaves_one_line(world: World, written: Any) -> None:
    body = json.dumps({"tables": small_roster(SCHOOL, FAR)}).encode()
    headers = {"content-type": JSON, "x-purpose": "planning"}
    answer = scored_by(world.ask("county", "POST", "/score", content=body, headers=headers))
    (line,) = written()
    assert (line.subject, line.role, line.scope) == (world.service.keys["county"].id, "county", COUNTY)
    assert (line.action, line.purpose, line.allowed) == ("score", "planning", True)
    assert line.why == f"The role county may score within its scope {COUNTY}."
    assert (line.students, line.run_id) == (4, answer["run_id"])
    assert line.model_version == answer["model"]["version"]
    assert line.data_digest == sha256(body).hexdigest()
    assert 0 < line.seconds < 60
    assert line.pseudonym is None


SEEN = {
    "targets": ("list", 2),
    "student": ("read_student", 1),
    "student as a page": ("read_student", 1),
    "student in English": ("read_student", 1),
    "student opened": ("open_student", 1),
    "run": ("read_runs", 0),
    "scores": ("list", 4),
    "scores as CSV": ("list", 4),
    "scores as a workbook": ("list", 4),
}
"""The action and the number of students that the audit keeps of each operation."""


@pytest.mark.parametrize("case", SEEN)
def test_whatever_is_shown_leaves_one_line(case: str, world: World, written: Any) -> None:
    student = students_of(SCHOOL)[0]
    run = world.service.score("school", small_roster(SCHOOL))
    scored = written()[-1]
    method, path, request = operations(world, run["run_id"], student)[case]
    request = {**request, "headers": {**request.get("headers", {}), "x-purpose": "correction"}}
    assert world.ask("school", method, path, **request).status_code == 200
    (line,) = written()
    assert (line.action, line.students) == SEEN[case]
    assert (line.purpose, line.allowed) == ("correction", True)
    assert line.run_id == run["run_id"]
    assert line.model_version == run["model"]["version"]
    assert line.data_digest == scored.data_digest
    assert line.pseudonym == (world.named(student) if case.startswith("student") else None)
    assert student not in "".join(str(getattr(line, column.key)) for column in AuditLine.__table__.columns)


@pytest.mark.parametrize("who", ["neighbour", "other_county", "other_province"])
@pytest.mark.parametrize("case", [case for case in SEEN if case != "student opened"])
def test_whatever_is_not_shown_leaves_one_line_as_well(case: str, who: str, world: World, written: Any) -> None:
    method, path, request = operations(world, world.runs[SCHOOL], students_of(SCHOOL)[0])[case]
    assert_problem(world.ask(who, method, path, **request), 404)
    (line,) = written()
    assert (line.action, line.allowed, line.students) == (SEEN[case][0], False, 0)
    assert "There is no such" in line.why
    assert line.run_id is line.pseudonym is line.model_version is line.data_digest is None


@pytest.mark.parametrize("who", ["auditor", "admin", "province"])
def test_what_a_role_may_not_do_leaves_one_line(who: str, world: World, written: Any) -> None:
    for case in sorted(forbidden(who) & set(SEEN)):
        method, path, request = operations(world, world.runs[SCHOOL], students_of(SCHOOL)[0])[case]
        assert_problem(world.ask(who, method, path, **request), 403)
        (line,) = written()
        # An id is opened on a student's page: who may not see that has not come to the id.
        action = SEEN[case][0] if who == "province" else SEEN[case][0].replace("open", "read")
        assert (line.action, line.allowed, line.students) == (action, False, 0)
        assert line.why == f"The role {who} may not {action}."


def test_a_list_made_of_a_roster_leaves_a_line_for_the_scores_and_one_for_the_list(world: World, written: Any) -> None:
    answer = world.ask("school", "POST", "/targets", json={"tables": small_roster(SCHOOL), "capacity": 1}).json()
    assert [(line.action, line.students, line.run_id) for line in written()] == [
        ("score", 4, answer["run_id"]), ("list", 1, answer["run_id"]),
    ]  # fmt: skip


def test_an_answer_that_is_given_again_was_given_to_somebody(world: World, written: Any) -> None:
    request = {"json": {"tables": small_roster(SCHOOL)}, "headers": {"idempotency-key": "again"}}
    first = scored_by(world.ask("school", "POST", "/score", **request))
    (once,) = written()
    assert scored_by(world.ask("school", "POST", "/score", **request)) == first
    (again,) = written()
    for name in ("action", "students", "run_id", "model_version", "data_digest"):
        assert getattr(again, name) == getattr(once, name)


def test_what_shows_no_child_leaves_no_line(world: World, written: Any) -> None:
    for path in ("/model", "/health/ready", "/metrics", "/docs", "/nowhere"):
        world.ask("school", "GET", path)
    assert_problem(world.ask("school", "POST", "/score", json={"tables": {}}), 422)
    assert_problem(world.ask(None, "GET", f"/runs/{world.runs['all']}"), 401)
    assert written() == []


def test_without_a_line_in_the_audit_nothing_is_shown(world: World) -> None:
    with world.service.database.turn() as connection:
        connection.execute(text("create trigger no_more before insert on audit begin select raise(abort, 'full'); end"))
    try:
        for case, (method, path, request) in operations(world, world.runs[SCHOOL], students_of(SCHOOL)[0]).items():
            response = world.ask("school", method, path, **request)
            assert assert_problem(response, 503)["type"] == "/docs#StoreError", case
        assert_problem(world.ask("school", "POST", "/score", json={"tables": small_roster(SCHOOL)}), 503)
    finally:
        with world.service.database.turn() as connection:
            connection.execute(text("drop trigger no_more"))


# Names and numbers -----------------------------------------------------------------------------------

NAME, NUMBER, PLACED = "王小明", "513425201001011328", "赵无名"


def with_names(roster: Roster) -> Roster:
    """Return the roster with a name and an ID number where they may stand, and where they may not."""
    changed: Roster = Roster(json.loads(json.dumps(roster)))
    for number, row in enumerate(changed["students"]):
        row |= {"name": f"{NAME}{number}", "id_number": NUMBER}
    changed["enrolments"][places_of(changed, SCHOOL)[0] - 1]["grade"] = PLACED
    changed["attendance"][0]["code"] = PLACED
    changed["households"].append({"student_id": PLACED, "poverty": NAME})
    return changed


CLIENT = ("httpx", "httpcore")
"""Who writes its own log here, in the same process: the client of these tests."""


def written_by_the_service(caplog: pytest.LogCaptureFixture) -> str:
    """Return every line as the service writes it, and with all that a record holds."""
    records = [record for record in caplog.records if not record.name.startswith(CLIENT)]
    return "\n".join(f"{JsonLines().format(record)} {record.__dict__} {record.exc_text}" for record in records)


def test_no_name_number_or_id_leaves_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    students = students_of(SCHOOL)
    words = (NAME, NUMBER, PLACED, *students)
    with new_service() as service:
        roster = with_names(small_roster(SCHOOL))
        headers = {"idempotency-key": "once"}
        answer = scored_by(service.ask("school", "POST", "/score", json={"tables": roster}, headers=headers))
        assert answer["scored"] == 3
        named = pseudonyms(service.database)
        bad = Roster({**roster, "enrolments": []})
        assert_problem(service.ask("school", "POST", "/score", json={"tables": bad}), 422)
        assert_problem(service.ask("school", "POST", "/score", content=json.dumps(roster)[:-9].encode(),
                                   headers={"content-type": JSON}), 400)  # fmt: skip
        for case, (method, path, request) in operations(None, answer["run_id"], students[1]).items():  # type: ignore[arg-type]
            assert service.ask("school", method, path, **request).status_code == 200, case
            others = service.ask("other_county", method, path, **request)
            assert not any(word in plain(others) for word in words)
        others = [service.ask("county", "GET", path) for path in ("/runs", f"/runs/{answer['run_id']}/scores")]
        for text_of in (service.http.get("/metrics").text, *map(plain, others)):
            assert not [word for word in words if word in text_of]
        assert named(students[1]) in plain(others[1])
        said = written_by_the_service(caplog)
        assert "request" in said
        assert not [word for word in words if word in said]
        where = tables_with(service, words)
        folder = Path(str(service.database.url.database)).parent
        held = b"".join(file.read_bytes() for file in folder.iterdir())
    assert where == {"scores"}
    for word in (NAME, NUMBER, PLACED):
        assert word.encode() not in held
        assert word.encode("utf-16-le") not in held
        assert json.dumps(word).strip('"').encode() not in held


def test_an_answer_that_is_kept_can_be_read_only_with_the_key_that_it_was_asked_for_with(world: World) -> None:
    request = {"json": {"tables": with_names(small_roster(SCHOOL))}, "headers": {"idempotency-key": "sealed"}}
    answer = world.ask("school", "POST", "/score", **request)
    assert PLACED in answer.text
    subject = world.service.keys["school"].id
    assert answer_of(world.service.database, subject, "sealed") is None
    kept = answer_of(world.service.database, subject, name_of("sealed"))
    assert kept is not None
    assert b"".join(unseal(kept.body, "sealed")) == answer.content
    for body, key in ((kept.body, "another"), (kept.body[:-1], "sealed"), (kept.body[:5], "sealed")):
        with pytest.raises(StoreError, match="damaged"):
            unseal(body, key)


def tables_with(service: Service, words: tuple[str, ...]) -> set[str]:
    """Return the tables that hold one of the words as a text, escaped as JSON or not."""
    found = set()
    with service.database.reading() as session:
        for table in inspect(session.connection()).get_table_names():
            rows = repr([tuple(row) for row in session.execute(text(f"select * from {table}"))])
            if any(word in rows or json.dumps(word).strip('"') in rows for word in words):
                found.add(table)
    return found
