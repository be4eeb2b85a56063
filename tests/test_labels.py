"""What became of a student: one hand-made case for every reason, and the simulation's own truth.

The child under test is `x` of school A, on roll at the end of the autumn term; a few classmates make sure
that the school is heard of in the next term.
"""

import pandas as pd
import pytest
from county_builder import (
    AUTUMN,
    NEXT_AUTUMN,
    NEXT_SPRING,
    SPRING,
    build_tables,
    enrol,
    shuffle,
    term_end,
    term_start,
    term_weekdays,
    weekday_calendar,
)

from dropout_risk.asof import Terms, at_risk, cut
from dropout_risk.errors import SettingsError
from dropout_risk.labels import CENSORED, EPISODES, PRESETS, label_outcomes, preset_named, register_outcomes

END = term_end(AUTUMN)
CLASSMATES = ("c1", "c2", "c3")
FIRST_DAYS = term_weekdays(SPRING)
MARCH = "2020-03-16"  # inside the outcome window


def school(*rows, classmates=True, terms=(AUTUMN, SPRING), calendar=True, **tables):
    """Return tables with the enrolments `rows`, classmates at school A, and a calendar of weekdays."""
    enrolments = [row for part in rows for row in part]
    if classmates:
        enrolments += [row for name in CLASSMATES for row in enrol(name, *terms)]
    if calendar:
        tables["calendar"] = weekday_calendar()
    if "status_changes" in tables:
        tables["status_changes"] = [{"student_id": "x"} | row for row in tables["status_changes"]]
    return build_tables(enrolments=enrolments, **tables)


def label_of(tables, student="x", as_of=END, **options):
    row = label_outcomes(tables, as_of, **options).loc[student]
    assert row["censored"] == (row["reason"] in CENSORED) == pd.isna(row["label"]) == pd.isna(row["out"])
    assert pd.isna(row["label"]) or row["label"] == (row["reason"] in EPISODES)
    return row


def reason_of(tables, student="x", as_of=END, **options):
    return label_of(tables, student, as_of, **options)["reason"]


def attending(codes, start=None, student="x"):
    """Return attendance on the school days of spring (or from `start` on): `codes`, then present to the end."""
    days = FIRST_DAYS if start is None else pd.bdate_range(start, term_end(SPRING))
    row = codes + "P" * (len(days) - len(codes))
    return [{"student_id": student, "date": d, "code": c} for d, c in zip(days, row, strict=True) if c != "-"]


STAYED = enrol("x", AUTUMN, SPRING)
GONE = enrol("x", AUTUMN)

# --- every reason -------------------------------------------------------------------------------------


def test_stayed():
    row = label_of(school(STAYED, attendance=attending("P")))
    assert (row["reason"], row["label"], row["censored"], row["out"]) == ("stayed", 0, False, False)
    assert row["preset"] == "default"


def test_not_registered():
    row = label_of(school(GONE))
    assert (row["reason"], row["label"], row["out"]) == ("not_registered", 1, True)


@pytest.mark.parametrize(("day", "reason"), [(8, "stayed"), (9, "stayed"), (10, "registered_late")])
def test_registered_late_is_after_the_tenth_school_day(day, reason):
    """Counted from 0: day 9 is the tenth."""
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, enrolled_on=FIRST_DAYS[day])
    row = label_of(school(rows))
    assert row["reason"] == reason
    assert not row["out"]


def test_school_days_are_counted_on_the_schools_calendar():
    late = enrol("x", AUTUMN) + enrol("x", SPRING, enrolled_on=FIRST_DAYS[10])
    closed = [{"school_id": "A", "date": day, "is_school_day": False} for day in FIRST_DAYS[:3]]
    tables = build_tables(
        enrolments=late + [row for name in CLASSMATES for row in enrol(name, AUTUMN, SPRING)],
        calendar=weekday_calendar() + closed,
    )
    assert reason_of(tables) == "stayed"


def test_dropout_recorded():
    row = label_of(school(STAYED, status_changes=[{"date": MARCH, "change": "dropout"}]))
    assert (row["reason"], row["label"], row["out"]) == ("dropout_recorded", 1, True)


def test_an_episode_counts_even_if_the_student_came_back():
    changes = [{"date": MARCH, "change": "dropout"}, {"date": "2020-05-06", "change": "returned"}]
    row = label_of(school(STAYED, status_changes=changes))
    assert (row["reason"], row["label"], row["out"]) == ("dropout_recorded", 1, False)


def test_absence_run():
    row = label_of(school(STAYED, attendance=attending("P" + "U" * 20)))
    assert (row["reason"], row["label"], row["out"]) == ("absence_run", 1, False)


