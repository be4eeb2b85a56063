"""The simulated county: it fits the schema, it matches the published aggregates, and it never looks ahead."""

import os
import subprocess
import sys
import unicodedata

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from dropout_risk.errors import SettingsError
from dropout_risk.schema import NEVER_READ_HEADERS, REFUSED_HEADERS, TABLES, Tables, empty_frame
from dropout_risk.synthetic import MESS, make_county

ABSENT = ["S", "A", "U"]


@pytest.fixture(scope="module")
def county() -> Tables:
    return make_county(1200, terms=5, seed=11)


@pytest.fixture(scope="module")
def counted() -> Tables:
    return make_county(1200, terms=5, seed=11, daily=False)


@pytest.fixture(scope="module")
def juniors() -> Tables:
    """60,000 junior pupils in 24 counties: large enough for aggregates."""
    return make_county(60_000, counties=24, grades=(7, 9), seed=3, daily=False)


@pytest.fixture(scope="module")
def junior_rows(juniors) -> pd.DataFrame:
    return at_term_end(juniors)


def at_term_end(tables: Tables) -> pd.DataFrame:
    """Return what the tables say about every row of the oracle."""
    rows = tables.oracle.merge(tables["enrolments"], on=["student_id", "term"])
    rows = rows.merge(tables["attendance_counts"], on=["student_id", "term"], suffixes=("", "_counts"))
    grades = tables["grades"]
    percent = (100 * grades["score"] / grades["full_mark"]).groupby([grades["student_id"], grades["term"]]).mean()
    missed = grades["absent"].astype(float).groupby([grades["student_id"], grades["term"]]).sum()
    rows = rows.join(percent.rename("score"), on=["student_id", "term"])
    rows = rows.join(missed.rename("missed_exams"), on=["student_id", "term"])
    rows = rows.merge(tables["students"], on="student_id")
    home = tables["households"].drop_duplicates("student_id").set_index("student_id")
    rows["poor"] = rows["student_id"].map(home["poverty"]).isin(["registered", "minimum_living"])
    rows["mother_away"] = rows["student_id"].map(home["mother_away"]).astype(bool)
    rows["siblings"] = rows["student_id"].map(home["siblings"])
    rows["years_overage"] = age_on_first_september(rows) - (rows["grade"] + 5)
    return rows


def age_on_first_september(rows: pd.DataFrame) -> pd.Series:
    year = rows["term"].str[:4].astype(int)
    birth = rows["birth_date"].dt
    had_no_birthday = (birth.month > 9) | ((birth.month == 9) & (birth.day > 1))
    return year - birth.year - had_no_birthday


# --- shape --------------------------------------------------------------------------------------------


def assert_fits_schema(tables: Tables) -> None:
    for name, frame in tables.items():
        pd.testing.assert_series_equal(frame.dtypes, empty_frame(name).dtypes)
        assert list(frame.columns) == TABLES[name].names
        assert isinstance(frame.index, pd.RangeIndex)
        for column in TABLES[name].columns:
            values = frame[column.name]
            if column.required:
                assert values.notna().all(), (name, column.name)
            if column.kind in ("integer", "number"):
                assert values.dropna().between(column.minimum, column.maximum).all(), (name, column.name)


def assert_is_consistent(tables: Tables) -> None:
    for name, frame in tables.items():
        assert not frame.duplicated(list(TABLES[name].key)).any(), name
        if "student_id" in frame:
            assert set(frame["student_id"]) <= set(tables["students"]["student_id"]), name
        if "term" in frame:
            assert set(frame["term"]) <= set(tables["terms"]["term"]), name
    assert set(tables["enrolments"]["school_id"]) <= set(tables["schools"]["school_id"])
    on_roll = pd.MultiIndex.from_frame(tables["enrolments"][["student_id", "term"]])
    for rows in (tables["grades"], tables.oracle, tables.get_frame("attendance_counts")):
        assert pd.MultiIndex.from_frame(rows[["student_id", "term"]]).isin(on_roll).all()


@pytest.mark.no_cover
@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    students=st.integers(1, 120),
    terms=st.integers(1, 5),
    counties=st.integers(1, 3),
    grades=st.tuples(st.integers(1, 9), st.integers(1, 9)).map(sorted).map(tuple),
    shift=st.sampled_from([-2.5, 0.0, 6.0]),
    seed=st.integers(0, 2**63),
    daily=st.booleans(),
    helps=st.booleans(),
)
def test_any_county_fits_the_schema(students, terms, counties, grades, shift, seed, daily, helps):
    tables = make_county(
        students, terms=terms, counties=min(counties, students), grades=grades, shift=shift, seed=seed, daily=daily,
        help_from=terms - 1 if helps and terms > 1 else None,
    )  # fmt: skip
    assert_fits_schema(tables)
    assert_is_consistent(tables)
    first = tables["enrolments"]["term"] == tables["terms"]["term"].iloc[0]
    assert first.sum() == students
    assert tables["enrolments"]["grade"].between(*grades).all()


