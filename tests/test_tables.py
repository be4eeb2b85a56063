"""Reading and writing tables: every format, encoding and layout as a real file; round trips as properties."""

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropout_risk import headers
from dropout_risk.arrays import days, flags, labels, numbers, texts
from dropout_risk.coercion import coerce_column, dtype_of
from dropout_risk.errors import InputError, SettingsError, TableError
from dropout_risk.notes import mask
from dropout_risk.schema import NEVER_READ_HEADERS, REFUSED_HEADERS, TABLES, Column, Tables, empty_frame
from dropout_risk.synthetic import make_county
from dropout_risk.tables import (
    atomic_path,
    make_tables,
    read_flat,
    read_tables,
    tables_from_records,
    write_tables,
)
from dropout_risk.words import clean, fold
from dropout_risk.written import LONGEST_NAME

ATTENDANCE = [["学籍号", "日期", "考勤"], ["001", "2020-09-01", "出勤"], ["002", "2020/9/2", "旷课"]]


def kinds(tables: Tables, level: str | None = None) -> list[str]:
    return [problem.kind for problem in tables.problems if level in (None, problem.level)]


def as_csv(rows: list[list[object]]) -> str:
    return "".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows)


def save_workbook(path: Path, **sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def read_value(value: object, column: str, table: str) -> object:
    """Read one value as `column` of `table`: the value, or the kind of problem."""
    typed, faults = coerce_column(pd.Series([value], dtype="object"), TABLES[table][column])
    if faults:
        [kind] = faults
        return kind
    return None if pd.isna(typed[0]) else typed[0]


# ------------------------------------------------------------------------------------ formats and encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_csv_is_read_in_every_encoding(tmp_path, encoding):
    (tmp_path / "考勤.csv").write_bytes(as_csv(ATTENDANCE).encode(encoding))
    frame = read_tables(tmp_path)["attendance"]
    assert frame["student_id"].tolist() == ["001", "002"]
    assert frame["date"].tolist() == [pd.Timestamp("2020-09-01"), pd.Timestamp("2020-09-02")]
    assert frame["code"].tolist() == ["P", "U"]


def test_rare_characters_outside_gbk_are_read(tmp_path):
    (tmp_path / "学生.csv").write_bytes("学籍号,姓名\n1,㛃𠮷\n".encode("gb18030"))
    assert read_tables(tmp_path)["students"]["name"].tolist() == ["㛃𠮷"]


def test_gb18030_bytes_that_are_valid_utf8_are_told_by_the_headers(tmp_path):
    raw = "学校,学校标识码,行政区划代码\n".encode("gb18030")
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    only = "学校".encode("gb18030")
    assert only.decode() != "学校"  # valid UTF-8, wrong text
    (tmp_path / "学校.csv").write_bytes(only + b",school_id,county_id\n" + b"x,1,2\n")
    assert read_tables(tmp_path)["schools"]["name"].tolist() == ["x"]


@pytest.mark.parametrize("header", ["student_id,姓名", "student_id,name"])
def test_a_damaged_byte_in_utf8_is_refused_with_its_row_and_never_read_as_gb18030(tmp_path, header):
    raw = bytearray(f"{header}\n{''.join(f'{number},王明' + chr(10) for number in range(50))}".encode())
    where = raw.index("王".encode(), 400)
    raw[where + 1] = 0xD0
    bytes(raw).decode("gb18030")  # which is what must not be taken for the text
    (tmp_path / "students.csv").write_bytes(raw)
    row = raw.count(b"\n", 0, where) + 1
    with pytest.raises(TableError, match=rf"students.csv, row {row}: a character is neither UTF-8 nor GB18030"):
        read_tables(tmp_path)


def test_two_encodings_in_one_file_are_refused(tmp_path):
    raw = "student_id,姓名\n".encode() + "1,王明\n2,李明\n".encode("gb18030") * 9
    raw.decode("gb18030")
    (tmp_path / "students.csv").write_bytes(raw)
    with pytest.raises(TableError, match="students.csv, row 2: a character is neither"):
        read_tables(tmp_path)


def test_all_bad_files_of_a_folder_are_named_at_once(tmp_path):
    (tmp_path / "students.csv").write_bytes(b"")
    (tmp_path / "schools.xlsx").write_bytes(b"PK\x03\x04 this is a Word file")
    (tmp_path / "attendance.parquet").write_bytes(b"PAR1 damaged PAR1")
    (tmp_path / "grades.csv").write_text("nothing,known\n1,2\n")
    (tmp_path / "terms.csv").write_text("term,start,end\n1,2,3\n")
    with pytest.raises(TableError) as caught:
        read_tables(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "attendance.parquet", "grades.csv", "schools.xlsx", "students.csv",
    ]  # fmt: skip
    assert "the file is empty" in lines[3]
    assert "not an Excel workbook" in lines[2]


def test_a_password_is_told_apart_and_a_word_file_is_not_a_workbook(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "学生.xlsx", "w") as archive:
        archive.writestr("word/document.xml", "<w:document/>")
    with pytest.raises(TableError, match="not an Excel workbook"):
        read_tables(tmp_path / "学生.xlsx")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "there is no such file or folder"),
        (lambda folder: folder, r"no table is recognised \(seen: .*schools \(学校\)"),
        (lambda folder: _touch(folder / "a.docx"), "save it as .csv, .parquet, .xlsx, .xls"),
        (lambda folder: _touch(folder / "notes.csv").parent, "no table is recognised .seen: notes.csv"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, make, words):
    with pytest.raises(TableError, match=words):
        read_tables(make(tmp_path))


def _touch(path: Path) -> Path:
    path.write_text("a,b\n1,2\n")
    return path


def test_workbook_cells_keep_leading_zeros_and_lose_float_tails(tmp_path):
    rows = [
        ["学籍号", "日期", "考勤"],
        ["007", dt.datetime(2020, 9, 1), "P"],
        [7, 44075, "P"],
        [7.0, "20200902", "P"],
    ]
    tables = read_tables(save_workbook(tmp_path / "attendance.xlsx", Sheet1=rows))
    assert tables["attendance"]["student_id"].tolist() == ["007", "7", "7"]
    assert tables["attendance"]["date"].dt.day.tolist() == [1, 1, 2]
    assert not tables.problems, tables.problems


