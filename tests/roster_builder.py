"""A small roster of the county in `trained_county`, in every form that the service takes, and a service for it."""

import copy
import io
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from trained_county import junior, trained

from dropout_risk.bundle import save_bundle
from dropout_risk.pipeline import score
from dropout_risk.schema import TABLES, Tables
from dropout_risk.service.settings import Settings

OF_STUDENTS = ("students", "enrolments", "attendance", "grades", "households", "status_changes")
Records = dict[str, list[dict[str, Any]]]


@cache
def model_folder() -> Path:
    """Return the folder of the county's model."""
    return save_bundle(trained().bundle, Path(tempfile.mkdtemp()) / "county")


def settings(**limits: Any) -> Settings:
    """Return settings under which this machine needs no key, with a store of their own."""
    given = {"store": f"sqlite:///{tempfile.mkdtemp()}/store.db", "access": "local", "model": str(model_folder())}
    return Settings(**{**given, **limits})


@cache
def county_scores() -> pd.DataFrame:
    """Return the county's own scores at the end of its last term, indexed by student."""
    return score(junior(), trained().bundle).frame.set_index("student_id")


@cache
def small_roster(per_school: int = 12, schools: int = 2) -> Tables:
    """Return what is needed to score some students of some schools who get a score: their last two terms."""
    scores = county_scores()
    places = sorted(scores["school_id"].unique())[:schools]
    students = pd.Index(
        [s for place in places for s in sorted(scores.index[scores["school_id"] == place])[:per_school]]
    )
    tables = junior().tables
    terms = tables["terms"].sort_values("start").iloc[-2:]
    frames = {name: rows[rows["student_id"].isin(students)] for name, rows in tables.items() if name in OF_STUDENTS}
    frames["enrolments"] = frames["enrolments"][frames["enrolments"]["term"].isin(terms["term"])]
    frames["grades"] = frames["grades"][frames["grades"]["term"].isin(terms["term"])]
    first, last = terms["start"].iloc[0], terms["start"].iloc[1]
    frames["attendance"] = frames["attendance"][frames["attendance"]["date"] >= last]
    calendar = tables["calendar"]
    frames["calendar"] = calendar[calendar["date"] >= first]
    frames["schools"] = tables["schools"][tables["schools"]["school_id"].isin(places)]
    frames["terms"] = terms
    return Tables({name: frames[name].reset_index(drop=True) for name in TABLES if len(frames.get(name, ()))})


# As JSON ----------------------------------------------------------------------------------------------


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a client would write them in JSON: ISO dates, no key where there is no value."""
    dates = frame.select_dtypes("datetime").columns
    frame = frame.assign(**{name: frame[name].dt.strftime("%Y-%m-%d") for name in dates}).astype(object)
    return [{k: v for k, v in row.items() if not pd.isna(v)} for row in frame.to_dict("records")]


@cache
def _records(per_school: int) -> Records:
    return {name: rows_of(frame) for name, frame in small_roster(per_school).items()}


def as_records(per_school: int = 12) -> Records:
    """Return the small roster as records; the caller may change them."""
    return copy.deepcopy(_records(per_school))


def as_columns(records: Records) -> dict[str, dict[str, list[Any]]]:
    """Return records as columns of one length."""
    names = {table: list(dict.fromkeys(name for row in rows for name in row)) for table, rows in records.items()}
    return {table: {name: [row.get(name) for row in rows] for name in names[table]} for table, rows in records.items()}


def wide(records: Records) -> Records:
    """Return the tables with the rows of the last term as one register export (花名册)."""
    term = records["terms"][-1]["term"]
    born = {row["student_id"]: row for row in records["students"]}
    at_home = {row["student_id"]: row for row in records["households"]}
    roster = [
        {**born[row["student_id"]], **at_home.get(row["student_id"], {}), **row}
        for row in records["enrolments"]
        if row["term"] == term
    ]
    for row in roster:
        row.pop("recorded_at", None)  # each of the three tables has its own
    rest = {name: rows for name, rows in records.items() if name not in ("students", "enrolments", "households")}
    return {"roster": roster, **rest}


# As files ---------------------------------------------------------------------------------------------


def lines_of(name: str, rows: list[dict[str, Any]], *, chinese: bool) -> list[list[Any]]:
    """Return rows as lines below a header, in English or as a Chinese register writes them."""
    tables = [TABLES[n] for n in ("students", "enrolments", "households")] if name == "roster" else [TABLES[name]]
    columns = {column.name: column for table in tables for column in table.columns}
    used = [column for column in columns.values() if any(column.name in row for row in rows)]
    lines: list[list[Any]] = [[column.zh if chinese else column.name for column in used]]
    for row in rows:
        lines.append([_cell(column, row.get(column.name), chinese=chinese) for column in used])
    return lines


def _cell(column: Any, value: Any, *, chinese: bool) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return ("是" if value else "否") if chinese else str(value).lower()
    if chinese and column.allowed and column.name not in ("code", "poverty", "left_behind"):
        return column.allowed[value][0]
    return value


def csv_of(lines: list[list[Any]], *, encoding: str = "utf-8", title: str | None = None) -> bytes:
    """Return lines as CSV, below a title where there is one."""
    above = [] if title is None else [[title], ["填报单位：", "示例学校"], []]
    text = "\r\n".join(
        ",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in row) for row in above + lines
    )
    return text.encode(encoding)


def workbook_of(sheets: dict[str, list[list[Any]]], *, title: str | None = None) -> bytes:
    """Return lines as a workbook, each sheet below a merged title where there is one."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        if title is not None:
            sheet.append([title])
            sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=max(2, len(lines[0])))
        for line in lines:
            sheet.append([None if cell == "" else cell for cell in line])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as one Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_arrow_schema(rows)), file)
    return file.getvalue()


def _arrow_schema(rows: list[dict[str, Any]]) -> pa.Schema:
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: next(row[name] for row in rows if name in row) for name in names}
    types = {bool: pa.bool_(), int: pa.float64(), float: pa.float64(), str: pa.string()}
    return pa.schema([(name, types[type(value)]) for name, value in values.items()])


def zip_of(entries: dict[str, bytes]) -> bytes:
    """Return entries as a zip, which a workbook is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in entries.items():
            book.writestr(name, content)
    return file.getvalue()
