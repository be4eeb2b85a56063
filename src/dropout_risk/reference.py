"""What a county knows beyond one roster: how an exam went county-wide, and how its schools have fared.

A single school that asks for scores sends its own roster only. The reference carries the rest, so that
its students get the very features that the county's own run gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.arrays import (
    NO_DAY,
    Bools,
    Coded,
    Floats,
    Int32s,
    Int64s,
    day_number,
    days,
    flags,
    labels,
    matched,
    numbers,
    places,
    texts,
)
from dropout_risk.asof import (
    Students,
    Terms,
    at_risk,
    counties_enrolled,
    county_of_schools,
    cut,
    rows_at_risk,
    rows_in_term,
    to_day,
)
from dropout_risk.attendance import term_measures
from dropout_risk.labels import PRESETS, register_outcomes
from dropout_risk.schema import TABLES, Tables
from dropout_risk.tables import make_tables

QUANTILES = np.linspace(0, 1, 101)
"""The grid on which an exam's marks are kept."""

PLACES = 2 * len(QUANTILES)
"""Whole steps from the lowest place in an exam to the highest: on the grid a mark lies at a point, or between two."""

PRIOR_STUDENTS = 20
"""Weight of the county's rate in a school's own: a school of 20 is believed half."""

PAST_TERMS = 4
"""How many past terms the leaving rate of a school looks back."""

POVERTY_LEVELS = {"none": 0.0, "marginal": 1.0, "sudden": 1.0, "minimum_living": 2.0, "registered": 2.0}
"""Poverty status as an ordered level."""

SCHOOL_COLUMNS = ("leaving_rate", "absence_rate", "poverty_share", "size")


@dataclass(frozen=True)
class Reference:
    """County-wide reference values as of one day.

    Attributes
    ----------
    as_of : str
        ISO date.
    exams : mapping of "county|term|grade|subject|exam" to 101 quantiles of marks (share of the full mark)
    schools : mapping of school_id to its county and `SCHOOL_COLUMNS`
    terms : mapping of term to its first and last day, ISO dates
    """

    as_of: str
    exams: Mapping[str, list[float]] = field(default_factory=dict)
    schools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    terms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the reference as plain values for JSON."""
        return {
            "as_of": self.as_of,
            "exams": dict(self.exams),
            "schools": dict(self.schools),
            "terms": {name: list(days) for name, days in self.terms.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reference":
        """Return the reference that `to_dict` wrote."""
        return cls(values["as_of"], values["exams"], values["schools"], values.get("terms", {}))

    def over(self, other: "Reference") -> "Reference":
        """Return a reference in which this one's exams, schools and terms win over those of `other`."""
        return Reference(
            self.as_of,
            {**other.exams, **self.exams},
            {**other.schools, **self.schools},
            {**other.terms, **self.terms},
        )

    def places(self, marks: "Marks") -> Int64s:
        """Return the place of each mark within county, grade and exam as a whole number of `PLACES`.

        Returns
        -------
        int array (n,)
            0 lowest, `PLACES` highest; -1 where the mark or the exam is not known. Sums of whole numbers are exact,
            in whatever order the marks come.
        """
        place = np.full(len(marks.mark), -1)
        for exam, own in zip(marks.exams, marks.slices(), strict=True):
            grid = self._grid(exam)
            if grid is not None:
                mark = marks.mark[own]
                place[own] = np.searchsorted(grid, mark, "left") + np.searchsorted(grid, mark, "right")
        return np.where(np.isnan(marks.mark), -1, place)

    def _grid(self, exam: str) -> Floats | None:
        if exam not in self._grids:
            known = self.exams.get(exam)
            self._grids[exam] = None if known is None else np.asarray(known, dtype=np.float64)
        return self._grids[exam]

    @cached_property
    def _grids(self) -> dict[str, Floats | None]:
        return {}

    def school_table(self) -> pd.DataFrame:
        """Return the schools as a frame indexed by school_id."""
        columns = ["county_id", *SCHOOL_COLUMNS]
        return pd.DataFrame.from_dict(dict(self.schools), orient="index", columns=columns)

    def tables(self) -> Tables:
        """Return the schools and the terms as canonical tables, for a roster that comes without them."""
        return self._tables

    @cached_property
    def _tables(self) -> Tables:
        schools = self.school_table()["county_id"].rename_axis("school_id").reset_index()
        terms = pd.DataFrame([(name, *days) for name, days in self.terms.items()], columns=["term", "start", "end"])
        frames = {"schools": schools, "terms": terms}
        return make_tables({name: frame for name, frame in frames.items() if len(frame)})


