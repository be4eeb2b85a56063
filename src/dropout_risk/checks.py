"""What is checked of the tables, each rule a function from tables to what it finds.

A check looks at plain arrays and touches a frame only to write down a row that is wrong, so that tables without a
fault cost next to nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dropout_risk.arrays import (
    NO_DAY,
    Coded,
    Floats,
    Int8s,
    Int64s,
    Texts,
    at_places,
    columns_of,
    days,
    distinct_days,
    first_rows,
    flags,
    is_keyed,
    labels,
    matched,
    numbers,
    places,
    repeated_keys,
    row_labels,
    span_of_days,
    spread,
    texts,
)
from dropout_risk.id_numbers import DAMAGED, FAULTS, judge, looks_rounded
from dropout_risk.notes import Notes
from dropout_risk.schema import TABLES, Column, Problem, Tables

T = TypeVar("T", bound=np.generic)
Bools = npt.NDArray[np.bool_]

AGE_BEYOND_GRADE = (3, 14)
"""Credible age in whole years on 1 September, less the grade."""

FAR_KM, FAR_BY_DAY_KM, FAST_KM_PER_HOUR = 100, 30, 90
"""From here on a way to school is suspicious: for anybody, for those who go home daily, in an hour."""

PERFECT_STUDENTS, PERFECT_DAYS = 30, 20
"""From how many students and reported days on it is odd that a school has no absence in a term."""

_CODES = [*TABLES["attendance"]["code"].allowed, None]  # the last, at -1, stands for no code
_IS_ABSENT = np.array([code in ("S", "A", "U") for code in _CODES])
_MAY_STAND = np.array([code in ("X", "N") for code in _CODES])  # closed, not reported: right on a day without school
_TELLS = np.array([code not in ("X", "N", "O", None) for code in _CODES])

_TARGETS = {"student_id": "students", "school_id": "schools", "term": "terms"}
"""Column that points at rows of another table -> that table."""


# ------------------------------------------------------------------------------------ rows that are wrong


def _each(
    tables: Tables, name: str, kind: str, wrong: Bools, *, column: str, shown: str | None = None
) -> list[Problem]:
    """Return one error for each row that is wrong; it shows the cell of the column `shown`."""
    if not wrong.any():
        return []
    rows, cells = list(row_labels(tables, name)[wrong]), _shown(tables, name, wrong, shown)
    return Notes(name, tables).each(kind, rows, column=column, values=cells)


def _grouped(
    tables: Tables,
    name: str,
    kind: str,
    wrong: Bools,
    *,
    column: str,
    shown: str | Floats | None = None,
    **details: Any,
) -> list[Problem]:
    """Return one warning for all rows that are wrong; it shows the first cell of `shown`: a column, or values."""
    if not wrong.any():
        return []
    rows, cells = row_labels(tables, name), _shown(tables, name, wrong, shown)
    rows = rows if wrong.all() else rows[wrong]
    return Notes(name, tables).grouped(kind, rows, column=column, values=cells, **details)


def _shown(tables: Tables, name: str, wrong: Bools, shown: str | Floats | None) -> Any:
    if shown is None:
        return None
    return tables[name][shown][wrong] if isinstance(shown, str) else shown[wrong]


# ------------------------------------------------------------------------------------ one table by itself


def _required_values(tables: Tables) -> list[Problem]:
    """Find required values that are missing, but for those of which reading has told already."""
    told = {(problem.table, problem.column, problem.position) for problem in tables.problems}
    problems = []
    for name in tables:
        for column in TABLES[name].columns:
            if not column.required or (name, column.name, None) in told:
                continue
            if column.kind == "date" and span_of_days(tables, name, column.name)[0] != NO_DAY:
                continue
            missing = _missing(tables, name, column)
            if missing.any():
                empty = row_labels(tables, name)[missing]
                rows = [position for position in empty if (name, column.name, position) not in told]
                problems += Notes(name, tables).each("missing_value", rows, column=column.name)
    return problems


def _missing(tables: Tables, name: str, column: Column) -> Bools:
    match column.kind:
        case "string":
            missing = texts(tables, name, column.name).codes < 0
        case "date":
            missing = days(tables, name, column.name) == NO_DAY
        case "category":
            missing = labels(tables, name, column.name) < 0
        case "boolean":
            missing = flags(tables, name, column.name) < 0
        case "integer" | "number":
            missing = np.isnan(numbers(tables, name, column.name))
    return np.asarray(missing)


def _duplicates(tables: Tables) -> list[Problem]:
    problems = []
    for name in tables:
        if not is_keyed(tables, name):
            problems += _duplicates_among(tables, name, repeated_keys(tables, name))
    return problems


def _duplicates_among(tables: Tables, name: str, rivals: Bools) -> list[Problem]:
    """Return what is to be told of rows that share their key: copies, and different rows known since one day."""
    table, notes = TABLES[name], Notes(name, tables)
    frame = tables[name][rivals].dropna(subset=[column for column in table.key if table[column].required])
    known, key = frame, list(table.key)
    if table.has_recorded_at:
        key.append("recorded_at")
        if table.event is not None:
            known = frame.assign(recorded_at=frame["recorded_at"].fillna(frame[table.event]))
    copies = frame.index[frame.duplicated()]
    corrections = frame.index[known.duplicated(key)].difference(copies)
    names, names_zh = ", ".join(table.key), "、".join(table[column].zh for column in table.key)
    return [
        *notes.grouped("duplicate_row", list(copies)),
        *notes.each("duplicate_key", list(corrections), key=names, key_zh=names_zh),
    ]


def _dates(tables: Tables) -> list[Problem]:
    """Find events after the last term, knowledge before the event, and facts without knowledge date."""
    problems = []
    last = int(days(tables, "terms", "end").max(initial=NO_DAY))
    for name in tables:
        event = TABLES[name].event
        if event is None:
            continue
        recorded, (first, latest) = days(tables, name, "recorded_at"), span_of_days(tables, name, "recorded_at")
        if event != "recorded_at":
            happened = days(tables, name, event)
            if NO_DAY != last < span_of_days(tables, name, event)[1]:
                end = str(np.datetime64(last, "D"))
                future = happened > last
                problems += _grouped(tables, name, "future_date", future, column=event, shown=event, end=end)
            if latest != NO_DAY:
                early = (recorded != NO_DAY) & (recorded < happened)
                problems += _grouped(tables, name, "recorded_early", early, column="recorded_at", shown="recorded_at")
        if first == NO_DAY:
            problems += _grouped(tables, name, "no_recorded_at", recorded == NO_DAY, column="recorded_at")
    return problems


def _terms(tables: Tables) -> list[Problem]:
    if "terms" not in tables:
        return []
    start, end = days(tables, "terms", "start"), days(tables, "terms", "end")
    rows = np.argsort(start, kind="stable")
    rows = rows[(start[rows] != NO_DAY) & (end[rows] != NO_DAY)]
    backwards = end[rows] <= start[rows]
    forwards = rows[~backwards]
    overlaps = forwards[1:][start[forwards[1:]] <= np.maximum.accumulate(end[forwards])[:-1]]
    if not backwards.any() and not len(overlaps):
        return []
    frame, notes = tables["terms"], Notes("terms", tables)
    return [
        *notes.each("term_order", list(frame.index[rows[backwards]]), column="end"),
        *notes.each("term_overlap", list(frame.index[overlaps]), column="start", values=frame["start"].take(overlaps)),
    ]


def _distances(tables: Tables) -> list[Problem]:
    if "enrolments" not in tables:
        return []
    km = numbers(tables, "enrolments", "distance_km")
    hours = numbers(tables, "enrolments", "travel_minutes") / 60
    home_daily = flags(tables, "enrolments", "boarding") == 0
    odd = (km == 0) | (km > FAR_KM) | ((km > FAR_BY_DAY_KM) & home_daily) | (km > FAST_KM_PER_HOUR * hours)
    return _grouped(tables, "enrolments", "distance", odd, column="distance_km", shown="distance_km")


def _id_numbers(tables: Tables) -> list[Problem]:
    if "students" not in tables:
        return []
    number = texts(tables, "students", "id_number")
    judged = judge(number.names.tolist())
    fault = spread(number, judged.fault)
    if (fault == DAMAGED).any():
        fault = _damaged_together(number, fault, tables)
    problems = []
    for place, kind in enumerate(FAULTS) if (fault >= 0).any() else ():
        problems += _grouped(tables, "students", kind, fault == place, column="id_number", shown="id_number")
    birth, born = spread(number, judged.birth, NO_DAY), days(tables, "students", "birth_date")
    other = (fault < 0) & (birth != NO_DAY) & (born != NO_DAY) & (birth != born)
    return problems + _grouped(tables, "students", "birth_mismatch", other, column="birth_date", shown="birth_date")


def _damaged_together(number: Coded, fault: Int8s, tables: Tables) -> Int8s:
    """Where most numbers of a file are damaged, count those in whose case the check digit fits by chance."""
    starts = [source.first for source in tables.sources.get("students", ())]
    file = np.searchsorted(starts, row_labels(tables, "students"), side="right")
    written = number.codes >= 0
    mostly = np.bincount(file[fault == DAMAGED], minlength=len(starts) + 1) > np.bincount(file[written]) / 2
    rounded = spread(number, np.array([looks_rounded(name) for name in number.names], dtype=bool), False)
    return np.where(mostly[file] & (fault < 0) & rounded, DAMAGED, fault).astype(np.int8)


# ------------------------------------------------------------------------------------ tables together


def references(tables: Tables, left: Mapping[str, Bools] | None = None) -> list[Problem]:
    """Return an error for each row that points at a student, school or term of whom there is no row.

    Parameters
    ----------
    tables
        As checked.
    left
        Table -> which of its rows are left, where some have been refused already.
    """
    left = left or {}
    known = {column: _names(tables, name, column, left) for column, name in _TARGETS.items() if name in tables}
    problems = []
    for name in tables:
        for column, names in known.items():
            if name == _TARGETS[column] or not names or column not in columns_of(tables, name):
                continue
            ids = texts(tables, name, column)
            if names.issuperset(ids.names):
                continue
            unknown = spread(ids, np.array([id_ not in names for id_ in ids.names], dtype=bool), False)
            unknown &= left.get(name, True)
            problems += _each(tables, name, f"unknown_{column}", unknown, column=column, shown=column)
    return problems


def _names(tables: Tables, name: str, column: str, left: Mapping[str, Bools]) -> set[str]:
    """Return what stands in the rows of a column that are left."""
    ids = texts(tables, name, column)
    codes = ids.codes[left[name]] if name in left else ids.codes
    return set(ids.names[first_rows(Coded(codes, ids.names)) >= 0])


def _ages(tables: Tables) -> list[Problem]:
    if not {"students", "enrolments", "terms"} <= set(tables):
        return []
    student, term = texts(tables, "enrolments", "student_id"), texts(tables, "enrolments", "term")
    year, month, _ = _calendar_date(days(tables, "terms", "start"))
    school_year = _looked_up(term, texts(tables, "terms", "term"), year - (month < 7))
    year, month, day = _calendar_date(days(tables, "students", "birth_date"))
    after_1_september = (month > 9) | ((month == 9) & (day > 1))
    age = school_year - _looked_up(student, texts(tables, "students", "student_id"), year + after_1_september)
    low, high = AGE_BEYOND_GRADE
    beyond = age - numbers(tables, "enrolments", "grade")
    odd = (beyond < low) | (beyond > high)
    return _grouped(tables, "enrolments", "age_grade", odd, column="grade", shown=age)


def _calendar_date(day: Int64s) -> tuple[Floats, Int64s, Int64s]:
    """Return year, month and day of the month of days since 1970; the year is NaN where the day is not known."""
    months = day.view("datetime64[D]").astype("datetime64[M]")
    first = months.astype("datetime64[D]").view(np.int64)
    year, month = np.divmod(months.view(np.int64), 12)
    return np.where(day == NO_DAY, np.nan, year + 1970), month + 1, day - first + 1


def _looked_up(keys: Coded, known: Coded, values: Floats) -> Floats:
    """Return for each key what stands in the first row of `known` with the same text, NaN where there is none."""
    return at_places(values, at_places(first_rows(known), matched(keys, known), -1), np.nan)


# ------------------------------------------------------------------------------------ attendance


@dataclass(frozen=True)
class _Spans:
    """The terms whose days are known, each name once, in the order of time."""

    names: Texts
    start: Int64s
    end: Int64s

    @classmethod
    def of(cls, tables: Tables) -> "_Spans":
        name, start, end = texts(tables, "terms", "term"), days(tables, "terms", "start"), days(tables, "terms", "end")
        rows = np.flatnonzero((name.codes >= 0) & (start != NO_DAY) & (end != NO_DAY))
        rows = np.sort(rows[np.unique(name.codes[rows], return_index=True)[1]])
        rows = rows[np.argsort(start[rows], kind="stable")]
        return cls(name.names[name.codes[rows]], start[rows], end[rows])

    def at(self, day: Int64s) -> Int64s:
        """Return the place of the term in which each day lies; one more than the last where it lies in none."""
        begun = np.searchsorted(self.start, day, side="right") - 1
        return np.where((begun >= 0) & (day <= self.end[begun]), begun, len(self.names))


@dataclass(frozen=True)
class _Placed:
    """For every row of attendance the day, and the student and term, as numbers.

    A term or a school that is not known is one more than the last. `school_of` has a row for each student and a column
    for each term, and one more of both for what is not known; `at` is where a row of attendance stands in it, counted
    row by row, from the end where the student is not known.
    """

    day: Int64s
    at: Int64s
    school_of: Int64s
    days: Int64s
    terms: _Spans
    schools: Texts

    @property
    def school(self) -> Int64s:
        """The school of each row of attendance."""
        return self.school_of.ravel().take(self.at)

    @property
    def cell(self) -> Int64s:
        """The school and the term of each row of attendance as one number."""
        terms = self.school_of.shape[1]
        cell: Int64s = (self.school_of * terms + np.arange(terms)).ravel().take(self.at)
        return cell


def _place(tables: Tables, terms: _Spans) -> _Placed:
    enrolled, school = texts(tables, "enrolments", "student_id"), texts(tables, "enrolments", "school_id")
    in_term = texts(tables, "enrolments", "term")
    unknown = len(school.names)
    school_of = np.full((len(enrolled.names) + 1, len(terms.names) + 1), unknown, dtype=np.int64)
    column = spread(in_term, places(in_term.names, terms.names))
    school_of[enrolled.codes, column] = np.where(school.codes < 0, unknown, school.codes)
    school_of[-1], school_of[:, -1] = unknown, unknown
    present, (day, distinct) = texts(tables, "attendance", "student_id"), distinct_days(tables, "attendance", "date")
    row = places(present.names, enrolled.names).astype(np.int64)
    at = spread(present, row * school_of.shape[1], -school_of.shape[1])
    at += terms.at(distinct).take(day)
    return _Placed(day, at, school_of, distinct, terms, school.names)


def _attendance(tables: Tables) -> list[Problem]:
    """Find attendance outside terms and on days without school, and schools without any absence."""
    if not {"terms", "attendance", "enrolments"} <= set(tables):
        return []
    terms = _Spans.of(tables)
    if not len(terms.names):
        return []
    placed = _place(tables, terms)
    between = (terms.at(placed.days) == len(terms.names)) & (placed.days != NO_DAY) & (placed.days <= terms.end.max())
    outside, idle = between.take(placed.day), _without_school(tables, placed)
    return [
        *_grouped(tables, "attendance", "outside_term", outside, column="date", shown="date"),
        *_grouped(tables, "attendance", "non_school_day", idle, column="date", shown="date"),
        *_too_perfect(tables, placed),
    ]


def _without_school(tables: Tables, placed: _Placed) -> Bools:
    """Return which rows of attendance tell of a day without school as if it were one."""
    closed = _closed_days(tables, placed)
    if not closed.any():
        return np.zeros(len(placed.day), dtype=bool)
    may_stand: Bools = _MAY_STAND.take(labels(tables, "attendance", "code"))
    idle: Bools = closed.ravel().take(placed.school * closed.shape[1] + placed.day) & ~may_stand
    return idle


def _closed_days(tables: Tables, placed: _Placed) -> Bools:
    """Return which days are without school, a row for each school and a column for each day, as in `placed`.

    A school's own calendar wins over everybody's. Where a calendar lists school days, a day within it
    that it does not list is none. There is one more row and column for what is not known.
    """
    closed = np.zeros((len(placed.schools) + 1, len(placed.days) + 1), dtype=bool)
    day, is_open = days(tables, "calendar", "date"), flags(tables, "calendar", "is_school_day")
    known = (day != NO_DAY) & (is_open >= 0)
    if not known.any():
        return closed
    if (is_open[known] == 1).any():
        closed[:, :-1] = (placed.days >= day[known].min()) & (placed.days <= day[known].max())
    school = texts(tables, "calendar", "school_id")
    row, column = spread(school, places(school.names, placed.schools)), _places_of_days(day, placed.days)
    for_all, own = known & (school.codes < 0), known & (row >= 0)
    closed[:, column[for_all]] = is_open[for_all] == 0
    closed[row[own], column[own]] = is_open[own] == 0
    closed[-1], closed[:, -1] = False, False
    return closed


def _places_of_days(day: Int64s, among: Int64s) -> Int64s:
    """Return the place of each day among others, -1 where it is not there."""
    order = np.argsort(among)
    place = np.append(order, -1)[np.searchsorted(among, day, sorter=order)]
    return np.where(among[place] == day, place, -1)


def _too_perfect(tables: Tables, placed: _Placed) -> list[Problem]:
    """Find schools in which everybody was there on every day of a term."""
    code, terms = labels(tables, "attendance", "code"), len(placed.terms.names) + 1
    size, cell = (len(placed.schools) + 1) * terms, placed.cell
    perfect = np.zeros(size, dtype=bool)
    perfect[cell] = True
    perfect[cell[np.flatnonzero(_IS_ABSENT.take(code))]] = False
    perfect[-terms:] = False  # of no known school
    if not perfect.any():
        return []
    rows = np.flatnonzero(perfect[cell])
    rows = rows[_TELLS[code[rows]]]
    if not len(rows):
        return []
    seen = np.unique(placed.at[rows])
    students = np.bincount(placed.school_of.ravel()[seen] * terms + seen % terms, minlength=size)
    told = np.unique(cell[rows] * len(placed.days) + placed.day[rows]) // len(placed.days)
    odd = (students >= PERFECT_STUDENTS) & (np.bincount(told, minlength=size) >= PERFECT_DAYS)
    return [
        _perfect(
            tables, "attendance", "code", int(students[at]), placed.schools[at // terms], placed.terms.names[at % terms]
        )
        for at in np.flatnonzero(odd)
    ]


def _perfect_counts(tables: Tables) -> list[Problem]:
    """Find schools without any absence in the attendance counts of a term."""
    if not {"attendance_counts", "enrolments"} <= set(tables):
        return []
    school = texts(tables, "enrolments", "school_id")
    student, term = texts(tables, "enrolments", "student_id"), texts(tables, "enrolments", "term")
    terms = len(term.names)
    counted = matched(texts(tables, "attendance_counts", "student_id"), student)
    counted_in = matched(texts(tables, "attendance_counts", "term"), term)
    enough = numbers(tables, "attendance_counts", "days_reported") >= PERFECT_DAYS
    rows = np.flatnonzero(enough & (counted >= 0) & (counted_in >= 0))
    enrolled = np.flatnonzero((student.codes >= 0) & (term.codes >= 0) & (school.codes >= 0))
    of_count, of_enrolment = _joined(
        counted[rows] * np.int64(terms) + counted_in[rows],
        student.codes[enrolled] * np.int64(terms) + term.codes[enrolled],
    )
    rows, enrolled = rows[of_count], enrolled[of_enrolment]
    cell, size = school.codes[enrolled] * np.int64(terms) + term.codes[enrolled], len(school.names) * terms
    absent = np.nan_to_num(numbers(tables, "attendance_counts", "days_absent"))
    absences = np.bincount(cell, weights=absent[rows], minlength=size)
    seen = np.unique(cell * len(student.names) + student.codes[enrolled]) // len(student.names)
    students = np.bincount(seen, minlength=size)
    odd = np.flatnonzero((students >= PERFECT_STUDENTS) & (absences == 0))
    return [
        _perfect(tables, "attendance_counts", "days_absent", count, *place)
        for *place, count in sorted(
            (school.names[at // terms], term.names[at % terms], int(students[at])) for at in odd
        )
    ]


def _joined(keys: Int64s, others: Int64s) -> tuple[Int64s, Int64s]:
    """Return the places in both of every pair of equal keys."""
    order = np.argsort(others, kind="stable")
    first, last = (np.searchsorted(others, keys, side=side, sorter=order) for side in ("left", "right"))
    pairs = last - first
    within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    return np.repeat(np.arange(len(keys)), pairs), order[np.repeat(first, pairs) + within]


def _perfect(tables: Tables, name: str, column: str, students: int, school: str, term: str) -> Problem:
    return Notes(name, tables).whole(
        "too_perfect", level="warning", column=column, count=students, value=f"{school} ({term})"
    )


CHECKS: tuple[Callable[[Tables], list[Problem]], ...] = (
    _required_values, _duplicates, references, _terms, _dates, _id_numbers, _ages, _distances, _attendance,
    _perfect_counts,
)  # fmt: skip
"""Every check, in the order in which the problems of one row are told."""