def test_sheets_of_one_workbook_are_found_by_title_and_notes_are_left_out_with_a_warning(tmp_path):
    path = save_workbook(
        tmp_path / "某县.xlsx",
        考勤=ATTENDANCE,
        学期表=[["学期", "开始日期", "结束日期"], ["2020-1", "2020-09-01", "2021-01-15"]],
        填表说明=[["请如实填写"]],
    )
    tables = read_tables(path)
    assert list(tables) == ["terms", "attendance"]
    assert [(p.kind, p.file) for p in tables.problems] == [("unknown_file", "某县.xlsx [填表说明]")]


def test_merged_cells_fill_the_rows_that_they_span(tmp_path):
    path = save_workbook(tmp_path / "enrolments.xlsx", Sheet1=[
        ["学籍号", "学校标识码", "学期", "年级"], ["1", "s", "t", "初二"], ["2", "s", "t", None],
    ])  # fmt: skip
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("D2:D3")
    book.active.merge_cells("X1:Y9")
    book.save(path)
    assert read_tables(path)["enrolments"]["grade"].tolist() == [8, 8]


def test_parquet_takes_foreign_types_and_an_index(tmp_path):
    frame = pd.DataFrame(
        {"date": [dt.date(2020, 9, 1), dt.date(2020, 9, 2)], "code": pd.Categorical(["present", "U"])},
        index=pd.Index([17, 18], name="student_id"),
    )
    frame.to_parquet(tmp_path / "attendance_2020-1.parquet")
    tables = read_tables(tmp_path)
    frame = tables["attendance"]
    assert frame["student_id"].tolist() == ["17", "18"]
    assert frame["date"].dt.day.tolist() == [1, 2]
    assert frame["code"].tolist() == ["P", "U"]
    assert not tables.problems, tables.problems


def test_files_of_one_table_are_put_together_and_rows_are_located(tmp_path):
    (tmp_path / "attendance-1.csv").write_text("某校考勤,,\n学籍号,日期,考勤\n1,2020-09-01,P\n,,\n2,soon,P\n合计,,2\n")
    (tmp_path / "attendance_2019-2020-1.csv").write_text("student_id,date,code\n3,2020-09-01,?\n")
    (tmp_path / "attendance_counts.csv").write_text("student_id,term,days_reported,days_absent\n1,t,9,0\n")
    tables = read_tables(tmp_path)
    assert tables["attendance"]["student_id"].tolist() == ["1", "2", "3"]
    assert len(tables["attendance_counts"]) == 1
    places = [(p.kind, p.file, p.row, p.count) for p in tables.problems]
    assert places == [
        ("row_left_out", "attendance-1.csv", None, 2),
        ("not_a_date", "attendance-1.csv", 5, 1),
        ("not_allowed", "attendance_2019-2020-1.csv", 2, 1),
    ]
    for problem in tables.problems[1:]:
        assert tables.locate("attendance", problem.position) == (problem.file, problem.row)
        assert problem.position in tables["attendance"].index


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_delimiters_and_quoted_commas(tmp_path, delimiter):
    text = delimiter.join(["school_id", "county_id", "name"]) + "\n" + delimiter.join(["1", "2", '"a, b"']) + "\n"
    (tmp_path / "schools.csv").write_text(text)
    assert read_tables(tmp_path)["schools"]["name"].tolist() == ["a, b"]


@pytest.mark.parametrize("above", [0, 40])
def test_a_row_with_a_stray_comma_is_an_error_of_that_row_only(tmp_path, above):
    rows = "".join(f"{number},5,名\n" for number in range(above))
    (tmp_path / "schools.csv").write_text(f"school_id,county_id,name\n{rows}1,2,a, b\n8,9,c\n")
    tables = read_tables(tmp_path)
    assert [(p.level, p.kind, p.row) for p in tables.problems] == [("error", "too_many_cells", above + 2)]
    assert tables["schools"]["name"].tolist()[-1] == "c"


def test_many_empty_lines_above_the_header_are_no_table(tmp_path):
    (tmp_path / "schools.csv").write_text("\n" * 25 + "school_id,county_id\n1,2\n")
    with pytest.raises(TableError, match="no header of the table schools in the first 20 rows"):
        read_tables(tmp_path)
    (tmp_path / "schools.csv").write_text("\n" * 12 + "school_id,county_id\n1,2\n")
    assert len(read_tables(tmp_path)["schools"]) == 1


def test_an_open_quotation_mark_is_refused(tmp_path):
    (tmp_path / "schools.csv").write_text('school_id,county_id,name\n1,2,"a\n3,4,b\n')
    with pytest.raises(TableError, match="quotation mark"):
        read_tables(tmp_path)


# ------------------------------------------------------------------------------------ headers


def test_headers_are_matched_whatever_their_spelling(tmp_path):
    (tmp_path / "在籍在校.csv").write_text(
        "＊学籍号,学校代码 ,TERM,年级,上下学距离（公里）,Boards at school\n1,s,t,7,3.5,是\n", encoding="utf-8"
    )
    tables = read_tables(tmp_path)
    row = tables["enrolments"].iloc[0]
    assert (row["student_id"], row["grade"], row["distance_km"], row["boarding"]) == ("1", 7, 3.5, True)
    assert not tables.problems, tables.problems


def test_religion_is_refused_and_other_headers_are_left_out(tmp_path):
    (tmp_path / "students.csv").write_text("学籍号,宗教信仰,民族,联系电话,特长,省网学籍号\n1,x,y,z,跑步,9\n")
    tables = read_tables(tmp_path)
    assert [(p.level, p.kind, p.column) for p in tables.problems] == [
        ("error", "refused_column", "宗教信仰"),
        ("warning", "never_read", None),
        ("warning", "unknown_column", None),
        ("warning", "second_header", "student_id"),
    ]
    assert "religion is not recorded: delete the column" in str(tables.problems[0])
    assert "特长" in tables.problems[2].message
    assert tables["students"]["student_id"].tolist() == ["1"]
    assert list(tables["students"]) == TABLES["students"].names


