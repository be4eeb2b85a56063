"""Put the records of a source into the matrix of codes, with as many threads as are given."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dropout_risk.arrays import day_number
from dropout_risk.attendance.codes import CODES
from dropout_risk.attendance.ids import Int32s, StudentIndex, numbers_of
from dropout_risk.attendance.source import RECORDED, Part, Source
from dropout_risk.errors import ColumnsError, SettingsError

if TYPE_CHECKING:
    from dropout_risk.attendance.kernel import Cells, Window

Progress = Callable[[int, int], None]
"""Told after each batch: records read so far, and records to read in all (0: not known)."""

COUNTED = (
    "used", "code_unreadable", "without_id", "without_date", "unknown_student", "outside_days", "recorded_later"
)  # fmt: skip
"""What becomes of a record, in the order of the kernel's counts."""

OLDEST = 4000
"""Days before the as-of date whose order of recording is told apart; 12 bits of a cell hold them."""


@dataclass
class Reading:
    """Reads a source once or several times, each time for a block of students.

    Attributes
    ----------
    counts : int64 array
        What became of the records, places as `COUNTED`; of the first time only, since all times are alike.
    """

    source: Source
    students: StudentIndex
    start: pd.Timestamp
    end: pd.Timestamp
    as_of: pd.Timestamp
    threads: int = 1
    progress: Progress | None = None
    passes: int = 1
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(COUNTED), np.int64))
    _done: int = 0
    _times: int = 0

    def read(self, column: Int32s, first: int, last: int) -> "Cells":
        """Return the cells (d, last - first) of the students from row `first` on.

        Parameters
        ----------
        column
            Where each day from `start` to `end` is kept; -1 for days of no interest.
        """
        if self._times and not self.source.again:
            raise SettingsError(
                "A stream can be read only once, and the matrix of all students is larger than block_bytes; raise it, "
                "or hand in a file or a table."
            )
        dtype = np.uint16 if self.source.has_recorded else np.uint8
        cells = np.zeros((int(column.max(initial=-1)) + 1, last - first), dtype)
        counts = np.zeros_like(self.counts)
        self._fill(cells, self._window(column, first, last), counts)
        if not self._times:
            self.counts = counts
        self._times += 1
        return cells

    def _window(self, column: Int32s, first: int, last: int) -> "Window":
        from dropout_risk.attendance.kernel import Window

        as_of = day_number(self.as_of)
        base = as_of - OLDEST if self.source.has_recorded else as_of
        return Window(day_number(self.start), day_number(self.end), as_of, base, first, last, column)

    def _fill(self, cells: "Cells", window: "Window", counts: npt.NDArray[np.int64]) -> None:
        parts, next_part, next_write = self.source.parts(self._is_outside), Lock(), Lock()
        failed: list[BaseException] = []

        def take() -> Part | int | None:
            with next_part:
                return None if failed else next(parts, None)

        def write(batch: pa.RecordBatch) -> None:
            records = read_batch(batch, self.students)
            with next_write:  # reading and finding students takes the time; two writers could lose a record
                records.write(cells, window, counts)
                self._tell(len(batch))

        def work() -> None:
            try:
                while (part := take()) is not None:
                    if isinstance(part, int):
                        with next_write:
                            counts[COUNTED.index("outside_days")] += part
                            self._tell(part)
                        continue
                    for batch in part():
                        write(batch)
            except BaseException as error:
                failed.append(error)
                raise

        run_all([work] * self.threads, self.threads)

    def _is_outside(self, first: Any, last: Any) -> bool:
        try:
            first, last = (pd.Timestamp(day).tz_localize(None) for day in (first, last))
        except (ValueError, TypeError):
            return False
        # a day to spare for the hours of a time zone
        return bool(last < self.start - pd.Timedelta(days=1) or first > self.end + pd.Timedelta(days=2))

    def _tell(self, n: int) -> None:
        self._done += n
        if self.progress is not None:
            self.progress(self._done, (self.source.n_records or 0) * self.passes)


def run_all(jobs: list[Callable[[], None]], threads: int) -> None:
    """Run `jobs`, several at a time; the first error is raised when all have ended."""
    if threads == 1 or len(jobs) == 1:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


@dataclass(frozen=True)
class Records:
    """A batch of records as numbers."""

    row: Int32s
    day: Int32s
    recorded: Int32s
    code: Int32s
    number: npt.NDArray[np.uint8]

    def write(self, cells: "Cells", window: "Window", counts: npt.NDArray[np.int64]) -> None:
        """Put the records into `cells` and add to `counts` what became of them."""
        from dropout_risk.attendance.kernel import scatter

        row, day, recorded, code = (values.view() for values in (self.row, self.day, self.recorded, self.code))
        number = self.number.view()
        for values in (row, day, recorded, code, number):
            values.flags.writeable = False  # one kind of array, one compiled function
        scatter(cells, row, day, recorded, code, number, window, counts)


def read_batch(batch: pa.RecordBatch, students: StudentIndex) -> Records:
    """Return the records of a batch as numbers."""
    code, number = _codes(batch.column("code"))
    recorded = np.zeros(0, np.int32)
    if RECORDED in batch.schema.names and batch.column(RECORDED).null_count < len(batch):
        recorded = _days(batch.column(RECORDED), RECORDED)
    return Records(
        students.rows_of(batch.column("student_id")), _days(batch.column("date"), "date"), recorded, code, number
    )


def _days(column: pa.Array, name: str) -> Int32s:
    """Return days since 1970; the hour of a timestamp does not count."""
    from dropout_risk.attendance.kernel import NO_DAY

    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.floor_temporal(pc.local_timestamp(column) if kind.tz else column, unit="day").cast(pa.date32())
    elif pa.types.is_date64(kind) or pa.types.is_null(kind):
        column = column.cast(pa.date32())
    elif not pa.types.is_date32(kind):
        raise ColumnsError(f"The column {name} of the attendance holds {kind}; turn it into dates.")
    return numbers_of(column, NO_DAY)


def _codes(column: pa.Array) -> tuple[Int32s, npt.NDArray[np.uint8]]:
    """Return the place of each code among those of the column, and what each of these stands for."""
    from dropout_risk.attendance.kernel import BAD

    if not pa.types.is_dictionary(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = _as_text(column)
        column = column.dictionary_encode()
    known = {code: place for place, code in enumerate(CODES)}
    values = [known.get(value, BAD) for value in column.dictionary.to_pylist()]
    return numbers_of(column.indices, -1), np.array([*values, BAD], np.uint8)


def _as_text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnsError(f"The column code of the attendance holds {column.type}; it has to be text.") from error


def told(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return what became of the records, by name."""
    return dict(zip(COUNTED, counts.tolist(), strict=True))


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut `n` rows into blocks of at most `size`."""
    return ((first, min(first + size, n)) for first in range(0, n, size))
