"""What may be known on a day: terms, the cut, who is at risk, which days are school days."""

import datetime

import numpy as np
import pandas as pd
import pytest
from county_builder import (
    AUTUMN,
    NEXT_AUTUMN,
    NEXT_SPRING,
    SPRING,
    build_table,
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

from dropout_risk.arrays import as_text
from dropout_risk.asof import (
    Terms,
    at_risk,
    cut,
    event_dates,
    latest_records,
    on_roll,
    roll,
    school_days,
    term_ends,
    to_day,
)
from dropout_risk.errors import SettingsError, TableError
from dropout_risk.schema import TABLES

DAY = "2020-01-10"
BEFORE, AFTER = "2020-01-09", "2020-01-11"

# --- days and terms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["2020-01-10", datetime.date(2020, 1, 10), pd.Timestamp("2020-01-10 17:30", tz="Asia/Shanghai")]
)
def test_a_day_is_a_day_however_it_is_given(value):
    assert to_day(value) == pd.Timestamp("2020-01-10")


@pytest.mark.parametrize("value", ["2020-13-01", "soon", None, pd.NaT])
def test_what_is_no_day_is_refused_by_name(value):
    with pytest.raises(SettingsError, match="not a date"):
        to_day(value)


def test_terms_are_in_the_order_of_time_whatever_the_order_of_rows():
    tables = build_tables()
    for seed in range(5):
        terms = Terms.of(shuffle(tables, seed))
        assert terms.names == [AUTUMN, SPRING, NEXT_AUTUMN, NEXT_SPRING]
        assert [terms.start(t) for t in terms.names] == [term_start(t) for t in terms.names]
        assert [terms.end(t) for t in terms.names] == [term_end(t) for t in terms.names]


@pytest.mark.parametrize(
    ("day", "term"),
    [
        ("2019-09-02", AUTUMN),
        ("2020-01-17", AUTUMN),
        ("2020-02-23", AUTUMN),  # the holiday belongs to the term before it
        ("2020-02-24", SPRING),
        ("2035-01-01", NEXT_SPRING),
    ],
)
def test_the_term_of_a_day_is_the_running_or_the_last_one(day, term):
    assert Terms.of(build_tables()).at(day) == term


def test_a_day_before_all_terms_is_refused():
    with pytest.raises(SettingsError, match=r"before the first term.*2019-09-02"):
        Terms.of(build_tables()).at("2019-09-01")


def test_terms_before_and_after():
    terms = Terms.of(build_tables())
    assert terms.before(NEXT_AUTUMN) == [AUTUMN, SPRING]
    assert terms.before(AUTUMN) == []
    assert terms.after(SPRING, 1) == [NEXT_AUTUMN]
    assert terms.after(SPRING, 9) == [NEXT_AUTUMN, NEXT_SPRING]
    assert terms.after(NEXT_SPRING, 1) == []
    assert [terms.ends_school_year(t) for t in terms.names] == [False, True, False, True]


def test_without_terms_the_reader_is_told():
    with pytest.raises(TableError, match="terms"):
        Terms.of(build_tables(terms=[{"term": AUTUMN, "start": None, "end": "2020-01-17"}]))


def test_terms_are_read_once_for_all_that_have_the_same_ones(county):
    assert Terms.of(cut(county, DAY)) is Terms.of(county.only("terms")) is Terms.of(county)
    fewer = county.replace(terms=county["terms"].iloc[:1])
    assert len(Terms.of(fewer).names) == 1 < len(Terms.of(county).names)
    with pytest.raises(TableError, match="no usable row"):
        Terms.of(county.without("terms"))


def test_term_ends_are_those_with_students():
    tables = build_tables(enrolments=enrol("x", SPRING) + enrol("y", AUTUMN))
    assert term_ends(tables) == [term_end(AUTUMN), term_end(SPRING)]


# --- when a fact happened -----------------------------------------------------------------------------


def test_a_fact_without_a_date_happened_at_the_start_or_the_end_of_its_term():
    tables = build_tables(
        enrolments=enrol("x", SPRING) + enrol("y", SPRING, enrolled_on="2020-03-05"),
        grades=[
            {"student_id": "x", "term": AUTUMN, "subject": "math", "exam": "final"},
            {"student_id": "x", "term": AUTUMN, "subject": "math", "exam": "midterm", "exam_date": "2019-11-05"},
        ],
    )
    assert event_dates(tables, "enrolments").tolist() == [term_start(SPRING), pd.Timestamp("2020-03-05")]
    assert event_dates(tables, "grades").tolist() == [term_end(AUTUMN), pd.Timestamp("2019-11-05")]


