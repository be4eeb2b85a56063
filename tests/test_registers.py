"""Lines of an attendance register against reading them letter by letter."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropout_risk.errors import TableError
from dropout_risk.registers import LONGEST_LINE, days_of_lines, lines_of_days
from dropout_risk.synthetic import make_county
from dropout_risk.tables import make_tables, read_tables, tables_from_records

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