@settings(max_examples=8, deadline=None)
@given(students=st.integers(1, 60), seed=st.integers(0, 1000), daily=st.booleans())
def test_any_messy_county_keeps_columns_and_dtypes(students, seed, daily):
    tables = make_county(students, terms=3, seed=seed, daily=daily, mess=True)
    for name, frame in tables.items():
        pd.testing.assert_series_equal(frame.dtypes, empty_frame(name).dtypes)


def test_no_table_tells_what_must_not_be_told(county):
    headers = {column.lower() for frame in county.values() for column in frame}
    assert not headers & {"religion", "ethnicity", "minority", "parent_ill", "health"}
    assert not headers & {*REFUSED_HEADERS, *NEVER_READ_HEADERS}


def test_wrong_arguments_are_all_named_at_once():
    with pytest.raises(SettingsError, match=r"students.*terms.*counties.*grades.*shift.*seed.*share.*effect"):
        make_county(
            0, terms=0, counties=5, grades=(4, 3), shift=float("nan"), seed=-1, help_share=2, help_effect=float("inf")
        )
    for term in (0, 3, "2020-2021-2"):
        with pytest.raises(SettingsError, match=r"help_from must be one of the terms after the first.*not"):
            make_county(10, terms=3, help_from=term)
    with pytest.raises(SettingsError, match="No such mess: fire"):
        make_county(10, mess=frozenset({"fire"}))


# --- same arguments, same tables ----------------------------------------------------------------------


PRINT_COUNTY = """
from dropout_risk.synthetic import make_county
tables = make_county(60, terms=3, counties=2, mess=True)
for frame in (*tables.values(), tables.oracle):
    print(frame.to_csv())
"""


@pytest.mark.slow
def test_same_arguments_same_tables_in_another_process():
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", PRINT_COUNTY]
    elsewhere = subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode()
    tables = make_county(60, terms=3, counties=2, mess=True)
    assert elsewhere == "".join(f"{frame.to_csv()}\n" for frame in (*tables.values(), tables.oracle))


def test_another_seed_is_another_county():
    one, same, other = (make_county(60, terms=2, seed=seed) for seed in (1, 1, 2))
    assert one["enrolments"].equals(same["enrolments"])
    assert not one["enrolments"].equals(other["enrolments"])


def test_counting_attendance_changes_nothing_else(county, counted):
    for name in set(county) - {"attendance"}:
        pd.testing.assert_frame_equal(county[name], counted[name])
    pd.testing.assert_frame_equal(county.oracle, counted.oracle)


def test_stored_numbers_are_rounded(county):
    for values, step in (
        (county["enrolments"]["distance_km"], 0.1),
        (county["enrolments"]["travel_minutes"], 1),
        (county["grades"]["score"], 0.5),
        (county.oracle["risk"], 1e-6),
    ):
        steps = values.dropna() / step
        assert np.allclose(steps, steps.round(), atol=1e-6)


# --- calendar -----------------------------------------------------------------------------------------


def test_terms_have_about_95_school_days():
    calendar = make_county(10, terms=20, first_year=2015)["calendar"]
    terms = make_county(10, terms=20, first_year=2015)["terms"]
    assert calendar["school_id"].isna().all()
    school_days = calendar["date"][calendar["is_school_day"].astype(bool)]
    for term in terms.itertuples():
        days = calendar["date"][calendar["date"].between(term.start, term.end)]
        assert days.to_list() == pd.date_range(term.start, term.end).to_list()
        assert 90 <= school_days.between(term.start, term.end).sum() <= 98
    assert (school_days.dt.day_of_week < 5).all()
    assert not ((school_days.dt.month == 10) & (school_days.dt.day <= 7)).any()
    assert not ((school_days.dt.month == 1) & (school_days.dt.day == 1)).any()


def test_attendance_is_taken_on_school_days_only(county):
    calendar = county["calendar"]
    taken = county["attendance"]["date"].drop_duplicates().sort_values()
    assert taken.to_list() == calendar["date"][calendar["is_school_day"].astype(bool)].to_list()


# --- children -----------------------------------------------------------------------------------------


def check_digit(number: str) -> str:
    """Return the last character of an ID number by GB 11643, the slow way."""
    weights = [2**k % 11 for k in range(17, 0, -1)]
    return "10X98765432"[sum(int(d) * w for d, w in zip(number, weights, strict=False)) % 11]


def test_id_numbers_agree_with_gb_11643_birth_date_and_sex(county):
    assert check_digit("11010519491231002") == "X"  # the example of the standard
    students = county["students"]
    assert students["id_number"].is_unique
    for child in students.itertuples():
        assert child.id_number[17] == check_digit(child.id_number)
        assert child.id_number[:4] == "9901"
        assert child.id_number[6:14] == f"{child.birth_date:%Y%m%d}"
        assert (int(child.id_number[16]) % 2 == 1) == (child.sex == "male")


def test_nobody_is_too_young_for_the_grade(county):
    rows = county["enrolments"].merge(county["students"], on="student_id")
    years_overage = age_on_first_september(rows) - (rows["grade"] + 5)
    assert years_overage.between(0, 5).all()


