"""The store on SQLite and on PostgreSQL: migrations with data in them, keys, runs within a scope, the audit."""

import hmac
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, event, func, inspect, select, text, update
from stores import KINDS, lost_commits, new_store

from dropout_risk.access import Principal
from dropout_risk.errors import SettingsError, SignInError, StoreError
from dropout_risk.reasons import Reason, Reasons
from dropout_risk.scores import Scores, nobody_refused
from dropout_risk.store import keys, runs
from dropout_risk.store.audit import Access, lines, verify
from dropout_risk.store.database import Database, UnknownOutcomeError, back_up
from dropout_risk.store.keys import Doorkeeper, LockedError
from dropout_risk.store.migrations import downgrade, newest, prepare, revision_of, upgrade
from dropout_risk.store.schema import WORDINGS_A_ROW, AuditLine, Base, Key, Replay, Run, Score

SCHOOL = Principal("k-school", "school", ("S1",))
COUNTY = Principal("k-county", "county", ("C1",))
OTHER = Principal("k-other", "county", ("C2",))
PROVINCE = Principal("k-province", "province", ("C*",))
AUDITOR = Principal("k-auditor", "auditor")


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_store(request.param) as url:
        made = Database(url)
        prepare(made)
        yield made
        made.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/store.db")
    prepare(made)
    yield made
    made.close()


REASON = Reason(
    group="attendance",
    label="出勤",
    feature="absence_rate",
    contribution=1.2,
    value=0.4,
    median=0.01,
    text="缺勤",
    changeable=True,
    measure="家访",
)


def scores(students: dict[str, tuple[str, str]]) -> Scores:
    """Return scores of students by id, each with school and county."""
    n = len(students)
    columns = {
        "student_id": list(students),
        "school_id": [school for school, _ in students.values()],
        "county_id": [county for _, county in students.values()],
        "class_id": [None] * n,
        "grade": [7] * n,
        "risk": [0.9 - place / 10 for place in range(n)],
        "band": ["high"] * n,
        "rank": list(range(1, n + 1)),
    }
    reasons = Reasons.of([[REASON]] * n)
    return Scores(columns, reasons, [["成绩"]] * n, nobody_refused(), n, "2022-07-08", "2023-01-13")


def with_columns(given: Scores, **columns: list[Any]) -> Scores:
    """Return scores with other values in some columns."""
    return replace(given, students={**given.students, **columns})


TWO_COUNTIES = {"G1": ("S1", "C1"), "G2": ("S2", "C1"), "G3": ("S3", "C2")}


def run_of(principal: Principal, run_id: str, at: datetime | None = None, n: int = 3) -> Run:
    return Run(
        id=run_id,
        subject=principal.subject,
        role=principal.role,
        purpose="support",
        at=at or datetime.now(UTC),
        as_of="2022-07-08",
        expires="2023-01-13",
        lang="zh",
        model_version="abc",
        model_digest="abc" * 20,
        data_digest="def" * 20,
        rows_in=n,
        scored=n,
        refused=0,
    )


def access(principal: Principal, **told: Any) -> Access:
    return Access(principal, "score", principal.may("score"), **told)


def told(database: Database, scores: Scores) -> runs.Told:
    return runs.Told.of(scores, runs.pseudonyms(database))


def history(database: Database, principal: Principal, name: str) -> list[tuple[Run, Score]]:
    return runs.history(database, principal, name, runs.pseudonyms(database))


def keep(database: Database, principal: Principal, run_id: str, **options: Any) -> None:
    run = run_of(principal, run_id, options.pop("at", None))
    runs.keep(database, run, told(database, scores(TWO_COUNTIES)), access(principal, students=3), **options)


# Migrations ------------------------------------------------------------------------------------------


def test_the_migrations_make_the_schema(database: Database) -> None:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_store_goes_down_and_up_with_what_is_in_it(database: Database) -> None:
    keys.create(database, "school", ["S1"])
    answer = runs.Answer("d" * 64, "r1", "json", b"packed")
    keep(database, COUNTY, "r1", replay=("k", answer))
    downgrade(database, "0001")
    assert revision_of(database) == "0001"
    with pytest.raises(StoreError, match="store upgrade"):
        prepare(database)
    upgrade(database)
    assert revision_of(database) == newest()
    assert runs.answer_of(database, COUNTY.subject, "k") is None  # 0001 has no place for answers
    assert len(runs.scores_of(database, PROVINCE, "r1")) == 3
    assert verify(database).ok
    assert len(keys.all_keys(database)) == 1
    downgrade(database, "base")
    assert revision_of(database) is None
    prepare(database)
    assert keys.all_keys(database) == []


