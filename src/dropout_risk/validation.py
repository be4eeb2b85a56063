"""Check the canonical tables against the schema, against each other and against common sense.

An error means that a row (or a table) cannot be used; a warning, that it is used as it is. All problems
are found at once, each with its place, what is allowed and what to do next.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from dropout_risk.arrays import columns_of, row_labels, take_rows
from dropout_risk.checks import CHECKS, Bools, references
from dropout_risk.errors import TableError
from dropout_risk.notes import Notes
from dropout_risk.schema import TABLES, Problem, Tables
from dropout_risk.sizes import too_many_pairs

Lang = Literal["en", "zh"]


@dataclass(frozen=True)
class Report:
    """Everything that was found in the tables.

    Attributes
    ----------
    problems
        Errors first, then warnings, in the order of the tables and rows.
    counts
        Rows of each table.

    Examples
    --------
    >>> print(validate(Tables({})).to_text("zh").splitlines()[1])
    错误 schools：缺少该表或表为空；请提供名为“学校”或 schools 的文件。
    """

    problems: tuple[Problem, ...]
    counts: Mapping[str, int]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that keep a row or a table from being used."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems of rows that are used as they are."""
        return tuple(problem for problem in self.problems if problem.level == "warning")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_text(self, lang: Lang = "en") -> str:
        """Return every problem, one a line, under a line of totals; `lang` is ``en`` or ``zh``."""
        errors, warnings = len(self.errors), len(self.warnings)
        if lang == "zh":
            rows = "，".join(f"{TABLES[name].zh} {count:,} 行" for name, count in self.counts.items())
            lines = [f"{errors} 个错误，{warnings} 个警告（{rows or '没有表'}）"]
            return "\n".join(lines + [_chinese_line(problem) for problem in self.problems])
        rows = ", ".join(f"{name} {count:,} rows" for name, count in self.counts.items())
        lines = [f"{errors} errors, {warnings} warnings ({rows or 'no tables'})"]
        return "\n".join(lines + [f"{problem.level} {problem}" for problem in self.problems])

    def __str__(self) -> str:
        return self.to_text()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        fields = ("level", "kind", "table", "file", "row", "column", "value", "message", "message_zh", "count")
        return {
            "ok": self.ok,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "counts": dict(self.counts),
            "problems": [{field: getattr(problem, field) for field in fields} for problem in self.problems],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each problem, columns as the fields of `Problem` (row is nullable)."""
        columns = list(Problem.__dataclass_fields__)
        frame = pd.DataFrame(
            [[getattr(problem, column) for column in columns] for problem in self.problems], columns=columns
        )
        return frame.astype({"row": "Int64", "position": "Int64", "count": "int64"})


def _chinese_line(problem: Problem) -> str:
    place = problem.file or problem.table
    if problem.row is not None:
        place += f" 第 {problem.row} 行"
    if problem.column is not None:
        place += f"“{_chinese_name(problem)}”列"
    return f"{'错误' if problem.level == 'error' else '警告'} {place}：{problem.message_zh}"


def _chinese_name(problem: Problem) -> str:
    table = TABLES.get(problem.table)
    known = table is not None and problem.column in table.names
    return table[str(problem.column)].zh if table is not None and known else str(problem.column)


def validate(tables: Tables) -> Report:
    """Return everything that is wrong with `tables`: what reading found, and what these checks find.

    Parameters
    ----------
    tables
        As read; nothing is changed.

    Returns
    -------
    Report

    Notes
    -----
    Checks: missing tables, columns and required values; duplicate keys; references to unknown students,
    schools and terms; ID numbers (GB 11643: check digit, birth date) and damage done to them by
    spreadsheets; age for grade; attendance outside terms and on days without school; dates in the
    future or recorded before they happened; order of terms; distances; schools without any absence. What is far too
    large to be worked on at once (`sizes`) is not checked any further.

    Examples
    --------
    >>> from dropout_risk.tables import make_tables
    >>> terms = pd.DataFrame({"term": ["2020-1"], "start": ["2021-01-15"], "end": ["2020-09-01"]})
    >>> report = validate(make_tables({"terms": terms}))
    >>> report.ok, [problem.kind for problem in report.errors]
    (False, ['missing_table', 'missing_table', 'missing_table', 'term_order'])
    """
    complete, problems = _complete(tables)
    problems += [problem for problem in tables.problems if _is_still_there(problem, tables)]
    too_large = too_many_pairs(complete)
    problems += too_large
    for check in CHECKS if not too_large else ():
        problems += check(complete)
    order = {name: index for index, name in enumerate(TABLES)}
    problems.sort(
        key=lambda problem: (
            problem.level != "error", problem.position is not None, order.get(problem.table, -1),
            problem.file or "", problem.row or 0,
        )
    )  # fmt: skip
    return Report(tuple(problems), {name: len(row_labels(tables, name)) for name in TABLES if name in tables})


def usable(tables: Tables, report: Report) -> tuple[Tables, pd.DataFrame]:
    """Return the tables without the rows that have an error, and the rows refused.

    Rows that point at a refused row (the enrolments of a refused student) are refused with it, so that
    the tables returned have no errors.

    Parameters
    ----------
    tables
        As read.
    report
        What `validate` said of them.

    Returns
    -------
    Tables
        The good rows, under their old index labels; only warnings among the problems.
    DataFrame
        One row for each refused row: ``table, file, row, student_id, column, value, message,
        message_zh``; column and value are those of the first error, the messages those of all. Only
        `student_id` is not masked: the caller needs it to name the student.

    Raises
    ------
    TableError
        If a table or a column as a whole cannot be used; the text has all such errors.

    Examples
    --------
    >>> from dropout_risk.tables import make_tables
    >>> tables = make_tables({"schools": pd.DataFrame({"school_id": ["a", "b"], "county_id": ["1", None]})})
    >>> report = Report(tables.problems, {})
    >>> good, refused = usable(tables, report)
    >>> good["schools"]["school_id"].tolist(), refused[["table", "row", "column"]].values.tolist()
    (['a'], [['schools', 2, 'county_id']])
    """
    whole = [str(problem) for problem in report.errors if problem.position is None]
    if whole:
        raise TableError("\n".join(whole))
    errors = list(report.errors)
    good = tables.with_problems(problem for problem in tables.problems if problem.level == "warning")
    if not errors:
        return good, _none_refused().copy(deep=False)
    left: dict[str, Bools] = {}
    orphans = errors
    while orphans:
        left = _without_rows(tables, left, orphans)
        orphans = references(tables, left)
        errors += orphans
    for name, rows in left.items():
        good = take_rows(good, name, np.flatnonzero(rows))
    return good, _refused_rows(tables, errors)


def _without_rows(tables: Tables, left: Mapping[str, Bools], errors: Iterable[Problem]) -> dict[str, Bools]:
    """Return which rows of the tables concerned are left without those that have an error."""
    positions: dict[str, list[int]] = {}
    for problem in errors:
        positions.setdefault(problem.table, []).append(int(problem.position or 0))
    still = dict(left)
    for name, refused in positions.items():
        rows = left[name].copy() if name in left else np.ones(len(row_labels(tables, name)), dtype=bool)
        found = row_labels(tables, name).get_indexer_for(pd.Index(refused))
        rows[found[found >= 0]] = False
        still[name] = rows
    return still


def _refused_rows(tables: Tables, errors: Iterable[Problem]) -> pd.DataFrame:
    by_row: dict[tuple[str, int], list[Problem]] = {}
    for problem in errors:
        by_row.setdefault((problem.table, int(problem.position or 0)), []).append(problem)
    students = _students_of(tables, list(by_row))
    rows = [
        {
            "table": table,
            "file": found[0].file,
            "row": found[0].row,
            "student_id": student,
            "column": found[0].column,
            "value": found[0].value,
            "message": " ".join(problem.message for problem in found),
            "message_zh": "".join(problem.message_zh for problem in found),
        }
        for ((table, _), found), student in zip(by_row.items(), students, strict=True)
    ]
    return _refused(rows)


def _refused(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    columns = ["table", "file", "row", "student_id", "column", "value", "message", "message_zh"]
    return pd.DataFrame(rows, columns=columns).astype({"row": "int64"})


@cache
def _none_refused() -> pd.DataFrame:
    return _refused([])


def _students_of(tables: Tables, rows: Sequence[tuple[str, int]]) -> list[Any]:
    """Return the student of each row, given by table and index label; None where the table has none."""
    labels: dict[str, list[int]] = {}
    for name, position in rows:
        labels.setdefault(name, []).append(position)
    students: dict[tuple[str, int], Any] = {}
    for name, positions in labels.items():
        if "student_id" in tables[name]:
            ids = tables[name]["student_id"].loc[positions]
            students.update(zip(((name, position) for position in positions), ids, strict=True))
    return [students.get(row) for row in rows]


# ------------------------------------------------------------------------------------ what can be checked


def _complete(tables: Tables) -> tuple[Tables, list[Problem]]:
    """Return the tables that have rows and all columns, and what is wrong with the others."""
    complete, problems = [], []
    for name, table in TABLES.items():
        notes, there = Notes(name, tables), len(row_labels(tables, name)) > 0
        if table.core and not there:
            problems.append(notes.whole("missing_table", name=name, zh=table.zh))
        if name not in tables:
            continue
        there_are = columns_of(tables, name)
        missing = [column for column in table.columns if column.name not in there_are]
        for column in missing:
            problems.append(notes.whole("missing_column", column=column.name, name=column.name, zh=column.zh))
        if there and not missing:
            complete.append(name)
    return tables.without(*(name for name in tables if name not in complete)), problems


def _is_still_there(problem: Problem, tables: Tables) -> bool:
    table, position = problem.table, problem.position
    return position is None or (table in tables and position in row_labels(tables, table))
