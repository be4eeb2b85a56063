"""The support list: capacity per place, a recorded draw between ties, and an honest yield."""

import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.backtest import Backtest
from dropout_risk.capacity import Capacity, draw_number
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.schema import SCHOOLS
from dropout_risk.targets import target_list


def scored(risks, places=None, column="county_id"):
    """Return scores of students s000, s001, ... whose places are the letters of `places` (all x)."""
    ids = [f"s{i:03d}" for i in range(len(risks))]
    return pd.DataFrame({"student_id": ids, column: list(places or "x" * len(risks)), "risk": risks})


def listed(result):
    return result.frame["student_id"].tolist()


def test_the_list_is_the_top_of_each_place():
    scores = scored([0.1, 0.5, 0.3, 0.9, 0.8, 0.7], places="xxxyyy")
    result = target_list(scores, capacity={"x": 1, "y": 2})
    assert listed(result) == ["s001", "s003", "s004"]
    assert result.frame["list_place"].tolist() == [1, 1, 2]
    assert result.places["students"].to_dict() == {"x": 3, "y": 3}
    assert result.places["capacity"].to_dict() == {"x": 1, "y": 2}
    assert result.places["listed"].to_dict() == {"x": 1, "y": 2}


def test_one_capacity_holds_for_every_place():
    result = target_list(scored([0.1, 0.5, 0.9, 0.8], places="xxyy"), capacity=1)
    assert listed(result) == ["s001", "s002"]


def test_the_place_may_be_the_school():
    result = target_list(scored([0.1, 0.5, 0.9], places="xyy", column="school_id"), capacity=1, place="school_id")
    assert listed(result) == ["s000", "s002"]


def test_a_capacity_beyond_the_place_lists_everybody():
    result = target_list(scored([0.1, 0.5]), capacity=10)
    assert listed(result) == ["s001", "s000"]
    assert result.places.loc["x", ["students", "capacity", "listed", "ties"]].tolist() == [2, 10, 2, 0]


def test_capacity_for_a_place_without_students_does_no_harm():
    assert listed(target_list(scored([0.1, 0.5]), capacity={"x": 1, "elsewhere": 3})) == ["s001"]


risks = st.lists(st.sampled_from([0.05, 0.1, 0.2, 0.2, 0.7]), min_size=1, max_size=25)


@pytest.mark.slow
@given(risks=risks, capacity=st.integers(1, 12), seed=st.integers(0, 3), data=st.data())
@settings(deadline=None, max_examples=25)
def test_the_list_by_its_definition(risks, capacity, seed, data):
    places = data.draw(st.lists(st.sampled_from("xyz"), min_size=len(risks), max_size=len(risks)))
    scores = scored(risks, places)
    result = target_list(scores, capacity=capacity, seed=seed)
    for place, rows in scores.groupby("county_id"):
        mine = result.frame[result.frame["county_id"] == place]
        assert len(mine) == min(capacity, len(rows))
        assert mine["risk"].tolist() == sorted(rows["risk"], reverse=True)[: len(mine)]
        assert mine["list_place"].tolist() == list(range(1, len(mine) + 1))
        lowest = mine["risk"].min()
        left_out = rows[~rows["student_id"].isin(mine["student_id"])]
        tied = (left_out["risk"] == lowest).any()
        assert (mine["drawn"] == ((mine["risk"] == lowest) & tied)).all()
        assert result.places.loc[place, "ties"] == (rows["risk"] == lowest).sum() * tied
        assert result.places.loc[place, "expected"] == pytest.approx(mine["risk"].sum())
        low, high = result.places.loc[place, ["low", "high"]]
        assert 0 <= low <= high <= len(mine)
    order = data.draw(st.permutations(range(len(risks))))
    again = target_list(scores.iloc[list(order)], capacity=capacity, seed=seed)
    pd.testing.assert_frame_equal(again.frame, result.frame)
    pd.testing.assert_frame_equal(again.places, result.places)


def test_the_draw_is_recorded_and_repeatable():
    scores = scored([0.2] * 50)
    first, again = (target_list(scores, capacity=5, seed=3) for _ in range(2))
    assert listed(first) == listed(again)
    assert first.seed == 3
    assert first.frame["drawn"].all()
    assert first.places.loc["x", "ties"] == 50
    assert listed(first) != listed(target_list(scores, capacity=5, seed=4))


