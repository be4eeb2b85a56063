"""Records streamed into the measures, against a plain pandas oracle, SQL, and the tables of a county."""

import sqlite3
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.asof import at_risk, cut
from dropout_risk.attendance import CODES, MEASURES, attendance_features, attendance_matrix, attendance_measures
from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.synthetic import make_county

START, END, AS_OF = (pd.Timestamp(day) for day in ("2020-09-01", "2020-10-20", "2020-10-25"))
STUDENTS = pd.DataFrame({"student_id": [f"s{k}" for k in range(7)], "school_id": ["A", "B", "A", "C", "B", "A", "C"]})
WEIGHT = {code: place for place, code in enumerate(CODES)}


def oracle(records: pd.DataFrame, students: pd.DataFrame, calendar: pd.DataFrame | None) -> pd.DataFrame:
    """The slow obvious way: one student and one day after the other."""
    known = records.dropna(subset=["student_id", "date"])
    if "recorded_at" in known:
        known = known[known["recorded_at"].fillna(known["date"]) <= AS_OF]
    known = known[known["date"].between(START, min(END, AS_OF)) & known["student_id"].isin(students["student_id"])]
    of_school = students.set_index("student_id")["school_id"]
    rows = {}
    for student, school in of_school.items():
        own = known[known["student_id"] == student]
        mates = known[known["student_id"].map(of_school) == school]
        days = open_days(school, calendar, best(mates))
        best_of_day = best(own)
        codes = [best_of_day.get(day, "N") for day in days]
        rows[student] = measures_of(days, codes)
    return pd.DataFrame.from_dict(rows, orient="index")[list(MEASURES)].rename_axis("student_id")


def best(records: pd.DataFrame) -> dict:
    """The record that counts of each day (of each student and day, the last one made, then the heaviest)."""
    found: dict = {}
    for row in records.itertuples():
        made = getattr(row, "recorded_at", pd.NaT)
        made = row.date if pd.isna(made) else made
        code = row.code if row.code in WEIGHT else "N"
        key = row.date if records["student_id"].nunique() == 1 else (row.student_id, row.date)
        rank = (made, WEIGHT[code])
        if key not in found or rank > found[key][0]:
            found[key] = (rank, code)
    return {key: code for key, (_, code) in found.items()}


def open_days(school: str, calendar: pd.DataFrame | None, reported: dict) -> list:
    days = pd.date_range(START, min(END, AS_OF))
    if calendar is not None:
        own = calendar[calendar["school_id"] == school].set_index("date")["is_school_day"]
        for_all = calendar[calendar["school_id"].isna()].set_index("date")["is_school_day"]
        if len(own) or len(for_all):
            return [day for day in days if own.get(day, for_all.get(day, False))]
    seen = {key[1] if isinstance(key, tuple) else key for key, code in reported.items() if code != "X"}
    return [day for day in days if day in seen]


def measures_of(days: list, codes: list) -> dict:
    pairs = [(day, code) for day, code in zip(days, codes, strict=True) if code != "X"]
    said = [(day, code) for day, code in pairs if code != "N"]
    recent = [code for _, code in pairs[-20:] if code != "N"]
    share = lambda codes, of: sum(code in codes for _, code in of) / len(of) if of else np.nan  # noqa: E731
    edge = [(day, code) for day, code in said if day.day_of_week in (0, 4)]
    other = [(day, code) for day, code in said if day.day_of_week not in (0, 4)]
    longest = run = 0
    for _, code in said:
        run = run + 1 if code in "SAU" else 0
        longest = max(longest, run)
    return {
        "absence_rate": share("SAU", said),
        "unexcused_rate": share("U", said),
        "late_rate": share("LE", said),
        "absent_days_20": float(sum(code in "SAU" for code in recent)) if recent else np.nan,
        "longest_absence": float(longest) if said else np.nan,
        "absence_run_now": float(run) if said else np.nan,
        "edge_day_gap": share("SAU", edge) - share("SAU", other),
        "not_reported_rate": 1 - len(said) / len(pairs) if pairs else np.nan,
    }


