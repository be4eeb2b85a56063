"""Who gets no score, and on which days nobody does: refused with the reason instead of a number that means nothing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from county_builder import AUTUMN, SPRING, TERM_DAYS, build_tables, enrol, term_end
from hypothesis import given, settings
from hypothesis import strategies as st
from roster_builder import as_records
from roster_builder import settings as service_settings
from starlette.testclient import TestClient
from trained_county import junior, trained

from dropout_risk.applicability import LONGEST_HOLIDAY_DAYS, Limits, check_day, withheld
from dropout_risk.bundle import save_bundle
from dropout_risk.errors import SettingsError
from dropout_risk.features import build_features
from dropout_risk.schema import Tables
from dropout_risk.service.app import create_app

DAY = term_end(AUTUMN)
TODAY = pd.Timestamp("2026-01-01")


def attended(student: str, *days: pd.Timestamp) -> list[dict[str, Any]]:
    return [{"student_id": student, "date": day, "code": "P"} for day in days]


def two_schools(**rows: Any) -> Tables:
    """Return one student in each of two schools."""
    born = [{"student_id": student, "birth_date": pd.Timestamp("2007-03-01")} for student in ("a", "b")]
    rolls = [*enrol("a", AUTUMN, school="A"), *enrol("b", AUTUMN, school="B", grade=8)]
    return build_tables(students=born, enrolments=rolls, **rows)


def why(tables: Tables, limits: Limits, day: pd.Timestamp = DAY) -> dict[str, str | None]:
    """Return the column that each student without a score is told about."""
    found = withheld(tables, build_features(tables, day), day, limits)
    assert all(reason.en and reason.zh for reason in found.values())
    return {student: reason.column for student, reason in found.items()}


ANYTHING = Limits(min_coverage=0.0)


def test_nobody_is_withheld_where_nothing_is_asked_for() -> None:
    assert why(two_schools(), ANYTHING) == {}


# ---------------------------------------------------------------------------------------- grades


def test_a_grade_that_the_model_has_not_learned_gets_no_score() -> None:
    tables = two_schools()
    limits = replace(ANYTHING, grades=[7])
    assert why(tables, limits) == {"b": "grade"}
    told = withheld(tables, build_features(tables, DAY), DAY, limits)["b"]
    assert told.value == "8"
    assert "grade 8" in told.en
    assert "8年级" in told.zh


def test_a_grade_that_is_not_known_is_none_that_was_learned() -> None:
    tables = two_schools()
    X = build_features(tables, DAY).assign(grade=float("nan"))
    assert {one.value for one in withheld(tables, X, DAY, replace(ANYTHING, grades=[7, 8])).values()} == {"-"}


# ---------------------------------------------------------------------------------------- attendance


@pytest.mark.slow
@settings(max_examples=20)
@given(age=st.integers(0, 200), limit=st.integers(1, 200))
def test_attendance_that_is_too_old_withholds_its_school_and_no_other(age: int, limit: int) -> None:
    tables = two_schools(attendance=attended("a", DAY - pd.Timedelta(days=age)) + attended("b", DAY))
    expected = {"a": "date"} if age > limit else {}
    assert why(tables, replace(ANYTHING, max_attendance_age_days=limit)) == expected


def test_the_newest_day_of_any_student_counts_for_the_school() -> None:
    tables = two_schools(attendance=attended("a", DAY - pd.Timedelta(days=90)) + attended("b", DAY))
    together = tables["enrolments"].assign(school_id="A")
    assert why(tables.replace(enrolments=together), ANYTHING) == {}


def test_a_day_after_the_as_of_date_makes_no_attendance_newer() -> None:
    old, later = DAY - pd.Timedelta(days=90), DAY + pd.Timedelta(days=30)
    tables = two_schools(attendance=attended("a", old, later) + attended("b", DAY))
    assert why(tables, ANYTHING) == {"a": "date"}


def test_a_school_without_any_attendance_is_judged_by_its_coverage_alone() -> None:
    tables = two_schools(attendance=attended("b", DAY))
    assert why(tables, ANYTHING) == {}
    assert why(tables, Limits(min_coverage=1.0)) == {"a": None, "b": None}


# ---------------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("least", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_who_has_too_few_features_recorded_gets_no_score(least: float) -> None:
    tables = two_schools()
    X = build_features(tables, DAY)
    X.loc["b", X.columns[:4]] = 0.0
    expected = {student for student, share in X.notna().mean(axis=1).items() if share < least}
    assert set(withheld(tables, X, DAY, Limits(min_coverage=least))) == expected
    assert len(expected) == {0.0: 0, 0.2: 1, 0.5: 2, 0.8: 2, 1.0: 2}[least]


def test_the_first_reason_that_holds_is_told() -> None:
    tables = two_schools(attendance=attended("a", DAY - pd.Timedelta(days=90)) + attended("b", DAY))
    assert why(tables, Limits(min_coverage=1.0, grades=[8])) == {"a": "grade", "b": None}
    assert why(tables, Limits(min_coverage=1.0)) == {"a": "date", "b": None}


# ---------------------------------------------------------------------------------------- the day itself


def check(day: str, **told: Any) -> None:
    check_day(build_tables(), pd.Timestamp(day), **{"today": TODAY, **told})


def test_days_of_a_term_and_of_the_holidays_after_it_are_taken() -> None:
    for start, end in TERM_DAYS.values():
        check(start)
        check(end)
    check(str(term_end(SPRING) + pd.Timedelta(days=50)))


def test_a_day_to_come_is_refused() -> None:
    check("2020-01-10", today=pd.Timestamp("2020-01-10"))
    with pytest.raises(SettingsError, match="2020-01-11 is still to come"):
        check("2020-01-11", today=pd.Timestamp("2020-01-10"))


def test_a_day_before_the_training_data_is_refused() -> None:
    check("2020-02-24", learned_from="2020-02-24")
    with pytest.raises(SettingsError, match="before the data that the model has learned from.*2020-02-24"):
        check("2020-02-23", learned_from="2020-02-24")


def test_a_day_in_no_term_is_refused() -> None:
    last = term_end("2020-2021-2")
    check(str(last + pd.Timedelta(days=LONGEST_HOLIDAY_DAYS)))
    with pytest.raises(SettingsError, match="is in no term: .*2020-2021-2, ended on 2021-07-09"):
        check(str(last + pd.Timedelta(days=LONGEST_HOLIDAY_DAYS + 1)))
    with pytest.raises(SettingsError, match="before the first term"):
        check("2019-08-31")


# ---------------------------------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(service_settings())) as client:
        yield client


def ask(client: TestClient, tables: Any, **fields: Any) -> dict[str, Any]:
    body = json.dumps({"tables": tables, "lang": "en", **fields})
    response = client.post("/score", content=body, headers={"content-type": "application/json"})
    return {"status": response.status_code, **response.json()}


def assert_accounted_for(answer: dict[str, Any]) -> None:
    assert answer["status"] == 200, answer
    assert answer["rows_in"] == answer["scored"] + answer["refused_count"] > 0
    assert len(answer["refused"]) == answer["refused_count"]


def test_the_model_knows_since_when_it_has_learned() -> None:
    starts = junior().tables["terms"]["start"]
    assert trained().bundle.data["learned_from"] == str(starts.min().date())
    assert {6, 7, 8, 9} >= set(trained().bundle.data["grades"])


def test_an_as_of_date_on_which_nothing_is_known_is_a_problem(client: TestClient) -> None:
    tables = as_records(2)
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    for day, words in {
        str(tomorrow.date()): "still to come",
        "9999-12-31": "still to come",
        "2015-09-01": "before the data that the model has learned from",
        "0001-01-01": "before the data",
        "2024-01-01": "is in no term",
    }.items():
        answer = ask(client, tables, as_of=day)
        assert answer["status"] == 422
        assert day in answer["detail"]
        assert words in answer["detail"]


def test_stale_attendance_gets_the_reason_and_no_number(client: TestClient) -> None:
    tables = as_records(2)
    school = tables["schools"][0]["school_id"]
    own = {row["student_id"] for row in tables["enrolments"] if row["school_id"] == school}
    days = sorted({row["date"] for row in tables["attendance"]})
    tables["attendance"] = [
        row for row in tables["attendance"] if row["student_id"] not in own or row["date"] <= days[5]
    ]
    answer = ask(client, tables)
    assert_accounted_for(answer)
    assert {row["student_id"] for row in answer["refused"]} == own
    assert {row["column"] for row in answer["refused"]} == {"date"}
    assert all("send newer attendance" in row["message"] for row in answer["refused"])
    assert not own & {row["student_id"] for row in answer["students"]}


def test_a_student_of_whom_too_little_is_known_gets_the_reason_and_no_number() -> None:
    tables = as_records(2)
    bare = tables["students"][0]["student_id"]
    for name in ("attendance", "grades", "households"):
        tables[name] = [row for row in tables[name] if row["student_id"] != bare]
    with TestClient(create_app(service_settings(min_coverage=0.6))) as client:
        answer = ask(client, tables)
    assert_accounted_for(answer)
    (refused,) = answer["refused"]
    assert (refused["student_id"], refused["column"]) == (bare, None)
    assert "of the features are recorded" in refused["message"]


def test_a_grade_that_was_not_learned_gets_the_reason_and_no_number(client: TestClient, tmp_path: Any) -> None:
    tables = as_records(2)
    term, taught = tables["terms"][-1]["term"], {row["grade"] for row in tables["enrolments"]}
    bundle = trained().bundle
    known = sorted(taught)[1:]
    folder = save_bundle(replace(bundle, data={**bundle.data, "grades": known}), tmp_path / "model")
    with TestClient(create_app(service_settings(model=str(folder)))) as other:
        answer = ask(other, tables)
    unknown = {r["student_id"] for r in tables["enrolments"] if r["term"] == term and r["grade"] not in known}
    assert_accounted_for(answer)
    assert unknown == {row["student_id"] for row in answer["refused"] if row["column"] == "grade"}
    before = {row["student_id"]: row["risk"] for row in ask(client, tables)["students"]}
    assert all(before[row["student_id"]] == row["risk"] for row in answer["students"])


def test_a_term_that_is_still_running_is_scored_as_of_today(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = as_records(2)
    start, end = (pd.Timestamp(tables["terms"][-1][name]) for name in ("start", "end"))
    today = {"day": end + pd.Timedelta(days=9)}
    monkeypatch.setattr("dropout_risk.service.scoring._today", lambda: today["day"])
    for day, as_of in ((end, end), (start + pd.Timedelta(days=80), start + pd.Timedelta(days=80))):
        today["day"] = day
        assert ask(client, tables)["as_of"] == str(as_of.date())
    today["day"] = start - pd.Timedelta(days=9)
    assert "still to come" in ask(client, tables)["detail"]
