"""Attendance as a dense student × day matrix of codes, and the measures read from it.

A term has at most about 140 days, so one byte a student and day holds it without sorting. A day that
the school did not report (`N`, or no row on a school day) stays apart from a day on which the student
was present: it counts neither as attended nor as absent, and neither breaks nor lengthens a run.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dropout_risk.asof import school_days
from dropout_risk.schema import ATTENDANCE_CODES, Tables

RECENT_DAYS = 20
"""School days in the recent window: four weeks."""

CODES = ("N", "X", "P", "O", "L", "E", "S", "A", "U")
"""Codes by rising weight: of two reports of one day made at the same time, the heavier one is kept."""

NOT_REPORTED, CLOSED = CODES.index("N"), CODES.index("X")
LATE = [CODES.index(code) for code in "LE"]
ABSENT = [CODES.index(code) for code in "SAU"]
UNEXCUSED = [CODES.index("U")]

if set(CODES) != set(ATTENDANCE_CODES):
    raise AssertionError("attendance.CODES and schema.ATTENDANCE_CODES name different codes")


@dataclass(frozen=True)
class AttendanceMatrix:
    """Codes of n students on d days.

    Attributes
    ----------
    students : Index of length n
    days : DatetimeIndex of length d
    codes : uint8 array (n, d), positions in `CODES`
    is_school_day : bool array (n, d), after days closed for the class are taken out
    """

    students: pd.Index
    days: pd.DatetimeIndex
    codes: np.ndarray
    is_school_day: np.ndarray

    @property
    def reported(self) -> np.ndarray:
        """Whether the school reported the student on that school day, (n, d)."""
        return np.asarray(self.is_school_day & (self.codes != NOT_REPORTED))

    def has(self, codes: list[int]) -> np.ndarray:
        """Return on which school days the student had one of `codes`, (n, d)."""
        return self.is_school_day & np.isin(self.codes, codes)


def attendance_matrix(
    tables: Tables, students: pd.DataFrame, *, start: pd.Timestamp, end: pd.Timestamp
) -> AttendanceMatrix:
    """Return the attendance of `students` from `start` to `end`, both included.

    Parameters
    ----------
    tables
        Tables already cut at the as-of date.
    students
        Frame indexed by student_id with the column `school_id` (whose calendar counts).
    """
    days, is_school_day = school_days(tables, students["school_id"], start=start, end=end)
    codes = np.zeros((len(students), len(days)), dtype=np.uint8)
    records = tables.get_frame("attendance")
    records = records[records["date"].between(start, end)]
    row = students.index.get_indexer(pd.Index(records["student_id"]))
    column = days.get_indexer(pd.Index(records["date"]))
    code = _code_numbers(records["code"])
    known = (row >= 0) & (code >= 0)
    np.maximum.at(codes, (row[known], column[known]), code[known].astype(np.uint8))
    return AttendanceMatrix(students.index, days, codes, is_school_day & (codes != CLOSED))


def _code_numbers(codes: pd.Series) -> np.ndarray:
    """Return the position in `CODES` of each value of a categorical column, -1 where there is none."""
    number = np.append(pd.Index(CODES).get_indexer(pd.Index(codes.cat.categories)), -1)
    return np.asarray(number[codes.cat.codes])


def runs(hit: np.ndarray, carry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest run and the run still open at the end, for each row.

    Parameters
    ----------
    hit : bool array (n, d)
        Days that lengthen a run.
    carry : bool array (n, d)
        Days that neither lengthen nor break it (no school, not reported).

    Examples
    --------
    >>> hit = np.array([[1, 1, 0, 1, 0, 1]], bool); carry = np.array([[0, 0, 1, 0, 0, 0]], bool)
    >>> longest, current = runs(hit, carry)
    >>> longest.tolist(), current.tolist()
    ([3], [1])
    """
    current = np.zeros(len(hit), dtype=np.int32)
    longest = current.copy()
    for day in range(hit.shape[1]):
        current = np.where(hit[:, day], current + 1, np.where(carry[:, day], current, 0))
        np.maximum(longest, current, out=longest)
    return longest, current


def attendance_measures(matrix: AttendanceMatrix) -> pd.DataFrame:
    """Return the attendance measures of each student over the days of `matrix`.

    Returns
    -------
    DataFrame indexed by student: `absence_rate`, `unexcused_rate`, `late_rate`, `not_reported_rate`
    (shares of days), `absent_days_20` (days of the last 20 school days), `longest_absence`,
    `absence_run_now` (school days), `edge_day_gap` (absence rate on Mondays and Fridays minus that of
    other days). All are NaN where the school reported nothing, except `not_reported_rate`.
    """
    reported, absent = matrix.reported, matrix.has(ABSENT)
    recent = matrix.is_school_day & (_days_to_end(matrix.is_school_day) <= RECENT_DAYS)
    longest, current = runs(absent, ~reported)
    on_edge = np.isin(matrix.days.day_of_week, (0, 4))[None, :]
    measures = pd.DataFrame(
        {
            "absence_rate": _share(absent, reported),
            "unexcused_rate": _share(matrix.has(UNEXCUSED), reported),
            "late_rate": _share(matrix.has(LATE), reported),
            "absent_days_20": _count_where_known(absent & recent, reported & recent),
            "longest_absence": np.where(reported.any(axis=1), longest, np.nan),
            "absence_run_now": np.where(reported.any(axis=1), current, np.nan),
            "edge_day_gap": _share(absent & on_edge, reported & on_edge)
            - _share(absent & ~on_edge, reported & ~on_edge),
            "not_reported_rate": 1 - _share(reported, matrix.is_school_day),
        },
        index=matrix.students,
    )
    return measures


def _days_to_end(is_school_day: np.ndarray) -> np.ndarray:
    """Count each school day backwards from the last one, which is 1."""
    return is_school_day[:, ::-1].cumsum(axis=1, dtype=np.int32)[:, ::-1]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    n_whole = whole.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_whole > 0, part.sum(axis=1) / n_whole, np.nan)


def _count_where_known(part: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known.any(axis=1), part.sum(axis=1).astype(float), np.nan)


def count_measures(tables: Tables, students: pd.Index, term: str) -> pd.DataFrame:
    """Return the measures that term counts allow; those that need single days are NaN.

    Used for schools that hand in `attendance_counts` instead of daily attendance.
    """
    counts = tables.get_frame("attendance_counts")
    counts = counts[counts["term"] == term].set_index("student_id").reindex(students)
    reported = counts["days_reported"].where(counts["days_reported"] > 0)
    known = reported.fillna(0) + counts["days_not_reported"]
    return pd.DataFrame(
        {
            "absence_rate": counts["days_absent"] / reported,
            "unexcused_rate": counts["days_unexcused"] / reported,
            "late_rate": counts["days_late"] / reported,
            "absent_days_20": np.nan,
            "longest_absence": counts["longest_absence"].where(reported.notna()),
            "absence_run_now": np.nan,
            "edge_day_gap": np.nan,
            "not_reported_rate": counts["days_not_reported"] / known.where(known > 0),
        },
        index=students,
    )


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
    counts = count_measures(tables, students.index, term)
    daily = attendance_measures(attendance_matrix(tables, students, start=start, end=end))
    no_daily = daily["absence_rate"].isna() & counts["absence_rate"].notna()
    return daily.where(~no_daily, counts)
