"""Lines of an attendance register and of a mark sheet against reading them letter by letter and mark by mark."""

import copy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropout_risk.errors import TableError
from dropout_risk.features import build_features
from dropout_risk.headers import is_subject
from dropout_risk.registers import LONGEST_LINE, days_of_lines, lines_of_days, lines_of_marks
from dropout_risk.schema import MISSED_EXAM, SUBJECT_HEADERS, TABLES, Problem
from dropout_risk.synthetic import make_county
from dropout_risk.tables import make_tables, read_tables, tables_from_records
from dropout_risk.validation import validate

CODES = st.text("PAU .-_X✓", max_size=12) | st.none()
FIRST = st.sampled_from(["2020-09-01", "2020年2月28日", "20191230", "soon", None])


def spread(lines: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the days of lines as a frame, and how many labels a line has."""
    days, rows, per_line = days_of_lines({name: lines[name].array for name in lines}, lines.index)
    return pd.DataFrame({name: pd.Series(cells) for name, cells in days.items()}).set_axis(rows), per_line


def letter_by_letter(lines: list[tuple[str | None, str | None]]) -> list[tuple[int, str, str]]:
    """Return (line, day, code) of each record in the lines that can be read."""
    found = []
    for number, (first, codes) in enumerate(lines):
        if first in (None, "soon") or not codes:
            continue
        start = pd.Timestamp(first.replace("年", "-").replace("月", "-").replace("日", ""))
        for place, letter in enumerate(codes):
            if letter not in " .-_":
                found.append((number, str((start + pd.Timedelta(days=place)).date()), letter))
    return found


@given(st.lists(st.tuples(FIRST, CODES), max_size=8))
def test_a_line_is_one_record_a_day(lines: list[tuple[str | None, str | None]]) -> None:
    frame = pd.DataFrame(lines, columns=["date", "code"], dtype=object).assign(
        student_id=[f"s{number}" for number in range(len(lines))]
    )
    days, per_line = spread(frame)
    readable = [first not in (None, "soon") and bool(codes) for first, codes in lines]
    line = days.index // per_line
    told = [
        (number, str(row.date)[:10], str(row.code))
        for number, row in zip(line, days.itertuples(), strict=True)
        if readable[number]
    ]
    assert told == letter_by_letter(lines)
    assert days["student_id"].tolist() == [f"s{number}" for number in line]


@given(st.lists(st.tuples(FIRST, CODES), max_size=8))
def test_a_line_that_cannot_be_read_stays_one_row(lines: list[tuple[str | None, str | None]]) -> None:
    days, per_line = spread(pd.DataFrame(lines, columns=["date", "code"], dtype=object))
    for number, (first, codes) in enumerate(lines):
        if first in (None, "soon") or not codes:
            rows = days[days.index // per_line == number]
            assert len(rows) == 1
            assert rows["code"].iloc[0] == codes or (pd.isna(rows["code"].iloc[0]) and codes is None)


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "学生"]),
        st.sampled_from(["2020-02-28", "2020-02-29", "2020-03-02", "2021-09-01"]),
        st.sampled_from("NXPOLESAU"),
        st.sampled_from([None, "2020-02-29", "2021-09-01"]),
    ),
    max_size=12,
)


@given(RECORDS)
def test_days_become_lines_and_days_again(records: list[tuple[str, str, str, str | None]]) -> None:
    days = pd.DataFrame(records, columns=["student_id", "date", "code", "recorded_at"], dtype=object)
    days = days.assign(date=pd.to_datetime(days["date"]), recorded_at=pd.to_datetime(days["recorded_at"]))
    lines = lines_of_days(days)
    again, _ = spread(lines.rename(columns={"codes": "code"}))

    def told(frame: pd.DataFrame) -> list[tuple[str, str, str, str]]:
        known = frame["recorded_at"].fillna(frame["date"])
        return sorted(
            (row.student_id, str(row.date), str(row.code), str(late))
            for row, late in zip(frame.itertuples(), known, strict=True)
        )

    assert told(again) == told(days)
    if len({record[0] for record in records}) == len(records):
        assert len(lines) == len(records)


@given(st.dates(), st.integers(1, LONGEST_LINE - 1), st.booleans())
def test_days_that_fit_in_a_line_are_one_whenever_they_begin(first: date, later: int, too_late: bool) -> None:
    start = np.datetime64(first, "us")
    dates = pd.Series([start, start + np.timedelta64(LONGEST_LINE if too_late else later, "D")])
    lines = lines_of_days(pd.DataFrame({"student_id": "a", "date": dates, "code": "P", "recorded_at": pd.NaT}))
    assert lines["codes"].str.len().tolist() == ([1, 1] if too_late else [later + 1])


def test_a_term_of_a_school_is_a_line_a_student() -> None:
    days = make_county(120, terms=1, seed=3)["attendance"]
    lines = lines_of_days(days)
    on_the_day = days["recorded_at"].isna() | (days["recorded_at"] == days["date"])
    assert lines["recorded_at"].isna().sum() == days.loc[on_the_day, "student_id"].nunique()


def test_a_register_is_read_as_the_records_that_it_stands_for() -> None:
    tables = make_county(60, terms=1, seed=4)
    read = make_tables({"attendance": lines_of_days(tables["attendance"])})
    assert not [problem for problem in read.problems if problem.level == "error"]
    days = ["student_id", "date", "code"]
    assert read["attendance"][days].sort_values(days).to_numpy().tolist() == (
        tables["attendance"][days].sort_values(days).to_numpy().tolist()
    )


def test_a_fault_in_a_register_is_told_with_its_line() -> None:
    rows = {"student_id": ["a", "b", "c"], "date": ["2020-09-01", "soon", "2020-09-01"], "codes": ["PP", "P", "PQ.P"]}
    read = tables_from_records({"attendance": rows})
    assert [(problem.row, problem.column, problem.value) for problem in read.problems] == [
        (2, "date", "soon"),
        (3, "code", "Q"),
    ]
    assert len(read["attendance"]) == 6


def test_a_register_as_a_file_is_found_by_its_chinese_header(tmp_path: Path) -> None:
    (tmp_path / "考勤.csv").write_text("学籍号,日期,逐日考勤\na,2020-09-01,PPU\nb,2020-09-01,P?P\n", "utf-8")
    read = read_tables(tmp_path)
    assert read["attendance"]["code"].isna().tolist() == [False, False, False, False, True, False]
    assert [(problem.file, problem.row) for problem in read.problems if problem.level == "error"] == [("考勤.csv", 3)]


def test_registers_in_several_files_are_put_together_and_rows_are_located(tmp_path: Path) -> None:
    (tmp_path / "attendance-1.csv").write_text("student_id,date,codes\na,2020-09-01,PPU\n", "utf-8")
    (tmp_path / "attendance-2.csv").write_text("student_id,date,codes\nb,2020-09-02,P\nb,2020-09-03,PQ\n", "utf-8")
    (tmp_path / "attendance-3.csv").write_text("student_id,date,code\nc,2020-09-01,缺勤\nc,soon,P\n", "utf-8")
    read = read_tables(tmp_path)
    assert read["attendance"]["student_id"].tolist() == [*"aaabbbcc"]
    assert read["attendance"]["date"].astype("str").tolist()[:7] == [
        "2020-09-01", "2020-09-02", "2020-09-03", "2020-09-02", "2020-09-03", "2020-09-04", "2020-09-01",
    ]  # fmt: skip
    told = [(problem.file, problem.row, problem.column) for problem in read.problems if problem.level == "error"]
    assert told == [("attendance-3.csv", 3, "date"), ("attendance-2.csv", 3, "code")]


def test_half_a_letter_in_a_line_is_left_out() -> None:
    read = tables_from_records({"attendance": {"student_id": ["a"], "date": ["2020-09-01"], "codes": ["P\ud800U"]}})
    assert read["attendance"]["code"].tolist() == ["P", "U"]


@pytest.mark.parametrize("sent", [["P", "U"], {"P": "U"}])
def test_several_values_in_place_of_a_line_are_one_fault_and_no_days(sent: object) -> None:
    lines = {"student_id": ["a", "b"], "date": ["2020-09-01"] * 2, "codes": [sent, "PU"]}
    read = tables_from_records({"attendance": lines})
    assert read["attendance"]["code"].tolist()[1:] == ["P", "U"]
    (told,) = [problem for problem in read.problems if problem.kind == "not_allowed"]
    assert (told.level, told.row, told.column) == ("error", 1, "code")


def test_too_many_days_are_refused_before_they_are_spread() -> None:
    lines = pd.DataFrame({"date": ["2020-09-01"] * 200_000, "code": ["P" * 400] + ["P"] * 199_999})
    with pytest.raises(TableError, match="more than 20,000,000 days; send fewer students"):
        spread(lines)


def test_a_text_longer_than_any_year_is_no_line() -> None:
    days, _ = spread(pd.DataFrame({"date": ["2020-09-01"], "code": ["P" * (LONGEST_LINE + 1)]}))
    assert days["code"].tolist() == ["P" * (LONGEST_LINE + 1)]


def test_no_lines_are_no_days() -> None:
    days, per_line = spread(pd.DataFrame({"student_id": [], "date": [], "code": []}))
    assert (list(days), len(days), per_line) == (["student_id", "date", "code"], 0, 1)


# Mark sheets -----------------------------------------------------------------------------------------

SUBJECTS = ["语文", "chinese", "Physical education", "信息科技"]
MARKS = st.sampled_from(
    [None, "", " ", "-", 0, 88, 88.5, "70", "９０．５", "缺考", " 缺 ", "Absent", "优", "88分", 201]
)
SHARED = st.fixed_dictionaries(
    {
        "student_id": st.sampled_from(["a", "b", "学生", None]),
        "term": st.sampled_from(["2020-1", "2020-2"]),
        "exam": st.sampled_from(["期中", "final", "?"]),
        "full_mark": st.sampled_from([100, 120, None, "?"]),
    }
)
SHEETS = st.lists(
    st.tuples(SHARED, st.tuples(*[MARKS] * len(SUBJECTS)).map(lambda marks: dict(zip(SUBJECTS, marks, strict=True)))),
    min_size=1,
    max_size=6,
)


def mark_by_mark(sheet: list[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return a row for each mark of a sheet, and the line that it stands in."""
    rows, lines = [], []
    for line, (shared, marks) in enumerate(sheet, start=1):
        for subject, mark in marks.items():
            missed = str(mark).strip().casefold() in ("缺考", "缺", "缓考", "absent")
            if mark is None or (isinstance(mark, str) and mark.strip() in ("", "-")):
                continue
            rows.append({**shared, "subject": subject, "score": None if missed else mark, "absent": missed})
            lines.append(line)
    return rows, lines


def told(problems: tuple[Problem, ...], lines: list[int] | None = None) -> list[tuple[Any, ...]]:
    """Return what is told of single rows; with `lines` where each row of a table stands in a sheet."""
    single = [problem for problem in problems if problem.row is not None and problem.level == "error"]
    rows = [problem.row if lines is None else lines[problem.row - 1] for problem in single if problem.row]
    return sorted(
        (row, problem.kind, "score" if is_subject(str(problem.column)) else problem.column, problem.value)
        for row, problem in zip(rows, single, strict=True)
    )


@given(SHEETS, st.sampled_from(["columns", "records", "frame"]))
def test_a_mark_sheet_is_read_as_the_marks_that_stand_in_it(
    sheet: list[tuple[dict[str, Any], dict[str, Any]]], way: str
) -> None:
    wide = [{name: shared[name] for name in sorted(shared)} | marks for shared, marks in sheet]
    by_column = {name: [line[name] for line in wide] for name in wide[0]}
    if way == "frame":
        read = make_tables({"grades": pd.DataFrame(by_column, dtype=object)})
    else:
        read = tables_from_records({"grades": by_column if way == "columns" else wide})
    rows, lines = mark_by_mark(sheet)
    expected = tables_from_records({"grades": rows or {name: [] for name in TABLES["grades"].names}})
    columns = ["student_id", "term", "subject", "exam", "score", "full_mark", "absent"]
    pd.testing.assert_frame_equal(
        read["grades"][columns].reset_index(drop=True), expected["grades"][columns], check_index_type=False
    )
    assert told(read.problems) == told(expected.problems, lines)
    for problem in read.problems:
        if problem.position is not None and is_subject(str(problem.column)):
            assert read["grades"]["subject"].loc[problem.position] == problem.column


def test_a_mark_sheet_stays_as_it_was_sent() -> None:
    sent = {"student_id": ["a", "b", "c"], "语文": [80.0, "缺考", None], "数学": ["缺考", [1], 70]}
    kept = copy.deepcopy(sent)
    tables_from_records({"grades": sent})
    assert sent == kept


@given(SHEETS)
def test_each_mark_of_a_sheet_is_used_or_refused(sheet: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    wide = [{name: shared[name] for name in sorted(shared)} | marks for shared, marks in sheet]
    read = tables_from_records({"grades": wide})
    report = validate(read)
    refused = {p.position for p in report.problems if p.table == "grades" and p.level == "error" and p.row is not None}
    assert len(read["grades"]) == len(mark_by_mark(sheet)[0])
    assert refused <= set(read["grades"].index)


KEPT = st.lists(
    st.tuples(
        st.sampled_from(["a", "学生"]),
        st.sampled_from(["2020-1", "2020-2"]),
        st.sampled_from(SUBJECTS),
        st.sampled_from(["midterm", "final"]),
        st.sampled_from([None, "2020-11-12"]),
        st.sampled_from([None, 0.0, 70.0, 88.5]),
        st.sampled_from([None, 100.0, 120.0]),
        st.sampled_from([None, "2020-11-12", "2020-11-13"]),
    ),
    max_size=12,
)


def grades_of(records: list[tuple[Any, ...]]) -> pd.DataFrame:
    names = [name for name in TABLES["grades"].names if name != "absent"]
    rows = [dict(zip(names, record, strict=True)) for record in records]
    sent = {name: [row[name] for row in rows] for name in names} | {"absent": [row["score"] is None for row in rows]}
    return tables_from_records({"grades": sent})["grades"]


@given(KEPT)
def test_marks_become_lines_and_marks_again(records: list[tuple[Any, ...]]) -> None:
    marks = grades_of(records)
    lines = lines_of_marks(marks)
    again = make_tables({"grades": lines.assign(**{SUBJECTS[0]: lines.get(SUBJECTS[0])})})["grades"]

    def sorted_rows(frame: pd.DataFrame) -> list[list[str]]:
        return sorted(frame.astype(object).where(frame.notna(), "").astype(str).values.tolist())

    assert sorted_rows(again) == sorted_rows(marks)
    assert len(lines) <= len(marks)


def test_an_exam_of_a_student_is_one_line() -> None:
    marks = make_county(60, terms=1, seed=4)["grades"].drop(columns="recorded_at")
    marks["exam_date"] = marks.groupby("exam", observed=True)["exam_date"].transform("first")
    lines = lines_of_marks(marks)
    assert len(lines) == len(marks[["student_id", "exam"]].drop_duplicates())
    assert {"chinese", "math"} <= set(lines)


SHEET = "{title}学籍号,姓名,班级,学期,考试,考试日期,语 文,数学,总分,满分\n{rows}"
ROWS = "a,张三,1班,2020-1,期末,2021-01-10,88,缺考,88,100\nb,李四,1班,2020-1,期末,2021-01-10,,优,0,100\n"


@pytest.mark.parametrize("name", ["grades.csv", "成绩册.csv", "成绩单-八年级.csv", "八年级期末.csv"])
@pytest.mark.parametrize("title", ["", "某校八年级期末成绩册,,,,,,,,,\n,,,,,,,,,\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_mark_sheet_as_a_file_is_found_by_its_name_or_its_headers(
    tmp_path: Path, name: str, title: str, encoding: str
) -> None:
    (tmp_path / name).write_text(SHEET.format(title=title, rows=ROWS), encoding)
    for path in (tmp_path, tmp_path / name):
        read = read_tables(path)
        assert list(read) == ["grades"]
        rows = read["grades"][["student_id", "subject", "score", "full_mark", "absent"]].astype(object)
        assert rows.where(rows.notna(), None).values.tolist() == [
            ["a", "语 文", 88.0, 100.0, False], ["a", "数学", None, 100.0, True], ["b", "数学", None, 100.0, False],
        ]  # fmt: skip
        errors = [problem for problem in read.problems if problem.level == "error"]
        first = 2 if not title else 4
        assert [(error.file, error.row, error.column, error.value) for error in errors] == [
            (name, first + 1, "数学", "优")
        ]
        assert read.locate("grades", int(read["grades"].index[-1])) == (name, first + 1)


def test_a_mark_sheet_is_read_alike_from_every_kind_of_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "student_id": ["a", "b", "b"],
            "term": "2020-1",
            "exam": ["期中", "期中", "final"],
            "语文": [88.0, None, 60.5],
            "English": ["70", "缺考", None],
            "历史": [None] * 3,
        }
    )
    made = {name: tmp_path / name for name in ("csv", "xlsx", "parquet")}
    for folder in made.values():
        folder.mkdir()
    frame.to_csv(made["csv"] / "grades.csv", index=False)
    frame.to_excel(made["xlsx"] / "grades.xlsx", index=False)
    frame.astype({"历史": "float64"}).to_parquet(made["parquet"] / "grades.parquet", index=False)
    expected = make_tables({"grades": frame})["grades"]
    rows = expected[["student_id", "subject", "score", "absent"]].astype(object)
    assert rows.where(rows.notna(), None).values.tolist() == [
        ["a", "语文", 88.0, False], ["a", "English", 70.0, False], ["b", "English", None, True],
        ["b", "语文", 60.5, False],
    ]  # fmt: skip
    for folder in made.values():
        read = read_tables(folder)
        assert not read.problems
        pd.testing.assert_frame_equal(read["grades"], expected)


def test_sheets_and_rows_of_several_files_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "grades-1.csv").write_text("student_id,term,exam,语文,数学\na,t,final,x,80\n", "utf-8")
    (tmp_path / "grades-2.csv").write_text("student_id,term,exam,subject,score\nb,t,final,语文,y\n", "utf-8")
    (tmp_path / "grades-3.csv").write_text("student_id,term,exam,数学\nc,t,final,300\nd,t,final,400\n", "utf-8")
    read = read_tables(tmp_path)
    assert read["grades"][["student_id", "subject"]].values.tolist() == [
        ["a", "语文"], ["a", "数学"], ["b", "语文"], ["c", "数学"], ["d", "数学"],
    ]  # fmt: skip
    assert [(one.file, one.row, one.column, one.value, one.count) for one in read.problems] == [
        ("grades-1.csv", 2, "语文", "x", 1),
        ("grades-2.csv", 2, "score", "y", 1),
        ("grades-3.csv", 2, "数学", "300", 2),
    ]