def test_counts_of_a_term_happened_when_they_were_recorded_or_at_its_end():
    row = {"student_id": "x", "term": AUTUMN, "days_reported": 80, "days_absent": 1}
    tables = build_tables(attendance_counts=[row, row | {"recorded_at": "2020-02-01"}])
    assert event_dates(tables, "attendance_counts").tolist() == [term_end(AUTUMN), pd.Timestamp("2020-02-01")]


# --- the cut ------------------------------------------------------------------------------------------

FACTS = {
    "attendance": {"student_id": "x", "date": "happened", "code": "U"},
    "grades": {"student_id": "x", "term": AUTUMN, "subject": "math", "exam": "final", "exam_date": "happened"},
    "households": {"student_id": "x", "poverty": "registered", "valid_from": "happened"},
    "status_changes": {"student_id": "x", "date": "happened", "change": "dropout"},
    "interventions": {"student_id": "x", "date": "happened", "kind": "phone"},
    "enrolments": {"student_id": "x", "term": AUTUMN, "school_id": "A", "grade": 7, "enrolled_on": "happened"},
}


def one_fact(table, happened, recorded):
    row = {column: happened if value == "happened" else value for column, value in FACTS[table].items()}
    return build_tables(**{table: [row | {"recorded_at": recorded}]})


@pytest.mark.parametrize("table", FACTS)
@pytest.mark.parametrize(
    ("happened", "recorded", "passes"),
    [
        (BEFORE, BEFORE, True),
        (DAY, DAY, True),
        (BEFORE, None, True),  # counts as recorded on the day of the event
        (BEFORE, AFTER, False),
        (AFTER, BEFORE, False),
        (AFTER, AFTER, False),
        (AFTER, None, False),
    ],
)
def test_a_fact_passes_when_it_had_happened_and_was_recorded(table, happened, recorded, passes):
    assert len(cut(one_fact(table, happened, recorded), DAY)[table]) == passes


@pytest.mark.slow
@given(
    table=st.sampled_from(sorted(FACTS)),
    happened=st.dates(datetime.date(2019, 12, 1), datetime.date(2020, 3, 1)),
    recorded=st.none() | st.dates(datetime.date(2019, 12, 1), datetime.date(2020, 3, 1)),
    as_of=st.dates(datetime.date(2019, 12, 1), datetime.date(2020, 3, 1)),
)
@settings(deadline=None, max_examples=50)
def test_nothing_later_than_the_as_of_date_ever_passes(table, happened, recorded, as_of):
    known = cut(one_fact(table, happened, recorded), as_of)[table]
    assert len(known) == (happened <= as_of and (recorded is None or recorded <= as_of))


def test_every_table_with_a_day_of_knowledge_is_cut():
    """A table added to the schema later must be added to `FACTS` as well."""
    dated = {name for name, table in TABLES.items() if table.has_recorded_at}
    assert dated == {*FACTS, "attendance_counts", "calendar"}


def test_an_enrolment_without_a_date_begins_with_its_term():
    tables = build_tables(enrolments=enrol("x", AUTUMN, SPRING))
    assert cut(tables, "2020-02-23")["enrolments"]["term"].tolist() == [AUTUMN]
    assert cut(tables, "2020-02-24")["enrolments"]["term"].tolist() == [AUTUMN, SPRING]


def test_a_school_day_cancelled_later_is_still_planned():
    row = {"date": "2020-03-02", "is_school_day": True, "recorded_at": "2020-02-01"}
    closed = row | {"is_school_day": False, "recorded_at": "2020-03-10"}
    tables = build_tables(calendar=[row, closed])
    assert cut(tables, "2020-03-09")["calendar"]["is_school_day"].tolist() == [True]
    assert cut(tables, "2020-03-10")["calendar"]["is_school_day"].tolist() == [False]