@pytest.mark.slow
def test_the_draw_favours_nobody():
    scores = scored([0.2] * 10)
    chosen = pd.Series([name for seed in range(60) for name in listed(target_list(scores, capacity=3, seed=seed))])
    counts = chosen.value_counts().reindex(scores["student_id"], fill_value=0)
    assert counts.sum() == 180
    assert counts.between(4, 32).all()  # 18 each; the bounds are four standard errors away


def test_labels_of_the_index_may_repeat():
    """As after `pd.concat` of the scores of several schools."""
    parts = [scored([0.1, 0.5], "xx"), scored([0.9, 0.8], "yy").assign(student_id=["a0", "a1"])]
    assert listed(target_list(pd.concat(parts), capacity=1)) == ["s001", "a0"]


def test_the_columns_of_the_scores_come_along():
    scores = scored([0.1, 0.5]).assign(band=["low", "high"])
    result = target_list(scores, capacity=1)
    assert result.frame["band"].tolist() == ["high"]
    assert not [column for column in result.frame if column.startswith("_")]
    assert "drawn" not in scores
    assert "list_place" not in scores


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_covers_the_true_number_of_cases(confidence):
    rng = np.random.default_rng(1)
    scores = scored(rng.beta(1, 8, 300))
    result = target_list(scores, capacity=60, confidence=confidence)
    row = result.places.loc["x"]
    counts = (rng.random((20_000, 60)) < result.frame["risk"].to_numpy()).sum(axis=1)
    covered = ((counts >= row["low"]) & (counts <= row["high"])).mean()
    narrower = ((counts > row["low"]) & (counts < row["high"])).mean()
    assert counts.mean() == pytest.approx(row["expected"], rel=0.01)
    assert narrower - 0.01 <= confidence <= covered + 0.01


def test_the_interval_is_the_same_for_the_same_seed():
    scores = scored(np.linspace(0.01, 0.6, 40))
    frames = [target_list(scores, capacity=20, seed=2).places for _ in range(2)]
    pd.testing.assert_frame_equal(*frames)


def test_all_faults_are_named_at_once():
    scores = scored([0.1, 0.2, 0.3, 0.4], places="wxyz")
    with pytest.raises(SettingsError) as caught:
        target_list(scores, capacity={"w": 0, "x": -2, "y": 1})
    text = str(caught.value)
    assert "capacity of w is 0" in text
    assert "capacity of x is -2" in text
    assert "z has no capacity" in text
    assert "of y" not in text


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity):
    with pytest.raises(SettingsError, match="1 or more"):
        target_list(scored([0.1]), capacity=capacity)


@pytest.mark.parametrize("column", ["risk", "county_id", "student_id"])
def test_a_missing_column_is_named(column):
    with pytest.raises(InputError, match=column):
        target_list(scored([0.1, 0.2]).drop(columns=column), capacity=1)


@pytest.mark.parametrize("risk", [np.nan, -0.1, 1.2])
def test_what_is_no_probability_is_refused(risk):
    with pytest.raises(InputError, match="risk"):
        target_list(scored([0.1, risk]), capacity=1)


def test_a_student_without_a_place_is_not_lost_silently():
    with pytest.raises(InputError, match="county_id"):
        target_list(scored([0.1, 0.2], places=["x", None]), capacity=1)


def test_the_list_is_plain_data():
    result = target_list(scored([0.1, 0.5, 0.5], places="xyy"), capacity=1)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["seed"] == 0
    assert [place["place"] for place in data["places"]] == ["x", "y"]
    assert [student["student_id"] for student in data["students"]] == listed(result)


# --- the capacity contract ------------------------------------------------------------------------------


def test_capacity_is_workers_times_students_per_worker():
    scores = scored(np.linspace(0.1, 0.9, 30), places="x" * 10 + "y" * 20)
    result = target_list(scores, capacity=Capacity(workers={"x": 1, "y": 3}, per_worker=4))
    assert result.places["listed"].to_dict() == {"x": 4, "y": 12}
    assert target_list(scores, capacity=Capacity(workers=2, per_worker=3)).places["capacity"].tolist() == [6, 6]