def build_reference(tables: Tables, as_of: str | date | pd.Timestamp) -> Reference:
    """Return the reference values of a county as known on `as_of`.

    Parameters
    ----------
    tables
        The canonical tables of the whole county; they are cut at `as_of` here.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> reference = build_reference(make_county(300, terms=2, seed=1), "2020-01-17")
    >>> reference == Reference.from_dict(reference.to_dict())
    True
    """
    day, known = to_day(as_of), cut(tables, as_of)
    rows = rows_at_risk(known, day)
    absence = attendance_now(known, Students.enrolled(known, rows), day)[0]
    return reference_values(known, day, rows=rows, absence=absence, marks=exam_marks(known, day))


def attendance_now(known: Tables, students: Students, day: pd.Timestamp) -> Floats:
    """Return the attendance measures of the running term up to `day`, (8, n); `known` is cut already."""
    terms = Terms.of(known)
    term = terms.at(day)
    return term_measures(known, students, term=term, start=terms.start(term), end=min(day, terms.end(term)))


def reference_values(
    known: Tables, day: pd.Timestamp, *, rows: Int64s, absence: Floats, marks: "Marks", given: Reference | None = None
) -> Reference:
    """Return the reference from tables cut already.

    What `given` holds wins; only what it lacks is worked out, which for one school of a known county is nothing.

    Parameters
    ----------
    rows : int array (n,)
        The enrolments of the students at risk.
    absence : float array (n,)
        Their absence rates so far.
    marks
        All marks of this term and the one before.
    """
    given = given or Reference(str(day.date()), {}, {})
    exams = {exam: grid for exam, grid in marks.grids().items() if exam not in given.exams}
    school = texts(known, "enrolments", "school_id")
    schools = (
        {} if set(school.names[school.codes[rows]]) <= given.schools.keys() else _school_values(known, day, absence)
    )
    terms = Terms.of(known)
    days = zip(terms.names, terms.starts, terms.ends, strict=True)
    told = {name: [str(start.date()), str(end.date())] for name, start, end in days}
    if not exams and not schools and told.keys() <= given.terms.keys():
        return given
    return given.over(Reference(str(day.date()), exams, schools, told))


@dataclass(frozen=True, eq=False)
class Marks:
    """Exam results of this term and the one before it, exam after exam.

    Attributes
    ----------
    student, subject : Coded
    current : bool array, whether it is of this term
    exam : int array, places in `exams`, -1 where county or grade are not known
    exams : list of "county|term|grade|subject|exam"
    mark : float array, share of the full mark; NaN when missed
    missed : bool array
    """

    student: Coded
    subject: Coded
    current: Bools
    exam: Int64s
    exams: list[str]
    mark: Floats
    missed: Bools

    def slices(self) -> list[slice]:
        """Return where the marks of each exam stand."""
        ends = np.searchsorted(self.exam, np.arange(len(self.exams) + 1)).tolist()
        return [slice(first, last) for first, last in pairwise(ends)]

    def grids(self) -> dict[str, list[float]]:
        """Return the marks at `QUANTILES` of each exam that somebody took."""
        taken = (self.exam >= 0) & ~np.isnan(self.mark)
        exam, mark = self.exam[taken], self.mark[taken]
        mark = mark[np.lexsort((mark, exam))]
        count = np.bincount(exam, minlength=len(self.exams))
        sat = np.flatnonzero(count)
        grids = np.round(_quantiles(mark, np.cumsum(count)[sat] - count[sat], count[sat]), 6).tolist()
        return dict(zip([self.exams[place] for place in sat], grids, strict=True))


