"""Risks of students whom the model has not seen: in later terms, in other places, without sensitive inputs.

A `Trial` is what every model of one question is judged by: the same rows, the same splits. The model, its
peers and its variants are clones fitted anew for each split, so nothing that is tested was learned from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.descriptions import SENSITIVE, Lang
from dropout_risk.errors import InputError, TableError
from dropout_risk.evaluation import cross_scores, evaluate
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import Factory
from dropout_risk.split import TermSplit

Progress = Callable[[str], None]
Split = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
FloatArray = npt.NDArray[np.float64]

MIN_FOLDS, MAX_TEST_TERMS = 5, 3

SEASONS = 2
"""Terms that a judged model has learned from where there are enough: one knows autumn or spring, two know both."""

PLACE_FOLDS = 3
"""Parts into which places are dealt, each scored by models that know none of its students."""

HOW: dict[str, dict[Lang, str]] = {
    "time": {
        "en": "out of time: each of the last {n} terms scored by models trained on the terms before",
        "zh": "按时间外推：最近 {n} 个学期，每个学期都由只用更早学期训练的模型评分",
    },
    "group": {
        "en": "out of group, not out of time: only one term has known outcomes",
        "zh": "按学校外推，未按时间外推：只有一个学期的结果已知",
    },
}
"""How the rows were split, as a sentence."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Rows to learn from and to judge by, and how they are split.

    Attributes
    ----------
    X : DataFrame (n, n_features)
    y : int array (n,)
    groups : array (n,) or None, the unit that shares what happens (school, village)
    term : array (n,) or None, the order of time
    splits : list of (train, test) row positions
    validation : the splits as a sentence, by language
    weight : float array (n,) or None, how much each row counts in learning
    """

    X: pd.DataFrame
    y: npt.NDArray[np.int64]
    groups: npt.NDArray[np.generic] | None
    term: npt.NDArray[np.generic] | None
    splits: Sequence[Split]
    validation: Mapping[Lang, str]
    weight: FloatArray | None = None

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """Which rows a split tests, shape (n,)."""
        tested = np.zeros(len(self.y), dtype=bool)
        for _, test in self.splits:
            tested[test] = True
        return tested

    def risks(self, model: object) -> FloatArray:
        """Return the risk of each tested row by a clone of `model` that has not seen it; NaN elsewhere."""
        return cross_scores(
            model, self.X, self.y, self.splits, groups=self.groups, term=self.term, sample_weight=self.weight
        )

    def newest(self) -> "Trial":
        """Return the trial with its last split only: quicker, and about the newest rows."""
        return replace(self, splits=self.splits[-1:])

    def without(self, features: Sequence[str]) -> "Trial":
        """Return the trial in which the model does not see `features`."""
        return replace(self, X=self.X.drop(columns=list(features)))

    def across(self, place: npt.ArrayLike, *, folds: int = PLACE_FOLDS, seed: int = 0) -> "Trial":
        """Return the trial in which a tested row's whole place is taken out of what its model learns from.

        Parameters
        ----------
        place : array (n,)
            County or school of each row; places are dealt at random into `folds` parts.
        """
        codes, places = pd.factorize(pd.Series(place), sort=True)
        dealt = np.random.default_rng(seed).permutation(len(places)) % min(folds, len(places))
        part = dealt[codes]
        splits = [
            (train[part[train] != k], test[part[test] == k])
            for train, test in self.splits
            for k in range(dealt.max() + 1)
        ]
        return replace(self, splits=[(train, test) for train, test in splits if len(test)])

    def peers(
        self, factories: Mapping[str, Factory], *, threads: int = 1, seed: int = 0, progress: Progress
    ) -> dict[str, FloatArray]:
        """Return the risks by each standard model."""
        risks = {}
        for name, factory in factories.items():
            progress(name)
            risks[name] = self.risks(factory(n_jobs=threads, seed=seed))
        return risks


def out_of_time_splits(
    y: npt.ArrayLike, term: npt.ArrayLike, *, groups: npt.ArrayLike, horizon: int = 1, seed: int = 0
) -> tuple[list[Split], dict[Lang, str]]:
    """Return splits by time, or by group where there is only one term, and the sentence that says which.

    At most the last three terms are tested, by models that have learned from two terms or more if there are so many.

    Parameters
    ----------
    y : array (n,)
        Outcomes; a model learns from at least two students who left and two who stayed.
    term, groups : array (n,)
    horizon : int
        Terms in which the outcome is watched: so many lie between what is learned and what is tested.
    seed : int
        For the dealing of groups.

    Raises
    ------
    InputError
        If too few students left, or stayed, to learn from.
    TableError
        If there are neither two terms nor two groups.

    Examples
    --------
    >>> splits, how = out_of_time_splits([0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1], groups=list("ababab"))
    >>> len(splits), how["en"][:11]
    (1, 'out of time')
    """
    left, n_terms = np.asarray(y), len(np.unique(np.asarray(term)))
    if n_terms > horizon:
        n = min(MAX_TEST_TERMS, max(1, n_terms - horizon - SEASONS + 1))
        splits, how = list(TermSplit(n, horizon=horizon).split(left, term=term)), "time"
    else:
        splits, how = _splits_by_group(left, groups, seed), "group"
    taught = [(train, test) for train, test in splits if min(left[train].sum(), (1 - left[train]).sum()) >= 2]
    if not taught:
        raise InputError(
            f"Of {len(left):,} students with a known outcome {int(left.sum()):,} left; to learn and to judge what was "
            "learned, at least two who left and two who stayed are needed before the newest term. Add earlier terms "
            "or more schools."
        )
    return taught, {lang: text.format(n=len(taught)) for lang, text in HOW[how].items()}


def _splits_by_group(y: npt.NDArray[np.generic], groups: npt.ArrayLike, seed: int) -> list[Split]:
    from sklearn.model_selection import GroupKFold

    n = min(MIN_FOLDS, len(np.unique(np.asarray(groups))))
    if n < 2:
        raise TableError("One term and one school are too little to judge a model; add terms or schools.")
    return list(GroupKFold(n, shuffle=True, random_state=seed).split(y, groups=groups))


def judge_across_places(
    trial: Trial,
    model: DropoutRiskClassifier,
    *,
    county: npt.ArrayLike,
    folds: int = PLACE_FOLDS,
    seed: int = 0,
) -> dict[str, object] | None:
    """Judge the model on places that it has never seen: counties where there are several, else schools.

    Returns
    -------
    dict or None
        `unit`, `places` and `evaluation`; None where the rest of the places holds too little to learn from.
    """
    counties = np.asarray(county)
    unit, place = ("county", counties) if len(np.unique(counties)) > 1 else ("school", trial.groups)
    if place is None or len(np.unique(place)) < 2:
        return None
    elsewhere = trial.across(place, folds=folds, seed=seed)
    try:
        risk = elsewhere.risks(model)
    except InputError:  # some part leaves nobody, or one outcome only, to learn from
        return None
    found = evaluate(trial.y, risk, groups=trial.groups, term=trial.term, place=place, seed=seed)
    return {"unit": unit, "places": len(np.unique(place)), "evaluation": found.to_dict()}


def judge_without_sensitive(
    trial: Trial, model: DropoutRiskClassifier, risk: FloatArray, *, seed: int = 0
) -> dict[str, object] | None:
    """Judge what the sensitive inputs add: the full model minus one that does not see them, paired.

    Parameters
    ----------
    risk : array (n,)
        Out-of-time risks of the full model.

    Returns
    -------
    dict or None
        `left_out` and `differences`; None where no such input is among the features.
    """
    left_out = [name for name in trial.X.columns if name in SENSITIVE]
    if not left_out or len(left_out) == trial.X.shape[1]:
        return None
    other = trial.without(left_out).risks(model)
    known = ~np.isnan(other)
    groups = None if trial.groups is None else trial.groups[known]
    found = evaluate(trial.y[known], risk[known], groups=groups, peers={"without": other[known]}, seed=seed)
    differences = {name: figure.to_dict() for name, figure in found.differences["without"].items()}
    return {"left_out": left_out, "differences": differences}


def judge_beside_oracle(
    trial: Trial, risk: FloatArray, true_risk: FloatArray, *, seed: int = 0
) -> dict[str, dict[str, float | None]] | None:
    """Judge the model beside the true risks, which only synthetic data have: it must not be above them.

    Parameters
    ----------
    risk, true_risk : array (n,)
        NaN where not known.

    Returns
    -------
    dict or None
        `auc_difference` and `average_precision_difference`, model minus truth; None without true risks.
    """
    known = ~(np.isnan(risk) | np.isnan(true_risk))
    if not known.any():
        return None
    groups = None if trial.groups is None else trial.groups[known]
    found = evaluate(trial.y[known], risk[known], groups=groups, rules={"oracle": true_risk[known]}, seed=seed)
    return {
        f"{name}_difference": figure.to_dict()
        for name, figure in found.differences["oracle"].items()
        if name in ("auc", "average_precision")
    }


def silent(step: str) -> None:
    """Take a progress message and do nothing."""
