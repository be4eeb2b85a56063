"""Read and write the canonical tables: folders, single files, workbooks, JSON records, frames.

A file is known by its name (`attendance-1.csv`, `每日考勤.xlsx`), a sheet by its title, a wide roster by
its headers. Every way in ends alike: headers are matched with the schema, then values are coerced.
The module is long because the ways in and out stand together: what is written must read back alike.
"""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dropout_risk.coercion import (
    ENCODED,
    Cells,
    Made,
    Names,
    as_series,
    cells_of,
    cells_of_values,
    coerce_column,
    coerce_table,
)
from dropout_risk.errors import SettingsError, TableError
from dropout_risk.headers import (
    expected_names,
    folded_set,
    headed,
    header_problems,
    headers_of,
    subjects_among,
)
from dropout_risk.notes import Notes
from dropout_risk.registers import days_of_lines, marks_of_lines
from dropout_risk.schema import REGISTER_HEADERS, TABLES, Problem, Source, Table, Tables
from dropout_risk.sheets import HEADER_ROWS, READERS, Sheet, data_files, header_row, headers_in
from dropout_risk.words import clean, fold, to_text

ROSTER = "roster"
"""What a wide register export (学籍导出), one row a student, is called among the tables."""

ROSTER_TABLES = ("students", "enrolments", "households")
"""The tables into which a roster is spread."""

_ROSTER_WORDS = ("roster", "名册", "学籍导出")
_TOTAL = re.compile(r"(合计|总计|小计|(grand|sub)?total)[:：]?")
_CODES_UNDER = {  # under these headers 1 and 2 do not mean yes and no
    "就读方式": {"1": "走读", "2": "住校"},
    "残疾类型": dict.fromkeys("1234567", "是"),
    "残疾人类型": dict.fromkeys("1234567", "是"),
}
_FORMATS = {"attendance": "parquet", "grades": "parquet"}


@dataclass(frozen=True)
class _Piece:
    """Rows of one table from one sheet, columns named as in the schema; labels count the rows below the header."""

    table: str
    columns: dict[str, Cells]
    rows: pd.Index
    file: str | None
    first_row: int
    length: int
    overlong: NDArray[np.intp]
    """Positions of rows with more cells than the header."""
    labels_a_row: int = 1
    headers: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------ ways in


def read_tables(path: str | Path, *, term: str | None = None) -> Tables:
    r"""Read the canonical tables from a folder or a single file.

    Parameters
    ----------
    path
        A folder of CSV (UTF-8 or GB18030), Parquet and Excel files, or one such file. Files, or sheets,
        are found by the name of their table in English or Chinese, with or without a suffix
        (``attendance_2019-2020-1.parquet``); several files of one table are put together. A wide roster
        (花名册, 学籍导出) is spread into students, enrolments and households.
    term
        The term of rows in files without a term column.

    Returns
    -------
    Tables, whose `problems` tell of every value that could not be read.

    Raises
    ------
    TableError
        If a file cannot be read at all, or none is recognised; its text names every such file.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "学期.csv").write_text("学期,开始日期,结束日期\n2020-1,2020年9月1日,20210115\n", "gb18030")
    >>> read_tables(folder)["terms"].astype(str).values.tolist()
    [['2020-1', '2020-09-01', '2021-01-15']]
    """
    path = Path(path)
    pieces: list[_Piece] = []
    problems: list[Problem] = []
    failures: list[str] = []
    unknown: list[str] = []
    for file in data_files(path):
        try:
            for sheet in READERS[file.suffix.lower()](file):
                name = _identify(sheet, alone=path.is_file())
                if name is None:
                    unknown.append(str(sheet.file))
                    continue
                found, notes = _split(sheet, name, term=term)
                pieces, problems = pieces + found, problems + notes
        except TableError as error:
            failures.append(str(error))
    if not pieces and not failures:
        seen = ", ".join(unknown) or "no CSV, Parquet or Excel file"
        failures.append(f"{path}: no table is recognised (seen: {seen}); name the files {expected_names()}.")
    if failures:
        raise TableError("\n".join(failures))
    problems += [
        Notes("", Tables({})).whole("unknown_file", level="warning", file=file, names=expected_names())
        for file in unknown
    ]
    return _assemble(pieces, problems)