@pytest.mark.parametrize(
    ("capacity", "text"),
    [
        (Capacity(), "either workers or students"),
        (Capacity(workers=1, students=2), "either workers or students"),
        (Capacity(workers=0), "the capacity is 0"),
        (Capacity(workers=1, per_worker=0), "students per worker is 0"),
        (Capacity(workers={"x": 1}), "y has no capacity"),
        (2.5, "the capacity is 2.5"),
    ],
)
def test_a_capacity_that_makes_no_sense_is_refused(capacity, text):
    with pytest.raises(SettingsError, match=text):
        target_list(scored([0.1, 0.2], places="xy"), capacity=capacity)


def test_the_place_may_be_the_township():
    scores = scored([0.1, 0.5, 0.9], places="xyy", column="township_id")
    assert listed(target_list(scores, capacity=1, place="township_id")) == ["s000", "s002"]
    with pytest.raises(SettingsError, match="choose county_id, township_id, school_id"):
        target_list(scores, capacity=1, place="village_id")


def test_the_schools_may_name_their_township():
    column = SCHOOLS["township_id"]
    assert {"乡镇街道", "township"} <= set(column.aliases)
    assert (column.role, column.required) == ("key", False)


def in_schools(risks, schools):
    return scored(risks).assign(school_id=list(schools))


def best_lists(risks, schools, capacity, floor):
    """All lists that meet every floor and hold the highest risks possible, by trying every list in order of risk."""
    floors = {school: min(floor, list(schools).count(school)) for school in set(schools)}
    size = min(capacity, len(risks))
    found = set()
    for order in permutations(range(len(risks))):
        if [risks[i] for i in order] != sorted(risks, reverse=True):
            continue
        chosen = {i for school in floors for i in [j for j in order if schools[j] == school][: floors[school]]}
        chosen |= set([i for i in order if i not in chosen][: size - len(chosen)])
        found.add(frozenset(chosen))
    return found


@pytest.mark.slow
@given(data=st.data(), n=st.integers(1, 6), capacity=st.integers(1, 7), floor=st.integers(0, 2), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_the_floors_by_trying_every_order(data, n, capacity, floor, seed):
    values = data.draw(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=n, max_size=n))
    schools = data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    needed = sum(min(floor, schools.count(school)) for school in set(schools))
    scores = in_schools(values, schools)
    if needed > capacity:
        with pytest.raises(SettingsError, match=f"x needs {needed} but has {capacity}"):
            target_list(scores, capacity=capacity, floor_per_school=floor, seed=seed)
        return
    result = target_list(scores, capacity=capacity, floor_per_school=floor, seed=seed)
    chosen = frozenset(int(name[1:]) for name in listed(result))
    possible = best_lists(values, schools, capacity, floor)
    assert chosen in possible
    # Who is on some of the possible lists but not on all was drawn, and nobody else.
    drawn = {i for i in range(n) if 0 < sum(i in one for one in possible) < len(possible)}
    assert drawn <= {int(name[1:]) for name in result.ties["student_id"]}
    without = target_list(scores, capacity=capacity, seed=seed)
    assert set(result.frame.loc[result.frame["by_floor"], "student_id"]) == set(listed(result)) - set(listed(without))


def test_floors_that_exceed_the_capacity_are_all_named():
    scores = in_schools([0.1] * 6, "abcdef").assign(county_id=list("xxxyyz"))
    with pytest.raises(SettingsError) as caught:
        target_list(scores, capacity={"x": 2, "y": 1, "z": 1}, floor_per_school=1)
    text = str(caught.value)
    assert "x needs 3 but has 2; y needs 2 but has 1" in text
    assert "z" not in text.split(".")[0].split(":")[1]
    assert "Lower the floor, or add capacity" in text


def test_every_problem_is_told_at_once():
    scores = scored([0.1, np.nan, 0.3, 1.4], places=["x", "x", None, "y"])
    scores["student_id"] = ["s1", "s1", "s2", "s3"]
    with pytest.raises(InputError) as caught:
        target_list(scores, capacity={"x": 0}, confidence=2, rules={"r": [1.0, 2.0]})
    for part in (
        "1 students have no county_id", "1 rows repeat a student_id", "1 students have no risk",
        "no probabilities", "The rule r needs one score for each of the 4", "capacity of x is 0",
        "y has no capacity", "confidence is 2",
    ):  # fmt: skip
        assert part in str(caught.value)
    assert "s1" not in str(caught.value)
    with pytest.raises(ColumnsError, match="risk, county_id, school_id"):
        target_list(scores[["student_id"]], capacity=1, floor_per_school=1)


