"""Columns as people write them, read as the schema's types; what cannot be read becomes a problem.

Every distinct value of a column is read once and the result is spread over its rows, so a date that
stands in a million rows costs one look; columns that already have the schema's type pass through.
The words of all problems stand here too, in English and Chinese side by side.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found]
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype, is_scalar
from pandas.api.types import is_string_dtype as is_text_dtype

from dropout_risk.arrays import COLUMNS, NO_DAY, ROWS, Coded, as_dates
from dropout_risk.schema import DTYPES, Column, Kind, Level, Problem, Table, Tables
from dropout_risk.words import fold, to_text
from dropout_risk.written import (
    ENTRY_YEAR,
    FIRST_DAY,
    FIRST_YEAR,
    LAST_DAY,
    LAST_YEAR,
    LONGEST_NAME,
    UnreadableError,
    are_plain,
    read_value,
)

# fmt: off
MESSAGES: dict[str, tuple[str, str]] = {
    # found while reading
    "refused_column": ("religion is not recorded: delete the column.", "不登记宗教信仰：请删除该列。"),
    "never_read": ("never needed here, so left unread: {headers}.", "此处不需要，未读取：{headers}。"),
    "unknown_column": ("no column of the schema, so left out: {headers}; rename those that matter.",
                       "不是已知的列，未读取：{headers}；如有需要请改列名。"),
    "second_header": ("these mean the same column: {headers}; only the first is read, delete the others.",
                      "下列表头含义相同：{headers}；只读取第一个，请删除其余各列。"),
    "row_left_out": ("{count} empty or total rows are left out; nothing to do.",
                     "空行和合计行共 {count} 行未读取；无需处理。"),
    "unknown_file": ("left out, because neither its name nor its headers say which table it is; name it "
                     "after one: {names}.", "无法从名称或表头判断是哪张表，未读取；请用以下名称命名：{names}。"),
    "too_many_cells": ("the row has more cells than the header; put quotation marks around a text that "
                       "has a comma in it.", "该行单元格多于表头；含逗号的文字请加引号。"),
    "student_id_made": ("there is no student ID, so G and the ID number stand for it; add the column "
                        "学籍号 where that is wrong.",
                        "没有学籍号，以 G 加身份证件号代替；如不正确请增加“学籍号”列。"),
    "missing_column": ("the column is missing; add it under the header {name} or {zh}.",
                       "缺少该列；请以“{zh}”或 {name} 为表头补上。"),
    "no_term": ("which term is it? Add a column term (学期), or give the term when reading the file.",
                "不知道是哪个学期；请增加“学期”列，或在读取时给出学期。"),
    "missing_value": ("the value is missing; fill it in or delete the row.",
                      "缺少必填值；请填写或删除该行。"),
    "not_a_date": ("{value} is not a date; write it as 2020-09-01.",
                   "“{value}”不是日期；请写成 2020-09-01。"),
    "not_a_number": ("{value} is not a number; write digits only, without a unit.",
                     "“{value}”不是数字；请只写数字，不带单位。"),
    "not_an_integer": ("{value} is not a whole number; write one.", "“{value}”不是整数；请填整数。"),
    "not_a_boolean": ("{value} is neither yes nor no; write yes or no.",
                      "“{value}”既不是“是”也不是“否”；请填“是”或“否”。"),
    "not_allowed": ("{value} is not allowed here; write one of {allowed}.",
                    "“{value}”不在允许的取值内；请填：{allowed_zh}。"),
    "not_a_grade": ("{value} is not a grade; write a number from 1 to 9.",
                    "“{value}”不是年级；请填 1 到 9。"),
    "entry_year": ("{value} is a year of entry, and the stage of the school or the term is not known; "
                   "write the grade, 1 to 9.", "“{value}”是入学年份，学段或学期未知；请直接填写年级 1 到 9。"),
    "out_of_range": ("{value} is outside {minimum:g} to {maximum:g}; correct it (where the column may be "
                     "empty, it is left empty).",
                     "{value} 超出 {minimum:g} 到 {maximum:g} 的范围；请更正（选填项暂作空值）。"),
    "too_long": ("the text has more than {longest} characters; shorten it (where the column may be empty, it is left "
                 "empty).", "文字超过 {longest} 个字符；请缩短（选填项暂作空值）。"),
    # found by the checks
    "missing_table": ("the table is missing or empty; add a file named {name} or {zh}.",
                      "缺少该表或表为空；请提供名为“{zh}”或 {name} 的文件。"),
    "too_many_pairs": ("{one:,} {words[0]} times {other:,} {words[1]} are more than can be worked on at once; look for "
                       "mistakes in them, or send fewer at a time.",
                       "{one:,} {words_zh[0]}乘以 {other:,} {words_zh[1]}，超出一次可处理的数量；请检查是否有误，"
                       "或分批提交。"),
    "duplicate_key": ("an earlier row has the same {key}; delete one of them, or give the correction a "
                      "later recorded_at.",
                      "与前面某行的 {key_zh} 相同；请删除其一，或给更正行填写更晚的登记日期。"),
    "duplicate_row": ("the row stands here more than once, word for word; delete the copies.",
                      "该行完全重复；请删除多余的行。"),
    "unknown_student_id": ("no usable row of students has the student ID {value}; add or correct it.",
                           "学生表中没有可用的学籍号 {value}；请补充或更正。"),
    "unknown_school_id": ("no usable row of schools has the school ID {value}; add or correct it.",
                          "学校表中没有可用的学校标识码 {value}；请补充或更正。"),
    "unknown_term": ("no usable row of terms has the term {value}; add or correct it.",
                     "学期表中没有可用的学期 {value}；请补充或更正。"),
    "bad_check_digit": ("the check digit of the ID number {value} is wrong; compare it with the paper.",
                        "身份证件号 {value} 校验码不符；请与证件核对。"),
    "excel_damaged": ("a spreadsheet has rounded the last digits of the ID number {value}; format the "
                      "column as text and enter the number again.",
                      "身份证件号 {value} 的末几位被表格软件改动；请将该列设为文本后重新填写。"),
    "bad_date": ("the birth date inside the ID number {value} does not exist; compare it with the paper.",
                 "身份证件号 {value} 中的出生日期不存在；请与证件核对。"),
    "bad_length": ("the ID number {value} has not 18 digits (15 in old papers); compare it with the paper.",
                   "身份证件号 {value} 不是 18 位（旧证 15 位）；请与证件核对。"),
    "birth_mismatch": ("the birth date {value} is not the one inside the ID number; compare both with the "
                       "paper.", "出生日期 {value} 与身份证件号不一致；请与证件核对。"),
    "age_grade": ("the student is {value} years old on 1 September, unusual for the grade; check the birth "
                  "date and the grade.", "9 月 1 日时年龄为 {value} 岁，与年级不符；请核对出生日期和年级。"),
    "non_school_day": ("attendance on {value}, a day without school; check the calendar and the dates.",
                       "{value} 不是上课日却有考勤；请核对校历和日期。"),
    "outside_term": ("attendance on {value}, a day outside all terms; check the terms and the dates.",
                     "考勤日期 {value} 不在任何学期内；请核对学期和日期。"),
    "future_date": ("{value} is after the end of the last term, {end}; check it or add the term.",
                    "{value} 晚于最后一个学期的结束日期 {end}；请核对或补充学期。"),
    "recorded_early": ("recorded on {value}, before it happened; check both dates.",
                       "登记日期 {value} 早于发生日期；请核对。"),
    "no_recorded_at": ("it is not said when this became known; it defaults to the event date, so fill in "
                       "recorded_at where records come late.",
                       "没有登记日期，默认按发生日期处理；补录的数据请填写登记日期。"),
    "term_order": ("the term does not end after it starts; correct start and end.",
                   "结束日期不晚于开始日期；请更正。"),
    "term_overlap": ("the term starts on {value}, before an earlier one has ended; correct the dates.",
                     "开始日期 {value} 早于上一学期的结束日期；请更正。"),
    "distance": ("{value} km to school is unlikely: metres, li, or 0 for unknown? Correct it or leave it "
                 "empty.", "上下学距离 {value} 公里不合常理：单位是米或里，或以 0 表示未知？请更正或留空。"),
    "too_perfect": ("not one absence in a whole term at school {value} with 30 students or more; ask "
                    "whether the register is taken every day.",
                    "学校 {value} 学生不少于 30 人，整学期无一人缺勤；请核实是否每天如实点名。"),
}
"""Kind of problem -> what is wrong and what to do next, in English and Chinese."""
# fmt: on

NAMED_ROWS = 5
"""How many rows a grouped warning names."""

_LONG_NUMBER = re.compile(r"(\d{6})(\d{4,})(\d{3}[\dXx])")


def mask(text: str, column: str | None = None) -> str:
    """Return `text` so that it can be shown: no name, and no ID number in full.

    Parameters
    ----------
    text
        A value as it stands in a table.
    column
        Name of its column; long numbers are masked whatever the column.

    Returns
    -------
    str of at most 40 characters.

    Examples
    --------
    >>> mask("513425201001011328", "id_number"), mask("G513425201001011328", "student_id")
    ('513425********1328', 'G513425********1328')
    >>> mask("王小明", "name"), mask("2020-13-01", "date")
    ('王**', '2020-13-01')
    """
    shown = _LONG_NUMBER.sub(lambda found: found[1] + "*" * len(found[2]) + found[3], text)
    if column == "name" or (column == "id_number" and shown == text):
        shown = text[:1] + "*" * (len(text) - 1)
    return shown if len(shown) <= 40 else shown[:39] + "…"


@dataclass(frozen=True)
class Notes:
    """Writes down what is wrong with one table: in which file and row, and in both languages.

    Attributes
    ----------
    table
        Name of the table.
    tables
        Where its rows came from.

    Examples
    --------
    >>> notes = Notes("terms", Tables({}))
    >>> print(notes.each("not_a_date", [3], column="start", values=["soon"])[0])
    terms, row 4, column start: soon is not a date; write it as 2020-09-01.
    >>> print(notes.grouped("recorded_early", range(9), column="recorded_at", values=["2020-09-01"])[0])
    terms, row 1, column recorded_at: recorded on 2020-09-01, before it happened; check both dates.
    (9 rows: 1, 2, 3, 4, 5 and 4 more)
    """

    table: str
    tables: Tables

    def whole(self, kind: str, *, level: Level = "error", file: str | None = None,
              column: str | None = None, count: int = 1, **details: Any) -> Problem:  # fmt: skip
        """Return a problem of the table, or of one of its columns, as a whole."""
        english, chinese = (text.format(count=count, **details) for text in MESSAGES[kind])
        return Problem(level, kind, self.table, english, chinese, file=file, column=column, count=count)

    def by_header(self, cells: pd.Series, column: str) -> dict[str, pd.Series]:
        """Return cells of a column by what stands above them in their files."""
        if not any(source.headers for source in self.tables.sources.get(self.table, ())):
            return {column: cells}
        headers = cells.index.map(lambda position: self.tables.header(self.table, position, column))
        return {str(header): own for header, own in cells.groupby(headers, sort=False)}

    def each(self, kind: str, positions: Iterable[int], *, column: str | None = None,
             values: Iterable[object] | None = None, level: Level = "error",
             **details: Any) -> list[Problem]:  # fmt: skip
        """Return one problem for each of the rows with index labels `positions`."""
        positions = list(positions)
        shown = [None] * len(positions) if values is None else [mask(_shown(value), column) for value in values]
        english, chinese = MESSAGES[kind]
        problems = []
        for position, value in zip(positions, shown, strict=True):
            file, row = self.tables.locate(self.table, position)
            problems.append(Problem(
                level, kind, self.table,
                english.format(value=value, **details), chinese.format(value=value, **details),
                file=file, row=row, column=column, value=value, position=int(position),
            ))  # fmt: skip
        return problems

    def grouped(self, kind: str, positions: Sequence[int] | pd.Index, *, column: str | None = None,
                values: Iterable[object] | None = None, **details: Any) -> list[Problem]:  # fmt: skip
        """Return one warning for all rows with index labels `positions`, which names the first of them.

        `values` starts with the value of the first row; there is no problem where there are no rows.
        """
        if len(positions) == 0:
            return []
        first_value = None if values is None else [next(iter(values))]
        first = self.each(kind, positions[:1], column=column, values=first_value, level="warning", **details)
        if len(positions) == 1:
            return first
        places = [self.tables.locate(self.table, position) for position in positions[:NAMED_ROWS]]
        rows = ", ".join(str(row) if file == places[0][0] else f"{file} {row}" for file, row in places)
        more = len(positions) - len(places)
        english = f" ({len(positions):,} rows: {rows}{f' and {more:,} more' if more else ''})"
        chinese = f"（共 {len(positions):,} 行：{rows}{' 等' if more else ''}）"
        return [replace(
            first[0], message=first[0].message + english, message_zh=first[0].message_zh + chinese,
            count=len(positions),
        )]  # fmt: skip


def _shown(value: object) -> str:
    if isinstance(value, date) and date.min.year <= value.year <= date.max.year:
        return value.strftime("%Y-%m-%d")
    return to_text(value)


# ---------------------------------------------------------------------------------------- one column

_Texts: Any = pd.arrays.ArrowStringArray  # its types leave out what it is made of
_BOOLEAN: Any = pd.BooleanDtype()  # they leave out how it reads Arrow, too
_TEXT = pd.StringDtype(na_value=np.nan)
_DAYS = np.dtype("datetime64[D]")

Typed: TypeAlias = pd.api.extensions.ExtensionArray | NDArray[Any]
"""The values of a column of a frame, without the labels of the rows."""

Cells: TypeAlias = "Typed | pa.DictionaryArray | pa.BooleanArray | pa.NullArray"
"""The values of a column as they come: of any type, or texts, yes and no, or nothing at all, as Arrow has them."""

ENCODED = pa.dictionary(pa.int32(), pa.large_string())
"""How Arrow has texts that are cells: each distinct one once."""

Faults = dict[str, NDArray[np.bool_]]
"""Kind of problem -> which rows have it."""

_FORMS: dict[Kind, str] = {
    "string": "texts",
    "integer": "numbers",
    "number": "numbers",
    "boolean": "flags",
    "date": "days",
    "category": "labels",
}
"""Kind of column -> the function of `arrays` whose form it is read in."""


def dtype_of(column: Column) -> Any:
    """Return the pandas dtype that `column` has after reading.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> dtype_of(TABLES["terms"]["start"])
    'datetime64[us]'
    """
    return _dtype_of_category(tuple(column.allowed)) if column.kind == "category" else DTYPES[column.kind]


@cache
def _dtype_of_category(allowed: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(allowed))


def cells_of(values: pd.Series) -> Typed:
    """Return the values of a column of a frame, without their labels.

    Examples
    --------
    >>> cells_of(pd.Series([1.0, 2.5]))
    array([1. , 2.5])
    """
    array = values.array
    if not _is_plain(values.dtype):
        return _single_values(array)
    return array.to_numpy() if isinstance(array, pd.arrays.NumpyExtensionArray) else array


def _is_plain(dtype: Any) -> bool:
    """Whether the cells of a column are single values, and pandas knows how to tell them apart."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biufmM"
    if isinstance(dtype, pd.ArrowDtype):
        return not pa.types.is_nested(dtype.pyarrow_dtype)
    return not isinstance(dtype, pd.SparseDtype | pd.PeriodDtype | pd.IntervalDtype)


