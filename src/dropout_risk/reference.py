"""What a county knows beyond one roster: how an exam went county-wide, and how its schools have fared.

A single school that asks for scores sends its own roster only. The reference carries the rest, so that
its students get the very features that the county's own run gives them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
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
    at_places,
    day_number,
    days,
    flags,
    labels,
    matched,
    numbered,
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

    def grid(self, exam: str) -> Floats:
        """Return the marks at `QUANTILES` of an exam that the reference knows."""
        if exam not in self._grids:
            self._grids[exam] = np.asarray(self.exams[exam], dtype=np.float64)
        return self._grids[exam]

    @cached_property
    def _grids(self) -> dict[str, Floats]:
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
    absence, terms = attendance_now(known, Students.enrolled(known, rows), day)[0], Terms.of(known)
    dates = zip(terms.names, terms.starts, terms.ends, strict=True)
    return Reference(
        str(day.date()),
        {exam: grid.tolist() for exam, grid in exam_marks(known, day).grids().items()},
        _school_values(known, day, absence),
        {name: [str(start.date()), str(end.date())] for name, start, end in dates},
    )


def attendance_now(known: Tables, students: Students, day: pd.Timestamp) -> Floats:
    """Return the attendance measures of the running term up to `day`, (8, n); `known` is cut already."""
    terms = Terms.of(known)
    term = terms.at(day)
    return term_measures(known, students, term=term, start=terms.start(term), end=min(day, terms.end(term)))


def school_values(
    known: Tables, day: pd.Timestamp, *, students: Students, absence: Floats, given: Reference | None = None
) -> Mapping[str, Mapping[str, Any]]:
    """Return the county and `SCHOOL_COLUMNS` of each school, from tables cut already.

    What `given` holds wins; only what it lacks is worked out, which for one school of a known county is nothing.

    Parameters
    ----------
    students
        Those at risk.
    absence : float array (n,)
        Their absence rates so far.
    """
    told = {} if given is None else given.schools
    if set(students.school.names[students.school.codes]) <= told.keys():
        return told
    return {**_school_values(known, day, absence), **told}


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

    def grids(self, *, besides: Collection[str] = ()) -> dict[str, Floats]:
        """Return the marks at `QUANTILES` of each exam that somebody took, but for the exams that are known already."""
        from dropout_risk.placing import draw_grids

        wanted = np.array([exam not in besides for exam in self.exams] + [False])  # the last, at -1, is no exam
        taken = wanted[self.exam] & ~np.isnan(self.mark)
        count = np.bincount(self.exam[taken], minlength=len(self.exams))
        sat = np.flatnonzero(count)
        grids = np.empty((len(sat), len(QUANTILES)))
        draw_grids(self.mark[taken], np.cumsum(count[sat]), QUANTILES, grids)
        return dict(zip([self.exams[place] for place in sat.tolist()], np.round(grids, 6), strict=True))

    def places(self, given: Reference | None = None) -> Int64s:
        """Return the place of each mark within county, grade and exam as a whole number of `PLACES`.

        Parameters
        ----------
        given
            Where its exams are known county-wide; those that it lacks are taken from the marks themselves.

        Returns
        -------
        int array (n,)
            0 lowest, `PLACES` highest; -1 where the mark or the exam is not known. Sums of whole numbers are exact,
            in whatever order the marks come.
        """
        from dropout_risk.placing import place_marks

        grids = self.grids(besides=given.exams if given else ())
        grids |= {exam: given.grid(exam) for exam in self.exams if given and exam in given.exams}
        place = np.full(len(self.mark), -1)
        if grids:
            row = at_places(places(self.exams, grids).astype(np.int64), self.exam, -1)
            place_marks(self.mark, row, np.array(list(grids.values())), place)
        return place


def exam_marks(known: Tables, day: pd.Timestamp) -> Marks:
    """Return every exam of the running term and the one before it, of students enrolled in its term."""
    terms = Terms.of(known)
    term = terms.at(day)
    recent = [*terms.before(term)[-1:], term]
    student = texts(known, "grades", "student_id")
    enrolled = matched(student, texts(known, "enrolments", "student_id"))
    held = [rows_in_term(known, "grades", name) for name in recent]
    rows = np.concatenate(held)
    at = np.concatenate([_enrolments_of(known, enrolled[own], name) for own, name in zip(held, recent, strict=True)])
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
    return at_places(row[:-1], students, -1)


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
    exam[told], distinct = numbered(np.ravel_multi_index(tuple(parts[:, told]), tuple(sizes)))
    names = zip(*(part.tolist() for part in np.unravel_index(distinct, tuple(sizes))), strict=True)
    return exam, [f"{county.names[c]}|{term.names[t]}|{g}|{subject.names[s]}|{kinds[k]}" for c, t, g, s, k in names]


def newest_households(known: Tables, students: Students) -> Int64s:
    """Return the row of the household record of each student that is valid from the latest day; -1 without any."""
    order = np.argsort(days(known, "households", "valid_from"), kind="stable")  # no day is the smallest day
    newest = np.full(len(students.ids) + 1, -1)
    newest[students.rows_of(texts(known, "households", "student_id"))[order]] = order  # of several the last one stays
    return newest[:-1]


def poverty_levels(known: Tables, students: Students, day: pd.Timestamp, *, newest: Int64s | None = None) -> Floats:
    """Return the poverty level of each student on the day of the cut: NaN without any household record.

    `newest` are the `newest_households`, where they are at hand.
    """
    row = newest_households(known, students) if newest is None else newest
    level: Floats = _LEVELS[at_places(labels(known, "households", "poverty"), row, -1)]
    end = at_places(days(known, "households", "valid_to"), row, NO_DAY)
    level[(end != NO_DAY) & (end < day_number(day))] = 0.0
    return level


_LEVELS = np.array([*(POVERTY_LEVELS[status] for status in TABLES["households"]["poverty"].allowed), np.nan])


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
