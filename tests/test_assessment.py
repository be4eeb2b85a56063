"""What a model rests on, against the slow obvious way; and nobody is recognised in it."""

import json
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained_county import trained, two_counties

from dropout_risk.assessment import (
    BEESWARM_FEATURES,
    BEESWARM_POINTS,
    EXAMPLE_REASONS,
    MIN_EXAMPLE_STUDENTS,
    drivers,
    gain_shares,
    kept_share,
    missing_values,
    typical_reasons,
)
from dropout_risk.cohort import cohorts
from dropout_risk.county import newest_day
from dropout_risk.descriptions import FEATURES, GROUPS
from dropout_risk.explanation import explain
from dropout_risk.features import build_features
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.training import Training

KEYS = {
    "validation", "data", "evaluation", "held_out", "sensitive", "stability", "coverage", "missing", "drivers",
    "reasons", "help", "oracle", "alarms", "notes",
}  # fmt: skip

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def training() -> Training:
    return trained("two_counties")


@pytest.fixture(scope="module")
def made(training):
    return training.assessment.to_dict()


@pytest.fixture(scope="module")
def roster():
    return build_features(two_counties().tables, newest_day(two_counties()))


@pytest.fixture(scope="module")
def explanation(training, roster):
    return explain(training.bundle.model, roster)


def table(n=800, seed=0):
    """A flat table with numbers, whole numbers, booleans and categories, some of them missing."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "km": rng.gamma(2, 2, n),
            "absent": rng.poisson(2, n),
            "poor": rng.random(n) < 0.3,
            "work": pd.Categorical(rng.choice(["farm", "none", "shop"], n)),
            "never_known": np.nan,
        }
    )
    X.loc[::5, "km"] = np.nan
    X.loc[::11, "work"] = None
    y = (rng.random(n) < 1 / (1 + np.exp(2.5 - 0.7 * X["absent"] - X["poor"]))).astype(int)
    return X, y


def length_of_list(share, n):
    """Return how many of n students a list of a share holds: the whole ones, and one at least."""
    return max(1, int(share * n + 1e-9))


# --- the whole ------------------------------------------------------------------------------------------------


def plain(value):
    """Whether a value is made of what JSON knows, and of nothing that only looks like it."""
    if isinstance(value, Mapping):
        return all(type(name) is str and plain(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool)


@pytest.mark.slow
def test_the_assessment_has_every_part_and_is_strict_json(made, training):
    assert set(made) == KEYS
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert plain(made)
    assert training.bundle.metrics == made
    assert set(made["data"]) >= {
        "rows",
        "events",
        "terms",
        "counties",
        "schools",
        "as_of",
        "preset",
        "horizon",
        "digest",
    }
    assert made["evaluation"] == training.evaluation.to_dict()
    assert made["held_out"]["unit"] == "county" and made["held_out"]["places"] == 2
    assert set(made["stability"]) == {"share", "refit", "late_attendance"}
    assert set(made["drivers"]) == {"groups", "features", "beeswarm"}
    assert made["help"] is None, "nobody was helped"
    assert set(made["oracle"]) == {"auc_difference", "average_precision_difference"}


@pytest.mark.slow
def test_the_data_in_brief_counts_what_was_learned(made):
    learned = cohorts(two_counties().tables)
    data = made["data"]
    assert (data["rows"], data["events"]) == (len(learned.y), learned.y.sum())
    assert data["terms"] == sorted(set(learned.X.index.get_level_values("term")))
    assert (data["counties"], data["schools"]) == (2, learned.schools["school_id"].nunique())
    assert data["as_of"] == str(newest_day(two_counties()).date())


@pytest.mark.slow
def test_the_backtest_and_the_risks_are_those_of_the_judged_rows(training):
    learned, assessment = cohorts(two_counties().tables), training.assessment
    assert assessment.risk.shape == learned.y.shape
    assert (~np.isnan(assessment.risk)).sum() == training.evaluation.n_rows
    assert training.bundle.backtest == assessment.backtest.to_dict()


def test_no_child_and_no_school_is_in_the_assessment(made, training, roster):
    text = json.dumps(made, ensure_ascii=False)
    schools = set(two_counties().tables["schools"]["school_id"])
    words = set(re.findall(r"[A-Za-z0-9_-]+", text))
    assert not words & set(roster.index)
    assert not words & schools


def test_an_honest_model_is_not_above_the_truth_and_raises_no_alarm(made):
    assert all(figure["low"] <= 0 for figure in made["oracle"].values())
    assert made["alarms"] == []


@pytest.mark.parametrize("part", ["validation", "notes", "alarms", "missing", "coverage"])
def test_every_text_is_there_in_both_languages(made, part):
    found = made[part]["causes"] if part == "coverage" else made[part]
    for text in found if isinstance(found, list) else [found]:
        assert CHINESE.search(text["zh"]), text
        assert text["en"] and not CHINESE.search(text["en"]), text


# --- drivers --------------------------------------------------------------------------------------------------


def test_gain_shares_are_those_that_lightgbm_reports(training, explanation):
    total: dict[str, float] = {}
    model = training.bundle.model
    assert model.kind_ == "boosted"
    for booster in model.boosters_:
        dumped = booster.dump_model()
        for tree in dumped["tree_info"]:
            nodes = [tree["tree_structure"]]
            while nodes:
                node = nodes.pop()
                if "split_gain" in node:
                    column = node["split_feature"]
                    total[column] = total.get(column, 0.0) + node["split_gain"]
                    nodes += [node["left_child"], node["right_child"]]
    names = sorted(model.feature_names)
    shares = gain_shares(model, explanation)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(model.feature_names)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for column, name in enumerate(names):
        assert shares[name] == pytest.approx(total.get(column, 0.0) / sum(total.values()), rel=1e-4), name


def test_columns_in_another_order_have_the_same_gain():
    """Trees know columns by number: the feature that tells everything must be named whatever its place."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((1500, 3)), columns=["zebra", "apple", "mango"])
    y = (rng.random(1500) < np.where(X["zebra"] > 0.7, 0.6, 0.05)).astype(int)
    for columns in (["zebra", "apple", "mango"], ["mango", "zebra", "apple"]):
        model = DropoutRiskClassifier(small_data="boosted", n_estimators=20).fit(X[columns], y)
        shares = gain_shares(model, explain(model, X[columns][:50]))
        assert max(shares, key=shares.get) == "zebra" and shares["zebra"] > 0.6


