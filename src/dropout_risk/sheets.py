"""Files as sheets of cells: CSV, Parquet and workbooks, their headers found and nothing yet read as anything."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum

from dropout_risk.coercion import Cells, cells_of
from dropout_risk.errors import TableError
from dropout_risk.headers import headers_of
from dropout_risk.schema import TABLES
from dropout_risk.words import fold, to_text
from dropout_risk.workbooks import MAX_CELLS, fault_of_workbook

HEADER_ROWS = 20  # titles and notes above the header never take more rows
_FIRST_SECOND, _LAST_SECOND = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1000, 3000))


@dataclass(frozen=True)
class Sheet:
    """Cells as read: text, header among them (CSV, workbook), or typed columns (Parquet, frames)."""

    file: str | None
    titles: tuple[str, ...]
    columns: list[Cells]
    length: int
    headers: tuple[str, ...] | None = None
    delimited: bool = False  # CSV: a cell beyond the header tells of a comma in a text

    @classmethod
    def of_frame(cls, file: str | None, titles: tuple[str, ...], cells: pd.DataFrame, **others: Any) -> "Sheet":
        """Return the sheet that a frame is."""
        return cls(file, titles, [cells_of(values) for _, values in cells.items()], len(cells), **others)

    def below(self, row: int) -> list[Cells]:
        """Return the columns below a row; all of them where it is -1."""
        return self.columns if row < 0 else [cells[row + 1 :] for cells in self.columns]


def headers_in(sheet: Sheet, row: int) -> tuple[str, ...]:
    """Return the headers of a sheet, which stand in this row if they do not stand apart."""
    return sheet.headers if sheet.headers is not None else tuple(str(cells[row]) for cells in sheet.columns)


def header_row(sheet: Sheet, names: tuple[str, ...]) -> int | None:
    """Return the position of the row that holds the headers, -1 where they stand apart, None without."""
    if sheet.headers is not None:
        return -1
    known = headers_of(names)
    rows = zip(*(cells[:HEADER_ROWS] for cells in sheet.columns), strict=True)
    hits = [len({fold(str(cell)) for cell in row} & known) for row in rows]
    return int(np.argmax(hits)) if max(hits, default=0) >= 2 else None


def data_files(path: Path) -> list[Path]:
    """Return the files that may hold tables: those of a folder by name, or the one given.

    Raises
    ------
    TableError
        If there is none, or the file is of another kind.

    Examples
    --------
    >>> [file.name for file in data_files(Path("data/synthetic"))][:2]
    ['attendance.parquet', 'calendar.csv']
    """
    if not path.exists():
        raise TableError(f"{path}: there is no such file or folder.")
    if path.is_dir():
        files = sorted(path.iterdir(), key=lambda file: file.name)
        return [file for file in files if file.suffix.lower() in READERS and file.name[0] not in ".~"]
    if path.suffix.lower() not in READERS:
        raise TableError(f"{path.name}: this kind of file is not read; save it as {', '.join(READERS)}.")
    return [path]


def _read_csv(path: Path) -> list[Sheet]:
    text = _decode(path.name, _bytes(path))
    if not text.strip():
        raise TableError(f"{path.name}: the file is empty.")
    delimiter = max(",\t;", key=text[:4096].count)

    def records() -> Iterator[list[str]]:
        return csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)

    try:
        width = max(1, *map(len, islice(records(), HEADER_ROWS)))
        try:
            cells = pd.read_csv(
                io.StringIO(text), sep=delimiter, header=None, names=list(range(width)), index_col=False,
                dtype="str", na_filter=False, skip_blank_lines=False,
            )  # fmt: skip
        except pd.errors.ParserError:  # a later row is longer than the first ones
            rows = list(records())
            width = max(map(len, rows))
            cells = pd.DataFrame([row + [""] * (width - len(row)) for row in rows], dtype="str")
    except csv.Error as error:
        raise TableError(
            f"{path.name}: the file is not a proper CSV file ({error}); look for a quotation mark that is "
            "opened and not closed."
        ) from error
    return [Sheet.of_frame(path.name, (path.stem,), cells, delimited=True)]


def _decode(file: str, raw: bytes) -> str:
    """Decode strictly: as the encoding in which more headers are recognised, UTF-8 first."""
    utf8_hits, gb_hits = (_header_hits(raw[:65536], encoding) for encoding in ("utf-8-sig", "gb18030"))
    encodings = ["utf-8-sig", "gb18030"]
    if gb_hits > utf8_hits:
        encodings = ["gb18030"]
    elif utf8_hits > gb_hits or _is_mostly_utf8(raw):
        encodings = ["utf-8-sig"]
    bad_byte = 0
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError as error:
            bad_byte = max(bad_byte, error.start)
    row = raw.count(b"\n", 0, bad_byte) + 1
    raise TableError(
        f"{file}, row {row}: a character is neither UTF-8 nor GB18030, the file is damaged there or is not "
        "a text file; save it again as CSV UTF-8."
    )


def _header_hits(head: bytes, encoding: str) -> int:
    words = re.split(r'[,;\t\r\n"]', head.decode(encoding, "replace"))
    return len({fold(word) for word in islice(words, 2000)} & headers_of(tuple(TABLES)))


def _is_mostly_utf8(raw: bytes) -> bool:
    text = raw.decode("utf-8-sig", "replace")
    bad = text.count("\ufffd")
    return len(text) - len(text.encode("ascii", "ignore")) - bad > bad


def _read_parquet(path: Path) -> list[Sheet]:
    try:
        text = [field.name for field in pq.read_schema(path) if pa.types.is_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=text) as file:
            data = file.read().replace_schema_metadata(None)
        data.validate(full=True)  # damaged text would be found only when it is looked at
        data = pa.table([_single_values(column) for column in data.columns], names=data.column_names)
        cells = data.to_pandas(date_as_object=False)
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        raise TableError(f"{path.name}: the Parquet file is damaged or not one; write it again.") from error
    return [Sheet.of_frame(path.name, (path.stem,), cells, headers=tuple(data.column_names))]


def _single_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose cells are single values as other files have them; all else becomes text, to be refused."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return column.cast(pa.float64())
    if pa.types.is_temporal(kind):
        return column if _is_of_these_times(column) else column.cast(pa.string())
    plain = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
    )
    if any(is_plain(kind) for is_plain in plain):
        return column
    return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())


def _is_of_these_times(column: pa.ChunkedArray) -> bool:
    """Whether a column holds days, all of them in years that pandas can write."""
    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        return False
    seconds = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    bounds = pc.min_max(seconds).as_py()
    return bounds["min"] is None or _FIRST_SECOND <= bounds["min"] <= bounds["max"] < _LAST_SECOND


def _read_workbook(path: Path) -> list[Sheet]:
    content = _bytes(path)
    if fault := fault_of_workbook(content):
        raise TableError(f"{path.name}: {fault}")
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(content)) as book:
            titles = [meta.name for meta in book.sheets_metadata if meta.typ == SheetTypeEnum.WorkSheet]
            grids = {title: _grid(path.name, book.get_sheet_by_name(title)) for title in titles}
    except PasswordError as error:
        raise TableError(f"{path.name}: the workbook has a password; save it without one.") from error
    except (CalamineError, OSError) as error:
        raise TableError(
            f"{path.name}: this is not an Excel workbook, or it is damaged (a Word file or a web page under "
            "another name?); open it and save it as .xlsx."
        ) from error
    filled = {title: grid for title, grid in grids.items() if grid.size}
    if not filled:
        raise TableError(f"{path.name}: the workbook is empty.")
    several = len(filled) > 1
    return [
        Sheet.of_frame(f"{path.name} [{title}]" if several else path.name, (title, path.stem), grid)
        for title, grid in filled.items()
    ]


def _grid(file: str, sheet: CalamineSheet) -> pd.DataFrame:
    rows = [["" if cell is None else to_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    merged = sheet.merged_cell_ranges or ()
    down, across = range(len(rows)), range(len(rows[0]) if rows else 0)
    if (
        sum(len(down[top : low + 1]) * len(across[left : right + 1]) for (top, left), (low, right) in merged)
        > MAX_CELLS
    ):
        raise TableError(f"{file}: the merged cells of sheet {sheet.name} lie upon each other; save it as CSV.")
    for (top, left), (bottom, right) in merged:
        for row in rows[top : bottom + 1]:
            row[left : right + 1] = rows[top][left : left + 1] * len(row[left : right + 1])
    return pd.DataFrame(rows, dtype="str")


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path.name}: the file cannot be opened ({error.strerror}).") from error
    if not raw.strip():
        raise TableError(f"{path.name}: the file is empty.")
    return raw


READERS: dict[str, Callable[[Path], list[Sheet]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".xlsx": _read_workbook,
    ".xls": _read_workbook,
}