def test_who_is_absent_to_the_end_is_out():
    row = label_of(school(STAYED, attendance=attending("U" * len(FIRST_DAYS))))
    assert (row["reason"], row["label"], row["out"]) == ("absence_run", 1, True)


@pytest.mark.slow
@pytest.mark.parametrize("exit_", ["graduated", "died", "emigrated", "suspended"])
def test_valid_exits(exit_):
    for rows in (GONE, STAYED):
        row = label_of(school(rows, status_changes=[{"date": MARCH, "change": exit_}]))
        assert (row["reason"], row["label"], row["out"]) == (exit_, 0, False)


def test_transferred():
    change = {"date": "2020-02-20", "change": "transfer_out", "arrival_date": "2020-03-02"}
    row = label_of(school(GONE, status_changes=[change]))
    assert (row["reason"], row["label"], row["out"]) == ("transferred", 0, False)


def test_a_transfer_that_was_open_on_the_as_of_date_may_be_confirmed_later():
    change = {"date": "2020-01-10", "change": "transfer_out", "arrival_date": "2020-02-28"}
    assert reason_of(school(GONE, status_changes=[change])) == "transferred"


@pytest.mark.parametrize("date", ["2020-01-10", "2020-02-20"])
def test_transfer_not_confirmed(date):
    row = label_of(school(GONE, status_changes=[{"date": date, "change": "transfer_out"}]))
    assert row["reason"] == "transfer_not_confirmed"
    assert row["censored"]


def test_a_transfer_in_the_middle_of_the_window_counts_as_one_at_its_start():
    """Leaving for nowhere after having registered is the same open question."""
    change = {"date": "2020-04-20", "change": "transfer_out"}
    assert reason_of(school(STAYED, status_changes=[change])) == "transfer_not_confirmed"
    confirmed = school(STAYED, status_changes=[change | {"arrival_date": "2020-05-06"}])
    assert label_of(confirmed)["label"] == 0


def test_a_move_within_the_county_is_no_episode():
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, school="B")
    assert reason_of(school(rows)) == "stayed"


def test_who_registers_late_because_of_a_confirmed_transfer_has_not_left():
    late = FIRST_DAYS[15]
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, school="B", enrolled_on=late)
    change = {"date": "2020-02-24", "change": "transfer_out", "arrival_date": late}
    assert label_of(school(rows, status_changes=[change]))["label"] == 0


def test_school_not_reported():
    silent = [row for name in CLASSMATES for row in enrol(name, AUTUMN)]
    other = enrol("b", AUTUMN, SPRING, school="B")
    labels = label_outcomes(school(GONE, silent, other, classmates=False), END)
    assert labels["reason"].to_dict() == dict.fromkeys([*CLASSMATES, "x"], "school_not_reported") | {"b": "stayed"}


def test_a_merged_school_is_no_silent_school():
    merged = [row for name in CLASSMATES for row in enrol(name, AUTUMN) + enrol(name, SPRING, school="B")]
    labels = label_outcomes(school(GONE, merged, classmates=False), END)
    assert labels["reason"].to_dict() == dict.fromkeys(CLASSMATES, "stayed") | {"x": "not_registered"}


@pytest.mark.slow
def test_attendance_not_reported():
    for codes in ("-", "N"):
        tables = school(STAYED, attendance=attending(codes * len(FIRST_DAYS)) + attending("P", student="c1"))
        assert reason_of(tables) == "attendance_not_reported"
        assert reason_of(tables, "c1") == "stayed"


def test_without_any_attendance_the_register_alone_tells():
    assert reason_of(school(STAYED)) == "stayed"
    assert reason_of(school(STAYED, attendance=[])) == "stayed"


def test_a_school_that_hands_in_counts_has_reported():
    counts = {"student_id": "x", "term": SPRING, "days_reported": 90, "days_absent": 2, "days_unexcused": 0}
    tables = school(STAYED, attendance=attending("P", student="c1"), attendance_counts=[counts])
    assert reason_of(tables) == "stayed"


def test_not_over_yet():
    tables = school(enrol("x", AUTUMN, SPRING), terms=(AUTUMN, SPRING))
    assert set(label_outcomes(tables, term_end(SPRING))["reason"]) == {"not_over_yet"}
    assert set(label_outcomes(tables, END, horizon=2)["reason"]) == {"not_over_yet"}
    assert reason_of(tables) == "stayed"


def test_every_reason_has_its_case_here():
    """A reason added later must get a case of its own above."""
    assert set(EPISODES) == {"dropout_recorded", "absence_run", "not_registered", "registered_late"}
    assert set(CENSORED) == {
        "not_over_yet",
        "transfer_not_confirmed",
        "school_not_reported",
        "attendance_not_reported",
    }


