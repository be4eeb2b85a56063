"""Nothing that is tested was learned from: not the row, not its place, not an input that was left out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score

from dropout_risk.descriptions import SENSITIVE
from dropout_risk.errors import InputError, TableError
from dropout_risk.judgement import (
    Trial,
    judge_across_places,
    judge_beside_oracle,
    judge_without_sensitive,
    out_of_time_splits,
)
from dropout_risk.metrics import at_capacity
from dropout_risk.model import DropoutRiskClassifier

QUICK = DropoutRiskClassifier(small_data="logistic", n_bags=2)


def world(n=1200, schools=9, terms=4, seed=0, effect=1.0):
    """Rows of several terms and schools, one sensitive and two plain features, and the true risk."""
    rng = np.random.default_rng(seed)
    school = rng.integers(0, schools, n)
    X = pd.DataFrame(
        {
            "absence_rate": rng.gamma(1, 0.1, n),
            "poverty_level": rng.choice(3, n, p=[0.6, 0.2, 0.2]).astype(float),
            "siblings": rng.poisson(1, n).astype(float),
        }
    )
    level = -3 + 8 * X["absence_rate"] + effect * X["poverty_level"] + rng.normal(0, 0.3, schools)[school]
    risk = (1 / (1 + np.exp(-level))).to_numpy()
    y = (rng.random(n) < risk).astype(int)
    groups, term = school.astype(str), rng.integers(0, terms, n)
    splits, validation = out_of_time_splits(y, term, groups=groups)
    return Trial(X, y, groups, term, splits, validation), risk


class Noted(DropoutRiskClassifier):
    """Keeps every set of rows and columns that any clone of it is fitted to or asked about."""

    log: list = []

    def fit(self, X, y, groups=None, term=None, sample_weight=None):
        Noted.log.append(("fit", X.index, list(X.columns)))
        return super().fit(X, y, groups=groups, term=term, sample_weight=sample_weight)

    def predict_proba(self, X):
        Noted.log.append(("ask", X.index, list(X.columns)))
        return super().predict_proba(X)


@pytest.fixture
def noted():
    Noted.log = []
    return Noted(small_data="logistic", n_bags=2)


# --- places never seen -------------------------------------------------------------------------------------


def test_no_tested_place_is_learned_from(noted):
    trial, _ = world()
    judge_across_places(trial, noted, county=np.repeat("990101", len(trial.y)))
    pairs = list(zip(Noted.log[::2], Noted.log[1::2], strict=True))
    assert len(pairs) == 6
    for (fit, learned, _), (ask, tested, _) in pairs:
        assert (fit, ask) == ("fit", "ask")
        assert not set(trial.groups[learned]) & set(trial.groups[tested])
        assert trial.term[learned].max() < trial.term[tested].min(), "a later term was learned from"


@given(
    place=st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=60).filter(lambda it: len(set(it)) > 1),
    folds=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_across_places_every_tested_row_is_tested_once(place, folds, seed):
    n = len(place)
    rng = np.random.default_rng(seed)
    term = rng.integers(0, 3, n)
    splits = [(np.flatnonzero(term < t), np.flatnonzero(term == t)) for t in (1, 2)]
    trial = Trial(pd.DataFrame({"a": np.arange(n)}), np.zeros(n, dtype=int), None, None, splits, {})
    elsewhere = trial.across(place, folds=folds, seed=seed)
    counts = np.bincount(np.concatenate([test for _, test in elsewhere.splits] or [[]]).astype(int), minlength=n)
    np.testing.assert_array_equal(counts, trial.tested.astype(int))
    place = np.array(place)
    for train, test in elsewhere.splits:
        assert not set(place[train]) & set(place[test])
        assert any(set(train) <= set(all_train) for all_train, all_test in splits if set(test) <= set(all_test))


def test_the_order_of_rows_changes_nothing_across_places():
    trial, _ = world()
    order = np.random.default_rng(3).permutation(len(trial.y))
    X, groups, term = trial.X.iloc[order], trial.groups[order], trial.term[order]
    y = trial.y[order]
    shuffled = Trial(X, y, groups, term, out_of_time_splits(y, term, groups=groups)[0], trial.validation)
    first, second = trial.across(trial.groups), shuffled.across(groups)

    def named(one, names):
        return [(set(names[train]), set(names[test])) for train, test in one.splits]

    assert named(first, np.arange(len(order))) == named(second, order)


def test_counties_are_the_places_where_there_are_several():
    trial, _ = world()
    county = np.where(trial.groups.astype(int) < 4, "990101", "990102")
    found = judge_across_places(trial, QUICK, county=county)
    assert (found["unit"], found["places"]) == ("county", 2)
    assert len(found["evaluation"]["per_place"]) == 2
    found = judge_across_places(trial, QUICK, county=np.repeat("990101", len(trial.y)))
    assert (found["unit"], found["places"]) == ("school", 9)
    assert found["evaluation"]["rows"] == trial.tested.sum()


def test_one_place_cannot_be_judged_from_elsewhere():
    trial, _ = world(schools=1)
    assert judge_across_places(trial, QUICK, county=np.repeat("990101", len(trial.y))) is None
    nobody_knows = Trial(trial.X, trial.y, None, trial.term, trial.splits, trial.validation)
    assert judge_across_places(nobody_knows, QUICK, county=np.repeat("990101", len(trial.y))) is None


@pytest.mark.parametrize("leavers", [0, 1])
def test_nobody_or_one_student_to_learn_from_elsewhere_is_no_error(leavers):
    """All students who left, but for so many, are of one school: without it there is too little to learn from."""
    trial, _ = world(schools=2)
    y = np.where(trial.groups == "0", trial.y, 0)
    y[np.flatnonzero((trial.groups == "1") & (trial.term == 0))[:leavers]] = 1
    trial = Trial(trial.X, y, trial.groups, trial.term, trial.splits, trial.validation)
    assert judge_across_places(trial, QUICK, county=np.repeat("990101", len(y))) is None


def test_risks_across_places_are_those_of_a_model_fitted_by_hand():
    trial, _ = world(schools=6)
    elsewhere = trial.across(trial.groups, seed=4)
    risk = elsewhere.risks(QUICK)
    for train, test in elsewhere.splits:
        model = clone(QUICK).fit(
            trial.X.iloc[train], trial.y[train], groups=trial.groups[train], term=trial.term[train]
        )
        np.testing.assert_array_equal(risk[test], model.predict_proba(trial.X.iloc[test])[:, 1])
    np.testing.assert_array_equal(np.isnan(risk), ~trial.tested)


# --- without sensitive inputs ---------------------------------------------------------------------------------


def test_a_model_without_sensitive_inputs_never_sees_them(noted):
    trial, _ = world()
    risk = trial.risks(QUICK)
    found = judge_without_sensitive(trial, noted, risk)
    assert found["left_out"] == ["poverty_level", "siblings"]
    assert Noted.log
    assert all(columns == ["absence_rate"] for _, _, columns in Noted.log)


def test_differences_without_sensitive_inputs_are_those_of_two_models_fitted_by_hand():
    trial, _ = world()
    risk = trial.risks(QUICK)
    found = judge_without_sensitive(trial, QUICK, risk)
    blind = np.full(len(trial.y), np.nan)
    X = trial.X[[name for name in trial.X if name not in SENSITIVE]]
    for train, test in trial.splits:
        model = clone(QUICK).fit(X.iloc[train], trial.y[train], groups=trial.groups[train], term=trial.term[train])
        blind[test] = model.predict_proba(X.iloc[test])[:, 1]
    y, full, blind = (values[trial.tested] for values in (trial.y, risk, blind))
    expected = {
        "auc": roc_auc_score(y, full) - roc_auc_score(y, blind),
        "average_precision": average_precision_score(y, full) - average_precision_score(y, blind),
        "brier": np.mean((y - full) ** 2) - np.mean((y - blind) ** 2),
        "recall_at_10": at_capacity(y, full, 0.1).recall - at_capacity(y, blind, 0.1).recall,
    }
    for name, value in expected.items():
        figure = found["differences"][name]
        assert figure["value"] == pytest.approx(value, abs=1e-12), name
        assert figure["low"] <= figure["high"]
    assert found["differences"]["auc"]["low"] > 0, "poverty tells a lot in this world"


def test_an_input_that_says_nothing_is_not_missed():
    trial, _ = world(effect=0.0, n=2500)
    difference = judge_without_sensitive(trial, QUICK, trial.risks(QUICK))["differences"]["auc"]
    assert abs(difference["value"]) < 0.02
    assert difference["low"] < 0.01


def test_the_newest_term_alone_is_compared_on_its_own_rows():
    """Risks of the full model exist for more rows than the other model scores: only common rows count."""
    trial, _ = world()
    risk = trial.risks(QUICK)
    quick = judge_without_sensitive(trial.newest(), QUICK, risk)["differences"]
    only = np.where(trial.newest().tested, risk, np.nan)
    assert quick == judge_without_sensitive(trial.newest(), QUICK, only)["differences"]
    assert quick["auc"] != judge_without_sensitive(trial, QUICK, risk)["differences"]["auc"]


@pytest.mark.parametrize("columns", [["absence_rate"], ["poverty_level", "siblings"]])
def test_with_all_or_no_inputs_sensitive_there_is_nothing_to_compare(columns):
    trial, _ = world()
    only = Trial(trial.X[columns], trial.y, trial.groups, trial.term, trial.splits, trial.validation)
    assert judge_without_sensitive(only, QUICK, only.risks(QUICK)) is None


# --- beside the truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_model_is_never_above_the_truth(seed):
    trial, truth = world(n=3000, seed=seed)
    found = judge_beside_oracle(trial, trial.risks(QUICK), truth)
    assert set(found) == {"auc_difference", "average_precision_difference"}
    for name, figure in found.items():
        assert figure["low"] <= 0, f"the model beats the truth by {name}"


def test_a_model_that_knows_the_outcome_is_above_the_truth():
    trial, truth = world(n=3000)
    cheat = np.where(trial.tested, np.clip(truth + 0.3 * trial.y, 0, 1), np.nan)
    found = judge_beside_oracle(trial, cheat, truth)
    assert found["auc_difference"]["low"] > 0
    y, tested = trial.y[trial.tested], trial.tested
    by_hand = roc_auc_score(y, cheat[tested]) - roc_auc_score(y, truth[tested])
    assert found["auc_difference"]["value"] == pytest.approx(by_hand, abs=1e-12)


def test_without_the_truth_nothing_is_said():
    trial, truth = world()
    risk = trial.risks(QUICK)
    assert judge_beside_oracle(trial, risk, np.full(len(risk), np.nan)) is None
    assert judge_beside_oracle(trial, np.full(len(risk), np.nan), truth) is None


# --- splits ---------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(terms=st.integers(2, 7), horizon=st.integers(1, 4), seed=st.integers(0, 99))
def test_no_outcome_is_learned_from_before_it_is_known(terms, horizon, seed):
    rng = np.random.default_rng(seed)
    term, groups = np.concatenate([np.arange(terms), rng.integers(0, terms, 40)]), rng.choice(list("abc"), terms + 40)
    y = np.concatenate([np.zeros(terms, dtype=int), np.arange(40) % 2])
    if terms > horizon and any(
        min(np.bincount(y[term <= t - horizon], minlength=2)) < 2 for t in range(horizon, terms)
    ):
        return  # too little to learn from, the concern of another test
    splits, how = out_of_time_splits(y, term, groups=groups, horizon=horizon)
    if terms <= horizon:
        assert how["en"].startswith("out of group") and how["zh"].startswith("按学校外推")
        assert all(not set(groups[train]) & set(groups[test]) for train, test in splits)
        return
    assert len(splits) == min(3, max(1, terms - horizon - 1)), "a judged model should know both seasons"
    assert f"last {len(splits)} terms" in how["en"] and f"最近 {len(splits)} 个学期" in how["zh"]
    assert max(term[splits[-1][1]]) == terms - 1, "the newest term is not tested"
    for train, test in splits:
        assert term[train].max() + horizon <= term[test].min()


def test_one_term_is_judged_by_school():
    y = np.arange(40) % 2
    splits, how = out_of_time_splits(y, np.zeros(40, dtype=int), groups=np.repeat(list("abcde"), 8))
    assert how["en"].startswith("out of group") and len(splits) == 5
    with pytest.raises(TableError, match="One term and one school"):
        out_of_time_splits(y, np.zeros(40, dtype=int), groups=np.repeat("a", 40))


def test_terms_before_which_nobody_left_are_not_tested():
    term, y = np.repeat(np.arange(5), 10), np.zeros(50, dtype=int)
    y[[22, 23, 41]] = 1
    splits, how = out_of_time_splits(y, term, groups=np.tile(list("ab"), 25))
    assert [sorted(set(term[test])) for _, test in splits] == [[3], [4]]
    assert "last 2 terms" in how["en"]
    with pytest.raises(InputError, match="Of 50 students with a known outcome 0 left"):
        out_of_time_splits(np.zeros(50, dtype=int), term, groups=np.tile(list("ab"), 25))


def test_weights_reach_every_model():
    """Rows of weight 0 are scored but teach nothing."""
    trial, _ = world()
    spoilt = np.random.default_rng(1).random(len(trial.y)) < 0.3
    wrong = np.where(spoilt, 1 - trial.y, trial.y)
    weighted = Trial(trial.X, wrong, trial.groups, trial.term, trial.splits, {}, np.where(spoilt, 0.0, 1.0))
    risk = weighted.risks(QUICK)
    for train, test in trial.splits:
        kept = train[~spoilt[train]]
        model = clone(QUICK).fit(trial.X.iloc[kept], trial.y[kept], groups=trial.groups[kept], term=trial.term[kept])
        np.testing.assert_allclose(risk[test], model.predict_proba(trial.X.iloc[test])[:, 1], rtol=1e-9)
    assert weighted.across(trial.groups).weight is weighted.weight
    assert weighted.without(["siblings"]).weight is weighted.weight