BEFORE_PLACES = (
    "insert into runs (id, subject, role, purpose, at, as_of, expires, lang, model_version, model_digest, data_digest, "
    "rows_in, scored, refused) values ('{run}', '{subject}', 'county', 'support', '2022-07-0{number} 00:00:00+00:00', "
    "'2022-07-08', '2023-01-13', 'zh', 'abc', 'abc', 'def', 9, 9, 0)",
    "insert into scores (run_id, rank, student_id, pseudonym, school_id, county_id, class_id, grade, risk, band, "
    "reasons, gaps) values ('{run}', {rank}, '{student}', '{pseudonym}', {school}, {county}, null, 7, 0.5, 'high', "
    "'[]', '[]')",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_from_before_the_places_of_runs_shows_the_same(kind: str) -> None:
    with new_store(kind) as url, closing(Database(url)) as database:
        upgrade(database, "0002")
        named = runs.pseudonyms(database)
        places = {"r1": ["S1 C1", "S1 C1", "S2 C1", " C1", "S3 C2", " "], "r2": ["S3 C2"], "r3": []}
        with database.turn() as connection:
            for number, (run, own) in enumerate(places.items(), start=1):
                add_run, add_score = BEFORE_PLACES
                connection.exec_driver_sql(add_run.format(run=run, number=number, subject=COUNTY.subject))
                for rank, place in enumerate(own, start=1):
                    school, county = (f"'{one}'" if one else "null" for one in place.split(" "))
                    told = {"rank": rank, "student": f"G{rank}", "pseudonym": named(f"G{rank}")}
                    connection.exec_driver_sql(add_score.format(run=run, school=school, county=county, **told))
        for _ in range(2):
            with pytest.raises(StoreError, match="store upgrade"):
                prepare(database)
            upgrade(database)
            counts = {
                who.subject: {seen.run.id: seen.students for seen in runs.runs(database, who)}
                for who in (SCHOOL, COUNTY, OTHER, PROVINCE, AUDITOR)
            }
            assert counts == {
                "k-school": {"r1": 2},
                "k-county": {"r3": 0, "r2": 0, "r1": 4},
                "k-other": {"r2": 1, "r1": 1},
                "k-province": {"r2": 1, "r1": 5},
                "k-auditor": {"r3": 0, "r2": 1, "r1": 6},
            }
            for name in ("G1", named("G1")):
                assert [past.run.id for past in history(database, PROVINCE, name)] == ["r2", "r1"]
            with database.reading() as session:
                context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
                assert compare_metadata(context, Base.metadata) == []
            downgrade(database, "0002")
            with database.reading() as session:
                found = {index["name"] for index in inspect(session.connection()).get_indexes("scores")}
            assert found == {f"ix_scores_{n}" for n in ("county_id", "pseudonym", "school_id", "student_id_run_id")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_from_before_the_wordings_of_runs_tells_the_same_reasons(kind: str) -> None:
    many = [replace(REASON, value=float(value), contribution=1 / (value + 1)) for value in range(WORDINGS_A_ROW + 9)]
    said = {
        "r1": [[REASON, replace(REASON, contribution=0.1 + 0.2)], [], [replace(REASON, value=None, text="“'")]],
        "r2": [many[:5], many[3:], many[::-1]],
    }
    kept_before = {run: [[reason.to_dict() for reason in own] for own in students] for run, students in said.items()}
    with new_store(kind) as url, closing(Database(url)) as database:
        prepare(database)
        for run, students in said.items():
            given = replace(scores(TWO_COUNTIES), reasons=Reasons.of(students))
            runs.keep(database, run_of(PROVINCE, run), told(database, given), access(PROVINCE))
        downgrade(database, "0003")
        with database.reading() as session:
            assert not inspect(session.connection()).has_table("wordings")
            rows = session.execute(text("select run_id, cast(reasons as text) from scores order by run_id, rank")).all()
        assert [json.loads(row[1]) for row in rows] == [own for students in kept_before.values() for own in students]
        upgrade(database)
        for run, students in kept_before.items():
            assert runs.scores_of(database, PROVINCE, run)["reasons"].tolist() == students
        with database.reading() as session:
            context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            count = session.execute(text("select run_id, count(*) from wordings group by run_id order by run_id")).all()
        assert [tuple(row) for row in count] == [("r1", 1), ("r2", 2)]
        assert runs.purge(database, "2023-01-14") == 6
        with database.reading() as session:
            assert session.scalar(text("select count(*) from wordings")) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_equal_risks_of_a_store_from_before_share_a_rank(kind: str) -> None:
    risks = {"r1": [0.5, 0.5, 0.25, 0.25, 0.25, 0.1], "r2": [0.1, 0.1], "r3": []}
    with new_store(kind) as url, closing(Database(url)) as database:
        prepare(database)
        for run, own in risks.items():
            given = scores({f"G{number}": ("S1", "C1") for number in range(len(own))})
            given = with_columns(given, risk=own)
            runs.keep(database, run_of(PROVINCE, run), told(database, given), access(PROVINCE))
        downgrade(database, "0004")
        with database.reading() as session:
            assert session.scalars(text("select rank from scores order by run_id, rank")).all() == [*range(1, 7), 1, 2]
        upgrade(database)
        found = [runs.scores_of(database, PROVINCE, run)["rank"].tolist() for run in risks]
        assert found == [[1, 1, 3, 3, 3, 6], [1, 1], []]
        with database.reading() as session:
            context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_start_together_make_one_store(kind: str) -> None:
    code = "import sys; from dropout_risk.store.database import Database; " \
        "from dropout_risk.store.migrations import prepare; prepare(Database(sys.argv[1]))"  # fmt: skip
    with new_store(kind) as url:
        started = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(3)]
        said = [one.communicate()[1].decode() for one in started]
        assert [one.returncode for one in started] == [0, 0, 0], said
        with closing(Database(url)) as database:
            assert revision_of(database) == newest()


@pytest.mark.parametrize("url", ["mysql://a/b", "sqlite://", "no address", "sqlite:///:memory:"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        Database(url)


def test_the_password_of_an_address_is_not_told() -> None:
    with pytest.raises(SettingsError) as caught:
        Database("mysql://me:hidden@host/db")
    assert "hidden" not in str(caught.value)


# Keys ------------------------------------------------------------------------------------------------


def test_a_key_lets_in_until_it_expires_or_is_revoked(database: Database) -> None:
    now = datetime.now(UTC)
    key = keys.create(database, "county", ["C1"], days=3, now=now)
    door = Doorkeeper(database)
    assert door.admit(key.token) == Principal(key.id, "county", ("C1",))
    with pytest.raises(SignInError):
        door.admit(key.token, now=now + timedelta(days=3, seconds=1))
    keys.revoke(database, key.id)
    with pytest.raises(SignInError):
        door.admit(key.token)


def test_a_key_that_is_rotated_counts_a_little_longer(database: Database) -> None:
    old = keys.create(database, "school", ["S1"], label="First school")
    new = keys.rotate(database, old.id, overlap_days=2)
    door, now = Doorkeeper(database), datetime.now(UTC)
    assert door.admit(new.token).scope == door.admit(old.token).scope == ("S1",)
    with pytest.raises(SignInError):
        door.admit(old.token, now=now + timedelta(days=2, minutes=1))
    assert door.admit(new.token, now=now + timedelta(days=300)).role == "school"
    assert {key.id: key.replaces for key in keys.all_keys(database)} == {old.id: None, new.id: old.id}
    keys.revoke(database, old.id)
    with pytest.raises(SettingsError, match="does not count any more"):
        keys.rotate(database, old.id)


def test_nothing_of_the_secret_is_kept(sqlite: Database) -> None:
    key = keys.create(sqlite, "school", ["S1"])
    secret = key.token.split("_", 2)[2]
    sqlite.close()
    kept = b"".join(file.read_bytes() for file in Path(str(sqlite.url.database)).parent.iterdir())
    assert secret.encode() not in kept
    assert key.id.encode() in kept


@pytest.mark.parametrize("wrong", ["", "dr_", "dr_x_y", "nothing", "dr_{id}_", "dr_{id}_wrong", "{token}x", " {token}"])
def test_a_wrong_token_says_nothing_about_the_keys(wrong: str, sqlite: Database) -> None:
    key = keys.create(sqlite, "school", ["S1"])
    with pytest.raises(SignInError) as caught:
        Doorkeeper(sqlite).admit(wrong.format(id=key.id, token=key.token))
    assert str(caught.value) == keys._NOT_VALID


@pytest.mark.parametrize("token", ["dr_a\0b_c", "dr_\0_", "\0", "dr_é_x", "dr_" + "a" * 300 + "_x", "dr_'; --_x"])
def test_a_token_that_no_database_could_keep_is_wrong_and_no_trouble(token: str, database: Database) -> None:
    with pytest.raises(SignInError):
        Doorkeeper(database).admit(token)


def test_repeated_failures_lock_the_key_and_the_place_they_come_from(database: Database) -> None:
    key, now = keys.create(database, "school", ["S1"]), datetime.now(UTC)
    door = Doorkeeper(database)
    for _ in range(keys.MAX_FAILURES):
        with pytest.raises(SignInError) as failed:
            door.admit(f"dr_{key.id}_wrong", origin="10.0.0.1", now=now)
        assert failed.value.http_status == 401
    with pytest.raises(LockedError) as locked:
        Doorkeeper(database).admit(key.token, origin="10.0.0.1", now=now)  # another process knows of it, too
    assert 0 < locked.value.retry_after <= keys.LOCKED_FOR.total_seconds()
    assert door.admit(key.token, origin="10.0.0.2", now=now).subject == key.id
    assert door.admit(key.token, origin="10.0.0.1", now=now + keys.LOCKED_FOR).subject == key.id


def test_a_place_that_tries_many_keys_is_locked(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_FAILURES_OF_ORIGIN", 5)
    door = Doorkeeper(sqlite)
    said = []
    for number in range(7):
        with pytest.raises(SignInError) as caught:
            door.admit(f"dr_{number}_x", origin="10.0.0.1")
        said.append(caught.value.http_status)
    assert said == [401] * 5 + [429] * 2


def test_failures_that_lie_far_apart_lock_nobody(sqlite: Database) -> None:
    key, now = keys.create(sqlite, "school", ["S1"]), datetime.now(UTC)
    door = Doorkeeper(sqlite)
    for number in range(3 * keys.MAX_FAILURES):
        with pytest.raises(SignInError) as caught:
            door.admit(f"dr_{key.id}_x", now=now + number * keys.WITHIN)
        assert caught.value.http_status == 401


# Runs ------------------------------------------------------------------------------------------------


def test_each_sees_the_students_of_its_scope(database: Database) -> None:
    keep(database, PROVINCE, "r1")
    seen = {
        who.subject: runs.scores_of(database, who, "r1")["student_id"].tolist()
        for who in (SCHOOL, COUNTY, OTHER, PROVINCE, AUDITOR)
    }
    assert seen == {
        "k-school": ["G1"],
        "k-county": ["G1", "G2"],
        "k-other": ["G3"],
        "k-province": ["G1", "G2", "G3"],
        "k-auditor": [],
    }
    counts = {who.subject: runs.runs(database, who)[0].students for who in (SCHOOL, COUNTY, OTHER, PROVINCE, AUDITOR)}
    assert counts == {"k-school": 1, "k-county": 2, "k-other": 1, "k-province": 3, "k-auditor": 3}


def test_a_run_beyond_the_scope_is_as_one_that_is_not_there(database: Database) -> None:
    keep(database, PROVINCE, "r1")
    stranger = Principal("k-x", "school", ("S9",))
    assert runs.run(database, stranger, "r1") is runs.run(database, stranger, "r2") is None
    assert runs.runs(database, stranger) == []
    assert history(database, stranger, "G1") == []


def test_a_student_is_found_by_id_and_by_pseudonym(database: Database) -> None:
    keep(database, COUNTY, "r1", at=datetime(2022, 7, 9, tzinfo=UTC))
    keep(database, COUNTY, "r2", at=datetime(2022, 7, 10, tzinfo=UTC))
    pseudonym = runs.pseudonyms(database)("G1")
    for name in ("G1", pseudonym):
        found = history(database, SCHOOL, name)
        assert [past.run.id for past in found] == ["r2", "r1"]
        assert [past.score.student_id for past in found] == ["G1", "G1"]
    (_, score, reasons), *_ = history(database, SCHOOL, "G1")
    assert reasons[0]["text"] == "缺勤"
    assert score.gaps == ["成绩"]
    assert "G1" not in pseudonym


def test_a_name_that_is_another_students_pseudonym_shows_both_and_no_third(sqlite: Database) -> None:
    pseudonym = runs.pseudonyms(sqlite)("G1")
    students = told(sqlite, scores({"G1": ("S1", "C1"), pseudonym: ("S1", "C1"), "G2": ("S1", "C1")}))
    same = [students.columns["pseudonym"][0], students.columns["pseudonym"][1], students.columns["pseudonym"][1]]
    students.columns["pseudonym"][:] = same  # as if two digests began alike
    runs.keep(sqlite, run_of(COUNTY, "r1"), students, access(COUNTY))
    assert {past.score.student_id for past in history(sqlite, COUNTY, pseudonym)} == {"G1", pseudonym}


ids = st.sampled_from(["a", "A", "ab", "b", None])
holders = st.one_of(
    st.builds(lambda one: Principal("k", "school", (one,)), st.sampled_from(["a", "A", "x"])),
    st.builds(lambda one: Principal("k", "county", (one, "b")), st.sampled_from(["a", "A", "x"])),
    st.builds(lambda one: Principal("k", "province", (f"{one}*",)), st.sampled_from(["a", "A", "x", ""])),
    st.just(Principal("k", "auditor")),
)
kept_runs = st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.lists(st.tuples(ids, ids), max_size=4)), max_size=5)


@given(kept=kept_runs, who=holders, limit=st.integers(1, 6), page=st.integers(0, 4))
def test_the_list_of_runs_says_what_their_scores_say(
    kept: list[tuple[bool, int, list[tuple[str | None, str | None]]]], who: Principal, limit: int, page: int
) -> None:
    expected = []
    with new_store("sqlite") as url, closing(Database(url)) as database:
        prepare(database)
        for number, (own, day, places) in enumerate(kept):
            by, at = Principal("k" if own else "other", "auditor"), datetime(2022, 7, day, tzinfo=UTC)
            students = told(database, scores({f"G{place}": one for place, one in enumerate(places)}))
            runs.keep(database, run_of(by, f"r{number}", at), students, access(by))
            seen = len(places) if who.role == "auditor" else sum(who.reach.holds(*place) for place in places)
            if seen or own or who.role == "auditor":
                expected.append((day, f"r{number}", seen))
        expected.sort(reverse=True)
        whole = [run_id for _, run_id, _ in expected]
        before = whole[page] if page < len(whole) else None
        told_so = [(one.run.at.day, one.run.id, one.students) for one in runs.runs(database, who, limit=limit)]
        assert told_so == expected[:limit]
        if before is not None:
            rest = [one.run.id for one in runs.runs(database, who, limit=limit, before=before)]
            assert rest == whole[page + 1 : page + 1 + limit]
        for number in range(len(kept)):
            one = runs.run(database, who, f"r{number}")
            assert (one and one.students) == {run_id: seen for _, run_id, seen in expected}.get(f"r{number}")


def test_runs_are_listed_and_a_student_is_found_without_a_look_at_all_scores(sqlite: Database) -> None:
    keep(sqlite, COUNTY, "r1")
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.driver_connection.execute(f"explain query plan {statement}", given)
            plans.extend(row[3] for row in rows)

    named = runs.pseudonyms(sqlite)
    event.listen(sqlite.engine, "before_cursor_execute", explain)
    for who in (SCHOOL, COUNTY, PROVINCE, AUDITOR):
        runs.runs(sqlite, who)
        runs.run(sqlite, who, "r1")
    assert not [step for step in plans if "scores" in step]
    for who in (SCHOOL, COUNTY, PROVINCE):
        assert runs.history(sqlite, who, "G1", named)
    found = {step for step in plans if "scores" in step}
    assert found == {"SEARCH scores USING INDEX ix_scores_run_id_pseudonym (run_id=? AND pseudonym=?)"}


def test_scores_without_a_day_of_expiry_go_a_year_after_theirs(database: Database) -> None:
    keep(database, COUNTY, "r1")
    with database.writing() as session:
        session.execute(text("update runs set expires = null"))
    assert runs.purge(database, "2023-07-08") == 0  # a year after the as-of date
    assert runs.purge(database, "2023-07-09") == 3


def test_runs_come_in_pages(database: Database) -> None:
    moments = [datetime(2022, 7, day, tzinfo=UTC) for day in (1, 2, 2, 3)]
    for number, at in enumerate(moments):
        keep(database, COUNTY, f"r{number}", at=at)
    first = [seen.run.id for seen in runs.runs(database, COUNTY, limit=2)]
    rest = [seen.run.id for seen in runs.runs(database, COUNTY, limit=9, before=first[-1])]
    assert first + rest == ["r3", "r2", "r1", "r0"]


def test_a_run_is_kept_whole_or_not_at_all(database: Database) -> None:
    keep(database, COUNTY, "r1")
    with pytest.raises(StoreError):
        keep(database, COUNTY, "r1")
    unfit = with_columns(scores(TWO_COUNTIES), band=[None, "high", "high"])
    with pytest.raises(StoreError) as caught:
        runs.keep(database, run_of(COUNTY, "r2"), told(database, unfit), access(COUNTY))
    assert "G1" not in str(caught.value)
    assert [seen.run.id for seen in runs.runs(database, COUNTY)] == ["r1"]
    assert verify(database).lines == 1


@pytest.mark.parametrize("carried_out", [True, False])
def test_what_is_lost_in_the_commit_is_not_said_to_be_lost(carried_out: bool, database: Database) -> None:
    students = told(database, scores(TWO_COUNTIES))
    with lost_commits(database, kept=carried_out), pytest.raises(UnknownOutcomeError, match="is not known"):
        runs.keep(database, run_of(COUNTY, "r1"), students, access(COUNTY))
    assert (runs.run(database, COUNTY, "r1") is not None) == carried_out
    keep(database, COUNTY, "r2")
    assert verify(database) == replace(verify(database), lines=1 + carried_out, faults=())


def test_a_commit_that_is_refused_leaves_the_connection_as_it_was(sqlite: Database) -> None:
    orphan = (
        "insert into scores (run_id, position, rank, student_id, pseudonym, risk, band, reasons, gaps) "
        "values ('none', 1, 1, 'G1', 'P', 0.5, 'high', '[]', '[]')"
    )
    with pytest.raises(UnknownOutcomeError), sqlite.turn() as connection:
        connection.execute(text("pragma defer_foreign_keys=on"))
        connection.execute(text(orphan))
    keep(sqlite, COUNTY, "r1")
    with sqlite.reading() as session:
        assert session.scalar(select(func.count()).select_from(Score)) == 3


def test_a_connection_that_is_killed_before_its_commit_is_told() -> None:
    with new_store("postgresql") as url, closing(Database(url)) as database:
        prepare(database)
        with pytest.raises(UnknownOutcomeError), database.turn() as connection:
            process = connection.scalar(text("select pg_backend_pid()"))
            with database.engine.connect() as other:
                other.execute(text("select pg_terminate_backend(:process)"), {"process": process})
        keep(database, COUNTY, "r1")
        assert verify(database).lines == 1


def test_a_connection_that_is_killed_before_its_scores_are_sent_keeps_nothing() -> None:
    with new_store("postgresql") as url, closing(Database(url)) as database:
        prepare(database)
        row = ("r1", 1, 1, "G1", "P-1", None, None, None, None, 0.5, "high", "[]", "[]")
        columns = [column.name for column in Score.__table__.columns]
        with pytest.raises(StoreError, match="does not answer or refuses") as caught, database.turn() as connection:
            process = connection.scalar(text("select pg_backend_pid()"))
            with database.engine.connect() as other:
                other.execute(text("select pg_terminate_backend(:process)"), {"process": process})
            database.add(connection, "scores", columns, [row])
        assert not isinstance(caught.value, UnknownOutcomeError)
        keep(database, COUNTY, "r1")
        assert verify(database).lines == 1


def test_what_is_kept_is_what_was_told(database: Database) -> None:
    given = with_columns(scores(TWO_COUNTIES), grade=[7, None, 9], school_id=["S1", None, "S2"])
    other = replace(REASON, value="鄂温克\n“一”", median=None, changeable=None)
    given = replace(given, reasons=Reasons.of([[REASON, other], [], [other]]), gaps=[[], ["成绩"], []])
    runs.keep(database, run_of(PROVINCE, "r1"), told(database, given), access(PROVINCE))
    found = runs.scores_of(database, PROVINCE, "r1")
    assert found["grade"].astype(object).where(found["grade"].notna(), None).tolist() == [7, None, 9]
    assert found["school_id"].astype(object).where(found["school_id"].notna(), None).tolist() == ["S1", None, "S2"]
    assert found["reasons"].tolist() == [[reason.to_dict() for reason in own] for own in given.reasons]
    assert found["data_gaps"].tolist() == given.gaps
    for name in ("student_id", "county_id", "risk", "band", "rank"):
        assert found[name].tolist() == given.students[name]
    named = runs.pseudonyms(database)
    assert found["pseudonym"].tolist() == list(map(named, given.students["student_id"]))


def test_scores_for_which_there_is_no_reason_are_kept(database: Database) -> None:
    given = replace(scores(TWO_COUNTIES), reasons=Reasons.of([[], [], []]))
    runs.keep(database, run_of(PROVINCE, "r1"), told(database, given), access(PROVINCE))
    assert runs.scores_of(database, PROVINCE, "r1")["reasons"].tolist() == [[], [], []]
    assert history(database, PROVINCE, "G1")[0].reasons == []


def test_signs_that_mean_something_to_a_database_are_kept_as_they_are(database: Database) -> None:
    ids = {"\\N": ("\t", "C1"), "\\.": ("a\tb", "C1"), "x\n\\x": ('"', "C1"), "": ("''", "C1"), "%s?": (";--", "C1")}
    runs.keep(database, run_of(COUNTY, "r1"), told(database, scores(ids)), access(COUNTY))
    found = runs.scores_of(database, COUNTY, "r1")
    assert dict(zip(found["student_id"], found["school_id"], strict=True)) == {one: at for one, (at, _) in ids.items()}
    assert [seen.students for seen in runs.runs(database, COUNTY)] == [5]


def test_a_database_of_no_encoding_keeps_chinese_as_it_is() -> None:
    options = "encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'"
    with new_store("postgresql", options) as url, closing(Database(url)) as database:
        prepare(database)
        runs.keep(database, run_of(COUNTY, "r1"), told(database, scores({"学生": ("青石小学", "C1")})), access(COUNTY))
        (found,) = history(database, COUNTY, "学生")
        assert (found.score.school_id, found.reasons[0]["text"]) == ("青石小学", "缺勤")
        assert verify(database).ok


def test_a_sign_that_a_database_cannot_keep_is_told_and_nothing_is_kept() -> None:
    with new_store("postgresql") as url, closing(Database(url)) as database:
        prepare(database)
        students = told(database, scores({"G1": ("S1", "C1"), "G\0": ("S1", "C1")}))
        with pytest.raises(StoreError, match="nothing of what was being written was kept") as caught:
            runs.keep(database, run_of(COUNTY, "r1"), students, access(COUNTY))
        assert "G" not in str(caught.value)
        assert runs.run(database, COUNTY, "r1") is None
        keep(database, COUNTY, "r2")
        assert verify(database).lines == 1


def test_reasons_are_read_as_they_were_answered(database: Database) -> None:
    odd = replace(REASON, contribution=0.1 + 0.2, value=math.nan, text="缺勤\u2028“一”")
    many = [replace(REASON, value=float(value), contribution=1 / (value + 1)) for value in range(2 * WORDINGS_A_ROW)]
    reasons = Reasons.of([[odd, REASON], [], [many[-1], odd, *many]])
    students = told(database, replace(scores(TWO_COUNTIES), reasons=reasons))
    runs.keep(database, run_of(PROVINCE, "r1"), students, access(PROVINCE))
    answered = list(map(json.loads, students.columns["reasons"]))
    assert runs.scores_of(database, PROVINCE, "r1")["reasons"].tolist() == answered
    assert [history(database, PROVINCE, f"G{place}")[0].reasons for place in (1, 2, 3)] == answered
    assert [list(reason) for reason in answered[0]] == [list(REASON.to_dict())] * 2
    assert (answered[0][0]["value"], answered[0][0]["contribution"]) == (None, 0.1 + 0.2)


def test_a_pseudonym_is_the_beginning_of_a_keyed_digest() -> None:
    digest = hmac.new(b"secret", "学生1".encode(), sha256).hexdigest()
    assert runs.Pseudonyms(b"secret")("学生1") == f"P-{digest[:16]}"


def test_the_same_answer_is_found_again_by_its_key(database: Database) -> None:
    answer = runs.Answer("d" * 64, "r1", "json", b"packed")
    keep(database, COUNTY, "r1", replay=("mine", answer))
    assert runs.answer_of(database, COUNTY.subject, "mine") == answer
    assert runs.answer_of(database, OTHER.subject, "mine") is None
    with pytest.raises(StoreError):
        keep(database, COUNTY, "r2", replay=("mine", replace(answer, run_id="r2")))
    assert runs.run(database, COUNTY, "r2") is None


def test_what_has_expired_is_removed_and_the_audit_stays(database: Database) -> None:
    keep(database, COUNTY, "r1", replay=("k", runs.Answer("d" * 64, "r1", "json", b"packed")))
    assert runs.purge(database, "2023-01-13") == 0
    assert runs.purge(database, "2023-01-14") == 3
    assert [seen.students for seen in runs.runs(database, PROVINCE)] == []
    assert history(database, COUNTY, "G1") == []
    assert [(seen.run.id, seen.students) for seen in runs.runs(database, COUNTY)] == [("r1", 0)]
    assert verify(database) == replace(verify(database), lines=1, faults=())
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Replay)) == 0