# --- presets ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "days"), [("default", 20), ("yunnan-2022", 3), ("guangdong-2009", 6), ("liaoning-2017", 20)]
)
def test_presets_differ_in_the_days_they_count(preset, days):
    """Yunnan: 3 days and more. Guangdong: more than 5. Default and Liaoning: four weeks."""
    enough = school(STAYED, attendance=attending("P" + "U" * days))
    too_few = school(STAYED, attendance=attending("P" + "U" * (days - 1)))
    assert reason_of(enough, preset=preset) == "absence_run"
    assert reason_of(too_few, preset=preset) == "stayed"
    assert label_of(enough, preset=preset)["preset"] == preset
    assert PRESETS[preset].register_by == 10


def test_an_unknown_preset_or_horizon_is_refused():
    with pytest.raises(SettingsError, match=r"yunnan-2023.*yunnan-2022"):
        preset_named("yunnan-2023")
    with pytest.raises(SettingsError, match="preset"):
        label_outcomes(school(STAYED), END, preset="strict")
    with pytest.raises(SettingsError, match="horizon"):
        label_outcomes(school(STAYED), END, horizon=0)


@pytest.mark.parametrize("between", ["S", "A", "P", "L", "E", "O"])
def test_a_day_present_or_excused_breaks_the_run(between):
    codes = "P" + "U" * 10 + between + "U" * 10
    assert reason_of(school(STAYED, attendance=attending(codes))) == "stayed"


@pytest.mark.parametrize("between", ["N", "X", "-", "NXN"])
def test_a_day_closed_or_not_reported_neither_breaks_nor_lengthens_the_run(between):
    assert reason_of(school(STAYED, attendance=attending("P" + "U" * 10 + between + "U" * 10))) == "absence_run"
    assert reason_of(school(STAYED, attendance=attending("P" + "U" * 10 + between + "U" * 9))) == "stayed"


def test_weekends_and_holidays_do_not_count_as_days_absent():
    tables = school(STAYED, attendance=attending("U" * 4))
    weekend = [{"student_id": "x", "date": d, "code": "U"} for d in ("2020-02-29", "2020-03-01")]
    with_weekend = school(STAYED, attendance=attending("U" * 4) + weekend)
    assert reason_of(tables, preset="guangdong-2009") == "stayed"
    assert reason_of(with_weekend, preset="guangdong-2009") == "stayed"


# --- precedence ---------------------------------------------------------------------------------------


def test_the_ledger_beats_an_exit_and_an_exit_beats_the_register():
    changes = [{"date": MARCH, "change": "dropout"}, {"date": "2020-04-20", "change": "suspended"}]
    assert reason_of(school(GONE, status_changes=changes)) == "dropout_recorded"
    assert reason_of(school(GONE, status_changes=changes[1:])) == "suspended"
    assert reason_of(school(GONE)) == "not_registered"


def test_an_exit_beats_a_run_of_absence():
    tables = school(
        STAYED,
        attendance=attending("U" * 30 + "-" * 40),
        status_changes=[{"date": "2020-04-20", "change": "died"}],
    )
    assert reason_of(tables) == "died"


def test_late_registration_beats_a_run_of_absence():
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, enrolled_on=FIRST_DAYS[15])
    assert reason_of(school(rows, attendance=attending("-" * 15 + "U" * 25))) == "registered_late"


# --- knowledge ----------------------------------------------------------------------------------------


def test_the_label_is_known_when_the_window_is_over_and_late_records_are_in():
    tables = school(STAYED)
    over = term_end(SPRING)
    for known_by, expected in [
        (over, "not_over_yet"),
        (over + pd.Timedelta(days=29), "not_over_yet"),
        (over + pd.Timedelta(days=30), "stayed"),
    ]:
        assert reason_of(tables, known_by=known_by) == expected


def test_facts_recorded_after_the_export_are_not_seen():
    late = {"date": MARCH, "change": "dropout", "recorded_at": "2020-09-20"}
    tables = school(STAYED, status_changes=[late])
    assert reason_of(tables, known_by="2020-09-19") == "stayed"
    assert reason_of(tables, known_by="2020-09-20") == "dropout_recorded"
    assert reason_of(tables) == "dropout_recorded"


def test_a_dropout_recorded_on_the_as_of_date_is_no_student_at_risk():
    tables = school(GONE, status_changes=[{"date": END, "change": "dropout"}])
    assert "x" not in label_outcomes(tables, END).index