def test_children_move_up_each_autumn_and_change_school_after_grade_6(county):
    rows = county["enrolments"].merge(county["schools"], on="school_id")
    stages = {"primary": range(1, 7), "nine_year": range(1, 10), "junior": range(7, 10)}
    assert all(grade in stages[stage] for grade, stage in zip(rows["grade"], rows["stage"], strict=True))
    entry_year = rows["term"].str[:4].astype(int) - rows["grade"]
    years = entry_year.groupby(rows["student_id"]).nunique()
    suspended = set(county["status_changes"].query("change == 'suspended'")["student_id"])
    assert set(years.index[years > 1]) <= suspended
    assert rows.groupby(["student_id", "stage"])["school_id"].nunique().max() == 1


def test_left_behind_says_which_parents_are_away(counted):
    rows = counted["enrolments"].merge(counted["terms"], on="term").merge(counted["households"], on="student_id")
    end = rows["end"]
    rows = rows[(rows["valid_from"] <= end) & ~(rows["valid_to"] < end)]
    assert len(rows) == len(counted["enrolments"])  # exactly one household row is true at each term end
    away = rows["mother_away"].astype(int) + rows["father_away"].astype(int)
    expected = away.map({0: "none", 1: "one_parent", 2: "both_parents"})
    assert (rows["left_behind"].astype(str) == expected).all()


def test_nothing_is_recorded_before_it_happened(county, counted):
    for tables in (county, counted):
        for name, frame in tables.items():
            event = TABLES[name].event
            if event and event != "recorded_at" and "recorded_at" in frame:
                assert (frame["recorded_at"] >= frame[event]).all(), name
    changes = county["status_changes"]
    assert (changes["recorded_at"] >= changes["arrival_date"])[changes["arrival_date"].notna()].all()
    dropouts = changes[changes["change"] == "dropout"]
    assert (dropouts["recorded_at"] - dropouts["date"]).dt.days.between(5, 40).all()


# --- who leaves ---------------------------------------------------------------------------------------


def next_terms(tables: Tables) -> dict[str, str]:
    terms = tables["terms"]["term"].to_list()
    return dict(zip(terms, terms[1:], strict=False))


def test_leavers_are_gone_in_the_next_term_and_nobody_else(county):
    """Brute force over every child: the tables show exactly what the simulation drew."""
    following = next_terms(county)
    terms = county["terms"].set_index("term")
    enrolled = set(zip(county["enrolments"]["student_id"], county["enrolments"]["term"], strict=True))
    attendance = county["attendance"].sort_values("date").set_index("student_id")
    registered_first = 0
    outcomes = county.oracle[county.oracle["term"].isin(following)]
    leavers = outcomes[outcomes["leaves"]]
    assert len(leavers) > 80
    for child in leavers.itertuples():
        term = following[child.term]
        if (child.student_id, term) not in enrolled:
            continue
        registered_first += 1
        rows = attendance.loc[child.student_id]
        rows = rows[rows["date"].between(terms["start"][term], terms["end"][term])]
        days = pd.Series(rows["code"].to_numpy())
        run = days[::-1].isin(["U", "N", "X"]).cumprod().sum()
        assert run >= 22 and (days == "U").tail(run).mean() > 0.9
    assert 0.08 < registered_first / len(leavers) < 0.24
    valid_exits = county["status_changes"].query(
        "change in ['transfer_out', 'suspended', 'died', 'emigrated', 'graduated']"
    )
    exits = set(valid_exits["student_id"])
    stayers = outcomes[~outcomes["leaves"]]
    for child in stayers.itertuples():
        assert (child.student_id, following[child.term]) in enrolled or child.student_id in exits


def test_the_last_grade_has_no_next_term(county):
    rows = county.oracle.merge(county["enrolments"], on=["student_id", "term"])
    spring_of_9 = (rows["grade"] == 9) & rows["term"].str.endswith("-2")
    assert not spring_of_9.any()
    changes = county["status_changes"]
    graduates = changes[changes["change"] == "graduated"]
    assert set(graduates["date"]) == set(county["terms"]["end"][[1, 3]])


def test_children_of_a_primary_county_go_on_by_confirmed_transfer():
    primary = make_county(400, terms=3, grades=(1, 6), seed=2, daily=False)
    changes = primary["status_changes"]
    moved = changes[(changes["change"] == "transfer_out") & (changes["date"] == primary["terms"]["end"].iloc[1])]
    assert len(moved) > 40 and moved["arrival_date"].notna().all()


