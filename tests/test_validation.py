"""The checks: a clean county has no problem, every kind of damage is found, and nothing is lost on the way."""

import datetime as dt
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checks_by_frames import problems_of, usable_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.errors import TableError
from dropout_risk.id_numbers import DAMAGED, id_number_fault, judge
from dropout_risk.notes import MESSAGES
from dropout_risk.schema import TABLES, Column, Source, Tables
from dropout_risk.synthetic import make_county
from dropout_risk.tables import make_tables, read_tables, tables_from_records
from dropout_risk.validation import usable, validate

Frames = dict[str, pd.DataFrame]


def check_character(digits: str) -> str:
    """ISO 7064 MOD 11-2 by the recursive method, not the weights."""
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2 % 11
    return "0123456789X"[(12 - total) % 11]


def id_number(region: int, birth: dt.date, sequence: int) -> str:
    digits = f"{region:06d}{birth:%Y%m%d}{sequence:03d}"
    return digits + check_character(digits)


def clean_frames() -> Frames:
    """Return a small county without any problem: 2 schools, 2 terms, 40 students in each school."""
    terms = pd.DataFrame({
        "term": ["2020-2021-1", "2020-2021-2"], "start": ["2020-09-01", "2021-02-22"],
        "end": ["2020-10-16", "2021-04-09"],
    })  # fmt: skip
    days = pd.bdate_range("2020-09-01", "2020-10-16").append(pd.bdate_range("2021-02-22", "2021-04-09"))
    ids = [f"S{number:03d}" for number in range(80)]
    births = [dt.date(2008, 1 + number % 12, 1 + number % 28) for number in range(80)]
    enrolments = pd.concat([
        pd.DataFrame({
            "student_id": ids, "school_id": ["A"] * 40 + ["B"] * 40, "term": term, "grade": 6, "boarding": False,
            "distance_km": 3.0, "travel_minutes": 30, "recorded_at": start,
        })
        for term, start in zip(terms["term"], terms["start"], strict=True)
    ], ignore_index=True)  # fmt: skip
    attendance = pd.DataFrame({"student_id": np.tile(ids, len(days)), "date": np.repeat(days, len(ids)), "code": "P"})
    attendance.loc[attendance["student_id"].isin(["S000", "S041"]) & (attendance["date"].dt.day == 7), "code"] = "U"
    attendance.loc[::97, "code"] = "S"
    return {
        "schools": pd.DataFrame({"school_id": ["A", "B"], "county_id": "513425", "stage": "primary"}),
        "terms": terms,
        "calendar": pd.DataFrame({"date": days, "is_school_day": True}),
        "students": pd.DataFrame({
            "student_id": ids, "name": "王小明", "birth_date": births,
            "id_number": [id_number(513425, birth, 1 + number) for number, birth in enumerate(births)],
        }),
        "enrolments": enrolments,
        "attendance": attendance.assign(recorded_at=attendance["date"]),
        "grades": pd.DataFrame({
            "student_id": ids, "term": "2020-2021-1", "subject": "语文", "exam": "final", "exam_date": "2020-10-12",
            "score": 80, "full_mark": 100, "recorded_at": "2020-10-20",
        }),
        "households": pd.DataFrame({
            "student_id": ids, "poverty": "none", "valid_from": "2020-01-01", "recorded_at": "2020-01-01",
        }),
        "status_changes": pd.DataFrame({
            "student_id": ["S005"], "date": "2021-03-01", "change": "transfer_out", "recorded_at": "2021-03-05",
        }),
        "attendance_counts": pd.DataFrame({
            "student_id": ids, "term": "2020-2021-1", "days_reported": 30, "days_absent": 1,
            "recorded_at": "2020-10-16",
        }),
    }  # fmt: skip


def change(table: str, row: int | list[int], **values: object) -> Callable[[Frames, Path], Tables]:
    """Return a case: the clean county with some values of one table changed."""

    def make(frames: Frames, folder: Path) -> Tables:
        frame = frames[table].astype("object")
        for column, value in values.items():
            frame.loc[row, column] = value
        return make_tables({**frames, table: frame})

    return make


