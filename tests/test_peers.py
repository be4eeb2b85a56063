"""The peers learn, take the tables that ours takes, keep quiet and say when their library is missing."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from dropout_risk.errors import MissingExtraError
from dropout_risk.peers import BENCH_PEERS, PEERS, TunedLightGBM

LIBRARIES = {
    "xgboost_defaults": "xgboost",
    "catboost_defaults": "catboost",
    "explainable_boosting": "interpret.glassbox",
    "lightgbm_optuna": "optuna",
}
ALL = {**PEERS, **BENCH_PEERS}


def school_table(n=400, seed=0):
    """A table with every kind of column, gaps in all of them, and one column without any value."""
    rng = np.random.default_rng(seed)
    absent = rng.poisson(3.0, n).astype(float)
    poor = rng.choice(["none", "registered", "sudden"], n)
    logit = 0.6 * absent - 3 + 1.5 * (poor == "registered")
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    X = pd.DataFrame(
        {
            "absent": absent,
            "grade": rng.integers(1, 10, n),
            "boards": rng.random(n) < 0.4,
            "poor": pd.Categorical(poor, categories=["none", "registered", "sudden", "never_seen"]),
            "left_behind": pd.array(rng.choice([True, False], n), dtype="boolean"),
            "distance": np.full(n, np.nan),
        }
    )
    X.loc[::7, "absent"] = np.nan
    X.loc[::9, "poor"] = np.nan
    X.loc[::5, "left_behind"] = pd.NA
    return X, y, rng.integers(0, 20, n)


def build(name):
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    estimator = ALL[name](n_jobs=1, seed=1)
    return estimator.set_params(trials=2) if isinstance(estimator, TunedLightGBM) else estimator


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "explainable_boosting" else name for name in ALL]
)
def test_learns_from_a_table_of_every_kind_and_takes_a_new_category(name):
    X, y, _ = school_table()
    new, truth, _ = school_table(seed=1)
    model = clone(build(name)).fit(X, y)
    risk = model.predict_proba(new)
    assert risk.shape == (len(new), 2)
    np.testing.assert_allclose(risk.sum(axis=1), 1, atol=1e-6)
    assert roc_auc_score(truth, risk[:, 1]) > 0.7
    never_seen = new.assign(poor=pd.Categorical(["never_seen"] * len(new), categories=X["poor"].cat.categories))
    assert np.isfinite(model.predict_proba(never_seen)).all()


@pytest.mark.parametrize("name", ["logistic_regression", "lightgbm_defaults"])
def test_same_seed_same_risks(name):
    X, y, _ = school_table()
    first, second = (build(name).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_missing_library_is_said(name, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    library = LIBRARIES[name].split(".")[0]
    with pytest.raises(MissingExtraError, match=rf"needs {library}.*dropout-risk\[bench\]"):
        BENCH_PEERS[name]()


def test_tuning_never_splits_a_group():
    """A column that names the group is worthless across groups; tuning on split groups would trust it."""
    pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    y = np.repeat(rng.random(40) < 0.5, 10).astype(int)
    X = pd.DataFrame({"village": groups * 7919 % 40, "noise": rng.normal(size=400)})
    tuned = TunedLightGBM(trials=2, seed=0)
    assert tuned.fit(X, y, groups=np.arange(400)).quality_ > 0.9 > tuned.fit(X, y, groups=groups).quality_
