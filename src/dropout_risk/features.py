"""One row of features per student at risk, from facts known on the as-of date and nothing else."""

from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from dropout_risk.asof import Terms, at_risk, attendance_between, cut, is_among, to_day
from dropout_risk.descriptions import FEATURES
from dropout_risk.reference import (
    SCHOOL_COLUMNS,
    Reference,
    attendance_now,
    exam_marks,
    poverty_levels,
    reference_values,
)
from dropout_risk.schema import Tables

MONOTONE = {feature.name: feature.sign for feature in FEATURES.values() if feature.sign}
"""Directions in which the risk may move with a feature."""

RULES: dict[str, tuple[str, Literal[1, -1]]] = {
    "absence_rule": ("absence_rate", 1),
    "school_mean": ("school_leaving_rate", 1),
    "poverty_list": ("poverty_level", 1),
    "last_grades": ("score_level", -1),
}
"""The simple rules that a county could use instead: rank by one column, high (1) or low (-1) values first."""

RANDOM_RULE = "random"
"""A list drawn by lot: what no knowledge at all would find."""

MISSING_LAST = -2.0
"""Score of a student without a value; the columns of `RULES` lie in 0 to 2."""

_PARENTS_AWAY = {"none": 0.0, "one_parent": 1.0, "both_parents": 2.0}


def build_features(
    tables: Tables, as_of: str | date | pd.Timestamp, *, reference: Reference | None = None
) -> pd.DataFrame:
    """Return the features of every student at risk on `as_of`.

    Parameters
    ----------
    tables
        The canonical tables; they are cut at `as_of` here, before any join.
    as_of
        The day whose knowledge counts.
    reference
        County-wide values for a roster that is only a part of the county; they win over what the roster
        itself shows. None: everything comes from `tables`.

    Returns
    -------
    DataFrame of float64, indexed by student_id (sorted), columns as `FEATURES` in its order; NaN where a
    fact is not known. Missing is not zero, and a day not reported is not a day present.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> X = build_features(make_county(300, terms=2, seed=1), "2020-01-17")
    >>> list(X.columns) == list(FEATURES), X.index.name
    (True, 'student_id')

    Notes
    -----
    Names, ID numbers, sex, ethnicity, health detail and whether help was given are no features.
    """
    day, terms = to_day(as_of), Terms.of(tables)
    term = terms.at(day)
    known = cut(attendance_between(tables, terms.start((terms.before(term) or [term])[-1]), day), day)
    students = at_risk(known, day)
    attendance = attendance_now(known, students, day)
    marks = exam_marks(known, day)
    values = reference_values(known, day, students=students, attendance=attendance, marks=marks, given=reference)
    columns = pd.concat(
        [
            attendance.assign(absence_change=attendance["absence_rate"] - _absence_before(known, students, day)),
            _learning(known, students, day, marks, values),
            _household(known, students, day),
            _enrolment(known, students, day),
            _school(students, values),
        ],
        axis=1,
    )
    return columns[list(FEATURES)].astype("float64")


