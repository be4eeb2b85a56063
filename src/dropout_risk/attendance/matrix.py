"""The matrix of one term's codes, and the measures read from it."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.asof import school_days
from dropout_risk.attendance.codes import CLOSED, MEASURES, NOT_REPORTED
from dropout_risk.attendance.ids import Int32s, StudentIndex
from dropout_risk.attendance.records import Reading, blocks, run_all
from dropout_risk.attendance.source import COLUMNS, open_source
from dropout_risk.schema import Tables

if TYPE_CHECKING:
    from dropout_risk.attendance.kernel import Cells

EDGE_DAYS = (0, 4)
"""Monday and Friday."""

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
    days, is_school_day = school_days(tables, students["school_id"], start=start, end=end)
    records = tables.get_frame("attendance")
    if records.empty or students.empty:
        codes: npt.NDArray[Any] = np.zeros((len(students), len(days)), np.uint8)
    else:
        # the cut has chosen among records of one day already: what is left are equals, the heavier code wins
        source = open_source(records[list(COLUMNS)])
        reading = Reading(source, StudentIndex.of(students.index), start, end, as_of=end)
        cells = reading.read(np.arange(len(days), dtype=np.int32), 0, len(students))
        codes = (cells & 0x0F).T
    return AttendanceMatrix(students.index, days, codes, is_school_day & (codes != CLOSED))


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
    return as_frame(measure_cells(cells, is_open, np.arange(n, dtype=np.int32), matrix.days), matrix.students)


def measure_cells(
    cells: "Cells", is_open: npt.NDArray[np.bool_], school: Int32s, days: pd.DatetimeIndex, *, threads: int = 1
) -> npt.NDArray[np.float64]:
    """Return the measures of the students of `cells` (d, n), shape (8, n).

    Parameters
    ----------
    is_open : bool array (d, m)
        The school days of m schools; those of all students where m is 1.
    school : int32 array (n,)
        The school of each student.
    """
    from dropout_risk.attendance.kernel import measure

    measures = np.full((len(MEASURES), cells.shape[1]), np.nan)
    opened = is_open.view(np.uint8)
    on_edge = np.isin(days.day_of_week, EDGE_DAYS).view(np.uint8)
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