def test_codes_under_jiudu_fangshi_are_not_yes_and_no(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    frame = pd.DataFrame({"student_id": list("abcd"), "school_id": "s", "term": "t", "grade": 7})
    boards = make_tables({"enrolments": frame.assign(就读方式=[1, "2", "1-走读", "住校"])})["enrolments"]["boarding"]
    assert boards.tolist() == [False, True, False, True]
    boards = make_tables({"enrolments": frame.assign(是否住校=[1, "0", "是", "否"])})["enrolments"]["boarding"]
    assert boards.tolist() == [True, False, True, False]


# ------------------------------------------------------------------------------------ rosters

ROSTER = [
    ["某某中学学籍导出"],
    [
        "姓名",
        "身份证件号",
        "学校标识码",
        "年级",
        "就读方式",
        "上下学距离(公里)",
        "是否留守儿童",
        "是否建档立卡",
        "性别",
    ],
    ["王小明", "11010519491231002X", "3151000001", "初二(3)班", "2-住校", "6.5", "1-单亲留守儿童", "是", "1-男"],
    ["李 · 芳", "110105194912310021", "3151000001", "九年级", "1", "", "非留守儿童", "否", "女"],
    ["合计", "", "", "2"],
]


@pytest.mark.parametrize("name", ["花名册.csv", "某校学籍导出.csv", "名单.csv", "students.csv"])
def test_a_roster_is_spread_over_three_tables(tmp_path, name):
    (tmp_path / name).write_text(as_csv(ROSTER), encoding="gb18030")
    tables = read_tables(tmp_path / name, term="2020-1")
    assert list(tables) == ["students", "enrolments", "households"]
    assert tables["students"]["student_id"].tolist() == ["G11010519491231002X", "G110105194912310021"]
    assert tables["students"]["sex"].tolist() == ["male", "female"]
    assert tables["students"]["name"].tolist() == ["王小明", "李·芳"]
    enrolments = tables["enrolments"]
    assert enrolments["term"].tolist() == ["2020-1", "2020-1"]
    assert enrolments["grade"].tolist() == [8, 9]
    assert enrolments["boarding"].tolist() == [True, False]
    assert enrolments["left_behind"].tolist() == ["one_parent", "none"]
    assert tables["households"]["poverty"].tolist() == ["registered", "none"]
    assert sorted(kinds(tables)) == ["row_left_out", "student_id_made"]
    assert tables.locate("households", 1) == (name, 4)


def test_a_roster_without_a_term_says_how_to_give_it(tmp_path):
    save_workbook(tmp_path / "花名册.xlsx", Sheet1=ROSTER)
    tables = read_tables(tmp_path)
    assert kinds(tables, "error") == ["no_term"]
    assert "学期" in tables.problems[-1].message


def test_a_roster_of_several_terms_lists_each_student_once(tmp_path):
    rows = [[*ROSTER[1], "学期"], [*ROSTER[2], "2020-1"], [*ROSTER[2], "2020-2"]]
    (tmp_path / "roster.csv").write_text(as_csv(rows))
    tables = read_tables(tmp_path)
    assert [len(tables[name]) for name in ("students", "enrolments", "households")] == [1, 2, 1]


def test_a_named_table_with_a_name_column_is_not_taken_for_a_roster(tmp_path):
    (tmp_path / "enrolments.csv").write_text("学籍号,姓名,学校标识码,学期,年级\n1,王,s,t,7\n")
    (tmp_path / "terms.csv").write_text("term,start,end\nt,2020-09-01,2021-01-15\n")
    assert list(read_tables(tmp_path)) == ["terms", "enrolments"]


def test_a_year_of_entry_is_a_grade_where_term_and_stage_are_known():
    frame = pd.DataFrame({
        "student_id": list("abcdef"), "term": ["2020-2021-1"] * 5 + [None],
        "school_id": ["p", "j", "n", "n", "n", "p"],
        "grade": ["2019级2班", "2019级(2)班", "2019级", "2016级", "初中2018级1班", "2019级"],
    })  # fmt: skip
    schools = pd.DataFrame({"school_id": list("pjn"), "county_id": "1", "stage": ["小学", "初中", "九年一贯制学校"]})
    tables = make_tables({"enrolments": frame, "schools": schools})
    assert tables["enrolments"]["grade"].fillna(0).tolist() == [2, 8, 0, 5, 9, 0]
    assert [p.position for p in tables.problems if p.kind == "entry_year"] == [2, 5]


# ------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20110101", "2011-01-01"), ("2011/01/01", "2011-01-01"), ("2011-1-1", "2011-01-01"),
        ("2011.01.01", "2011-01-01"), ("2011年1月1日", "2011-01-01"), ("２０１１－０１－０１", "2011-01-01"),
        ("2011-01-01 00:00:00", "2011-01-01"), ("2011-01-01T08:00:00Z", "2011-01-01"),
        (40544, "2011-01-01"), ("40544", "2011-01-01"), (20110101.0, "2011-01-01"),
        (dt.date(2011, 1, 1), "2011-01-01"), (pd.Timestamp("2011-01-01 17:00"), "2011-01-01"),
        ("2011-02-30", "not_a_date"), ("20111301", "not_a_date"), ("201101", "not_a_date"),
        ("01/02/2011", "not_a_date"), ("0011-01-01", "not_a_date"), ("", None), ("不详", None), (None, None),
    ],
)  # fmt: skip
def test_dates(text, expected):
    found = read_value(text, "birth_date", "students")
    assert (found.strftime("%Y-%m-%d") if isinstance(found, pd.Timestamp) else found) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("初二(3)班", 8), ("初二（3）班", 8), ("九年级", 9), ("初一", 7), ("Grade 7", 7), ("7", 7), ("7.0", 7),
        (7, 7), ("小学六年级", 6), ("六年级(2)班", 6), ("七(2)班", 7), ("初中七年级", 7), ("7年级", 7),
        ("8th grade", 8), ("初三4班", 9), ("三年级一班", 3), ("小三", 3),
        ("3班", "not_a_grade"), ("12班", "not_a_grade"), ("七", "not_a_grade"), ("7.5", "not_a_grade"),
        ("2019级2班", "entry_year"), ("高一", "out_of_range"), ("初四", "out_of_range"), ("10", "out_of_range"),
        ("0", "out_of_range"), ("学前班", "not_a_grade"),
    ],
)  # fmt: skip
def test_grades(text, expected):
    assert read_value(text, "grade", "enrolments") == expected