@pytest.mark.slow
def test_status_changes_happen_at_their_rates(juniors):
    following = next_terms(juniors)
    oracle = juniors.oracle[juniors.oracle["term"].isin(following)]
    counts = juniors["status_changes"]["change"].value_counts()
    leavers = int(oracle["leaves"].sum())
    assert counts["dropout"] / leavers == pytest.approx(0.85, abs=0.015)
    assert counts["transfer_out"] / len(oracle) == pytest.approx(0.009, rel=0.15)
    assert counts["transfer_in"] / counts["transfer_out"] == pytest.approx(1, abs=0.35)
    assert counts["suspended"] / len(oracle) == pytest.approx(0.001, rel=0.2)
    transfers = juniors["status_changes"].query("change == 'transfer_out'")
    days = (transfers["arrival_date"] - transfers["date"]).dt.days
    assert days.isna().mean() == pytest.approx(0.01, abs=0.008)
    assert (days > 30).mean() == pytest.approx(0.10, abs=0.02)


@pytest.mark.slow
def test_suspension_costs_a_year(juniors):
    changes = juniors["status_changes"]
    suspended = changes[changes["change"] == "suspended"]["student_id"]
    rows = juniors["enrolments"][juniors["enrolments"]["student_id"].isin(suspended)]
    entry_year = rows["term"].str[:4].astype(int) - rows["grade"]
    rows = rows.assign(entry_year=entry_year).merge(changes[changes["change"] == "suspended"], on="student_id")
    start = rows["term"].map(juniors["terms"].set_index("term")["start"])
    before, after = (
        rows[m].groupby("student_id")["entry_year"].first() for m in (start < rows["date"], start > rows["date"])
    )
    lost = (after - before).dropna()
    assert len(lost) > 50 and (lost == 1).mean() > 0.95  # dated just before a term: one is still registered


# --- attendance and grades ----------------------------------------------------------------------------


def test_counts_are_the_daily_rows_counted(county, counted):
    terms = county["terms"]
    daily = county["attendance"].sort_values(["student_id", "date"])
    term = terms["term"].to_numpy()[np.searchsorted(terms["start"], daily["date"], side="right") - 1]
    code = daily["code"].astype(str)
    absent = code.isin(ABSENT)
    run = (~absent).groupby([daily["student_id"], term]).cumsum()
    run_length = absent.groupby([daily["student_id"], term, run]).sum()
    expected = pd.DataFrame(
        {
            "days_reported": (~code.isin(["N", "X"])).groupby([daily["student_id"], term]).sum(),
            "days_absent": absent.groupby([daily["student_id"], term]).sum(),
            "days_unexcused": (code == "U").groupby([daily["student_id"], term]).sum(),
            "days_late": (code == "L").groupby([daily["student_id"], term]).sum(),
            "days_not_reported": (code == "N").groupby([daily["student_id"], term]).sum(),
            "longest_absence": run_length.groupby(level=[0, 1]).max(),
        }
    )
    counts = counted["attendance_counts"].set_index(["student_id", "term"])[expected.columns]
    pd.testing.assert_frame_equal(
        counts.sort_index(), expected.astype(float).sort_index(), check_names=False, check_index_type=False
    )


def test_a_class_reports_together_and_sometimes_late(county):
    rows = county["attendance"]
    late = (rows["recorded_at"] - rows["date"]).dt.days
    assert late.between(0, 20).all()
    assert (late > 0).mean() == pytest.approx(0.05, abs=0.01)
    assert (rows["code"] == "N").mean() == pytest.approx(0.015, abs=0.004)
    assert (rows["code"] == "L").mean() == pytest.approx(0.003, abs=0.0007)
    first = county["enrolments"]["term"] == county["terms"]["term"].iloc[0]
    place = county["enrolments"][first].set_index("student_id")[["school_id", "class_id"]]
    autumn = rows[rows["date"] <= county["terms"]["end"].iloc[0]].join(place, on="student_id")
    silent = (autumn["code"] == "N").groupby([autumn["school_id"], autumn["class_id"], autumn["date"]]).mean()
    assert silent.isin([0.0, 1.0]).mean() > 0.998  # whole classes, but for days when a school is closed


@pytest.mark.slow
def test_absences_are_of_the_usual_kinds_and_come_in_runs():
    tables = make_county(20_000, counties=4, terms=1, seed=5)  # nobody has left yet
    rows = tables["attendance"]
    assert rows.equals(rows.sort_values(["student_id", "date"]))
    share = rows["code"][rows["code"].isin(ABSENT)].astype(str).value_counts(normalize=True)
    assert share["S"] == pytest.approx(0.50, abs=0.05)
    assert share["A"] == pytest.approx(0.38, abs=0.05)
    assert share["U"] == pytest.approx(0.12, abs=0.05)
    absent = rows["code"].isin(ABSENT)
    starts = absent & ~(absent.shift(fill_value=False) & rows["student_id"].eq(rows["student_id"].shift()))
    assert 1.5 < absent.sum() / starts.sum() < 2.2
    edge = rows["date"].dt.day_of_week.isin([0, 4])
    assert absent[edge].sum() / absent.sum() > edge.mean() + 0.01


