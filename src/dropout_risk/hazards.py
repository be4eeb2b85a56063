"""Beyond the next term: the risk up to the end of grade 9, and whose risk rises fastest.

Time comes in terms, so leaving is a discrete-time hazard: the chance of leaving in the term after a date for
those who are still there at that date. The risk over several terms is one minus the chance of staying in each.
The next term's hazard is the risk that the main model shows; a second model of the same family learns the
later ones, from what was known `lead` terms before each outcome.
"""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit
from sklearn.base import clone

from dropout_risk.asof import FINAL_GRADE
from dropout_risk.cohort import Cohorts
from dropout_risk.errors import InputError, SettingsError
from dropout_risk.model import DropoutRiskClassifier

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

MAX_ROWS = 200_000
"""Stacked rows to learn from, unless told otherwise; of more, a seeded sample is taken."""

MIN_EVENTS = 30
"""Outcomes of either kind that a lead must have to count as seen."""


def fit_outlook(
    learned: Cohorts, model: DropoutRiskClassifier, *, max_rows: int = MAX_ROWS, seed: int = 0
) -> DropoutRiskClassifier | None:
    """Learn the hazards of later terms: two and more terms after the date of the features.

    Parameters
    ----------
    learned : Cohorts
        Labelled rows at the ends of successive terms, with outcomes of one term each (horizon 1).
    model : DropoutRiskClassifier
        Its settings are used, monotone constraints included; it is not changed and need not be fitted.
    max_rows, seed
        Of more stacked rows than this a sample is taken, with this seed.

    Returns
    -------
    DropoutRiskClassifier or None
        A model of the features of today, with `grade` and `before_summer` as they will be on the later date
        and the column `lead`, the number of terms between today and the end of the outcome. None where no
        second term has outcomes enough.

    Raises
    ------
    SettingsError
        If `max_rows` is below 1.
    InputError
        If a student has two rows in one term.

    Notes
    -----
    Each student's row of term t meets the outcomes known from the rows of t + 1, t + 2, ..., as long as the
    student is at risk there and no episode of leaving has come between. A lead with fewer than `MIN_EVENTS`
    students who left (or stayed), and all longer ones, are left out.

    References
    ----------
    Singer and Willett (1993), It's about time: using discrete-time survival analysis to study duration and
    the timing of events, Journal of Educational Statistics 18. van Houwelingen (2007), Dynamic prediction by
    landmarking in event history analysis, Scandinavian Journal of Statistics 34.

    Examples
    --------
    >>> from dropout_risk.cohort import cohorts
    >>> from dropout_risk.synthetic import make_county
    >>> learned = cohorts(make_county(700, terms=3, grades=(7, 9), shift=1.0, seed=1, daily=False))
    >>> later = fit_outlook(learned, DropoutRiskClassifier())
    >>> evidence_terms(later), later.feature_names[-1]
    (2, 'lead')
    """
    if max_rows < 1:
        raise SettingsError(f"max_rows is {max_rows}; an outlook learns from at least 1 row.")
    row, lead, event = _stacked(learned)
    if not len(row):
        return None
    if len(row) > max_rows:
        kept = np.sort(np.random.default_rng(seed).choice(len(row), max_rows, replace=False))
        row, lead, event = row[kept], lead[kept], event[kept]
    later: DropoutRiskClassifier = clone(model).set_params(compare_within="lead")
    return later.fit(
        _moved_on(learned.X.iloc[row], lead), event, groups=learned.groups[row], term=learned.term[row] + lead - 1
    )


def evidence_terms(later: DropoutRiskClassifier | None) -> int:
    """Return the longest lead that was seen in learning; 1, the main model's own, without a second model."""
    return 1 if later is None else int(max(lead for lead in later.medians_.index if lead != "all"))


