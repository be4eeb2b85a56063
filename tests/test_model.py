"""DropoutRiskClassifier as a scikit-learn estimator, and what it promises beyond that."""

import json
import pickle
from functools import cache

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

from dropout_risk.calibration import Calibration
from dropout_risk.errors import BundleError, ColumnsError, InputError, SettingsError
from dropout_risk.logistic import AdditiveLogistic
from dropout_risk.model import DropoutRiskClassifier

KINDS = ("boosted", "logistic")


@pytest.mark.slow
@parametrize_with_checks(
    [
        DropoutRiskClassifier(),
        DropoutRiskClassifier(small_data="boosted", n_estimators=30, min_child_samples=1, learning_rate=0.3),
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": (
            "rows are dealt to folds at random, so a row of weight 2 is in one fold and two equal rows may be in two"
        )
    },
)
def test_keeps_to_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def pupils(n=1500, seed=0):
    """A table with numbers, booleans, nullable integers, categories and gaps, and its true risk."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "grade": rng.integers(5, 9, n),
            "absent_days": rng.poisson(4, n).astype(float),
            "boards": rng.random(n) < 0.3,
            "siblings": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "road": pd.Categorical(rng.choice(["asphalt", "gravel", "mud"], n)),
            "distance_km": rng.gamma(2, 2, n),
        }
    )
    bad_road = 0.9 * (X["road"] == "mud")
    risk = expit(0.25 * X["absent_days"] + 0.2 * X["distance_km"] + bad_road - 4).to_numpy()
    X.loc[rng.random(n) < 0.1, ["absent_days", "siblings", "road"]] = None
    return X, (rng.random(n) < risk).astype(int), risk


X, Y, RISK = pupils()
FEW = X.head(200)
SCHOOL = np.random.default_rng(5).integers(0, 30, len(Y))


def fast(**options):
    return DropoutRiskClassifier(**{"n_estimators": 40, **options})


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return fast(small_data=request.param).fit(X, Y, groups=SCHOOL)


def test_finds_the_risk(model):
    fresh, y, risk = pupils(seed=1)
    shown = model.predict_proba(fresh)[:, 1]
    assert roc_auc_score(y, shown) > roc_auc_score(y, risk) - 0.05
    assert abs(shown.mean() - y.mean()) < 0.02


def test_contributions_add_up_to_the_log_odds_of_the_risk_shown(model):
    values, base = model.contributions(X)
    log_odds = model.decision_function(X)
    assert values.shape == X.shape and values.dtype == np.float64
    assert_allclose(values.sum(axis=1) + base, log_odds, rtol=0, atol=1e-9)
    assert_allclose(logit(model.predict_proba(X)[:, 1]), log_odds, rtol=0, atol=1e-9)


def test_a_feature_without_effect_contributes_nothing_and_the_strongest_the_most():
    constant = X.assign(constant=0.1)
    for kind in KINDS:
        model = fast(small_data=kind).fit(constant, Y)
        size = pd.Series(np.abs(model.contributions(constant)[0]).mean(axis=0), model.feature_names)
        assert size["constant"] == pytest.approx(0, abs=1e-12)
        assert_allclose(model.decision_function(constant.assign(constant=9.0)), model.decision_function(constant))
        assert set(size.nlargest(3).index) == {"absent_days", "distance_km", "road"}


def test_logistic_contributions_are_measured_from_the_usual_student():
    model = fast(small_data="logistic").fit(X, Y)
    values, base = model.contributions(X)
    assert_allclose(values.mean(axis=0), 0, atol=1e-9)
    assert base == pytest.approx(model.decision_function(X).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_column_order_at_fit_changes_no_bit(kind):
    turned = X[X.columns[::-1]]
    one, other = fast(small_data=kind).fit(X, Y), fast(small_data=kind).fit(turned, Y)
    assert_array_equal(one.decision_function(X), other.decision_function(turned))
    assert_array_equal(one.contributions(X)[0], other.contributions(turned)[0][:, ::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_fit_is_deterministic_and_threads_change_nothing(kind):
    one, two = (fast(n_estimators=10, small_data=kind, n_jobs=n_jobs).fit(X, Y) for n_jobs in (1, 2))
    assert_array_equal(one.decision_function(FEW), two.decision_function(FEW))
    assert_array_equal(one.contributions(FEW)[0], two.contributions(FEW)[0])
    assert one.calibration_ == two.calibration_


def test_threads_of_blas_do_not_get_in_the_way_of_small_matrices(monkeypatch):
    seen, honest = [], AdditiveLogistic.fit

    def watched(*arguments, **options):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return honest(*arguments, **options)

    monkeypatch.setattr(AdditiveLogistic, "fit", watched)
    with threadpool_limits(2, user_api="blas"):
        fast(small_data="logistic").fit(FEW, Y[:200])
    assert seen and set(seen) == {1}


def test_columns_that_do_not_fit_are_refused_by_name_all_at_once(model):
    with pytest.raises(ColumnsError, match="must be in the same order"):
        model.predict_proba(X[X.columns[::-1]])
    wrong = X.drop(columns=["grade", "boards"]).assign(
        shoe_size=40, road=X["road"].astype(str), distance_km=np.inf, absent_days=pd.Categorical(["a"] * len(X))
    )
    with pytest.raises(ColumnsError) as refusal:
        model.decision_function(wrong)
    for part in (
        "unseen at fit time:\n- shoe_size",
        "now missing:\n- boards\n- grade",
        "Column 'road' was a category when the model learned and is str now",
        "Column 'distance_km' has 1500 infinite values (first: row 0",
        "Column 'absent_days' was a number when the model learned and is a category now",
    ):
        assert part in str(refusal.value)


def test_columns_that_nothing_can_be_learned_from_are_refused_all_at_once():
    wrong = X.assign(
        road=X["road"].astype(str),
        birth=pd.Timestamp("2012-01-01"),
        wave=1j,
        band=pd.cut(X["distance_km"], 3),
    )
    wrong.insert(0, "grade", 1, allow_duplicates=True)
    with pytest.raises(ColumnsError) as refusal:
        fast().fit(wrong, Y)
    for part in (
        "more than once: grade",
        "Column 'road' is str, neither number nor category; convert text with .astype('category')",
        "Column 'birth' is datetime64",
        "Column 'wave' is complex128",
        "Column 'band' has levels that are neither text nor numbers",
    ):
        assert part in str(refusal.value)


def test_categories_go_by_their_values(model):
    turned = X.assign(road=X["road"].cat.reorder_categories(["mud", "gravel", "asphalt"]))
    assert_array_equal(model.decision_function(X), model.decision_function(turned))
    assert_array_equal(model.decision_function(X), clone(model).fit(turned, Y, groups=SCHOOL).decision_function(X))
    assert model.categories_ == {"road": ["asphalt", "gravel", "mud"]}
    unseen = X.assign(road=pd.Categorical(["ice"] * len(X)))
    nothing = X.assign(road=pd.Categorical([None] * len(X), categories=["mud"]))
    assert_array_equal(model.decision_function(unseen), model.decision_function(nothing))
    with pytest.raises(ColumnsError, match="text levels on one side and numbers on the other"):
        model.predict(X.assign(road=pd.Categorical([1] * len(X))))
    with pytest.raises(ColumnsError, match="which an array cannot carry"):
        model.predict(np.zeros((2, 6)))


def test_a_model_without_names_keeps_its_columns_by_place():
    unnamed = X.set_axis(range(6), axis=1)
    model = fast(small_data="logistic", compare_within="x0").fit(unnamed, Y)
    assert model.feature_names == ["x0", "x1", "x2", "x3", "x4", "x5"]
    assert list(model.medians_.index) == [5, 6, 7, 8, "all"]
    assert model.categories_ == {"x4": ["asphalt", "gravel", "mud"]}
    assert_array_equal(
        model.predict_proba(unnamed), DropoutRiskClassifier.from_files(model.to_files()).predict_proba(unnamed)
    )
    with pytest.raises(ColumnsError, match="- grade"):
        model.predict_proba(X)


def test_rows_with_nothing_known_are_scored(model):
    nothing = X.head(3).assign(**{name: np.nan for name in X.columns if name != "road"})
    nothing["road"] = pd.Categorical([None] * 3, categories=["mud"])
    assert np.isfinite(model.decision_function(nothing)).all()
    values, base = model.contributions(nothing)
    assert_allclose(values.sum(axis=1) + base, model.decision_function(nothing), atol=1e-9)


def test_small_data_is_taken_over_and_says_so():
    few = DropoutRiskClassifier().fit(X.head(999), Y[:999])
    assert few.kind_ == "logistic" and few.boosters_ == []
    assert few.kind_reason_.startswith("Logistic model: 999 rows with")
    rare = np.where(np.cumsum(Y) <= 99, Y, 0)
    assert fast().fit(X, rare).kind_reason_.startswith("Logistic model: 1,500 rows with 99 events are fewer")
    enough = fast().fit(X, Y)
    assert enough.kind_ == "boosted" and len(enough.boosters_) == 4
    assert all(isinstance(booster, lgb.Booster) for booster in enough.boosters_)
    assert 'small_data="boosted" asked for it' in fast(small_data="boosted").fit(X, rare).kind_reason_


def test_few_events_leave_the_scores_uncalibrated():
    rare = np.where(np.cumsum(Y) <= 29, Y, 0)
    assert fast().fit(X, rare).calibration_ == Calibration(1.0, 0.0)


def test_each_group_is_held_out_by_one_model_and_calibrated_on_its_score():
    # A column for each group: constant, so never split on, in the one model that does not see the group.
    group = np.repeat(np.arange(12), 150)
    y = np.random.default_rng(0).random(len(group)) < np.linspace(0.02, 0.6, 12)[group]
    X = pd.DataFrame(np.eye(12)[group], columns=[f"village_{g:02}" for g in range(12)])
    model = fast().fit(X, y, groups=group)
    held_out = np.array([booster.feature_importance() == 0 for booster in model.boosters_])
    assert_array_equal(held_out.sum(axis=0), 1)
    assert_array_equal(held_out.sum(axis=1), 3)

    scores = np.array([booster.predict(X, raw_score=True) for booster in model.boosters_])
    of_stranger = scores[held_out.argmax(axis=0)[group], np.arange(len(group))]
    assert model.calibration_ == Calibration.fit(of_stranger, y, np.ones(len(y)))


def test_a_number_that_gives_the_group_away_does_not_make_the_model_sure():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(200), 10)
    days = rng.normal(size=2000)
    luck = np.repeat(rng.normal(size=200), 10)  # of the school: no column tells it, but the number finds it
    number = rng.random(200)[group]
    y = rng.random(2000) < expit(days + 3 * luck - 1)
    X = pd.DataFrame({"school_no": number, "days": days})
    apart, together = fast(n_estimators=150).fit(X, y, groups=group), fast(n_estimators=150).fit(X, y)
    new = X.assign(school_no=rng.random(2000))
    y_new = rng.random(2000) < expit(days + 3 * rng.choice(luck, 2000) - 1)
    loss = {model: log_loss(y_new, model.predict_proba(new)[:, 1]) for model in (apart, together)}
    assert 0 < apart.calibration_.slope < 0.5 < together.calibration_.slope
    assert loss[apart] < log_loss(y_new, np.full(2000, y.mean())) < loss[together]


def test_calibration_is_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(2)
    score = rng.normal(-1, 2, 3000)
    event, weight = rng.random(3000) < expit(0.6 * score - 0.4), rng.random(3000)
    ones, zeros = weight[event].sum(), weight[~event].sum()
    target = np.where(event, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(line):
        z = line[0] * score + line[1]
        return weight @ (np.logaddexp(0, z) - target * z)

    expected = minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    found = Calibration.fit(score, event, weight)
    assert_allclose([found.slope, found.intercept], expected, atol=1e-4)


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_scores_that_know_nothing_get_the_observed_rate(sign):
    rng = np.random.default_rng(3)
    score = rng.normal(size=1000)
    event = rng.random(1000) < expit(score)
    line = Calibration.fit(sign * score, event, np.ones(1000))
    assert line.slope == 0.01
    assert expit(line.log_odds(sign * score)).mean() == pytest.approx(event.mean())


def test_the_intercept_follows_the_latest_term_only_when_it_clearly_differs():
    X, y, _ = pupils(6000)
    term = np.repeat(["2023-1", "2023-2", "2024-1", "2024-2"], 1500)
    usual = fast().fit(X, y)
    assert fast().fit(X, y, term=term).calibration_ == usual.calibration_
    doubled = np.where(term == "2024-2", np.maximum(y, pupils(6000, seed=9)[1][::-1]), y)
    plain, moved = fast().fit(X, doubled), fast().fit(X, doubled, term=term)
    assert moved.calibration_.slope == plain.calibration_.slope
    assert moved.calibration_.intercept > plain.calibration_.intercept + 0.2


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(row=st.integers(0, len(X) - 1), low=st.floats(0, 30), step=st.floats(0, 30))
def test_monotone_constraints_hold(kind, row, low, step):
    low_and_high = X.iloc[[row, row]].assign(distance_km=[low, low + step])
    risk = constrained(kind).decision_function(low_and_high)
    assert risk[0] >= risk[1]


@cache
def constrained(kind):
    # Distance raises the risk in the data: the constraint has to work against it.
    return fast(small_data=kind, monotone={"distance_km": -1, "not_there": 1}).fit(X, Y)


def test_weights_matter():
    for kind in KINDS:
        plain = fast(small_data=kind).fit(X, Y)
        heavy = fast(small_data=kind).fit(X, Y, sample_weight=np.where(Y == 1, 3.0, 1.0))
        assert heavy.predict_proba(X)[:, 1].mean() > 1.5 * plain.predict_proba(X)[:, 1].mean()
        kept = np.arange(len(Y)) % 3 > 0
        left_out = fast(small_data=kind).fit(X, Y, sample_weight=kept)
        assert_array_equal(
            left_out.decision_function(X), fast(small_data=kind).fit(X[kept], Y[kept]).decision_function(X)
        )


def test_rows_of_little_weight_teach_little():
    upside_down = pd.concat([X, X]), np.concatenate([Y, 1 - Y])
    weight = np.repeat([1.0, 0.05], len(X))
    for kind in KINDS:
        model = fast(small_data=kind).fit(*upside_down, sample_weight=weight)
        score = model.decision_function(X) / model.calibration_.slope
        assert roc_auc_score(Y, score) > 0.7
        assert score.std() > 0.3


def test_saved_models_answer_bit_for_bit_the_same(model):
    files = model.to_files()
    assert set(files) == {"model.json", *(f"booster_{k}.txt" for k in range(len(model.boosters_)))}
    through_json = json.loads(json.dumps(files))
    back = DropoutRiskClassifier.from_files(through_json)
    for one in (back, pickle.loads(pickle.dumps(model))):
        assert_array_equal(model.predict_proba(FEW), one.predict_proba(FEW))
        assert_array_equal(model.contributions(FEW)[0], one.contributions(FEW)[0])
        assert model.contributions(FEW)[1] == one.contributions(FEW)[1]
        assert_array_equal(model.predict(FEW), one.predict(FEW))
    pd.testing.assert_frame_equal(back.medians_, model.medians_)
    pd.testing.assert_frame_equal(back.modes_, model.modes_)
    assert back.get_params() == model.get_params() and back.kind_reason_ == model.kind_reason_
    assert back.to_files() == files


def test_saved_models_keep_outcomes_given_as_text():
    model = fast(random_state=np.random.RandomState(3)).fit(X, np.where(Y == 1, "stayed away", "came"))
    back = DropoutRiskClassifier.from_files(model.to_files())
    assert_array_equal(back.classes_, ["came", "stayed away"])
    assert_array_equal(back.predict(X), model.predict(X))


def test_damaged_or_later_files_are_refused():
    files = fast().fit(X, Y).to_files()
    later = {**files, "model.json": files["model.json"].replace('"format": 2', '"format": 3')}
    short = {name: text for name, text in files.items() if name != "booster_2.txt"}
    cut = {**files, "model.json": files["model.json"][:100]}
    broken = {**files, "booster_0.txt": "not a model"}
    with pytest.raises(BundleError, match="has format 3, but .* upgrade dropout-risk"):
        DropoutRiskClassifier.from_files(later)
    for damaged in (short, cut, broken, {}):
        with pytest.raises(BundleError, match="damaged or incomplete"):
            DropoutRiskClassifier.from_files(damaged)


def test_logistic_models_of_the_first_format_are_still_read():
    model = fast(small_data="logistic").fit(X[["absent_days", "road"]], Y)
    files = model.to_files()
    state = json.loads(files["model.json"])
    state["format"] = 1
    state["logistic"] = {
        "base": -1.0,
        "slope": [0.5, 0.0],
        "offset": [0.25, 0.0],
        "missing": [0.125, 0.0],
        "low": [1.0, 0.0],
        "high": [3.0, 0.0],
        "effects": {"1": [0.0, 0.0, 2.0]},
    }
    back = DropoutRiskClassifier.from_files({"model.json": json.dumps(state)}).recalibrated(Calibration())
    rows = pd.DataFrame(
        {"absent_days": [0.0, 2.0, 9.0, np.nan], "road": pd.Categorical(["mud", "mud", None, "asphalt"])}
    )
    assert_allclose(back.decision_function(rows), [1.75, 2.25, 0.75, -0.875])


def test_the_logistic_model_bends_where_the_risk_does():
    rng = np.random.default_rng(4)
    age = rng.uniform(6, 16, 3000)
    left = rng.random(3000) < np.where(age < 12, 0.02, 0.3)
    model = fast(small_data="logistic").fit(pd.DataFrame({"age": age}), left)
    young, before, after = model.decision_function(pd.DataFrame({"age": [8.5, 11.0, 13.5]}))
    assert after - before > 2 * (before - young)  # on a straight line they would be equal
    beyond = model.decision_function(pd.DataFrame({"age": [age.max(), 40.0, age.min(), -5.0]}))
    assert beyond[0] == beyond[1] and beyond[2] == beyond[3]


def test_another_calibration_moves_the_risk_and_leaves_the_model_alone(model):
    before = model.decision_function(FEW)
    other = model.recalibrated(model.calibration_.then(0.5, -1.0))
    assert_allclose(other.decision_function(FEW), 0.5 * before - 1, atol=1e-12)
    values, base = other.contributions(FEW)
    assert_allclose(values.sum(axis=1) + base, other.decision_function(FEW), rtol=0, atol=1e-9)
    assert_array_equal(model.decision_function(FEW), before)
    back = DropoutRiskClassifier.from_files(other.to_files())
    assert_array_equal(back.decision_function(FEW), other.decision_function(FEW))
    with pytest.raises(NotFittedError):
        fast().recalibrated(Calibration())


def test_usual_values_are_those_of_the_training_rows(model):
    for grade, part in [("all", X), *X.groupby("grade")]:
        numbers = part.drop(columns="road").astype("float64").median()
        pd.testing.assert_series_equal(model.medians_.loc[grade], numbers, check_names=False)
        assert model.modes_.loc[grade, "road"] == part["road"].value_counts().idxmax()
    assert list(model.medians_.index) == [5, 6, 7, 8, "all"]


def test_values_can_be_compared_within_a_category():
    model = fast(compare_within="road", small_data="logistic").fit(X, Y)
    assert list(model.medians_.index) == ["asphalt", "gravel", "mud", "all"]
    alone = fast(compare_within=None, small_data="logistic").fit(X, Y)
    assert list(alone.medians_.index) == ["all"]


def test_rows_of_weight_0_do_not_count_as_groups():
    y = np.arange(len(X)) % 50 == 0
    school = np.arange(len(X)) // 50  # one event in each
    weight = np.isin(school, [3, 4, 9]).astype(float)  # the three that are left are dealt to three folds
    for seed in range(5):
        model = fast(random_state=seed, small_data="boosted", min_child_samples=1)
        assert len(model.fit(X, y, groups=school, sample_weight=weight).boosters_) == 3


@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_few_groups_make_fewer_models_or_are_dealt_by_row(n_groups):
    model = fast().fit(X, Y, groups=SCHOOL % n_groups)
    assert len(model.boosters_) == {1: 4, 2: 2, 3: 3}[n_groups]


def test_two_events_are_enough_for_every_training_part():
    y = np.zeros(len(X), dtype=int)
    y[[3, 700]] = 1
    for kind in KINDS:
        assert np.isfinite(fast(small_data=kind).fit(X, y, groups=SCHOOL).decision_function(X)).all()


def test_all_wrong_settings_are_named_in_one_message():
    wrong = DropoutRiskClassifier(
        learning_rate=0, num_leaves=1, n_bags=1, monotone={"road": 2}, small_data="tiny", n_jobs="two"
    )
    with pytest.raises(SettingsError) as refusal:
        wrong.fit(X, Y)
    for name in ("learning_rate=0", "num_leaves=1", "n_bags=1", "monotone={'road': 2}", "tiny", "n_jobs='two'"):
        assert name in str(refusal.value)
    assert "monotone names categories, which have no order: road" in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"groups": SCHOOL[:9]}, "groups has 9 values for 1500 rows"),
        ({"groups": [None, *SCHOOL[1:]]}, r"groups is empty in 1 rows \(first: row 0"),
        ({"term": [None, *SCHOOL[1:]]}, "term is empty in 1 rows"),
        ({"term": ["a", *SCHOOL[1:]]}, "terms cannot be put in order"),
        ({"sample_weight": -np.ones(1500)}, "[Nn]egative"),
        ({"y": np.zeros(1500)}, "1 class only"),
        ({"y": np.arange(1500) == 0}, "y holds 1 rows of one class"),
        ({"y": np.arange(1500) % 3}, "Only binary classification is supported"),
        ({"y": Y[:3]}, "inconsistent numbers of samples"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        fast().fit(X, **{"y": Y, **arguments})


def test_a_failed_fit_does_not_look_fitted():
    model = fast()
    with pytest.raises(InputError):
        model.fit(X, np.zeros(1500))
    with pytest.raises(NotFittedError):
        model.predict(X)


def lightgbm_contributions(model, X):
    """LightGBM's own contributions of the calibrated log-odds, in the order of the training columns."""
    matrix = model._matrix(X)
    parts = np.mean([one.predict(matrix, pred_contrib=True) for one in model.boosters_], axis=0)[:, :-1]
    values = np.empty(parts.shape)
    values[:, model._order] = model.calibration_.slope * parts
    return values