@pytest.mark.slow
def test_scores_have_the_usual_spread_and_persistence(juniors):
    grades = juniors["grades"].query("subject == 'math' and exam == 'final'")
    percent = (100 * grades["score"] / grades["full_mark"]).set_axis(
        pd.MultiIndex.from_frame(grades[["student_id", "term"]])
    )
    wide = percent.unstack()
    assert wide.iloc[:, 0].std() == pytest.approx(13, abs=1)
    assert wide.iloc[:, 0].corr(wide.iloc[:, 1]) == pytest.approx(0.75, abs=0.04)
    first_year = juniors["enrolments"].query("grade == 7 and term == '2019-2020-1'")["student_id"]
    assert wide.loc[first_year].iloc[:, 0].mean() == pytest.approx(62, abs=1.5)
    falls = wide.loc[first_year].mean().diff().iloc[1:4]
    assert falls.mean() == pytest.approx(-2, abs=0.6)
    assert set(grades["full_mark"]) == {100.0, 120.0}
    missed = juniors["grades"]["absent"].astype(bool)
    assert juniors["grades"]["score"].isna().equals(missed)


# --- calibration and honesty --------------------------------------------------------------------------


def follow_grade_7(tables: Tables) -> tuple[float, float, float]:
    """Return the rates of leaving from grade 7 to 8, from 8 to 9 and over both, of the first cohort."""
    position = {term: k for k, term in enumerate(tables["terms"]["term"])}
    rows = tables.oracle.merge(tables["enrolments"], on=["student_id", "term"])
    first = rows["student_id"][(rows["term"] == "2019-2020-1") & (rows["grade"] == 7)]
    left = rows[rows["student_id"].isin(first) & rows["leaves"]].groupby("student_id")["term"].first().map(position)
    in_7, in_8 = left.isin([0, 1]).sum(), left.isin([2, 3]).sum()
    return in_7 / len(first), in_8 / (len(first) - in_7), (in_7 + in_8) / len(first)


@pytest.mark.no_cover
@pytest.mark.slow
def test_junior_pupils_leave_at_the_published_rates():
    counties = [make_county(24_000, counties=24, grades=(7, 9), terms=4, seed=k, daily=False) for k in range(5)]
    # counties differ so much that 24 of them are 0.6 points uncertain: five times 24
    from_7, from_8, together = np.mean([follow_grade_7(tables) for tables in counties], axis=0)
    assert from_7 == pytest.approx(0.057, abs=0.008)
    assert from_8 == pytest.approx(0.090, abs=0.010)
    assert together == pytest.approx(0.142, abs=0.015)


@pytest.mark.slow
def test_junior_pupils_match_the_published_aggregates(junior_rows):
    rows = junior_rows
    assert 1.6 < rows["leaves"][rows["poor"]].mean() / rows["leaves"][~rows["poor"]].mean() < 2.1
    assert 0.0022 < rows["days_absent"].sum() / rows["days_reported"].sum() < 0.0034
    assert 0.80 < (rows["days_absent"] == 0).mean() < 0.90
    assert 0.36 < (rows["years_overage"] > 0).mean() < 0.44
    assert 0.42 < rows["boarding"].mean() < 0.50
    assert rows["distance_km"].isna().mean() == pytest.approx(0.15, abs=0.01)

    odds = rows["leaves"].groupby(rows["days_absent"] >= 10).mean().pipe(lambda p: p / (1 - p))
    assert 3 < odds[True] / odds[False] < 9
    assert 0.82 < roc_auc_score(rows["leaves"], rows["risk"]) < 0.86


@pytest.mark.no_cover
@pytest.mark.slow
def test_primary_pupils_leave_less_and_grade_6_leaks():
    tables = make_county(60_000, counties=24, terms=4, seed=3, daily=False)
    rows = tables.oracle.merge(tables["enrolments"], on=["student_id", "term"])
    rate = rows.groupby(["grade", rows["term"].str[-1]])["leaves"].mean().unstack()
    primary = rows[rows["grade"] <= 6]
    assert 2 * primary["leaves"].mean() == pytest.approx(0.02, abs=0.006)
    yearly = rate.loc[1:5].sum(axis=1)
    assert yearly[5] > yearly[1]
    assert rate.loc[6, "2"] > 1.4 * rate.loc[6, "1"]
    assert 0.03 < primary["boarding"].mean() < 0.10
    assert not rows["boarding"][rows["grade"] <= 3].any()


@pytest.mark.slow
@pytest.mark.parametrize("fact", ["days_absent", "days_unexcused", "days_late", "score", "missed_exams", "siblings"])
def test_given_the_risk_no_fact_tells_more_about_the_outcome(junior_rows, fact):
    """What was drawn minus the risk has mean 0 whatever the tables say: the data never look ahead."""
    rows = junior_rows
    value = rows[fact].fillna(rows[fact].mean()).to_numpy(float)
    value = (value - value.mean()) / value.std()
    surprise = rows["leaves"].to_numpy(float) - rows["risk"].to_numpy()
    spread = np.sqrt(np.sum(rows["risk"] * (1 - rows["risk"]) * value**2))
    assert abs(np.sum(surprise * value)) < 4 * spread


