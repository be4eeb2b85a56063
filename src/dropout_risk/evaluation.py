"""How well a model would have served: beside the simple rule at the same capacity, with intervals.

`cross_scores` gives every row a risk from a model that has not seen it; `evaluate` turns risks and
outcomes into figures. Other models and rules are judged on the same rows under the same resampled groups,
so the difference to them has an interval of its own, narrower than the two intervals suggest. The
report is written here too, in two languages: its sentences and tables stand at the end.
"""

import inspect
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dropout_risk.errors import SettingsError
from dropout_risk.metrics import (
    AtCapacity,
    Draws,
    at_capacity,
    bootstrap,
    bootstrap_recall,
    capacity_key,
    draw_groups,
    listing_chance,
    measure,
)

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]
Progress = Callable[[int, int], None]

LOSSES = frozenset({"brier", "ece", "log_loss"})
"""Figures of which less is better."""

MIN_CELL_ROWS = 10
MIN_CELL_EVENTS = 5
"""A subgroup with fewer rows or events is suppressed: its figures say little and could point at a child."""

MAX_LEVELS = 50
"""An audit column with more values is a measurement and has to be cut into bands."""

NOT_RECORDED = "not recorded"
"""Level of the students without a value in an audit column."""


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its bootstrap interval.

    Attributes
    ----------
    value, low, high
        NaN where the figure, or an interval for it, is undefined.

    Examples
    --------
    >>> Interval(0.41, 0.36, float("nan")).to_dict()
    {'value': 0.41, 'low': 0.36, 'high': None}
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return the three numbers, with None for NaN.

        Returns
        -------
        dict
        """
        return {name: _json(getattr(self, name)) for name in ("value", "low", "high")}


Figures = Mapping[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    n_rows, n_left_out, n_groups
        Rows judged, rows left out for want of a risk or an outcome, groups that were resampled.
    base_rate
        Share of the students who left.
    shares, n_boot, confidence
        As asked; the middle share is the headline of the texts and tables.
    metrics
        The model's figures by name: ``auc, average_precision, brier, log_loss, ece`` and
        ``precision_at_…, recall_at_…`` for each share in percent.
    rules, peers
        The same for each simple rule (ranking figures only) and each other model.
    differences
        For each rule and peer: the model's figure minus the other's, paired.
    ties
        For ``"model"``, each peer and each rule: per share, the list with the bounds that ties leave open.
    per_term
        One row a term, each with a list of its own: rows, events, and the figures with ``_low`` and
        ``_high``.
    per_group
        One row a value of each audit column, under one list for all at the headline share.
    """

    n_rows: int
    n_left_out: int
    n_groups: int
    base_rate: float
    shares: tuple[float, ...]
    n_boot: int
    confidence: float
    metrics: Figures
    rules: Mapping[str, Figures]
    peers: Mapping[str, Figures]
    differences: Mapping[str, Figures]
    ties: Mapping[str, Mapping[str, AtCapacity]]
    per_term: pd.DataFrame
    per_group: pd.DataFrame

    @property
    def headline(self) -> float:
        """The middle one of the shares."""
        return _headline(self.shares)

    def better_than(self, name: str, metric: str = "average_precision") -> bool:
        """Return whether the whole interval of the difference is on the model's side.

        Parameters
        ----------
        name : str
            A rule or a peer.
        metric : str
            A key of `metrics`; of ``brier``, ``log_loss`` and ``ece`` less is better.

        Returns
        -------
        bool

        Raises
        ------
        SettingsError
            When there is no such comparison.
        """
        difference = self._difference(name, metric)
        return difference.high < 0 if metric in LOSSES else difference.low > 0

    def worse_than(self, name: str, metric: str = "average_precision") -> bool:
        """Return whether the whole interval of the difference is on the other's side.

        Parameters
        ----------
        name, metric
            As in `better_than`.

        Returns
        -------
        bool

        Raises
        ------
        SettingsError
            When there is no such comparison.
        """
        difference = self._difference(name, metric)
        return difference.low > 0 if metric in LOSSES else difference.high < 0

    def _difference(self, name: str, metric: str) -> Interval:
        if name not in self.differences:
            known = ", ".join(self.differences) or "none"
            raise SettingsError(f"The model was not compared with {name!r}; it was with: {known}.")
        if metric not in self.differences[name]:
            known = ", ".join(self.differences[name])
            raise SettingsError(f"{name!r} has no {metric!r} to compare; it has: {known}.")
        return self.differences[name][metric]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, text, lists and dictionaries, NaN as None: ready for JSON.

        Returns
        -------
        dict
            Keys ``rows, left_out, groups, base_rate, shares, n_boot, confidence, metrics, rules, peers,
            differences, ties, per_term, per_group``.
        """
        return {
            "rows": self.n_rows,
            "left_out": self.n_left_out,
            "groups": self.n_groups,
            "base_rate": _json(self.base_rate),
            "shares": list(self.shares),
            "n_boot": self.n_boot,
            "confidence": self.confidence,
            "metrics": _plain(self.metrics),
            "rules": {name: _plain(figures) for name, figures in self.rules.items()},
            "peers": {name: _plain(figures) for name, figures in self.peers.items()},
            "differences": {name: _plain(figures) for name, figures in self.differences.items()},
            "ties": {
                name: {key: _record(vars(found)) for key, found in by_share.items()}
                for name, by_share in self.ties.items()
            },
            "per_term": [_record(row) for row in self.per_term.to_dict("records")],
            "per_group": [_record(row) for row in self.per_group.to_dict("records")],
        }

    def to_text(self, lang: Literal["en", "zh"] = "en") -> str:
        """Return a readable report; its first lines say whether the model beats the rules.

        Parameters
        ----------
        lang : {"en", "zh"}

        Returns
        -------
        str

        Raises
        ------
        SettingsError
            When there are no texts in that language.
        """
        if lang not in _TEXTS:
            raise SettingsError(f"There are no texts in {lang!r}: choose one of {', '.join(_TEXTS)}.")
        return "\n".join(_report(self, _TEXTS[lang]))


def cross_scores(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    splits: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    groups: Any = None,
    term: Any = None,
    progress: Progress | None = None,
) -> FloatArray:
    """Return for each row the risk given by a model that has not seen it.

    Parameters
    ----------
    estimator : classifier
        Cloned for each split; `groups` and `term` reach its `fit` when it names them.
    X : DataFrame or array, shape (n, features)
    y : array of 0, 1 and NaN, shape (n,)
        Rows without an outcome are scored but not learned from.
    splits : iterable of (train, test)
        Row positions or masks, from `TermSplit`, a scikit-learn splitter or your own loop; no row is tested twice.
    groups, term : array, shape (n,), optional
    progress : callable, optional
        Called with (splits done, splits in all).

    Returns
    -------
    ndarray of float, shape (n,)
        NaN for rows that no split tests.

    Raises
    ------
    SettingsError
        When a split tests a row that it learns from, or that another split tests, or learns from one
        class only.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> X, y = np.zeros((6, 1)), [0, 1, 1, 0, 1, 0]
    >>> cross_scores(DummyClassifier(), X, y, [([0, 1, 2], [3, 4])]).round(2).tolist()
    [nan, nan, nan, 0.67, 0.67, nan]
    """
    from sklearn.base import clone

    labels = _floats(y, "y")
    folds = [(_positions(train), _positions(test)) for train, test in splits]
    folds = [(train[~np.isnan(labels[train])], test) for train, test in folds]
    _check_folds(folds, labels)
    extras = {"groups": groups, "term": term}
    taken = inspect.signature(estimator.fit).parameters
    extras = {name: given for name, given in extras.items() if given is not None and name in taken}
    risk = np.full(len(labels), np.nan)
    for done, (train, test) in enumerate(folds, start=1):
        model = clone(estimator)
        model.fit(
            _take(X, train),
            labels[train].astype(int),
            **{name: _take(given, train) for name, given in extras.items()},
        )
        risk[test] = model.predict_proba(_take(X, test))[:, 1]
        if progress is not None:
            progress(done, len(folds))
    return risk


def evaluate(
    y: ArrayLike,
    risk: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    term: ArrayLike | None = None,
    rules: Mapping[str, ArrayLike] | None = None,
    peers: Mapping[str, ArrayLike] | None = None,
    by: pd.DataFrame | None = None,
    shares: Sequence[float] = (0.05, 0.10, 0.20),
    n_boot: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge risks by what happened, beside rules and other models at the same capacity.

    All arrays and frames are taken row by row, by position; an index is ignored.

    Parameters
    ----------
    y : array of 0, 1 and NaN, shape (n,)
        1 for the students who left.
    risk : array in [0, 1], shape (n,)
        The model's risks for rows that it has not seen; NaN where it gave none.
    groups : array, shape (n,), optional
        Unit that is resampled whole for the intervals (school, village); without it, rows are.
    term : array, shape (n,), optional
        For the figures per term.
    rules : mapping of name to array, optional
        Scores of simple rules on any scale, such as the days absent.
    peers : mapping of name to array, optional
        Risks of other models.
    by : DataFrame, n rows, optional
        Audit columns, each with at most 50 values: recall in their subgroups under one list for all.
    shares : sequence of float
        Capacities, as shares of the students.
    n_boot : int
        Number of bootstrap replicates.
    confidence : float
        Of the intervals.
    seed : int

    Returns
    -------
    Evaluation

    Raises
    ------
    SettingsError
        When lengths differ, an option makes no sense, or a rule or peer lacks a score for a judged row.

    Notes
    -----
    Rows without a risk or an outcome are left out and counted. Intervals are percentiles of the
    replicates. Those of the calibration error are moved by the bias that resampling adds (a resampled
    gap of 0 is no longer 0), else they would lie above the value itself. With one group there is no
    interval (NaN). Suppressed subgroups keep nothing but their name.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true_risk = rng.beta(1, 9, 3000)
    >>> left = rng.random(3000) < true_risk
    >>> found = evaluate(left, true_risk, rules={"coin": rng.random(3000)}, n_boot=100)
    >>> found.better_than("coin", "recall_at_10"), found.n_rows
    (True, 3000)
    """
    labels, risks = _floats(y, "y"), _floats(risk, "risk")
    rule_scores = {name: _floats(score, f"rule {name!r}") for name, score in (rules or {}).items()}
    peer_risks = {name: _floats(score, f"peer {name!r}") for name, score in (peers or {}).items()}
    units = np.arange(len(labels)) if groups is None else pd.factorize(pd.Series(groups), sort=True)[0]
    terms = None if term is None else pd.Series(term).reset_index(drop=True)
    audit = pd.DataFrame(index=range(len(labels))) if by is None else by.reset_index(drop=True)
    shares = tuple(sorted(shares))
    others = rule_scores | peer_risks
    _check_options(shares, n_boot=n_boot, confidence=confidence)
    if len(others) < len(rule_scores) + len(peer_risks) or "model" in others:
        raise SettingsError("Give each rule and peer a name of its own, and none the name 'model'.")
    _check_rows(labels, risks, units=units, terms=terms, audit=audit, others=others)

    kept = ~(np.isnan(labels) | np.isnan(risks))
    labels, risks, audit = labels[kept], risks[kept], audit[kept]
    draws = draw_groups(units[kept], n_boot=n_boot, seed=seed)
    judge = _Judge(shares, confidence)
    ours = judge.judge(labels, risks, draws=draws)
    found = {
        name: judge.judge(labels, score[kept], draws=draws, probability=name in peer_risks)
        for name, score in others.items()
    }
    scores = {"model": risks} | {name: score[kept] for name, score in others.items()}
    return Evaluation(
        n_rows=len(labels),
        n_left_out=int(np.sum(~kept)),
        n_groups=draws.counts.shape[1],
        base_rate=float(labels.mean()),
        shares=shares,
        n_boot=n_boot,
        confidence=confidence,
        metrics=judge.intervals(ours),
        rules={name: judge.intervals(found[name]) for name in rule_scores},
        peers={name: judge.intervals(found[name]) for name in peer_risks},
        differences={name: judge.differences(ours, other) for name, other in found.items()},
        ties={
            name: {capacity_key(share): at_capacity(labels, score, share) for share in shares}
            for name, score in scores.items()
        },
        per_term=judge.per_term(labels, risks, draws=draws, term=None if terms is None else terms[kept]),
        per_group=judge.per_group(labels, risks, draws=draws, audit=audit),
    )


