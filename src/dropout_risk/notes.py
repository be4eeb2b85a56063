"""What is wrong with data, in words: every problem in English and Chinese side by side, with its place and masked."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pandas as pd

from dropout_risk.schema import Level, Problem, Tables
from dropout_risk.words import to_text

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