def test_a_logistic_model_has_shares_by_its_contributions():
    X, y = table()
    model = DropoutRiskClassifier(small_data="logistic").fit(X.drop(columns="never_known"), y)
    found = explain(model, X.drop(columns="never_known"))
    shares = gain_shares(model, found)
    size = np.abs(found.values).mean(axis=0)
    for name, share in zip(found.feature_names, size / size.sum(), strict=True):
        assert shares[name] == pytest.approx(share)


def test_shares_of_groups_are_the_sums_of_their_features(training, explanation):
    found = drivers(explanation, gain_shares(training.bundle.model, explanation))
    assert sum(group["share"] for group in found["groups"]) == pytest.approx(1)
    size = {name: np.abs(explanation.values[:, i]).mean() for i, name in enumerate(explanation.feature_names)}
    assert {row["feature"]: row["mean_abs"] for row in found["features"]} == pytest.approx(size)
    assert [row["mean_abs"] for row in found["features"]] == pytest.approx(sorted(size.values(), reverse=True))
    for group in found["groups"]:
        own = sum(value for name, value in size.items() if FEATURES[name].group == group["group"])
        assert group["share"] == pytest.approx(own / sum(size.values()))
        assert (group["zh"], group["en"]) == (GROUPS[group["group"]]["zh"], GROUPS[group["group"]]["en"])
    assert sum(row["gain_share"] for row in found["features"]) == pytest.approx(1)


