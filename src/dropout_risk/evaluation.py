"""How well a model would have served: beside simple rules at the same capacity, with intervals.

`cross_scores` gives every row a risk from a model that has not seen it; `evaluate` turns risks and
outcomes into figures. Other models and rules are judged on the same rows under the same resampled groups,
so the difference to them has an interval of its own, narrower than the two intervals suggest. The report
that people read is written by `evaluation_text`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dropout_risk.descriptions import RULE_LABELS, Lang
from dropout_risk.errors import SettingsError
from dropout_risk.intervals import YIELD_SHARES, Judge, levels, precision_recall_table
from dropout_risk.intervals import Interval as Interval
from dropout_risk.metrics import AtCapacity, at_capacity, capacity_key, draw_groups
from dropout_risk.plain import plain, records

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]
Progress = Callable[[int, int], None]

LOSSES = frozenset({"brier", "ece", "log_loss"})
"""Figures of which less is better."""

MAX_LEVELS = 50
"""An audit column with more values, unless it is categorical, is a measurement and has to be cut into bands."""

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
    per_term, per_place
        One row a term and one a place, each with a list of its own: rows, events, and the figures of
        `metrics` with ``_low`` and ``_high``.
    per_group
        One row a value of each audit column, under one list for all at the headline share; the figures of
        `metrics.measure_listed`, some with ``_low`` and ``_high``.
    calibration
        One row a bin of equal count, for all students (column and level ``"all"``) and for each value of
        each audit column: rows, mean risk, and the observed rate with its interval ``low`` to ``high``.
    yield_curve
        One row a share of `YIELD_SHARES` for the model and each rule: what a list of that length finds.
    precision_recall
        One row a point of the precision-recall curve of the model and each rule.

    Notes
    -----
    In `per_term`, `per_place`, `per_group` and `calibration` a cell with fewer than 10 rows or 5 events is
    suppressed. A cell that could be computed as the rest of a whole is no better hidden than one that is
    shown, so the next smallest cells of the same column are suppressed with it until at least two are
    hidden that together are no small cell. Suppressed cells keep nothing but their name.
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
    per_place: pd.DataFrame
    per_group: pd.DataFrame
    calibration: pd.DataFrame
    yield_curve: pd.DataFrame
    precision_recall: pd.DataFrame

    @property
    def headline(self) -> float:
        """The middle one of the shares."""
        return Judge(self.shares, self.confidence).headline

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

    def verdict(self, lang: Lang = "en") -> str:
        """Return in one line whether the model beats every rule at the headline share.

        It does when the whole interval of each paired difference in recall is on its side. Otherwise the
        line names each rule that it does not beat.

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
        if lang not in _VERDICTS:
            raise SettingsError(f"There are no texts in {lang!r}: choose one of {', '.join(_VERDICTS)}.")
        texts = _VERDICTS[lang]
        key = capacity_key(self.headline)
        metric = f"recall_at_{key}"
        facts = {"share": f"{key} %", "ours": f"{self.metrics[metric].times(100):.0f} %"}
        if np.isnan(self.metrics[metric].value):
            return texts["nobody"]
        if not self.rules:
            return texts["no_rule"].format(**facts)
        unbeaten = [name for name in self.rules if not self.better_than(name, metric)]
        nearest = min(self.rules, key=lambda name: self.differences[name][metric].low)
        others = [self._beside(name, metric, lang) for name in unbeaten or [nearest]]
        return texts["fails" if unbeaten else "beats"].format(**facts, others=texts["and"].join(others))

    def _beside(self, name: str, metric: str, lang: Lang) -> str:
        difference = self.differences[name][metric]
        outcome = "clear" if self.better_than(name, metric) else "worse" if self.worse_than(name, metric) else "unclear"
        outcome = "no_interval" if np.isnan(difference.low) else outcome
        return _VERDICTS[lang]["beside"].format(
            rule=RULE_LABELS[name][lang] if name in RULE_LABELS else name,
            other=f"{100 * self.rules[name][metric].value:.0f} %",
            points=f"{difference.times(100):+z.0f}",
            outcome=_VERDICTS[lang][outcome],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, text, lists and dictionaries, NaN as None: ready for JSON.

        Returns
        -------
        dict
            Keys ``rows, left_out, groups, base_rate, shares, n_boot, confidence, verdict`` (zh and en),
            ``metrics, rules, peers, differences, ties, per_term, per_place, per_group, calibration,
            yield_curve, precision_recall``.
        """
        tables = ("per_term", "per_place", "per_group", "calibration", "yield_curve", "precision_recall")
        return {
            "rows": self.n_rows,
            "left_out": self.n_left_out,
            "groups": self.n_groups,
            "base_rate": plain(self.base_rate),
            "shares": list(self.shares),
            "n_boot": self.n_boot,
            "confidence": self.confidence,
            "verdict": {"zh": self.verdict("zh"), "en": self.verdict("en")},
            "metrics": _dicts(self.metrics),
            "rules": {name: _dicts(figures) for name, figures in self.rules.items()},
            "peers": {name: _dicts(figures) for name, figures in self.peers.items()},
            "differences": {name: _dicts(figures) for name, figures in self.differences.items()},
            "ties": {
                name: {key: plain(vars(found)) for key, found in by_share.items()}
                for name, by_share in self.ties.items()
            },
            **{name: records(getattr(self, name)) for name in tables},
        }


def cross_scores(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    splits: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    groups: Any = None,
    term: Any = None,
    sample_weight: Any = None,
    progress: Progress | None = None,
) -> FloatArray:
    """Return for each row the risk given by a model that has not seen it.

    Parameters
    ----------
    estimator : classifier
        Cloned for each split; `groups`, `term` and `sample_weight` reach its `fit` when it names them.
    X : DataFrame or array, shape (n, features)
    y : array of 0, 1 and NaN, shape (n,)
        Rows without an outcome are scored but not learned from.
    splits : iterable of (train, test)
        Row positions or masks, from `TermSplit`, a scikit-learn splitter or your own loop; no row is tested twice.
    groups, term : array, shape (n,), optional
    sample_weight : array, shape (n,), optional
        How much each row counts in learning; rows of weight 0 are scored but not learned from, by no estimator.
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
    learned = ~np.isnan(labels) & (True if sample_weight is None else np.asarray(sample_weight) > 0)
    folds = [(train[learned[train]], test) for train, test in folds]
    _check_folds(folds, labels)
    extras = {"groups": groups, "term": term, "sample_weight": sample_weight}
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
    place: ArrayLike | None = None,
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
    place : array, shape (n,), optional
        County or other place of each row, for the figures per place.
    rules : mapping of name to array, optional
        Scores of simple rules on any scale, such as the days absent.
    peers : mapping of name to array, optional
        Risks of other models.
    by : DataFrame, n rows, optional
        Audit columns, categorical or with at most 50 values: figures of their subgroups under one list for all.
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
    interval (NaN). Rows of one outcome only are judged as far as that goes: the figures that need both are NaN.

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
    parts = {
        name: None if given is None else pd.Series(given) for name, given in {"term": term, "place": place}.items()
    }
    audit = pd.DataFrame(index=range(len(labels))) if by is None else by
    shares = tuple(sorted(shares))
    others = rule_scores | peer_risks
    _check_options(shares, n_boot=n_boot, confidence=confidence)
    if len(others) < len(rule_scores) + len(peer_risks) or "model" in others:
        raise SettingsError("Give each rule and peer a name of its own, and none the name 'model'.")
    _check_rows(labels, risks, units=units, parts=parts, audit=audit, others=others)

    kept = ~(np.isnan(labels) | np.isnan(risks))
    labels, risks, audit = labels[kept], risks[kept], audit[kept]
    draws = draw_groups(units[kept], n_boot=n_boot, seed=seed)
    judge = Judge(shares, confidence)
    rankings = {"model": risks} | {name: score[kept] for name, score in rule_scores.items()}
    rivals = {name: score[kept] for name, score in peer_risks.items()}
    found = {
        name: judge.judge(labels, score, draws=draws, more_shares=YIELD_SHARES, probability=name == "model")
        for name, score in rankings.items()
    }
    beside = found | {name: judge.judge(labels, score, draws=draws) for name, score in rivals.items()}
    judged: dict[str, Any] = {"y": labels, "risk": risks, "draws": draws}
    cells = {str(name): levels(audit[name]) for name in audit}
    tables = {
        f"per_{name}": judge.level_table(name, [] if part is None else levels(part[kept]), **judged)
        for name, part in parts.items()
    }
    return Evaluation(
        n_rows=len(labels),
        n_left_out=int(np.sum(~kept)),
        n_groups=draws.counts.shape[1],
        base_rate=float(labels.mean()),
        shares=shares,
        n_boot=n_boot,
        confidence=confidence,
        metrics=judge.intervals(found["model"]),
        rules={name: judge.intervals(beside[name]) for name in rule_scores},
        peers={name: judge.intervals(beside[name]) for name in peer_risks},
        differences={name: judge.differences(found["model"], beside[name]) for name in others},
        ties={
            name: {capacity_key(share): at_capacity(labels, score, share) for share in shares}
            for name, score in (rankings | rivals).items()
        },
        **tables,
        per_group=judge.group_table(cells, **judged),
        calibration=judge.calibration_table(cells, **judged),
        yield_curve=judge.yield_table(found, len(labels)),
        precision_recall=precision_recall_table(rankings, labels),
    )


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
    parts: Mapping[str, "pd.Series[Any] | None"],
    audit: pd.DataFrame,
    others: Mapping[str, FloatArray],
) -> None:
    columns: dict[str, Any] = {"risk": risks, "groups": units, "by": audit, **others}
    columns |= {name: part for name, part in parts.items() if part is not None}
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
        count = audit[name].nunique()
        if count > MAX_LEVELS and not isinstance(audit[name].dtype, pd.CategoricalDtype):
            problems.append(f"by column {name!r} has {count} values: cut it into at most {MAX_LEVELS} bands")
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


