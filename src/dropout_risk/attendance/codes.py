"""The codes of a day, as numbers whose order says which report weighs more and what a day counts as."""

from dropout_risk.schema import ATTENDANCE_CODES

CODES = ("N", "X", "P", "O", "L", "E", "S", "A", "U")
"""Codes by rising weight: of two reports of one day made at the same time, the heavier one is kept."""

NOT_REPORTED, CLOSED = CODES.index("N"), CODES.index("X")
LATE = [CODES.index(code) for code in "LE"]
ABSENT = [CODES.index(code) for code in "SAU"]
UNEXCUSED = [CODES.index("U")]

CODE = 0x0F
"""The bits of a cell of the matrix that hold the code."""

RECENT_DAYS = 20
"""School days in the recent window: four weeks."""

MEASURES = (
    "absence_rate",
    "unexcused_rate",
    "late_rate",
    "absent_days_20",
    "longest_absence",
    "absence_run_now",
    "edge_day_gap",
    "not_reported_rate",
)
"""The measures of a student's days, in the order of their columns."""

if set(CODES) != set(ATTENDANCE_CODES):
    raise AssertionError("attendance.CODES and schema.ATTENDANCE_CODES name different codes")