@pytest.mark.parametrize("exit_", ["died", "emigrated", "suspended", "transfer_out"])
def test_a_valid_exit_that_was_recorded_after_the_as_of_date_is_no_episode(exit_):
    """The student died before the as-of date, but the register says so only a week later."""
    change = {"date": "2020-01-10", "change": exit_, "recorded_at": "2020-01-24", "arrival_date": "2020-01-13"}
    assert label_of(school(GONE, status_changes=[change]))["label"] == 0


def test_a_later_correction_of_attendance_replaces_what_was_reported_first():
    first = attending("P" + "U" * 20)
    rows = [row | {"recorded_at": row["date"]} for row in first]
    sick = [row | {"code": "S", "recorded_at": "2020-06-01"} for row in first if row["code"] == "U"]
    for attendance in (rows + sick, sick + rows):
        assert reason_of(school(STAYED, attendance=attendance)) == "stayed"


def test_a_later_correction_of_a_registration_replaces_the_first():
    first = enrol("x", SPRING, enrolled_on=FIRST_DAYS[0], recorded_at=FIRST_DAYS[0])
    corrected = enrol("x", SPRING, enrolled_on=FIRST_DAYS[20], recorded_at="2020-06-01")
    for rows in (first + corrected, corrected + first):
        assert reason_of(school(enrol("x", AUTUMN), rows)) == "registered_late"


# --- as-of dates within a term ------------------------------------------------------------------------

NOVEMBER = "2019-11-01"


def test_in_the_middle_of_a_term_its_rest_belongs_to_the_window():
    tables = school(STAYED, status_changes=[{"date": "2019-12-02", "change": "dropout"}])
    assert reason_of(tables, as_of=NOVEMBER) == "dropout_recorded"
    assert "x" not in label_outcomes(tables, END).index


def test_a_run_in_the_rest_of_the_term_counts():
    days = pd.bdate_range("2019-11-04", END)
    absent = [{"student_id": "x", "date": day, "code": "U"} for day in days]
    tables = school(STAYED, attendance=absent + attending("P"))
    assert reason_of(tables, as_of=NOVEMBER) == "absence_run"
    assert reason_of(tables, as_of=END) == "stayed"


def test_days_up_to_the_as_of_date_are_no_outcome():
    days = pd.bdate_range("2019-09-02", "2019-11-01")
    absent = [{"student_id": "x", "date": day, "code": "U"} for day in days]
    present = [{"student_id": "x", "date": day, "code": "P"} for day in pd.bdate_range("2019-11-04", END)]
    assert reason_of(school(STAYED, attendance=absent + present + attending("P")), as_of=NOVEMBER) == "stayed"


def test_a_few_unreported_days_before_the_holiday_do_not_hide_the_outcome():
    """Two days before the end of term nothing more is reported; the next term is."""
    tables = school(STAYED, attendance=attending("P"))
    assert reason_of(tables, as_of="2020-01-15") == "stayed"


# --- a longer window ----------------------------------------------------------------------------------


def two_terms(*rows, **tables):
    return school(*rows, terms=(AUTUMN, SPRING, NEXT_AUTUMN), **tables)


def test_horizon_two_looks_at_both_terms():
    left_in_second = two_terms(STAYED)
    row = label_of(left_in_second, horizon=2)
    assert (row["reason"], row["label"], row["out"]) == ("not_registered", 1, True)
    assert reason_of(left_in_second, horizon=1) == "stayed"
    assert reason_of(two_terms(enrol("x", AUTUMN, SPRING, NEXT_AUTUMN)), horizon=2) == "stayed"


def test_horizon_two_who_came_back_in_the_second_term_had_an_episode_and_is_not_out():
    row = label_of(two_terms(enrol("x", AUTUMN) + enrol("x", NEXT_AUTUMN, grade=8)), horizon=2)
    assert (row["reason"], row["label"], row["out"]) == ("not_registered", 1, False)


def test_horizon_two_reads_the_ledger_of_the_second_term():
    rows = enrol("x", AUTUMN, SPRING, NEXT_AUTUMN)
    tables = two_terms(rows, status_changes=[{"date": "2020-10-12", "change": "dropout"}])
    assert reason_of(tables, horizon=2) == "dropout_recorded"
    assert reason_of(tables, horizon=1) == "stayed"


def test_who_finishes_grade_nine_within_the_window_has_not_dropped_out():
    """Whether or not the register has a row that says so."""
    rows = enrol("x", AUTUMN, SPRING, grade=9)
    graduated = [{"date": term_end(SPRING), "change": "graduated"}]
    assert reason_of(two_terms(rows, status_changes=graduated), horizon=2) == "graduated"
    assert label_of(two_terms(rows), horizon=2)["label"] == 0