@pytest.mark.no_cover
@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_no_model_beats_the_oracle(seed):
    rows = at_term_end(make_county(30_000, counties=12, grades=(7, 9), seed=seed, daily=False))
    facts = [
        "grade", "days_absent", "days_unexcused", "days_late", "longest_absence", "score", "missed_exams",
        "poor", "mother_away", "siblings", "years_overage", "distance_km", "travel_minutes", "boarding",
    ]  # fmt: skip
    X, y = rows[facts].astype(float), rows["leaves"].to_numpy()
    future = (rows["term"] >= "2021-2022-1").to_numpy()
    model = lgb.LGBMClassifier(
        n_estimators=150, learning_rate=0.05, num_leaves=15, min_child_samples=200, n_jobs=1, verbose=-1,
        deterministic=True, random_state=0,
    )  # fmt: skip
    guess = model.fit(X[~future], y[~future]).predict_proba(X[future])[:, 1]
    truth = rows["risk"][future]
    assert 0.65 < roc_auc_score(y[future], guess) < roc_auc_score(y[future], truth) - 0.03
    assert average_precision_score(y[future], guess) < average_precision_score(y[future], truth) - 0.05


@pytest.mark.no_cover
@pytest.mark.slow
def test_shift_moves_the_base_rate():
    rates = [make_county(20_000, counties=8, shift=s, daily=False).oracle["leaves"].mean() for s in (0, -1.2, -2.5)]
    assert rates[0] > 2 * rates[1] > 5 * rates[2] > 0


# --- mess ---------------------------------------------------------------------------------------------


def messy(kind: str, *, daily: bool = True) -> tuple[Tables, Tables]:
    """Return a clean county and the same with one kind of mess."""
    options = {"students": 600, "terms": 3, "seed": 8, "daily": daily}
    return make_county(**options), make_county(**options, mess=frozenset({kind}))


TOUCHED = {
    "wrong_check_digit": {"students"}, "excel_id_number": {"students"}, "name_dots": {"students"},
    "full_width_digits": {"students", "enrolments"}, "distance_in_li": {"enrolments"},
    "distance_in_metres": {"enrolments"}, "undated_poverty": {"households"},
    "arrival_missing": {"status_changes"}, "constant_present": {"attendance"},
    "backfilled_month": {"attendance"}, "wrong_calendar": {"calendar", "attendance"},
    "other_full_mark": {"grades"}, "missed_exam_as_zero": {"grades"}, "merged_school": {"enrolments"},
    "duplicate_rows": {"students", "enrolments", "households", "status_changes", "grades", "attendance"},
}  # fmt: skip


@pytest.mark.parametrize("kind", list(MESS))
def test_each_kind_of_mess_touches_its_own_tables_only(kind):
    clean, dirty = messy(kind)
    assert {name for name in clean if not clean[name].equals(dirty[name])} == TOUCHED[kind]
    pd.testing.assert_frame_equal(clean.oracle, dirty.oracle)


def assert_hits_its_rate(kind: str, hit: pd.Series) -> None:
    assert hit.sum() == max(1, round(MESS[kind].rate * len(hit)))


def test_messy_id_numbers_and_names():
    clean, dirty = messy("wrong_check_digit")
    wrong = dirty["students"]["id_number"].map(lambda number: number[17] != check_digit(number))
    assert_hits_its_rate("wrong_check_digit", wrong)

    clean, dirty = messy("excel_id_number")
    wrong = dirty["students"]["id_number"] != clean["students"]["id_number"]
    assert_hits_its_rate("excel_id_number", wrong)
    assert dirty["students"]["id_number"][wrong].str.fullmatch(r"\d{15}000|9\.\d{5}E\+17").all()

    clean, dirty = messy("full_width_digits")
    changed = dirty["students"]["id_number"] != clean["students"]["id_number"]
    assert_hits_its_rate("full_width_digits", changed)
    folded = dirty["students"]["id_number"].map(lambda text: unicodedata.normalize("NFKC", text))
    assert folded.equals(clean["students"]["id_number"])

    clean, dirty = messy("name_dots")
    dotted = dirty["students"]["name"].str.contains(r"[·•‧.・]")
    assert_hits_its_rate("name_dots", dotted)


def test_messy_distances_dates_and_marks():
    for kind, factor in (("distance_in_li", 2), ("distance_in_metres", 1000)):
        clean, dirty = messy(kind)
        known = clean["enrolments"]["distance_km"].dropna()
        ratio = (dirty["enrolments"]["distance_km"] / clean["enrolments"]["distance_km"]).dropna()
        assert np.isclose(ratio[ratio != 1], factor).all()
        assert (ratio != 1).sum() == round(MESS[kind].rate * len(known))

    _, dirty = messy("undated_poverty")
    poor = dirty["households"][dirty["households"]["poverty"] != "none"]
    assert_hits_its_rate("undated_poverty", poor["valid_from"].isna())

    clean, dirty = messy("missed_exam_as_zero")
    missed = dirty["grades"][clean["grades"]["absent"].astype(bool)]
    assert_hits_its_rate("missed_exam_as_zero", missed["score"] == 0)

    clean, dirty = messy("other_full_mark")
    other = dirty["grades"]["full_mark"] == 150
    percent = [t["grades"]["score"] / t["grades"]["full_mark"] for t in (clean, dirty)]
    assert 0 < other.mean() < 0.3 and (percent[0] - percent[1]).abs().max() < 0.003

    clean, dirty = messy("arrival_missing")
    lost = [t["status_changes"]["arrival_date"].isna().sum() for t in (clean, dirty)]
    assert lost[1] == lost[0] + 1  # 1 % of a few dozen, but at least one