@st.composite
def histories(draw):
    n = draw(st.integers(0, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    near = draw(st.sampled_from([6, 70]))
    frame = pd.DataFrame(
        {
            "student_id": rng.choice([*STUDENTS["student_id"], "stranger"], n),
            "date": START - pd.Timedelta(days=3) + pd.to_timedelta(rng.integers(0, near, n), "D"),
            "code": rng.choice([*CODES, "?"], n, p=[0.12] * 8 + [0.02, 0.02]),
        }
    ).astype({"student_id": object, "code": object})
    if draw(st.booleans()):
        late = frame["date"] + pd.to_timedelta(rng.integers(0, 40, n), "D")
        frame["recorded_at"] = late.where(rng.random(n) < 0.7)
    if draw(st.booleans()):
        frame.loc[rng.random(n) < 0.05, "student_id"] = None
        frame.loc[rng.random(n) < 0.05, "date"] = pd.NaT
    return frame


@st.composite
def calendars(draw):
    if draw(st.booleans()):
        return None
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    schools = draw(st.sampled_from([[None], [None, "A"], ["A"], ["A", "B"]]))
    days = pd.date_range(START - pd.Timedelta(days=2), END)
    return pd.concat(
        pd.DataFrame({"school_id": school, "date": days, "is_school_day": rng.random(len(days)) < 0.7})
        for school in schools
    ).astype({"school_id": object})


@settings(max_examples=60)
@given(
    records=histories(),
    calendar=calendars(),
    form=st.sampled_from(["frame", "table", "dictionary", "large", "reader", "files", "dataset", "numbers"]),
    block_bytes=st.sampled_from([1, 150, 2**29]),
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 100),
)
def test_streamed_measures_are_those_of_the_plain_way(
    tmp_path_factory, records, calendar, form, block_bytes, threads, seed
):
    students = STUDENTS
    expected = oracle(records, students, calendar)
    shuffled = records.sample(frac=1, random_state=seed)
    if form == "numbers":
        number = {name: place * 7 - 3 for place, name in enumerate([*STUDENTS["student_id"], "stranger"])}
        shuffled = shuffled.assign(student_id=shuffled["student_id"].map(number).astype("Int64"))
        students = students.assign(student_id=students["student_id"].map(number))
        expected.index = expected.index.map(number)
    if form == "reader":
        block_bytes = 2**29  # a stream is read once
    source = source_of(shuffled, form, tmp_path_factory)
    found = attendance_features(
        source, students, as_of=AS_OF, start=START, end=END, calendar=calendar, block_bytes=block_bytes, threads=threads
    )
    assert list(found.columns) == list(MEASURES) and found.index.name == "student_id"
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_index_type=False, check_names=False)
    assert sum(found.attrs["records"].values()) == len(records)