def rule_scores(X: pd.DataFrame, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the score of each simple rule for the rows of `X`: higher is listed first, a missing value last.

    Parameters
    ----------
    X : DataFrame, shape (n, features)
        With the columns that `RULES` names; the index names the rows.
    seed : int
        For the random rule, whose scores depend on the seed and the name of the row, not on the other rows.

    Returns
    -------
    dict of str to float array, shape (n,)
        The rules of `RULES` and ``random`` (in 0 to 1); no NaN.

    Examples
    --------
    >>> facts = {"absence_rate": [0.1, np.nan], "school_leaving_rate": 0.0, "poverty_level": 2.0, "score_level": 0.4}
    >>> scores = rule_scores(pd.DataFrame(facts))
    >>> list(scores), scores["absence_rule"].tolist()
    (['absence_rule', 'school_mean', 'poverty_list', 'last_grades', 'random'], [0.1, -2.0])
    """
    scores = {rule: (sign * X[column]).fillna(MISSING_LAST).to_numpy() for rule, (column, sign) in RULES.items()}
    return scores | {RANDOM_RULE: _lots(X.index, seed)}


def _lots(names: pd.Index, seed: int) -> np.ndarray:
    parts = [names.get_level_values(level).map(str) for level in range(names.nlevels)]
    tickets = np.array([" ".join([str(seed), *name]) for name in zip(*parts, strict=True)], dtype=object)
    return np.asarray(pd.util.hash_array(tickets, categorize=False) / 2.0**64)


def _absence_before(known: Tables, students: pd.DataFrame, day: pd.Timestamp) -> pd.Series:
    """Return each student's absence rate of the term before the running one."""
    terms = Terms.of(known)
    earlier = terms.before(terms.at(day))[-1:]
    enrolments = known.get_frame("enrolments")
    then = enrolments[enrolments["term"].isin(earlier)].set_index("student_id")
    then = then.reindex(students.index.intersection(then.index))
    if then.empty:
        return pd.Series(np.nan, students.index)
    return attendance_now(known, then, terms.end(earlier[0]))["absence_rate"].reindex(students.index)


def _learning(
    known: Tables, students: pd.DataFrame, day: pd.Timestamp, marks: pd.DataFrame, reference: Reference
) -> pd.DataFrame:
    terms = Terms.of(known)
    term = terms.at(day)
    recent = [*terms.before(term)[-1:], term]
    marks = marks[is_among(marks["student_id"], students.index)]
    marks = marks.assign(place=reference.percentiles(marks))
    level = marks.groupby(["term", "student_id"])["place"].mean()
    subject = marks.groupby(["term", "student_id", "subject"])["place"].mean()
    lowest = subject.groupby(["term", "student_id"]).min()
    now, before = _of_term(level, term, students.index), _of_term(level, recent[0], students.index)
    trend = now - before if recent[0] != term else pd.Series(np.nan, students.index)
    current = marks[marks["term"] == term]
    return pd.DataFrame(
        {
            "score_level": now.fillna(before),
            "score_lowest": _of_term(lowest, term, students.index).fillna(_of_term(lowest, recent[0], students.index)),
            "score_trend": trend,
            "exams_missed": current.groupby("student_id")["missed"].sum().reindex(students.index),
        }
    )


def _of_term(values: pd.Series, term: str, students: pd.Index) -> pd.Series:
    if term not in values.index.get_level_values("term"):
        return pd.Series(np.nan, students)
    return values.xs(term, level="term").reindex(students)


def _household(known: Tables, students: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    rows = known.get_frame("households").sort_values("valid_from", na_position="first")
    last = rows.drop_duplicates("student_id", keep="last").set_index("student_id").reindex(students.index)
    return pd.DataFrame(
        {
            "poverty_level": poverty_levels(known, students.index, day),
            "mother_away": last["mother_away"].astype("Float64"),
            "siblings": last["siblings"],
        }
    )


def _enrolment(known: Tables, students: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    terms = Terms.of(known)
    term = terms.at(day)
    return pd.DataFrame(
        {
            "distance_km": students["distance_km"],
            "travel_minutes": students["travel_minutes"],
            "boarding": students["boarding"].astype("Float64"),
            "migrant": students["migrant"].astype("Float64"),
            "parents_away": students["left_behind"].astype("str").map(_PARENTS_AWAY),
            "grade": students["grade"],
            "years_over_age": years_over_age(known, students, terms.start(term)),
            "before_summer": float(terms.ends_school_year(term)),
        },
        index=students.index,
    )


def years_over_age(known: Tables, students: pd.DataFrame, term_start: pd.Timestamp) -> pd.Series:
    """Return full years of age on 1 September of the school year, above grade + 5.

    Parameters
    ----------
    known : Tables
        Tables already cut.
    students : DataFrame indexed by student_id, with the column `grade`
    term_start : Timestamp
        First day of the running term.

    Returns
    -------
    Series indexed by student_id
        NaN where the birth date or the grade is not known; 0 at the usual age, below 0 for the younger.

    Examples
    --------
    >>> born = pd.DataFrame({"student_id": ["a"], "birth_date": pd.to_datetime(["2005-03-01"])})
    >>> students = pd.DataFrame({"grade": [7.0]}, index=["a"])
    >>> years_over_age(Tables({"students": born}), students, pd.Timestamp("2019-09-02")).tolist()
    [2.0]
    """
    birth = known.get_frame("students").drop_duplicates("student_id").set_index("student_id")["birth_date"]
    birth = birth.reindex(students.index)
    school_year = term_start.year if term_start.month >= 8 else term_start.year - 1
    not_yet = (birth.dt.month > 9) | ((birth.dt.month == 9) & (birth.dt.day > 1))
    age = pd.Series(school_year - birth.dt.year - not_yet)
    return age - (students["grade"] + 5)


def _school(students: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    schools = reference.school_table().reindex(students["school_id"])
    return pd.DataFrame(
        {f"school_{name}": schools[name].astype("float64").to_numpy() for name in SCHOOL_COLUMNS},
        index=students.index,
    )