def test_messy_schools():
    clean, dirty = messy("constant_present")
    changed = clean["attendance"]["code"] != dirty["attendance"]["code"]
    silenced = set(clean["attendance"]["student_id"][changed])
    schools = clean["enrolments"][clean["enrolments"]["student_id"].isin(silenced)]["school_id"].value_counts()
    hit = clean["enrolments"]["school_id"] == schools.index[0]
    pupils = clean["enrolments"]["student_id"][hit & (clean["enrolments"]["term"] == "2019-2020-1")]
    rows = dirty["attendance"].query("date < '2020-02-01'")
    assert (rows["code"][rows["student_id"].isin(pupils)] == "P").all()
    assert (rows["code"][~rows["student_id"].isin(pupils)] != "P").any()

    clean, dirty = messy("merged_school")
    moved = clean["enrolments"]["school_id"] != dirty["enrolments"]["school_id"]
    assert clean["enrolments"]["school_id"][moved].nunique() == 1
    assert dirty["enrolments"]["school_id"][moved].nunique() == 1
    assert "2019-2020-1" not in set(clean["enrolments"]["term"][moved])

    clean, dirty = messy("wrong_calendar")
    own = dirty["calendar"][dirty["calendar"]["school_id"].notna()]
    assert own["school_id"].nunique() == 1 and own["is_school_day"].all()
    added = dirty["attendance"].iloc[len(clean["attendance"]) :]
    assert set(added["date"]) == set(own["date"]) and set(added["code"]) == {"U"}

    clean, dirty = messy("backfilled_month")
    changed = clean["attendance"]["recorded_at"] != dirty["attendance"]["recorded_at"]
    assert changed.mean() == pytest.approx(MESS["backfilled_month"].rate, abs=0.03)
    assert dirty["attendance"]["recorded_at"][changed].dt.is_month_end.all()


def test_messy_rows_come_twice():
    clean, dirty = messy("duplicate_rows", daily=False)
    for name in ("students", "enrolments", "grades", "attendance_counts"):
        once = ~dirty[name].duplicated(list(TABLES[name].key))
        assert (~once).sum() == round(MESS["duplicate_rows"].rate * len(clean[name]))
        pd.testing.assert_frame_equal(dirty[name][once].reset_index(drop=True), clean[name])


def test_mess_of_counted_attendance():
    clean, dirty = messy("constant_present", daily=False)
    changed = (clean["attendance_counts"] != dirty["attendance_counts"]).any(axis=1)
    assert changed.any()
    assert (dirty["attendance_counts"]["days_absent"][changed] == 0).all()
    assert (dirty["attendance_counts"]["days_not_reported"][changed] == 0).all()


# --- help ---------------------------------------------------------------------------------------------


HELP = {"terms": 5, "grades": (7, 9), "counties": 3, "shift": 1.0, "seed": 4, "daily": False}


@pytest.fixture(scope="module")
def helping() -> Tables:
    """A county that helps from its third term on."""
    return make_county(6000, **HELP, help_from="2020-2021-1", help_share=0.2, help_effect=1.5)


@pytest.fixture(scope="module")
def help_rows(helping) -> pd.DataFrame:
    rows = helping.oracle.merge(helping["enrolments"], on=["student_id", "term"])
    return rows.merge(helping["schools"][["school_id", "county_id"]], on="school_id")


def test_without_help_no_setting_of_it_matters():
    plain, other = make_county(80, terms=3), make_county(80, terms=3, help_share=0.9, help_effect=9.0)
    assert list(plain) == list(other) and "interventions" not in plain
    for name in plain:
        pd.testing.assert_frame_equal(plain[name], other[name], check_exact=True)
    pd.testing.assert_frame_equal(plain.oracle, other.oracle, check_exact=True)
    assert list(plain.oracle) == ["student_id", "term", "risk", "leaves"]


def test_help_without_effect_leaves_the_world_as_it_was():
    settings = {"terms": 4, "seed": 2, "counties": 2}
    plain, helped = make_county(300, **settings), make_county(300, **settings, help_from=1, help_effect=0.0)
    assert {*helped} - {*plain} == {"interventions"}
    for name in plain:
        pd.testing.assert_frame_equal(plain[name], helped[name], check_exact=True)
    pd.testing.assert_frame_equal(plain.oracle, helped.oracle[list(plain.oracle)], check_exact=True)