@dataclass(frozen=True)
class _Found:
    """The figures of one score, and their replicates under the draws that all scores share."""

    values: dict[str, float]
    replicates: dict[str, FloatArray]


@dataclass(frozen=True)
class _Judge:
    """Judges scores at the same shares, with intervals of the same confidence."""

    shares: tuple[float, ...]
    confidence: float

    def judge(self, y: FloatArray, score: FloatArray, *, draws: Draws, probability: bool = True) -> _Found:
        values = measure(y, score, capacities=self.shares, probability=probability)
        replicates = bootstrap(y, score, draws=draws, capacities=self.shares, probability=probability)
        if probability:
            replicates["ece"] -= replicates["ece"].mean() - values["ece"]
        if len(np.unique(draws.codes)) < 2:  # one group is always drawn: its spread is not known
            replicates = {name: np.full_like(figure, np.nan) for name, figure in replicates.items()}
        return _Found(values, replicates)

    def interval(self, value: float, replicates: FloatArray) -> Interval:
        known = replicates[~np.isnan(replicates)]
        if not len(known):
            return Interval(value, np.nan, np.nan)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return Interval(value, float(low), float(high))

    def intervals(self, found: _Found) -> dict[str, Interval]:
        figures = {name: self.interval(value, found.replicates[name]) for name, value in found.values.items()}
        if "ece" in figures:
            ece = figures["ece"]
            figures["ece"] = Interval(ece.value, max(0.0, ece.low), ece.high)
        return figures

    def differences(self, ours: _Found, other: _Found) -> dict[str, Interval]:
        return {
            name: self.interval(ours.values[name] - other.values[name], ours.replicates[name] - other.replicates[name])
            for name in other.values
        }

    def per_term(self, y: FloatArray, risk: FloatArray, *, draws: Draws, term: "pd.Series[Any] | None") -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for level, members in [] if term is None else _levels(term):
            if _is_small(y[members]):
                rows.append({"term": level, "suppressed": True})
                continue
            found = self.judge(y[members], risk[members], draws=draws.select(members))
            cell: dict[str, Any] = {"term": level, "suppressed": False, **_counts(y[members])}
            for name, figure in self.intervals(found).items():
                cell |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            rows.append(cell)
        return pd.DataFrame(rows)

    def per_group(self, y: FloatArray, risk: FloatArray, *, draws: Draws, audit: pd.DataFrame) -> pd.DataFrame:
        share = _headline(self.shares)
        cells = [(str(name), level, members) for name in audit for level, members in _levels(audit[name])]
        if not cells:
            return pd.DataFrame()
        chance = listing_chance(risk, share)
        subgroups = np.column_stack([members for _, _, members in cells])
        replicates = bootstrap_recall(y, risk, draws=draws, capacity=share, subgroups=subgroups)
        rows: list[dict[str, Any]] = []
        for i, (column, level, members) in enumerate(cells):
            if _is_small(y[members]):
                rows.append({"column": column, "level": level, "suppressed": True})
                continue
            listed, hits = chance[members].sum(), (chance * y)[members].sum()
            recall = self.interval(float(hits / y[members].sum()), replicates[:, i])
            rows.append(
                {
                    "column": column,
                    "level": level,
                    "suppressed": False,
                    **_counts(y[members]),
                    "mean_risk": float(risk[members].mean()),
                    "listed": float(listed),
                    "precision": float(hits / listed) if listed else np.nan,
                    "recall": recall.value,
                    "recall_low": recall.low,
                    "recall_high": recall.high,
                }
            )
        return pd.DataFrame(rows)