def test_a_date_to_come_is_blanked_out():
    tables = build_tables(
        households=[{"student_id": "x", "poverty": "registered", "valid_from": "2019-01-01", "valid_to": AFTER}],
        status_changes=[{"student_id": "x", "date": BEFORE, "change": "transfer_out", "arrival_date": AFTER}],
    )
    known, later, past = (cut(tables, day) for day in (DAY, AFTER, "2020-01-12"))
    assert known["status_changes"]["arrival_date"].isna().all()
    assert later["status_changes"]["arrival_date"].tolist() == [pd.Timestamp(AFTER)]
    assert known["households"]["valid_to"].isna().all()
    assert past["households"]["valid_to"].tolist() == [pd.Timestamp(AFTER)]


def test_a_late_correction_wins_from_the_day_it_is_recorded():
    first = {"student_id": "x", "date": "2019-12-02", "code": "P", "recorded_at": "2019-12-02"}
    corrected = first | {"code": "U", "recorded_at": "2020-01-05"}
    tables = build_tables(attendance=[corrected, first])
    assert cut(tables, "2020-01-04")["attendance"]["code"].tolist() == ["P"]
    assert cut(tables, "2020-01-05")["attendance"]["code"].tolist() == ["U"]


def test_a_record_without_a_date_of_knowledge_counts_from_its_event_on():
    rows = enrol("x", AUTUMN, school="A", enrolled_on="2019-09-02", recorded_at="2019-09-03")
    rows += enrol("x", AUTUMN, school="B", enrolled_on="2019-11-04")  # moved in November, not dated
    assert cut(build_tables(enrolments=rows), "2019-12-01")["enrolments"]["school_id"].tolist() == ["B"]


def test_cutting_twice_is_cutting_at_the_earlier_day(small_county):
    once = cut(small_county, "2020-03-01")
    twice = cut(cut(small_county, "2020-05-01"), "2020-03-01")
    for name in once:
        pd.testing.assert_frame_equal(once[name], twice[name])


def test_the_cut_leaves_the_tables_alone(small_county):
    before = {name: frame.copy() for name, frame in small_county.items()}
    cut(small_county, "2019-12-01")
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, small_county[name])


records = st.lists(
    st.tuples(
        st.sampled_from(["x", "y"]),
        st.sampled_from(["2019-12-02", "2019-12-03"]),
        st.sampled_from("PLSAUN"),
        st.sampled_from([None, "2019-12-03", "2019-12-04", "2019-12-09"]),
    ),
    max_size=8,
)