def _single_values(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return values as they are, but for those that are several, such as lists: these are texts, which are refused."""
    values = list(values)
    kinds = {type(value): value for value in values}
    if not all(map(is_scalar, kinds.values())):
        values = [value if is_scalar(value) else to_text(value) for value in values]
    return np.fromiter(values, dtype=object, count=len(values))


def cells_of_values(values: Sequence[Any]) -> Cells:
    """Return values as they are: those of one type as a column of that type, which is quicker to read.

    Examples
    --------
    >>> cells_of_values([88, 90.5, None]), cells_of_values([90.5, True])
    (array([88. , 90.5,  nan]), array([90.5, True], dtype=object))
    """
    first = next((value for value in values if value is not None), None)
    if first is None:
        return pa.nulls(len(values))
    try:
        if isinstance(first, str):
            return pa.array(values, ENCODED)
        cells = pa.array(values)
        if isinstance(cells, pa.Int64Array):
            cells = cells.cast(pa.float64())  # refuses what a float cannot hold, such as an ID number
        if isinstance(cells, pa.DoubleArray) and bool not in set(map(type, values)):  # Arrow takes yes for 1
            return cells.to_numpy(zero_copy_only=False)
        if isinstance(cells, pa.BooleanArray):
            return cells
    except (pa.ArrowException, TypeError, UnicodeError, OverflowError):
        pass
    return _single_values(values)


def as_series(cells: Cells, rows: pd.Index) -> pd.Series:
    """Return `cells` as a column of a frame; what `cells_of` returns stays as it is.

    Examples
    --------
    >>> as_series(pa.array(["b", None], ENCODED), pd.RangeIndex(2)).tolist()
    ['b', nan]
    """
    values = cells
    if isinstance(cells, np.ndarray) and cells.dtype == _DAYS:
        values = as_dates(cells.view(np.int64))
    elif isinstance(cells, pa.BooleanArray):
        values = _BOOLEAN.__from_arrow__(cells)
    elif isinstance(cells, pa.Array):
        values = _Texts(cells.cast(pa.large_string()), dtype=_TEXT)
    return pd.Series(values, index=rows, dtype=values.dtype)


def coerce_column(values: pd.Series, column: Column) -> tuple[pd.Series, Faults]:
    """Return `values` in the dtype of `column`, and which rows could not be read.

    Parameters
    ----------
    values : Series of length n
        Text, or values of any type.
    column
        What they should be.

    Returns
    -------
    Series of length n, missing where a value is missing, unreadable or out of range
    Faults
        Kind of problem -> bool array of length n.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> values, faults = coerce_column(pd.Series(["初二(3)班", "Grade 7", "3班"]), TABLES["enrolments"]["grade"])
    >>> values.tolist(), {kind: rows.tolist() for kind, rows in faults.items()}
    ([8.0, 7.0, nan], {'not_a_grade': [False, False, True]})
    """
    read = read_cells(cells_of(values), column)
    return pd.Series(_typed(read, column), index=values.index), read.faults


class Read(NamedTuple):
    """A column as it was read.

    Attributes
    ----------
    values
        In the form in which `arrays` has a column of its kind.
    faults
        Which rows could not be read.
    """

    values: Any
    faults: Faults

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value, neither a good one nor one that could not be read."""
        values = self.values.codes if isinstance(self.values, Coded) else self.values
        missing: NDArray[np.bool_]
        if values.dtype == np.float64:
            missing = np.isnan(values)
        else:
            missing = values == (NO_DAY if values.dtype == np.int64 else -1)
        for wrong in self.faults.values():
            missing = missing & ~wrong
        return missing


def read_cells(cells: Cells, column: Column) -> Read:
    """Return what the cells of a column say, and which could not be read.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> read_cells(pa.array(["1970年1月3日", None, "soon"], ENCODED), TABLES["terms"]["start"]).faults
    {'not_a_date': array([False, False,  True])}
    """
    cells = as_arrow(cells)
    if isinstance(cells, pa.NullArray):
        return _missing(column, len(cells))
    read = _pass_through(cells, column) or _read_distinct(cells, column)
    if column.minimum is None and column.maximum is None:
        return read
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    outside = (read.values < low) | (read.values > high)
    if not outside.any():
        return read
    return Read(np.where(outside, np.nan, read.values), {**read.faults, "out_of_range": outside})


def _pass_through(cells: Cells, column: Column) -> Read | None:
    """Return a copy of a column whose type already fits, or None where the values must be read one by one."""
    if isinstance(cells, pa.Array):
        return _pass_arrow(cells, column)
    dtype = cells.dtype
    if column.kind == "date" and is_datetime64_any_dtype(dtype):
        return _pass_days(cells)
    if column.kind in ("integer", "number") and is_numeric_dtype(dtype) and not is_bool_dtype(dtype):
        return _pass_numbers(cells, column)
    if column.kind == "boolean" and is_bool_dtype(dtype):
        return Read(pd.Series(cells).astype("boolean").to_numpy(np.int8, na_value=-1), {})
    if column.kind == "category" and isinstance(cells, pd.Categorical):
        place = {value: place for place, value in enumerate(column.allowed)}
        if place.keys() >= set(cells.categories):
            places = np.array([*map(place.get, cells.categories), -1], dtype=np.int8)
            return Read(places.take(cells.codes), {})
    return None


def _pass_days(cells: Typed) -> Read:
    naive = cells if isinstance(cells.dtype, np.dtype) else pd.Series(cells).dt.tz_localize(None).to_numpy()
    days = np.asarray(naive).astype(_DAYS).view(np.int64)
    beyond = ((days < FIRST_YEAR) | (days > LAST_YEAR)) & (days != NO_DAY)
    if beyond.any():
        return Read(np.where(beyond, NO_DAY, days), {"not_a_date": beyond})
    return Read(days, {})


def _pass_arrow(cells: pa.Array, column: Column) -> Read | None:
    if isinstance(cells, pa.BooleanArray):
        return Read(_flags(cells), {}) if column.kind == "boolean" else None
    if column.kind == "date":
        return _plain_days(cells)
    if column.kind == "string":
        texts = Coded(*_distinct(cells))
        return Read(texts, {}) if are_plain(texts.names.tolist()) else None
    return None


def _plain_days(texts: pa.DictionaryArray) -> Read | None:
    """Return the days of a column in which all are written as 2020-09-01, None where one is not."""
    try:
        days = texts.dictionary.cast(pa.date32()).view(pa.int32()).to_numpy()
    except pa.ArrowInvalid:
        return None
    if len(days) and not FIRST_DAY <= days.min() <= days.max() <= LAST_DAY:
        return None
    return Read(np.append(days, NO_DAY).take(_codes(texts)), {})


def _flags(cells: pa.BooleanArray) -> NDArray[np.int8]:
    flags: NDArray[np.int8] = (
        cells.cast(pa.int8()).fill_null(-1).to_numpy()
        if cells.null_count
        else cells.to_numpy(zero_copy_only=False).view(np.int8)
    )
    return flags


def _pass_numbers(cells: Typed, column: Column) -> Read:
    numbers = cells if isinstance(cells, np.ndarray) else pd.Series(cells).to_numpy(dtype="float64", na_value=np.nan)
    numbers = numbers.astype("float64")
    faults = {"not_a_number": np.isinf(numbers)}
    if column.kind == "integer":
        faults["not_an_integer"] = (np.floor(numbers) != numbers) & ~np.isnan(numbers)
    faults = {kind: wrong for kind, wrong in faults.items() if wrong.any()}
    for wrong in faults.values():
        numbers[wrong] = np.nan
    return Read(numbers, faults)


def as_arrow(cells: Cells) -> Cells:
    """Return texts as Arrow has them, each distinct one once, and all else as it is."""
    if not isinstance(cells, _Texts):
        return cells
    chunks = pa.chunked_array(cells.__arrow_array__())
    return (chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()).dictionary_encode()


def _codes(texts: pa.DictionaryArray) -> NDArray[np.int32]:
    """Return for each text its place in the dictionary, -1 where there is none."""
    codes: NDArray[np.int32] = (texts.indices.fill_null(-1) if texts.null_count else texts.indices).to_numpy()
    return codes


def _distinct(cells: Cells) -> tuple[NDArray[Any], NDArray[np.object_]]:
    """Return for each row the place of its value among the distinct ones, -1 where it has none, and these."""
    if isinstance(cells, pa.Array):
        encoded = cells.dictionary_encode()
        return _codes(encoded), encoded.dictionary.to_numpy(zero_copy_only=False)
    values = pd.Series(cells, dtype=cells.dtype)
    if values.dtype == object:  # lists and the like cannot be hashed
        values = values.map(to_text, na_action="ignore")
    codes, distinct = pd.factorize(values)
    return codes.astype(np.int32), np.array([*distinct, None], dtype=object)[:-1]


def _read_distinct(cells: Cells, column: Column) -> Read:
    codes, values = _distinct(cells)
    results: list[Any] = []
    kinds: list[str] = []
    for value in values:
        try:
            results.append(read_value(value if isinstance(value, str) else to_text(value), column))
            kinds.append("")
        except UnreadableError as error:
            results.append(None)
            kinds.append(str(error))
    kind_of = np.array([*kinds, ""])
    faults = {kind: np.isin(codes, np.flatnonzero(kind_of == kind)) for kind in sorted({*kinds} - {""})}
    return Read(_spread(results, codes, column), faults)


def _spread(results: Sequence[Any], codes: NDArray[Any], column: Column) -> Any:
    """Return for each row what was read: a missing value has code -1, which is the None put last."""
    results = [*results, None]
    if column.kind == "string":
        place = {text: place for place, text in enumerate(dict.fromkeys(text for text in results if text is not None))}
        names = np.array([*place, None], dtype=object)[:-1]
        return Coded(np.array([place.get(text, -1) for text in results], dtype=np.int32).take(codes), names)
    if column.kind == "category":
        place = {value: place for place, value in enumerate(column.allowed)}
        return np.array([place.get(result, -1) for result in results], dtype=np.int8).take(codes)
    if column.kind in ("integer", "number"):
        return np.array(results, dtype=np.float64).take(codes)
    missing, dtype = (NO_DAY, np.int64) if column.kind == "date" else (-1, np.int8)
    return np.array([missing if result is None else result for result in results], dtype=dtype).take(codes)


def _missing(column: Column, length: int) -> Read:
    return Read(_spread([], np.full(length, -1, dtype=np.int32), column), {})


def _typed(read: Read, column: Column) -> Typed:
    """Return a column that was read as a frame holds it."""
    if column.kind == "string":
        return _text(read.values)
    if column.kind == "date":
        return as_dates(read.values)
    if column.kind == "boolean":
        return pd.arrays.BooleanArray(read.values == 1, read.values < 0)
    if column.kind == "category":
        return pd.Categorical.from_codes(read.values, dtype=dtype_of(column), validate=False)
    values: Typed = read.values
    return values


def _text(coded: Coded) -> Typed:
    texts = pa.array(coded.names, pa.large_string()).take(pa.array(coded.codes, mask=coded.codes < 0))
    made: Typed = _Texts(texts, dtype=_TEXT)
    return made


# ---------------------------------------------------------------------------------------- one table


def coerce_table(
    table: Table,
    sent: Mapping[str, Cells],
    rows: pd.Index,
    notes: Notes,
    *,
    schools: "Made | None" = None,
) -> "Made":
    """Return a table with exactly the columns and dtypes of `table`, and what could not be read.

    Parameters
    ----------
    table
        What the columns should be.
    sent
        Columns named as in the schema, values of any type.
    rows
        The labels of the rows.
    notes
        Writes the problems down.
    schools : Made or None
        The table of schools: with their stages a year of entry (2019级) can be read as a grade.

    Examples
    --------
    >>> from dropout_risk.schema import TERMS
    >>> sent = {"term": np.array(["2020-1"]), "start": np.array(["2020年9月1日"]), "end": np.array([44211])}
    >>> made = coerce_table(TERMS, sent, pd.RangeIndex(1), Notes("terms", Tables({})))
    >>> made.frame().astype(str).to_dict("records"), made.problems
    ([{'term': '2020-1', 'start': '2020-09-01', 'end': '2021-01-15'}], [])
    """
    reads: list[Read] = []
    problems: list[Problem] = []
    for column in table.columns:
        if column.name not in sent:
            reads.append(_missing(column, len(rows)))
            if column.required:
                kind = "no_term" if column.name == "term" and table.name != "terms" else "missing_column"
                problems.append(notes.whole(kind, column=column.name, name=column.name, zh=column.zh))
            continue
        cells = sent[column.name]
        if column.name == "grade":
            cells = _grades_from_entry_years(cells, sent, rows, schools)
        read = read_cells(cells, column)
        reads.append(read)
        if read.faults:
            problems += _fault_problems(as_series(cells, rows), read.faults, column=column, notes=notes)
        if column.required and (missing := read.missing).any():
            problems += notes.each("missing_value", list(rows[missing]), column=column.name)
    known = {(_FORMS[column.kind], column.name): read.values for column, read in zip(table.columns, reads, strict=True)}
    known |= {ROWS: rows, COLUMNS: frozenset(table.names)}
    return Made(partial(_frame, table, reads, rows), known, problems)


class Made(NamedTuple):
    """A table that was read: what makes its frame, what is known of its columns already, and what is wrong with it."""

    frame: Callable[[], pd.DataFrame]
    known: dict[Any, Any]
    problems: list[Problem]


def _frame(table: Table, reads: Sequence[Read], rows: pd.Index) -> pd.DataFrame:
    """Return the frame of a table, of blocks that pandas holds as they are: to make its own takes ten times as long."""
    alike: dict[np.dtype[Any], list[tuple[int, Typed]]] = {}
    blocks: list[tuple[Typed, NDArray[np.intp]]] = []
    for place, (column, read) in enumerate(zip(table.columns, reads, strict=True)):
        values = _typed(read, column)
        if isinstance(values, np.ndarray):
            alike.setdefault(values.dtype, []).append((place, values))
        else:
            blocks.append((values, np.array([place])))
    for placed in alike.values():
        blocks.append((np.array([values for _, values in placed]), np.array([place for place, _ in placed])))
    frame: pd.DataFrame = create_dataframe_from_blocks(blocks, rows, _labels(tuple(table.names)).view())
    return frame


@cache
def _labels(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def _fault_problems(raw: pd.Series, faults: Faults, *, column: Column, notes: Notes) -> list[Problem]:
    problems: list[Problem] = []
    details: dict[str, Any] = {
        "minimum": column.minimum or 0,
        "maximum": column.maximum or 0,
        "longest": LONGEST_NAME,
        "allowed": ", ".join(column.allowed),
        "allowed_zh": "、".join(spellings[0] if spellings else value for value, spellings in column.allowed.items()),
    }  # fmt: skip
    can_be_empty = {"out_of_range": not column.required, "too_long": column.role == "label"}
    for kind, wrong in faults.items():
        write = notes.grouped if can_be_empty.get(kind, False) else notes.each
        for header, cells in notes.by_header(raw[wrong], column.name).items():
            problems += write(kind, list(cells.index), column=header, values=list(cells), **details)
    return problems


def _grades_from_entry_years(cells: Cells, sent: Mapping[str, Cells], rows: pd.Index, schools: "Made | None") -> Cells:
    """Replace 2019级(2)班 by the grade, where the term and the stage of the school say which it is."""
    if not isinstance(cells, pa.Array) and cells.dtype != object and not is_text_dtype(cells.dtype):
        return cells
    if "term" not in sent or not any(ENTRY_YEAR.search(fold(str(value))) for value in _distinct(as_arrow(cells))[1]):
        return cells
    grades = as_series(cells, rows)
    parts = _texts_of(grades).map(fold, na_action="ignore").astype("str").str.extract(ENTRY_YEAR)
    found = parts["year"].notna()
    terms = _texts_of(as_series(sent["term"], rows)[found])
    years = terms.str.extract(r"(20\d\d)")[0].astype("float64") - parts.loc[found, "year"].astype("float64") + 1
    base = parts.loc[found, "stage"].map({"小": 0, "初": 6})
    if schools is not None and "school_id" in sent:
        stages = schools.frame().drop_duplicates("school_id").set_index("school_id")["stage"]
        by_school = stages.map({"primary": 0, "teaching_point": 0, "junior": 6}).astype("float64")
        base = base.fillna(_texts_of(as_series(sent["school_id"], rows)[found]).str.strip().map(by_school))
    base = base.mask(base.isna() & years.between(4, 6), 0)  # nobody is in the fourth year of junior school
    read = (years + base).dropna()
    return cells_of(grades.astype("object").where(~grades.index.isin(read.index), read.reindex(grades.index)))


def _texts_of(values: pd.Series) -> pd.Series:
    return values.astype("object").map(to_text, na_action="ignore").astype("str")
