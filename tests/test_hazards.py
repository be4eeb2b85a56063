"""Risk up to the end of grade 9 and rising risks, against the slow obvious way."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit

from dropout_risk.cohort import Cohorts, cohorts
from dropout_risk.errors import InputError, SettingsError
from dropout_risk.features import MONOTONE
from dropout_risk.hazards import MIN_EVENTS, evidence_terms, fit_outlook, outlook, rise, risk_within
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.synthetic import make_county


def cohorts_of(rows):
    """Cohorts of a frame with term, student_id, school, y and features."""
    rows = rows.sort_values(["term", "student_id"])
    X = rows.set_index([rows["term"].map("t{}".format), "student_id"])
    X.index.names = ["term", "student_id"]
    fields = {"y": rows["y"].to_numpy(), "groups": rows["school"].to_numpy(str), "term": rows["term"].to_numpy()}
    others = {name: None for name in Cohorts.__dataclass_fields__ if name not in {"X", *fields}}
    return Cohorts(X=X.drop(columns=["term", "student_id", "school", "y"], errors="ignore"), **fields, **others)


def world(n=300, n_terms=5, seed=0, hazard=lambda row: expit(row["trouble"] + 0.8 * (row["grade"] >= 8) - 2.5)):
    """Children who go their way to grade 9 term by term; some are not seen in a term, some come back."""
    rng = np.random.default_rng(seed)
    rows = []
    for student in range(n):
        half_years, trouble = 2 * rng.integers(6, 10), rng.normal()
        for term in range(n_terms):
            now = half_years + term
            row = {"grade": float(now // 2), "before_summer": float(now % 2), "trouble": trouble}
            if now >= 19:
                break
            left = rng.random() < hazard(row)
            if rng.random() > 0.05:
                rows.append(
                    {**row, "term": term, "student_id": f"s{student:05}", "school": student % 20, "y": int(left)}
                )
            if left and rng.random() > 0.2:
                break
            trouble += rng.normal(0, 0.2)
    return cohorts_of(pd.DataFrame(rows))


class Watched(DropoutRiskClassifier):
    """Keeps what it was fitted to."""

    def fit(self, X, y, groups=None, term=None, sample_weight=None):
        self.seen_ = X.assign(y=y, school=groups, term=term)
        return super().fit(X, y, groups=groups, term=term)


LEARNED = world()


@pytest.fixture(scope="module")
def main():
    return DropoutRiskClassifier(n_estimators=30).fit(LEARNED.X, LEARNED.y, groups=LEARNED.groups)


@pytest.fixture(scope="module")
def later():
    return fit_outlook(LEARNED, Watched(n_estimators=30, monotone={"trouble": 1}))


def test_every_row_meets_each_later_outcome_of_those_still_there(later):
    # The slow way: each pair of rows of one student, told apart by lead, with nothing having happened between.
    rows = LEARNED.X.assign(y=LEARNED.y, term_no=LEARNED.term, school=LEARNED.groups).reset_index()
    expected = []
    for _, own in rows.groupby("student_id"):
        own = list(own.sort_values("term_no").itertuples())
        for place, first in enumerate(own):
            for later_place, last in enumerate(own[place + 1 :], start=place + 1):
                if not any(between.y for between in own[place:later_place]):
                    lead = last.term_no - first.term_no + 1
                    expected.append(
                        (last.grade, last.before_summer, first.trouble, lead, last.y, first.school, last.term_no)
                    )
    expected = pd.DataFrame(expected, columns=["grade", "before_summer", "trouble", "lead", "y", "school", "term"])
    events = expected.groupby("lead")["y"].sum()
    expected = expected[expected["lead"] <= evidence_terms(later)]
    columns = list(expected.columns)
    seen = later.seen_.reset_index(drop=True).sort_values(columns)[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(seen, expected.sort_values(columns).reset_index(drop=True), check_dtype=False)
    assert events[evidence_terms(later)] >= MIN_EVENTS
    assert evidence_terms(later) == events.index.max() or events[evidence_terms(later) + 1] < MIN_EVENTS


def test_the_risk_to_the_end_is_one_minus_the_chance_of_staying_every_term(main, later):
    ahead = outlook(main, later, LEARNED.X)
    hazards = ahead.filter(like="hazard_").to_numpy()
    for row in range(0, len(ahead), 7):
        left = int(ahead["terms_left"].iloc[row])
        assert left == terms_to_walk(LEARNED.X.iloc[row])
        assert np.isfinite(hazards[row, :left]).all() and np.isnan(hazards[row, left:]).all()
        stays = 1.0
        for hazard in hazards[row, :left]:
            stays *= 1 - hazard
        assert ahead["risk_to_end"].iloc[row] == pytest.approx(1 - stays, abs=1e-12)
        assert hazards[row, ahead["peak_term"].iloc[row] - 1] == np.nanmax(hazards[row])
    assert_array_equal(ahead["evidence_terms"], np.minimum(ahead["terms_left"], evidence_terms(later)))


def terms_to_walk(row):
    """Count the term ends from today to the last one before the end of grade 9, one by one."""
    grade, before_summer, count = row["grade"], row["before_summer"], 0
    while (grade, before_summer) != (9, 1):
        count += 1
        grade, before_summer = (grade + 1, 0) if before_summer else (grade, 1)
    return count


def test_the_next_terms_hazard_is_the_risk_of_the_main_model_bit_for_bit(main, later):
    ahead = outlook(main, later, LEARNED.X)
    assert_array_equal(ahead["hazard_1"], main.predict_proba(LEARNED.X)[:, 1])
    last = ahead["terms_left"] == 1
    assert last.any()
    assert_array_equal(ahead["risk_to_end"][last], ahead["hazard_1"][last])


def test_a_longer_way_never_lowers_the_risk_and_it_stays_a_probability(main, later):
    ahead = outlook(main, later, LEARNED.X)
    before = risk_within(ahead, 1)
    assert_array_equal(before, ahead["hazard_1"])
    for terms in range(2, 9):
        now = risk_within(ahead, terms)
        assert (now >= before).all() and (now <= 1).all()
        before = now
    assert_array_equal(risk_within(ahead, 50), ahead["risk_to_end"])
    with pytest.raises(SettingsError, match="at least 1 term"):
        risk_within(ahead, 0)


def test_beyond_the_evidence_the_longest_lead_goes_on_with_the_grade_moved(main, later):
    first_grader = LEARNED.X.iloc[[0]].assign(grade=1.0, before_summer=1.0)
    ahead = outlook(main, later, first_grader)
    seen = evidence_terms(later)
    assert ahead["terms_left"].item() == 16 and ahead["evidence_terms"].item() == seen
    for lead, grade, before_summer in [(2, 2, 0), (3, 2, 1), (seen + 2, (3 + seen + 1) // 2, (3 + seen + 1) % 2)]:
        then = first_grader.assign(grade=float(grade), before_summer=float(before_summer), lead=min(lead, seen))
        assert ahead[f"hazard_{lead}"].item() == later.predict_proba(then)[0, 1]


def test_with_one_term_of_outcomes_the_main_model_looks_ahead_and_the_evidence_is_one_term(main):
    first = LEARNED.term == 0
    alone = cohorts_of(LEARNED.X[first].reset_index().assign(term=0, y=LEARNED.y[first], school=LEARNED.groups[first]))
    assert fit_outlook(alone, main) is None
    ahead = outlook(main, None, alone.X)
    assert (ahead["evidence_terms"] == 1).all()
    longer = ahead["terms_left"] >= 2
    moved = alone.X[longer].assign(before_summer=1.0)  # all of term 0 are in autumn
    assert_array_equal(ahead["hazard_2"][longer], main.predict_proba(moved)[:, 1])


@pytest.mark.no_cover
@pytest.mark.slow
def test_true_hazards_are_found():
    learned = world(3000, seed=1)
    model = DropoutRiskClassifier(monotone={"trouble": 1}).fit(learned.X, learned.y, groups=learned.groups)
    ahead = outlook(model, fit_outlook(learned, model), learned.X)
    young = (learned.term == 0) & (learned.X["grade"] == 6)
    found = ahead[young].filter(like="hazard_").mean()
    assert found["hazard_5"] > 1.3 * found["hazard_3"]  # grade 8 begins with the fifth outcome
    trouble = learned.X["trouble"][young]
    for lead in (2, 5):
        column = ahead.loc[young, f"hazard_{lead}"]
        assert column[trouble > 1].mean() > 3 * column[trouble < -1].mean()


def test_directions_are_kept_and_the_model_given_is_untouched(later):
    grid = pd.DataFrame({"grade": 8.0, "before_summer": 0.0, "trouble": np.linspace(-3, 3, 50), "lead": 2})
    assert (np.diff(later.predict_proba(grid)[:, 1]) >= 0).all()
    settings = DropoutRiskClassifier(n_estimators=5)
    fit_outlook(LEARNED, settings)
    assert not hasattr(settings, "kind_") and settings.compare_within == "grade"


def test_many_rows_are_sampled_with_a_seed(later):
    capped = [fit_outlook(LEARNED, Watched(), max_rows=500, seed=seed) for seed in (0, 0, 1)]
    assert [len(model.seen_) for model in capped] == [500, 500, 500]
    assert capped[0].to_files() == capped[1].to_files() != capped[2].to_files()
    with pytest.raises(SettingsError, match="at least 1 row"):
        fit_outlook(LEARNED, Watched(), max_rows=0)


def test_an_outlook_survives_being_saved(later):
    back = DropoutRiskClassifier.from_files(later.to_files())
    assert evidence_terms(back) == evidence_terms(later)


def test_what_makes_no_sense_is_refused(main, later):
    with pytest.raises(InputError, match="grade and season"):
        outlook(main, later, LEARNED.X.assign(grade=np.nan))
    twice = LEARNED.X.reset_index().assign(term=0, y=LEARNED.y, school=LEARNED.groups)
    with pytest.raises(InputError, match="two rows in one term"):
        fit_outlook(cohorts_of(twice), main)


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.floats(0.001, 0.999)), min_size=1, max_size=20))
def test_rises_are_changes_in_log_odds_in_order(pairs):
    now, before = (
        pd.Series(values, [f"s{place}" for place in range(len(pairs))]) for values in zip(*pairs, strict=True)
    )
    found = rise(now, before)
    assert_allclose(expit(np.log(before / (1 - before)) + found["rise"].reindex(now.index)), now)
    assert found["rise"].is_monotonic_decreasing and found["rise_rank"].is_monotonic_increasing
    for student, row in found.iterrows():
        assert row["rise_rank"] == 1 + (found["rise"] > found["rise"][student]).sum()


def test_rises_are_of_students_seen_in_both():
    now, before = pd.Series({"b": 0.2, "a": 0.2, "new": 0.9}), pd.Series({"gone": 0.1, "a": 0.1, "b": 0.1})
    assert list(rise(now, before).index) == ["a", "b"]
    assert list(rise(now, before)["rise_rank"]) == [1, 1]
    assert rise(now, before[["gone"]]).empty
    with pytest.raises(InputError, match="`before` must lie between 0 and 1"):
        rise(now, before * 0)
    with pytest.raises(InputError, match="`now` have a student more than once"):
        rise(pd.concat([now, now]), before)


@pytest.mark.no_cover
@pytest.mark.slow
def test_risks_over_four_terms_are_calibrated_out_of_time():
    learned = cohorts(make_county(6000, terms=9, grades=(5, 9), seed=5, daily=False))
    X, y, groups, term = learned
    past = term <= 3  # outcomes up to term 4, at whose end the test students are scored
    known = replace(learned, X=X[past], y=y[past], groups=groups[past], term=term[past])
    few = DropoutRiskClassifier(n_estimators=100, n_bags=2, learning_rate=0.1, monotone=MONOTONE)
    model = few.fit(known.X, known.y, groups=known.groups)
    ahead = outlook(model, fit_outlook(known, model), X[term == 4].droplevel("term"))
    risk, left = risk_within(ahead, 4), pd.Series(False, ahead.index)
    followed = pd.Series(0, ahead.index)
    for step in range(4):
        now = pd.Series(y[term == 4 + step], X.index[term == 4 + step].get_level_values("student_id"))
        now = now.reindex(ahead.index)
        followed += (now.notna() & ~left).astype(int)
        left |= now == 1
    complete = left | (followed >= ahead["terms_left"].clip(upper=4))
    risk, left = risk[complete], left[complete]
    error = np.sqrt((risk * (1 - risk)).sum())
    assert abs(risk.sum() - left.sum()) < 4 * error  # children of one school go together: wider than binomial
    tenth = pd.qcut(risk.rank(method="first"), 10, labels=False)
    gap = (risk.groupby(tenth).mean() - left.groupby(tenth).mean()).abs()
    assert gap.max() < 0.05 and gap.mean() < 0.02