def add(table: str, **values: object) -> Callable[[Frames, Path], Tables]:
    """Return a case: the clean county with a copy of the first row of one table, somewhat changed."""

    def make(frames: Frames, folder: Path) -> Tables:
        frame = frames[table].astype("object")
        copy = frame.iloc[[0]].assign(**values)
        return make_tables({**frames, table: pd.concat([frame, copy], ignore_index=True)})

    return make


def on(day: str) -> Callable[[Frames, Path], Tables]:
    return change("attendance", 80, date=day, recorded_at=day)


def without(table: str, *columns: str) -> Callable[[Frames, Path], Tables]:
    def make(frames: Frames, folder: Path) -> Tables:
        left = {name: frame for name, frame in frames.items() if name != table}
        return make_tables({**left, table: frames[table].drop(columns=list(columns))} if columns else left)

    return make


def file(name: str, text: str) -> Callable[[Frames, Path], Tables]:
    """Return a case: the clean county, one table of which is read from a file."""

    def make(frames: Frames, folder: Path) -> Tables:
        (folder / name).write_text(text)
        (folder / "terms.csv").write_text(frames["terms"].to_csv(index=False))
        read = read_tables(folder)
        clean = make_tables(frames)
        return Tables({**clean, **read}, problems=read.problems, sources=read.sources)

    return make


def many_terms(frames: Frames, folder: Path) -> Tables:
    term, enrolment = frames["terms"].iloc[[0] * 10_000], frames["enrolments"].iloc[[0] * 10_000]
    return make_tables({
        **frames,
        "terms": pd.concat([frames["terms"], term.assign(term=np.arange(10_000).astype(str))]),
        "enrolments": pd.concat([frames["enrolments"], enrolment.assign(student_id=np.arange(10_000).astype(str))]),
    })  # fmt: skip


def nobody_absent(frames: Frames, folder: Path) -> Tables:
    codes = frames["attendance"]["code"].mask(frames["attendance"]["student_id"] >= "S040", "P")
    return make_tables({**frames, "attendance": frames["attendance"].assign(code=codes)})


ROSTER = "姓名,身份证件号,年级,学期,学校标识码\n王,11010519491231002X,9,2020-2021-1,A\n"
SCHOOLS = "school_id,county_id,name\nA,1,a\nB,1,b\n"