def _quantiles(values: Floats, first: Int64s, count: Int64s) -> Floats:
    """Return the `QUANTILES` of each stretch of sorted values, shape (stretches, 101), as `numpy.quantile` does."""
    at = QUANTILES * (count[:, None] - 1)
    below = np.floor(at)
    share, below = at - below, first[:, None] + below.astype(np.int64)
    low, high = values[below], values[np.minimum(below + 1, (first + count - 1)[:, None])]
    between: Floats = np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
    return between


def exam_marks(known: Tables, day: pd.Timestamp) -> Marks:
    """Return every exam of the running term and the one before it, of students enrolled in its term."""
    terms = Terms.of(known)
    term = terms.at(day)
    recent = [*terms.before(term)[-1:], term]
    student, enrolled = texts(known, "grades", "student_id"), texts(known, "enrolments", "student_id")
    held = [rows_in_term(known, "grades", name) for name in recent]
    rows = np.concatenate(held)
    at = np.concatenate(
        [_enrolments_of(known, matched(student, enrolled)[own], name) for own, name in zip(held, recent, strict=True)]
    )
    rows, at = rows[at >= 0], at[at >= 0]
    exam, exams = _exams(known, rows, at)
    order = np.argsort(exam, kind="stable")
    rows, exam = rows[order], exam[order]
    score, full = numbers(known, "grades", "score")[rows], numbers(known, "grades", "full_mark")[rows]
    missed = (flags(known, "grades", "absent")[rows] > 0) | np.isnan(score)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.round(score / np.where(np.isnan(full), 100.0, full), 6)
    subject, of_term = texts(known, "grades", "subject"), texts(known, "grades", "term")
    return Marks(
        student=Coded(student.codes[rows], student.names),
        subject=Coded(subject.codes[rows], subject.names),
        current=of_term.codes[rows] == places([term], of_term.names)[0],
        exam=exam,
        exams=exams,
        mark=np.where(~missed & (share <= 1), share, np.nan),
        missed=missed,
    )


def _enrolments_of(known: Tables, students: Int32s, term: str) -> Int64s:
    """Return the row of the enrolment in a term of each student, named as in the enrolments; -1 without one."""
    enrolled, rows = texts(known, "enrolments", "student_id"), rows_in_term(known, "enrolments", term)
    row = np.full(len(enrolled.names) + 1, -1)
    row[enrolled.codes[rows]] = rows
    row[-1] = -1
    return row[students]


def _exams(known: Tables, rows: Int64s, at: Int64s) -> tuple[Int64s, list[str]]:
    """Return which exam each row of grades is of, by the enrolments at `at`, and the names of the exams."""
    county, grade = counties_enrolled(known), numbers(known, "enrolments", "grade")[at]
    term, subject = texts(known, "grades", "term"), texts(known, "grades", "subject")
    kinds = list(TABLES["grades"]["exam"].allowed)
    kind = labels(known, "grades", "exam")[rows]
    whole = np.nan_to_num(grade, nan=-1.0).astype(np.int64)
    parts = np.array([county.codes[at], term.codes[rows], whole, subject.codes[rows], kind], dtype=np.int64)
    exam = np.full(len(rows), -1)
    told = np.flatnonzero((parts >= 0).all(axis=0))
    sizes = parts.max(axis=1, initial=0) + 1
    distinct, exam[told] = np.unique(np.ravel_multi_index(tuple(parts[:, told]), tuple(sizes)), return_inverse=True)
    names = zip(*np.unravel_index(distinct, tuple(sizes)), strict=True)
    return exam, [f"{county.names[c]}|{term.names[t]}|{g}|{subject.names[s]}|{kinds[k]}" for c, t, g, s, k in names]