@given(rows=records, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_the_latest_record_wins_whatever_the_order_of_rows(rows, seed):
    names = ("student_id", "date", "code", "recorded_at")
    frame = build_table("attendance", [dict(zip(names, row, strict=True)) for row in rows])
    key = ("student_id", "date")
    winners = latest_records(frame, key)
    assert not winners.duplicated(list(key)).any()
    for values, rivals in frame.groupby(list(key)):
        won = winners[(winners["student_id"] == values[0]) & (winners["date"] == values[1])]["recorded_at"].iloc[0]
        latest = rivals["recorded_at"].max()
        assert won == latest or (pd.isna(won) and pd.isna(latest))
    shuffled = latest_records(frame.sample(frac=1, random_state=seed), key)
    by = ["student_id", "date"]
    pd.testing.assert_frame_equal(
        winners.sort_values(by, ignore_index=True), shuffled.sort_values(by, ignore_index=True)
    )


# --- the roll -----------------------------------------------------------------------------------------


def reason(*changes, terms=(AUTUMN,), grade=7, as_of=DAY, **facts):
    """Return why x is not at risk (None: is at risk) after `changes`, tuples of date, kind and arrival."""
    rows = [
        dict(zip(("student_id", "date", "change", "arrival_date"), ("x", *change), strict=False)) for change in changes
    ]
    tables = build_tables(enrolments=enrol("x", *terms, grade=grade, **facts), status_changes=rows)
    why, left = roll(tables, as_of)["not_at_risk"], at_risk(tables, as_of)
    assert list(left.index) == list(why.index[why.isna()])
    assert "not_at_risk" not in left.columns
    return None if why.isna()["x"] else why["x"]


def test_a_student_on_roll_is_at_risk():
    assert reason() is None


@pytest.mark.parametrize("exit_", ["dropout", "suspended", "graduated", "died", "emigrated"])
def test_an_exit_ends_the_presence(exit_):
    assert reason((BEFORE, exit_)) == exit_
    assert reason((DAY, exit_)) == exit_
    assert reason((AFTER, exit_)) is None


@pytest.mark.parametrize(
    ("arrival", "expected"), [(None, None), (AFTER, None), (DAY, "transfer_out"), ("2020-01-02", "transfer_out")]
)
def test_a_transfer_ends_the_presence_only_with_a_confirmed_arrival(arrival, expected):
    assert reason(("2020-01-02", "transfer_out", arrival)) == expected


def test_who_came_back_is_at_risk_again():
    assert reason(("2019-10-08", "dropout"), ("2019-11-04", "returned")) is None
    assert reason(("2019-10-08", "suspended"), ("2019-11-04", "returned"), ("2019-12-02", "dropout")) == "dropout"


def test_a_new_registration_after_an_exit_puts_the_student_back_on_roll():
    assert reason(("2020-01-13", "dropout"), terms=(AUTUMN, SPRING), as_of="2020-03-02") is None


def test_who_moves_to_another_school_on_one_day_stays_at_risk():
    changes = [("2019-11-04", "transfer_out", "2019-11-04"), ("2019-11-04", "transfer_in", "2019-11-04")]
    assert reason(*changes, school="B", enrolled_on="2019-11-04") is None


@pytest.mark.parametrize(
    ("grade", "as_of", "expected"),
    [
        (9, "2020-07-10", "graduating"),
        (9, "2020-01-17", None),
        (8, "2020-07-10", None),
    ],
)
def test_the_last_grade_is_not_at_risk_before_the_summer(grade, as_of, expected):
    term = SPRING if as_of > "2020-02" else AUTUMN
    assert reason(terms=(term,), grade=grade, as_of=as_of) == expected


def test_a_recorded_exit_is_named_rather_than_the_graduation_to_come():
    assert reason(("2020-06-01", "died"), terms=(SPRING,), grade=9, as_of="2020-07-10") == "died"


def test_the_roll_knows_school_and_county_as_of_the_day():
    rows = enrol("x", AUTUMN, school="A", recorded_at="2019-09-03")
    rows += enrol("x", AUTUMN, school="B", recorded_at="2020-01-13")  # corrected later
    schools = [{"school_id": "A", "county_id": "990101"}, {"school_id": "B", "county_id": "990102"}]
    tables = build_tables(enrolments=rows, schools=schools)
    assert roll(tables, DAY).loc["x", ["school_id", "county_id"]].tolist() == ["A", "990101"]
    assert roll(tables, "2020-01-17").loc["x", ["school_id", "county_id"]].tolist() == ["B", "990102"]


def test_the_roll_lists_each_student_of_the_running_term_once_and_sorted(county):
    for day in ("2019-12-02", "2020-02-10", "2020-04-01"):
        rows = roll(county, day)
        assert rows.index.is_unique
        assert rows.index.is_monotonic_increasing
        assert rows.index.name == "student_id"
        assert set(rows["term"]) == {Terms.of(county).at(day)}


def test_a_school_listed_twice_does_no_harm():
    schools = [{"school_id": "A", "county_id": "990101", "name": name} for name in ("青石小学", "青石中心小学")]
    tables = build_tables(enrolments=enrol("x", AUTUMN), schools=schools)
    assert roll(tables, DAY)["county_id"].tolist() == ["990101"]


@pytest.mark.parametrize("day", ["2019-12-02", "2020-01-17", "2020-04-01"])
def test_the_arrays_of_the_roll_say_what_its_frame_says(county, day):
    """The roster comes in any order, with corrections and rows of other terms between."""
    frame = county["enrolments"]
    corrected = frame.iloc[::9].assign(class_id="new", recorded_at=pd.Timestamp("2020-01-13"))
    rows = pd.concat([frame, corrected]).sample(frac=1, random_state=5)
    tables = county.replace(enrolments=rows.set_axis(range(100, 100 + len(rows))))
    here, told = on_roll(tables, to_day(day)), roll(tables, day)
    assert here.ids.tolist() == told.index.tolist() == sorted(here.ids)
    for name, held in (("school_id", here.school), ("county_id", here.county), ("class_id", here.school_class)):
        assert as_text(held).tolist() == told[name].tolist()
    assert np.array_equal(here.grade, told["grade"], equal_nan=True)
    assert np.array_equal(here.cause.codes < 0, told["not_at_risk"].isna())
    enrolled = tables["enrolments"].loc[here.labels]
    assert enrolled["student_id"].tolist() == here.ids.tolist()
    assert enrolled["class_id"].tolist() == told["class_id"].tolist()
    assert ("new" in told["class_id"].tolist()) == (day == "2020-01-17")  # else it was not known yet, or is older
    assert here.places_of([here.ids[3], "NOBODY", here.ids[0]]).tolist() == [3, -1, 0]


def test_the_order_of_the_roll_is_that_of_the_texts():
    ids = ["b", "B", "a10", "a9", "学", "ａ", "é", ""]
    tables = build_tables(enrolments=[row for student in ids if student for row in enrol(student, AUTUMN)])
    assert on_roll(tables, to_day(DAY)).ids.tolist() == sorted(ids[:-1])


def test_nobody_is_on_roll_without_enrolments():
    tables = build_tables()
    assert roll(tables, DAY).empty
    assert at_risk(tables, DAY).empty


# --- school days --------------------------------------------------------------------------------------


def days_of(tables, *schools, start="2019-12-02", end="2019-12-15"):
    """Return the school days of each school as a list of day numbers in the month."""
    days, is_open = school_days(tables, pd.Series(schools), start=pd.Timestamp(start), end=pd.Timestamp(end))
    assert is_open.shape == (len(schools), len(days))
    assert is_open.dtype == bool
    return [days.day[row].tolist() for row in is_open]


FORTNIGHT = [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]


def test_the_county_calendar_holds_for_every_school():
    tables = build_tables(calendar=weekday_calendar(AUTUMN))
    assert days_of(tables, "A", "B", "A") == [FORTNIGHT] * 3


def test_a_schools_own_days_win_over_the_countys():
    own = [
        {"school_id": "B", "date": "2019-12-04", "is_school_day": False},
        {"school_id": "B", "date": "2019-12-07", "is_school_day": True},
    ]
    rows = weekday_calendar(AUTUMN)
    for calendar in (own + rows, rows + own):
        assert days_of(build_tables(calendar=calendar), "A", "B") == [
            FORTNIGHT,
            [2, 3, 5, 6, 7, 9, 10, 11, 12, 13],
        ]


def test_an_empty_school_is_the_county():
    rows = [row | {"school_id": ""} for row in weekday_calendar(AUTUMN)]
    assert days_of(build_tables(calendar=rows), "A") == [FORTNIGHT]


def test_without_a_calendar_the_reported_weekdays_are_school_days():
    attendance = [
        {"student_id": "a", "date": "2019-12-02", "code": "P"},
        {"student_id": "a", "date": "2019-12-03", "code": "X"},  # closed
        {"student_id": "a2", "date": "2019-12-04", "code": "U"},
        {"student_id": "b", "date": "2019-12-05", "code": "S"},
    ]
    enrolments = enrol("a", AUTUMN) + enrol("a2", AUTUMN) + enrol("b", AUTUMN, school="B")
    tables = build_tables(attendance=attendance, enrolments=enrolments)
    assert days_of(tables, "A", "B", "C") == [[2, 4], [5], []]


def test_without_a_calendar_attendance_belongs_to_the_school_of_its_term():
    rows = [
        {"student_id": "x", "date": "2019-12-02", "code": "P"},
        {"student_id": "x", "date": "2020-03-02", "code": "P"},
    ]
    moved = enrol("x", AUTUMN, school="A") + enrol("x", SPRING, school="B")
    for enrolments in (moved, moved[::-1]):
        tables = build_tables(attendance=rows, enrolments=enrolments)
        assert days_of(tables, "A", "B") == [[2], []]
        assert days_of(tables, "A", "B", start="2020-03-02", end="2020-03-08") == [[], [2]]


def test_one_schools_own_calendar_leaves_the_others_their_reported_days():
    own = [{"school_id": "B", "date": day, "is_school_day": True} for day in term_weekdays(AUTUMN)]
    attendance = [{"student_id": "a", "date": "2019-12-03", "code": "P"}]
    tables = build_tables(calendar=own, attendance=attendance, enrolments=enrol("a", AUTUMN))
    assert days_of(tables, "A", "B") == [[3], FORTNIGHT]


def test_no_students_no_days():
    days, is_open = school_days(
        build_tables(calendar=weekday_calendar(AUTUMN)),
        pd.Series([], dtype="str"),
        start=pd.Timestamp("2019-12-02"),
        end=pd.Timestamp("2019-12-06"),
    )
    assert len(days) == 5
    assert is_open.shape == (0, 5)
    assert not np.any(is_open)