def make_tables(frames: Mapping[str, pd.DataFrame], *, oracle: pd.DataFrame | None = None) -> Tables:
    """Return the canonical tables from frames made in Python, read as strictly as files are.

    Parameters
    ----------
    frames : mapping of table name to DataFrame
        Any headers that files may have, any dtypes; ``roster`` is spread over its three tables.
    oracle : DataFrame or None
        For synthetic data only: the true risk, columns ``student_id, term, risk``.

    Raises
    ------
    TableError
        If a name is not that of a table.

    Examples
    --------
    >>> tables = make_tables({"terms": pd.DataFrame({"学期": ["2020-1"], "start": ["2020/9/1"], "end": ["?"]})})
    >>> print(tables["terms"]["start"][0].date(), *tables.problems)
    2020-09-01 terms, row 1, column end: ? is not a date; write it as 2020-09-01.
    """
    sheets = {
        name: Sheet.of_frame(None, (name,), frame, headers=tuple(map(str, frame.columns)))
        for name, frame in frames.items()
    }
    return _tables_of_sheets(sheets, oracle=oracle)


def _tables_of_sheets(sheets: Mapping[str, Sheet], *, oracle: pd.DataFrame | None = None) -> Tables:
    unknown = sorted(set(sheets) - {*TABLES, ROSTER})
    if unknown:
        raise TableError(f"There is no table {', '.join(unknown)}; the tables are {', '.join([*TABLES, ROSTER])}.")
    pieces: list[_Piece] = []
    problems: list[Problem] = []
    for name, sheet in sheets.items():
        found, notes = _split(sheet, name, term=None)
        pieces, problems = pieces + found, problems + notes
    return _assemble(pieces, problems, oracle=oracle)


def tables_from_records(
    records: Mapping[str, Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]],
) -> Tables:
    """Return the canonical tables from lists of records, or from columns of values, as a JSON body carries them.

    Problems count the records of a list from 1.

    Raises
    ------
    TableError
        If a name is not that of a table, a list holds something else than records, or columns differ in length.

    Examples
    --------
    >>> tables = tables_from_records({"terms": [{"term": "2020-1", "start": "2020-09-01", "end": None}]})
    >>> print(*tables.problems)
    terms, row 1, column end: the value is missing; fill it in or delete the row.
    """
    if wrong := [fault for name, rows in records.items() if (fault := _fault_of(name, rows))]:
        raise TableError("\n".join(wrong))
    return _tables_of_sheets({name: _sheet_of(name, rows) for name, rows in records.items()})