def newest_households(known: Tables, students: Students) -> Int64s:
    """Return the row of the household record of each student that is valid from the latest day; -1 without any."""
    order = np.argsort(days(known, "households", "valid_from"), kind="stable")  # no day is the smallest day
    newest = np.full(len(students.ids) + 1, -1)
    newest[students.rows_of(texts(known, "households", "student_id"))[order]] = order  # of several the last one stays
    return newest[:-1]


def poverty_levels(known: Tables, students: Students, day: pd.Timestamp) -> Floats:
    """Return the poverty level of each student on the day of the cut: NaN without any household record."""
    newest = newest_households(known, students)
    level: Floats = np.append(_LEVELS, np.nan)[np.append(labels(known, "households", "poverty"), -1)[newest]]
    end = np.append(days(known, "households", "valid_to"), NO_DAY)[newest]
    level[(end != NO_DAY) & (end < day_number(day))] = 0.0
    return level


_LEVELS = np.array([POVERTY_LEVELS[status] for status in TABLES["households"]["poverty"].allowed])


def _school_values(known: Tables, day: pd.Timestamp, absence: Floats) -> dict[str, dict[str, Any]]:
    students = at_risk(known, day)
    level = poverty_levels(known, Students.of(students), day)
    poor = np.where(np.isnan(level), np.nan, level >= POVERTY_LEVELS["registered"])
    terms = Terms.of(known)
    past = terms.before(terms.at(day))[-PAST_TERMS:]
    if past and not _registration_is_over(known, terms.at(day), day):
        past = past[:-1]
    by_school = students["school_id"]
    table = pd.DataFrame(
        {
            "county_id": students.groupby(by_school)["county_id"].first(),
            "leaving_rate": _leaving_rates(known, by_school, past),
            "absence_rate": pd.Series(absence, students.index).groupby(by_school).mean(),
            "poverty_share": pd.Series(poor, students.index).groupby(by_school).mean(),
            "size": by_school.groupby(by_school).size().astype(float),
        }
    )
    return {
        str(school): {str(name): (None if pd.isna(value) else value) for name, value in row.items()}
        for school, row in table.round(6).to_dict("index").items()
    }


def _registration_is_over(known: Tables, term: str, day: pd.Timestamp) -> bool:
    start = Terms.of(known).start(term)
    days = np.busday_count(start.date(), day.date())
    return bool(days >= PRESETS["default"].register_by)


def _leaving_rates(known: Tables, school_of: pd.Series, past: list[str]) -> pd.Series:
    """Return episodes per student and term of each school, drawn towards the county's rate."""
    known = known.only("terms", "schools", "calendar", "enrolments", "status_changes")
    schools = pd.Index(sorted(school_of.unique()))
    if not past:
        return pd.Series(np.nan, schools)
    seen = [_past_outcomes(known, term) for term in past]
    outcomes = pd.concat(seen).dropna(subset=["label"])
    label = outcomes["label"].astype(float)
    county = county_of_schools(known)
    overall = label.groupby(outcomes["school_id"].map(county)).mean()
    grouped = label.groupby(outcomes["school_id"])
    left, count = grouped.sum().reindex(schools, fill_value=0), grouped.size().reindex(schools, fill_value=0)
    usual = pd.Series(schools.map(county).map(overall), schools, dtype="float64")
    return (left + PRIOR_STUDENTS * usual) / (count + PRIOR_STUDENTS)


def _past_outcomes(known: Tables, term: str) -> pd.DataFrame:
    end = Terms.of(known).end(term)
    school = at_risk(known, end)["school_id"]
    outcomes = register_outcomes(known, end, rule=PRESETS["default"])
    return outcomes.assign(school_id=school)
