"""The support list of a term beside the obvious way of making it: rank, cut, compare with last term's."""

import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from trained_county import junior, trained, two_counties

from dropout_risk.capacity import Capacity
from dropout_risk.county import check_county
from dropout_risk.errors import SettingsError, TableError
from dropout_risk.pipeline import Listing, score, support_list
from dropout_risk.scores import TERM_DAYS
from dropout_risk.synthetic import make_county

CAPACITY = 40


@pytest.fixture(scope="module")
def bundle():
    return trained("two_counties").bundle


@pytest.fixture(scope="module")
def scores(bundle):
    """Risks of this term and of the last."""
    terms = two_counties().tables["terms"].sort_values("start")
    return [score(two_counties(), bundle, as_of=end).frame for end in terms["end"].iloc[[-1, -2]]]


@pytest.fixture(scope="module")
def listing(bundle) -> Listing:
    return support_list(two_counties(), bundle, capacity=CAPACITY, lang="en")


def drawn(seed, student):
    return int.from_bytes(blake2b(f"{seed}:{student}".encode(), digest_size=8).digest()) >> 11


def by_hand(frame, capacity, place="county_id", floor=0, seed=0):
    """Return who is listed: each school's first `floor`, then the best of the place; equal risks by lot."""
    listed = set()
    for name, rows in frame.groupby(place):
        rows = rows.assign(lot=[drawn(seed, student) for student in rows["student_id"]])
        rows = rows.sort_values(["risk", "lot"], ascending=[False, True])
        first = list(rows.groupby("school_id").head(floor)["student_id"])
        rest = [student for student in rows["student_id"] if student not in first]
        room = capacity[name] if isinstance(capacity, dict) else capacity
        listed |= set([*first, *rest][:room])
    return listed


def townships(frame):
    """Return the scores with the township of each student's school."""
    schools = two_counties().tables["schools"].set_index("school_id")["township_id"]
    return frame.assign(township_id=frame["school_id"].map(schools))


# --- who is listed ---------------------------------------------------------------------------------------------


def test_the_list_is_the_top_of_the_scores(listing, scores):
    now, _ = scores
    frame = listing.targets.frame
    assert set(frame["student_id"]) == by_hand(now, CAPACITY)
    assert frame.groupby("county_id").size().tolist() == [CAPACITY, CAPACITY]
    beside = frame.merge(now, on="student_id", suffixes=("", "_scored"))
    for column in ("risk", "band", "school_id", "class_id", "grade", "county_id"):
        assert beside[column].equals(beside[f"{column}_scored"]), column
    for _, rows in frame.groupby("county_id"):
        assert rows["risk"].is_monotonic_decreasing and rows["list_place"].tolist() == list(range(1, CAPACITY + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "capacity", "floor", "seed"),
    [
        ("school_id", 3, 0, 0),
        ("township_id", 4, 0, 1),
        ("township_id", 12, 2, 1),
        ("county_id", 30, 3, 2),
        ("county_id", {"990101": 7, "990102": 19}, 0, 0),
    ],
)
def test_places_floors_and_capacities_are_kept(bundle, scores, place, capacity, floor, seed):
    found = support_list(
        two_counties(), bundle, capacity=capacity, place=place, floor_per_school=floor, seed=seed, reasons=1
    )
    now, before = (townships(frame) for frame in scores)
    assert set(found.targets.frame["student_id"]) == by_hand(now, capacity, place, floor, seed)
    last = by_hand(before, capacity, place, floor, seed)
    assert found.churn.kept == len(last & set(found.targets.frame["student_id"]))
    assert found.targets.place == place and found.targets.seed == seed
    if floor:
        assert (found.targets.frame.groupby("school_id").size() >= floor).all()


@pytest.mark.slow
def test_workers_times_students_per_worker_is_the_capacity(bundle, listing):
    workers = support_list(two_counties(), bundle, capacity=Capacity(workers=4, per_worker=10), lang="en")
    assert workers.targets.frame["student_id"].tolist() == listing.targets.frame["student_id"].tolist()


@pytest.mark.slow
def test_every_student_listed_has_reasons_and_an_outlook(listing, scores, bundle):
    frame = listing.targets.frame.set_index("student_id")
    told = score(two_counties(), bundle, reasons=3, lang="en")
    first = {s: own[0].text for s, own in zip(told.frame["student_id"], told.reasons, strict=True) if own}
    assert all(frame.loc[student, "reason_1"] == first[student] for student in frame.index)
    assert (frame["risk_to_end"] >= frame["risk"] - 1e-12).all() and (frame["risk_to_end"] < 1).all()
    assert (frame["terms_left"] >= 1).all() and (frame["evidence_terms"] <= frame["terms_left"]).all()
    assert not frame.columns.duplicated().any()


@pytest.mark.slow
def test_the_order_of_rows_changes_nothing(listing, bundle):
    frames = {
        name: frame.sample(frac=1, random_state=1).reset_index(drop=True)
        for name, frame in two_counties().as_read.items()
    }
    shuffled = support_list(check_county(type(two_counties().as_read)(frames)), bundle, capacity=CAPACITY, lang="en")
    assert json.dumps(shuffled.to_dict()) == json.dumps(listing.to_dict())


