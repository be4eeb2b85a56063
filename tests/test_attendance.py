"""Attendance measures against a loop over days, and against SQL."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from county_builder import (
    AUTUMN,
    SPRING,
    build_tables,
    enrol,
    shuffle,
    term_end,
    term_start,
    term_weekdays,
    weekday_calendar,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.asof import Terms, at_risk, cut
from dropout_risk.attendance import (
    attendance_matrix,
    attendance_measures,
    count_measures,
    runs,
    term_attendance,
)

FIRST = pd.Timestamp("2019-09-02")  # a Monday
MEASURES = [
    "absence_rate",
    "unexcused_rate",
    "late_rate",
    "absent_days_20",
    "longest_absence",
    "absence_run_now",
    "edge_day_gap",
    "not_reported_rate",
]


def measured(tables, end, start=FIRST):
    """Return the measures of everybody enrolled in the autumn term, from `start` to `end`."""
    enrolments = tables["enrolments"]
    students = enrolments[enrolments["term"] == AUTUMN].set_index("student_id").sort_index()
    return attendance_measures(attendance_matrix(tables, students, start=start, end=end))


def codes_of(student, codes, start=FIRST):
    """Return attendance rows on the weekdays from `start` on; a dash is a day without a row."""
    days = pd.bdate_range(start, periods=len(codes))
    return [
        {"student_id": student, "date": day, "code": code} for day, code in zip(days, codes, strict=True) if code != "-"
    ]


def one(codes):
    """Return the measures of a student with `codes` on the first school days of term."""
    tables = build_tables(
        calendar=weekday_calendar(AUTUMN), enrolments=enrol("x", AUTUMN), attendance=codes_of("x", codes)
    )
    return measured(tables, pd.bdate_range(FIRST, periods=len(codes))[-1]).loc["x"]


# --- the slow, obvious way ----------------------------------------------------------------------------


def share(part, whole):
    return len(part) / len(whole) if whole else np.nan


def day_by_day(codes, is_open, first=FIRST):
    """Return the measures of one student by looking at one day after another.

    `codes` and `is_open` hold one entry for every day of the calendar; a missing row is None.
    """
    days = [first + pd.Timedelta(days=i) for i in range(len(codes))]
    school = [(d, c) for d, c, o in zip(days, codes, is_open, strict=True) if o and c != "X"]
    reported = [(d, c) for d, c in school if c not in (None, "N")]
    absent = [(d, c) for d, c in reported if c in ("S", "A", "U")]
    recent = [d for d, _ in school[-20:]]
    longest = current = 0
    for _, code in reported:
        current = current + 1 if code in ("S", "A", "U") else 0
        longest = max(longest, current)
    recent_reported = [d for d, _ in reported if d in recent]
    edge = [(d, c) for d, c in reported if d.day_name() in ("Monday", "Friday")]
    middle = [(d, c) for d, c in reported if d.day_name() not in ("Monday", "Friday")]
    return {
        "absence_rate": share(absent, reported),
        "unexcused_rate": share([c for _, c in reported if c == "U"], reported),
        "late_rate": share([c for _, c in reported if c in ("L", "E")], reported),
        "absent_days_20": sum(d in recent for d, _ in absent) if recent_reported else np.nan,
        "longest_absence": longest if reported else np.nan,
        "absence_run_now": current if reported else np.nan,
        "edge_day_gap": share([x for x in edge if x in absent], edge)
        - share([x for x in middle if x in absent], middle),
        "not_reported_rate": 1 - share(reported, school),
    }


days_of_term = st.integers(1, 45)
all_codes = st.sampled_from([None, *"PPPPPSSAAUUULEOXN"])


@st.composite
def classrooms(draw):
    """Draw codes of four students in two schools, and the school days of both (B has its own on some days)."""
    n = draw(days_of_term)
    county = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    own = draw(st.lists(st.sampled_from([None, None, True, False]), min_size=n, max_size=n))
    codes = [draw(st.lists(all_codes, min_size=n, max_size=n)) for _ in range(4)]
    return county, own, codes


@given(classrooms(), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_every_measure_equals_a_loop_over_the_days(classroom, seed):
    county, own, codes = classroom
    days = [FIRST + pd.Timedelta(days=i) for i in range(len(county))]
    calendar = [{"date": d, "is_school_day": o} for d, o in zip(days, county, strict=True)]
    calendar += [
        {"school_id": "B", "date": d, "is_school_day": o} for d, o in zip(days, own, strict=True) if o is not None
    ]
    pupils = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
    attendance = [
        {"student_id": pupil, "date": day, "code": code}
        for pupil, row in zip(pupils, codes, strict=True)
        for day, code in zip(days, row, strict=True)
        if code is not None
    ]
    enrolments = [row for pupil, school in pupils.items() for row in enrol(pupil, AUTUMN, school=school)]
    tables = build_tables(calendar=calendar, attendance=attendance, enrolments=enrolments)
    actual = measured(shuffle(tables, seed), days[-1])
    open_at = {"A": county, "B": [c if o is None else o for c, o in zip(county, own, strict=True)]}
    expected = pd.DataFrame(
        [day_by_day(row, open_at[school]) for row, school in zip(codes, pupils.values(), strict=True)],
        index=pd.Index(pupils, name="student_id"),
    )
    pd.testing.assert_frame_equal(actual, expected, check_dtype=False, rtol=1e-12, check_names=False)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_runs_equal_a_loop(days):
    hit, carry = (np.array([[d[i] for d in days]], dtype=bool).reshape(1, -1) for i in (0, 1))
    longest = current = 0
    for is_hit, is_carried in days:
        if is_hit:
            current += 1
        elif not is_carried:
            current = 0
        longest = max(longest, current)
    assert [part.tolist() for part in runs(hit, carry)] == [[longest], [current]]


# --- by hand ------------------------------------------------------------------------------------------


def test_not_reported_is_not_present():
    silent, present = one("N" * 10), one("P" * 10)
    assert silent.drop("not_reported_rate").isna().all()
    assert silent["not_reported_rate"] == 1
    assert present["absence_rate"] == present["not_reported_rate"] == 0
    assert present["absent_days_20"] == present["longest_absence"] == 0


def test_a_day_without_a_row_is_not_reported():
    pd.testing.assert_series_equal(one("P-U--S"), one("PNUNNS"))


def test_a_day_not_reported_neither_breaks_nor_lengthens_a_run():
    row = one("PUUNNU")
    assert row["longest_absence"] == row["absence_run_now"] == 3
    assert one("UUPNUU")["longest_absence"] == 2


def test_weekends_do_not_break_a_run():
    row = one("PPPPUUU")  # Friday, Monday, Tuesday
    assert row["longest_absence"] == 3


def test_a_closed_day_is_no_school_day():
    row = one("XXUPX")
    assert row["absence_rate"] == 0.5
    assert row["not_reported_rate"] == 0


def test_rates_are_shares_of_reported_days():
    row = one("USALEOPPNN")
    assert row["absence_rate"] == 3 / 8
    assert row["unexcused_rate"] == 1 / 8
    assert row["late_rate"] == 2 / 8
    assert row["not_reported_rate"] == pytest.approx(0.2)


def test_the_recent_window_holds_twenty_school_days():
    row = one("U" * 10 + "P" * 15 + "S" * 4)
    assert row["absent_days_20"] == 5  # one U, fifteen P and four S
    assert one("U" * 5)["absent_days_20"] == 5


def test_long_weekends_show_in_the_edge_day_gap():
    assert one("UPPPU" * 2)["edge_day_gap"] == 1
    assert one("PUUUP" * 2)["edge_day_gap"] == -1
    assert np.isnan(one("U")["edge_day_gap"])  # there is no other day to compare with


@pytest.mark.parametrize("codes", ["UP", "UO", "PN", "UX", "SL"])
def test_of_two_reports_of_one_day_made_at_one_time_the_heavier_is_kept(codes):
    """The order of weight is N X P O L E S A U (`attendance.CODES`)."""
    heavier = max(codes, key="NXPOLESAU".index)
    for rivals in (codes, codes[::-1]):
        rows = [{"student_id": "x", "date": FIRST, "code": c, "recorded_at": FIRST} for c in rivals]
        calendar = weekday_calendar(AUTUMN)
        tables = build_tables(calendar=calendar, enrolments=enrol("x", AUTUMN), attendance=rows)
        row = measured(cut(tables, FIRST), FIRST).loc["x"]
        pd.testing.assert_series_equal(row, one(heavier), check_names=False)


def test_reports_of_strangers_and_on_days_off_change_nothing():
    rows = codes_of("x", "PUP") + codes_of("stranger", "UUU")
    rows += [{"student_id": "x", "date": pd.Timestamp("2019-09-07"), "code": "U"}]  # a Saturday
    tables = build_tables(calendar=weekday_calendar(AUTUMN), enrolments=enrol("x", AUTUMN), attendance=rows)
    assert measured(tables, pd.Timestamp("2019-09-04")).loc["x", "absence_rate"] == 1 / 3
    assert measured(tables, pd.Timestamp("2019-09-08")).loc["x", "absence_rate"] == 1 / 3


def test_days_outside_the_window_are_not_read():
    tables = build_tables(
        calendar=weekday_calendar(AUTUMN), enrolments=enrol("x", AUTUMN), attendance=codes_of("x", "UUPPU")
    )
    inside = measured(tables, pd.Timestamp("2019-09-05"), start=pd.Timestamp("2019-09-03")).loc["x"]
    assert inside["absence_rate"] == 1 / 3


# --- SQL ----------------------------------------------------------------------------------------------

SQL = """
with school_day as (
    select student_id, day, coalesce(code, 'N') as code
    from pupil cross join calendar left join attendance using (student_id, day)
    where is_open and coalesce(code, '') <> 'X'
), numbered as (
    select *, row_number() over (partition by student_id order by day desc) as from_end from school_day
), reported as (
    select *, code in ('S', 'A', 'U') as absent,
           row_number() over (partition by student_id order by day) as place
    from numbered where code <> 'N'
), islands as (
    select student_id, count(*) as length from (
        select student_id, place - row_number() over (partition by student_id order by day) as island
        from reported where absent
    ) group by student_id, island
), longest as (
    select student_id, max(length) as length from islands group by student_id
)
select student_id, avg(absent) as absence_rate,
       sum(case when from_end <= 20 then absent end) as absent_days_20,
       coalesce(max(longest.length), 0) as longest_absence
