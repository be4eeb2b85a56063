"""What a county knows beyond one roster: how an exam went county-wide, and how its schools have fared.

A single school that asks for scores sends its own roster only. The reference carries the rest, so that
its students get the very features that the county's own run gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.asof import Terms, at_risk, county_of_schools, cut, is_among, to_day
from dropout_risk.attendance import term_attendance
from dropout_risk.labels import PRESETS, register_outcomes
from dropout_risk.schema import Tables
from dropout_risk.tables import make_tables

QUANTILES = np.linspace(0, 1, 101)
"""The grid on which an exam's marks are kept."""

PRIOR_STUDENTS = 20
"""Weight of the county's rate in a school's own: a school of 20 is believed half."""

PAST_TERMS = 4
"""How many past terms the leaving rate of a school looks back."""

POVERTY_LEVELS = {"none": 0.0, "marginal": 1.0, "sudden": 1.0, "minimum_living": 2.0, "registered": 2.0}
"""Poverty status as an ordered level."""

SCHOOL_COLUMNS = ("leaving_rate", "absence_rate", "poverty_share", "size")

_EXAM_KEYS = ["county_id", "term", "grade", "subject", "exam"]


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

    def percentiles(self, marks: pd.DataFrame) -> pd.Series:
        """Return the place of each mark within county, grade and exam: 0 lowest, 1 highest.

        Parameters
        ----------
        marks
            Columns `_EXAM_KEYS` and `mark` (share of the full mark).

        Returns
        -------
        Series of floats, index as `marks`; NaN where the mark or the exam is not known.
        """
        place, mark = np.full(len(marks), np.nan), marks["mark"].to_numpy(dtype=np.float64)
        for key, rows in marks.groupby(_exam_keys(marks)).indices.items():
            if str(key) in self.exams:
                grid, own = np.asarray(self.exams[str(key)]), mark[rows]
                lower, upper = np.searchsorted(grid, own, "left"), np.searchsorted(grid, own, "right")
                place[rows] = np.where(np.isnan(own), np.nan, (lower + upper) / 2 / len(grid))
        return pd.Series(place, marks.index)

    def school_table(self) -> pd.DataFrame:
        """Return the schools as a frame indexed by school_id."""
        columns = ["county_id", *SCHOOL_COLUMNS]
        return pd.DataFrame.from_dict(dict(self.schools), orient="index", columns=columns)

    def tables(self) -> Tables:
        """Return the schools and the terms as canonical tables, for a roster that comes without them."""
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
    students = at_risk(known, day)
    attendance, marks = attendance_now(known, students, day), exam_marks(known, day)
    return reference_values(known, day, students=students, attendance=attendance, marks=marks)


def attendance_now(known: Tables, students: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """Return the attendance measures of the running term up to `day`; `known` is cut already."""
    terms = Terms.of(known)
    term = terms.at(day)
    end = min(day, terms.end(term))
    return term_attendance(known, students, term=term, start=terms.start(term), end=end)


def reference_values(
    known: Tables,
    day: pd.Timestamp,
    *,
    students: pd.DataFrame,
    attendance: pd.DataFrame,
    marks: pd.DataFrame,
    given: Reference | None = None,
) -> Reference:
    """Return the reference from tables cut already, the students at risk, their attendance so far and all marks.

    What `given` holds wins; only what it lacks is worked out, which for one school of a known county is nothing.
    """
    given = given or Reference(str(day.date()), {}, {})
    exams = {
        str(key): np.quantile(rows.dropna(), QUANTILES).round(6).tolist()
        for key, rows in marks["mark"].groupby(_exam_keys(marks))
        if str(key) not in given.exams and rows.notna().any()
    }
    known_schools = set(students["school_id"].astype(str)) <= set(given.schools)
    schools = {} if known_schools else _school_values(known, day, students, attendance)
    terms = Terms.of(known)
    days = zip(terms.names, terms.starts, terms.ends, strict=True)
    told = {name: [str(start.date()), str(end.date())] for name, start, end in days}
    return given.over(Reference(str(day.date()), exams, schools, told))


def exam_marks(known: Tables, day: pd.Timestamp) -> pd.DataFrame:
    """Return every exam of the running term and the one before it as a share of the full mark.

    Returns
    -------
    DataFrame with `student_id`, `_EXAM_KEYS`, `mark` (NaN when missed) and `missed` (bool).
    """
    terms = Terms.of(known)
    term = terms.at(day)
    grades = known.get_frame("grades")
    grades = grades[grades["term"].isin([*terms.before(term)[-1:], term])]
    grades = grades.sort_values(["student_id", "term", "subject", "exam"])  # sums depend on their order
    place = known.get_frame("enrolments")[["student_id", "term", "school_id", "grade"]]
    place = place.assign(county_id=place["school_id"].map(county_of_schools(known))).drop(columns="school_id")
    marks = grades.merge(place, on=["student_id", "term"], how="inner")
    missed = marks["absent"].fillna(False).astype(bool) | marks["score"].isna()
    share = (marks["score"] / marks["full_mark"].fillna(100.0)).where(~missed).round(6)
    return marks[["student_id", *_EXAM_KEYS]].assign(mark=share.where(share <= 1), missed=missed)


def _exam_keys(marks: pd.DataFrame) -> pd.Series:
    parts = [marks[name].astype("str") for name in _EXAM_KEYS if name != "grade"]
    grade = marks["grade"].astype("Int64").astype("str")
    county, term, subject, exam = parts
    return county + "|" + term + "|" + grade + "|" + subject + "|" + exam


def poverty_levels(known: Tables, students: pd.Index, day: pd.Timestamp) -> pd.Series:
    """Return the poverty level of each student on the day of the cut: NaN without any household record."""
    rows = known.get_frame("households").sort_values("valid_from", na_position="first")
    rows = rows[is_among(rows["student_id"], students)]
    level = rows["poverty"].astype("str").map(POVERTY_LEVELS)
    level = level.mask(rows["valid_to"] < day, 0.0)
    newest = ~rows["student_id"].duplicated(keep="last")
    return level[newest].set_axis(rows.loc[newest, "student_id"]).reindex(students)


def _is_poor(known: Tables, students: pd.Index, day: pd.Timestamp) -> pd.Series:
    level = poverty_levels(known, students, day)
    return (level >= POVERTY_LEVELS["registered"]).astype("float64").where(level.notna())


def _school_values(
    known: Tables, day: pd.Timestamp, students: pd.DataFrame, attendance: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    terms = Terms.of(known)
    past = terms.before(terms.at(day))[-PAST_TERMS:]
    if past and not _registration_is_over(known, terms.at(day), day):
        past = past[:-1]
    by_school = students["school_id"]
    table = pd.DataFrame(
        {
            "county_id": students.groupby(by_school)["county_id"].first(),
            "leaving_rate": _leaving_rates(known, by_school, past),
            "absence_rate": attendance["absence_rate"].groupby(by_school).mean(),
            "poverty_share": _is_poor(known, students.index, day).groupby(by_school).mean(),
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