def _levels(column: "pd.Series[Any]") -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the values of a column in order, as text, with the rows of each; missing comes last."""
    codes, levels = pd.factorize(column, sort=True)
    names = [f"{level:g}" if isinstance(level, float) else str(level) for level in levels]
    cells = [(name, codes == code) for code, name in enumerate(names)]
    return cells + ([(NOT_RECORDED, codes == -1)] if (codes == -1).any() else [])


def _headline(shares: tuple[float, ...]) -> float:
    return shares[len(shares) // 2]


def _is_small(y: FloatArray) -> bool:
    return len(y) < MIN_CELL_ROWS or y.sum() < MIN_CELL_EVENTS


def _counts(y: FloatArray) -> dict[str, float]:
    return {"rows": len(y), "events": int(y.sum()), "base_rate": float(y.mean())}


def _check_folds(folds: list[tuple[Rows, Rows]], labels: FloatArray) -> None:
    problems = []
    tested = np.zeros(len(labels), dtype=int)
    for number, (train, test) in enumerate(folds, start=1):
        np.add.at(tested, test, 1)
        if len(both := np.intersect1d(train, test)):
            problems.append(f"split {number} learns from {len(both)} of the rows that it tests")
        if len(np.unique(labels[train])) < 2:
            problems.append(f"split {number} learns from students of one outcome only")
    if twice := int(np.sum(tested > 1)):
        problems.append(f"{twice} rows are tested by more than one split")
    if problems:
        raise SettingsError(f"The splits cannot be used: {'; '.join(problems)}.")


def _check_options(shares: tuple[float, ...], *, n_boot: int, confidence: float) -> None:
    problems = [f"a share is {share}: give it between 0 and 1" for share in shares if not 0 < share < 1]
    if not shares:
        problems.append("shares is empty: give at least one share of the students")
    if n_boot < 1:
        problems.append(f"n_boot is {n_boot}: give 1 or more")
    if not 0 < confidence < 1:
        problems.append(f"confidence is {confidence}: give it between 0 and 1")
    if problems:
        raise SettingsError(f"The evaluation cannot start: {'; '.join(problems)}.")


def _check_rows(
    labels: FloatArray,
    risks: FloatArray,
    *,
    units: Rows,
    terms: "pd.Series[Any] | None",
    audit: pd.DataFrame,
    others: Mapping[str, FloatArray],
) -> None:
    columns: dict[str, Any] = {"risk": risks, "groups": units, "by": audit, **others}
    if terms is not None:
        columns["term"] = terms
    problems = [
        f"{name} has {len(values)} rows but there are {len(labels)} labels"
        for name, values in columns.items()
        if len(values) != len(labels)
    ]
    if problems:
        raise SettingsError(f"The rows do not fit together: {'; '.join(problems)}.")
    kept = ~(np.isnan(labels) | np.isnan(risks))
    if not kept.any():
        problems.append("no row has both a risk and an outcome")
    if gaps := int(np.sum(units[kept] == -1)):
        problems.append(f"groups is missing in {gaps} rows: give each student a group")
    for name, score in others.items():
        if gaps := int(np.isnan(score[kept]).sum()):
            problems.append(f"{name} lacks a score for {gaps} judged rows: score them or leave it out")
    for name in audit.columns:
        if (levels := audit[name].nunique()) > MAX_LEVELS:
            problems.append(f"by column {name!r} has {levels} values: cut it into at most {MAX_LEVELS} bands")
    if problems:
        raise SettingsError(f"The rows cannot be judged: {'; '.join(problems)}.")


def _floats(values: Any, name: str) -> FloatArray:
    try:
        return np.asarray(pd.Series(values).astype("float64"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} holds values that are not numbers: {error}.") from error


def _positions(rows: ArrayLike) -> Rows:
    array = np.asarray(rows)
    return np.flatnonzero(array) if array.dtype == bool else array.astype(np.intp)


def _take(values: Any, rows: Rows) -> Any:
    return values.iloc[rows] if hasattr(values, "iloc") else np.asarray(values)[rows]


def _plain(figures: Figures) -> dict[str, dict[str, float | None]]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _record(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    """Return a plain value, with None for NaN."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and np.isnan(plain) else plain