CASES: dict[str, tuple[str, str, int, Callable[[Frames, Path], Tables]]] = {
    # kind: level, table, rows, how it is made
    "refused_column": ("error", "schools", 1, file("schools.csv", "school_id,county_id,宗教\nA,1,x\nB,1,x\n")),
    "never_read": ("warning", "schools", 1, file("schools.csv", "school_id,county_id,备注\nA,1,x\nB,1,x\n")),
    "unknown_column": ("warning", "schools", 2, file("schools.csv", "school_id,county_id,a,b\nA,1,x,y\nB,1,x,y\n")),
    "second_header": ("warning", "schools", 1, file("schools.csv", "school_id,学校代码,county_id\nA,A,1\nB,B,1\n")),
    "row_left_out": ("warning", "schools", 2, file("schools.csv", SCHOOLS + ",,\n合 计,2,\n")),
    "unknown_file": ("warning", "", 1, file("letter.csv", "dear,all\n")),
    "too_many_cells": ("error", "schools", 1, file("schools.csv", SCHOOLS + "C,1,c, d\n")),
    "student_id_made": ("warning", "students", 1, file("roster.csv", ROSTER)),
    "missing_column": ("error", "grades", 1, without("grades", "exam")),
    "no_term": ("error", "grades", 1, without("grades", "term")),
    "missing_value": ("error", "grades", 1, change("grades", 3, subject=None)),
    "not_a_date": ("error", "students", 1, change("students", 3, birth_date="x")),
    "not_a_number": ("error", "grades", 1, change("grades", 3, score="80分")),
    "not_an_integer": ("error", "households", 1, change("households", 3, siblings=1.5)),
    "not_a_boolean": ("error", "enrolments", 1, change("enrolments", 3, migrant="x")),
    "not_allowed": ("error", "households", 1, change("households", 3, poverty="x")),
    "not_a_grade": ("error", "enrolments", 1, change("enrolments", 3, grade="x")),
    "entry_year": ("error", "enrolments", 1, change("enrolments", 3, grade="2020级", term="?")),
    "out_of_range": ("warning", "grades", 2, change("grades", [3, 4], score=999)),
    "too_long": ("warning", "enrolments", 1, change("enrolments", 3, class_id="x" * 81)),
    "missing_table": ("error", "terms", 1, without("terms")),
    "too_many_pairs": ("error", "terms", 1, many_terms),
    "duplicate_key": ("error", "grades", 1, add("grades", score=1)),
    "duplicate_row": ("warning", "grades", 1, add("grades")),
    "unknown_student_id": ("error", "grades", 1, change("grades", 3, student_id="?")),
    "unknown_school_id": ("error", "enrolments", 1, change("enrolments", 3, school_id="?")),
    "unknown_term": ("error", "grades", 1, change("grades", 3, term="?")),
    "bad_check_digit": ("warning", "students", 1, change("students", 3, id_number="513425200804040041")),
    "excel_damaged": ("warning", "students", 1, change("students", 3, id_number="513425200804040000")),
    "bad_date": ("warning", "students", 1, change("students", 3, id_number="51342520081304004X")),
    "bad_length": ("warning", "students", 1, change("students", 3, id_number="5134252008040400")),
    "birth_mismatch": ("warning", "students", 1, change("students", 3, birth_date="2008-04-05")),
    "age_grade": ("warning", "enrolments", 2, change("students", 3, birth_date="1998-01-01", id_number=None)),
    "non_school_day": ("warning", "attendance", 1, on("2020-09-05")),
    "outside_term": ("warning", "attendance", 1, on("2021-01-05")),
    "future_date": ("warning", "grades", 1, change("grades", 3, exam_date="2021-06-01", recorded_at="2021-06-01")),
    "recorded_early": ("warning", "grades", 1, change("grades", 3, recorded_at="2020-10-11")),
    "no_recorded_at": ("warning", "grades", 7, change("grades", list(range(7)), recorded_at=None)),
    "term_order": ("error", "terms", 1, add("terms", term="x", start="2020-08-01", end="2020-07-01")),
    "term_overlap": ("error", "terms", 1, add("terms", term="x", start="2020-10-01", end="2020-12-01")),
    "distance": ("warning", "enrolments", 3, change("enrolments", [1, 2, 3], distance_km=31)),
    "too_perfect": ("warning", "attendance", 40, nobody_absent),
}  # fmt: skip


CLEAN = clean_frames()


@pytest.fixture
def frames() -> Frames:
    return dict(CLEAN)


def test_a_clean_county_has_no_problem(frames):
    report = validate(make_tables(frames))
    assert report.problems == ()
    assert report.ok
    assert report.counts == {name: len(frames[name]) for name in TABLES if name in frames}


def test_every_kind_of_problem_has_a_case():
    assert set(CASES) == set(MESSAGES)


