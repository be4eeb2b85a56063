"""Attendance as a dense student × day matrix of codes, and the measures read from it.

A term has at most about 140 days, so one or two bytes a student and day hold it without sorting. A day that
the school did not report (`N`, or no row on a school day) stays apart from a day on which the student
was present: it counts neither as attended nor as absent, and neither breaks nor lengthens a run.

1. Records come as Arrow batches, whatever they are kept in (`source`).
2. The row of each record's student is found by the bytes of its id (`ids`), and the record is put into the
   matrix, where the one made last wins (`records`).
3. The measures are counted day by day for many students at once (`kernel`).

`attendance_features` reads records larger than memory (`stream`); `term_attendance` reads the tables of a county
that are cut already (`matrix`, `term`). Both go through the same compiled functions, and numba, which compiles
them, is only imported when one is called.
"""

from dropout_risk.attendance.codes import (
    ABSENT,
    CLOSED,
    CODES,
    LATE,
    MEASURES,
    NOT_REPORTED,
    RECENT_DAYS,
    UNEXCUSED,
)
from dropout_risk.attendance.matrix import AttendanceMatrix, attendance_matrix, attendance_measures, runs
from dropout_risk.attendance.stream import attendance_features
from dropout_risk.attendance.term import count_measures, tells_of_term, term_attendance, term_measures

__all__ = [
    "ABSENT",
    "AttendanceMatrix",
    "CLOSED",
    "CODES",
    "LATE",
    "MEASURES",
    "NOT_REPORTED",
    "RECENT_DAYS",
    "UNEXCUSED",
    "attendance_features",
    "attendance_matrix",
    "attendance_measures",
    "count_measures",
    "runs",
    "tells_of_term",
    "term_attendance",
    "term_measures",
]
