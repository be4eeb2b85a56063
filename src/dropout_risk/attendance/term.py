"""The measures of one term for the tables of a county: from single days, else from the counts of the term."""

import numpy as np
import pandas as pd

from dropout_risk.attendance.matrix import attendance_matrix, attendance_measures
from dropout_risk.schema import Tables


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