FOLLOWS = {
    "student_id_made": {"unknown_student_id", "no_recorded_at"}, "entry_year": {"unknown_term"},
}  # fmt: skip
"""What else a case must bring: the rest of the county does not fit to what was changed."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(CASES))
def test_each_kind_of_problem_is_found_with_its_place(frames, tmp_path, kind):
    level, table, count, make = CASES[kind]
    tables = make(frames, tmp_path)
    report = validate(tables)
    found = [problem for problem in report.problems if problem.kind == kind]
    assert [(p.level, p.table) for p in found] in ([(level, table)], [(level, table)] * 2)
    assert found[0].count == count
    if kind in {"missing_table", "too_perfect"}:
        found = found[:1]
    for problem in found:
        for text in (problem.message, problem.message_zh):
            assert "{" not in text
            assert "nan" not in text.casefold()
        if problem.position is not None:
            assert tables.locate(table, problem.position) == (problem.file, problem.row)
    assert {problem.kind for problem in report.problems} == {kind, *FOLLOWS.get(kind, ())}


# ------------------------------------------------------------------------------------ the report


@pytest.mark.slow
def test_the_report_speaks_both_languages_and_gives_values(frames, tmp_path):
    tables = change("students", [3, 4], birth_date="王小明", id_number="513425201001011328")(frames, tmp_path)
    report = validate(tables)
    english, chinese = report.to_text(), report.to_text("zh")
    assert str(report) == english
    assert english.splitlines()[0].startswith("2 errors, 1 warnings (schools 2 rows, terms 2 rows")
    assert "error students, row 4, column birth_date: 王小明 is not a date; write it as 2020-09-01." in english
    assert "错误 students 第 4 行“出生日期”列：“王小明”不是日期；请写成 2020-09-01。" in chinese
    assert "513425201001011328" not in english + chinese
    assert "513425********1328" in english
    assert len(english.splitlines()) == len(chinese.splitlines()) == 1 + len(report.problems)
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["ok"], values["errors"], values["warnings"]) == (False, 2, 1)
    frame = report.to_frame()
    assert frame["kind"].tolist() == [problem["kind"] for problem in values["problems"]]
    assert frame["position"].tolist() == [3, 4, 3]
    assert validate(make_tables(frames)).to_frame().empty


@pytest.mark.slow
def test_names_are_never_shown(frames, tmp_path):
    tables = change("students", 3, name="欧阳修", student_id=None)(frames, tmp_path)
    assert "欧阳修" not in validate(tables).to_text() + validate(tables).to_text("zh")


def test_a_table_made_by_hand_without_its_columns_is_told(frames):
    tables = make_tables(frames)
    broken = tables.replace(grades=tables["grades"][["student_id", "term"]])
    report = validate(broken)
    assert {problem.kind for problem in report.problems} == {"missing_column"}
    assert "score" in {problem.column for problem in report.problems}


def test_no_tables_at_all():
    report = validate(Tables({}))
    assert [problem.kind for problem in report.errors] == ["missing_table"] * 4
    with pytest.raises(TableError, match="(?s)schools.*terms.*students.*enrolments"):
        usable(Tables({}), report)


# ------------------------------------------------------------------------------------ ID numbers

IDS = st.builds(
    id_number,
    st.integers(110000, 659999),
    st.dates(dt.date(1950, 1, 1), dt.date(2020, 12, 31)),
    st.integers(0, 999),
)


@settings(max_examples=150)
@given(IDS)
def test_sound_numbers_pass_in_every_form(number):
    assert id_number_fault(number) is None
    assert id_number_fault(number.lower()) is None
    assert id_number_fault(number[:6] + number[8:17]) is None or number[6:8] == "20"


@settings(max_examples=150)
@given(IDS, st.integers(0, 17), st.integers(1, 9))
def test_every_wrong_digit_is_found(number, place, more):
    if number[place] == "X":
        wrong = number[:place] + "0"
    else:
        wrong = number[:place] + str((int(number[place]) + more) % 10) + number[place + 1 :]
    assert id_number_fault(wrong) in {"bad_check_digit", "bad_date", "excel_damaged"}


def random_ids(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 7000, count)
    regions = rng.integers(110000, 659999, count)
    return [
        id_number(int(region), dt.date(2000, 1, 1) + dt.timedelta(days=int(day)), int(sequence))
        for region, day, sequence in zip(regions, days, rng.integers(0, 1000, count), strict=True)
    ]


@pytest.mark.parametrize("damage", [lambda number: str(int(float(number))), lambda number: number[:15] + "000"])
def test_damage_by_spreadsheets_is_detected(damage):
    sound = [number for number in random_ids(20_000, seed=1) if number.isdigit()]
    damaged = [damage(number) for number in sound]
    for number, after, fault in zip(sound, damaged, judge(damaged).fault, strict=True):
        still_fits = check_character(after[:17]) == after[17]
        assert fault == (-1 if still_fits else DAMAGED), number
    assert id_number_fault("5.13425E+17") == "excel_damaged"


def test_typing_errors_are_rarely_taken_for_damage():
    wrong = [number[:16] + str((int(number[16]) + 1) % 10) + number[17] for number in random_ids(5_000, seed=2)]
    assert np.mean(judge(wrong).fault == DAMAGED) < 0.04


def test_in_a_damaged_file_also_numbers_whose_check_digit_fits_by_chance_are_found():
    sound = [number for number in random_ids(3_000, seed=3) if number.isdigit()]
    damaged = [str(int(float(number))) for number in sound]
    changed = sum(before != after for before, after in zip(sound, damaged, strict=True))
    tables = make_tables({"students": pd.DataFrame({"student_id": range(len(sound)), "id_number": damaged})})
    counts = {p.kind: p.count for p in validate(tables).warnings}
    assert changed <= counts["excel_damaged"] <= len(sound)
    assert "bad_check_digit" not in counts
    clean = make_tables({"students": pd.DataFrame({"student_id": range(len(sound)), "id_number": sound})})
    assert not validate(clean).warnings


# ------------------------------------------------------------------------------------ rows against brute force

ROWS = st.lists(
    st.fixed_dictionaries({
        "student_id": st.sampled_from(["a", "b"]), "date": st.sampled_from(["2020-09-01", "2020-09-02"]),
        "code": st.sampled_from("PU"), "recorded_at": st.sampled_from([None, "2020-09-01", "2020-09-02"]),
    }),
    min_size=1, max_size=8,
)  # fmt: skip


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_duplicates_are_those_of_a_plain_loop(rows):
    keys, seen, expected = set(), [], {"duplicate_key": [], "duplicate_row": []}
    for position, row in enumerate(rows):
        key = row["student_id"], row["date"], row["recorded_at"] or row["date"]
        if key in keys:
            expected["duplicate_row" if row in seen else "duplicate_key"].append(position)
        keys.add(key)
        seen.append(row)
    problems = validate(tables_from_records({"attendance": rows})).problems
    assert [p.position for p in problems if p.kind == "duplicate_key"] == expected["duplicate_key"]
    copies = [p for p in problems if p.kind == "duplicate_row"]
    assert sum(p.count for p in copies) == len(expected["duplicate_row"])
    assert [p.position for p in copies] == expected["duplicate_row"][:1]


# ------------------------------------------------------------------------------------ arrays against frames

COUNTIES = [
    (60, 2, False, True), (80, 3, True, True), (100, 2, True, False), (40, 1, False, True), (150, 2, False, False),
]  # fmt: skip
ODD_TEXTS = ["?", "x" * 9, "513425201001011328", "11010519491231002x", "110105491231002", "5.1E+17", "123"]
ODD_DAYS = ["1900-01-01", "2031-01-01", "2019-07-15", "2019-10-08", "2020-02-01", "2100-12-31"]
ODD_NUMBERS = [0.0, 1.0, 5.0, 12.0, 31.0, 99.0, 150.0, 250.0]


@cache
def county(size: int, terms: int, mess: bool, daily: bool) -> Tables:
    return make_county(size, terms=terms, seed=size, mess=mess, daily=daily)


def odd_value(rng: random.Random, frame: pd.DataFrame, column: Column) -> object:
    """Another value that the column may hold."""
    other = frame[column.name].iloc[rng.randrange(len(frame))]
    match column.kind:
        case "string":
            return rng.choice([*ODD_TEXTS, other, other])
        case "date":
            return rng.choice([*map(pd.Timestamp, ODD_DAYS), other])
        case "category":
            return rng.choice(list(column.allowed))
        case "boolean":
            return rng.random() < 0.5
        case _:
            return rng.choice(ODD_NUMBERS)


def spoil(rng: random.Random, name: str, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return a table damaged in one way; None stands for a table that is not there."""
    column = rng.choice(TABLES[name].columns)
    how = rng.random()
    if how < 0.6 and column.name in frame:
        values = frame[column.name].copy()
        for row in rng.sample(range(len(frame)), min(len(frame), rng.choice([1, 2, 5, 40, 150]))):
            values.iloc[row] = odd_value(rng, frame, column) if rng.random() < 0.6 else None
        return frame.assign(**{column.name: values})
    if how < 0.8:
        again = [rng.randrange(len(frame)) for _ in range(rng.choice([1, 2, 10]))]
        return pd.concat([frame, frame.iloc[again]], ignore_index=True)
    if how < 0.86:
        return frame.sample(frac=1, random_state=rng.randrange(99))
    if how < 0.91:
        return frame.iloc[sorted(rng.sample(range(len(frame)), int(len(frame) * rng.random())))]
    if how < 0.93:
        return frame.drop(columns=column.name, errors="ignore")
    if how < 0.95:
        return None
    if name == "attendance" and "code" in frame:
        return frame.assign(code=frame["code"].where(~frame["code"].isin(["S", "A", "U"]), "P"))
    return frame.assign(days_absent=0.0) if name == "attendance_counts" else frame


