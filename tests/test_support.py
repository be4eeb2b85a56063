"""Learning from help: who was helped, what is refused, what counts how much, and what a naive refit learns."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from county_builder import AUTUMN, SPRING, build_tables, enrol, shuffle
from hypothesis import given
from hypothesis import strategies as st

from dropout_risk.asof import Terms
from dropout_risk.cohort import Cohorts, cohorts
from dropout_risk.errors import SettingsError
from dropout_risk.features import MONOTONE, build_features
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.support import (
    MAX_WEIGHT,
    TREATMENTS,
    Deployment,
    chance_of_help,
    check_help,
    effective_rows,
    frozen_splits,
    frozen_terms,
    help_given,
    learning_weights,
    outcome_windows,
)
from dropout_risk.synthetic import make_county

AS_OF, WINDOW_END = "2020-01-17", "2020-07-10"


@pytest.fixture(scope="module")
def helping() -> pd.DataFrame:
    """A county that helps from its third term on."""
    return make_county(900, terms=5, grades=(6, 9), counties=3, seed=5, daily=False, help_from=2, help_share=0.2)


# --- who was helped -----------------------------------------------------------------------------------


def support(student: str, date: str, recorded_at: str | None = None, kind: str = "home_visit") -> dict:
    return {"student_id": student, "date": date, "kind": kind, "recorded_at": recorded_at}


def helped_of(rows: list[dict], changes: list[dict] = (), *, known_by: str | None = None) -> list[str]:
    tables = build_tables(
        enrolments=enrol("x", AUTUMN, SPRING) + enrol("y", AUTUMN, SPRING),
        interventions=rows,
        status_changes=list(changes),
    )
    helped = help_given(tables, AS_OF, WINDOW_END, pd.Index(["y", "x"]), known_by=known_by)
    assert helped.index.tolist() == ["y", "x"] and helped.dtype == bool
    return helped.index[helped].tolist()


@pytest.mark.parametrize(
    ("date", "counts"),
    [("2020-01-16", False), (AS_OF, False), ("2020-01-18", True), (WINDOW_END, True), ("2020-07-11", False)],
)
def test_help_counts_from_the_day_after_the_as_of_date_to_the_end_of_the_window(date, counts):
    assert helped_of([support("x", date)]) == (["x"] if counts else [])


def test_help_recorded_later_counts_unless_the_export_was_earlier():
    late = [support("x", "2020-03-02", recorded_at="2020-09-30")]
    assert helped_of(late) == ["x"]
    assert helped_of(late, known_by="2020-09-30") == ["x"]
    assert helped_of(late, known_by="2020-09-29") == []
    assert helped_of([support("x", "2020-03-02")], known_by="2020-03-02") == ["x"]


def test_help_that_answers_a_recorded_leaving_does_not_count():
    left = [{"student_id": "x", "date": "2020-03-10", "change": "dropout"}]
    assert helped_of([support("x", "2020-03-10"), support("x", "2020-04-01")], left) == []
    assert helped_of([support("x", "2020-03-09"), support("x", "2020-04-01")], left) == ["x"]
    before = [{"student_id": "x", "date": "2019-10-10", "change": "dropout"}]
    assert helped_of([support("x", "2020-03-10")], before) == ["x"]


def test_nobody_is_helped_without_a_table():
    assert helped_of([]) == []
    tables = build_tables(enrolments=enrol("x", AUTUMN))
    assert not help_given(tables, AS_OF, WINDOW_END, pd.Index(["x"])).any()


def test_help_agrees_with_a_walk_over_all_rows(helping):
    day, end, known_by = pd.Timestamp("2021-01-15"), pd.Timestamp("2021-07-09"), pd.Timestamp("2021-03-01")
    students = pd.Index(helping["students"]["student_id"])
    left: dict[str, pd.Timestamp] = {}
    for change in helping["status_changes"].itertuples():
        if change.change == "dropout" and change.date > day and change.recorded_at <= known_by:
            left[change.student_id] = min(change.date, left.get(change.student_id, pd.Timestamp.max))
    expected = set()
    for row in helping["interventions"].itertuples():
        in_window = day < row.date <= end and row.recorded_at <= known_by
        if in_window and row.date < left.get(row.student_id, pd.Timestamp.max):
            expected.add(row.student_id)
    helped = help_given(shuffle(helping, 1), day, end, students, known_by=known_by)
    assert set(students[helped]) == expected and expected
    later = help_given(helping, day, end, students)
    assert set(students[later]) > expected  # some was recorded in March


# --- the guard ----------------------------------------------------------------------------------------


def test_outcomes_since_deployment_are_refused_without_a_table(helping):
    tables = helping.replace(interventions=helping["interventions"].iloc[:0])
    with pytest.raises(SettingsError) as error:
        check_help(tables, deployed_on="2020-09-01")
    text = str(error.value)
    assert "2019-2020-1" not in text and "2019-2020-2, 2020-2021-1, 2020-2021-2 fall" in text
    assert "2020-09-01" in text and "interventions" in text and 'treatment="audit"' in text
    for treatment in ("exclude", "weight"):
        with pytest.raises(SettingsError):
            check_help(tables, deployed_on="2020-09-01", treatment=treatment)


def test_consent_is_taken_and_said(helping):
    tables = helping.replace(interventions=helping["interventions"].iloc[:0])
    deployment = check_help(tables, deployed_on="2020-09-01", treatment="audit")
    assert deployment.treatment == "audit" and deployment.since == pd.Timestamp("2020-09-01")
    (note,) = deployment.notes
    assert "2020-2021-2" in note["en"] and "2020-2021-2" in note["zh"]


def test_support_before_deployment_is_no_record_of_support_since(helping):
    early = helping["interventions"].iloc[:3].assign(date=pd.Timestamp("2019-10-08"))
    with pytest.raises(SettingsError, match="no support of that time"):
        check_help(helping.replace(interventions=early), deployed_on="2020-09-01")


def test_a_term_without_any_support_is_noted(helping):
    given = helping["interventions"]
    gap = given[~given["date"].between("2021-01-16", "2021-07-09")]
    (note,) = check_help(helping.replace(interventions=gap), deployed_on="2020-09-01").notes
    assert "2020-2021-1 came about" in note["en"]
    assert check_help(helping, deployed_on="2020-09-01").notes == ()


def test_before_deployment_nothing_is_asked_for():
    tables = build_tables(enrolments=enrol("x", AUTUMN, SPRING))
    assert check_help(tables) == Deployment(None, "exclude")
    assert check_help(tables, deployed_on="2020-07-11").treatment == "exclude"
    with pytest.raises(SettingsError):
        check_help(tables, deployed_on="2020-07-10")  # the last day of an outcome window


def test_the_horizon_makes_windows_reach_further(helping):
    assert list(outcome_windows(helping, horizon=1))[-1] == "2020-2021-2"
    windows = outcome_windows(helping, horizon=2)
    assert windows["2019-2020-1"] == helping["terms"]["end"][2] and list(windows)[-1] == "2020-2021-1"


def test_without_a_day_the_first_support_is_taken_for_the_beginning(helping):
    deployment = check_help(helping)
    assert deployment.since == helping["interventions"]["date"].min()
    assert deployment.treatment == "exclude"
    (note,) = deployment.notes
    assert str(deployment.since.date()) in note["en"] and str(deployment.since.date()) in note["zh"]


def test_an_unknown_treatment_is_refused(helping):
    with pytest.raises(SettingsError, match="no treatment 'ignore'.*exclude, weight, audit"):
        check_help(helping, treatment="ignore")
    assert all(set(texts) == {"zh", "en"} for texts in TREATMENTS.values())


# --- weights ------------------------------------------------------------------------------------------


def selected(seed: int, n: int = 4000) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of which more are helped the higher `need`; the chance is returned too."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"need": rng.normal(size=n), "noise": rng.normal(size=n)})
    X.loc[rng.random(n) < 0.1, "noise"] = np.nan
    term = rng.integers(0, 3, n)
    chance = 1 / (1 + np.exp(1.6 - 1.2 * X["need"].to_numpy() - 0.5 * term))
    return X, rng.random(n) < chance, chance, rng.integers(0, 25, n).astype(str), term


rows = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*(st.lists(st.booleans(), min_size=n, max_size=n) for _ in range(2)), st.integers(0, 99))
)


@given(rows, st.sampled_from([*TREATMENTS]))
def test_weights_are_0_for_the_helped_and_1_before_deployment(drawn, treatment):
    helped, touched, seed = np.array(drawn[0]), np.array(drawn[1]), drawn[2]
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=len(helped)), "b": np.nan})
    groups = np.array([*"AB", *rng.choice([*"ABC"], len(helped))])[-len(helped) :]
    arguments = {"treatment": treatment, "groups": groups, "term": rng.integers(0, 2, len(helped))}
    if treatment == "weight" and (helped & touched).any() and len(set(groups[touched])) == 1:
        with pytest.raises(SettingsError, match="of one school"):
            learning_weights(X, helped, touched, **arguments)
        return
    weight = learning_weights(X, helped, touched, **arguments)
    assert weight.shape == (len(helped),) and (weight <= MAX_WEIGHT).all()
    assert (weight[~touched] == 1).all()
    if treatment == "audit":
        assert (weight == 1).all()
    else:
        assert (weight[touched & helped] == 0).all()
        assert (weight[touched & ~helped] >= 1).all()
    if treatment == "exclude":
        assert set(weight) <= {0.0, 1.0}


@pytest.mark.parametrize("seed", [1, 2])
def test_those_not_helped_stand_in_for_all(seed):
    X, helped, chance, groups, term = selected(seed)
    touched = np.ones(len(X), dtype=bool)
    weight = learning_weights(X, helped, touched, treatment="weight", groups=groups, term=term)
    assert weight.sum() == pytest.approx(len(X), rel=0.05)
    need = X["need"].to_numpy()
    assert abs(need[~helped].mean()) > 0.2
    assert abs(np.average(need, weights=weight)) < 0.07
    for place in range(3):
        assert weight[term == place].sum() == pytest.approx((term == place).sum(), rel=0.08)
    ideal = np.minimum(1 / (1 - chance), MAX_WEIGHT)[~helped]
    assert np.corrcoef(weight[~helped], ideal)[0, 1] > 0.95


def test_the_chance_of_help_is_learned_from_other_groups():
    """A school that helps by its own rule is seen as its likes are; its own rows do not teach about it."""
    X, helped, _, groups, term = selected(3)
    own = groups == "7"
    usual = chance_of_help(X, helped, groups=groups, term=term)
    turned = chance_of_help(X, np.where(own, ~helped, helped), groups=groups, term=term)
    np.testing.assert_array_equal(usual[own], turned[own])
    assert (usual != turned).any()


def test_weights_do_not_depend_on_the_order_of_rows():
    X, helped, _, groups, term = selected(4, n=600)
    touched = term > 0
    arguments = {"treatment": "weight", "seed": 3}
    weight = learning_weights(X, helped, touched, groups=groups, term=term, **arguments)
    order = np.random.default_rng(0).permutation(len(X))
    again = learning_weights(
        X.iloc[order], helped[order], touched[order], groups=groups[order], term=term[order], **arguments
    )
    np.testing.assert_allclose(again, weight[order], rtol=1e-6)


def test_effective_rows():
    assert effective_rows(np.ones(7)) == 7
    assert effective_rows(np.zeros(3)) == 0
    X, helped, _, groups, term = selected(5)
    weights = [
        learning_weights(X, helped, np.ones(len(X), bool), treatment=treatment, groups=groups, term=term)
        for treatment in ("weight", "exclude", "audit")
    ]
    assert effective_rows(weights[0]) < effective_rows(weights[1]) == (~helped).sum() < len(X)


# --- what stays fixed ---------------------------------------------------------------------------------


def test_frozen_terms_are_over_before_the_first_help(helping):
    windows = outcome_windows(helping)
    ends = np.array([*windows.values()], dtype="M8[us]")
    deployment = check_help(helping)
    assert deployment.touched(ends).tolist() == [False, True, True, True]
    assert frozen_terms(np.arange(4), deployment.touched(ends)) == [0]
    assert not Deployment(None, "exclude").touched(ends).any()
    assert Deployment(windows["2019-2020-2"], "exclude").touched(ends).tolist() == [False, True, True, True]


def test_every_row_of_the_last_frozen_term_is_tested_once_by_other_schools():
    rng = np.random.default_rng(1)
    term, groups = rng.integers(0, 5, 500), rng.integers(0, 9, 500).astype(str)
    touched = term >= 3
    splits = frozen_splits(term, touched, groups=groups)
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == np.flatnonzero(term == 2).tolist()
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])
        assert set(term[train]) == {0, 1, 2, 3, 4}
    more = frozen_splits(np.append(term, [5, 5]), np.append(touched, [True] * 2), groups=np.append(groups, ["0", "1"]))
    assert [test.tolist() for _, test in more] == [test.tolist() for _, test in splits]


def test_without_a_frozen_term_or_a_second_school_there_is_no_split():
    term = np.array([0, 1])
    assert frozen_splits(term, np.array([True, True]), groups=np.array(["A", "B"])) == []
    assert frozen_splits(term, np.array([False, True]), groups=np.array(["A", "A"])) == []


# --- what a refit learns ------------------------------------------------------------------------------


@dataclass(frozen=True)
class LastTerm:
    """Features and truth of the last term of a helping county, and the rows of the terms before."""

    learned: Cohorts
    touched: np.ndarray
    X: pd.DataFrame
    truth: np.ndarray

    def risk(self, weight: np.ndarray) -> np.ndarray:
        X, y, groups, term = self.learned
        model = DropoutRiskClassifier(monotone=MONOTONE).fit(X, y, groups=groups, term=term, sample_weight=weight)
        return model.predict_proba(self.X)[:, 1]

    def learn(self, treatment: str) -> np.ndarray:
        X, _, groups, term = self.learned
        helped = self.learned.helped
        return self.risk(learning_weights(X, helped, self.touched, treatment=treatment, groups=groups, term=term))


def last_term(seed: int) -> LastTerm:
    county = make_county(
        4000, terms=8, counties=2, grades=(7, 9), shift=0.5, seed=seed, daily=False, help_from=3, help_share=0.2,
        help_effect=2.0,
    )  # fmt: skip
    terms = Terms.of(county)
    learned = cohorts(county, as_of=terms.ends[:-1].to_list())
    X = build_features(county, terms.ends[-1])
    oracle = county.oracle[county.oracle["term"] == terms.names[-1]].set_index("student_id")
    truth = oracle["risk_without_help"].reindex(X.index)
    there = truth.notna().to_numpy()
    return LastTerm(learned, check_help(county).touched(learned.window_end), X[there], truth[there].to_numpy())


def log_loss(risk: np.ndarray, truth: np.ndarray) -> float:
    """Expected over what might happen without help."""
    return -(truth * np.log(risk) + (1 - truth) * np.log(1 - risk)).mean()


def shown_for_true(risk: np.ndarray, truth: np.ndarray) -> float:
    """Mean risk shown to the top tenth over its true risk without help."""
    top = np.argsort(-risk, kind="stable")[: len(risk) // 10]
    return risk[top].mean() / truth[top].mean()


@pytest.mark.no_cover
@pytest.mark.slow
def test_a_naive_refit_gets_worse_and_a_guarded_one_does_not():
    """Three worlds, paired: what each way of learning says of the risk without help in the term to come."""
    loss, shown = [], []
    for seed in (1, 2, 3):
        world = last_term(seed)
        risks = {
            "before": world.risk(1.0 - world.touched),
            **{treatment: world.learn(treatment) for treatment in TREATMENTS},
        }
        loss.append({name: log_loss(risk, world.truth) for name, risk in risks.items()})
        shown.append({name: shown_for_true(risk, world.truth) for name, risk in risks.items()})
    loss, shown = pd.DataFrame(loss), pd.DataFrame(shown)
    # Five more terms: the naive refit is worse for them than the model of before, the guarded ones are better.
    assert loss["audit"].mean() > loss["before"].mean()
    # The top of its list looks far safer than it is.
    assert (shown["audit"] < 0.8 * shown["before"]).all()
    for treatment in ("exclude", "weight"):
        assert (loss[treatment] < loss["before"]).all()
        assert (loss[treatment] < loss["audit"] - 0.001).all()
        assert shown[treatment].mean() == pytest.approx(1, abs=0.15)
