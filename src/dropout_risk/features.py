"""One row of features per student at risk, from facts known on the as-of date and nothing else."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.arrays import (
    NO_DAY,
    Coded,
    Floats,
    Int64s,
    at_places,
    days,
    first_rows,
    flags,
    labels,
    matched,
    numbers,
    texts,
)
from dropout_risk.asof import Students, Terms, attendance_between, cut, on_roll, rows_in_term, to_day
from dropout_risk.attendance import MEASURES, tells_of_term
from dropout_risk.descriptions import FEATURES
from dropout_risk.reference import (
    PLACES,
    SCHOOL_COLUMNS,
    Marks,
    Reference,
    attendance_now,
    exam_marks,
    newest_households,
    poverty_levels,
    school_values,
)
from dropout_risk.schema import TABLES, Tables

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

_AWAY = {"none": 0.0, "one_parent": 1.0, "both_parents": 2.0}
_PARENTS_AWAY = np.array([_AWAY[who] for who in TABLES["enrolments"]["left_behind"].allowed])


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
    here = on_roll(tables, day, known=known)
    rows = here.rows[here.cause.codes < 0]
    students = Students.enrolled(known, rows)
    attendance = attendance_now(known, students, day)
    schools = school_values(known, day, students=students, absence=attendance[0], given=reference)
    columns = {
        **dict(zip(MEASURES, attendance, strict=True)),
        "absence_change": attendance[0] - _absence_before(known, students, day),
        **_learning(students, exam_marks(known, day), reference),
        **_household(known, students, day),
        **_enrolment(known, students, rows, terms, term),
        **_school(students, schools),
    }
    matrix = np.column_stack([columns[name] for name in FEATURES]).astype(np.float64, copy=False)
    return pd.DataFrame(matrix, pd.Index(students.ids, dtype="str", name="student_id"), _COLUMNS)


_COLUMNS = pd.Index(list(FEATURES))


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


def _absence_before(known: Tables, students: Students, day: pd.Timestamp) -> Floats:
    """Return each student's absence rate of the term before the running one."""
    terms = Terms.of(known)
    before = np.full(len(students.ids), np.nan)
    for earlier in terms.before(terms.at(day))[-1:]:
        if not tells_of_term(known, earlier):
            continue
        rows = rows_in_term(known, "enrolments", earlier)
        own = students.rows_of(texts(known, "enrolments", "student_id"))[rows]
        then = Students.enrolled(known, rows[own >= 0])
        before[own[own >= 0]] = attendance_now(known, then, terms.end(earlier))[0]
    return before


def _learning(students: Students, marks: Marks, reference: Reference | None) -> dict[str, Floats]:
    row, place = students.rows_of(marks.student), marks.places(reference)
    own, n = row >= 0, len(students.ids)
    shape = n, len(marks.subject.names)
    cell = row * shape[1] + marks.subject.codes
    levels, lowests = [], []
    for of_term in (marks.current, ~marks.current):
        here = own & (place >= 0) & of_term
        levels.append(_means(row[here], place[here], n))
        by_subject = _means(cell[here], place[here], shape[0] * shape[1]).reshape(shape)
        lowests.append(np.fmin.reduce(by_subject, axis=1, initial=np.nan))
    now = own & marks.current
    sat, missed = (np.bincount(row[of], minlength=n) for of in (now, now & marks.missed))
    return {
        "score_level": _first_known(*levels),
        "score_lowest": _first_known(*lowests),
        "score_trend": levels[0] - levels[1],
        "exams_missed": np.where(sat > 0, missed, np.nan),
    }


def _means(group: npt.NDArray[Any], place: npt.NDArray[Any], groups: int) -> Floats:
    """Return the mean place of each group as a share, NaN where it has none."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, weights=place, minlength=groups)
    mean: Floats = np.divide(total, PLACES * count, out=np.full(groups, np.nan), where=count > 0)
    return mean


def _first_known(values: Floats, others: Floats) -> Floats:
    return np.where(np.isnan(values), others, values)


def _household(known: Tables, students: Students, day: pd.Timestamp) -> dict[str, Floats]:
    newest = newest_households(known, students)
    return {
        "poverty_level": poverty_levels(known, students, day, newest=newest),
        "mother_away": _share(at_places(flags(known, "households", "mother_away"), newest, -1)),
        "siblings": at_places(numbers(known, "households", "siblings"), newest, np.nan),
    }


def _share(flag: npt.NDArray[np.int8]) -> Floats:
    """Return yes as 1, no as 0 and what is not known as NaN."""
    return np.where(flag < 0, np.nan, flag)


def _enrolment(known: Tables, students: Students, rows: Int64s, terms: Terms, term: str) -> dict[str, Floats]:
    grade = numbers(known, "enrolments", "grade")[rows]
    return {
        "distance_km": numbers(known, "enrolments", "distance_km")[rows],
        "travel_minutes": numbers(known, "enrolments", "travel_minutes")[rows],
        "boarding": _share(flags(known, "enrolments", "boarding")[rows]),
        "migrant": _share(flags(known, "enrolments", "migrant")[rows]),
        "parents_away": at_places(_PARENTS_AWAY, labels(known, "enrolments", "left_behind")[rows], np.nan),
        "grade": grade,
        "years_over_age": _years_over_age(known, students, grade, terms.start(term)),
        "before_summer": np.full(len(rows), float(terms.ends_school_year(term))),
    }


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
    ids = students.index.to_numpy(dtype=object)
    asked = Students.without_table(ids, Coded(np.full(len(ids), -1, dtype=np.int32), ids[:0]))
    years = _years_over_age(known, asked, students["grade"].to_numpy(float), term_start)
    return pd.Series(years, students.index)


def _years_over_age(known: Tables, students: Students, grade: Floats, term_start: pd.Timestamp) -> Floats:
    listed = texts(known, "students", "student_id")
    row = at_places(first_rows(listed), matched(students.listed, listed), -1)
    birth = at_places(days(known, "students", "birth_date"), row, NO_DAY)
    born = birth.view("datetime64[D]").astype("datetime64[M]")
    year, month = np.divmod(born.view(np.int64), 12)
    not_yet = (month > _SEPTEMBER) | ((month == _SEPTEMBER) & (birth.view("datetime64[D]") > born))
    school_year = term_start.year if term_start.month >= 8 else term_start.year - 1
    age = np.where(birth == NO_DAY, np.nan, school_year - (1970 + year) - not_yet)
    return age - (grade + 5)


_SEPTEMBER = 8
"""Counted from 0, as numpy counts months."""


def _school(students: Students, schools: Mapping[str, Mapping[str, Any]]) -> dict[str, Floats]:
    unknown = dict.fromkeys(SCHOOL_COLUMNS)
    table = [[schools.get(name, unknown)[c] for c in SCHOOL_COLUMNS] for name in students.school.names]
    of_school = np.array([*table, list(unknown.values())], dtype=np.float64)[students.school.codes]
    return {f"school_{name}": of_school[:, place] for place, name in enumerate(SCHOOL_COLUMNS)}