def outlook(model: DropoutRiskClassifier, later: DropoutRiskClassifier | None, X: pd.DataFrame) -> pd.DataFrame:
    """Return each student's hazards term by term, and the risk of leaving before the end of grade 9.

    Parameters
    ----------
    model : DropoutRiskClassifier
        The main model, of the risk in the next term.
    later : DropoutRiskClassifier or None
        From `fit_outlook`.
    X : DataFrame of shape (n, n_features)
        Features of today, as `build_features` gives them.

    Returns
    -------
    DataFrame, indexed as `X`
        risk_to_end : chance of leaving in any term up to the end of grade 9
        terms_left : number of terms until then
        evidence_terms : for how many of them hazards were seen in the data
        peak_term : in which of them the hazard is highest (1 is the next)
        hazard_1, hazard_2, ... : chance of leaving in that term for those still there; missing after the end.
        The first is the main model's risk.

    Raises
    ------
    InputError
        If a grade or a season is missing.

    Notes
    -----
    The way through school is taken as regular: summer after every second term, and a grade up after summer.
    Beyond the evidence the longest lead seen goes on to be used, with grade and season as they will be, so a
    first-grader's risk to the end is an extrapolation; rank by it within a grade only.

    Three counties of 6,000 children in grades 5 to 9 (`make_county`, seeds 5, 6, 7), learned from four terms of
    outcomes, scored at the end of the fifth: within four terms 432 / 878 / 522 students were expected to leave
    and 398 / 894 / 491 did (binomial standard errors 19 / 25 / 21); calibration error .008 / .017 / .017, AUC
    .71 / .71 / .74 (next term alone: .74 / .75 / .77).

    Examples
    --------
    >>> from dropout_risk.cohort import cohorts
    >>> from dropout_risk.synthetic import make_county
    >>> learned = cohorts(make_county(700, terms=3, grades=(7, 9), shift=1.0, seed=1, daily=False))
    >>> model = DropoutRiskClassifier().fit(learned.X, learned.y, groups=learned.groups)
    >>> ahead = outlook(model, fit_outlook(learned, model), learned.X)
    >>> bool((ahead["hazard_1"] == model.predict_proba(learned.X)[:, 1]).all())
    True
    >>> bool((ahead["risk_to_end"] >= ahead["hazard_1"]).all())
    True
    """
    left, seen = _terms_left(X), evidence_terms(later)
    hazards = np.full((len(X), max(left, default=1)), np.nan)
    hazards[:, 0] = model.predict_proba(X)[:, 1]
    for lead in range(2, hazards.shape[1] + 1):
        going_on = left >= lead
        then = _moved_on(X[going_on], lead)
        if later is None:
            hazards[going_on, lead - 1] = model.predict_proba(then.drop(columns="lead"))[:, 1]
        else:
            hazards[going_on, lead - 1] = later.predict_proba(then.assign(lead=min(lead, seen)))[:, 1]
    return pd.DataFrame(
        {
            "risk_to_end": _accumulated(hazards),
            "terms_left": left,
            "evidence_terms": np.minimum(left, seen),
            "peak_term": np.nanargmax(hazards, axis=1) + 1,
            **{f"hazard_{lead}": column for lead, column in enumerate(hazards.T, start=1)},
        },
        index=X.index,
    )


def risk_within(ahead: pd.DataFrame, terms: int) -> "pd.Series[float]":
    """Return the risk of leaving within the next `terms` terms, or before the end of grade 9 if that is sooner.

    Parameters
    ----------
    ahead : DataFrame
        From `outlook`.
    terms : int
        At least 1.

    Examples
    --------
    >>> ahead = pd.DataFrame({"hazard_1": [0.1, 0.1], "hazard_2": [0.2, np.nan], "hazard_3": [0.5, np.nan]})
    >>> risk_within(ahead, 2).round(2).tolist()
    [0.28, 0.1]
    """
    if terms < 1:
        raise SettingsError(f"A risk looks at least 1 term ahead, not {terms}.")
    hazards = ahead.filter(regex=r"^hazard_\d+$").iloc[:, :terms]
    return pd.Series(_accumulated(hazards.to_numpy()), ahead.index)