from reported left join longest using (student_id) group by student_id
"""


def test_measures_equal_an_sql_query(county):
    term, day = AUTUMN, Terms.of(county).end(AUTUMN)
    known = cut(county, day)
    students = at_risk(known, day)
    actual = term_attendance(known, students, term=term, start=Terms.of(county).start(term), end=day)
    calendar, attendance = known["calendar"], known["attendance"]
    calendar = calendar[calendar["date"].between(Terms.of(county).start(term), day)]
    with sqlite3.connect(":memory:") as connection:
        pd.DataFrame(
            {"day": calendar["date"].dt.strftime("%Y-%m-%d"), "is_open": calendar["is_school_day"].astype(int)}
        ).to_sql("calendar", connection, index=False)
        pd.DataFrame(
            {
                "student_id": attendance["student_id"],
                "day": attendance["date"].dt.strftime("%Y-%m-%d"),
                "code": attendance["code"].astype("str"),
            }
        ).to_sql("attendance", connection, index=False)
        pd.DataFrame({"student_id": students.index}).to_sql("pupil", connection, index=False)
        expected = pd.read_sql(SQL, connection, index_col="student_id")
    connection.close()
    expected = expected.reindex(actual.index)
    assert (expected["absence_rate"] > 0).mean() > 0.05  # the query has something to find
    assert expected["longest_absence"].max() >= 3
    pd.testing.assert_frame_equal(
        actual[list(expected)], expected.astype("float64"), check_dtype=False, check_names=False, rtol=1e-12
    )


# --- counts of a term ---------------------------------------------------------------------------------

COUNTS = {
    "student_id": "x",
    "term": AUTUMN,
    "days_reported": 80,
    "days_absent": 8,
    "days_unexcused": 2,
    "days_late": 4,
    "days_not_reported": 20,
    "longest_absence": 5,
}


def test_counts_give_the_measures_that_need_no_single_days():
    row = count_measures(build_tables(attendance_counts=[COUNTS]), pd.Index(["x", "y"]), AUTUMN)
    assert list(row.columns) == MEASURES
    assert row.loc["x", ["absence_rate", "unexcused_rate", "late_rate"]].tolist() == [0.1, 0.025, 0.05]
    assert row.loc["x", "longest_absence"] == 5
    assert row.loc["x", "not_reported_rate"] == 0.2
    assert row.loc["x", ["absent_days_20", "absence_run_now", "edge_day_gap"]].isna().all()
    assert row.loc["y"].isna().all()


def test_counts_of_another_term_are_not_read():
    row = count_measures(build_tables(attendance_counts=[COUNTS]), pd.Index(["x"]), SPRING)
    assert row.loc["x"].isna().all()


def test_nothing_reported_in_counts_is_not_zero_absence():
    counts = COUNTS | {"days_reported": 0, "days_absent": 0, "longest_absence": 0, "days_not_reported": 90}
    row = count_measures(build_tables(attendance_counts=[counts]), pd.Index(["x"]), AUTUMN).loc["x"]
    assert row["not_reported_rate"] == 1
    assert row.drop("not_reported_rate").isna().all()


def by_term(tables, *pupils):
    enrolments = tables["enrolments"].set_index("student_id").loc[list(pupils)]
    return term_attendance(tables, enrolments, term=AUTUMN, start=FIRST, end=term_end(AUTUMN))


def test_counts_fill_in_where_a_school_reports_no_days():
    tables = build_tables(
        calendar=weekday_calendar(AUTUMN),
        enrolments=enrol("x", AUTUMN) + enrol("b", AUTUMN, school="B"),
        attendance=codes_of("b", "UPPP"),
        attendance_counts=[COUNTS, COUNTS | {"student_id": "b"}],
    )
    both = by_term(tables, "x", "b")
    assert both.loc["x", "absence_rate"] == 0.1
    assert both.loc["b", "absence_rate"] == 0.25  # its own days win over its counts
    only_counts = build_tables(enrolments=enrol("x", AUTUMN), attendance_counts=[COUNTS])
    pd.testing.assert_series_equal(by_term(only_counts, "x").loc["x"], both.loc["x"])


def test_a_school_that_reports_nothing_measures_the_same_alone_as_among_others():
    """A roster scored alone must get the features that the county's run gives it."""
    base = {"calendar": weekday_calendar(AUTUMN)}
    alone = build_tables(**base, enrolments=enrol("x", AUTUMN), attendance=[])
    among = build_tables(
        **base,
        enrolments=enrol("x", AUTUMN) + enrol("b", AUTUMN, school="B"),
        attendance=codes_of("b", "PPPP"),
    )
    pd.testing.assert_series_equal(by_term(alone, "x").loc["x"], by_term(among, "x").loc["x"])