def test_what_cannot_be_used_is_a_note_and_no_error():
    result = target_list(scored([0.1, 0.2, 0.3], places="xxy"), capacity={"x": 5, "y": 1, "w": 2})
    assert len(result.frame) == 3
    assert [note["en"] for note in result.notes] == [
        "The county x can support 5 students but has 2; all are listed.",
        "The county w has a capacity but no scored student; check its code or its roster.",
    ]
    assert all("县" in note["zh"] for note in result.notes)


def test_an_empty_roster_gives_an_empty_list():
    result = target_list(scored([0.1]).head(0), capacity={"x": 3})
    assert len(result.frame) == len(result.places) == len(result.ties) == 0
    assert result.overall["listed"] == 0
    json.dumps(result.to_dict(), allow_nan=False)


# --- the draw ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_other_places_and_the_order_of_rows_change_nothing(data, seed):
    values = data.draw(st.lists(st.sampled_from([0.1, 0.2]), min_size=2, max_size=12))
    schools = data.draw(st.lists(st.sampled_from("ab"), min_size=len(values), max_size=len(values)))
    mine = in_schools(values, schools)
    other = in_schools([0.2] * 5, "ccccc").assign(student_id=[f"t{i}" for i in range(5)], county_id="w")
    both = pd.concat([other, mine])
    both = both.iloc[data.draw(st.permutations(range(len(both))))]
    alone, together = (
        target_list(rows, capacity=3, floor_per_school=1, seed=seed, previous=["s000"]) for rows in (mine, both)
    )
    mine_again = together.frame[together.frame["county_id"] == "x"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine_again, alone.frame)
    pd.testing.assert_frame_equal(together.places.loc[["x"]], alone.places)
    ties = together.ties[together.ties["county_id"] == "x"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ties, alone.ties)


def test_the_record_of_the_draw_lets_anybody_repeat_it():
    scores = scored([0.9, 0.2, 0.2, 0.2, 0.2, 0.1])
    result = target_list(scores, capacity=3, seed=11)
    record = json.loads(json.dumps(result.to_lottery_record(), allow_nan=False))
    assert record["seed"] == 11
    tied = record["students"]
    assert [row["student_id"] for row in tied] == sorted(
        ["s001", "s002", "s003", "s004"], key=lambda name: draw_number(11, name)
    )
    assert [row["listed"] for row in tied] == [True, True, False, False]
    assert all(row["draw"] == draw_number(record["seed"], row["student_id"]) for row in tied)


@pytest.mark.slow
def test_every_tied_student_has_the_same_chance():
    """Two of four: each of the six pairs is as likely."""
    scores = scored([0.2] * 4)
    pairs = pd.Series([tuple(sorted(listed(target_list(scores, capacity=2, seed=s)))) for s in range(240)])
    counts = pairs.value_counts()
    assert len(counts) == 6
    assert counts.between(16, 64).all()  # 40 each; four standard errors are 23


def test_a_tie_at_the_floor_of_a_school_is_recorded_as_such():
    result = target_list(in_schools([0.9, 0.8, 0.1, 0.1], "aabb"), capacity=3, floor_per_school=1)
    assert result.ties["cut"].tolist() == ["school", "school"]
    assert result.ties["listed"].tolist() == [True, False]
    assert result.frame["drawn"].tolist() == [False, False, True]
    assert result.frame["by_floor"].tolist() == [False, False, False]


# --- what the list is worth ---------------------------------------------------------------------------------


def test_the_whole_list_adds_up():
    rng = np.random.default_rng(3)
    scores = scored(rng.beta(1, 9, 300), places="xyz" * 100).assign(school_id=list("abcdef" * 50))
    result = target_list(scores, capacity=20, place="county_id")
    whole = result.overall
    assert whole["students"] == 300
    assert whole["listed"] == 60
    assert whole["expected"] == pytest.approx(result.frame["risk"].sum())
    assert whole["expected"] + whole["missed"] == pytest.approx(scores["risk"].sum())
    assert whole["found"] == pytest.approx(whole["expected"] / scores["risk"].sum())
    assert result.places["missed"].sum() == pytest.approx(whole["missed"])
    # Chance in different places is independent, so the whole interval is narrower than the sum of the places'.
    assert whole["high"] - whole["low"] < (result.places["high"] - result.places["low"]).sum()
    for name in ("missed", "found", "one_more", "one_fewer"):
        assert whole[f"{name}_low"] <= whole[name] <= whole[f"{name}_high"]