@pytest.mark.parametrize(
    ("text", "column", "table", "expected"),
    [
        ("是", "migrant", "enrolments", True), ("1-是", "migrant", "enrolments", True),
        ("0-否", "migrant", "enrolments", False), ("TRUE", "migrant", "enrolments", True),
        ("no", "migrant", "enrolments", False), (True, "migrant", "enrolments", True),
        (0, "migrant", "enrolments", False), ("住校", "migrant", "enrolments", "not_a_boolean"),
        ("2", "migrant", "enrolments", "not_a_boolean"), ("1-走读", "boarding", "enrolments", False),
        ("2-住校", "boarding", "enrolments", True), ("寄宿生", "boarding", "enrolments", True),
        ("无", "disability", "students", False), ("视力残疾", "disability", "students", True),
        ("3-言语残疾", "disability", "students", True), ("无残疾", "disability", "students", False),
        ("maybe", "disability", "students", "not_a_boolean"),
        ("1-单亲留守儿童", "left_behind", "enrolments", "one_parent"),
        ("双亲留守儿童", "left_behind", "enrolments", "both_parents"),
        ("none", "left_behind", "enrolments", "none"), ("both_parents", "left_behind", "enrolments", "both_parents"),
        ("一些", "left_behind", "enrolments", "not_allowed"), ("出国（境）", "change", "status_changes", "emigrated"),
        ("not reported", "code", "attendance", "N"), ("p", "code", "attendance", "P"),
        ("３．５", "distance_km", "enrolments", 3.5), ("3.5公里", "distance_km", "enrolments", "not_a_number"),
        ("inf", "distance_km", "enrolments", "not_a_number"), ("1_0", "distance_km", "enrolments", "not_a_number"),
        ("301", "distance_km", "enrolments", "out_of_range"), ("-1", "distance_km", "enrolments", "out_of_range"),
        ("２", "siblings", "households", 2), ("2.5", "siblings", "households", "not_an_integer"),
        (np.inf, "siblings", "households", "not_a_number"), ("NaN", "name", "students", "NaN"),
        ("买买提 • 艾力", "name", "students", "买买提·艾力"), ("买买提.艾力", "name", "students", "买买提·艾力"),
        ("J. Smith", "name", "students", "J. Smith"), ("'0012", "student_id", "students", "0012"),
        ("　Ｇ１\u200b ", "student_id", "students", "G1"),
        ("1101051949123１002x", "id_number", "students", "11010519491231002X"),
    ],
)  # fmt: skip
def test_values(text, column, table, expected):
    assert read_value(text, column, table) == expected


def test_typed_columns_are_read_like_their_text():
    numbers = pd.Series([1.0, 2.5, np.nan, np.inf, 400, -3])
    for kind in ("integer", "number"):
        column = Column("x", kind, "x", "x", minimum=0, maximum=300)
        typed, faults = coerce_column(numbers, column)
        text, text_faults = coerce_column(numbers.astype("str"), column)
        pd.testing.assert_series_equal(typed, text)
        assert {name: rows.tolist() for name, rows in faults.items()} == {
            name: rows.tolist() for name, rows in text_faults.items()
        }


def test_categories_without_rows_are_no_problem():
    codes = pd.Series(pd.Categorical(["late", None], categories=["?", "late"]))
    typed, faults = coerce_column(codes, TABLES["attendance"]["code"])
    assert (typed.tolist(), faults) == (["L", np.nan], {})


def test_out_of_range_is_a_grouped_warning_where_the_value_may_be_missing_and_an_error_where_not():
    frame = pd.DataFrame({"student_id": range(8), "school_id": "s", "term": "t", "grade": [12, *[5] * 7]})
    tables = make_tables({"enrolments": frame.assign(distance_km=[5, *[999] * 7])})
    warning, error = sorted(tables.problems, key=lambda problem: problem.level == "error")
    assert (warning.level, warning.kind, warning.count, warning.position) == ("warning", "out_of_range", 7, 1)
    assert warning.message.endswith("(7 rows: 2, 3, 4, 5, 6 and 2 more)")
    assert (error.level, error.kind, error.row, error.value) == ("error", "out_of_range", 1, "12")
    assert tables["enrolments"]["distance_km"].notna().sum() == 1


def test_identities_are_masked_wherever_they_stand():
    tables = make_tables({"attendance": pd.DataFrame({
        "student_id": ["G513425201001011328"], "date": ["513425201001011328"], "code": ["王小明"],
    })})  # fmt: skip
    assert "513425201001011328" not in "".join(p.message + p.message_zh + str(p.value) for p in tables.problems)
    assert mask("1234", "id_number") == "1***"
    assert len(mask("长" * 100)) == 40


# ------------------------------------------------------------------------------------ frames and records


def test_records_count_from_one_and_have_no_file():
    tables = tables_from_records({
        "students": [{"student_id": "1", "birth_date": "2010-01-01"}, {"student_id": None}],
        "enrolments": [{"student_id": ["a"], "school_id": {"b": 1}, "term": True, "grade": []}],
    })  # fmt: skip
    assert [(p.kind, p.file, p.row, p.column) for p in tables.problems] == [
        ("missing_value", None, 2, "student_id"), ("not_a_grade", None, 1, "grade"),
    ]  # fmt: skip


def test_a_roster_may_come_as_records():
    record = {"学籍号": "1", "姓名": ["王"], "学校标识码": "s", "学期": "t", "年级": "7", "是否建档立卡": "是"}
    tables = tables_from_records({"roster": [record, {**record, "学籍号": "2"}]})
    assert [len(tables[name]) for name in ("students", "enrolments", "households")] == [2, 2, 2]


def test_records_with_half_a_surrogate_do_not_break():
    tables = tables_from_records({"students": [{"student_id": "a\ud800b", "\udfff": 1}]})
    assert tables["students"]["student_id"].tolist() == ["ab"]


