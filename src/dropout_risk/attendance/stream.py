"""The measures of a term whose attendance is larger than memory: one pass over the records."""

from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.asof import to_day
from dropout_risk.attendance.ids import StudentIndex
from dropout_risk.attendance.matrix import as_frame
from dropout_risk.attendance.records import Progress, Reading, blocks, told
from dropout_risk.attendance.roll import Roll, Schools
from dropout_risk.attendance.source import open_source
from dropout_risk.errors import SettingsError

BLOCK_BYTES = 1 << 29
Day = str | date | pd.Timestamp


def attendance_features(
    source: Any,
    students: Any,
    *,
    as_of: Day,
    start: Day,
    end: Day | None = None,
    calendar: Any = None,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the attendance measures of each student, from records that need not fit into memory.

    The numbers are those that `build_features` takes from the same records, and do not depend on their order.

    Parameters
    ----------
    source
        The records, with the columns `student_id` (text or whole numbers), `date`, `code` and, where corrections
        are kept, `recorded_at`: a Parquet file, a folder or a list of them; an Arrow table, reader or dataset; a
        data frame of pandas, Polars or any other library that speaks Arrow.
    students
        The students to measure: a frame with `student_id` and, where schools have days of their own, `school_id`;
        or the ids alone.
    as_of
        The last day that may be known: a record that was made later does not count. A record without a
        `recorded_at` was made on its day.
    start, end
        First and last day of the term; `end` is `as_of` where it is not given or lies later.
    calendar
        Frame with the columns of the table `calendar`. A school's own rows win over those without a `school_id`.
        A school without any has its lessons on the days for which it reports something.
    threads
        How many threads read, decode and measure.
    block_bytes
        Upper bound of the matrix of codes. A larger one is worked off in blocks of students, each with a pass over
        the records (two, where school days follow from the records).
    progress
        Called with the records read so far and those to read in all, 0 where that is not known.

    Returns
    -------
    DataFrame of float64
        Indexed by student_id in the order of `students`, columns as `attendance_measures`. ``attrs["records"]``
        counts what became of the records: `used`, `code_unreadable` (used as not reported), `without_id`,
        `without_date`, `unknown_student`, `outside_days` and `recorded_later`.

    Raises
    ------
    TableError
        When a file cannot be read, or a student stands twice.
    ColumnsError
        When a column is missing or of a kind that cannot be used.
    SettingsError
        When days or numbers make no sense, or a stream would have to be read twice.

    Examples
    --------
    >>> days = pd.to_datetime(["2019-09-02", "2019-09-03", "2019-09-04"])
    >>> records = pd.DataFrame({"student_id": "a", "date": days, "code": ["P", "U", "U"]})
    >>> measured = attendance_features(records, ["a"], as_of="2019-09-03", start="2019-09-02")
    >>> measured.loc["a", ["absence_rate", "absence_run_now"]].tolist(), measured.attrs["records"]["outside_days"]
    ([0.5, 1.0], 1)

    Notes
    -----
    Days are what counts: the hour of a timestamp is left out. Of several records of one student and day the one
    made last wins; of those made on one day, the heavier code (see `CODES`), as in `asof.cut`. All records made more
    than 4,000 days before `as_of` count as made on one day.
    """
    day = to_day(as_of)
    first, last = to_day(start), min(day, day if end is None else to_day(end))
    _check(first, last, threads, block_bytes)
    roll = Roll.of(students)
    school = Schools.of(roll.schools, calendar, n=len(roll.ids), as_of=day, start=first, end=last)
    index = StudentIndex.of(roll.ids)
    reading = Reading(open_source(source), index, first, last, day, threads, progress)
    measures = _measure(reading, school, len(roll.ids), block_bytes)
    frame = as_frame(measures, roll.ids)
    frame.attrs["records"] = told(reading.counts)
    return frame


def _check(start: pd.Timestamp, end: pd.Timestamp, threads: int, block_bytes: int) -> None:
    if start > end:
        raise SettingsError(f"The first day, {start.date()}, lies after the last one that counts, {end.date()}.")
    if threads < 1:
        raise SettingsError(f"threads={threads} has to be at least 1.")
    if block_bytes < 1:
        raise SettingsError(f"block_bytes={block_bytes} has to be at least 1.")


def _measure(reading: Reading, school: Schools, n: int, block_bytes: int) -> npt.NDArray[np.float64]:
    """Return the measures of all students, block by block."""
    column = school.columns()
    a_student = (int(column.max(initial=-1)) + 1) * (2 if reading.source.has_recorded else 1)
    cut_up = list(blocks(n, max(1, block_bytes // max(1, a_student)))) or [(0, 0)]
    find_days_first = bool(school.unplanned.any()) and len(cut_up) > 1
    reading.passes = len(cut_up) * (2 if find_days_first else 1)
    if find_days_first:
        for block in cut_up:
            school.add_reported(reading.read(column, *block), *block)
    measures = []
    for block in cut_up:
        cells = reading.read(column, *block)
        if not find_days_first:
            school.add_reported(cells, *block)
        measures.append(school.measure(cells, *block, threads=reading.threads))
    return np.concatenate(measures, axis=1)