def test_one_worker_more_or_fewer():
    scores = scored(np.linspace(0.9, 0.1, 9), places="xxxxxxyyy")
    result = target_list(scores, capacity=Capacity(students=3, per_worker=2))
    x, y = (result.places.loc[name] for name in "xy")
    assert x["one_more"] == pytest.approx(0.6 + 0.5)
    assert x["one_fewer"] == pytest.approx(0.8 + 0.7)
    assert np.isnan(y["one_more"])  # everybody is listed
    assert y["one_fewer"] == pytest.approx(0.2 + 0.1)
    assert result.overall["one_more_place"] == "x"
    assert result.overall["one_fewer_place"] == "y"
    assert result.overall["one_fewer"] == pytest.approx(0.3)


def test_one_worker_fewer_does_not_touch_the_floors():
    result = target_list(
        in_schools([0.9, 0.8, 0.1], "aab"), capacity=Capacity(students=3, per_worker=3), floor_per_school=1
    )
    assert result.places.loc["x", "one_fewer"] == pytest.approx(0.8)


def evidence(n=4000, *, good=True, seed=0):
    """Return the backtest of a calibrated model over four terms of 25 schools, beside a useless and a perfect rule."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(0.6, 8, n)
    y = rng.random(n) < risk
    rules = {"random": rng.random(n)} | ({} if good else {"oracle": y.astype(float)})
    return Backtest.of(y, risk, np.arange(n) % 25, np.arange(n) % 4, rules)


def test_a_backtest_widens_the_interval_and_is_named():
    scores = scored(np.random.default_rng(1).beta(0.6, 8, 2000)).assign(school_id=[str(i % 25) for i in range(2000)])
    alone = target_list(scores, capacity=200)
    backed = target_list(scores, capacity=200, backtest=evidence())
    assert (alone.basis, backed.basis) == ("risks alone", "backtest")
    width = [result.overall["high"] - result.overall["low"] for result in (alone, backed)]
    assert width[0] < width[1] < 2.5 * width[0]
    assert backed.overall["expected"] == pytest.approx(alone.overall["expected"], rel=0.1)


def test_rules_are_compared_by_overlap_and_by_the_backtest():
    scores = scored([0.9, 0.8, 0.2, 0.1])
    rules = {"random": [0.1, 0.9, 0.8, 0.2], "mine": [4.0, 3.0, 2.0, 1.0]}
    result = target_list(scores, capacity=2, rules=rules, backtest=evidence())
    by_name = {rule["name"]: rule for rule in result.rules}
    assert by_name["random"]["shared"] == 1
    assert by_name["mine"]["shared"] == 2
    assert by_name["mine"]["worth"] is None
    assert by_name["random"]["worth"].low > 0
    assert by_name["random"]["zh"] == "随机抽取"
    assert "found more cases" in result.verdict["en"]
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_rule_that_is_as_good_is_said_plainly():
    result = target_list(scored([0.9, 0.8, 0.2, 0.1]), capacity=1, backtest=evidence(good=False))
    assert "was not better" in result.verdict["en"]
    assert "oracle" in result.verdict["en"]
    assert "drawn by lot" not in result.verdict["en"]
    assert "并不优于" in result.verdict["zh"]
    assert "not known" in target_list(scored([0.9]), capacity=1).verdict["en"]


def test_the_previous_list_is_compared():
    result = target_list(scored([0.9, 0.8, 0.2]), capacity=2, previous=["s001", "s002", "gone"])
    assert result.frame["new"].tolist() == [True, False]
    assert (result.kept, result.gone) == (1, 2)
    assert "new" not in target_list(scored([0.9]), capacity=1).frame


@pytest.mark.slow
def test_memory_grows_with_the_students_and_not_with_the_draws():
    import tracemalloc

    scores = scored(np.random.default_rng(0).beta(1, 20, 60_000), places=[f"c{i % 3}" for i in range(60_000)])
    tracemalloc.start()
    target_list(scores, capacity=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # one matrix of 2000 draws by 60,000 students has 960 MB
