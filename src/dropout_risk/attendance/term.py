"""The measures of one term for the tables of a county: from single days, else from the counts of the term."""

import numpy as np
import pandas as pd

from dropout_risk.arrays import Coded, Floats, Texts, day_number, matched, numbers, places, texts
from dropout_risk.asof import Students, open_days
from dropout_risk.attendance.codes import MEASURES
from dropout_risk.attendance.matrix import as_frame, measure_cells, read_cells
from dropout_risk.schema import Tables

_RATE = MEASURES.index("absence_rate")


def count_measures(tables: Tables, students: pd.Index, term: str) -> pd.DataFrame:
    """Return the measures that term counts allow; those that need single days are NaN.

    Used for schools that hand in `attendance_counts` instead of daily attendance.
    """
    return as_frame(_counted(tables, students.to_numpy(dtype=object), term), students)


def _counted(tables: Tables, ids: Texts, term: str) -> Floats:
    """Return the measures that term counts allow, (8, n)."""
    of_term, student = texts(tables, "attendance_counts", "term"), texts(tables, "attendance_counts", "student_id")
    rows = np.flatnonzero(of_term.codes == places([term], of_term.names)[0])
    row = np.full(len(ids) + 1, -1)
    row[matched(Coded(student.codes[rows], student.names), Coded(np.zeros(0, np.int32), ids))] = rows
    reported, absent, unexcused, late, silent, longest = (
        np.append(numbers(tables, "attendance_counts", column), np.nan)[row[:-1]]
        for column in (
            "days_reported", "days_absent", "days_unexcused", "days_late", "days_not_reported", "longest_absence"
        )
    )  # fmt: skip
    reported = np.where(reported > 0, reported, np.nan)
    known = np.nan_to_num(reported) + silent
    measures = dict.fromkeys(MEASURES, np.full(len(ids), np.nan))
    measures |= {
        "absence_rate": absent / reported,
        "unexcused_rate": unexcused / reported,
        "late_rate": late / reported,
        "longest_absence": np.where(np.isnan(reported), np.nan, longest),
        "not_reported_rate": silent / np.where(known > 0, known, np.nan),
    }
    return np.array(list(measures.values()))


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
    counted = _counted(tables, students.ids, term)
    return np.where(np.isnan(daily[_RATE]) & ~np.isnan(counted[_RATE]), counted, daily)
