"""Audit groups are read from what was known on the day, and what is not recorded stays not recorded."""

import numpy as np
import pandas as pd
import pytest
from county_builder import (
    AUTUMN,
    NEXT_AUTUMN,
    SPRING,
    build_tables,
    enrol,
    shuffle,
    term_end,
    term_weekdays,
    weekday_calendar,
)

from dropout_risk.asof import at_risk
from dropout_risk.audit import AUDIT, audit_columns
from dropout_risk.errors import SettingsError
from dropout_risk.features import build_features
from dropout_risk.schema import TABLES

END = term_end(AUTUMN)


def levels_of(tables, students, as_of=END):
    """One dict a student: column -> level, missing levels as None."""
    audit = audit_columns(tables, as_of, pd.Index(students))
    return audit.astype(object).where(audit.notna(), None).to_dict("index")


def present(student, share=1.0):
    """Attendance of `share` of the school days of the autumn term."""
    days = term_weekdays(AUTUMN)
    reported = round(share * len(days))
    return [
        {"student_id": student, "date": day, "code": "P" if i < reported else "N", "recorded_at": day}
        for i, day in enumerate(days)
    ]


def test_every_column_is_described_in_both_languages():
    assert list(AUDIT) == [
        "poverty", "distance", "sex", "boarding", "left_behind", "disability", "age_for_grade", "reporting", "grade",
        "county",
    ]  # fmt: skip
    for name, column in AUDIT.items():
        assert column.name == name
        for lang in ("zh", "en"):
            assert column.label(lang)
            assert all(column.level_label(level, lang) != "" for level in column.levels)
        for labels in column.levels.values():
            assert set(labels) == {"zh", "en"}
            assert len(set(labels.values())) == 2


def test_the_levels_of_one_student():
    tables = build_tables(
        enrolments=enrol("s", AUTUMN, grade=7, boarding=True, distance_km=7.5, left_behind="one_parent"),
        students=[{"student_id": "s", "sex": "female", "disability": False, "birth_date": "2005-03-01"}],
        households=[{"student_id": "s", "poverty": "marginal", "valid_from": "2019-01-01"}],
        calendar=weekday_calendar(),
        attendance=present("s"),
    )
    assert levels_of(tables, ["s"])["s"] == {
        "poverty": "near_poor",
        "distance": "5-10",
        "sex": "female",
        "boarding": "boarder",
        "left_behind": "one_parent",
        "disability": "no",
        "age_for_grade": "two_or_more_over",
        "reporting": "complete",
        "grade": "7",
        "county": "990101",
    }


def test_missing_stays_missing():
    tables = build_tables(enrolments=enrol("s", AUTUMN))
    audit = levels_of(tables, ["s", "stranger"])
    assert {name for name, level in audit["s"].items() if level is not None} == {"grade", "county"}
    assert set(audit["stranger"].values()) == {None}
    assert list(audit) == ["s", "stranger"]


@pytest.mark.parametrize(
    ("km", "band"),
    [(0, "0-2"), (2, "0-2"), (2.1, "2-5"), (5, "2-5"), (5.1, "5-10"), (10, "5-10"), (10.1, "over_10"), (None, None)],
)
def test_distance_bands_include_their_upper_end(km, band):
    tables = build_tables(enrolments=enrol("s", AUTUMN, distance_km=km))
    assert levels_of(tables, ["s"])["s"]["distance"] == band


@pytest.mark.parametrize(
    ("birth", "band"),
    [("2008-06-01", "on_age"), ("2007-09-01", "on_age"), ("2007-08-31", "on_age"), ("2006-09-02", "on_age"),
     ("2006-09-01", "one_over"), ("2005-09-02", "one_over"), ("2005-09-01", "two_or_more_over"), (None, None)],
)  # fmt: skip
def test_age_is_counted_in_full_years_on_the_first_of_september(birth, band):
    """Grade 7 is for children who are 12 on 1 September 2019."""
    students = [{"student_id": "s", "birth_date": birth}]
    tables = build_tables(enrolments=enrol("s", AUTUMN, grade=7), students=students)
    assert levels_of(tables, ["s"])["s"]["age_for_grade"] == band


@pytest.mark.parametrize("status", ["none", "marginal", "sudden", "minimum_living", "registered"])
def test_poverty_has_the_three_levels_of_the_features(status):
    tables = build_tables(
        enrolments=enrol("s", AUTUMN),
        households=[{"student_id": "s", "poverty": status, "valid_from": "2019-01-01"}],
    )
    level = build_features(tables, END).loc["s", "poverty_level"]
    assert levels_of(tables, ["s"])["s"]["poverty"] == ["none", "near_poor", "registered"][int(level)]