# The audit -------------------------------------------------------------------------------------------


def note_some(database: Database, n: int = 5) -> None:
    for number in range(n):
        runs.note(database, access(COUNTY, students=number, seconds=0.1))


@pytest.mark.parametrize(
    "statement", [update(AuditLine).values(students=0), delete(AuditLine), text("delete from audit")]
)
def test_the_database_refuses_to_change_the_audit(statement: Any, database: Database) -> None:
    note_some(database)
    with pytest.raises(StoreError), database.writing() as session:
        session.execute(statement)
    assert verify(database).lines == 5


def without_guard(database: Database) -> None:
    """Do what somebody with all rights on the database could do."""
    with database.turn() as connection:
        if database.is_sqlite:
            for what in ("update", "delete"):
                connection.execute(text(f"drop trigger audit_is_only_added_to_{what}"))
        else:
            connection.execute(text("alter table audit disable trigger all"))


@pytest.mark.parametrize("column", [c.key for c in AuditLine.__table__.columns if c.key not in ("previous", "hash")])
def test_a_change_of_any_value_is_found(column: str, sqlite: Database) -> None:
    note_some(sqlite)
    without_guard(sqlite)
    kind = AuditLine.__table__.columns[column].type.python_type
    changed = {bool: False, int: 99, float: 9.9, str: "x", object: datetime(2020, 1, 1, tzinfo=UTC)}[kind]
    with sqlite.writing() as session:
        session.execute(update(AuditLine).where(AuditLine.number == 3).values({column: changed}))
    assert not verify(sqlite).ok


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_line_that_is_taken_out_is_found(number: int, database: Database) -> None:
    note_some(database)
    head = verify(database).head
    without_guard(database)
    with database.writing() as session:
        session.execute(delete(AuditLine).where(AuditLine.number == number))
    assert not verify(database, known_head=head).ok
    assert (
        number == 5 or not verify(database).ok
    )  # the end can be cut off without a trace, but for a head that is known