def spoilt_county(rng: random.Random) -> Tables:
    """Return a county with any damage at all, its tables in any order and from up to two files."""
    tables = county(*rng.choice(COUNTIES))
    frames = dict(tables)
    for _ in range(rng.choice([0, 1, 2, 4, 8, 20])):
        name = rng.choice(list(frames))
        frame = spoil(rng, name, frames[name]) if len(frames[name]) else None
        frames = {**frames, name: frame} if frame is not None else {k: v for k, v in frames.items() if k != name}
        if not frames:
            break
    sources = {}
    for name, frame in frames.items():
        if len(frame) and rng.random() < 0.4:
            rows = int(frame.index.max()) + 1
            first = rng.randrange(rows + 1)
            sources[name] = (Source("a.csv", 0, first, 2), Source("b.csv", first, rows - first, 3))
    order = rng.sample(list(frames), len(frames))
    problems = tables.problems if rng.random() < 0.5 else ()
    return Tables({name: frames[name] for name in order}, problems=problems, sources=sources)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**9))
def test_the_checks_on_arrays_say_what_the_checks_on_frames_say(seed):
    tables = spoilt_county(random.Random(seed))
    report = validate(tables)
    assert list(report.problems) == problems_of(tables)
    if any(problem.position is None for problem in report.errors):
        return
    (good, refused), (good_by_frames, refused_by_frames) = usable(tables, report), usable_of(tables, report.problems)
    pd.testing.assert_frame_equal(refused, refused_by_frames)
    assert (list(good), good.problems, good.sources) == (list(tables), good_by_frames.problems, tables.sources)
    for name, frame in good.items():
        pd.testing.assert_frame_equal(frame, good_by_frames[name])
    assert validate(good).problems == validate(Tables(good, problems=good.problems, sources=good.sources)).problems