def test_counts_of_the_simulation_agree_with_its_days():
    """The same county written down by day and by term gives the same rates."""
    from dropout_risk.synthetic import make_county

    daily, counted = (make_county(150, terms=1, seed=2, daily=daily) for daily in (True, False))
    end = Terms.of(daily).end(AUTUMN)
    later = end + pd.Timedelta(days=60)  # by then all reports have come in
    students = at_risk(daily, end)
    options = {"term": AUTUMN, "start": term_start(AUTUMN), "end": end}
    by_day = term_attendance(cut(daily, later), students, **options)
    by_count = term_attendance(cut(counted, later), students, **options)
    both = by_count.columns[by_count.notna().any()]
    assert len(both) == 5
    # a run of absence that goes over days not reported is the one thing that counts cannot show
    columns = both.drop("longest_absence")
    pd.testing.assert_frame_equal(by_day[columns], by_count[columns], check_dtype=False, rtol=1e-9)


def test_the_matrix_has_a_column_for_every_day():
    tables = build_tables(calendar=weekday_calendar(AUTUMN), enrolments=enrol("x", AUTUMN), attendance=[])
    students = tables["enrolments"].set_index("student_id")
    matrix = attendance_matrix(tables, students, start=FIRST, end=term_end(AUTUMN))
    assert matrix.codes.shape == matrix.is_school_day.shape == (1, 138)
    assert matrix.days[matrix.is_school_day[0]].equals(pd.DatetimeIndex(term_weekdays(AUTUMN)).as_unit("us"))
    assert not matrix.reported.any()
