"""The measures of one term for the tables of a county: from single days, else from the counts of the term."""

import numpy as np
import pandas as pd

from dropout_risk.arrays import Coded, Floats, day_number, numbers, texts
from dropout_risk.asof import Students, Terms, open_days, rows_in_term
from dropout_risk.attendance.codes import MEASURES
from dropout_risk.attendance.matrix import as_frame, may_have_days, measure_cells, read_cells
from dropout_risk.schema import Tables

_RATE = MEASURES.index("absence_rate")


def count_measures(tables: Tables, students: pd.Index, term: str) -> pd.DataFrame:
    """Return the measures that term counts allow; those that need single days are NaN.

    Used for schools that hand in `attendance_counts` instead of daily attendance.
    """
    ids = students.to_numpy(dtype=object)
    return as_frame(
        _counted(tables, Students.without_table(ids, Coded(np.full(len(ids), -1), ids[:0])), term), students
    )


def _counted(tables: Tables, students: Students, term: str) -> Floats:
    """Return the measures that term counts allow, (8, n)."""
    rows = rows_in_term(tables, "attendance_counts", term)
    row = np.full(len(students.ids) + 1, -1)
    row[students.rows_of(texts(tables, "attendance_counts", "student_id"))[rows]] = rows
    reported, absent, unexcused, late, silent, longest = (
        np.append(numbers(tables, "attendance_counts", column), np.nan)[row[:-1]]
        for column in (
            "days_reported", "days_absent", "days_unexcused", "days_late", "days_not_reported", "longest_absence"
        )
    )  # fmt: skip
    reported = np.where(reported > 0, reported, np.nan)
    known = np.nan_to_num(reported) + silent
    measures = dict.fromkeys(MEASURES, np.full(len(students.ids), np.nan))
    measures |= {
        "absence_rate": absent / reported,
        "unexcused_rate": unexcused / reported,
        "late_rate": late / reported,
        "longest_absence": np.where(np.isnan(reported), np.nan, longest),
        "not_reported_rate": silent / np.where(known > 0, known, np.nan),
    }
    return np.array(list(measures.values()))


def tells_of_term(tables: Tables, term: str) -> bool:
    """Return whether single days or term counts may tell of anybody's attendance in a term.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> tables = make_county(100, terms=2, seed=1)
    >>> tells_of_term(tables, "2019-2020-1"), tells_of_term(tables.without("attendance"), "2019-2020-1")
    (True, False)
    """
    terms = Terms.of(tables)
    start, end = day_number(terms.start(term)), day_number(terms.end(term))
    return "attendance_counts" in tables or may_have_days(tables, start=start, end=end)


def term_attendance(
    tables: Tables, students: pd.DataFrame, *, term: str, start: pd.Timestamp, end: pd.Timestamp
) -> pd.DataFrame:
    """Return the measures of one term from daily attendance, filled up from term counts.

    Parameters
    ----------
    tables
        Tables already cut; `end` is the end of the term or the as-of date, whichever is earlier.
    students
        Frame indexed by student_id with the column `school_id`.
    """
    return as_frame(term_measures(tables, Students.of(students), term=term, start=start, end=end), students.index)


def term_measures(tables: Tables, students: Students, *, term: str, start: pd.Timestamp, end: pd.Timestamp) -> Floats:
    """Return what `term_attendance` returns as one array, measures as `MEASURES`, (8, n)."""
    first, last = day_number(start), day_number(end)
    cells = read_cells(tables, students, start=first, end=last)
    is_open = open_days(tables, students.school.names, start=first, end=last)
    closed = np.zeros((1, is_open.shape[1]), dtype=bool)  # for a student of no known school
    opened = np.ascontiguousarray(np.concatenate([is_open, closed]).T)
    school = np.where(students.school.codes < 0, len(is_open), students.school.codes).astype(np.int32)
    daily = measure_cells(cells, opened, school, np.arange(first, last + 1))
    if "attendance_counts" not in tables:
        return daily
    counted = _counted(tables, students, term)
    return np.where(np.isnan(daily[_RATE]) & ~np.isnan(counted[_RATE]), counted, daily)
