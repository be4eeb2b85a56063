"""A list that turns over although nothing about the children has changed is noise: how that is measured."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from trained_county import junior, trained

from dropout_risk.asof import at_risk
from dropout_risk.cohort import cohorts
from dropout_risk.county import check_county, newest_day
from dropout_risk.features import build_features
from dropout_risk.judgement import Trial
from dropout_risk.metrics import listing_chance
from dropout_risk.stability import LATE_DAYS, kept_after_refit, kept_when_late
from dropout_risk.synthetic import make_county

SHARE = 0.10


@pytest.fixture(scope="module")
def model():
    return trained().bundle.model


@pytest.fixture(scope="module")
def day():
    return newest_day(junior())


@pytest.fixture(scope="module")
def roster(day):
    return build_features(junior().tables, day)


def overlap(risk, other, among=slice(None)):
    """Return the share of a list that is on another, of a school's places where `among` is its members."""
    mine, others = listing_chance(risk, SHARE), listing_chance(other, SHARE)
    return np.minimum(mine, others)[among].sum() / mine[among].sum()


@pytest.mark.slow
def test_a_late_file_is_a_file_recorded_after_the_day(model, roster, day):
    """The same features come out when every row of these four weeks stays, but reached the county a week later."""
    tables, risk = junior().tables, model.predict_proba(roster)[:, 1]
    school_of = at_risk(tables, day)["school_id"].reindex(roster.index)
    listed = pd.Series(listing_chance(risk, SHARE), roster.index).groupby(school_of).sum()
    attendance = tables["attendance"].copy()
    recent = (attendance["date"] > day - pd.Timedelta(days=28)) & (attendance["date"] <= day)
    fits = []
    for school in listed.index:
        members = (school_of == school).to_numpy()
        late = attendance.assign()
        late.loc[recent & late["student_id"].isin(roster.index[members]), "recorded_at"] = day + pd.Timedelta(days=7)
        after = build_features(tables.replace(attendance=late), day).loc[roster.index]
        other = model.predict_proba(after)[:, 1]
        fits.append((overlap(risk, other), overlap(risk, other, members) if listed[school] else np.nan, members.sum()))
    found = kept_when_late(junior(), day, model, roster, share=SHARE)
    worst = int(np.argmax(listed.to_numpy()))
    assert found["kept"] == pytest.approx(fits[worst][0])
    assert found["kept_of_school"] == pytest.approx(fits[worst][1])
    assert (found["students"], found["days"]) == (fits[worst][2], LATE_DAYS)


def test_only_four_weeks_of_one_school_are_late(model, roster, day):
    """What a late file changes are the features of attendance, of that school, and nothing before the four weeks."""
    asked = []

    class Watched:
        def predict_proba(self, X):
            asked.append(X)
            return model.predict_proba(X)

    kept_when_late(junior(), day, Watched(), roster, share=SHARE)
    before, after = asked
    pd.testing.assert_frame_equal(before, roster)
    same = (before.eq(after) | (before.isna() & after.isna())).to_numpy()
    school_of = at_risk(junior().tables, day)["school_id"].reindex(roster.index)
    touched = school_of[~same.all(axis=1)].unique()
    assert len(touched) == 1, "more than one school is late"
    assert 0 < (~same).any(axis=0).sum() < roster.shape[1] / 2
    fixed = [name for name in ("score_level", "distance_km", "poverty_level", "grade") if name in roster]
    pd.testing.assert_frame_equal(before[fixed], after[fixed])


def test_a_model_that_does_not_look_at_attendance_keeps_its_list(roster, day):
    class OnlyGrade:
        def predict_proba(self, X):
            risk = 0.01 * X["grade"].to_numpy() + 1e-6 * np.arange(len(X))
            return np.column_stack([1 - risk, risk])

    found = kept_when_late(junior(), day, OnlyGrade(), roster, share=SHARE)
    assert found["kept"] == found["kept_of_school"] == 1.0


def test_without_daily_attendance_or_with_one_school_there_is_no_late_file(model):
    counts = check_county(make_county(200, terms=2, seed=1, daily=False))
    end = newest_day(counts)
    assert kept_when_late(counts, end, model, build_features(counts.tables, end), share=SHARE) is None
    small = check_county(make_county(60, terms=2, grades=(7, 9), seed=1))
    assert small.tables["schools"]["school_id"].nunique() == 1
    end = newest_day(small)
    assert kept_when_late(small, end, model, build_features(small.tables, end), share=SHARE) is None


@pytest.mark.slow
def test_a_refit_is_the_same_model_with_another_seed(model, roster):
    learned = cohorts(junior().tables)
    trial = Trial(learned.X, learned.y, learned.groups, learned.term, [], {})
    other = clone(model).set_params(random_state=9).fit(learned.X, learned.y, groups=learned.groups, term=learned.term)
    expected = overlap(model.predict_proba(roster)[:, 1], other.predict_proba(roster)[:, 1])
    assert kept_after_refit(trial, model, roster, share=SHARE, seed=9) == pytest.approx(expected)
    assert kept_after_refit(trial, model, roster, share=SHARE, seed=model.random_state) == pytest.approx(1.0)


def test_the_stability_of_a_training_is_that_of_its_newest_list(model, roster, day):
    found = trained().assessment.to_dict()["stability"]
    assert found["share"] == SHARE
    assert found["late_attendance"] == kept_when_late(junior(), day, model, roster, share=SHARE)
    assert 0.5 < found["refit"]["kept"] <= 1
