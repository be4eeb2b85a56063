"""Why a risk is what it is: contributions that sum exactly to the calibrated log-odds, and sentences.

A reason is an association, not a cause, and a reason to help, never a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dropout_risk.descriptions import FEATURES, GROUPS, MEASURES, SHOWN, Feature, Lang
from dropout_risk.errors import MissingExtraError, SettingsError
from dropout_risk.model import DropoutRiskClassifier

if TYPE_CHECKING:
    import shap

LANGS: tuple[Lang, ...] = ("zh", "en")


@dataclass(frozen=True)
class Reason:
    """One reason for a student's risk.

    Attributes
    ----------
    group
        Key of the group, or the column's own name in a flat table.
    label
        Name of the group in the chosen language.
    feature
        The feature that contributes most within the group; `text` is about it.
    contribution
        Log-odds that the whole group adds to the risk.
    value, median
        The student's own value and the comparison (None where missing or not a number).
    text
        The sentence.
    changeable
        Whether school or county can change it; None for columns that the package does not know.
    measure
        The support it points to, empty for unknown columns.
    """

    group: str
    label: str
    feature: str
    contribution: float
    value: float | str | None
    median: float | str | None
    text: str
    changeable: bool | None
    measure: str

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as plain values for JSON."""
        return dict(vars(self))


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

    def reasons(self, k: int = 5, lang: Lang = "zh") -> list[list[Reason]]:
        """Return up to `k` reasons that raise the risk of each student, the strongest first.

        Parameters
        ----------
        k
            How many reasons at most; groups that do not raise the risk are no reasons.
        lang
            ``zh`` or ``en``.

        Returns
        -------
        List of n lists of Reason.

        Raises
        ------
        SettingsError
            If `k` is below 1 or the language is unknown.
        """
        if k < 1:
            raise SettingsError(f"The number of reasons must be 1 or more, not {k}.")
        if lang not in LANGS:
            raise SettingsError(f"There is no language {lang!r}; choose zh or en.")
        groups, members = self._groups()
        totals = np.column_stack([self.values[:, columns].sum(axis=1) for columns in members])
        order = np.argsort(-totals, axis=1, kind="stable")[:, :k]
        return [
            [
                self._reason(row, groups[g], members[g], total=float(totals[row, g]), lang=lang)
                for g in order[row]
                if totals[row, g] > 0
            ]
            for row in range(len(self.data))
        ]

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The features and the comparisons as plain cells."""
        return self.data.to_numpy(dtype=object), self.medians.to_numpy(dtype=object)

    @cached_property
    def _known(self) -> Mapping[str, Feature]:
        return known_features(self.data)

    def _groups(self) -> tuple[list[str], list[np.ndarray]]:
        """Return the groups present and the columns of each; an unknown column is a group of its own."""
        owner = [self._known[name].group if self._known else name for name in self.feature_names]
        groups = list(dict.fromkeys(owner))
        return groups, [np.flatnonzero([name == group for name in owner]) for group in groups]

    def _reason(self, row: int, group: str, columns: np.ndarray, *, total: float, lang: Lang) -> Reason:
        column = int(columns[np.argmax(self.values[row, columns])])
        name = str(self.data.columns[column])
        own, usual = self._cells
        value, median = _plain(own[row, column]), _plain(usual[row, column])
        known = self._known.get(name)
        return Reason(
            group=group,
            label=GROUPS[group][lang] if known else name,
            feature=name,
            contribution=total,
            value=value,
            median=median,
            text=_sentence(known, value, median, lang) if known else _unknown_sentence(name, value, median, lang),
            changeable=known.changeable if known else None,
            measure=MEASURES["record" if value is None else known.measure][lang] if known else "",
        )

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
        labels = [self._known[name].label(lang) if self._known else name for name in self.feature_names]
        return shap.Explanation(
            values=self.values,
            base_values=np.full(len(self.values), self.base_value),
            data=self.data.to_numpy(),
            feature_names=labels,
        )


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
    numeric = all(map(pd.api.types.is_numeric_dtype, X.dtypes))
    return FEATURES if numeric and set(X.columns) <= set(FEATURES) else {}


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
    usual = pd.concat([model.medians_, model.modes_], axis=1)
    keys = pd.Series("all", X.index, dtype=object)
    if model.compare_within in X.columns:
        own = X[model.compare_within].astype(object)
        keys = own.where(own.isin(usual.index), "all")
    return usual.loc[list(keys)].set_index(X.index)[list(X.columns)]


def _plain(value: Any) -> float | str | None:
    if value is None or pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def _sentence(feature: Feature, value: float | str | None, median: float | str | None, lang: Lang) -> str:
    if value is None:
        return f"没有登记：{feature.zh}" if lang == "zh" else f"not recorded: {feature.en.lower()}"
    show = SHOWN[feature.show]
    template = feature.sentence_zh if lang == "zh" else feature.sentence_en
    typical = ("未知" if lang == "zh" else "unknown") if median is None else show(float(median), lang)
    return template.format(value=show(float(value), lang), median=typical)


def _unknown_sentence(name: str, value: float | str | None, median: float | str | None, lang: Lang) -> str:
    own, typical = (_short(item) for item in (value, median))
    if lang == "zh":
        return f"{name} 没有登记（中位数 {typical}）" if own is None else f"{name}：{own}（中位数 {typical}）"
    return f"{name} is not recorded (median {typical})" if own is None else f"{name}: {own} (median {typical})"


def _short(value: float | str | None) -> str | None:
    return f"{value:.4g}" if isinstance(value, float) else value
