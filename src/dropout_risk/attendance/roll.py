"""Who is asked for, and on which days each school has lessons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dropout_risk.arrays import as_days
from dropout_risk.asof import cut, school_days
from dropout_risk.attendance.ids import Int32s
from dropout_risk.attendance.matrix import measure_cells
from dropout_risk.errors import ColumnsError, SettingsError
from dropout_risk.schema import Tables, empty_frame

if TYPE_CHECKING:
    from dropout_risk.attendance.kernel import Cells


@dataclass(frozen=True)
class Roll:
    """The students, and the school of each where schools are told apart."""

    ids: pd.Index
    schools: pd.Series | None

    @classmethod
    def of(cls, students: Any) -> "Roll":
        """Read a frame with `student_id` (and `school_id`), or ids alone."""
        students = _as_pandas(students)
        if not isinstance(students, pd.DataFrame):
            return cls(_as_ids(students), None)
        if "student_id" in students.columns:
            students = students.set_index("student_id")
        elif students.index.name != "student_id":
            names = ", ".join(map(str, students.columns))
            raise ColumnsError(f"The students have no column student_id. They have: {names}.")
        return cls(students.index, students["school_id"] if "school_id" in students.columns else None)


def _as_ids(students: Any) -> pd.Index:
    if isinstance(students, str) or not isinstance(students, Sequence | np.ndarray | pd.Index | pd.Series):
        kind = type(students).__name__
        raise SettingsError(f"Students cannot be read from {kind}; hand in a frame with student_id, or ids.")
    return pd.Index(students, name="student_id")


def _as_pandas(frame: Any) -> Any:
    """Return what speaks Arrow as pandas does, and everything else as it is."""
    if isinstance(frame, pd.DataFrame | pd.Series | pd.Index) or not hasattr(frame, "__arrow_c_stream__"):
        return frame
    stream = pa.table(frame) if hasattr(frame, "columns") else pa.chunked_array(frame)
    return stream.to_pandas()


@dataclass(frozen=True)
class Schools:
    """The school days of each school: planned, or found in the records.

    Attributes
    ----------
    place : int32 array (n,)
        The school of each student.
    days : DatetimeIndex of length d
        From the first to the last one.
    is_open : bool array (d, schools)
    unplanned : bool array (schools,)
        Schools without a calendar.
    """

    place: Int32s
    days: pd.DatetimeIndex
    is_open: npt.NDArray[np.bool_]
    unplanned: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        schools: pd.Series | None,
        calendar: Any,
        *,
        n: int,
        as_of: pd.Timestamp,
        start: pd.Timestamp,
        end: pd.Timestamp,
    ) -> "Schools":
        """Return the days from `start` to `end` as the calendar, as known on `as_of`, plans them.

        Parameters
        ----------
        schools
            Of each student; None where all n have the same days.
        """
        place, names = (np.zeros(n, np.intp), pd.Index([""])) if schools is None else pd.factorize(_as_names(schools))
        planned = _known_calendar(calendar, as_of)
        days, is_open = school_days(planned, pd.Series(names, dtype="str"), start=start, end=end)
        unplanned = _unplanned(planned["calendar"], pd.Index(names), start, end)
        if not unplanned.any() and len(names) > 1:  # schools with the same days are one
            is_open, alike = np.unique(is_open, axis=0, return_inverse=True)
            place, unplanned = alike.reshape(-1)[place], np.zeros(len(is_open), dtype=bool)
        return cls(place.astype(np.int32), days, np.ascontiguousarray(is_open.T), unplanned)

    def columns(self) -> Int32s:
        """Return where the matrix keeps each day: -1 for days on which no school can be open."""
        column = np.cumsum(self._kept, dtype=np.int32) - 1
        return np.where(self._kept, column, -1).astype(np.int32)

    @property
    def _kept(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.is_open.any(axis=1) | self.unplanned.any())

    def add_reported(self, cells: "Cells", first: int, last: int) -> None:
        """Let unplanned schools be open on the days that students `first` to `last` have records of."""
        from dropout_risk.attendance.kernel import mark_reported

        if self.unplanned.any():
            reported = np.zeros(self.is_open.shape, np.uint8)
            mark_reported(cells, self.place[first:last], reported)
            self.is_open[:, self.unplanned] |= reported[:, self.unplanned].astype(bool)

    def measure(self, cells: "Cells", first: int, last: int, *, threads: int) -> npt.NDArray[np.float64]:
        """Return the measures of students `first` to `last`, shape (8, last - first)."""
        kept = self._kept
        return measure_cells(
            cells, self.is_open[kept], self.place[first:last], as_days(self.days[kept]), threads=threads
        )


def _as_names(schools: pd.Series) -> pd.Series:
    """Return school ids as text, whole numbers beside missing values included."""
    if pd.api.types.is_float_dtype(schools.dtype):
        schools = schools.astype("Int64")
    return schools.astype("str").fillna("")


def _known_calendar(calendar: Any, as_of: pd.Timestamp) -> Tables:
    """Return the calendar with the schema's columns, cut at `as_of`."""
    if calendar is None:
        return Tables({"calendar": empty_frame("calendar")})
    frame = _as_pandas(calendar)
    if missing := [column for column in ("date", "is_school_day") if column not in frame.columns]:
        raise ColumnsError(f"The calendar has no column {', '.join(missing)}.")
    frame = frame.reset_index(drop=True).reindex(columns=empty_frame("calendar").columns)
    frame = frame.assign(
        school_id=_as_names(frame["school_id"]),
        date=_as_days(frame["date"], "date"),
        recorded_at=_as_days(frame["recorded_at"], "recorded_at"),
        is_school_day=frame["is_school_day"].astype("boolean"),
        reason="",
    )
    return cut(Tables({"calendar": frame}), as_of)


def _as_days(values: pd.Series, name: str) -> pd.Series:
    try:
        days: pd.Series = pd.to_datetime(values).dt.tz_localize(None).dt.normalize().dt.as_unit("us")
    except (ValueError, TypeError, AttributeError) as error:
        raise ColumnsError(f"The column {name} of the calendar holds something that is not a date: {error}.") from error
    return days


def _unplanned(
    calendar: pd.DataFrame, names: pd.Index, start: pd.Timestamp, end: pd.Timestamp
) -> npt.NDArray[np.bool_]:
    planned = calendar.loc[calendar["date"].between(start, end), "school_id"]
    if (planned == "").any():
        return np.zeros(len(names), dtype=bool)
    return np.asarray(~names.isin(planned))