@pytest.mark.parametrize(
    "records", [{"students": ["x"]}, {"students": "xy"}, {"pupils": []}, {"students": {"a": 1}}, {"students": 7}]
)
def test_what_is_no_table_of_records_is_refused(records):
    with pytest.raises(InputError):
        tables_from_records(records)


def test_a_missing_column_is_told_once_and_frames_have_the_schema():
    tables = make_tables({"attendance": pd.DataFrame({"student_id": range(1000), "date": "2020-09-01"})})
    assert [(p.kind, p.column, p.row) for p in tables.problems] == [("missing_column", "code", None)]
    expected = empty_frame("attendance")
    assert list(tables["attendance"]) == list(expected)
    assert tables["attendance"].dtypes.tolist() == expected.dtypes.tolist()


# ------------------------------------------------------------------------------------ round trips

DAYS = st.dates(dt.date(1990, 1, 1), dt.date(2050, 1, 1))
TEXTS = st.text().filter(lambda text: len(clean(text)) < LONGEST_NAME)


def values_of(column: Column) -> st.SearchStrategy[object]:
    low = -1e6 if column.minimum is None else column.minimum
    high = 1e6 if column.maximum is None else column.maximum
    present = {
        "string": TEXTS.map(lambda text: f"k{text}" if column.required else text),
        "integer": st.integers(int(low), int(high)),
        "number": st.floats(low, high),
        "boolean": st.booleans(),
        "date": DAYS,
        "category": st.sampled_from(list(column.allowed) or [""]),
    }[column.kind]
    return present if column.required else st.none() | present


@st.composite
def county(draw: st.DrawFn) -> Tables:
    frames = {}
    for name in draw(st.sets(st.sampled_from(list(TABLES)), min_size=1, max_size=3)):
        row = st.fixed_dictionaries({column.name: values_of(column) for column in TABLES[name].columns})
        rows = draw(st.lists(row, max_size=3))
        frames[name] = pd.DataFrame(rows, columns=TABLES[name].names, dtype="object")
    return make_tables(frames)


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(county(), st.sampled_from(["csv", "parquet"]))
def test_writing_and_reading_loses_nothing(tmp_path_factory, tables, form):
    assert not tables.problems, tables.problems
    folder = tmp_path_factory.mktemp("county")
    written = write_tables(tables, folder, formats=dict.fromkeys(TABLES, form))
    assert [path.stem for path in written] == [name for name in TABLES if name in tables]
    back = read_tables(folder)
    again = make_tables(tables)
    assert not back.problems
    for name in tables:
        pd.testing.assert_frame_equal(back[name], tables[name])
        pd.testing.assert_frame_equal(again[name], tables[name])


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(st.text(st.sampled_from("aZ0-'_ \t\n\x00\u3000\u200b\ufeff一龯﹣Ａﬁé\u0301級·"), max_size=8) | st.text())
def test_a_text_that_is_clean_already_is_left_as_it_is(text):
    seen = re.sub("[\u200b-\u200f\u2060\ufeff\ud800-\udfff]", "", text)
    assert clean(text) == re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", unicodedata.normalize("NFKC", seen)).strip()


def test_no_character_that_passes_as_clean_has_another_form_alone_or_beside_another():
    clean_ones = {*map(chr, range(0x21, 0x7F)), *map(chr, range(0x4E00, 0xA000))}
    assert all(unicodedata.normalize("NFKC", character) == character for character in clean_ones)
    parts = {unicodedata.decomposition(chr(code)) for code in range(0x110000)}
    second = {chr(int(pair[1], 16)) for part in parts if len(pair := part.split()) == 2 and "<" not in part}
    assert not second & clean_ones
    assert not any(unicodedata.combining(character) for character in clean_ones)


@given(st.text(st.sampled_from("aAxX09_-一龯 '·.１ﬁ"), min_size=1, max_size=4), st.sampled_from([1, 20, 21]))
def test_plain_texts_are_read_alike_alone_and_beside_others(text, times):
    for column in (column for table in TABLES.values() for column in table.columns if column.kind == "string"):
        alone, faults = coerce_column(pd.Series([text * times], dtype="str"), column)
        beside, beside_faults = coerce_column(pd.Series([text * times, " "], dtype="str"), column)
        assert (alone.fillna("").tolist(), [*faults]) == (beside[:1].fillna("").tolist(), [*beside_faults])


def test_no_header_of_the_schema_is_refused_or_never_read():
    headers = {fold(header) for table in TABLES.values() for column in table.columns for header in column.headers}
    assert not headers & {fold(word) for word in NEVER_READ_HEADERS}
    assert not [header for header in headers for word in REFUSED_HEADERS if fold(word) in header]


@pytest.mark.slow
@given(st.lists(st.none() | DAYS.map(pd.Timestamp), max_size=20))
def test_dates_as_text_serial_and_timestamp_agree(days):
    column = TABLES["students"]["birth_date"]
    stamps = pd.Series(days, dtype="datetime64[us]")
    serial = (stamps - pd.Timestamp("1899-12-30")).dt.days
    for values in (stamps.dt.strftime("%Y/%m/%d"), stamps.dt.strftime("%Y%m%d"), serial, stamps):
        typed, faults = coerce_column(values, column)
        assert not faults
        assert typed.dtype == dtype_of(column)
        assert typed.tolist() == stamps.tolist()


NEARLY_DAYS = st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True) | st.sampled_from(
    ["1900-01-01", "1899-12-31", "2100-12-31", "2101-01-01", "2020-02-29", "2021-02-29", "0000-01-01", "９９９９-01-01",
     "-2020-01-1", "+2020-01-1", " 2020-01-01", "2020-01-01\n", "2020-01-01T00:00", "2020-1-1", "20200101", "NaT", ""]
)  # fmt: skip


@given(st.none() | NEARLY_DAYS)
def test_days_are_read_alike_all_at_once_and_one_by_one(text):
    column = TABLES["students"]["birth_date"]
    alone, faults = coerce_column(pd.Series([text], dtype="str"), column)
    beside, beside_faults = coerce_column(pd.Series([text, "2020年9月1日"], dtype="str"), column)
    assert alone.dtype == beside.dtype == dtype_of(column)
    assert alone.tolist() == beside[:1].tolist() or (pd.isna(alone[0]) and pd.isna(beside[0]))
    assert [*faults] == [*beside_faults]


