"""Why a risk is what it is: contributions that sum exactly to the calibrated log-odds, and sentences.

A reason is an association, not a cause, and a reason to help, never a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dropout_risk.descriptions import FEATURES, Feature, Lang
from dropout_risk.errors import MissingExtraError, SettingsError
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.reasons import Cell, Floats, Places, Reasons, Saying, ends_of

if TYPE_CHECKING:
    import shap

LANGS: tuple[Lang, ...] = ("zh", "en")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Contributions of every feature to every student's risk.

    Attributes
    ----------
    values : float64 array (n, n_features), calibrated log-odds
    base_value : float, log-odds of the average student; `values.sum(1) + base_value` is the decision function
    data : DataFrame (n, n_features), the features themselves
    medians : DataFrame (n, n_features), the comparison for each row
    """

    values: np.ndarray
    base_value: float
    data: pd.DataFrame
    medians: pd.DataFrame

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the order of the columns."""
        return list(self.data.columns)

    @property
    def risk(self) -> np.ndarray:
        """The calibrated risk that the contributions add up to, (n,)."""
        return risk_of(self.values, self.base_value)

    def reasons(self, k: int = 5, lang: Lang = "zh") -> Reasons:
        """Return up to `k` reasons that raise the risk of each student, the strongest first.

        Parameters
        ----------
        k
            How many reasons at most; groups that do not raise the risk are no reasons.
        lang
            ``zh`` or ``en``.

        Returns
        -------
        Reasons, (n,)
            For each student a list of `Reason`.

        Raises
        ------
        SettingsError
            If `k` is below 1 or the language is unknown.
        """
        if k < 1:
            raise SettingsError(f"The number of reasons must be 1 or more, not {k}.")
        if lang not in LANGS:
            raise SettingsError(f"There is no language {lang!r}; choose zh or en.")
        known = known_features(self.data)
        sayings = [Saying(name, known.get(name), lang) for name in self.feature_names]
        groups = list(dict.fromkeys(saying.group for saying in sayings))
        owner = np.array([groups.index(saying.group) for saying in sayings])
        lead, totals = largest_groups(self.values, owner, k)
        row, place = np.nonzero(totals > 0)
        column = lead[row, place]
        values, medians = _cells(self.data, row, column), _cells(self.medians, row, column)
        ends = ends_of(row, len(self.values))
        return Reasons.told(sayings, column, values, medians, contribution=totals[row, place], ends=ends)

    def to_shap(self, lang: Lang = "en") -> "shap.Explanation":
        """Return a `shap.Explanation` that SHAP's own plots draw (waterfall, beeswarm, bar).

        Raises
        ------
        MissingExtraError
            If shap is not installed.
        """
        try:
            import shap
        except ImportError as error:
            raise MissingExtraError.of("shap", "plot") from error
        known = known_features(self.data)
        labels = [known[name].label(lang) if known else name for name in self.feature_names]
        return shap.Explanation(
            values=self.values,
            base_values=np.full(len(self.values), self.base_value),
            data=self.data.to_numpy(),
            feature_names=labels,
        )


def largest_groups(values: Floats, owner: Places, k: int) -> tuple[Places, Floats]:
    """Return for each row its groups of features with the largest sums, as `TreeTables.top` does for trees.

    Parameters
    ----------
    values : float64 array (n, n_features)
    owner : int array (n_features,), the number of each feature's group, from 0 on
    k : how many at most

    Returns
    -------
    lead : int array (n, k), the feature that adds most within each group
    totals : float64 array (n, k), what the whole group adds; equal sums in the order of the groups

    Examples
    --------
    >>> largest_groups(np.array([[1.0, -2.0, 0.5]]), np.array([0, 1, 0]), 2)
    (array([[0, 1]]), array([[ 1.5, -2. ]]))
    """
    shape = owner.max() + 1, len(values)
    sums, highest, lead = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.intp)
    begun = set()
    # One feature after the other: how many rows there are must not change the last bit of a sum.
    for feature, (group, column) in enumerate(zip(owner.tolist(), np.ascontiguousarray(values.T), strict=True)):
        if group not in begun:
            begun.add(group)
            sums[group], highest[group], lead[group] = column, column, feature
            continue
        sums[group] += column
        lead[group][column > highest[group]] = feature
        np.maximum(highest[group], column, out=highest[group])
    order = np.argsort(-sums, axis=0, kind="stable")[:k]
    return np.take_along_axis(lead, order, 0).T, np.take_along_axis(sums, order, 0).T


def risk_of(values: np.ndarray, base_value: float) -> np.ndarray:
    """Return the risks, (n,), that contributions, (n, n_features), and their base add up to.

    Examples
    --------
    >>> risk_of(np.array([[1.0, -1.0]]), 0.0).tolist()
    [0.5]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-(values.sum(axis=1) + base_value))))


def known_features(X: pd.DataFrame) -> Mapping[str, Feature]:
    """Return the package's own features by name; none for a flat table, whose `grade` may be something else.

    Examples
    --------
    >>> len(known_features(pd.DataFrame({"grade": [7.0]}))) > 1, known_features(pd.DataFrame({"grade": ["A"]}))
    (True, {})
    """
    ours = FEATURES.keys() >= set(X.columns.tolist())
    return FEATURES if ours and all(map(pd.api.types.is_numeric_dtype, set(X.dtypes))) else {}


def explain(model: DropoutRiskClassifier, X: pd.DataFrame) -> Explanation:
    """Explain the risks that `model` gives to the rows of `X`.

    Parameters
    ----------
    model
        A fitted classifier.
    X
        (n, n_features), columns as in training.

    Returns
    -------
    Explanation
        Exact path-dependent SHAP values of the calibrated log-odds.

    References
    ----------
    Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_absent": rng.poisson(2, 500), "km": rng.gamma(2, 2, 500)})
    >>> y = (rng.random(500) < 1 / (1 + np.exp(3 - X["days_absent"]))).astype(int)
    >>> model = DropoutRiskClassifier().fit(X, y)
    >>> most = X.nlargest(3, "days_absent")
    >>> explanation = explain(model, most)
    >>> bool(np.allclose(explanation.values.sum(1) + explanation.base_value, model.decision_function(most)))
    True
    >>> explanation.reasons(k=1, lang="en")[0][0].feature
    'days_absent'
    """
    values, base = model.contributions(X)
    return Explanation(values, base, X, comparisons(model, X))


def comparisons(model: DropoutRiskClassifier, X: pd.DataFrame) -> pd.DataFrame:
    """Return for each row of `X` the usual values it is compared with: those of its grade, else of all."""
    usual = model.usual_values()
    if usual.columns.tolist() != X.columns.tolist():
        usual = usual[X.columns.tolist()]
    place = {key: row for row, key in enumerate(usual.index.tolist())}
    keys = X[model.compare_within].tolist() if model.compare_within in X.columns else ["all"] * len(X)
    medians = usual.take([place.get(key, place["all"]) for key in keys])
    medians.index = X.index
    return medians


def _cells(frame: pd.DataFrame, row: Places, column: Places) -> list[Cell]:
    """Return single values of a frame, None where one is missing."""
    picked = frame.to_numpy()[row, column]
    if picked.dtype == np.float64:
        return [None if value != value else value for value in (picked + 0.0).tolist()]  # there is one zero
    return [_plain(value) for value in picked]


def _plain(value: Any) -> Cell:
    if value is None or pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)