_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "beside_rule": "At the same capacity ({share}) the model finds {ours} of the students who left {range}; "
        "the rule {rule} finds {other}: difference {difference} points {bounds}{verdict}.",
        "no_rule": "At a capacity of {share} the model finds {ours} of the students who left {range}; "
        "no simple rule was given to compare it with.",
        "better": "",
        "worse": ", the rule finds more",
        "unclear": ", no clear difference",
        "rows": "{rows:,} students, {base} left; {left_out:,} without risk or outcome are not counted. "
        "Brackets: {confidence} interval from {n_boot} resamples of {groups:,} groups.",
        "model": "the model",
        "difference": "AP: model minus it",
        "legend": "recall@: share of the students who left that are listed; "
        "precision@: share of the students listed who left.",
        "ties": "{name}: {ties:,} students share the score at the cut of {share}; depending on who of them is "
        "listed, it finds {worst} to {best} of the students who left.",
        "per_group": "Per group, under one list for all ({share}):",
        "hidden": "too few to show",
        "missing": "not recorded",
        "columns": "AUC|AP|recall@{k}|precision@{k}|ECE|log-loss",
        "group_columns": "column|value|students|left|listed|recall@{k}",
    },
    "zh": {
        "beside_rule": "在同样的名额下（{share}），模型找到 {ours} 的离校学生 {range}；"
        "规则“{rule}”找到 {other}：相差 {difference} 个百分点 {bounds}{verdict}。",
        "no_rule": "名额为 {share} 时，模型找到 {ours} 的离校学生 {range}；没有给出可比较的简单规则。",
        "better": "",
        "worse": "，规则找到的更多",
        "unclear": "，没有明显差别",
        "rows": "共 {rows:,} 名学生，{base} 离校；另有 {left_out:,} 名没有风险或结果，不计入。"
        "方括号内为 {confidence} 区间，由 {groups:,} 个组重抽样 {n_boot} 次得到。",
        "model": "本模型",
        "difference": "AP：本模型减它",
        "legend": "召回@：离校学生中列入名单的比例；精确@：列入名单的学生中离校的比例。",
        "ties": "{name}：在 {share} 的截断处有 {ties:,} 名学生分数相同；视其中谁列入名单，"
        "可找到 {worst} 至 {best} 的离校学生。",
        "per_group": "分群体，全体共用一份名单（{share}）：",
        "hidden": "人数太少，不显示",
        "missing": "未记录",
        "columns": "AUC|AP|召回@{k}|精确@{k}|ECE|对数损失",
        "group_columns": "列|取值|学生|离校|列入名单|召回@{k}",
    },
}  # fmt: skip


