"""A model from elsewhere set to a place: the level moves, the order stays, and the doubt is said."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import log_loss

from dropout_risk.adaptation import SHIFT_SD, SLOPE_SD, adapt
from dropout_risk.bundle import Bundle, load_bundle, save_bundle
from dropout_risk.cohort import cohorts
from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.features import MONOTONE
from dropout_risk.metrics import calibration_error
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.synthetic import make_county

DAY = "2026-11-22"


def place(n, *, shift=0.0, stretch=1.0, seed=0, schools=0.0):
    """Students of a place with another level (and spread) of risk; schools differ by `schools`."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"absent_days": rng.poisson(4, n), "distance_km": rng.gamma(2, 2, n)})
    school = rng.integers(0, 25, n)
    log_odds = stretch * (0.5 * X["absent_days"] + 0.2 * X["distance_km"] - 5) + shift
    risk = expit(log_odds + schools * rng.normal(size=25)[school]).to_numpy()
    return X, (rng.random(n) < risk).astype(int), risk, school


@pytest.fixture(scope="module")
def elsewhere():
    X, y, _, _ = place(4000, seed=100)
    model = DropoutRiskClassifier(n_estimators=30).fit(X, y)
    return Bundle(
        model=model, kind="flat", created=DAY, metrics={"auc": 0.8}, reference={"exams": 1}, data={"rows": 4000}
    )


@pytest.mark.parametrize("n", [100, 2000])
def test_the_line_is_the_most_probable_one(elsewhere, n):
    X, y, _, _ = place(n, shift=-1, seed=1)
    score = elsewhere.model.decision_function(X)
    risk = expit(score)
    centre = (score * risk * (1 - risk)).sum() / (risk * (1 - risk)).sum()

    def loss(line):
        z = line[0] * (score - centre) + centre + line[1]
        prior = (line[0] - 1) ** 2 / SLOPE_SD**2 / 2 + line[1] ** 2 / SHIFT_SD**2 / 2
        return (np.logaddexp(0, z) - y * z).sum() + prior

    expected = minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    found = adapt(elsewhere, X, y, groups=np.arange(n) if n == 100 else None, created=DAY)
    line = expit(expected[0] * (score - centre) + centre + expected[1])
    if ((y - line) ** 2).sum() <= (line * (1 - line)).sum():  # else the design effect has its say
        assert_allclose([found.slope, found.shift], expected, atol=1e-4)
    shown = found.bundle.model.decision_function(X)
    assert_allclose(shown, found.slope * (score - centre) + centre + found.shift, atol=1e-9)


def test_few_outcomes_move_the_level_and_many_the_slope_too(elsewhere):
    few, many = (
        [adapt(elsewhere, *place(n, shift=-1, stretch=0.6, seed=seed)[:2], created=DAY) for seed in range(5)]
        for n in (100, 8_000)
    )
    assert np.mean([found.slope for found in few]) > np.mean([found.slope for found in many]) + 0.1
    assert np.mean([found.slope for found in many]) == pytest.approx(0.65, abs=0.1)
    assert np.mean([found.shift for found in few]) < -0.3


@pytest.mark.slow
def test_the_model_is_the_old_one_with_another_line(elsewhere):
    X, y, _, school = place(300, shift=-1, seed=2)
    found = adapt(elsewhere, X, y, groups=school, created="2026-12-01")
    old, new = elsewhere.model, found.bundle.model
    assert_array_equal(np.argsort(old.decision_function(X)), np.argsort(new.decision_function(X)))
    values, base = new.contributions(X)
    assert_allclose(values.sum(axis=1) + base, new.decision_function(X), rtol=0, atol=1e-9)
    assert_allclose(values, found.slope * old.contributions(X)[0], rtol=1e-9, atol=1e-12)


def test_the_bundle_says_where_it_comes_from_and_keeps_no_figures_of_elsewhere(elsewhere, tmp_path):
    X, y, _, _ = place(300, shift=-1, seed=2)
    before = elsewhere.digest
    found = adapt(elsewhere, X, y, created="2026-12-01")
    assert elsewhere.digest == before
    assert found.bundle.created == "2026-12-01"
    kept = (found.bundle.metrics, found.bundle.reference, found.bundle.backtest, found.bundle.release)
    assert kept == ({}, {}, {}, {})
    record = found.bundle.data["adapted"]
    assert record["from"] == elsewhere.version_label
    assert (record["rows"], record["events"]) == (300, y.sum()) == (found.rows, found.events)
    assert found.bundle.data["rows"] == 4000
    back = load_bundle(save_bundle(found.bundle, tmp_path / "adapted"))
    assert_array_equal(back.model.predict_proba(X), found.bundle.model.predict_proba(X))


def test_the_outlook_moves_along(elsewhere):
    X, y, _, _ = place(300, shift=-1, seed=2)
    later = elsewhere.model.recalibrated(elsewhere.model.calibration_.then(1.0, 0.3))
    found = adapt(replace(elsewhere, outlook=later), X, y, created=DAY)
    gap = found.bundle.outlook.decision_function(X) - found.bundle.model.decision_function(X)
    assert_allclose(gap, 0.3 * found.slope)