def _fault_of(name: str, rows: object) -> str | None:
    """Return what keeps `rows` from being a list of records or columns of one length."""
    if isinstance(rows, Mapping):
        if not all(isinstance(values, list) for values in rows.values()):
            return f"{name}: a table of columns has a list of values under each name."
        lengths = {str(column): len(values) for column, values in rows.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{column} {length}" for column, length in lengths.items())
            return f"{name}: the columns of a table have one length, these differ: {told}."
        return None
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        return f"{name}: a table is a list of records, each with named values."
    return None


def _sheet_of(name: str, rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> Sheet:
    if isinstance(rows, Mapping):
        columns = {clean(str(header)): values for header, values in rows.items()}
        length = max(map(len, columns.values()), default=0)
    else:
        keys = dict.fromkeys(key for row in rows for key in row)
        columns = {clean(str(key)): [row.get(key) for row in rows] for key in keys}
        length = len(rows)
    headers = tuple(columns)
    marks = subjects_among(headed(headers, ("grades",)).places["grades"]) if name == "grades" else ()
    cells = [values if header in marks else cells_of_values(values) for header, values in columns.items()]
    return Sheet(None, (name,), cells, length, headers)


def read_flat(path: str | Path, *, codes: Collection[str] = ()) -> pd.DataFrame:
    r"""Read somebody's own flat table: any columns, one header row, from CSV, Parquet or Excel.

    Returns
    -------
    DataFrame
        Columns of numbers are numeric, columns of true and false boolean, other text is categorical.

    Raises
    ------
    TableError
        If the file cannot be read, has no rows, or has two columns of one name.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "flat.csv"
    >>> _ = file.write_text("age,route,left\n13,bus,true\n,walk,false\n")
    >>> read_flat(file).dtypes.astype(str).to_dict()
    {'age': 'float64', 'route': 'category', 'left': 'bool'}
    """
    path = Path(path)
    if path.is_dir():
        raise TableError(f"{path}: this is a folder; a flat table is one file.")
    sheets = [sheet for file in data_files(path) for sheet in READERS[file.suffix.lower()](file)]
    if len(sheets) != 1:
        raise TableError(f"{path}: a flat table has one sheet; keep only that one.")
    cells = pd.DataFrame(dict(enumerate(sheets[0].columns)), index=range(sheets[0].length))
    headers = sheets[0].headers
    if headers is None:
        cells = cells[cells.apply(lambda column: column.str.strip() != "").any(axis=1)]
        if cells.empty:
            raise TableError(f"{path.name}: the file is empty.")
        headers, cells = tuple(map(clean, cells.iloc[0])), cells.iloc[1:].reset_index(drop=True)
    named = [index for index, header in enumerate(headers) if header]
    twice = sorted({headers[index] for index in named if headers.count(headers[index]) > 1})
    if twice:
        raise TableError(f"{path.name}: two columns have the same header ({', '.join(twice)}); rename one of them.")
    if cells.empty:
        raise TableError(f"{path.name}: there are no rows below the header.")
    return pd.DataFrame(
        {
            headers[index]: (_text_column if headers[index] in codes else _flat_column)(cells.iloc[:, index])
            for index in named
        }
    )


def _text_column(values: pd.Series) -> pd.Series:
    """Return codes as text, so that 051001 stays what it is."""
    texts = values.astype("object").map(to_text, na_action="ignore").astype("str")
    return texts.map(clean, na_action="ignore").astype("str")


def _flat_column(values: pd.Series) -> pd.Series:
    text = isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype) or values.dtype == object
    if not text:
        return values
    words = _text_column(values)
    words = words.mask(words.str.casefold().isin(["", "na", "n/a", "nan", "null", "none"]))
    with contextlib.suppress(ValueError):
        return pd.to_numeric(words)
    if words.str.casefold().isin(["true", "false"]).all():
        return words.str.casefold() == "true"
    return words.astype("category")


# ------------------------------------------------------------------------------------ files and sheets


def is_canonical(folder: str | Path) -> bool:
    """Return whether a folder holds the tables of a county: a file of terms, or a workbook that may hold them.

    Examples
    --------
    >>> is_canonical("data/synthetic"), is_canonical("docs")
    (True, False)
    """
    files = data_files(Path(folder))
    return any(_table_named(file.stem) == "terms" or file.suffix.lower() in (".xlsx", ".xls") for file in files)


READ_SUFFIXES = tuple(READERS)
"""Endings of the files that are read."""


# ------------------------------------------------------------------------------------ which table, which header


@cache
def _names_of_tables() -> dict[str, str]:
    names = {
        clean(name).casefold(): table.name
        for table in TABLES.values()
        for name in (table.name, table.zh, *table.aliases)
    }
    return dict(sorted(names.items(), key=lambda item: -len(item[0])))  # attendance_counts before attendance


def _tables_of(name: str) -> tuple[str, ...]:
    return ROSTER_TABLES if name == ROSTER else (name,)


def _table_named(title: str) -> str | None:
    title = clean(title).casefold()
    if any(word in title for word in _ROSTER_WORDS):
        return ROSTER
    for name, table in _names_of_tables().items():
        if re.fullmatch(rf"{re.escape(name)}([-_ .(\d].*)?", title):
            return table
    return None


def _identify(sheet: Sheet, *, alone: bool) -> str | None:
    """Return the table that the sheet holds: by its own title, its file's name, or a roster's headers."""
    named = _table_named(sheet.titles[0])
    if named is None and len(sheet.titles) > 1:  # a workbook may hold notes beside its table
        named = _table_named(sheet.titles[1])
        if named is not None and header_row(sheet, _tables_of(named)) is None:
            return None
    if named is None and _is_mark_sheet(sheet):
        return "grades"
    may_be_roster = named is None or (alone and named in ROSTER_TABLES)
    return ROSTER if may_be_roster and _is_roster(sheet) else named


def _is_roster(sheet: Sheet) -> bool:
    row = header_row(sheet, ROSTER_TABLES)
    if row is None:
        return False
    headers = set(map(fold, headers_in(sheet, row)))
    others = {name: tuple(other for other in ROSTER_TABLES if other != name) for name in ROSTER_TABLES}
    fitting = [name for name in ROSTER_TABLES if headers & (headers_of((name,)) - headers_of(others[name]))]
    return len(fitting) > 1


def _is_mark_sheet(sheet: Sheet) -> bool:
    row = header_row(sheet, ("grades",))
    if row is None:
        return False
    found = headed(headers_in(sheet, row), ("grades",)).places["grades"]
    return "student_id" in found and len(subjects_among(found)) > 1


# ------------------------------------------------------------------------------------ from sheets to tables


def _split(sheet: Sheet, name: str, *, term: str | None) -> tuple[list[_Piece], list[Problem]]:
    """Return the rows of each table in `sheet`, columns named as in the schema, values still as read."""
    names = _tables_of(name)
    row = header_row(sheet, names)
    if row is None:
        wanted = ", ".join(f"{column.zh} ({column.name})" for column in TABLES[names[0]].columns[:4])
        raise TableError(
            f"{sheet.file}: no header of the table {name} in the first {HEADER_ROWS} rows; put headers such "
            f"as {wanted} above the columns."
        )
    headers, folded, places = headed(headers_in(sheet, row), names)
    columns = sheet.below(row)
    rows: pd.Index = pd.RangeIndex.from_range(range(sheet.length - row - 1))  # quicker than its constructor
    notes = Notes(names[0], Tables({}))
    problems = header_problems(headers, folded, places, notes=notes, file=sheet.file)
    out = _left_out(columns, len(rows)) if sheet.headers is None else np.zeros(len(rows), dtype=bool)
    place = (sheet.file, row + 2, len(rows), _overlong_rows(sheet, columns, headers=headers, left_out=out))
    if out.any():
        problems.append(notes.whole("row_left_out", level="warning", file=sheet.file, count=int(out.sum())))
        columns, rows = [cells[~out] for cells in columns], rows[~out]
    named = {
        table: {column: _with_codes_read(columns[at[0]], headers[at[0]]) for column, at in found.items()}
        for table, found in places.items()
    }
    if term is not None:
        for table in named.keys() - {"terms"}:
            if "term" in TABLES[table].names:
                named[table].setdefault("term", pa.array([term] * len(rows), ENCODED))
    if name == "attendance" and any(folded[at[0]] in folded_set(REGISTER_HEADERS) for at in places[name].values()):
        return [_register(_Piece(name, named[name], rows, *place))], problems
    if name == "grades" and (subjects := subjects_among(places[name])):
        return [_mark_sheet(_Piece(name, named[name], rows, *place), subjects)], problems
    if name != ROSTER:
        return [_Piece(name, named[name], rows, *place)], problems
    frames = {table: _frame(columns, rows) for table, columns in named.items()}
    ids = _ids_from_id_numbers(frames["students"])
    if ids is not None:
        problems.append(notes.whole("student_id_made", level="warning", file=sheet.file, column="student_id"))
        frames = {table: frame.assign(student_id=ids) for table, frame in frames.items()}
    if set(frames["households"]) <= {"student_id", "recorded_at"}:
        del frames["households"]
    for table in {"students", "households"} & set(frames):
        frames[table] = frames[table].drop_duplicates()  # a student stands there once for every term
    pieces = []
    for table, frame in frames.items():
        columns_of, rows = _columns_and_rows(frame)
        pieces.append(_Piece(table, columns_of, rows, *place))
    return pieces, problems


def _register(lines: _Piece) -> _Piece:
    """Return the lines of an attendance register as one row a day; a register without a date stays as it is."""
    if "date" not in lines.columns:
        return lines
    return _spread(lines, *days_of_lines(lines.columns, lines.rows))


def _mark_sheet(lines: _Piece, subjects: tuple[str, ...]) -> _Piece:
    """Return the lines of a mark sheet as one row a mark."""
    columns, rows, labels = marks_of_lines(lines.columns, subjects, lines.rows)
    overlong = rows[np.isin(rows // labels, lines.overlong)].to_numpy()  # no mark of such a line is sure
    return replace(_spread(lines, columns, rows, labels), headers=subjects, overlong=overlong)


def _spread(lines: _Piece, columns: dict[str, Cells], rows: pd.Index, labels: int) -> _Piece:
    return replace(
        lines,
        columns=columns,
        rows=rows,
        length=lines.length * labels,
        overlong=lines.overlong * labels,
        labels_a_row=labels,
    )


def _frame(columns: Mapping[str, Cells], rows: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({name: as_series(cells, rows) for name, cells in columns.items()}, index=rows)


def _columns_and_rows(frame: pd.DataFrame) -> tuple[dict[str, Cells], pd.Index]:
    return {str(name): cells_of(values) for name, values in frame.items()}, frame.index


def _overlong_rows(
    sheet: Sheet, columns: Sequence[Cells], *, headers: Sequence[str], left_out: NDArray[np.bool_]
) -> NDArray[np.intp]:
    if not sheet.delimited:
        return np.empty(0, dtype=np.intp)
    width = 1 + max(place for place, header in enumerate(headers) if header)
    overlong = np.zeros(len(left_out), dtype=bool)
    for cells in columns[width:]:
        overlong |= np.asarray(cells != "", dtype=bool)
    return np.flatnonzero(overlong & ~left_out)


def _left_out(columns: Sequence[Cells], length: int) -> NDArray[np.bool_]:
    """Return which rows are empty or start with 合计; only text is looked at."""
    out = np.zeros(length, dtype=bool)
    undecided = np.arange(length)
    for cells in columns:
        words = pd.Series(cells).iloc[undecided].str.strip()
        likely = words[words.str.contains("计|total", case=False)]
        is_total = np.array([bool(_TOTAL.fullmatch(fold(word))) for word in likely], dtype=bool)
        out[likely.index[is_total]] = True
        undecided = undecided[(words == "").to_numpy()]
    out[undecided] = True
    return out


def _with_codes_read(cells: Cells, header: str) -> Cells:
    codes = _CODES_UNDER.get(header)
    if codes is None:
        return cells
    values = as_series(cells, pd.RangeIndex(len(cells)))
    return cells_of_values(
        [None if missing else codes.get(clean(to_text(value)), value)
         for value, missing in zip(values, values.isna(), strict=True)]
    )  # fmt: skip


def _ids_from_id_numbers(students: pd.DataFrame) -> pd.Series | None:
    """Return G + ID number, the usual form of a student ID, where a roster has no student IDs."""
    if "student_id" in students or "id_number" not in students:
        return None
    numbers = coerce_column(students["id_number"], TABLES["students"]["id_number"])[0]
    return "G" + numbers


def _assemble(pieces: Sequence[_Piece], problems: Sequence[Problem], *, oracle: pd.DataFrame | None = None) -> Tables:
    made: dict[str, Made] = {}
    names = Names()
    sources: dict[str, tuple[Source, ...]] = {}
    problems = list(problems)
    for name, table in TABLES.items():
        own = [piece for piece in pieces if piece.table == name]
        if not own:
            continue
        placed = list(zip(own, accumulate((piece.length for piece in own), initial=0), strict=False))
        sources[name] = tuple(
            Source(piece.file, first, piece.length, piece.first_row, piece.labels_a_row, piece.headers)
            for piece, first in placed
            if piece.file is not None or piece.labels_a_row > 1 or piece.headers
        )
        columns, rows = _joined(placed)
        notes = Notes(name, Tables({}, sources=sources))
        made[name] = coerce_table(table, columns, rows, notes, schools=made.get("schools"), names=names)
        problems += made[name].problems
        for piece, first in placed:
            problems += notes.each("too_many_cells", (piece.overlong + first).tolist())
    frames = {name: cache(one.frame) for name, one in made.items()}
    known = {name: one.known for name, one in made.items()}
    return Tables(frames, problems=tuple(problems), sources=sources, oracle=oracle, known=known)


def _joined(placed: Sequence[tuple[_Piece, int]]) -> tuple[dict[str, Cells], pd.Index]:
    """Return the columns of all pieces of a table, each below the one before it."""
    if len(placed) == 1:
        return placed[0][0].columns, placed[0][0].rows
    return _columns_and_rows(pd.concat([_frame(piece.columns, piece.rows + first) for piece, first in placed]))


# ------------------------------------------------------------------------------------ ways out


def write_tables(
    tables: Tables,
    folder: str | Path,
    *,
    formats: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    r"""Write every table to its own file; the same tables always give the same bytes.

    Parameters
    ----------
    tables
        What to write; the oracle of synthetic data is no table and is not written.
    folder
        Is made if need be. All files are written beside it first and then moved into place.
    formats : mapping of table name to ``csv`` or ``parquet``
        Default: Parquet for attendance and grades, CSV for the others.
    overwrite
        Whether a folder that holds other files may be written to; files that would be read as one of
        the tables are then removed.

    Returns
    -------
    list of Path, in the order of the schema.

    Raises
    ------
    TableError
        If the folder holds other files and `overwrite` is false.
    SettingsError
        If a format is not known.

    Examples
    --------
    >>> import tempfile
    >>> tables = make_tables({"terms": pd.DataFrame({"term": ["2020-1"], "start": ["20200901"], "end": ["20210115"]})})
    >>> [file] = write_tables(tables, Path(tempfile.mkdtemp()) / "county")
    >>> file.name, file.read_text()
    ('terms.csv', 'term,start,end\n2020-1,2020-09-01,2021-01-15\n')
    """
    folder = Path(folder)
    chosen = {**_FORMATS, **(formats or {})}
    wrong = [f"{name}={form}" for name, form in chosen.items() if name not in TABLES or f".{form}" not in _WRITERS]
    if wrong:
        raise SettingsError(f"formats: {', '.join(wrong)} cannot be written; give a table csv or parquet.")
    files = {f"{name}.{chosen.get(name, 'csv')}": name for name in TABLES if name in tables}
    if folder.exists() and not folder.is_dir():
        raise TableError(f"{folder}: this is a file; give a folder.")
    others = sorted({file.name for file in folder.iterdir()} - set(files)) if folder.exists() else []
    if others and not overwrite:
        raise TableError(
            f"{folder}: the folder holds other files ({', '.join(others[:5])}); choose an empty folder, or "
            "allow overwriting."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as fresh:
        for file, name in files.items():
            _WRITERS[Path(file).suffix](tables[name], TABLES[name], Path(fresh, file))
        folder.mkdir(exist_ok=True)
        for other in map(Path, others):
            if other.suffix.lower() in READERS and _table_named(other.stem):
                (folder / other).unlink()  # it would be read together with the new files
        for file in files:
            os.replace(Path(fresh, file), folder / file)
    return [folder / file for file in files]


def _write_csv(frame: pd.DataFrame, table: Table, path: Path) -> None:
    written = frame.copy()
    for column in table.columns:
        if column.kind == "boolean":
            written[column.name] = frame[column.name].map({True: "true", False: "false"})
        elif column.kind == "integer":
            written[column.name] = frame[column.name].astype("Int64")
    written.to_csv(path, index=False, date_format="%Y-%m-%d", lineterminator="\n", encoding="utf-8")


_ARROW_TYPES = {
    "string": pa.string(),
    "category": pa.string(),
    "integer": pa.float64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


def _write_parquet(frame: pd.DataFrame, table: Table, path: Path) -> None:
    schema = pa.schema([(column.name, _ARROW_TYPES[column.kind]) for column in table.columns])
    data = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    pq.write_table(data.replace_schema_metadata(None), path, compression="zstd")


_WRITERS = {".csv": _write_csv, ".parquet": _write_parquet}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; it becomes `path` when all went well, and goes away otherwise.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.txt"
    >>> with atomic_path(path) as fresh:
    ...     _ = fresh.write_text("whole or not at all")
    >>> [file.name for file in path.parent.iterdir()]
    ['report.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield fresh
        os.replace(fresh, path)
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh)
        else:
            fresh.unlink(missing_ok=True)