def _report(found: Evaluation, texts: Mapping[str, str]) -> list[str]:
    return [
        *_verdicts(found, texts),
        texts["rows"].format(
            rows=found.n_rows,
            base=f"{100 * found.base_rate:.1f} %",
            left_out=found.n_left_out,
            confidence=_percent(found.confidence),
            n_boot=found.n_boot,
            groups=found.n_groups,
        ),
        "",
        *_model_table(found, texts),
        *_group_table(found, texts),
        "",
        texts["legend"],
        *_tie_notes(found, texts),
    ]


def _verdicts(found: Evaluation, texts: Mapping[str, str]) -> list[str]:
    key = capacity_key(found.headline)
    metric = f"recall_at_{key}"
    ours = found.metrics[metric]
    facts = {"share": f"{key} %", "ours": _percent(ours.value), "range": _range(ours, scale=100, form=".0f")}
    lines = []
    for name, figures in found.rules.items():
        verdict = "better" if found.better_than(name, metric) else "unclear"
        verdict = "worse" if found.worse_than(name, metric) else verdict
        difference = found.differences[name][metric]
        points = [_number(100 * point, "+.0f") for point in (difference.value, difference.low, difference.high)]
        lines.append(
            texts["beside_rule"].format(
                **facts,
                rule=name,
                other=_percent(figures[metric].value),
                difference=points[0],
                bounds=f"[{points[1]}, {points[2]}]",
                verdict=texts[verdict],
            )
        )
    return lines or [texts["no_rule"].format(**facts)]


