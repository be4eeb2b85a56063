"""The support list: capacity per place, a recorded draw between ties, and an honest yield."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_risk.errors import InputError, SettingsError
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