# --- since last term --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_last_terms_list_is_the_one_that_was_made_then(listing, scores, bundle):
    then = two_counties().tables["terms"].sort_values("start")["end"].iloc[-2]
    earlier = support_list(two_counties(), bundle, capacity=CAPACITY, as_of=then)
    last, now = set(earlier.targets.frame["student_id"]), set(listing.targets.frame["student_id"])
    assert last == by_hand(scores[1], CAPACITY)
    churn = listing.churn
    assert (churn.kept, churn.new, churn.gone) == (len(now & last), len(now - last), len(last - now))
    assert churn.share_kept == pytest.approx(len(now & last) / len(last))
    changes = churn.frame.set_index("student_id")["change"]
    assert set(changes.index[changes == "new"]) == now - last
    assert set(changes.index[changes == "gone"]) == last - now
    assert (listing.targets.kept, listing.targets.gone) == (churn.kept, churn.gone)
    new = listing.targets.frame.set_index("student_id")["new"]
    assert set(new.index[new]) == now - last


def test_the_cause_of_a_change_is_what_the_two_risks_say(listing, scores):
    now, before = (frame.set_index("student_id")["risk"] for frame in scores)
    for row in listing.churn.frame.itertuples():
        for risk, stated in ((now, row.risk_now), (before, row.risk_before)):
            assert stated == pytest.approx(risk.get(row.student_id, np.nan), nan_ok=True)
        if row.cause in ("risk_rose", "risk_fell"):
            assert (now[row.student_id] > before[row.student_id]) == (row.cause == "risk_rose")
            assert row.group and row.feature, "nothing is said of what moved the risk"
        if row.cause == "left":
            assert row.student_id not in now and len(row.en) > len("has no score this term")
    assert {"risk_rose", "left"} <= set(listing.churn.frame["cause"])


def test_rise_is_the_difference_of_log_odds_of_all_seen_twice(listing, scores):
    now, before = (frame.set_index("student_id")["risk"] for frame in scores)
    both = sorted(set(now.index) & set(before.index))
    rising = listing.rising
    assert sorted(rising.index) == both
    np.testing.assert_allclose(rising.loc[both, "rise"], logit(now[both]) - logit(before[both]), atol=1e-12)
    assert rising["rise"].is_monotonic_decreasing
    frame = listing.targets.frame.set_index("student_id")
    seen = frame.index.intersection(both)
    np.testing.assert_allclose(frame.loc[seen, "rise"], rising.loc[seen, "rise"])
    np.testing.assert_allclose(frame.loc[seen, "risk_before"], before[seen])
    assert frame.loc[frame.index.difference(both), ["rise", "risk_before"]].isna().all(axis=None)


@pytest.mark.slow
def test_in_the_first_term_nothing_is_compared(bundle):
    first = two_counties().tables["terms"].sort_values("start")["end"].iloc[0]
    found = support_list(two_counties(), bundle, capacity=5, as_of=first)
    assert found.churn is None and found.rising.empty
    assert found.targets.kept is None and "new" not in found.targets.frame
    assert found.targets.frame["rise"].isna().all()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["churn"] is None


def test_capacity_for_everybody_lists_everybody_and_says_so(bundle, scores):
    found = support_list(two_counties(), bundle, capacity=100_000)
    assert set(found.targets.frame["student_id"]) == set(scores[0]["student_id"])
    assert {row.cause for row in found.churn.frame.itertuples()} <= {"entered", "left"}
    assert len(found.targets.notes) == 2 and all(note["zh"] and note["en"] for note in found.targets.notes)
    json.dumps(found.to_dict(), allow_nan=False)


def same_roster_twice():
    """A county in the middle of its second term, where nobody has come or gone since the first, and nobody will."""
    tables = junior().as_read
    first, second = tables["terms"].sort_values("start")["term"].iloc[2:4]
    enrolments = tables["enrolments"]
    there = enrolments[enrolments["term"] == second].drop_duplicates("student_id")
    before = there.assign(term=first, enrolled_on=pd.NaT, recorded_at=pd.NaT)
    changes = tables["status_changes"]
    kept = changes[~changes["student_id"].isin(there["student_id"])]
    return check_county(tables.replace(enrolments=pd.concat([before, there], ignore_index=True), status_changes=kept))


@pytest.mark.slow
def test_no_change_at_all_is_no_error(bundle):
    county = same_roster_twice()
    found = support_list(county, bundle, capacity=100_000)
    assert found.churn.new == 0
    assert len(found.churn.frame) == found.churn.gone


@pytest.mark.parametrize("capacity", [1, 2, 3, 5, 8])
def test_changes_on_one_side_only_are_no_error(capacity, bundle):
    """Few places: often everybody who is gone has left, or nobody is gone or new."""
    for place in ("county_id", "school_id"):
        found = support_list(junior(), bundle, capacity=capacity, place=place)
        assert found.churn.new + found.churn.kept == len(found.targets.frame)


