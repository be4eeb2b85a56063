"""The main job from outside: better than simple rules, never better than the truth, and no row lost."""

import numpy as np
import pandas as pd
import pytest

from dropout_risk.bundle import load_bundle, save_bundle
from dropout_risk.cohort import cohorts
from dropout_risk.county import County, check_county, newest_day
from dropout_risk.errors import InputError, SettingsError
from dropout_risk.evaluation import Evaluation, evaluate
from dropout_risk.features import rule_scores
from dropout_risk.judgement import Trial, out_of_time_splits
from dropout_risk.peers import PEERS
from dropout_risk.pipeline import score
from dropout_risk.schema import Tables
from dropout_risk.synthetic import make_county
from dropout_risk.training import Training, band_cutoffs, county_model, train

FAST_PEERS = {"logistic_regression": PEERS["logistic_regression"]}


@pytest.fixture(scope="module")
def checked(county: Tables) -> County:
    return check_county(county)


@pytest.fixture(scope="module")
def training(checked: County) -> Training:
    return train(checked, peers=FAST_PEERS, thorough=False)


@pytest.mark.slow
def test_training_is_judged_out_of_time(training: Training) -> None:
    assert training.bundle.metrics["validation"]["en"].startswith("out of time")
    assert training.bundle.metrics["validation"]["zh"].startswith("按时间外推")
    assert {"absence_rule", "school_mean", "poverty_list", "last_grades", "random"} == set(training.evaluation.rules)
    assert set(training.evaluation.peers) == set(FAST_PEERS)


def test_outcomes_account_for_every_student_at_risk(training: Training) -> None:
    censored = ["not_over_yet", "transfer_not_confirmed", "school_not_reported", "attendance_not_reported"]
    known = training.outcomes.drop(columns=censored, errors="ignore").to_numpy().sum()
    assert known == training.bundle.data["rows"]


@pytest.mark.slow
def test_training_twice_gives_the_same_bundle(checked: County, training: Training) -> None:
    again = train(checked, peers=FAST_PEERS, thorough=False, threads=2)
    assert again.assessment.to_dict() == training.assessment.to_dict()
    first, second = (score(checked, bundle).frame for bundle in (training.bundle, again.bundle))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_scores_lose_no_row_and_survive_saving(
    checked: County, training: Training, county: Tables, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scores = score(checked, training.bundle, lang="en")
    newest = county["terms"].sort_values("start")["term"].iloc[-1]
    assert scores.rows_in == (county["enrolments"]["term"] == newest).sum() == len(scores.frame) + len(scores.refused)
    risk = scores.frame["risk"].to_numpy()
    assert (risk[:-1] >= risk[1:]).all()
    assert scores.frame["rank"].tolist() == [1 + (risk > own).sum() for own in risk]
    assert not set(scores.refused["student_id"]) & set(scores.frame["student_id"])
    assert scores.refused["message"].notna().all()
    saved = save_bundle(training.bundle, tmp_path_factory.mktemp("bundle") / "b")
    pd.testing.assert_frame_equal(score(checked, load_bundle(saved)).frame, scores.frame, check_exact=True)


def test_a_score_is_that_of_its_day(checked: County, training: Training, county: Tables) -> None:
    """Facts recorded after the as-of date, changed at random, change no score and no reason."""
    day = pd.Timestamp("2020-07-10")
    rng = np.random.default_rng(5)
    frames = {}
    for name in ("attendance", "grades", "status_changes"):
        frame = county[name]
        later = (frame["recorded_at"] > day).to_numpy()
        shuffled = frame[later].sample(frac=0.7, random_state=rng)
        frames[name] = pd.concat([frame[~later], shuffled])
    frames["attendance"].loc[frames["attendance"]["recorded_at"] > day, "code"] = "U"
    changed = check_county(county.replace(**frames))
    before, after = (score(one, training.bundle, as_of=day) for one in (checked, changed))
    pd.testing.assert_frame_equal(before.frame, after.frame, check_exact=True)
    assert before.reasons == after.reasons


def test_reasons_sum_to_the_risk(checked: County, training: Training) -> None:
    scores = score(checked, training.bundle, reasons=10)
    for risk, reasons in zip(scores.frame["risk"], scores.reasons, strict=True):
        assert 0 < risk < 1
        assert all(reason.contribution > 0 and reason.text and reason.measure for reason in reasons)
    flat = scores.to_frame()
    assert len(flat) == len(scores.frame) and flat["reason_1"].str.len().gt(0).mean() > 0.9


def test_an_unknown_day_is_refused(checked: County, training: Training) -> None:
    with pytest.raises(SettingsError, match="before the first term"):
        score(checked, training.bundle, as_of="2001-01-01")


@pytest.mark.parametrize("risk", [np.full(50, 0.02), np.linspace(0, 1, 50), np.zeros(5), np.ones(5)])
def test_bands_are_always_in_order(risk: np.ndarray) -> None:
    cuts = band_cutoffs(risk)
    assert 1 > cuts["high"] > cuts["raised"] > cuts["watch"] > 0


@pytest.fixture(scope="module")
def big() -> tuple[Evaluation, Evaluation]:
    """A county of 9,000 students judged out of time; then the same rows beside the true risk."""
    tables = make_county(9000, terms=6, seed=23)
    learned = cohorts(tables)
    splits, how = out_of_time_splits(learned.y, learned.term, groups=learned.groups)
    risk = Trial(learned.X, learned.y, learned.groups, learned.term, splits, how).risks(county_model())
    rules = rule_scores(learned.X)
    evaluation = evaluate(learned.y, risk, groups=learned.groups, term=learned.term, rules=rules)
    truth = tables.oracle.set_index(["term", "student_id"])["risk"].reindex(learned.X.index).to_numpy()
    known = ~np.isnan(risk) & ~np.isnan(truth)
    beside = evaluate(learned.y[known], risk[known], groups=learned.groups[known], rules={"oracle": truth[known]})
    return evaluation, beside


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["absence_rule", "school_mean", "poverty_list", "last_grades", "random"])
def test_model_beats_the_rule_at_the_same_capacity(big: tuple[Evaluation, Evaluation], rule: str) -> None:
    assert big[0].better_than(rule, "recall_at_10")
    assert big[0].better_than(rule, "average_precision")


@pytest.mark.slow
def test_model_does_not_beat_the_truth(big: tuple[Evaluation, Evaluation]) -> None:
    for metric in ("auc", "average_precision", "recall_at_10"):
        assert big[1].differences["oracle"][metric].value < 0
        assert not big[1].better_than("oracle", metric)


@pytest.mark.slow
def test_risks_are_calibrated_out_of_time(big: tuple[Evaluation, Evaluation]) -> None:
    assert big[0].metrics["ece"].value < 0.01


@pytest.mark.slow
def test_features_of_students_who_are_not_on_roll_are_refused(checked: County, training: Training) -> None:
    X = checked.features(newest_day(checked))
    with pytest.raises(InputError, match="1 of the students in features are not on roll"):
        score(checked, training.bundle, features=X.rename(index={X.index[0]: "NOBODY"}))