@pytest.mark.parametrize(
    ("share", "band"),
    [(1.0, "complete"), (0.985, "complete"), (0.97, "partial"), (0.81, "partial"), (0.75, "poor"), (0, "poor")],
)
def test_reporting_is_that_of_the_school_of_the_term(share, band):
    """A student without a single report of its own has the band of the school, to which it counts."""
    tables = build_tables(
        enrolments=enrol("s", AUTUMN, school="A") + enrol("other", AUTUMN, school="B"),
        calendar=weekday_calendar(),
        attendance=present("s", share) + present("other"),
    )
    audit = levels_of(tables, ["s", "other"])
    assert audit["s"]["reporting"] == band
    assert audit["other"]["reporting"] == "complete"


def test_reporting_counts_every_student_of_the_school_whoever_is_asked_for():
    tables = build_tables(
        enrolments=enrol("s", AUTUMN) + enrol("silent", AUTUMN),
        calendar=weekday_calendar(),
        attendance=present("s"),
    )
    assert levels_of(tables, ["s"])["s"]["reporting"] == "poor"


def test_those_who_have_left_do_not_count_as_not_reported():
    tables = build_tables(
        enrolments=enrol("s", AUTUMN) + enrol("left", AUTUMN),
        calendar=weekday_calendar(),
        attendance=present("s"),
        status_changes=[{"student_id": "left", "date": "2019-09-20", "change": "dropout"}],
    )
    assert levels_of(tables, ["s"])["s"]["reporting"] == "complete"


def test_only_what_was_known_on_the_day_counts():
    later = "2020-01-20"
    tables = build_tables(
        enrolments=enrol("s", AUTUMN, distance_km=1.0)
        + [{"student_id": "s", "term": AUTUMN, "school_id": "A", "grade": 7, "distance_km": 30, "recorded_at": later}],
        households=[
            {"student_id": "s", "poverty": "none", "valid_from": "2019-01-01", "recorded_at": "2019-01-01"},
            {"student_id": "s", "poverty": "registered", "valid_from": "2019-10-01", "recorded_at": later},
        ],
        calendar=weekday_calendar(),
        attendance=[record | {"recorded_at": later} for record in present("s")],
    )
    then, afterwards = (levels_of(tables, ["s"], as_of=day)["s"] for day in (END, "2020-01-21"))
    assert (then["distance"], then["poverty"], then["reporting"]) == ("0-2", "none", "poor")
    assert (afterwards["distance"], afterwards["poverty"], afterwards["reporting"]) == (
        "over_10",
        "registered",
        "complete",
    )


def test_columns_are_ordered_categoricals_in_the_order_asked_for(county):
    students = at_risk(county, "2020-07-10").index[::-1]
    audit = audit_columns(county, "2020-07-10", students)
    assert audit.index.equals(students)
    assert list(audit) == list(AUDIT)
    for name in audit:
        assert audit[name].cat.ordered
        if AUDIT[name].levels:
            assert list(audit[name].cat.categories) == list(AUDIT[name].levels)
    assert audit["county"].cat.categories.tolist() == ["990101"]


def test_groups_depend_neither_on_the_order_of_the_rows_nor_on_who_is_asked_for(county):
    day = "2020-07-10"
    students = at_risk(county, day).index
    audit = audit_columns(county, day, students)
    pd.testing.assert_frame_equal(audit, audit_columns(shuffle(county, 3), day, students))
    pd.testing.assert_frame_equal(audit.iloc[:50], audit_columns(county, day, students[:50]))


def test_groups_agree_with_the_features_of_the_same_day(county):
    X, audit = (
        build_features(county, "2020-07-10"),
        audit_columns(county, "2020-07-10", at_risk(county, "2020-07-10").index),
    )
    assert (X["grade"] == audit["grade"].astype(float)).all()
    over = audit["age_for_grade"].cat.codes.replace(-1, np.nan)
    expected = X["years_over_age"].clip(0, 2)
    pd.testing.assert_series_equal(over.astype(float), expected, check_names=False)
    known = X["poverty_level"].notna()
    assert (audit["poverty"].cat.codes[known] == X.loc[known, "poverty_level"]).all()
    assert audit["poverty"][~known].isna().all()


def test_a_new_term_brings_the_new_grade_and_school():
    tables = build_tables(enrolments=enrol("s", AUTUMN, SPRING, NEXT_AUTUMN, grade=6))
    assert [levels_of(tables, ["s"], as_of=term_end(term))["s"]["grade"] for term in (AUTUMN, SPRING, NEXT_AUTUMN)] == [
        "6", "6", "7",
    ]  # fmt: skip


def test_a_day_before_the_first_term_is_refused():
    with pytest.raises(SettingsError, match="before the first term"):
        audit_columns(build_tables(enrolments=enrol("s", AUTUMN)), "2019-01-01", pd.Index(["s"]))


def test_audit_attributes_of_the_schema_are_covered():
    """Sex, disability: what the schema keeps for the audit alone is read here."""
    kept = {column.name for column in TABLES["students"].columns if column.role == "audit"}
    assert kept <= set(AUDIT)