def test_lines_of_many_writers_make_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: runs.note(database, access(COUNTY, students=number)), range(40)))
    verdict = verify(database)
    assert (verdict.lines, verdict.faults) == (40, ())
    assert sorted(line.students for line in lines(database)) == list(range(40))


# Files -----------------------------------------------------------------------------------------------


def test_a_copy_is_made_while_others_write(sqlite: Database, tmp_path: Path) -> None:
    keep(sqlite, COUNTY, "r1")
    with sqlite.reading() as session:
        session.execute(select(Run))
        back_up(sqlite, tmp_path / "copy.db")
    with closing(Database(f"sqlite:///{tmp_path}/copy.db")) as copy:
        assert len(runs.scores_of(copy, PROVINCE, "r1")) == 3
        assert runs.pseudonyms(copy)("G1") == runs.pseudonyms(sqlite)("G1")
        assert verify(copy).head == verify(sqlite).head
    with pytest.raises(SettingsError, match="exists"):
        back_up(sqlite, tmp_path / "copy.db")


def test_a_store_that_is_locked_or_damaged_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="does not answer or refuses"):
        prepare(Database(f"sqlite:///{tmp_path}/store.db"))


def test_connections_stay_open_and_let_go_of_a_file_in_whose_place_another_was_put(
    sqlite: Database, tmp_path: Path
) -> None:
    keep(sqlite, COUNTY, "r1")
    back_up(sqlite, tmp_path / "copy.db")
    keep(sqlite, COUNTY, "r2")
    sqlite.close()
    keep(sqlite, COUNTY, "r3")
    assert sqlite.engine.pool.checkedin() == 1
    (tmp_path / "copy.db").replace(str(sqlite.url.database))
    for rest in ("-wal", "-shm"):
        Path(f"{sqlite.url.database}{rest}").unlink()
    keep(sqlite, COUNTY, "r4")
    assert {seen.run.id for seen in runs.runs(sqlite, COUNTY)} == {"r1", "r4"}
    sqlite.close()
    with closing(Database(str(sqlite.url))) as another:
        assert {seen.run.id for seen in runs.runs(another, COUNTY)} == {"r1", "r4"}


def test_many_readers_do_not_wait_for_each_other(sqlite: Database) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            assert stack.enter_context(sqlite.reading()).scalar(select(func.count()).select_from(Run)) == 0


def test_what_is_kept_is_on_the_disk(sqlite: Database) -> None:
    keep(sqlite, COUNTY, "r1")
    with closing(sqlite3.connect(str(sqlite.url.database))) as plain:
        assert plain.execute("select count(*) from scores").fetchone() == (3,)
        assert plain.execute("pragma journal_mode").fetchone() == ("wal",)
    with sqlite.reading() as session:
        assert session.execute(text("pragma synchronous")).scalar() == 2
        assert session.execute(text("pragma foreign_keys")).scalar() == 1
        assert session.scalar(select(func.count()).select_from(Key)) == 0
        assert session.scalar(select(func.count()).select_from(Score)) == 3
