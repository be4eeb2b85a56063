"""Figures per group against fairlearn, from the same listed and not-listed vector."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import precision_score, recall_score

from dropout_risk.evaluation import evaluate
from dropout_risk.metrics import list_length

FIGURES = {
    "rows": count,
    "recall": recall_score,
    "precision": lambda y, listed: precision_score(y, listed, zero_division=np.nan),
    "false_positive_rate": false_positive_rate,
    "selection_rate": selection_rate,
    "events": lambda y, listed: int(np.sum(y)),
    "listed": lambda y, listed: int(np.sum(listed)),
    "base_rate": lambda y, listed: float(np.mean(y)),
    "false_alarm_share": lambda y, listed: float(np.mean(y[listed == 1] == 0)) if listed.any() else np.nan,
}


def county(seed):
    """Students of groups that differ in risk and in how well the risk is known; no two risks are equal."""
    rng = np.random.default_rng(seed)
    n = 4000
    by = pd.DataFrame(
        {
            "poverty": pd.Categorical(rng.choice(["none", "near_poor", "registered"], n, p=[0.7, 0.2, 0.1])),
            "sex": rng.choice(["female", "male"], n),
            "grade": rng.integers(1, 10, n).astype(str),
            "boarding": rng.choice(["day", "boarder", None], n, p=[0.6, 0.3, 0.1]),
        }
    )
    risk = rng.beta(1, 9, n) + 0.05 * (by["poverty"] == "registered")
    y = (rng.random(n) < np.where(by["sex"] == "male", risk, 0.08)).astype(int)
    assert len(np.unique(risk)) == n
    return y, np.clip(risk, 0, 1), by


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "share"), [(0, 0.10), (1, 0.05), (2, 0.30)])
def test_figures_per_group_are_those_of_fairlearn(seed, share):
    y, risk, by = county(seed)
    listed = np.zeros(len(y), dtype=int)
    listed[np.argsort(-risk)[: list_length(share, len(y))]] = 1
    found = evaluate(y, risk, by=by, shares=[share], n_boot=2).per_group
    assert not found["suppressed"].any()
    for column in by:
        groups = by[column].astype(object).fillna("not recorded")
        frame = MetricFrame(metrics=FIGURES, y_true=y, y_pred=listed, sensitive_features=groups)
        ours = found[found["column"] == column].set_index("level")
        assert set(ours.index) == set(frame.by_group.index)
        theirs = frame.by_group.reindex(ours.index)
        for figure in FIGURES:
            np.testing.assert_allclose(ours[figure].astype(float), theirs[figure].astype(float), err_msg=figure)


def test_the_largest_difference_in_recall_is_fairlearns_equal_opportunity_gap():
    y, risk, by = county(3)
    listed = (risk >= np.sort(risk)[-400]).astype(int)
    ours = evaluate(y, risk, by=by[["sex"]], shares=[0.1], n_boot=2).per_group["recall"]
    frame = MetricFrame(metrics=true_positive_rate, y_true=y, y_pred=listed, sensitive_features=by["sex"])
    assert ours.max() - ours.min() == pytest.approx(frame.difference())
    assert frame.difference() > 0.1
