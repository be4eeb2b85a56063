"""What is to be done: the partitions of a source, and how they travel to an engine and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dropout_risk.batch import BatchScorer
from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.tables import atomic_path, is_canonical

WORK = ".work"
"""Folder for what is not finished, within that of the answer."""

PARTITION_ROWS, PARTITIONS = 100_000, 16
"""Rows of a partition at most, and partitions at least, as far as the row groups of the files allow it."""


@dataclass(frozen=True)
class Partition:
    """Some row groups of a file of features, or (none) a county's folder of tables."""

    position: int
    path: str
    row_groups: tuple[int, ...]
    rows: int
    first_row: int = 0

    def fingerprint(self) -> list[Any]:
        """Return what says that it is the same partition of the same data."""
        return [self.path, list(self.row_groups), self.rows, fingerprint_of(Path(self.path))]

    def to_batch(self) -> pa.RecordBatch:
        """Return the partition as a batch of one row, which an engine can send."""
        return pa.RecordBatch.from_pylist([{**asdict(self), "row_groups": list(self.row_groups)}], _SCHEMA)

    @classmethod
    def of_batch(cls, batch: pa.RecordBatch) -> "Partition":
        """Return the partition that `to_batch` made."""
        (row,) = batch.to_pylist()
        return cls(**{**row, "row_groups": tuple(row["row_groups"])})


_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("path", pa.string()),
        ("row_groups", pa.list_(pa.int64())),
        ("rows", pa.int64()),
        ("first_row", pa.int64()),
    ]
)


def find_partitions(source: Path, day: str | None) -> list[Partition]:
    """Return the partitions of `source`, in the order of their names."""
    if source.is_file():
        return _of_files([source])
    if not source.is_dir():
        raise TableError(f"{source}: there is no such file or folder.")
    if counties := county_folders(source):
        if day is None:
            raise SettingsError("Folders of tables are scored as of one day for all; give it with --as-of 2022-07-08.")
        return [Partition(position, str(folder), (), 0) for position, folder in enumerate(counties)]
    return _of_files(sorted(source.glob("*.parquet")))


def county_folders(source: Path) -> list[Path]:
    """Return the folders of tables in `source`: itself, those in it, or none where it holds features."""
    if not source.is_dir():
        return []
    if is_canonical(source):
        return [source]
    return sorted(folder for folder in source.iterdir() if folder.is_dir() and is_canonical(folder))


def _of_files(files: Sequence[Path]) -> list[Partition]:
    described = {file: _metadata(file) for file in files}
    wanted = sum(metadata.num_rows for metadata in described.values()) // PARTITIONS
    found: list[Partition] = []
    total = 0
    for file, metadata in described.items():
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            rows += metadata.row_group(group).num_rows
            last = group == metadata.num_row_groups - 1
            if last or rows + metadata.row_group(group + 1).num_rows > min(wanted, PARTITION_ROWS):
                found.append(Partition(len(found), str(file), tuple(groups), rows, total))
                total += rows
                groups, rows = [], 0
    if not total:
        raise TableError(
            "There is nothing to score: give a Parquet file of term features (dropout-risk features makes one), a "
            "folder of such files, a county's folder of tables, or a folder with one such folder for each county."
        )
    return found


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{file} is no Parquet file that can be read ({error}); write it again.") from error


def fingerprint_of(path: Path) -> list[list[Any]]:
    """Return the name, size and time of a file, or of the files of a folder."""
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def check_columns(partitions: Sequence[Partition], scorer: BatchScorer, *, measured: Sequence[str] = ()) -> None:
    """Check the columns of every file before anything is scored; all problems at once.

    Columns that are `measured` from other files need not be there.
    """
    problems = []
    for path in dict.fromkeys(one.path for one in partitions):
        try:
            given = [field for field in pq.read_schema(path) if field.name not in measured]
            scorer.check(pa.schema([*given, *((name, pa.float64()) for name in measured)]))
        except ColumnsError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ColumnsError("\n".join(problems))


def result(position: int, left: Mapping[str, Any]) -> pa.RecordBatch:
    """Return what a partition has left as a batch of one row, which an engine can bring back."""
    return pa.RecordBatch.from_pylist([{"position": position, "result": json.dumps(left)}])


def write_json(path: Path, value: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    with atomic_path(path) as fresh:
        fresh.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
