"""Where records come from: Parquet files, Arrow tables, streams and datasets, frames; all as Arrow batches.

A source hands out its parts (the row groups of a file, the batches of a table), which several threads read at the
same time; of a part, one batch after the other is in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dropout_risk.errors import ColumnsError, SettingsError, TableError

COLUMNS = ("student_id", "date", "code")
RECORDED = "recorded_at"
BATCH = 1 << 18
"""Records decoded at a time: enough that calls cost nothing, few enough to stay near the processor."""

Part = Callable[[], Iterator[pa.RecordBatch]]
Skip = Callable[[Any, Any], bool]
"""From the first and the last date of a row group to whether no record of it is needed."""


@dataclass(frozen=True)
class Source:
    """Records that can be read part by part.

    Attributes
    ----------
    parts : callable
        From `Skip` to the parts; a part that is skipped is an int, the number of its records.
    has_recorded : bool
        Whether any record may say when it was made.
    n_records : int or None
        None where nobody knows before the end.
    again : bool
        Whether the parts can be read a second time.
    """

    parts: Callable[[Skip], Iterator[Part | int]]
    has_recorded: bool
    n_records: int | None = None
    again: bool = True


def open_source(source: Any) -> Source:
    """Return `source` ready to be read.

    Raises
    ------
    TableError
        When there is no such file, or it is no Parquet file.
    ColumnsError
        When a column is missing.
    SettingsError
        When `source` is none of the things that can be read.
    """
    if isinstance(source, str | PathLike):
        return _files([Path(source)])
    if isinstance(source, pa.RecordBatch):
        return _table(pa.Table.from_batches([source]))
    if isinstance(source, pa.Table):
        return _table(source)
    if isinstance(source, pa.RecordBatchReader):
        return _stream(source)
    if isinstance(source, pd.DataFrame):
        return _frame(source)
    if hasattr(source, "get_fragments"):
        return _dataset(source)
    if hasattr(source, "__arrow_c_stream__"):
        return _arrow_frame(source)
    if isinstance(source, Sequence) and source and all(isinstance(path, str | PathLike) for path in source):
        return _files([Path(path) for path in source])
    raise SettingsError(
        f"Attendance cannot be read from {type(source).__name__}; hand in a Parquet file, a folder or a list of them, "
        "an Arrow table, reader or dataset, or a data frame."
    )


def columns_of(names: Iterable[str], *, where: str) -> list[str]:
    """Return the columns to read.

    Raises
    ------
    ColumnsError
        When one is missing; all are named.
    """
    names = list(names)
    if missing := [column for column in COLUMNS if column not in names]:
        raise ColumnsError(f"{where} has no column {', '.join(missing)}. It has: {', '.join(names) or 'none'}.")
    return [*COLUMNS, *([RECORDED] if RECORDED in names else [])]


def _table(table: pa.Table) -> Source:
    table = table.select(columns_of(table.column_names, where="The attendance table"))

    def parts(_: Skip) -> Iterator[Part | int]:
        for batch in table.to_batches(max_chunksize=BATCH):
            yield partial(iter, [batch])

    return Source(parts, RECORDED in table.column_names, len(table))


def _frame(frame: pd.DataFrame) -> Source:
    columns = columns_of(map(str, frame.columns), where="The attendance frame")
    try:
        return _table(pa.Table.from_pandas(frame[columns], preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ColumnsError(f"A column of the attendance frame mixes kinds of values: {error}.") from error


def _stream(reader: pa.RecordBatchReader) -> Source:
    columns = columns_of(reader.schema.names, where="The stream of attendance")
    return Source(lambda _: _batches(reader, columns), RECORDED in columns, again=False)


def _arrow_frame(frame: Any) -> Source:
    def opened() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_stream(frame)

    columns = columns_of(opened().schema.names, where="The attendance frame")
    n_records = len(frame) if hasattr(frame, "__len__") else None
    return Source(lambda _: _batches(opened(), columns), RECORDED in columns, n_records)


def _batches(reader: pa.RecordBatchReader, columns: list[str]) -> Iterator[Part | int]:
    for batch in reader:
        part = batch.select(columns)
        yield partial(_slices, part)


def _slices(part: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (part.slice(first, BATCH) for first in range(0, len(part), BATCH))


def _dataset(dataset: Any) -> Source:
    columns = columns_of(dataset.schema.names, where="The attendance dataset")
    options = {"schema": dataset.schema, "columns": columns, "batch_size": BATCH, "use_threads": False}

    def parts(_: Skip) -> Iterator[Part | int]:
        for fragment in dataset.get_fragments():
            pieces = fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else [fragment]
            for piece in pieces:
                yield partial(piece.to_batches, **options)

    return Source(parts, RECORDED in columns)


def _files(paths: list[Path]) -> Source:
    files = [_ParquetFile.of(path) for path in _spread(paths)]
    n_records = sum(file.metadata.num_rows for file in files)

    def parts(skip: Skip) -> Iterator[Part | int]:
        for file in files:
            yield from file.parts(skip)

    return Source(parts, any(RECORDED in file.columns for file in files), n_records)


def _spread(paths: list[Path]) -> list[Path]:
    """Return the files named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise TableError(f"{path} does not exist; name a Parquet file or a folder of them.")
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise TableError(f"{path} holds no file that ends in .parquet.")
        found += files
    return found


@dataclass(frozen=True)
class _ParquetFile:
    """One file whose footer has been read."""

    path: Path
    metadata: Any
    columns: list[str]

    @classmethod
    def of(cls, path: Path) -> "_ParquetFile":
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise TableError(f"{path} cannot be read as Parquet: {error}") from error
        with file:
            return cls(path, file.metadata, columns_of(file.schema_arrow.names, where=str(path)))

    def parts(self, skip: Skip) -> Iterator[Part | int]:
        names = self.metadata.schema.to_arrow_schema().names
        flat = len(names) == self.metadata.num_columns
        for group in range(self.metadata.num_row_groups):
            own = self.metadata.row_group(group)
            dates = own.column(names.index("date")).statistics if flat else None
            if dates is not None and dates.has_min_max and not dates.null_count and skip(dates.min, dates.max):
                yield own.num_rows
            else:
                yield partial(self._read, group)

    def _read(self, group: int) -> Iterator[pa.RecordBatch]:
        from pyarrow import parquet

        # a code is one of nine: the file keeps it as a dictionary, and so it stays
        with parquet.ParquetFile(self.path, metadata=self.metadata, read_dictionary=["code"]) as file:
            try:
                yield from file.iter_batches(BATCH, row_groups=[group], columns=self.columns, use_threads=False)
            except (pa.ArrowInvalid, OSError) as error:
                raise TableError(f"{self.path}, row group {group + 1}, cannot be read: {error}") from error