def test_a_schools_own_calendar_wins_and_closed_days_may_be_reported_closed(frames):
    own = pd.DataFrame({
        "school_id": ["A", "A", "B"], "date": ["2020-09-07", "2020-09-12", "2020-09-12"],
        "is_school_day": [False, True, False], "reason": "农忙",
    })  # fmt: skip
    saturday = frames["attendance"].iloc[:80].assign(date="2020-09-12", recorded_at="2020-09-12")
    saturday["code"] = ["P"] * 40 + ["N"] * 20 + ["X"] * 20
    tables = make_tables({
        **frames,
        "calendar": pd.concat([frames["calendar"], own]),
        "attendance": pd.concat([frames["attendance"], saturday]),
    })  # fmt: skip
    [problem] = validate(tables).problems
    assert (problem.kind, problem.count, problem.value) == ("non_school_day", 40, "2020-09-07")


def test_a_school_without_any_absence_in_its_counts_is_told(frames):
    counts = frames["attendance_counts"].assign(days_absent=0)
    problems = validate(make_tables({**frames, "attendance_counts": counts})).problems
    assert [(p.kind, p.count) for p in problems] == [("too_perfect", 40)] * 2


# ------------------------------------------------------------------------------------ usable rows


def damaged(frames: Frames) -> Tables:
    students = frames["students"].astype("object")
    students.loc[3, "birth_date"] = "soon"
    students.loc[4, ["birth_date", "disability"]] = ["soon", "maybe"]
    attendance = frames["attendance"].astype("object")
    attendance.loc[[7, 9], "code"] = "?"
    schools = pd.concat([frames["schools"], frames["schools"].iloc[[0]].assign(name="other")], ignore_index=True)
    return make_tables({**frames, "students": students, "attendance": attendance, "schools": schools})