def test_what_happens_to_a_frame_later_does_not_reach_the_tables_made_of_it():
    frame = make_tables({"enrolments": pd.DataFrame({
        "student_id": ["1"], "grade": [7.0], "boarding": [True], "left_behind": ["none"], "enrolled_on": ["2020-09-01"],
    })})["enrolments"]  # fmt: skip
    again = make_tables({"enrolments": frame})["enrolments"]
    before = again.copy()
    changes = {"student_id": "2", "grade": 8.0, "boarding": False, "left_behind": None, "enrolled_on": pd.NaT}
    for column, value in changes.items():
        frame[column].array[0] = value
        frame.loc[0, column] = value
    frame.columns.name = "changed"
    pd.testing.assert_frame_equal(again, before)
    assert make_tables({"enrolments": before})["enrolments"].columns.name is None


CELLS = [
    None, "", "a", " a", "b", "学生", "ID 007", "x" * 81, "soon", "2020-09-01", "2020年9月1日", "20200229", "期中",
    "final", "低保", "3", 3, 3.5, 250, float("inf"), True, False, "否", ["a"],
]  # fmt: skip


@st.composite
def cells_of_any_kind(draw: st.DrawFn) -> list[object]:
    return draw(st.lists(st.sampled_from(draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3))), max_size=6))


@pytest.mark.parametrize("scores", [[88.5, True], [88, True], [True, 88.5]])
def test_yes_is_no_number_in_json(scores: list[object]) -> None:
    marks = {"student_id": ["a", "b"], "term": ["t"] * 2, "subject": ["math"] * 2, "exam": ["final"] * 2}
    read = tables_from_records({"grades": {**marks, "score": scores}})
    (told,) = [problem for problem in read.problems if problem.kind == "not_a_number"]
    assert (told.row, told.column, told.value) == (scores.index(True) + 1, "score", "True")


@given(cells_of_any_kind(), st.booleans())
def test_the_arrays_that_reading_hands_on_are_those_found_in_the_frame(cells, as_frame):
    sent = {column.name: cells for column in TABLES["enrolments"].columns}
    tables = (
        make_tables({"enrolments": pd.DataFrame(sent, dtype=object)})
        if as_frame
        else tables_from_records({"enrolments": sent})
    )
    forms = {"string": texts, "category": labels, "date": days, "boolean": flags, "integer": numbers, "number": numbers}
    for column in TABLES["enrolments"].columns:
        form = forms[column.kind]
        given, found = form(tables, "enrolments", column.name), form(Tables(dict(tables)), "enrolments", column.name)
        for one, other in zip(given, found, strict=True) if column.kind == "string" else [(given, found)]:
            assert one.dtype == other.dtype
            assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@given(cells_of_any_kind())
def test_cells_are_read_alike_one_by_one_and_together(cells):
    """Whether a column is read at once, by its distinct values or one by one is nothing that anybody can see."""
    for column in (column for table in TABLES.values() for column in table.columns):
        together, faults = coerce_column(pd.Series(cells, dtype=object), column)
        alone = [coerce_column(pd.Series([cell], dtype=object), column) for cell in cells]
        assert [None if pd.isna(value) else value for value in together] == [
            None if pd.isna(value[0]) else value[0] for value, _ in alone
        ]
        told = [{kind for kind, wrong in faults.items() if wrong[row]} for row in range(len(cells))]
        assert told == [set(own) for _, own in alone]


def as_arrow(values: pd.Series, kind: pa.DataType) -> pd.Series:
    return pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind)))


RECASTS = {
    "object": lambda values: values.astype(object).where(values.notna(), None),
    "category": lambda values: values.astype("category"),
    "ordered": lambda values: values.astype("category").cat.as_ordered(),
    "no category": lambda values: pd.Series([None] * len(values), dtype="category"),
    "nullable": lambda values: values.convert_dtypes(),
    "arrow": lambda values: values.convert_dtypes(dtype_backend="pyarrow"),
    "text": lambda values: values.astype("str"),
    "nullable text": lambda values: values.astype("string"),
    "whole": lambda values: values.astype("Int64"),
    "float32": lambda values: values.astype("float32"),
    "complex": lambda values: values.astype("float64").astype("complex128"),
    "sparse": lambda values: values.astype(pd.SparseDtype(values.dtype)),
    "decimal": lambda values: values.astype("float64").map(Decimal),
    "python dates": lambda values: values.dt.date,
    "with a zone": lambda values: values.dt.tz_localize("Asia/Shanghai"),
    "arrow with a zone": lambda values: values.astype(pd.ArrowDtype(pa.timestamp("ns", "UTC"))),
    "nanoseconds": lambda values: values.astype("datetime64[ns]"),
    "periods": lambda values: values.dt.to_period("D"),
    "durations": lambda values: values - values.min(),
    "intervals": lambda values: pd.Series(pd.interval_range(0, periods=len(values))),
    "bytes": lambda values: values.astype("str").str.encode("utf-8"),
    "arrow bytes": lambda values: as_arrow(values.astype("str").str.encode("utf-8"), pa.binary()),
    "arrow lists": lambda values: as_arrow([[str(value)] for value in values], pa.list_(pa.string())),
    "lists": lambda values: pd.Series([[value] for value in values], dtype=object),
    "sets": lambda values: pd.Series([{1} for _ in values], dtype=object),
    "arrays": lambda values: pd.Series([np.array([1, 2]) for _ in values], dtype=object),
    "half a letter": lambda values: pd.Series(["2019\ud800级"] * len(values), dtype=object),
}
"""Columns of frames as people hand them in."""

SAME = {"object", "nullable", "arrow"}
"""Those that say the same as before."""