def _dicts(figures: Figures) -> dict[str, dict[str, float | None]]:
    return {name: figure.to_dict() for name, figure in figures.items()}


_VERDICTS: dict[str, dict[str, str]] = {
    "en": {
        "beats": "At a capacity of {share} the model finds {ours} of the students who left and beats every simple "
        "rule; the nearest: {others}.",
        "fails": "At a capacity of {share} the model does not beat every simple rule: it finds {ours} of the "
        "students who left; {others}.",
        "beside": "“{rule}” finds {other} (difference {points} points{outcome})",
        "and": "; ",
        "clear": "",
        "worse": ", the rule finds more",
        "unclear": ", no clear difference",
        "no_interval": ", not to be told apart from chance with one group only",
        "no_rule": "At a capacity of {share} the model finds {ours} of the students who left; no simple rule was "
        "given to compare it with.",
        "nobody": "Nobody left among the students judged: whether the model beats the simple rules cannot be said.",
    },
    "zh": {
        "beats": "名额为 {share} 时，模型找到 {ours} 的离校学生，优于每一条简单规则；最接近的：{others}。",
        "fails": "名额为 {share} 时，模型并未优于每一条简单规则：模型找到 {ours} 的离校学生；{others}。",
        "beside": "“{rule}”找到 {other}（相差 {points} 个百分点{outcome}）",
        "and": "；",
        "clear": "",
        "worse": "，规则找到的更多",
        "unclear": "，没有明显差别",
        "no_interval": "，只有一个组，无法判断是否出于偶然",
        "no_rule": "名额为 {share} 时，模型找到 {ours} 的离校学生；没有给出可比较的简单规则。",
        "nobody": "所评学生中无人离校，无法判断模型是否优于简单规则。",
    },
}  # fmt: skip
