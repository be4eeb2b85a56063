"""Everything that a release, a report and a model card rest on: the figures of one training, in one place.

`Assessment.to_dict` is the only form in which these figures travel: the bundle keeps it, the gate decides by
it, the report and the card show it, MLflow logs it. No row of a student is in it, and no example is a child:
the examples of reasons are those of made-up students with the usual values of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.backtest import Backtest
from dropout_risk.descriptions import GROUPS, Feature, Lang
from dropout_risk.evaluation import Evaluation
from dropout_risk.explanation import LANGS, Explanation, explain, known_features
from dropout_risk.gate import leak_alarms
from dropout_risk.judgement import Trial
from dropout_risk.metrics import listing_chance
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.plain import plain

FloatArray = npt.NDArray[np.float64]

EXPLAINED_ROWS = 600
"""Students whose contributions are taken for the drivers; more change nothing that a picture shows."""

BEESWARM_FEATURES, BEESWARM_POINTS = 12, 300

EXAMPLES, EXAMPLE_REASONS = 4, 3
MIN_EXAMPLE_STUDENTS = 10
"""A typical student is made of at least so many, so that nobody is recognised."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """How a model was judged, and what it rests on.

    Attributes
    ----------
    evaluation : Evaluation
        Out of time.
    risk : float array (n,)
        The out-of-time risks behind it, NaN for rows that served for training only.
    backtest : Backtest
        What lists by these risks were worth.
    parts : mapping
        The other parts, as plain values; see `to_dict`.
    """

    evaluation: Evaluation
    risk: FloatArray
    backtest: Backtest
    parts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON, NaN as None.

        Returns
        -------
        dict
            Keys ``validation, data, evaluation, held_out, sensitive, stability, coverage, missing, drivers,
            reasons, help, oracle, alarms, notes``; a part that was not made is None.
        """
        empty = dict.fromkeys(("held_out", "sensitive", "stability", "coverage", "help", "oracle"))
        lists: dict[str, Any] = {name: [] for name in ("missing", "reasons", "alarms", "notes")}
        return {**plain({**empty, **lists, **self.parts}), "evaluation": self.evaluation.to_dict()}


def assess(
    trial: Trial,
    model: DropoutRiskClassifier,
    *,
    evaluation: Evaluation,
    risk: FloatArray,
    rules: Mapping[str, FloatArray],
    sample: pd.DataFrame,
    bands: Mapping[str, float],
    data: Mapping[str, Any],
    **parts: Any,
) -> Assessment:
    """Put the figures of one training together with what its model rests on.

    Parameters
    ----------
    trial
        The rows and how they were split.
    model
        Fitted to all rows.
    evaluation, risk
        Out of time, from the trial.
    rules
        Scores of the simple rules, (n,) each.
    sample
        Rows whose contributions stand for all, such as the newest roster.
    bands
        Lowest risk of each band.
    data
        The training data in brief, as in a bundle.
    parts
        Further parts of `Assessment.to_dict`.

    Returns
    -------
    Assessment
    """
    share = evaluation.headline
    some = sample.sample(min(EXPLAINED_ROWS, len(sample)), random_state=0)
    explanation = explain(model, some)
    shares = gain_shares(model, explanation)
    known = known_features(sample)
    called: dict[str, Mapping[Lang, str]] = {name: _labels(name, known) for name in shares}
    alarms = leak_alarms(evaluation.metrics["auc"].value, shares, oracle=parts.get("oracle"), labels=called)
    made = {
        "validation": trial.validation,
        "data": data,
        "missing": missing_values(trial.X, risk, share=share),
        "drivers": drivers(explanation, shares),
        "reasons": typical_reasons(model, explanation, share=share, bands=bands),
        "alarms": [alarm.to_dict() for alarm in alarms],
    }
    backtest = Backtest.of(trial.y, risk, groups=trial.groups, term=trial.term, rules=rules)
    return Assessment(evaluation, risk, backtest, {**made, **parts})


def gain_shares(model: DropoutRiskClassifier, explanation: Explanation) -> dict[str, float]:
    """Return the share of each feature in what the model gained by learning, the largest first.

    Parameters
    ----------
    model
        Fitted.
    explanation
        Of some rows; a logistic model has no gains, so its mean contributions stand for them.

    Returns
    -------
    dict of feature name to share; the shares sum to 1 unless nothing was learned.

    Examples
    --------
    >>> X = pd.DataFrame({"left_last_week": [0.0, 1.0] * 50, "noise": np.arange(100.0) % 7})
    >>> model = DropoutRiskClassifier().fit(X, X["left_last_week"])
    >>> next(iter(gain_shares(model, explain(model, X))))
    'left_last_week'
    """
    if model.boosters_:
        gains = np.sum([booster.feature_importance("gain") for booster in model.boosters_], axis=0)
        total = pd.Series(gains, sorted(model.feature_names))
    else:
        total = pd.Series(np.abs(explanation.values).mean(axis=0), explanation.feature_names)
    shares = total / total.sum() if total.sum() > 0 else total * 0.0
    return dict(shares.sort_values(ascending=False, kind="stable").astype(float))