@pytest.fixture(scope="module")
def few() -> dict[str, pd.DataFrame]:
    tables = make_county(40, terms=1, seed=1)
    frames = {name: tables[name].head(5).reset_index(drop=True) for name in tables}
    wide = frames["students"].merge(tables["enrolments"], on="student_id").merge(tables["households"], on="student_id")
    return {
        **frames,
        "roster": wide.drop(columns=["recorded_at_x", "recorded_at_y"]).rename(columns={"boarding": "就读方式"}),
    }


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_frame_with_columns_of_any_dtype_is_read(few, data):
    name = data.draw(st.sampled_from(list(few)))
    frame = few[name]
    recasts = data.draw(st.dictionaries(st.sampled_from(list(frame)), st.sampled_from(list(RECASTS)), min_size=1))
    recast = frame.copy()
    for column, how in recasts.items():
        try:
            recast[column] = RECASTS[how](frame[column])
        except (TypeError, ValueError, AttributeError, ArithmeticError, NotImplementedError, pa.ArrowException):
            recasts = {**recasts, column: "object"}  # this column cannot be had so
    read = make_tables({name: recast})
    for table in read:
        assert list(read[table]) == TABLES[table].names
        assert read[table].dtypes.tolist() == [dtype_of(column) for column in TABLES[table].columns]
    if set(recasts.values()) <= SAME:
        expected = make_tables({name: frame})
        assert list(map(str, read.problems)) == list(map(str, expected.problems))
        for table in read:
            pd.testing.assert_frame_equal(read[table], expected[table])


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.null(),
        pa.bool_(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.int8()),
    ],
)
def test_a_column_of_a_flat_table_of_which_nothing_is_known_is_empty(tmp_path, kind):
    pq.write_table(pa.table({"a": [1, 2], "b": pa.array([None, None], kind)}), tmp_path / "flat.parquet")
    (tmp_path / "flat.csv").write_text("a,b\n1,\n2,\n")
    for codes in ([], ["b"]):
        frame = read_flat(tmp_path / "flat.parquet", codes=codes)
        assert frame["b"].isna().all()
        assert frame.dtypes.tolist() == read_flat(tmp_path / "flat.csv", codes=codes).dtypes.tolist()


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_day_that_no_calendar_has_is_no_date(unit):
    days_ = np.array([f"{year}-01-01" for year in (0, 1, 9999, 10_000, 300_000)], dtype=f"datetime64[{unit}]")
    read = make_tables({"students": pd.DataFrame({"student_id": list("abcde"), "birth_date": pd.Series(days_)})})
    assert [(problem.row, problem.kind) for problem in read.problems] == [(row, "not_a_date") for row in (1, 4, 5)]
    assert read["students"]["birth_date"].isna().tolist() == [True, False, False, True, True]


def test_the_same_tables_give_the_same_bytes(tmp_path):
    tables = make_tables({
        "attendance": pd.DataFrame({"student_id": ["1", "2"], "date": "2020-09-01", "code": ["P", "U"]}),
        "students": pd.DataFrame({"student_id": ["1"], "name": ["王"], "disability": [True]}),
    })  # fmt: skip
    first = [path.read_bytes() for path in write_tables(tables, tmp_path / "a")]
    shuffled = make_tables({name: frame.set_axis(frame.index + 7) for name, frame in tables.items()})
    assert [path.read_bytes() for path in write_tables(shuffled, tmp_path / "b")] == first
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["attendance.parquet", "students.csv"]
    assert first[0] == "student_id,name,id_number,sex,birth_date,disability\n1,王,,,,true\n".encode()


def test_a_folder_with_other_files_is_not_overwritten_unless_allowed(tmp_path):
    tables = make_tables({"attendance": pd.DataFrame({"student_id": ["1"], "date": "2020-09-01", "code": "P"})})
    write_tables(tables, tmp_path, formats={"attendance": "csv"})
    write_tables(tables, tmp_path, formats={"attendance": "csv"})
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TableError, match=r"holds other files \(attendance.csv, letter.txt\)"):
        write_tables(tables, tmp_path)
    write_tables(tables, tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attendance.parquet", "letter.txt"]
    assert len(read_tables(tmp_path)["attendance"]) == 1
    with pytest.raises(SettingsError, match="attendance=xml"):
        write_tables(tables, tmp_path, formats={"attendance": "xml"}, overwrite=True)
    with pytest.raises(TableError, match="this is a file"):
        write_tables(tables, tmp_path / "letter.txt")


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_path(path) as fresh:
        fresh.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as fresh:
        fresh.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


# ------------------------------------------------------------------------------------ flat tables


def test_flat_tables_become_numbers_and_categories(tmp_path):
    text = "id,年龄,route,left,mixed\n001,13,bus,TRUE,1\n002,NA,,False,x\n"
    (tmp_path / "flat.csv").write_text(text, encoding="gb18030")
    save_workbook(tmp_path / "flat.xlsx", Sheet1=[line.split(",") for line in text.splitlines()])
    frame = read_flat(tmp_path / "flat.csv")
    assert frame.dtypes.astype(str).tolist() == ["int64", "float64", "category", "bool", "category"]
    assert frame["年龄"].isna().tolist() == [False, True]
    assert frame["route"].isna().tolist() == [False, True]
    pd.testing.assert_frame_equal(read_flat(tmp_path / "flat.xlsx"), frame)
    frame.to_parquet(tmp_path / "flat.parquet")
    pd.testing.assert_frame_equal(read_flat(tmp_path / "flat.parquet"), frame)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,a\n1,2,3\n", "same header"),
        ("a,b\n", "no rows below"),
        ('a\n"b\n', "quotation"),
        ("", "file is empty"),
        ("\ufeff", "file is empty"),
        (",,\n ,\n", "file is empty"),
        ("\n" * 30, "file is empty"),
    ],  # fmt: skip
)
def test_flat_tables_that_cannot_be_read(tmp_path, text, words):
    (tmp_path / "flat.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_flat(tmp_path / "flat.csv")


def test_a_flat_table_is_one_sheet_of_one_file(tmp_path):
    path = save_workbook(tmp_path / "flat.xlsx", one=[["a"], [1]], two=[["b"], [2]])
    for wrong, words in ((path, "has one sheet"), (tmp_path, "this is a folder"), (tmp_path / "x.csv", "no such file")):
        with pytest.raises(TableError, match=words):
            read_flat(wrong)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    suffix=st.sampled_from([".csv", ".parquet", ".xlsx"]),
    where=st.integers(0, 2**20), inserted=st.binary(max_size=9), deleted=st.integers(0, 99),
)  # fmt: skip
def test_damaged_bytes_are_a_sentence_never_a_traceback(tmp_path_factory, suffix, where, inserted, deleted):
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"attendance{suffix}"
    if suffix == ".xlsx":
        save_workbook(path, Sheet1=ATTENDANCE)
    elif suffix == ".csv":
        path.write_text(as_csv(ATTENDANCE), encoding="gb18030")
    else:
        pd.DataFrame(ATTENDANCE[1:], columns=ATTENDANCE[0]).to_parquet(path)
    raw = path.read_bytes()
    at = where % len(raw)
    path.write_bytes(raw[:at] + inserted + raw[at + deleted :])
    for read in (read_tables, read_flat):
        try:
            read(path)
        except TableError as error:
            assert path.name in str(error)