def _model_table(found: Evaluation, texts: Mapping[str, str]) -> list[str]:
    key = capacity_key(found.headline)
    names = ("auc", "average_precision", f"recall_at_{key}", f"precision_at_{key}", "ece", "log_loss")
    table = [
        ["", *texts["columns"].format(k=key).split("|"), texts["difference"]],
        [texts["model"], *(f"{_number(found.metrics[m].value)} {_range(found.metrics[m])}" for m in names), ""],
    ]
    for name, figures in {**found.peers, **found.rules}.items():
        values = [_number(figures[metric].value) if metric in figures else "" for metric in names]
        difference = found.differences[name]["average_precision"]
        points = [_number(point, "+.3f") for point in (difference.value, difference.low, difference.high)]
        table.append([name, *values, f"{points[0]} [{points[1]}, {points[2]}]"])
    return _aligned(table)


def _group_table(found: Evaluation, texts: Mapping[str, str]) -> list[str]:
    if found.per_group.empty:
        return []
    key = capacity_key(found.headline)
    table = [texts["group_columns"].format(k=key).split("|")]
    for cell in found.per_group.to_dict("records"):
        level = texts["missing"] if cell["level"] == NOT_RECORDED else cell["level"]
        if cell["suppressed"]:
            table.append([cell["column"], level, texts["hidden"], "", "", ""])
            continue
        recall = Interval(cell["recall"], cell["recall_low"], cell["recall_high"])
        counts = [f"{cell[name]:,.0f}" for name in ("rows", "events", "listed")]
        table.append([cell["column"], level, *counts, f"{_number(recall.value)} {_range(recall)}"])
    return ["", texts["per_group"].format(share=f"{key} %"), *_aligned(table)]


def _tie_notes(found: Evaluation, texts: Mapping[str, str]) -> list[str]:
    key = capacity_key(found.headline)
    cuts = {name: lists[key] for name, lists in found.ties.items()}
    return [
        texts["ties"].format(
            name=texts["model"] if name == "model" else name,
            ties=cut.ties,
            share=f"{key} %",
            worst=_percent(cut.recall_worst),
            best=_percent(cut.recall_best),
        )
        for name, cut in cuts.items()
        if cut.recall_best - cut.recall_worst > 0.005
    ]


def _percent(share: float) -> str:
    return _number(100 * share, ".0f") + " %"


def _range(figure: Interval, *, scale: float = 1, form: str = ".3f") -> str:
    return f"[{_number(scale * figure.low, form)}–{_number(scale * figure.high, form)}]"


def _number(value: float, form: str = ".3f") -> str:
    return "?" if np.isnan(value) else format(value, form)


def _aligned(table: list[list[str]]) -> list[str]:
    """Return the rows as lines whose columns line up; Chinese characters are two places wide."""
    widths = [max(_width(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ("  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(row, widths, strict=True)) for row in table)
    return [line.rstrip() for line in lines]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