def drivers(explanation: Explanation, shares: Mapping[str, float]) -> dict[str, Any]:
    """Return what moves the risks: shares of groups, features by mean contribution, points of a beeswarm.

    Parameters
    ----------
    explanation
        Of a sample of students.
    shares
        From `gain_shares`.

    Returns
    -------
    dict with `groups`, `features` and `beeswarm`; a point is a contribution and the percentile of the value.
    """
    size = pd.Series(np.abs(explanation.values).mean(axis=0), explanation.feature_names)
    known = known_features(explanation.data)
    strongest = size.sort_values(ascending=False, kind="stable").index
    of_group = (
        size.groupby([known[name].group if known else name for name in size.index], sort=False)
        .sum()
        .sort_values(ascending=False)
    )
    return {
        "groups": [
            {"group": group, **_group_labels(str(group), known), "share": value / size.sum() if size.sum() else 0.0}
            for group, value in of_group.items()
        ],
        "features": [
            {"feature": name, **_labels(name, known), "mean_abs": size[name], "gain_share": shares.get(name, 0.0)}
            for name in strongest
        ],
        "beeswarm": [{"feature": name, "points": _points(explanation, name)} for name in strongest[:BEESWARM_FEATURES]],
    }


def _points(explanation: Explanation, name: str) -> list[list[float | None]]:
    column = explanation.data[name]
    value = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
    place = value.astype("float64").where(column.notna()).rank(pct=True).to_numpy()
    contribution = explanation.values[:, explanation.feature_names.index(name)]
    return [
        [round(float(c), 4), None if np.isnan(p) else round(float(p), 3)]
        for c, p in zip(contribution[:BEESWARM_POINTS], place[:BEESWARM_POINTS], strict=True)
    ]


def missing_values(X: pd.DataFrame, risk: FloatArray, *, share: float) -> list[dict[str, Any]]:
    """Return the share of students without each value: of all, and of those on the list.

    Parameters
    ----------
    X : DataFrame (n, n_features)
    risk : array (n,)
        NaN where a row was not judged.
    share : float
        Size of the list.

    Returns
    -------
    list of dicts ``feature, zh, en, share, share_listed``, the largest gap first; complete columns are left out.
    """
    judged = ~np.isnan(risk)
    absent = X[judged].isna().to_numpy(dtype=float)
    chance = listing_chance(risk[judged], share)
    table = pd.DataFrame(
        {"share": absent.mean(axis=0), "share_listed": chance @ absent / chance.sum()}, index=list(X.columns)
    )
    table = table[table["share"] > 0].sort_values("share", ascending=False, kind="stable")
    known = known_features(X)
    found: list[dict[str, Any]] = [
        {"feature": name, "share": share, "share_listed": listed} for name, share, listed in table.itertuples(name=None)
    ]
    return [row | dict(_labels(row["feature"], known)) for row in found]


def typical_reasons(
    model: DropoutRiskClassifier, explanation: Explanation, *, share: float, bands: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return examples of reasons: for each strong group, those of a student with its members' usual values.

    Parameters
    ----------
    model
        Fitted.
    explanation
        Of a sample of students.
    share
        Part of the sample with the highest risks that the examples are taken from.
    bands
        Lowest risk of each band, as in a bundle.

    Returns
    -------
    list of dicts ``band, risk, reasons``; nobody in them is real.
    """
    high = np.flatnonzero(explanation.risk >= np.quantile(explanation.risk, 1 - share))
    first = [reasons[0].group if reasons else "" for reasons in explanation.reasons(1, "en")]
    groups = pd.Series(high).groupby([first[row] for row in high])
    usual = [
        _usual_student(explanation.data.iloc[rows.to_numpy()])
        for group, rows in sorted(groups, key=lambda item: -len(item[1]))
        if group and len(rows) >= MIN_EXAMPLE_STUDENTS
    ]
    if not usual:
        return []
    students = pd.concat(usual[:EXAMPLES], ignore_index=True).astype(explanation.data.dtypes)
    found = explain(model, students)
    told = {lang: found.reasons(EXAMPLE_REASONS, lang) for lang in LANGS}
    return [
        {
            "band": next((name for name, cut in sorted(bands.items(), key=lambda b: -b[1]) if risk >= cut), "low"),
            "risk": float(risk),
            "reasons": {lang: [_reason(reason.to_dict()) for reason in told[lang][row]] for lang in LANGS},
        }
        for row, risk in enumerate(found.risk)
    ]


def _reason(reason: Mapping[str, Any]) -> dict[str, Any]:
    return {name: reason[name] for name in ("text", "label", "changeable", "measure", "contribution")}


def _usual_student(members: pd.DataFrame) -> pd.DataFrame:
    """Return one made-up row: the median of each number (a value that occurs), the commonest category."""
    row = {}
    for name in members.columns:
        known = members[name].dropna()
        numeric = pd.api.types.is_numeric_dtype(known.dtype) and not pd.api.types.is_bool_dtype(known.dtype)
        if known.empty:
            row[name] = members[name].iloc[:1].reset_index(drop=True)
        else:
            value = known.quantile(0.5, interpolation="nearest") if numeric else known.mode().iloc[0]
            row[name] = pd.Series([value], dtype=members[name].dtype)
    return pd.DataFrame(row)


def kept_share(risk: FloatArray, other: FloatArray, *, share: float) -> float:
    """Return which part of a list is also on the list by other risks of the same students.

    Where both lists are tied at the cut, the most that the draws between equals can have in common.

    Parameters
    ----------
    risk, other : array (n,)
    share : float
        Size of both lists.

    Examples
    --------
    >>> kept_share(np.array([0.9, 0.8, 0.1, 0.2]), np.array([0.9, 0.1, 0.2, 0.8]), share=0.5)
    0.5
    """
    mine, others = listing_chance(risk, share), listing_chance(other, share)
    return float(np.minimum(mine, others).sum() / mine.sum())


def _labels(name: str, known: Mapping[str, Feature]) -> dict[Lang, str]:
    """Return the labels of a feature; a column that the package does not know is called by its name."""
    return {lang: known[name].label(lang) if known else name for lang in LANGS}


def _group_labels(group: str, known: Mapping[str, Feature]) -> Mapping[Lang, str]:
    return {lang: GROUPS[group][lang] if known else group for lang in LANGS}