def test_help_changes_nothing_before_it_begins(helping):
    plain = make_county(6000, **HELP)
    until = helping["terms"]["end"].iloc[1]
    for name in ("enrolments", "attendance_counts", "grades"):
        early = [tables[name][tables[name]["term"].str[:4] == "2019"] for tables in (plain, helping)]
        pd.testing.assert_frame_equal(*early)
    changes = [tables["status_changes"] for tables in (plain, helping)]
    pd.testing.assert_frame_equal(*(frame[frame["date"] <= until] for frame in changes))
    assert helping["interventions"]["date"].min() > until


def test_help_goes_to_the_top_of_a_list_of_each_county_but_not_to_it_alone(help_rows):
    assert not help_rows["helped"][help_rows["term"] == "2019-2020-1"].any()
    rows = help_rows[help_rows["term"] >= "2019-2020-2"]
    shares = rows.groupby(["term", "county_id"])["helped"].mean()
    assert shares.between(0.14, 0.20).all() and shares.mean() == pytest.approx(0.85 * 0.2, abs=0.01)
    means = rows.groupby("helped")["risk_without_help"].mean()
    assert means[True] > 1.8 * means[False]
    tenth = pd.qcut(rows["risk_without_help"].rank(method="first"), 10, labels=False)
    by_tenth = rows["helped"].groupby(tenth).mean()
    assert by_tenth[0] > 0.005 and by_tenth[9] < 0.8 and by_tenth.is_monotonic_increasing


def test_interventions_are_the_help_of_the_oracle(helping, help_rows):
    following = next_terms(helping)
    given = helping["interventions"]
    calendar = helping["calendar"]
    found = set()
    for term in list(following.values()):
        start, end = helping["terms"].set_index("term").loc[term, ["start", "end"]]
        rows = given[given["date"].between(start, end)]
        days = calendar["date"][calendar["date"].between(start, end) & calendar["is_school_day"].astype(bool)]
        assert rows["date"].isin(days.iloc[:5]).all()
        found |= {(student, term) for student in rows["student_id"]}
    helped = help_rows[help_rows["helped"] & help_rows["term"].isin(following)]
    assert found == {(row.student_id, following[row.term]) for row in helped.itertuples()}
    assert len(found) == len(given) > 1000
    assert (given["recorded_at"] >= given["date"]).all() and given["kind"].nunique() == 6
    drops = helping["status_changes"].query("change == 'dropout'").merge(given, on="student_id", suffixes=("", "_help"))
    same_term = drops[(drops["date"] - drops["date_help"]).dt.days.between(-60, 60)]
    assert len(same_term) > 50 and (same_term["date"] > same_term["date_help"]).all()


def test_help_takes_its_log_odds_off(helping, help_rows):
    helped = help_rows[help_rows["helped"]]
    log_odds = np.log(helped[["risk", "risk_without_help"]]).to_numpy() - np.log1p(
        -helped[["risk", "risk_without_help"]].to_numpy()
    )
    assert np.allclose(log_odds[:, 1] - log_odds[:, 0], 1.5, atol=0.02)
    others = help_rows[~help_rows["helped"]]
    assert others["risk"].equals(others["risk_without_help"])
    assert others["leaves"].equals(others["leaves_without_help"])
    assert (help_rows["leaves"] <= help_rows["leaves_without_help"]).all()
    assert helped["leaves_without_help"].mean() == pytest.approx(helped["risk_without_help"].mean(), abs=0.015)


@pytest.mark.parametrize("effect", [0.5, 1.5])
def test_fewer_of_the_helped_leave_in_the_tables(effect):
    """The shift of log-odds that explains how many helped children are gone, by the tables alone."""
    tables = make_county(9000, **{**HELP, "terms": 3}, help_from=2, help_share=0.25, help_effect=effect)
    rows = tables.oracle[(tables.oracle["term"] == "2019-2020-2") & tables.oracle["helped"]]
    left = tables["status_changes"].query("change == 'dropout' and date >= '2020-09-01'")["student_id"]
    log_odds = np.log(rows["risk_without_help"] / (1 - rows["risk_without_help"])).to_numpy()
    shifts = np.linspace(-1, 4, 501)
    expected = (0.85 / (1 + np.exp(shifts[:, None] - log_odds))).sum(axis=1)
    found = shifts[np.abs(expected - rows["student_id"].isin(left).sum()).argmin()]
    assert found == pytest.approx(effect, abs=0.3)


def test_schools_lie_in_townships_of_their_county(juniors):
    for tables in (juniors, make_county(40, terms=1, counties=2)):
        schools = tables["schools"]
        assert schools["township_id"].str.fullmatch(r"\d{9}").all()
        assert (schools["township_id"].str[:6] == schools["county_id"]).all()
        assert schools.groupby("township_id").size().max() <= 5


# --- the county in data/synthetic ---------------------------------------------------------------------


def test_the_demo_county_is_small(tmp_path):
    tables = make_county()
    roll = tables["enrolments"].groupby("term").size()
    assert roll.between(2700, 3100).all() and len(roll) == 6
    for name, frame in tables.items():
        if name in ("attendance", "grades"):
            frame.to_parquet(tmp_path / name, compression="zstd")
        else:
            frame.to_csv(tmp_path / name, index=False)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 5_000_000