def test_a_table_with_subjects_in_rows_stays_one_and_a_roster_is_no_mark_sheet(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("student_id,term,exam,subject,score,数学\na,t,final,语文,80,90\n", "utf-8")
    (tmp_path / "名单.csv").write_text("学籍号,姓名,年级,学校标识码,数学\na,张三,7,s,90\n", "utf-8")
    read = read_tables(tmp_path, term="t")
    assert read["grades"][["subject", "score"]].values.tolist() == [["语文", 80.0]]
    assert {"students", "enrolments"} <= set(read)
    assert [one.message.split(":")[1] for one in read.problems if one.kind == "unknown_column"] == [
        " 数学; rename those that matter."
    ] * 2


def test_a_total_is_left_out_with_a_warning_and_a_subject_that_stands_there_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("student_id,term,exam,语文,成绩,语文\na,t,final,80,90,70\n", "utf-8")
    read = read_tables(tmp_path)
    assert read["grades"]["score"].tolist() == [80.0]
    assert [(one.kind, one.column) for one in read.problems] == [("unknown_column", None), ("second_header", "语文")]


def test_no_mark_of_a_line_with_a_stray_comma_is_used(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("student_id,term,exam,语文,数学\na,t,final,,80,90\nb,t,final,70,60\n", "utf-8")
    (tmp_path / "grades-2.csv").write_text("student_id,term,exam,语文,数学\nc,t,final,50,80,90\n", "utf-8")
    read = read_tables(tmp_path)
    refused = [one.position for one in read.problems if one.kind == "too_many_cells"]
    assert read["grades"]["student_id"].loc[refused].tolist() == ["c", "c", "a"]
    assert [(one.file, one.row) for one in read.problems] == [
        ("grades-2.csv", 2), ("grades-2.csv", 2), ("grades.csv", 2),
    ]  # fmt: skip


def test_whoever_missed_all_exams_of_a_line_missed_each() -> None:
    sent = {
        "student_id": ["a", "b"],
        "term": ["t", "t"],
        "exam": ["final"] * 2,
        "语文": [80, "缺考"],
        "absent": [None, "?"],
    }
    read = tables_from_records({"grades": sent})
    assert read["grades"]["absent"].astype(object).where(read["grades"]["absent"].notna(), None).tolist() == [
        None,
        True,
    ]


def test_no_subject_is_a_header_of_a_table_or_a_word_for_no_mark() -> None:
    headers = [header for table in TABLES.values() for column in table.columns for header in column.headers]
    assert not [header for header in [*headers, *MISSED_EXAM] if is_subject(header)]
    assert all(map(is_subject, SUBJECT_HEADERS))


def test_features_from_sheets_are_those_from_rows() -> None:
    tables = make_county(120, terms=3, seed=5)
    marks = tables["grades"].assign(recorded_at=tables["grades"]["exam_date"])
    by_rows = build_features(make_tables({**tables, "grades": marks}), "2020-07-01")
    by_lines = build_features(make_tables({**tables, "grades": lines_of_marks(marks)}), "2020-07-01")
    assert marks["absent"].any()
    pd.testing.assert_frame_equal(by_lines, by_rows, check_exact=True)