def test_a_point_of_the_beeswarm_is_a_contribution_and_the_place_of_the_value(training, explanation):
    found = drivers(explanation, gain_shares(training.bundle.model, explanation))
    assert len(found["beeswarm"]) == BEESWARM_FEATURES
    for swarm in found["beeswarm"]:
        name = swarm["feature"]
        assert len(swarm["points"]) <= BEESWARM_POINTS
        values, own = explanation.data[name].to_numpy(), explanation.values[:, explanation.feature_names.index(name)]
        known = values[~np.isnan(values)]
        for (contribution, place), value, exact in zip(swarm["points"], values, own, strict=False):
            assert contribution == pytest.approx(exact, abs=5e-5)
            if np.isnan(value):
                assert place is None
            else:
                rank = ((known < value).sum() + 1 + (known <= value).sum()) / 2
                assert place == pytest.approx(rank / len(known), abs=5e-4)


def test_a_model_that_learned_nothing_has_no_drivers():
    X, y = pd.DataFrame({"same": np.ones(300)}), pd.Series(np.arange(300) % 10 == 0)
    for kind in ("logistic", "boosted"):
        model = DropoutRiskClassifier(small_data=kind, n_estimators=5).fit(X, y)
        found = explain(model, X)
        shares = gain_shares(model, found)
        assert shares == {"same": 0.0}
        assert drivers(found, shares)["groups"][0]["share"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("kind", ["logistic", "boosted"])
def test_a_flat_table_with_categories_and_booleans_has_drivers_and_reasons(kind):
    X, y = table()
    X = X.drop(columns="never_known")
    model = DropoutRiskClassifier(small_data=kind, n_estimators=20).fit(X, y)
    found = explain(model, X)
    swarms = {swarm["feature"]: swarm["points"] for swarm in drivers(found, gain_shares(model, found))["beeswarm"]}
    assert set(swarms) == set(X.columns)
    unknown = X["work"].isna().to_numpy()[:BEESWARM_POINTS]
    assert [place is None for _, place in swarms["work"]] == unknown.tolist()
    examples = typical_reasons(model, found, share=0.3, bands={"high": 0.5, "watch": 0.1})
    assert examples
    json.dumps(examples, allow_nan=False)


# --- missing values -----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 50), tied=st.booleans(), share=st.sampled_from([0.05, 0.1, 0.33]))
def test_missing_values_are_counted_among_all_and_among_the_listed(seed, tied, share):
    rng = np.random.default_rng(seed)
    n = 60
    X = pd.DataFrame({"absence_rate": rng.random(n), "km": rng.random(n), "all_there": 1.0})
    X = X.mask(rng.random(X.shape) < [0.4, 0.2, 0.0])
    risk = rng.integers(0, 6, n) / 10 if tied else rng.random(n)
    judged = rng.random(n) < 0.8
    risk = np.where(judged, risk, np.nan)
    found = missing_values(X, risk, share=share)
    size = length_of_list(share, judged.sum())
    expected = {}
    for name in X:
        gone, known = X[name].isna()[judged], risk[judged]
        cut = np.sort(known)[-size]
        above, at = gone[known > cut], gone[known == cut]
        expected[name] = (above.sum() + at.mean() * (size - len(above))) / size
    assert {row["feature"] for row in found} == {name for name in X if X[name].isna()[judged].any()}
    for row in found:
        assert row["share"] == pytest.approx(X[row["feature"]].isna()[judged].mean())
        assert row["share_listed"] == pytest.approx(expected[row["feature"]])
    assert [row["share"] for row in found] == sorted((row["share"] for row in found), reverse=True)


def test_missing_values_are_called_as_people_call_them():
    X = pd.DataFrame({"absence_rate": [np.nan, 0.1]})
    (row,) = missing_values(X, np.array([0.1, 0.2]), share=0.5)
    assert CHINESE.search(row["zh"]) and row["en"] != "absence_rate"
    for row in missing_values(X.assign(own_column=[np.nan, 1.0]), np.array([0.1, 0.2]), share=0.5):
        assert row["zh"] == row["en"] == row["feature"], "in a table of somebody's own a name means what they mean"


# --- examples of reasons ------------------------------------------------------------------------------------


def test_examples_are_of_nobody_real_and_speak_both_languages(training, explanation, roster, monkeypatch):
    made_up = []

    def watch(model, X):
        made_up.append(X)
        return explain(model, X)

    monkeypatch.setattr("dropout_risk.assessment.explain", watch)
    bands = training.bundle.bands
    examples = typical_reasons(training.bundle.model, explanation, share=0.2, bands=bands)
    assert 1 <= len(examples) <= 4
    ((students,),) = [made_up]
    assert not students.index.isin(roster.index).any()
    real = {tuple(row) for row in roster.fillna(-9.0).itertuples(index=False)}
    assert not real & {tuple(row) for row in students.fillna(-9.0).itertuples(index=False)}
    for name in students:
        assert students[name].dropna().isin(roster[name].dropna()).all(), "a value that nobody has"
    for example in examples:
        assert set(example) == {"band", "risk", "reasons"} and set(example["reasons"]) == {"zh", "en"}
        zh, en = example["reasons"]["zh"], example["reasons"]["en"]
        assert 1 <= len(zh) == len(en) <= EXAMPLE_REASONS
        for one, other in zip(zh, en, strict=True):
            assert set(one) == set(other) == {"text", "label", "changeable", "measure", "contribution"}
            assert CHINESE.search(one["text"]) and not CHINESE.search(other["text"])
            assert one["contribution"] == other["contribution"] > 0
    for example in examples:
        reached = [name for name, cut in bands.items() if example["risk"] >= cut]
        assert example["band"] == (max(reached, key=bands.get) if reached else "low")


def test_an_example_stands_for_ten_students_at_least(training, explanation):
    """With so few students that no strong reason is shared by ten there is no example."""
    some = explain(training.bundle.model, explanation.data.iloc[: 2 * MIN_EXAMPLE_STUDENTS])
    assert typical_reasons(training.bundle.model, some, share=0.4, bands={"high": 0.5}) == []
    all_of_them = typical_reasons(training.bundle.model, explanation, share=0.999, bands={"high": 0.5})
    first = [reasons[0].group for reasons in explanation.reasons(1, "en") if reasons]
    big = [group for group, count in pd.Series(first).value_counts().items() if count >= MIN_EXAMPLE_STUDENTS]
    assert len(all_of_them) == min(4, len(big))


# --- how much of a list stays ---------------------------------------------------------------------------------


@given(
    risks=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40),
    share=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_kept_share_lies_within_what_ties_leave_open(risks, share):
    first, second = (np.array(column, dtype=float) for column in zip(*risks, strict=True))
    kept = kept_share(first, second, share=share)
    assert 0 <= kept <= 1 + 1e-12
    assert kept == pytest.approx(kept_share(second, first, share=share)), "a list kept is a list kept both ways"
    assert kept_share(first, first, share=share) == pytest.approx(1)
    assert kept_share(first, 3 * first + 1, share=share) == pytest.approx(1)
    size = length_of_list(share, len(first))
    always = [set(np.flatnonzero(risk > np.sort(risk)[-size])) for risk in (first, second)]
    possible = [set(np.flatnonzero(risk >= np.sort(risk)[-size])) for risk in (first, second)]
    assert len(always[0] & always[1]) / size <= kept + 1e-12
    assert kept <= len(possible[0] & possible[1]) / size + 1e-12


@given(seed=st.integers(0, 200), share=st.sampled_from([0.05, 0.1, 0.5]))
def test_kept_share_without_ties_is_the_overlap_of_two_lists(seed, share):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 40))
    size = length_of_list(share, 40)
    lists = [set(np.argsort(-risk)[:size]) for risk in (first, second)]
    assert kept_share(first, second, share=share) == pytest.approx(len(lists[0] & lists[1]) / size)


def test_kept_share_with_ties_on_one_list_is_the_mean_over_draws():
    rng = np.random.default_rng(1)
    tied, untied = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1]), rng.permutation(8) / 10
    firm = set(np.argsort(-untied)[:4])
    drawn = [set(np.lexsort((rng.random(8), -tied))[:4]) for _ in range(4000)]
    expected = np.mean([len(firm & own) / 4 for own in drawn])
    assert kept_share(tied, untied, share=0.5) == pytest.approx(expected, abs=0.01)