def test_an_episode_in_the_second_term_is_known_even_if_the_first_was_not_reported():
    days = pd.bdate_range(term_start(NEXT_AUTUMN), term_end(NEXT_AUTUMN))
    absent = [{"student_id": "x", "date": day, "code": "U"} for day in days]
    tables = two_terms(enrol("x", AUTUMN, SPRING, NEXT_AUTUMN), attendance=absent)
    assert reason_of(tables, horizon=2) == "absence_run"


# --- out at the end -----------------------------------------------------------------------------------


def test_who_registered_after_a_dropout_is_not_out():
    """Back at school, although nobody wrote down the return."""
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, enrolled_on="2020-03-02")
    row = label_of(school(rows, status_changes=[{"date": "2020-02-10", "change": "dropout"}]))
    assert (row["reason"], row["out"]) == ("dropout_recorded", False)


def test_who_registered_late_and_stopped_coming_is_out():
    rows = enrol("x", AUTUMN) + enrol("x", SPRING, enrolled_on=FIRST_DAYS[15])
    row = label_of(school(rows, attendance=attending("-" * 15 + "U" * (len(FIRST_DAYS) - 15))))
    assert (row["label"], row["out"]) == (1, True)


# --- the frame as a whole -----------------------------------------------------------------------------


@pytest.mark.parametrize(("as_of", "horizon"), [("2019-11-15", 1), ("2020-01-17", 2), ("2020-07-10", 1)])
def test_label_and_censored_share_the_students_at_risk(county, as_of, horizon):
    labels = label_outcomes(county, as_of, horizon)
    assert labels.index.equals(at_risk(county, as_of).index)
    assert (labels["label"].isna() == labels["censored"]).all()
    assert (labels["out"].isna() == labels["censored"]).all()
    assert (labels["censored"] == labels["reason"].isin(CENSORED)).all()
    assert ((labels["label"] == 1).fillna(False) == labels["reason"].isin(EPISODES)).all()
    assert labels["label"].dtype == "Int8"
    assert labels["censored"].dtype == bool


def test_labels_do_not_depend_on_the_order_of_rows(county):
    expected = label_outcomes(county, END)
    for seed in range(2):
        pd.testing.assert_frame_equal(label_outcomes(shuffle(county, seed), END), expected)


def test_a_stricter_preset_finds_at_least_the_same_episodes(county):
    loose, strict = (label_outcomes(county, END, preset=name)["label"] for name in ("default", "yunnan-2022"))
    assert (strict >= loose).all()
    assert strict.sum() > loose.sum()


def test_labels_agree_with_what_the_simulation_drew(county):
    """The oracle says who leaves; the label reads it off the registers. Only their own errors differ."""
    terms = Terms.of(county)
    agree, rows = 0, 0
    for term in terms.names[:-1]:
        labels = label_outcomes(county, terms.end(term))
        truth = county.oracle[county.oracle["term"] == term].set_index("student_id")["leaves"]
        assert truth.index.isin(labels.index).mean() > 0.99
        both = labels[~labels["censored"]].join(truth, how="inner")
        agree += (both["label"].astype(bool) == both["leaves"]).sum()
        rows += len(both)
    assert rows > 1000
    assert agree / rows >= 0.99


def test_the_simulation_has_most_reasons(county):
    terms = Terms.of(county)
    seen = pd.concat([label_outcomes(county, end)["reason"] for end in terms.ends])
    assert {"stayed", "dropout_recorded", "not_registered", "transferred", "graduated"} <= set(seen)


# --- the register alone -------------------------------------------------------------------------------


def test_the_register_alone_reads_no_attendance():
    rule = PRESETS["default"]
    tables = school(STAYED, attendance=attending("U" * 40))
    assert register_outcomes(tables, END, rule=rule).loc["x", "reason"] == "stayed"
    assert register_outcomes(school(GONE), END, rule=rule).loc["x", "reason"] == "not_registered"


def test_the_register_alone_equals_the_labels_without_attendance(county):
    later = cut(county, term_end(NEXT_AUTUMN))
    no_attendance = later.replace(attendance=later["attendance"].iloc[:0])
    expected = label_outcomes(no_attendance, END)
    pd.testing.assert_frame_equal(register_outcomes(later, END, rule=PRESETS["default"]), expected)


def test_the_last_term_has_no_outcome_yet():
    tables = build_tables(enrolments=enrol("x", NEXT_SPRING), calendar=weekday_calendar())
    assert reason_of(tables, as_of=term_end(NEXT_SPRING)) == "not_over_yet"