@pytest.mark.no_cover
@pytest.mark.slow
def test_the_interval_holds_the_true_number_of_cases(elsewhere):
    held = []
    for seed in range(40):
        X, y, _, _ = place(400, shift=-0.7, seed=seed)
        found = adapt(elsewhere, X, y, created=DAY)
        fresh, _, risk, _ = place(2000, shift=-0.7, seed=1000 + seed)
        times = risk.sum() / found.bundle.model.predict_proba(fresh)[:, 1].sum()
        held.append(found.cases_low <= times <= found.cases_high)
    assert np.mean(held) >= 0.88
    assert found.cases_high < 2  # and says something


def test_outcomes_that_go_together_within_schools_count_for_less(elsewhere):
    X, y, _, school = place(1500, shift=-1, seed=3, schools=1.5)
    together, alone = (adapt(elsewhere, X, y, groups=groups, created=DAY) for groups in (school, None))
    assert np.log(together.cases_high) > 2 * np.log(alone.cases_high)
    assert abs(together.shift) < abs(alone.shift)


def test_no_event_among_the_outcomes_lowers_the_level_within_reason(elsewhere):
    X, _, _, _ = place(200, seed=4)
    found = adapt(elsewhere, X, np.zeros(200, dtype=int), created=DAY)
    assert found.events == 0
    assert -4 < found.shift < -1
    assert found.cases_low < 0.5 and found.cases_high > 2


def test_row_order_changes_nothing(elsewhere):
    X, y, _, school = place(300, shift=-1, seed=5)
    turned = np.random.default_rng(0).permutation(300)
    one = adapt(elsewhere, X, y, groups=school, created=DAY)
    other = adapt(elsewhere, X.iloc[turned], y[turned], groups=school[turned], created=DAY)
    assert other.shift == pytest.approx(one.shift, abs=1e-6) and other.slope == pytest.approx(one.slope, abs=1e-6)


def test_the_doubt_is_said_in_both_languages(elsewhere):
    X, y, _, _ = place(120, shift=-1, seed=6)
    found = adapt(elsewhere, X, y, created=DAY)
    for lang in ("zh", "en"):
        text = found.to_text(lang)
        for figure in ("120", str(found.events), f"{found.cases_low:.2f}", f"{found.cases_high:.2f}", "95"):
            assert figure in text
    assert "区间" in found.to_text("zh") and not re.search("[\u4e00-\u9fff]", found.to_text("en"))


def test_all_that_is_wrong_is_named_at_once(elsewhere):
    X, y, _, school = place(99, seed=7)
    with pytest.raises(InputError) as refusal:
        adapt(elsewhere, X, np.where(y == 1, 1, 7), groups=school[:5])
    for part in ("groups 5", "neither 0 nor 1", "99 known outcomes, fewer than 100"):
        assert part in str(refusal.value)
    with pytest.raises(InputError, match="every student in y left"):
        adapt(elsewhere, X, np.ones(99), min_outcomes=50)
    with pytest.raises(SettingsError, match="min_outcomes is 0"):
        adapt(elsewhere, X, y, min_outcomes=0)
    with pytest.raises(ColumnsError, match="distance_km"):
        adapt(elsewhere, X.drop(columns="distance_km"), y, min_outcomes=50)
    assert adapt(elsewhere, X, y, min_outcomes=99, created=DAY).rows == 99


@pytest.mark.no_cover
@pytest.mark.slow
def test_a_county_with_another_level_is_served_better_with_100_outcomes_and_never_much_worse():
    home = cohorts(make_county(3000, terms=4, grades=(6, 9), seed=100, daily=False))
    model = DropoutRiskClassifier(monotone=MONOTONE).fit(home.X, home.y, groups=home.groups)
    bundle = Bundle(model=model, kind="county", created=DAY)
    for shift, least_gain in ((-1.0, 0.002), (1.0, 0.005), (0.0, -0.004)):
        gains, errors = [], []
        for seed in range(4):
            X, y, groups, term = cohorts(make_county(1200, terms=4, grades=(6, 9), seed=seed, shift=shift, daily=False))
            last = term == term.max()
            old = model.predict_proba(X[last])[:, 1]
            for draw in range(5):
                rows = np.random.default_rng([seed, draw]).choice(np.flatnonzero(~last), 100, replace=False)
                adapted = adapt(bundle, X.iloc[rows], y[rows], groups=groups[rows], created=DAY).bundle.model
                new = adapted.predict_proba(X[last])[:, 1]
                gains.append(log_loss(y[last], old) - log_loss(y[last], new))
                errors.append(calibration_error(y[last], old) - calibration_error(y[last], new))
        assert np.mean(gains) > least_gain
        assert np.mean(errors) > (0.005 if shift else -0.01)
        assert min(gains) > -0.03