# ---------------------------------------------------------------------------------------- odd values

ODD_COLUMNS = {
    "lists": pa.array([[1], [2, 3], None]),
    "structs": pa.array([{"a": 1}, {"a": 2}, None]),
    "maps": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "decimals": pa.array([Decimal("1.5"), None, Decimal(9)]),
    "bytes": pa.array([b"\xff", b"", None]),
    "times": pa.array([1, 2, None], pa.time64("us")),
    "durations": pa.array([1, 2, None], pa.duration("s")),
    "days": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "days far away": pa.array([0, 2**55, None], pa.date64()),
    "moments far away": pa.array([-(2**62), 2**62, None], pa.timestamp("us", "Asia/Shanghai")),
    "small floats": pa.array([1.5, 2, None], pa.float16()),
    "large integers": pa.array([2**64 - 1, 1, None], pa.uint64()),
    "no numbers": pa.array([float("nan"), float("inf"), -0.0]),
    "nothing": pa.nulls(3),
    "levels": pa.array(["a", "b", None]).dictionary_encode(),
    "levels of numbers": pa.array([1, 2, None]).dictionary_encode(),
    "long texts": pa.array(["x" * 100_000, "", "\0"], pa.large_string()),
}
"""Columns that a Parquet file may hold, and that other files cannot."""


@pytest.mark.parametrize("name", ODD_COLUMNS)
@pytest.mark.parametrize(
    ("table", "column"),
    [("enrolments", name) for name in ("student_id", "grade", "boarding", "distance_km", "left_behind", "enrolled_on")]
    + [("students", "birth_date"), ("students", "sex"), ("attendance", "code")],
)
def test_odd_columns_of_parquet_files_are_read_as_values_that_may_be_wrong(tmp_path, table, column, name):
    frame = pa.table({"student_id": ["G1", "G2", "G3"], "term": ["t"] * 3} | {column: ODD_COLUMNS[name]})
    pq.write_table(frame, tmp_path / f"{table}.parquet")
    tables = read_tables(tmp_path)
    assert len(tables[table]) == 3
    assert tables[table].dtypes.astype(str).to_dict() == empty_frame(table).dtypes.astype(str).to_dict()


def test_a_very_long_number_is_refused_at_once():
    tables = tables_from_records({"enrolments": [{"student_id": "a", "distance_km": "1" * 200_000 + "x"}]})
    assert "not_a_number" in [problem.kind for problem in tables.problems]


def test_an_id_that_is_too_long_costs_its_row_and_a_class_its_name():
    rows = [{"student_id": "a" * 81, "class_id": "1"}, {"student_id": "b", "class_id": "1" * 81}]
    tables = tables_from_records({"enrolments": rows})
    found = {(p.column, p.row): p.level for p in tables.problems if p.kind == "too_long"}
    assert found == {("student_id", 1): "error", ("class_id", 2): "warning"}
    assert tables["enrolments"]["student_id"].isna().tolist() == [True, False]
    assert tables["enrolments"]["class_id"].isna().tolist() == [False, True]


def test_grades_of_which_none_is_known_are_empty():
    assert (
        tables_from_records({"enrolments": {"student_id": ["a"], "grade": [None]}})["enrolments"]["grade"].isna().all()
    )


def test_merged_cells_that_lie_upon_each_other_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dropout_risk.sheets.MAX_CELLS", 5)
    book = openpyxl.Workbook()
    book.active.title = "学生"
    book.active["A1"], book.active["D3"] = "学籍号", "x"
    book.active.merge_cells("A1:C2")
    book.save(tmp_path / "学生.xlsx")
    with pytest.raises(TableError, match="merged cells of sheet"):
        read_tables(tmp_path)


def test_what_is_derived_from_tables_is_worked_out_once() -> None:
    tables, made = Tables({}), []
    assert [tables.derived("key", lambda: made.append(1) or 7) for _ in range(2)] == [7, 7]
    assert made == [1]
    assert tables.replace().derived("key", lambda: 8) == 8  # other tables, other values


def test_tables_with_the_same_students_share_their_names() -> None:
    ids = [f"S{number}" for number in range(5)]
    sent = {
        "students": {"student_id": ids, "name": ["王秀平"] * 5},
        "enrolments": {"student_id": [*ids, *ids], "school_id": ["s"] * 10},
        "households": {"student_id": ids[1:]},
    }
    tables = tables_from_records(sent)
    student, enrolled, at_home = (texts(tables, name, "student_id") for name in sent)
    assert enrolled.names is student.names
    assert at_home.names.tolist() == ids[1:]
    assert texts(tables, "students", "name").names.tolist() == ["王秀平"]
    assert tables["students"]["name"].tolist() == ["王秀平"] * 5


@pytest.mark.parametrize("flag", [True, False])
def test_a_yes_among_numbers_is_no_number(flag: bool) -> None:
    sent = {"student_id": ["a", "b"], "distance_km": [float(flag), flag]}
    problems = tables_from_records({"enrolments": sent}).problems
    assert [(one.row, one.value) for one in problems if one.kind == "not_a_number"] == [(2, str(flag))]


def test_what_is_known_of_headers_is_kept_for_ordinary_sheets_only() -> None:
    before = headers._headed.cache_info().currsize
    assert headers.headed(("x" * 2000, "学期"), ("terms",)).places == {"terms": {"term": [1]}}
    assert headers._headed.cache_info().currsize == before
    assert headers.headed(("学期", "开始日期"), ("terms",)) is headers.headed(("学期", "开始日期"), ("terms",))