def rise(now: pd.Series, before: pd.Series) -> pd.DataFrame:
    """Return whose risk rose fastest since last term, among the students seen in both.

    Parameters
    ----------
    now, before : Series of float, indexed by student_id
        Risks in (0, 1) as of this and of last term's date, by one and the same model: a change of model is
        no change of a student.

    Returns
    -------
    DataFrame, indexed by student_id, fastest rise first
        risk_now, risk_before, rise (change in log-odds), rise_rank (1 is the fastest; equal rises share a rank)

    Raises
    ------
    InputError
        If a student is there twice, or a risk is not strictly between 0 and 1.

    Notes
    -----
    In log-odds, going from 1 to 2 % counts as much as going from 30 to 46 %: something has begun to happen,
    long before the risk itself is among the highest.

    Examples
    --------
    >>> before = pd.Series({"a": 0.01, "b": 0.30, "gone": 0.2})
    >>> rise(pd.Series({"b": 0.31, "a": 0.02, "new": 0.4}), before).round(2)
       risk_now  risk_before  rise  rise_rank
    a      0.02         0.01  0.70          1
    b      0.31         0.30  0.05          2
    """
    for name, risk in (("now", now), ("before", before)):
        if not risk.index.is_unique:
            raise InputError(f"The risks of `{name}` have a student more than once; give one risk per student.")
        if not risk.between(0, 1, inclusive="neither").all():
            raise InputError(f"The risks of `{name}` must lie between 0 and 1; score the missing rows first.")
    both = now.index.intersection(before.index).sort_values()
    found = pd.DataFrame({"risk_now": now[both], "risk_before": before[both]})
    found["rise"] = logit(found["risk_now"]) - logit(found["risk_before"])
    found["rise_rank"] = found["rise"].rank(ascending=False, method="min").astype(int)
    return found.sort_values("rise", ascending=False, kind="stable")


def _stacked(learned: Cohorts) -> tuple[Rows, Rows, Rows]:
    """Return row of the features, lead, and whether the student left, for all that later terms tell."""
    student = pd.factorize(learned.X.index.get_level_values("student_id"))[0]
    shape = (student.max() + 1, learned.term.max() + 1)
    row_at = np.full(shape, -1)
    row_at[student, learned.term] = np.arange(len(student))
    if (row_at >= 0).sum() < len(student):
        raise InputError(
            "A student has two rows in one term; give cohorts of one date per term, such as the term ends."
        )
    left = np.zeros(shape, dtype=int)
    left[student, learned.term] = learned.y
    left_before = np.cumsum(left, axis=1) - left
    rows, leads, events = [], [], []
    for lead in range(2, shape[1] + 1):
        ahead = lead - 1
        counts = (
            (row_at[:, ahead:] >= 0) & (row_at[:, :-ahead] >= 0) & (left_before[:, ahead:] == left_before[:, :-ahead])
        )
        event = left[:, ahead:][counts]
        if min(event.sum(), (1 - event).sum()) < MIN_EVENTS:
            break
        rows.append(row_at[:, :-ahead][counts])
        leads.append(np.full(len(event), lead))
        events.append(event)
    if not rows:
        return np.empty(0, dtype=int), np.empty(0, dtype=int), np.empty(0, dtype=int)
    return np.concatenate(rows), np.concatenate(leads), np.concatenate(events)


def _accumulated(hazards: Floats) -> Floats:
    """Return the chance that any of the hazards strikes; the first one exactly where it is the only one."""
    first, *later = np.nan_to_num(hazards).T
    risk: Floats = first.copy()
    for hazard in later:
        risk += (1 - risk) * hazard
    return risk


def _terms_left(X: pd.DataFrame) -> Rows:
    """Return the number of terms from today to the end of grade 9; whoever is scored has the next one."""
    if X[["grade", "before_summer"]].isna().any(axis=None):
        raise InputError("An outlook needs every student's grade and season (grade, before_summer); some are missing.")
    terms = 2 * (FINAL_GRADE - X["grade"]) + 1 - X["before_summer"]
    return cast(Rows, np.maximum(terms.to_numpy(dtype=int), 1))


def _moved_on(X: pd.DataFrame, lead: Any) -> pd.DataFrame:
    """Return the rows with grade and season as they will be `lead` - 1 terms later, and the lead."""
    half_years = 2 * X["grade"] + X["before_summer"] + (lead - 1)
    return X.assign(grade=half_years // 2, before_summer=half_years % 2, lead=lead)
