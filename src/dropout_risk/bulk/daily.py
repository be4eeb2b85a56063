"""Term features whose attendance comes from daily records: measured in one pass before scoring."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dropout_risk.attendance import MEASURES, attendance_features
from dropout_risk.bulk.partitions import Partition, fingerprint_of
from dropout_risk.errors import SettingsError
from dropout_risk.tables import atomic_path, read_tables

FILE = "attendance.npy"


@dataclass(frozen=True)
class DailyAttendance:
    """Where the daily records are, and which days count.

    Parameters
    ----------
    source : str
        A Parquet file of records, or a folder of them, as `attendance_features` reads it.
    start : str
        First day of the running term.
    calendar : str, optional
        File of the table `calendar`; without it, schools have lessons on the days for which they report something.
    last_term : tuple of str, optional
        First and last day of the term before, for the change of absence since then. Without it that feature has to
        be in the table of features.
    """

    source: str
    start: str
    calendar: str | None = None
    last_term: tuple[str, str] | None = None

    @property
    def features(self) -> list[str]:
        """The features that come from the records; they replace columns of these names."""
        return [*MEASURES, "school_absence_rate", *(["absence_change"] if self.last_term else [])]

    def fingerprint(self) -> dict[str, Any]:
        """Return what says that these are the same records and days."""
        files = [one for path in (self.source, self.calendar) if path for one in fingerprint_of(Path(path))]
        return {**asdict(self), "files": files}

    def with_columns(self, batch: pa.RecordBatch, work: Path, first: int) -> pa.RecordBatch:
        """Return the batch with the measured features of its rows, the first of which is row `first` of all."""
        measured = np.load(work / FILE, mmap_mode="r")[:, first : first + batch.num_rows]
        own = {name: batch.column(name) for name in batch.schema.names if name not in self.features}
        return pa.RecordBatch.from_pydict({**own, **dict(zip(self.features, map(pa.array, measured), strict=True))})


def write_attendance(
    work: Path, partitions: list[Partition], daily: DailyAttendance, *, key: str, day: str | None, threads: int
) -> None:
    """Measure the attendance of every row of the partitions, and keep it in their order."""
    if (work / FILE).exists():
        return
    if day is None:
        raise SettingsError("Daily attendance is measured as of a day; give it with --as-of 2022-07-08.")
    roster = _roster(partitions, key)
    measured = _measured(roster, daily, day, threads)
    with atomic_path(work / FILE) as fresh:
        np.save(fresh, measured)


def _roster(partitions: list[Partition], key: str) -> pd.DataFrame:
    """Return the id and the school of every row, in the order of the partitions."""
    tables = []
    for partition in partitions:
        names = [key, *(["school_id"] if "school_id" in pq.read_schema(partition.path).names else [])]
        tables.append(pq.ParquetFile(partition.path).read_row_groups(list(partition.row_groups), columns=names))
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
    return frame.rename(columns={key: "student_id"})


def _calendar(path: str | None) -> pd.DataFrame | None:
    return None if path is None else read_tables(path).get_frame("calendar")


def _measured(roster: pd.DataFrame, daily: DailyAttendance, day: str, threads: int) -> npt.NDArray[np.float64]:
    """Return the features of each row, shape (n_features, n); NaN where the row has no id."""
    students = roster.dropna(subset=["student_id"]).drop_duplicates("student_id")
    known: dict[str, Any] = {"as_of": day, "calendar": _calendar(daily.calendar), "threads": threads}
    now = attendance_features(daily.source, students, start=daily.start, **known)
    if daily.last_term is not None:
        start, end = daily.last_term
        then = attendance_features(daily.source, students, start=start, end=end, **known)
        now["absence_change"] = now["absence_rate"] - then["absence_rate"]
    if "school_id" in students:
        rate = now["absence_rate"].groupby(students["school_id"].to_numpy()).mean().round(6)
        now["school_absence_rate"] = students["school_id"].map(rate).to_numpy()
    else:
        now["school_absence_rate"] = np.nan
    place = now.index.get_indexer(pd.Index(roster["student_id"]))
    columns = now[daily.features].to_numpy().T
    return np.where(place < 0, np.nan, columns[:, place])