def source_of(records, form, tmp_path_factory):
    if form == "frame":
        return records
    table = pa.Table.from_pandas(records, preserve_index=False)
    kinds = {"student_id": pa.string() if form != "numbers" else pa.int64(), "date": pa.timestamp("us")}
    kinds |= {"code": pa.string(), "recorded_at": pa.timestamp("us")}
    table = table.cast(pa.schema([(name, kinds[name]) for name in table.column_names]))
    if form == "dictionary":
        for name in ("student_id", "code"):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table[name].dictionary_encode())
    if form == "large":
        place = table.schema.get_field_index("student_id")
        table = table.set_column(place, "student_id", table["student_id"].cast(pa.large_string()))
    if form == "reader":
        return table.to_reader(max_chunksize=7)
    if form in ("files", "dataset"):
        folder = tmp_path_factory.mktemp("records")
        for number, (first, last) in enumerate(pairwise([0, len(table) // 3, len(table) + 1])):
            pq.write_table(table.slice(first, last - first), folder / f"part-{number}.parquet", row_group_size=11)
        return folder if form == "files" else ds.dataset(folder)
    return table


def test_sql_counts_the_same(tmp_path: Path) -> None:
    county = make_county(300, terms=2, seed=4)
    terms = county["terms"].sort_values("start")
    start, end = terms["start"].iloc[-1], terms["end"].iloc[-1]
    known = cut(county, end)
    students = at_risk(known, end).reset_index()[["student_id", "school_id"]]
    records = county["attendance"].astype({"student_id": str, "code": str})
    path = tmp_path / "attendance.parquet"
    records.to_parquet(path, index=False, row_group_size=1_000)
    found = attendance_features(path, students, as_of=end, start=start, calendar=county["calendar"])
    with sqlite3.connect(":memory:") as base:
        dates = {name: records[name].astype(str) for name in ("date", "recorded_at")}
        records.assign(**dates).to_sql("attendance", base, index=False)
        students.to_sql("students", base, index=False)
        calendar = county["calendar"].assign(date=county["calendar"]["date"].astype(str))
        calendar[calendar["is_school_day"]].astype(str).to_sql("open_days", base, index=False)
        counted = pd.read_sql(SQL, base, params={"start": str(start.date()), "end": str(end.date())})
    expected = counted.set_index("student_id").reindex(found.index)
    assert len(expected) > 100 and expected["absence_rate"].notna().sum() > 100
    for name in ("absence_rate", "unexcused_rate", "late_rate"):
        np.testing.assert_array_equal(found[name], expected[name].to_numpy(float))


SQL = """
with made as (
  select a.student_id, a.date, a.code, row_number() over (
    partition by a.student_id, a.date
    order by case when a.recorded_at = 'NaT' then a.date else a.recorded_at end desc,
      instr('NXPOLESAU', a.code) desc
  ) as place
  from attendance a join open_days o on o.date = a.date
  where a.date between :start and :end
    and case when a.recorded_at = 'NaT' then a.date else a.recorded_at end <= :end
), said as (select * from made where place = 1 and code not in ('N', 'X'))
select student_id,
  1.0 * sum(code in ('S', 'A', 'U')) / count(*) as absence_rate,
  1.0 * sum(code = 'U') / count(*) as unexcused_rate,
  1.0 * sum(code in ('L', 'E')) / count(*) as late_rate
from said join students using (student_id) group by student_id
"""


def test_the_tables_of_a_county_give_the_same() -> None:
    county = make_county(300, terms=2, seed=8)
    terms = county["terms"].sort_values("start")
    start, end = terms["start"].iloc[-1], terms["end"].iloc[-1]
    known = cut(county, end)
    students = at_risk(known, end)
    usual = attendance_measures(attendance_matrix(known, students, start=start, end=end))
    streamed = attendance_features(
        county["attendance"], students.reset_index(), as_of=end, start=start, calendar=county["calendar"]
    )
    pd.testing.assert_frame_equal(streamed, usual, check_exact=True, check_names=False, check_index_type=False)


def test_records_of_tables_and_of_streams_run_the_same_machine_code() -> None:
    from dropout_risk.attendance.kernel import scatter
    from dropout_risk.precompile import compile_attendance

    compile_attendance()
    county = make_county(60, terms=2, seed=1)
    term = county["terms"].sort_values("start").iloc[-1]
    known = cut(county, term["end"])
    matrix = attendance_matrix(known, at_risk(known, term["end"]), start=term["start"], end=term["end"])
    assert matrix.codes.any()
    assert len(scatter.signatures) <= 2  # cells of one byte, and of two; whatever ran before


def test_what_is_recorded_later_is_never_seen() -> None:
    days = pd.date_range("2020-09-01", periods=4)
    records = pd.DataFrame({"student_id": "a", "date": days, "code": "P", "recorded_at": days})
    late = records.assign(code="U", recorded_at=pd.Timestamp("2020-09-05"))
    options = {"students": ["a"], "start": days[0], "as_of": days[-1]}
    clean = attendance_features(records, **options)
    planted = attendance_features(pd.concat([late, records, late]), **options)
    pd.testing.assert_frame_equal(clean, planted)
    assert planted.attrs["records"]["recorded_later"] == 8


ONE = pd.DataFrame({"student_id": ["a"], "date": [START], "code": ["P"]})


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        ("nowhere.parquet", {}, TableError, "nowhere.parquet"),
        (ONE.drop(columns="code"), {}, ColumnsError, "code"),
        (ONE, {"threads": 0}, SettingsError, "threads"),
        (ONE, {"start": "2021-01-01"}, SettingsError, "lies after"),
        (ONE, {"students": ["a", "a"]}, TableError, "a"),
    ],
)
def test_what_cannot_be_read_is_told(source, options, error, words) -> None:
    with pytest.raises(error, match=words):
        attendance_features(source, **{"students": ["a"], "as_of": AS_OF, "start": START, **options})


def test_a_county_without_attendance() -> None:
    empty = pd.DataFrame({"student_id": [], "date": pd.to_datetime([]), "code": []}).astype({"student_id": str})
    found = attendance_features(empty, STUDENTS, as_of=AS_OF, start=START)
    assert found.isna().all(axis=None) and len(found) == 7