# --- places that come and go -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed():
    """The county after one school was closed and its students moved to another; and the name of that school."""
    tables = junior().as_read
    newest = tables["terms"].sort_values("start")["term"].iloc[-1]
    schools = tables["enrolments"].query("term == @newest")["school_id"].value_counts()
    gone, heir = schools.index[-1], schools.index[0]
    enrolments = tables["enrolments"].copy()
    enrolments.loc[(enrolments["term"] == newest) & (enrolments["school_id"] == gone), "school_id"] = heir
    return check_county(tables.replace(enrolments=enrolments)), gone


@pytest.mark.slow
def test_a_closed_school_needs_no_capacity(closed):
    county, gone = closed
    bundle = trained().bundle
    open_schools = set(score(county, bundle).frame["school_id"])
    assert gone not in open_schools
    found = support_list(county, bundle, capacity=dict.fromkeys(open_schools, 4), place="school_id")
    assert set(found.targets.frame["school_id"]) == open_schools
    assert found.churn is not None


@pytest.mark.slow
def test_students_of_a_closed_school_had_a_score_last_term(closed):
    county, gone = closed
    bundle = trained().bundle
    then = county.tables["terms"].sort_values("start")["end"].iloc[-2]
    before = score(county, bundle, as_of=then).frame.set_index("student_id")
    now = score(county, bundle).frame.set_index("student_id")
    moved = before.index[before["school_id"] == gone].intersection(now.index)
    assert len(moved) > 5
    found = support_list(county, bundle, capacity=10_000, place="school_id")
    assert set(found.rising.index) == set(before.index) & set(now.index)
    change = found.churn.frame.set_index("student_id")
    assert not (change.loc[change.index.intersection(moved), "cause"] == "entered").any()


def test_a_floor_that_fits_the_schools_of_today_is_enough(closed):
    """Last term there was a school more: its floor would not fit the capacity of today, which is no fault of today."""
    county, _ = closed
    bundle = trained().bundle
    schools = score(county, bundle).frame["school_id"].nunique()
    found = support_list(county, bundle, capacity=3 * schools, floor_per_school=3)
    assert found.targets.frame.groupby("school_id").size().tolist() == [3] * schools
    with pytest.raises(SettingsError, match="floor of 3"):
        support_list(county, bundle, capacity=3 * schools - 1, floor_per_school=3)


def test_nobody_at_risk_last_term_is_like_no_term_before():
    """A school of ninth grades only: in summer all of them graduate, in autumn others come."""
    county = check_county(make_county(300, terms=4, grades=(9, 9), shift=1.0, seed=5))
    autumn = county.tables["terms"].sort_values("start")["end"].iloc[2]
    found = support_list(county, trained().bundle, capacity=10, as_of=autumn)
    assert len(found.targets.frame) == 10
    assert found.churn is None or found.churn.kept == 0


# --- what a bundle may lack --------------------------------------------------------------------------------------


def test_a_bundle_without_past_lists_says_that_intervals_are_of_chance_alone(bundle):
    bare = replace(bundle, backtest={}, outlook=None, metrics={})
    found = support_list(two_counties(), bare, capacity=10)
    assert found.targets.basis == "risks alone"
    assert "没有回测" in found.targets.verdict["zh"] and "no backtest" in found.targets.verdict["en"]
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be_listed_is_told(bundle):
    with pytest.raises(SettingsError, match="flat table"):
        support_list(two_counties(), replace(bundle, kind="flat"), capacity=5)
    with pytest.raises(SettingsError, match="990102 has no capacity"):
        support_list(two_counties(), bundle, capacity={"990101": 5})
    nines = check_county(make_county(200, terms=2, grades=(9, 9), seed=5))
    with pytest.raises(TableError, match="No student is at risk on 2020-07-10"):
        support_list(nines, bundle, capacity=5)


def test_every_roster_row_is_listed_passed_over_or_refused(listing, scores):
    """The list answers for the whole roster, as the scores do."""
    newest = two_counties().tables["terms"].sort_values("start")["term"].iloc[-1]
    rows_in = (two_counties().as_read["enrolments"]["term"] == newest).sum()
    assert listing.targets.overall["students"] == len(scores[0])
    assert len(scores[0]) + len(listing.refused) == rows_in
    assert listing.as_of == scores_day()
    assert (pd.Timestamp(listing.expires) - pd.Timestamp(listing.as_of)).days == TERM_DAYS


def scores_day():
    return str(two_counties().tables["terms"]["end"].max().date())


def test_the_listing_is_strict_json_with_whole_numbers_as_numbers(listing):
    made = json.loads(json.dumps(listing.to_dict(), allow_nan=False))
    assert {
        "as_of",
        "expires",
        "verdict",
        "overall",
        "places",
        "students",
        "lottery",
        "notes",
        "rules",
        "churn",
    } <= set(made)
    for student in made["students"]:
        assert type(student["list_place"]) is int and type(student["risk"]) is float and type(student["drawn"]) is bool
    for place in made["places"]:
        assert type(place["listed"]) is int and place["low"] <= place["expected"] <= place["high"]
    assert {rule["name"] for rule in made["rules"]} == {
        "absence_rule", "school_mean", "poverty_list", "last_grades", "random",
    }  # fmt: skip
