"""How far students have moved from those in training: an index that is right, and a profile that tells of nobody."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from trained_county import junior, trained

from dropout_risk.descriptions import FEATURES
from dropout_risk.profile import BINS, counts_in, profile_of, stability_index
from dropout_risk.service.drift import ENOUGH, WINDOW, Drift

SHARES = st.lists(st.integers(1, 50), min_size=2, max_size=12).map(lambda counts: np.array(counts, dtype=float))
VALUES = arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")))


# ---------------------------------------------------------------------------------------- the index


@given(counts=SHARES, times=st.integers(1, 1000))
def test_the_index_of_the_same_shares_is_zero_however_many_came(counts: np.ndarray, times: int) -> None:
    assert stability_index(counts / counts.sum(), counts * times) == pytest.approx(0.0, abs=1e-12)


@given(before=SHARES, now=SHARES)
def test_the_index_is_never_negative_and_the_same_in_both_directions(before: np.ndarray, now: np.ndarray) -> None:
    size = min(len(before), len(now))
    before, now = before[:size], now[:size]
    index = stability_index(before / before.sum(), now)
    assert index >= 0
    assert index == pytest.approx(stability_index(now / now.sum(), before))


@given(counts=SHARES, steps=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_index_grows_with_the_share_that_moves_away(counts: np.ndarray, steps: list[float]) -> None:
    shares = counts / counts.sum()
    gone = np.zeros_like(shares)
    gone[np.argmin(shares)] = 1.0
    moved = [stability_index(shares, 1000 * ((1 - step) * shares + step * gone)) for step in sorted(steps)]
    assert all(later >= earlier - 1e-12 for earlier, later in zip(moved, moved[1:], strict=False))


def test_an_empty_bin_is_no_infinity_and_no_student_no_number() -> None:
    assert np.isfinite(stability_index(np.array([1.0, 0.0]), np.array([0.0, 5.0])))
    assert np.isnan(stability_index(np.array([0.5, 0.5]), np.zeros(2)))


# ---------------------------------------------------------------------------------------- bins


@given(values=VALUES)
def test_every_value_lies_in_one_bin(values: np.ndarray) -> None:
    bins = profile_of(pd.DataFrame({"x": values}), values)["features"]["x"]
    counts = counts_in(bins, pd.Series(values))
    assert counts.sum() == len(values)
    assert counts[-1] == np.isnan(values).sum()
    assert len(counts) == len(bins["shares"]) <= BINS + 1
    assert sum(bins["shares"]) == pytest.approx(1, abs=1e-4)


@given(values=st.lists(st.sampled_from(["bus", "foot", None]), min_size=1), more=st.lists(st.text(max_size=3)))
def test_a_level_that_is_new_counts_as_missing(values: list[str | None], more: list[str]) -> None:
    column = pd.Series(pd.Categorical(values, categories=["bus", "foot"]))
    bins = profile_of(pd.DataFrame({"route": column}), np.array([0.1]))["features"]["route"]
    assert bins["levels"] == ["bus", "foot"]
    counts = counts_in(bins, pd.Series([*values, *more], dtype=object))
    known = [*values, *more].count("bus"), [*values, *more].count("foot")
    assert counts.tolist() == [*known, len(values) + len(more) - sum(known)]


# ---------------------------------------------------------------------------------------- the profile


@given(values=st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=60))
def test_a_profile_is_shares_and_no_more_of_a_column_than_its_deciles(values: list[float]) -> None:
    profile = profile_of(pd.DataFrame({"km": values}), np.array(values))
    assert set(profile) == {"rows", "risk", "features"}
    bins = profile["features"]["km"]
    assert set(bins) == {"edges", "shares"}
    assert len(bins["edges"]) <= BINS - 1
    json.dumps(profile, allow_nan=False)


def test_no_value_of_a_single_student_is_in_a_profile() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=501).round(6)  # no two alike, and the deciles are values
    values[7], values[8] = 987654.321, -987654.321  # and two that everybody would recognise
    profile = profile_of(pd.DataFrame({"km": values}), values)
    for bins in (profile["features"]["km"], profile["risk"]):
        assert len(bins["edges"]) == BINS - 1
        assert not set(bins["edges"]) & set(values)
        assert max(map(abs, bins["edges"])) < 10
        assert bins["shares"] == pytest.approx([1 / BINS] * BINS + [0], abs=0.01)


def test_few_students_leave_no_value_of_theirs_in_a_profile() -> None:
    profile = profile_of(pd.DataFrame({"km": [123.456, 1.5, np.nan]}), np.array([0.111, np.nan]))
    told = json.dumps(profile)
    for value in ("123.456", "1.5", "0.111"):
        assert value not in told


@given(days=st.lists(st.integers(0, 5), min_size=100, max_size=300))
def test_values_that_many_share_are_kept_apart(days: list[int]) -> None:
    bins = profile_of(pd.DataFrame({"days": np.array(days, dtype=float)}), np.array([]))["features"]["days"]
    assert all(edge % 1 == pytest.approx(0.5) or len(set(days)) < 6 for edge in bins["edges"])
    assert max(bins["shares"]) >= max(map(days.count, days)) / len(days) - 1e-6


def test_the_profile_of_a_model_is_of_its_features_and_names_nobody() -> None:
    bundle = trained().bundle
    profile = bundle.data["profile"]
    assert set(profile["features"]) == set(bundle.model.feature_names)
    assert profile["rows"] == bundle.data["rows"]
    told = json.dumps(profile)
    assert not [name for name in junior().tables["students"]["student_id"] if name in told]


# ---------------------------------------------------------------------------------------- drift


def students(n: int, *, away: float = 0.0, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"absence_rate": rng.beta(2, 20, n) + away, "distance_km": rng.gamma(2, 2, n)})
    return X, rng.beta(2, 30, n)


@pytest.fixture
def profile() -> dict[str, Any]:
    return profile_of(*students(5000))


def test_students_like_those_in_training_have_not_moved(profile: dict[str, Any]) -> None:
    drift = Drift(profile)
    drift.note(*students(2000, seed=1))
    groups = {FEATURES[name].group for name in ("absence_rate", "distance_km")}
    assert set(drift.indices()) == {*groups, "risk"}
    assert max(drift.indices().values()) < 0.05


@given(steps=st.lists(st.floats(0.0, 0.5), min_size=2, max_size=4, unique=True))
def test_the_further_they_move_the_larger_is_the_index(steps: list[float]) -> None:
    profile = profile_of(*students(2000))
    found = []
    for away in sorted(steps):
        drift = Drift(profile)
        drift.note(*students(1000, away=away))
        found.append(drift.indices()[FEATURES["absence_rate"].group])
    assert all(later >= earlier - 0.02 for earlier, later in zip(found, found[1:], strict=False))


def test_nothing_is_told_before_enough_have_come(profile: dict[str, Any]) -> None:
    drift = Drift(profile)
    drift.note(*students(ENOUGH - 1))
    assert drift.indices() == {}
    drift.note(*students(1))
    assert drift.indices()


@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=12))
def test_older_students_fade_and_the_counts_stay_bounded(sizes: list[int]) -> None:
    drift = Drift(profile_of(*students(300)))
    for size in sizes:
        drift.note(*students(size))
    counts = drift._counts["absence_rate"].sum()
    assert counts == pytest.approx(min(sum(sizes), max(WINDOW, *sizes)))


def test_after_a_window_of_others_the_first_ones_are_forgotten(profile: dict[str, Any]) -> None:
    drift = Drift(profile)
    drift.note(*students(WINDOW, away=0.5))
    far = drift.indices()["attendance"]
    for seed in range(4):
        drift.note(*students(WINDOW // 2, seed=seed))
    assert drift.indices()["attendance"] < 0.05 < far


@given(order=st.permutations(["absence_rate", "distance_km", "route", "new"]), left_out=st.integers(0, 3))
def test_columns_of_any_kind_and_order_are_counted_one_by_one(order: list[str], left_out: int) -> None:
    (training, risk), (X, _) = students(300), students(60, away=0.1, seed=1)
    routes = pd.Categorical(["bus", "foot", None] * 100)
    drift = Drift(made := profile_of(training.assign(route=routes), risk))
    X = X.assign(route=pd.Categorical(["foot", "boat", None] * 20), new="?")
    X.loc[3, "distance_km"] = np.nan
    drift.note(X[order[left_out:]], risk[:60])
    for name, bins in made["features"].items():
        counts = counts_in(bins, X[name]) if name in order[left_out:] else np.zeros(len(bins["shares"]))
        assert drift._counts[name].tolist() == counts.tolist()
    assert drift._counts["risk"].tolist() == counts_in(made["risk"], pd.Series(risk[:60])).tolist()


def test_a_model_without_a_profile_tells_nothing() -> None:
    drift = Drift({})
    drift.note(*students(500))
    assert drift.indices() == {}
