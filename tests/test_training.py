"""Making a model of a county from outside: what it learns from, what it refuses, and what it says of itself."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from trained_county import HELP_FROM, JUNIOR, helped, trained, two_counties

from dropout_risk import cohort
from dropout_risk import county as county_module
from dropout_risk.bundle import load_bundle, save_bundle
from dropout_risk.cohort import cohorts
from dropout_risk.county import check_county
from dropout_risk.descriptions import FEATURES
from dropout_risk.errors import InputError, SettingsError, TableError
from dropout_risk.evaluation import evaluate
from dropout_risk.judgement import Trial, out_of_time_splits
from dropout_risk.pipeline import score
from dropout_risk.schema import Tables
from dropout_risk.support import check_help, frozen_splits
from dropout_risk.synthetic import make_county
from dropout_risk.training import BAND_SHARES, adapt_county, band_cutoffs, county_model, train


def quick(tables: Tables, **options):
    return train(check_county(tables), peers={}, thorough=False, **options)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("county", "error", "words"),
    [
        ({"terms": 1}, TableError, ["known outcome"]),
        ({"terms": 2, "students": 60, "grades": (7, 9)}, TableError, ["one school", "add terms or schools"]),
        ({"terms": 3, "shift": -9.0}, InputError, ["left"]),
    ],
    ids=["one term", "one term of one school", "nobody left"],
)
def test_too_little_to_learn_from_gets_a_sentence(county, error, words):
    with pytest.raises(error) as caught:
        quick(make_county(**{"students": 200, **JUNIOR, **county}))
    text = str(caught.value)
    assert all(word.lower() in text.lower() for word in words), text
    assert text[0].isupper() and text.endswith(".")
    assert "split" not in text, "the reader has a county, no splits"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tiny_county_gets_what_can_be_said(seed):
    """Sixty students of one school: a logistic model, no unseen place, and everything else is there."""
    made = quick(make_county(60, terms=4, grades=(7, 9), shift=1.0, seed=seed)).assessment.to_dict()
    assert made["held_out"] is None
    assert made["evaluation"]["rows"] > 0
    assert made["stability"]["late_attendance"] is None
    assert any("逻辑回归" in note["zh"] and "ogistic" in note["en"] for note in made["notes"])
    json.dumps(made, allow_nan=False)


@pytest.mark.slow
def test_two_terms_with_schools_are_judged_by_school():
    made = quick(make_county(500, terms=2, grades=(6, 9), shift=1.2, seed=4)).assessment.to_dict()
    assert made["validation"]["en"].startswith("out of group") and made["validation"]["zh"].startswith("按学校外推")
    assert made["evaluation"]["rows"] == made["data"]["rows"]


# --- learning from help ----------------------------------------------------------------------------------------


def without_help(county):
    """Return the county as it is where nobody writes down who was helped."""
    return check_county(Tables({name: frame for name, frame in county.as_read.items() if name != "interventions"}))


@pytest.fixture(scope="module")
def help_day():
    terms = helped().tables["terms"].sort_values("start")
    return terms["start"].iloc[HELP_FROM]


def test_rows_after_deployment_are_refused_where_help_is_not_on_record(help_day):
    with pytest.raises(SettingsError) as caught:
        train(without_help(helped()), deployed_on=help_day, peers={}, thorough=False)
    for word in (str(help_day.date()), "interventions", 'treatment="audit"', "2020-2021-1"):
        assert word in str(caught.value)
    with pytest.raises(SettingsError, match="no treatment 'ignore'"):
        train(helped(), treatment="ignore", peers={}, thorough=False)


@pytest.fixture(scope="module")
def seen():
    """Cohorts of the helped county, which rows help may have changed, and their out-of-time risks by treatment."""
    learned = cohorts(helped().tables)
    touched = check_help(helped().tables).touched(learned.window_end)
    return learned, touched


def treated(treatment):
    return trained("helped") if treatment == "exclude" else trained("helped", treatment=treatment)


@pytest.mark.slow
@pytest.mark.parametrize("treatment", ["exclude", "weight", "audit"])
def test_helped_rows_teach_what_the_treatment_says(treatment, seen):
    learned, touched = seen
    found = treated(treatment).assessment.to_dict()["help"]
    assert found["treatment"] == treatment
    assert found["rows"] == touched.sum()
    assert found["helped"] == (touched & learned.helped).sum() > 0
    counted_out = 0 if treatment == "audit" else found["helped"]
    if treatment == "weight":
        assert found["effective_rows"] < len(learned.y) - counted_out
    else:
        assert found["effective_rows"] == len(learned.y) - counted_out
    if treatment == "weight":
        return
    weight = np.where(touched & learned.helped, 0.0, 1.0) if treatment == "exclude" else None
    splits, how = out_of_time_splits(learned.y, learned.term, groups=learned.groups)
    trial = Trial(learned.X, learned.y, learned.groups, learned.term, splits, how, weight)
    np.testing.assert_array_equal(treated(treatment).assessment.risk, trial.risks(county_model()))


@pytest.mark.slow
def test_the_treatment_changes_the_model():
    roster = {how: score(helped(), treated(how).bundle).frame for how in ("exclude", "weight", "audit")}
    risks = {how: frame.set_index("student_id")["risk"].sort_index().to_numpy() for how, frame in roster.items()}
    assert not np.allclose(risks["exclude"], risks["audit"])
    assert not np.allclose(risks["exclude"], risks["weight"])


@pytest.mark.slow
def test_exclude_is_the_default_and_since_when_is_said(help_day):
    made = trained("helped").assessment.to_dict()
    assert made["help"]["treatment"] == "exclude"
    first = helped().tables["interventions"]["date"].min()
    assert made["help"]["since"] == str(first.date()) >= str(help_day.date())
    notes = made["notes"]
    assert any(str(first.date()) in note["zh"] and str(first.date()) in note["en"] for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize("treatment", ["exclude", "audit"])
def test_helped_and_others_are_judged_apart_by_their_own_rows(treatment, seen):
    learned, touched = seen
    made = treated(treatment).assessment
    figures = made.to_dict()["help"]["figures"]
    judged = touched & ~np.isnan(made.risk)
    for name, members in (("helped", judged & learned.helped), ("not_helped", judged & ~learned.helped)):
        by_hand = evaluate(learned.y[members], made.risk[members], groups=learned.groups[members]).to_dict()
        assert members.sum() > 0
        assert figures[name] == by_hand["metrics"]
    assert figures["helped"]["auc"] != figures["not_helped"]["auc"]


@pytest.mark.slow
def test_the_frozen_benchmark_is_of_rows_before_anybody_was_helped(seen):
    learned, touched = seen
    found = trained("helped").assessment.to_dict()["help"]["frozen"]
    last = learned.term[~np.isin(learned.term, learned.term[touched])].max()
    assert found["rows"] == (learned.term == last).sum()
    weight = np.where(touched & learned.helped, 0.0, 1.0)
    splits = frozen_splits(learned.term, touched, groups=learned.groups)
    trial = Trial(learned.X, learned.y, learned.groups, learned.term, splits, {}, weight)
    risk = trial.risks(county_model())
    assert set(learned.term[~np.isnan(risk)]) == {last}
    assert found["term"] == learned.X.index.get_level_values("term")[learned.term == last][0]
    assert found["metrics"] == evaluate(learned.y, risk, groups=learned.groups).to_dict()["metrics"]
    highest = np.argsort(-risk[learned.term == last])[: found["rows"] // 10]
    assert found["top_tenth"]["mean_risk"] == pytest.approx(risk[learned.term == last][highest].mean(), rel=0.02)
    assert found["top_tenth"]["observed"] == pytest.approx(learned.y[learned.term == last][highest].mean(), abs=0.03)


@pytest.mark.no_cover
@pytest.mark.slow
def test_later_terms_add_no_row_to_the_frozen_benchmark(seen):
    """A term less of the same county: the benchmark is of the same students in the same term."""
    learned, touched = seen
    terms = helped().tables["terms"].sort_values("start")
    early = terms["end"].iloc[-2]
    shorter = {}
    for name, frame in helped().as_read.items():
        dates = [column for column in ("date", "exam_date", "enrolled_on") if column in frame]
        kept = frame[dates[0]].isna() | (frame[dates[0]] <= early) if dates else pd.Series(True, frame.index)
        if "term" in frame and name != "terms":
            kept &= frame["term"] != terms["term"].iloc[-1]
        shorter[name] = frame[kept]
    before = quick(Tables(shorter))
    first, second = (one.assessment.to_dict()["help"]["frozen"] for one in (before, trained("helped")))
    assert first["rows"] == second["rows"]
    ours = cohorts(check_county(Tables(shorter)).tables)
    last = learned.term[~np.isin(learned.term, learned.term[touched])].max()
    pd.testing.assert_frame_equal(ours.X[ours.term == last], learned.X[learned.term == last])
    np.testing.assert_array_equal(ours.y[ours.term == last], learned.y[learned.term == last])


def test_a_county_without_help_has_no_such_part():
    assert trained().assessment.to_dict()["help"] is None


# --- leaks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def leaking(monkeypatch):
    """The absence of this term is replaced by what happens in the next one, with a little noise."""
    leaves = two_counties().as_read.oracle.set_index(["term", "student_id"])["leaves"]
    term_at = two_counties().tables["terms"].set_index("end")["term"]
    rng, honest = np.random.default_rng(0), cohort.build_features

    def build_features(tables, day):
        X = honest(tables, day)
        to_come = leaves.xs(term_at[day]).reindex(X.index).eq(True).to_numpy(dtype=float)
        return X.assign(absence_rate=np.clip(to_come + rng.normal(0, 0.1, len(X)), 0, 1))

    monkeypatch.setattr(cohort, "build_features", build_features)
    monkeypatch.setattr(county_module, "build_features", build_features)
    two_counties().tables._derived.clear()
    yield
    two_counties().tables._derived.clear()


@pytest.mark.slow
def test_a_feature_that_looks_ahead_raises_the_alarm_that_names_it(leaking):
    made = train(two_counties(), peers={}, thorough=False).assessment.to_dict()
    alarms = {alarm["kind"]: alarm for alarm in made["alarms"]}
    assert set(alarms) == {"auc", "gain", "oracle"}
    label = FEATURES["absence_rate"]
    for alarm in alarms.values():
        assert alarm["feature"] == "absence_rate"
        assert label.zh in alarm["zh"] and label.en.lower() in alarm["en"].lower()


# --- a model from elsewhere ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def milder():
    """A county where far fewer leave than in the one that the bundle learned from."""
    return check_county(make_county(700, terms=3, grades=(6, 9), shift=-0.6, seed=40))


@pytest.fixture(scope="module")
def adapted(milder):
    return adapt_county(milder, trained("two_counties").bundle, created=date(2026, 11, 22))


@pytest.mark.slow
def test_a_model_from_elsewhere_is_set_to_the_level_of_the_place(milder, adapted):
    learned = cohorts(milder.tables)
    assert (adapted.rows, adapted.events) == (len(learned.y), learned.y.sum())
    before = trained("two_counties").bundle.model.predict_proba(learned.X)[:, 1]
    after = adapted.bundle.model.predict_proba(learned.X)[:, 1]
    assert adapted.expected == pytest.approx(before.sum())
    assert before.sum() > 1.5 * learned.y.sum(), "the county was to be milder"
    assert abs(after.sum() - learned.y.sum()) < abs(before.sum() - learned.y.sum()) / 2
    assert adapted.cases_low < learned.y.sum() / after.sum() < adapted.cases_high
    assert (np.argsort(before, kind="stable") == np.argsort(after, kind="stable")).mean() > 0.99


@pytest.mark.slow
def test_an_adapted_bundle_scores_and_survives_saving(milder, adapted, tmp_path):
    scores = score(milder, adapted.bundle)
    saved = load_bundle(save_bundle(adapted.bundle, tmp_path / "b"))
    pd.testing.assert_frame_equal(score(milder, saved).frame, scores.frame, check_exact=True)
    newest = milder.tables["terms"].sort_values("start")["end"].iloc[-1]
    assert saved.reference["as_of"] == str(newest.date()), "the reference values are of the old place"
    assert saved.created == "2026-11-22"


@pytest.mark.slow
def test_what_a_model_from_elsewhere_needs_is_said(milder, adapted):
    with pytest.raises(SettingsError, match="flat table"):
        adapt_county(milder, replace(trained().bundle, kind="flat"))
    few = check_county(make_county(40, terms=2, grades=(7, 9), seed=2))
    with pytest.raises(InputError, match="100"):
        adapt_county(few, trained().bundle)
    new = check_county(make_county(200, terms=1, seed=2))
    with pytest.raises(TableError, match="known outcome"):
        adapt_county(new, trained().bundle)
    for lang, words in (("zh", "本模型由其他地区的数据训练"), ("en", "This model learned elsewhere")):
        assert adapted.to_text(lang).startswith(words)


# --- the rest ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_says_what_it_is_doing():
    told = []
    quick(make_county(120, **{**JUNIOR, "grades": (7, 9)}, terms=3), progress=told.append)
    for step in ("model", "intervals", "final fit", "newest roster"):
        assert step in told
    assert len(told) == len(set(told))


@pytest.mark.slow
def test_unseen_places_and_sensitive_inputs_are_judged_in_every_term_only_where_asked():
    newest = trained("two_counties").assessment.to_dict()
    thorough = train(two_counties(), peers={}).assessment.to_dict()
    assert thorough["evaluation"] == newest["evaluation"]
    assert thorough["held_out"]["evaluation"]["rows"] == thorough["evaluation"]["rows"]
    assert newest["held_out"]["evaluation"]["rows"] <= thorough["held_out"]["evaluation"]["rows"]


def test_bands_hold_their_shares_of_the_judged_risks():
    made = trained("two_counties")
    risk = made.assessment.risk[~np.isnan(made.assessment.risk)]
    cuts = made.bundle.bands
    assert cuts == band_cutoffs(made.assessment.risk)
    for name, share in BAND_SHARES.items():
        assert (risk >= cuts[name] - 1e-4).mean() == pytest.approx(share, abs=0.03)


@pytest.mark.slow
def test_a_longer_horizon_is_learned_and_kept():
    made = quick(make_county(400, terms=5, **JUNIOR), horizon=2)
    assert made.bundle.horizon == 2 and made.bundle.outlook is None
    assert made.assessment.to_dict()["data"]["horizon"] == 2
    assert len(made.assessment.to_dict()["data"]["terms"]) == 3
