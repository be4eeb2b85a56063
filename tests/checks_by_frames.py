"""The checks as they are most plainly said, on frames: slow, and what the checks on arrays are held against."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dropout_risk.checks import (
    AGE_BEYOND_GRADE,
    FAR_BY_DAY_KM,
    FAR_KM,
    FAST_KM_PER_HOUR,
    PERFECT_DAYS,
    PERFECT_STUDENTS,
)
from dropout_risk.notes import Notes
from dropout_risk.schema import TABLES, Problem, Table, Tables

_ABSENT = ("S", "A", "U")
_NO_SCHOOL = ("X", "N")  # closed, not reported: right on a day without school


def problems_of(tables: Tables) -> list[Problem]:
    """What `validate` reports."""
    complete, problems = _complete(tables)
    problems += [problem for problem in tables.problems if _is_still_there(problem, tables)]
    for check in _CHECKS:
        problems += check(complete)
    order = {name: index for index, name in enumerate(TABLES)}
    problems.sort(
        key=lambda problem: (
            problem.level != "error", problem.position is not None, order.get(problem.table, -1),
            problem.file or "", problem.row or 0,
        )
    )  # fmt: skip
    return problems


def usable_of(tables: Tables, problems: Iterable[Problem]) -> tuple[Tables, pd.DataFrame]:
    """What `usable` returns where no whole table is wrong."""
    errors = [problem for problem in problems if problem.level == "error"]
    good = _without_rows(tables, errors)
    while orphans := _references(good):
        errors += orphans
        good = _without_rows(good, orphans)
    return good, _refused_rows(tables, errors)


def _without_rows(tables: Tables, errors: Iterable[Problem]) -> Tables:
    positions: dict[str, set[int]] = {}
    for problem in errors:
        positions.setdefault(problem.table, set()).add(int(problem.position or 0))
    frames = dict(tables)
    for name, bad in positions.items():
        frames[name] = frames[name][~frames[name].index.isin(list(bad))]
    warnings = tuple(problem for problem in tables.problems if problem.level == "warning")
    return Tables(frames, problems=warnings, sources=tables.sources, oracle=tables.oracle)


def _refused_rows(tables: Tables, errors: Iterable[Problem]) -> pd.DataFrame:
    by_row: dict[tuple[str, int | None], list[Problem]] = {}
    for problem in errors:
        by_row.setdefault((problem.table, problem.position), []).append(problem)
    rows = [
        {
            "table": table,
            "file": found[0].file,
            "row": found[0].row,
            "student_id": tables[table].at[position, "student_id"] if "student_id" in tables[table] else None,
            "column": found[0].column,
            "value": found[0].value,
            "message": " ".join(problem.message for problem in found),
            "message_zh": "".join(problem.message_zh for problem in found),
        }
        for (table, position), found in by_row.items()
    ]
    columns = ["table", "file", "row", "student_id", "column", "value", "message", "message_zh"]
    return pd.DataFrame(rows, columns=columns).astype({"row": "int64"})


def _complete(tables: Tables) -> tuple[Tables, list[Problem]]:
    """Return the tables that have rows and all columns, and what is wrong with the others."""
    frames, problems = {}, []
    for name, table in TABLES.items():
        notes, frame = Notes(name, tables), tables.get_frame(name)
        missing = [column for column in table.columns if column.name not in frame]
        if frame.empty and table.core:
            problems.append(notes.whole("missing_table", name=name, zh=table.zh))
        for column in missing:
            problems.append(notes.whole("missing_column", column=column.name, name=column.name, zh=column.zh))
        if len(frame) and not missing:
            frames[name] = frame
    return Tables(frames, problems=tables.problems, sources=tables.sources), problems


def _is_still_there(problem: Problem, tables: Tables) -> bool:
    return problem.position is None or problem.position in tables.get_frame(problem.table).index


def _required_values(tables: Tables) -> list[Problem]:
    """Find required values that are missing, but for those of which reading has told already."""
    told = {(problem.table, problem.column, problem.position) for problem in tables.problems}
    problems = []
    for name, frame in tables.items():
        for column in TABLES[name].columns:
            if not column.required or (name, column.name, None) in told or not frame[column.name].hasnans:
                continue
            empty = frame.index[frame[column.name].isna()]
            rows = [position for position in empty if (name, column.name, position) not in told]
            problems += Notes(name, tables).each("missing_value", rows, column=column.name)
    return problems


def _duplicates(tables: Tables) -> list[Problem]:
    problems = []
    for name, frame in tables.items():
        table, notes = TABLES[name], Notes(name, tables)
        needed = [column for column in table.key if table[column].required and frame[column].hasnans]
        keyed = frame.dropna(subset=needed) if needed else frame
        codes = _row_codes([*(keyed[column] for column in table.key), *_knowledge_date(keyed, table)])
        later = pd.Series(codes).duplicated().to_numpy()
        if not later.any():
            continue
        alike = keyed[np.isin(codes, codes[later])]
        copies = alike.index[alike.duplicated()]
        corrections = keyed.index[later].difference(copies)
        problems += notes.grouped("duplicate_row", list(copies))
        key, key_zh = ", ".join(table.key), "、".join(table[column].zh for column in table.key)
        problems += notes.each("duplicate_key", list(corrections), key=key, key_zh=key_zh)
    return problems


def _knowledge_date(frame: pd.DataFrame, table: Table) -> list[pd.Series]:
    if not table.has_recorded_at:
        return []
    recorded = frame["recorded_at"]
    return [recorded if table.event is None else recorded.fillna(frame[table.event])]


def _row_codes(columns: Iterable[pd.Series]) -> NDArray[np.int64]:
    """Return one number for each row, equal where all columns are equal."""
    codes = np.zeros(1, dtype=np.int64)
    for column in columns:
        part, distinct = pd.factorize(column)
        codes = codes * (len(distinct) + 1) + part + 1
    return codes


def _dates(tables: Tables) -> list[Problem]:
    """Find events after the last term, knowledge before the event, and facts without knowledge date."""
    problems = []
    last = tables.get_frame("terms")["end"].max()
    for name, frame in tables.items():
        table, notes = TABLES[name], Notes(name, tables)
        if table.event is not None and table.event != "recorded_at":
            event = frame[table.event]
            future = event[event > last]
            early = frame["recorded_at"][frame["recorded_at"] < event]
            problems += notes.grouped(
                "future_date", list(future.index), column=table.event, values=future, end=str(last)[:10]
            )
            problems += notes.grouped("recorded_early", list(early.index), column="recorded_at", values=early)
        if table.event is not None and frame["recorded_at"].hasnans:
            unknown = frame.index[frame["recorded_at"].isna()]
            problems += notes.grouped("no_recorded_at", list(unknown), column="recorded_at")
    return problems


def _terms(tables: Tables) -> list[Problem]:
    if "terms" not in tables:
        return []
    notes = Notes("terms", tables)
    frame = tables["terms"].dropna(subset=["start", "end"]).sort_values("start", kind="stable")
    backwards = frame["end"] <= frame["start"]
    problems = notes.each("term_order", list(frame.index[backwards]), column="end")
    forwards = frame[~backwards]
    overlaps = forwards["start"][forwards["start"] <= forwards["end"].cummax().shift()]
    return problems + notes.each("term_overlap", list(overlaps.index), column="start", values=overlaps)


def _distances(tables: Tables) -> list[Problem]:
    if "enrolments" not in tables:
        return []
    frame = tables["enrolments"]
    km, hours = frame["distance_km"], frame["travel_minutes"] / 60
    home_daily = frame["boarding"].eq(False).fillna(False).astype(bool)
    odd = (km == 0) | (km > FAR_KM) | ((km > FAR_BY_DAY_KM) & home_daily) | (km > FAST_KM_PER_HOUR * hours)
    values = km[odd]
    return Notes("enrolments", tables).grouped("distance", list(values.index), column="distance_km", values=values)


# ------------------------------------------------------------------------------------ ID numbers

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+?\d+")


def id_number_fault(number: str) -> str | None:
    """Return what is wrong with a resident ID number, or None.

    Parameters
    ----------
    number
        18 characters (15 digits in old papers); other documents, with letters, are not judged.

    Returns
    -------
    ``excel_damaged`` (the check digit fails and the number is one that a spreadsheet would have made),
    ``bad_date``, ``bad_check_digit``, ``bad_length`` or None.

    References
    ----------
    GB 11643-1999: check character by ISO 7064, MOD 11-2. A spreadsheet keeps 15 digits of a number and
    writes 000 after them; a library that reads the cell as a 64-bit float prints the nearest one.

    Examples
    --------
    >>> id_number_fault("11010519491231002x"), id_number_fault("110105491231002")
    (None, None)
    >>> id_number_fault("513425201001011328"), id_number_fault("110105194912310021")
    ('excel_damaged', 'bad_check_digit')
    """
    number = number.upper()
    if not re.fullmatch(r"\d{15}|\d{17}.", number):
        return "excel_damaged" if _SCIENTIFIC.fullmatch(number) else "bad_length" if number.isdigit() else None
    fits = len(number) == 15 or number[17] == _check_digit(number)
    if not fits and _looks_rounded(number):
        return "excel_damaged"
    if _birth_date(number) is None:
        return "bad_date"
    return None if fits else "bad_check_digit"


def _check_digit(number: str) -> str:
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True))
    return _CHECK_DIGITS[total % 11]


def _looks_rounded(number: str) -> bool:
    """Whether a spreadsheet may have made the number: 15 digits and 000, or exactly a 64-bit float.

    Of sound numbers 1 in 16 to 128 is exactly a float, by chance.
    """
    return number.isdigit() and len(number) == 18 and (number.endswith("000") or int(float(number)) == int(number))


def _birth_date(number: str) -> date | None:
    digits = number[6:14] if len(number) == 18 else "19" + number[6:12]
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return day if day.year >= 1900 else None


def _id_numbers(tables: Tables) -> list[Problem]:
    if "students" not in tables:
        return []
    numbers = tables["students"]["id_number"].dropna()
    faults = _damaged_together(numbers, numbers.map(id_number_fault).astype("object"), tables)
    notes = Notes("students", tables)
    problems = []
    for kind in ("excel_damaged", "bad_date", "bad_check_digit", "bad_length"):
        wrong = numbers[faults == kind]
        problems += notes.grouped(kind, list(wrong.index), column="id_number", values=wrong)
    sound = numbers[faults.isna() & numbers.str.fullmatch(r"\d{15}|\d{17}[\dXx]")]
    born = tables["students"]["birth_date"].reindex(sound.index)
    other = born[born.notna() & (born != pd.to_datetime(sound.map(_birth_date)))]
    return problems + notes.grouped("birth_mismatch", list(other.index), column="birth_date", values=other)


def _damaged_together(numbers: pd.Series, faults: pd.Series, tables: Tables) -> pd.Series:
    """Where most numbers of a file are damaged, count those in whose case the check digit fits by chance."""
    starts = [source.first for source in tables.sources.get("students", ())]
    file = np.searchsorted(starts, numbers.index, side="right")
    mostly = (faults == "excel_damaged").groupby(file).transform("mean") > 0.5
    rounded = mostly & faults.isna() & numbers.map(_looks_rounded).astype(bool)
    return faults.mask(rounded, "excel_damaged")


# ------------------------------------------------------------------------------------ tables together


def _references(tables: Tables) -> list[Problem]:
    targets = {"student_id": "students", "school_id": "schools", "term": "terms"}
    problems = []
    for name, frame in tables.items():
        for column, target in targets.items():
            if column not in frame or target not in tables or target == name:
                continue
            known = tables[target][column].dropna()
            unknown = frame[column].dropna()
            unknown = unknown[~unknown.isin(known)] if len(known) else unknown[:0]
            problems += Notes(name, tables).each(
                f"unknown_{column}", list(unknown.index), column=column, values=unknown
            )
    return problems


def _ages(tables: Tables) -> list[Problem]:
    if not {"students", "enrolments", "terms"} <= set(tables):
        return []
    enrolments = tables["enrolments"]
    born = _looked_up(enrolments["student_id"], tables["students"], "birth_date")
    start = _looked_up(enrolments["term"], tables["terms"], "start")
    school_year = start.dt.year - (start.dt.month < 7)
    after_1_september = (born.dt.month > 9) | ((born.dt.month == 9) & (born.dt.day > 1))
    age = school_year - born.dt.year - after_1_september
    low, high = AGE_BEYOND_GRADE
    beyond = age - enrolments["grade"]
    odd = age[(beyond < low) | (beyond > high)]
    return Notes("enrolments", tables).grouped("age_grade", list(odd.index), column="grade", values=odd)


def _looked_up(keys: pd.Series, frame: pd.DataFrame, column: str) -> pd.Series:
    """Return `column` of `frame` for each key; its dtype stays even where nothing is found."""
    name = str(keys.name)
    found = frame.dropna(subset=[name]).drop_duplicates(name).set_index(name)[column]
    return found.reindex(pd.Index(keys)).set_axis(keys.index)


@dataclass(frozen=True)
class _Placed:
    """For every row of attendance the student, day, term and school as numbers, -1 where not known.

    `school_of` has a row for each student and a column for each term; `days` and `schools` are names.
    """

    student: NDArray[np.int64]
    day: NDArray[np.int64]
    term: NDArray[np.int64]
    school: NDArray[np.int64]
    school_of: NDArray[np.int64]
    days: pd.DatetimeIndex
    terms: pd.DataFrame
    schools: pd.Index


def _place(tables: Tables, terms: pd.DataFrame) -> _Placed:
    frame, enrolments = tables["attendance"], tables["enrolments"]
    day, days = pd.factorize(frame["date"])
    days = pd.DatetimeIndex(days)
    begun = terms["start"].searchsorted(days, side="right") - 1
    term_of_day = np.where((begun >= 0) & (days <= terms["end"].to_numpy()[begun]), begun, -1)
    student, students = pd.factorize(frame["student_id"])
    school, schools = pd.factorize(enrolments["school_id"])
    school_of = np.full((len(students) + 1, len(terms) + 1), -1, dtype=np.int64)  # last: not known
    at = (
        pd.Index(students).get_indexer(enrolments["student_id"]),
        pd.Index(terms["term"]).get_indexer(enrolments["term"]),
    )
    school_of[at] = school
    school_of[-1], school_of[:, -1] = -1, -1
    term = np.append(term_of_day, -1)[day]
    return _Placed(student, day, term, school_of[student, term], school_of, days, terms, pd.Index(schools))


def _attendance(tables: Tables) -> list[Problem]:
    """Find attendance outside terms and on days without school, and schools without any absence."""
    terms = tables.get_frame("terms").dropna().drop_duplicates("term").sort_values("start", ignore_index=True)
    if terms.empty or not {"attendance", "enrolments"} <= set(tables):
        return []
    placed = _place(tables, terms)
    frame, notes = tables["attendance"], Notes("attendance", tables)
    before_end = np.append(placed.days <= terms["end"].max(), False)
    outside = frame["date"][(placed.term < 0) & before_end[placed.day]]
    no_school = _closed_days(tables, placed)[placed.school, placed.day] & ~frame["code"].isin(_NO_SCHOOL)
    idle = frame["date"][no_school]
    return [
        *notes.grouped("outside_term", list(outside.index), column="date", values=outside),
        *notes.grouped("non_school_day", list(idle.index), column="date", values=idle),
        *_too_perfect(frame["code"], placed, notes),
    ]


def _closed_days(tables: Tables, placed: _Placed) -> NDArray[np.bool_]:
    """Return which days are without school, a row for each school and a column for each day, as in `placed`.

    A school's own calendar wins over everybody's. Where a calendar lists school days, a day within it
    that it does not list is none.
    """
    shape = len(placed.schools) + 1, len(placed.days) + 1
    calendar = tables.get_frame("calendar").dropna(subset=["date", "is_school_day"])
    if calendar.empty:
        return np.zeros(shape, dtype=bool)
    lists_school_days = bool(calendar["is_school_day"].any())
    covered = np.append(placed.days.to_series().between(calendar["date"].min(), calendar["date"].max()), False)
    closed = np.tile(covered & lists_school_days, (shape[0], 1))
    for_all = calendar["school_id"].isna()
    own = calendar[~for_all & calendar["school_id"].isin(placed.schools)]
    day = placed.days.get_indexer(pd.Index(calendar.loc[for_all, "date"]))
    closed[:, day] = ~calendar.loc[for_all, "is_school_day"].to_numpy(dtype=bool)
    school = placed.schools.get_indexer(pd.Index(own["school_id"]))
    day = placed.days.get_indexer(pd.Index(own["date"]))
    closed[school, day] = ~own["is_school_day"].to_numpy(dtype=bool)
    closed[-1], closed[:, -1] = False, False
    return closed


def _too_perfect(codes: pd.Series, placed: _Placed, notes: Notes) -> list[Problem]:
    """Find schools in which everybody was there on every day of a term."""
    terms = placed.school_of.shape[1]
    size = len(placed.schools) * terms
    known = (placed.school >= 0) & (placed.day >= 0)
    cell = placed.school * terms + placed.term
    absences = np.bincount(cell[known & codes.isin(_ABSENT).to_numpy()], minlength=size)
    reported = known & codes.notna().to_numpy() & ~codes.isin([*_NO_SCHOOL, "O"]).to_numpy()
    seen = np.zeros(placed.school_of.shape, dtype=bool)
    seen[placed.student[reported], placed.term[reported]] = True
    students = np.bincount((placed.school_of * terms + np.arange(terms))[seen], minlength=size)
    days = np.zeros((size, len(placed.days)), dtype=bool)
    days[cell[reported], placed.day[reported]] = True
    odd = (absences == 0) & (students >= PERFECT_STUDENTS) & (days.sum(axis=1) >= PERFECT_DAYS)
    return [
        notes.whole(
            "too_perfect", level="warning", column="code", count=int(students[index]),
            value=f"{placed.schools[index // terms]} ({placed.terms['term'][index % terms]})",
        )
        for index in np.flatnonzero(odd)
    ]  # fmt: skip


def _perfect_counts(tables: Tables) -> list[Problem]:
    """Find schools without any absence in the attendance counts of a term."""
    if not {"attendance_counts", "enrolments"} <= set(tables):
        return []
    counts = tables["attendance_counts"]
    counts = counts[counts["days_reported"] >= PERFECT_DAYS]
    rows = counts.merge(tables["enrolments"][["student_id", "term", "school_id"]], on=["student_id", "term"])
    places = rows.groupby(["school_id", "term"]).agg(
        students=("student_id", "nunique"), absences=("days_absent", "sum")
    )
    odd = places[(places["students"] >= PERFECT_STUDENTS) & (places["absences"] == 0)]
    notes = Notes("attendance_counts", tables)
    return [
        notes.whole(
            "too_perfect", level="warning", column="days_absent", count=int(place["students"]),
            value=f"{place['school_id']} ({place['term']})",
        )
        for place in odd.reset_index().to_dict("records")
    ]  # fmt: skip


_CHECKS: tuple[Callable[[Tables], list[Problem]], ...] = (
    _required_values, _duplicates, _references, _terms, _dates, _id_numbers, _ages, _distances, _attendance,
    _perfect_counts,
)  # fmt: skip
