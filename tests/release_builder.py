"""Models that are fit for release and models that are not: really trained, really judged, on a made-up county.

Each assessment is put together by hand from `evaluate` and the boosters' own gains, so that the gate is tested
against what training gives and not against figures that suit it.
"""

from functools import cache

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from dropout_risk.evaluation import cross_scores, evaluate
from dropout_risk.gate import COUNTY_RULES
from dropout_risk.gate_text import JUDGED
from dropout_risk.model import DropoutRiskClassifier

ROWS, SCHOOLS = 5000, 50
LEAK = "days_absent_next_term"

FAULTS = {
    "leaky": ("leak", LEAK),
    "miscalibrated": ("risk_level", "too high on the whole"),
    "blind to a group": ("subgroups", "both parents away"),
    "no better than a rule": ("rules", "last marks"),
    "part of the roster": ("coverage", "no attendance was recorded"),
}
"""Kind of an assessment -> the condition that it fails, and words that name the cause."""


def sound():
    """Return an assessment that holds every condition, by figures that can be reckoned with in the head."""
    return {
        "validation": {"zh": "按时间外推", "en": "out of time"},
        "data": {"preset": "default"},
        "evaluation": {
            "rows": 10_000, "base_rate": 0.02, "groups": 40, "shares": [0.05, 0.10, 0.20], "confidence": 0.95,
            "metrics": {
                "auc": {"value": 0.8, "low": 0.75, "high": 0.85},
                "ece": {"value": 0.005, "low": 0.0, "high": 0.01},
                "recall_at_10": {"value": 0.5, "low": 0.45, "high": 0.55},
            },
            "rules": {name: {} for name in COUNTY_RULES},
            "differences": {
                name: {"recall_at_10": {"value": 0.1, "low": 0.05, "high": 0.15}} for name in COUNTY_RULES
            },
            "per_term": [{"term": "2021-2022-1", "suppressed": False}],
            "per_group": [
                {"column": column, "level": level, "suppressed": False, "recall": 0.5, "recall_high": 0.6}
                for column, levels in JUDGED.items()
                for level in levels
            ],
            "calibration": [
                {"column": "all", "level": "all", "bin": i, "suppressed": False, "rows": 1000, "mean_risk": 0.02,
                 "observed": 0.02} for i in range(10)
            ],
        },
        "held_out": {
            "unit": "county",
            "places": 4,
            "evaluation": {"metrics": {"recall_at_10": {"value": 0.4, "low": 0.3, "high": 0.5}}},
        },
        "coverage": {"rows_in": 1000, "scored": 960, "share": 0.96, "causes": []},
        "drivers": {
            "features": [
                {"feature": "absence_rate", "zh": "缺勤率", "en": "absence rate", "gain_share": 0.4},
                {"feature": "score_level", "zh": "成绩位置", "en": "level of marks", "gain_share": 0.3},
            ]
        },
        "oracle": None,
    }  # fmt: skip


@cache
def county():
    """Return features, outcomes, school of each row, and the audit columns."""
    rng = np.random.default_rng(3)
    school = rng.integers(0, SCHOOLS, ROWS)
    burden = rng.normal(0, 0.3, SCHOOLS)[school]
    away, behind = rng.normal(0, 1, (2, ROWS))
    poverty = rng.choice(3, ROWS, p=[0.7, 0.1, 0.2])
    left = rng.random(ROWS) < 1 / (1 + np.exp(4.2 - burden - 1.2 * away - 1.2 * behind - 0.4 * poverty))
    X = pd.DataFrame(
        {
            "absence_rate": rng.poisson(np.exp(1.5 + 0.7 * away)) / 90,
            "score_level": np.clip(50 - 18 * behind + rng.normal(0, 10, ROWS), 0, 100),
            "poverty_level": poverty.astype(float),
            "school_leaving_rate": np.round(0.05 + 0.03 * burden, 3),
            "years_over_age": rng.poisson(np.exp(-1 + 0.4 * behind)).astype(float),
        }
    )
    audit = pd.DataFrame(
        {
            "sex": rng.choice(["female", "male"], ROWS),
            "poverty": np.array(["none", "near_poor", "registered"])[poverty],
            "left_behind": rng.choice(["none", "one_parent", "both_parents"], ROWS, p=[0.6, 0.2, 0.2]),
            "disability": np.where(np.arange(ROWS) < 8, "yes", "no"),
        }
    )
    return X, left.astype(float), school, audit


@cache
def trained(leaky=False):
    """Return the out-of-group risks of a model, and the fitted model."""
    X, y, school, _ = county()
    if leaky:
        X = X.assign(**{LEAK: np.where(y == 1, 60.0, 2.0) + np.random.default_rng(4).normal(0, 8, ROWS)})
    model = DropoutRiskClassifier(n_estimators=40)
    splits = list(GroupKFold(3).split(X, groups=school))
    return cross_scores(model, X, y, splits, groups=school), model.fit(X, y, groups=school)


def assessment(kind="good"):
    """Return the assessment of a model: ``good``, or with the one fault that is named."""
    X, y, school, audit = county()
    risk, model = trained(leaky=kind == "leaky")
    rules = {
        "absence_rule": X["absence_rate"],
        "school_mean": X["school_leaving_rate"],
        "poverty_list": X["poverty_level"],
        "last_grades": -X["score_level"],
        "random": np.random.default_rng(0).random(ROWS),
    }
    if kind == "miscalibrated":
        risk = np.minimum(2 * risk, 1.0)
    if kind == "blind to a group":
        risk = shuffled_within(risk, audit["left_behind"] == "both_parents")
    if kind == "no better than a rule":
        rules["last_grades"] = risk
    judged = {"groups": school, "n_boot": 100}
    gains = sum(booster.feature_importance("gain") for booster in model.boosters_)
    names = sorted(model.feature_names)  # as the boosters have them
    evaluation = evaluate(y, risk, rules=rules, by=audit, term=np.arange(ROWS) % 2, **judged).to_dict()
    scored = 4250 if kind == "part of the roster" else 4900
    return {
        "validation": {"zh": "按学校外推", "en": "out of group"},
        "data": {"rows": ROWS, "events": int(y.sum()), "preset": "default", "horizon": 1, "digest": "d1"},
        "evaluation": evaluation,
        "held_out": {"unit": "school", "places": SCHOOLS, "evaluation": evaluate(y, risk, **judged).to_dict()},
        "coverage": {
            "rows_in": ROWS, "scored": scored, "share": scored / ROWS,
            "causes": [{"zh": "没有考勤记录。", "en": "no attendance was recorded.", "rows": ROWS - scored}],
        },
        "drivers": {
            "features": [
                {"feature": name, "zh": name, "en": name, "mean_abs": 0.1, "gain_share": float(gain / gains.sum())}
                for name, gain in zip(names, gains, strict=True)
            ]
        },
        "oracle": None,
        "alarms": [],
    }  # fmt: skip


def shuffled_within(risk, members):
    """Return risks that are as before on the whole, but say nothing about who it is among the members."""
    changed = risk.copy()
    changed[members] = np.random.default_rng(9).permutation(risk[members])
    return changed
