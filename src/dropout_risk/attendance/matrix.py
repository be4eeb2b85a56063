"""The matrix of one term's codes, and the measures read from it."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.arrays import Int64s, as_days, as_int32, day_number, days, labels, span_of_days, texts
from dropout_risk.asof import Students, school_days
from dropout_risk.attendance.codes import CLOSED, CODE, CODES, MEASURES, NOT_REPORTED
from dropout_risk.attendance.ids import Int32s
from dropout_risk.attendance.records import COUNTED, Records, blocks, run_all
from dropout_risk.schema import TABLES, Tables

if TYPE_CHECKING:
    from dropout_risk.attendance.kernel import Bytes, Cells

EDGE_DAYS = (0, 4)
"""Monday and Friday."""

_IS_EDGE = np.isin(np.arange(7), EDGE_DAYS).view(np.uint8)

_THURSDAY = 3
"""The day of the week of the first day of 1970."""

BLOCK_ROWS = 1 << 15
"""Students that one thread measures at a time."""


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

    Examples
    --------
    >>> from dropout_risk.asof import at_risk, cut
    >>> from dropout_risk.synthetic import make_county
    >>> known = cut(make_county(200, terms=1, seed=1), "2019-10-01")
    >>> start, end = pd.Timestamp("2019-09-02"), pd.Timestamp("2019-10-01")
    >>> matrix = attendance_matrix(known, at_risk(known, end), start=start, end=end)
    >>> matrix.codes.shape[1], attendance_measures(matrix).shape[1]
    (30, 8)
    """
    dates, is_school_day = school_days(tables, students["school_id"], start=start, end=end)
    codes = read_cells(tables, Students.of(students), start=day_number(start), end=day_number(end)).T & CODE
    return AttendanceMatrix(students.index, dates, codes, is_school_day & (codes != CLOSED))


def read_cells(tables: Tables, students: Students, *, start: int, end: int) -> "Bytes":
    """Return the cells (d, n) of the days from `start` to `end`, as the kernel keeps them; `tables` are cut already.

    The cut has chosen among records of one day: of what is left, equals, the heavier code wins.
    """
    from dropout_risk.attendance.kernel import BAD, Window

    column = np.arange(max(end - start + 1, 0), dtype=np.int32)
    cells = np.zeros((len(column), len(students.ids)), np.uint8)
    if not may_have_days(tables, start=start, end=end):
        return cells
    records = Records(
        row=students.rows_of(texts(tables, "attendance", "student_id")),
        day=as_int32(days(tables, "attendance", "date")),
        recorded=np.zeros(0, np.int32),
        code=labels(tables, "attendance", "code").astype(np.int32),
        number=np.array([*_NUMBERS, BAD], np.uint8),
    )
    window = Window(start, end, end, end, 0, len(students.ids), column)
    records.write(cells, window, np.zeros(len(COUNTED), np.int64))
    return cells


_NUMBERS = [CODES.index(code) for code in TABLES["attendance"]["code"].allowed]


def may_have_days(tables: Tables, *, start: int, end: int) -> bool:
    """Return whether daily attendance may tell of a day from `start` to `end`: a roster often brings one term only."""
    first, last = span_of_days(tables, "attendance", "date")
    return first <= end and last >= start


def attendance_measures(matrix: AttendanceMatrix) -> pd.DataFrame:
    """Return the attendance measures of each student over the days of `matrix`.

    Returns
    -------
    DataFrame indexed by student: `absence_rate`, `unexcused_rate`, `late_rate`, `not_reported_rate`
    (shares of days), `absent_days_20` (days of the last 20 school days), `longest_absence`,
    `absence_run_now` (school days), `edge_day_gap` (absence rate on Mondays and Fridays minus that of
    other days). All are NaN where the school reported nothing, except `not_reported_rate`.
    """
    n = len(matrix.students)
    cells = np.ascontiguousarray(matrix.codes.T)
    is_open = np.ascontiguousarray(matrix.is_school_day.T)
    school = np.arange(n, dtype=np.int32)
    return as_frame(measure_cells(cells, is_open, school, as_days(matrix.days)), matrix.students)


def measure_cells(
    cells: "Cells", is_open: npt.NDArray[np.bool_], school: Int32s, days: Int64s, *, threads: int = 1
) -> npt.NDArray[np.float64]:
    """Return the measures of the students of `cells` (d, n), shape (8, n).

    Parameters
    ----------
    is_open : bool array (d, m)
        The school days of m schools; those of all students where m is 1.
    school : int32 array (n,)
        The school of each student.
    days : int64 array (d,)
        Numbers since 1970.
    """
    from dropout_risk.attendance.kernel import measure

    measures = np.full((len(MEASURES), cells.shape[1]), np.nan)
    opened = is_open.view(np.uint8)
    on_edge = _IS_EDGE[(days + _THURSDAY) % 7]
    size = BLOCK_ROWS if threads > 1 else max(1, cells.shape[1])
    owns = [slice(*block) for block in blocks(cells.shape[1], size)]
    run_all([partial(measure, cells[:, own], opened, school[own], on_edge, measures[:, own]) for own in owns], threads)
    return measures


def as_frame(measures: npt.NDArray[np.float64], students: pd.Index) -> pd.DataFrame:
    """Return the measures as columns, one row a student."""
    return pd.DataFrame(dict(zip(MEASURES, measures, strict=True)), index=students)


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
    from dropout_risk.attendance.kernel import count_runs

    longest, current = (np.zeros(len(hit), np.int32) for _ in range(2))
    hits, carries = (np.ascontiguousarray(days.T).view(np.uint8) for days in (hit, carry))
    count_runs(hits, carries, longest, current)
    return longest, current