def test_contributions_are_those_of_lightgbm():
    model = fast(small_data="boosted").fit(X, Y)
    values, base = model.contributions(X)
    assert_allclose(values, lightgbm_contributions(model, X), rtol=0, atol=1e-9)
    assert_allclose(values.sum(axis=1) + base, model.decision_function(X), rtol=0, atol=1e-9)
    assert_allclose(model.compiled().scores(model._matrix(X)), model.decision_function(X), rtol=0, atol=1e-9)


def test_compiled_trees_never_outlive_their_model():
    model = fast(small_data="boosted").fit(X, Y)
    model.contributions(X)
    milder = model.recalibrated(model.calibration_.then(0.5, -1.0))
    assert_allclose(milder.contributions(X)[0], 0.5 * model.contributions(X)[0], rtol=0, atol=1e-12)
    model.fit(X, 1 - Y)
    assert_allclose(model.contributions(X)[0], lightgbm_contributions(model, X), rtol=0, atol=1e-9)


def test_compiled_trees_are_kept_in_memory_only():
    model = fast(small_data="boosted").fit(X, Y)
    size = len(pickle.dumps(model))
    assert model.compiled() is model.compiled()
    assert len(pickle.dumps(model)) == size
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.contributions(X)[0], model.contributions(X)[0])
    assert set(model.to_files()) == {"model.json", *(f"booster_{k}.txt" for k in range(len(model.boosters_)))}


@pytest.mark.parametrize("small_data", ["boosted", "logistic"])
def test_usual_values_stand_side_by_side_and_never_outlive_their_model(small_data):
    model = fast(small_data=small_data).fit(X, Y)
    usual = model.usual_values()
    assert usual.columns.tolist() == model.feature_names
    assert usual.loc["all", "road"] == model.modes_.loc["all", "road"]
    assert_array_equal(usual[model.medians_.columns].to_numpy(float), model.medians_.to_numpy())
    assert model.usual_values() is usual
    again = pickle.loads(pickle.dumps(model))
    assert "_usual" not in vars(again)
    assert again.usual_values().equals(usual)
    farther = X.assign(distance_km=X["distance_km"] + 100)
    assert model.fit(farther, Y).usual_values().loc["all", "distance_km"] > 100


def test_a_logistic_model_has_no_trees_to_compile():
    with pytest.raises(SettingsError, match="no trees to compile"):
        fast(small_data="logistic").fit(X, Y).compiled()