def test_rows_in_are_rows_usable_and_rows_refused(frames):
    tables = damaged(frames)
    good, refused = usable(tables, validate(tables))
    for name, frame in tables.items():
        assert len(frame) == len(good[name]) + (refused["table"] == name).sum(), name
        assert good[name].index.isin(frame.index).all()
    again = validate(good)
    assert again.ok
    assert len(usable(good, again)[1]) == 0
    assert not good["attendance"]["student_id"].isin(["S003", "S004"]).any()


def test_a_refused_row_is_one_row_with_all_reasons(frames):
    tables = damaged(frames)
    _, refused = usable(tables, validate(tables))
    columns = ["table", "file", "row", "student_id", "column", "value", "message", "message_zh"]
    assert list(refused) == columns
    students = refused[refused["table"] == "students"]
    assert students[["row", "student_id", "column", "value"]].values.tolist() == [
        [4, "S003", "birth_date", "soon"],
        [5, "S004", "birth_date", "soon"],
    ]
    assert "not a date" in students["message"].iloc[1]
    assert "neither yes nor no" in students["message"].iloc[1]
    assert refused.loc[refused["table"] == "schools", "student_id"].isna().all()


def test_what_a_whole_table_lacks_is_raised_in_one_go(frames):
    tables = make_tables({**frames, "grades": frames["grades"].drop(columns="exam"), "calendar": pd.DataFrame()})
    with pytest.raises(TableError) as caught:
        usable(tables, validate(tables))
    assert len(str(caught.value).splitlines()) >= 2


def test_who_writes_into_the_list_of_refused_rows_writes_into_no_other_list():
    tables = make_tables(clean_frames())
    first = usable(tables, validate(tables))[1]
    first["seen_by"] = "somebody"
    first.loc[0] = ["students", None, 1, "S1", None, None, "x", "x", "nobody"]
    second = usable(tables, validate(tables))[1]
    assert second.empty and "seen_by" not in second


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.sampled_from(list(TABLES)), st.integers(0, 79), st.integers(0, 9)), max_size=6))
def test_whatever_is_broken_the_rest_is_usable(broken):
    frames = {name: frame.head(100) for name, frame in CLEAN.items()}
    for table, row, column in broken:
        if table in frames:
            frame = frames[table].astype("object")
            frame.iloc[row % len(frame), column % frame.shape[1]] = "?"
            frames[table] = frame
    tables = make_tables(frames)
    report = validate(tables)
    good, refused = usable(tables, report)
    assert sum(map(len, good.values())) + len(refused) == sum(map(len, tables.values()))
    assert not [p for p in validate(good).errors if p.position is not None]
    assert bool(len(refused)) == (not report.ok)
