"""How good a ranking and its risks are: pure functions of arrays, and their bootstrap by group.

Every figure is read off one picture of a score, `_Curve`: the rows in falling order of score, rows of
equal score merged into one block, and the running totals of rows and events (students who left) over the
blocks. A bootstrap replicate is the same picture under other row weights, so one sort serves all
replicates, and the value and its interval come from the same lines of code.

Rows of equal score are never put in an order of their own: a capacity or a bin edge that falls inside a
block takes its share of the block's rows and events, which is the expectation over random tie-breaking.
What is undefined (the AUC of one class) is NaN.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dropout_risk.errors import SettingsError

FloatArray = NDArray[np.float64]

CELLS_AT_ONCE = 2**19
"""Replicates × rows worked on at once: the arrays stay near the processor."""


@dataclass(frozen=True)
class AtCapacity:
    """What a list cut at a capacity finds, with the bounds that the ties at the cut leave open.

    Attributes
    ----------
    capacity
        As asked: a share of the rows or a number of rows.
    listed
        Number of students listed.
    precision, recall
        Share of the students listed who left, share of the students who left that are listed; the
        expectation when ties at the cut are broken at random.
    precision_worst, precision_best, recall_worst, recall_best
        The same under the least and the most lucky order of the ties.
    ties
        Number of students who share the score at the cut when only some of them fit, else 0.
    """

    capacity: float
    listed: int
    precision: float
    recall: float
    precision_worst: float
    precision_best: float
    recall_worst: float
    recall_best: float
    ties: int


@dataclass(frozen=True)
class Draws:
    """Groups drawn with replacement: the same draws make the figures of several models comparable.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        Group number of each row.
    counts : ndarray of int, shape (n_boot, n_groups)
        How often each replicate drew each group.
    """

    codes: NDArray[np.intp]
    counts: NDArray[np.uint16]

    def select(self, rows: NDArray[Any]) -> "Draws":
        """Return the same draws for some of the rows (a mask or positions)."""
        return Draws(self.codes[rows], self.counts)


def roc_auc(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Return the chance that a student who left has a higher score than one who stayed (ties count half).

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
        Higher means more at risk, on any scale.
    weight : array, shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        NaN when only one class is present.

    Raises
    ------
    SettingsError
        When lengths differ, or a value is missing or not a label.

    Notes
    -----
    Equal to scikit-learn's `roc_auc_score`.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    return float(_auc(_curve(y, score, weight=weight))[0])


def average_precision(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Return the mean precision over the students who left, walking down the ranking.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
        Higher means more at risk, on any scale.
    weight : array, shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        NaN when nobody left.

    Raises
    ------
    SettingsError
        When lengths differ, or a value is missing or not a label.

    Notes
    -----
    Equal to scikit-learn's `average_precision_score`.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return float(_average_precision(_curve(y, score, weight=weight))[0])


def brier(y: ArrayLike, risk: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Return the mean squared distance between risk and outcome.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    risk : array, shape (n,)
        Probabilities.
    weight : array, shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        NaN without rows.

    Raises
    ------
    SettingsError
        When lengths differ, a value is missing or not a label, or a risk is not in [0, 1].

    Examples
    --------
    >>> round(brier([0, 1], [0.1, 0.6]), 4)
    0.085
    """
    return float(_brier(_curve(y, risk, weight=weight, probability=True))[0])


def log_loss(y: ArrayLike, risk: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Return the mean negative log-likelihood of the outcomes, in nats.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    risk : array, shape (n,)
        Probabilities; 0 and 1 are moved inside by the machine epsilon, as scikit-learn does.
    weight : array, shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        NaN without rows.

    Raises
    ------
    SettingsError
        When lengths differ, a value is missing or not a label, or a risk is not in [0, 1].

    Examples
    --------
    >>> round(log_loss([0, 1], [0.1, 0.6]), 4)
    0.3081
    """
    return float(_log_loss(_curve(y, risk, weight=weight, probability=True))[0])


def calibration_error(y: ArrayLike, risk: ArrayLike, bins: int = 10, *, weight: ArrayLike | None = None) -> float:
    """Return the mean gap between mean risk and event rate over bins of equal count (ECE).

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    risk : array, shape (n,)
        Probabilities.
    bins : int
        Number of bins; their sizes are those of `numpy.array_split` of the rows in rising order of risk.
    weight : array, shape (n,), optional
        How often each row counts.

    Returns
    -------
    float
        NaN without rows.

    Raises
    ------
    SettingsError
        When lengths differ, a value is missing or not a label, a risk is not in [0, 1], or bins < 1.

    Notes
    -----
    Rows of equal risk that a bin edge divides share their events evenly, so the order of the rows does
    not matter. Equal-count bins: Nguyen & O'Connor 2015, "Posterior calibration and exploratory analysis".

    Examples
    --------
    >>> round(calibration_error([0, 0, 0, 1], [0.1, 0.1, 0.5, 0.5], bins=2), 4)
    0.05
    """
    if bins < 1:
        raise SettingsError(f"bins is {bins}: give the number of bins as 1 or more.")
    return float(_calibration_error(_curve(y, risk, weight=weight, probability=True), bins)[0])


def at_capacity(y: ArrayLike, risk: ArrayLike, capacity: float) -> AtCapacity:
    """Return what a list of the highest risks finds, cut at a capacity, with the bounds of the ties.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    risk : array, shape (n,)
        Higher means more at risk, on any scale.
    capacity : float or int
        A share of the rows (between 0 and 1) or a number of rows; see `list_length`.

    Returns
    -------
    AtCapacity
        Recall is NaN when nobody left, precision when there are no rows.

    Raises
    ------
    SettingsError
        When the capacity makes no sense, lengths differ, or a value is missing or not a label.

    Examples
    --------
    One place is left for the two students with risk .4, of whom one left:

    >>> found = at_capacity([1, 1, 0, 0], [0.8, 0.4, 0.4, 0.1], capacity=2)
    >>> found.recall, found.recall_worst, found.recall_best, found.ties
    (0.75, 0.5, 1.0, 2)
    """
    labels, scores = _checked(y, risk)
    listed = list_length(capacity, len(labels))
    if not listed:
        return AtCapacity(capacity, 0, *(math.nan,) * 6, 0)
    cut = np.sort(scores)[-listed]
    above, tied = labels[scores > cut], labels[scores == cut]
    places, leavers = listed - len(above), float(tied.sum())
    hits = above.sum() + np.array(
        [places * tied.mean(), max(0.0, places - (len(tied) - leavers)), min(places, leavers)]
    )
    precision = (hits / listed).tolist()
    recall = _ratio(hits, np.full(3, labels.sum())).tolist()
    return AtCapacity(
        capacity=capacity,
        listed=listed,
        precision=precision[0],
        recall=recall[0],
        precision_worst=precision[1],
        precision_best=precision[2],
        recall_worst=recall[1],
        recall_best=recall[2],
        ties=len(tied) if places < len(tied) else 0,
    )


def list_length(capacity: float, n: int) -> int:
    """Return how many of `n` students a list holds under a capacity.

    Parameters
    ----------
    capacity : float or int
        A share between 0 and 1, rounded down because a capacity is not to be exceeded, but at least one
        student; or a whole number of students, at most `n`.
    n : int
        Number of students.

    Returns
    -------
    int

    Raises
    ------
    SettingsError
        When the capacity is neither a share between 0 and 1 nor a whole number of 1 or more.

    Examples
    --------
    >>> list_length(0.1, 45), list_length(30, 45), list_length(60, 45)
    (4, 30, 45)
    """
    check_capacity(capacity)
    return int(_list_lengths(capacity, np.array([float(n)]))[0])


def check_capacity(capacity: float) -> None:
    """Raise unless a capacity is a share between 0 and 1 or a whole number of students.

    Parameters
    ----------
    capacity : float or int

    Raises
    ------
    SettingsError
        When it is neither; 1.0 is refused because it could mean everybody or one student.

    Examples
    --------
    >>> check_capacity(0.1)
    >>> check_capacity(1.0)
    Traceback (most recent call last):
    dropout_risk.errors.SettingsError: The capacity is 1.0: give a share between 0 and 1 (0.1 lists ...
    """
    if not (0 < capacity < 1 or (_is_count(capacity) and capacity >= 1)):
        raise SettingsError(
            f"The capacity is {capacity}: give a share between 0 and 1 (0.1 lists a tenth of the students)"
            " or a whole number of students of 1 or more."
        )


def listing_chance(score: ArrayLike, capacity: float) -> FloatArray:
    """Return the chance of each student to be on the list when ties at the cut are broken at random.

    Parameters
    ----------
    score : array, shape (n,)
        Higher means more at risk.
    capacity : float or int
        A share or a number of rows.

    Returns
    -------
    ndarray of float, shape (n,)
        1 above the cut, 0 below it, the same share for all who are tied at it.

    Raises
    ------
    SettingsError
        When the capacity makes no sense or a score is missing.

    Examples
    --------
    >>> listing_chance([0.8, 0.4, 0.4, 0.1], 2)
    array([1. , 0.5, 0.5, 0. ])
    """
    _, scores = _checked(np.zeros(np.size(score)), score)
    listed = list_length(capacity, len(scores))
    if not listed:
        return np.zeros(0)
    cut = np.sort(scores)[-listed]
    above, tied = scores > cut, scores == cut
    chance: FloatArray = above + tied * (listed - above.sum()) / tied.sum()
    return chance


def measure(
    y: ArrayLike, score: ArrayLike, *, capacities: Sequence[float] = (), probability: bool = True
) -> dict[str, float]:
    """Return all figures of one score by name.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
    capacities : sequence of float or int
        Adds ``precision_at_…`` and ``recall_at_…`` for each; a share is named by its percentage.
    probability : bool
        Whether the score is a risk in [0, 1]; adds ``brier``, ``log_loss`` and ``ece``.

    Returns
    -------
    dict of str to float
        ``auc``, ``average_precision`` and what was asked for.

    Raises
    ------
    SettingsError
        When a capacity makes no sense, lengths differ, or a value is missing or out of range.

    Examples
    --------
    >>> measure([0, 0, 1, 1], [0, 2, 1, 3], capacities=[0.5], probability=False)
    {'auc': 0.75, 'average_precision': 0.833..., 'precision_at_50': 0.5, 'recall_at_50': 0.5}
    """
    curve = _curve(y, score, probability=probability)
    figures = _figures(curve, capacities=capacities, probability=probability)
    return {name: float(value[0]) for name, value in figures.items()}


def draw_groups(groups: ArrayLike, *, n_boot: int = 400, seed: int = 0) -> Draws:
    """Draw whole groups with replacement, as often as there are groups, `n_boot` times.

    Parameters
    ----------
    groups : array, shape (n,)
        Group of each row (school, village); `numpy.arange(n)` resamples single rows.
    n_boot : int
        Number of replicates.
    seed : int
        Same seed and groups, same draws.

    Returns
    -------
    Draws

    Raises
    ------
    SettingsError
        When n_boot < 1.

    Notes
    -----
    Students of one school share what happens to the school, so rows are not independent, and intervals
    from resampled rows would be too narrow. Field & Welsh 2007, "Bootstrapping clustered data".

    Examples
    --------
    >>> draws = draw_groups(["a", "a", "b", "c"], n_boot=5)
    >>> draws.codes, draws.counts.sum(axis=1)
    (array([0, 0, 1, 2]), array([3, 3, 3, 3, 3], dtype=uint64))
    """
    if n_boot < 1:
        raise SettingsError(f"n_boot is {n_boot}: give the number of bootstrap replicates as 1 or more.")
    levels, codes = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = np.empty((n_boot, len(levels)), dtype=np.uint16)
    for replicate in counts:
        replicate[:] = np.bincount(rng.integers(len(levels), size=len(levels)), minlength=len(levels))
    return Draws(codes.astype(np.intp), counts)


def bootstrap(
    y: ArrayLike,
    score: ArrayLike,
    *,
    draws: Draws,
    capacities: Sequence[float] = (),
    probability: bool = True,
) -> dict[str, FloatArray]:
    """Return all figures of one score in every replicate, by name.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
    draws : Draws
        From `draw_groups`, for the same rows. Two models under the same draws are paired: subtract their
        replicates for the interval of the difference.
    capacities, probability
        As in `measure`.

    Returns
    -------
    dict of str to ndarray of float, shape (n_boot,)
        The names of `measure`; NaN in replicates where a figure is undefined.

    Raises
    ------
    SettingsError
        As `measure`, and when the draws are for another number of rows.

    Notes
    -----
    A share is a share of the replicate's rows. One sort; each replicate costs two running sums.

    Examples
    --------
    >>> y, score, school = [0, 1, 0, 1], [0.2, 0.7, 0.4, 0.3], ["a", "a", "b", "b"]
    >>> replicates = bootstrap(y, score, draws=draw_groups(school, n_boot=6))
    >>> sorted(set(replicates["auc"].tolist()))  # b drawn twice, both, a drawn twice
    [0.0, 0.75, 1.0]
    """
    ranking = _ranking(y, score, probability=probability)
    chunks = [
        _figures(curve, capacities=capacities, probability=probability) for _, curve in _replicates(ranking, draws)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def bootstrap_recall(
    y: ArrayLike, score: ArrayLike, *, draws: Draws, capacity: float, subgroups: NDArray[np.bool_]
) -> FloatArray:
    """Return the recall of each subgroup under one list for all, cut anew in every replicate.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
    draws : Draws
        From `draw_groups`, for the same rows.
    capacity : float or int
        A share or a number of rows, of all rows together.
    subgroups : ndarray of bool, shape (n, m)
        Who belongs to each subgroup.

    Returns
    -------
    ndarray of float, shape (n_boot, m)
        Share of the subgroup's students who left that are listed; NaN where none left.

    Raises
    ------
    SettingsError
        As `bootstrap`.

    Examples
    --------
    >>> girls = np.array([[True], [True], [False], [False]])
    >>> draws = draw_groups(np.arange(4), n_boot=300)
    >>> recall = bootstrap_recall([1, 1, 0, 1], [4, 1, 3, 2], draws=draws, capacity=2, subgroups=girls)
    >>> recall.shape, bool(abs(np.nanmean(recall) - 0.5) < 0.1)
    ((300, 1), True)
    """
    check_capacity(capacity)
    ranking = _ranking(y, score)
    event = ranking.y == 1
    rows, blocks = ranking.order[event], ranking.blocks[event]
    members = np.asarray(subgroups)[rows].astype(np.float64)
    recalls = []
    for counts, curve in _replicates(ranking, draws):
        block, part = _locate(curve.cum_n, _list_lengths(capacity, curve.total)[:, None])
        weight = counts[:, draws.codes[rows]]
        chance = (blocks < block) + (blocks == block) * part
        recalls.append(_ratio((weight * chance) @ members, weight @ members))
    return np.concatenate(recalls)


@dataclass(frozen=True)
class _Ranking:
    """Rows in falling order of score, numbered by the block of equal scores that they fall in."""

    order: NDArray[np.intp]
    y: FloatArray
    value: FloatArray  # score of each block
    starts: NDArray[np.intp]
    blocks: NDArray[np.intp]

    def curve(self, weight: FloatArray) -> "_Curve":
        """Return the running totals under weights of shape (replicates, n), in the ranking's order."""
        n, events = weight, weight * self.y
        if len(self.starts) < len(self.order):
            n = np.add.reduceat(n, self.starts, axis=1)
            events = np.add.reduceat(events, self.starts, axis=1)
        return _Curve(self.value, n, events, _running(n), _running(events))


@dataclass(frozen=True)
class _Curve:
    """Rows and events of each block (replicates × blocks) and their running totals, which start at 0."""

    value: FloatArray
    n: FloatArray
    events: FloatArray
    cum_n: FloatArray
    cum_events: FloatArray

    @property
    def total(self) -> FloatArray:
        return self.cum_n[:, -1]

    @property
    def total_events(self) -> FloatArray:
        return self.cum_events[:, -1]


def _auc(curve: _Curve) -> FloatArray:
    ahead = curve.cum_events[:, 1:] - curve.events / 2
    pairs = curve.total_events * (curve.total - curve.total_events)
    return _ratio(np.einsum("ij,ij->i", curve.n - curve.events, ahead), pairs)


def _average_precision(curve: _Curve) -> FloatArray:
    # Where nothing is counted yet there is no event to average over either.
    precision = curve.cum_events[:, 1:] / np.maximum(curve.cum_n[:, 1:], np.finfo(np.float64).tiny)
    return _ratio(np.einsum("ij,ij->i", curve.events, precision), curve.total_events)


def _brier(curve: _Curve) -> FloatArray:
    return _mean_loss(curve, of_event=(1 - curve.value) ** 2, of_other=curve.value**2)


def _log_loss(curve: _Curve) -> FloatArray:
    epsilon = np.finfo(np.float64).eps
    risk = np.clip(curve.value, epsilon, 1 - epsilon)
    return _mean_loss(curve, of_event=-np.log(risk), of_other=-np.log1p(-risk))


def _mean_loss(curve: _Curve, *, of_event: FloatArray, of_other: FloatArray) -> FloatArray:
    extra = np.einsum("ij,j->i", curve.events, of_event - of_other)
    return _ratio(extra + np.einsum("ij,j->i", curve.n, of_other), curve.total)


def _calibration_error(curve: _Curve, bins: int) -> FloatArray:
    k = np.arange(bins + 1)
    size, rest = np.divmod(curve.total[:, None], bins)
    edges = curve.total[:, None] - (k * size + np.minimum(k, rest))  # array_split, from the lowest risk up
    at = _locate(curve.cum_n, edges)
    events = np.diff(_read(curve.cum_events, at=at))
    expected = np.diff(_read(_running(curve.n * curve.value), at=at))
    return _ratio(np.abs(events - expected).sum(axis=1), curve.total)


def _figures(curve: _Curve, *, capacities: Sequence[float], probability: bool) -> dict[str, FloatArray]:
    """Return every figure of a curve by name, one value a replicate."""
    figures = {"auc": _auc(curve), "average_precision": _average_precision(curve)}
    if probability:
        figures |= {
            "brier": _brier(curve),
            "log_loss": _log_loss(curve),
            "ece": _calibration_error(curve, bins=10),
        }
    for capacity in capacities:
        check_capacity(capacity)
        listed = _list_lengths(capacity, curve.total)
        hits = _read(curve.cum_events, at=_locate(curve.cum_n, listed[:, None]))[:, 0]
        figures[f"precision_at_{capacity_key(capacity)}"] = _ratio(hits, listed)
        figures[f"recall_at_{capacity_key(capacity)}"] = _ratio(hits, curve.total_events)
    return figures


def capacity_key(capacity: float) -> str:
    """Return the name of a capacity in the keys of `measure`: a share by its percentage.

    Parameters
    ----------
    capacity : float or int

    Returns
    -------
    str

    Examples
    --------
    >>> capacity_key(0.1), capacity_key(0.025), capacity_key(300)
    ('10', '2.5', 'top_300')
    """
    return f"top_{capacity}" if _is_count(capacity) else f"{100 * capacity:g}"


def _is_count(capacity: object) -> bool:
    return isinstance(capacity, Integral) and not isinstance(capacity, bool)


def _list_lengths(capacity: float, total: FloatArray) -> FloatArray:
    # The small addend keeps 29 % of 100 at 29: the product is 28.999999999999996.
    wanted = float(capacity) if _is_count(capacity) else np.floor(capacity * total + 1e-9)
    return np.minimum(np.maximum(1.0, wanted), total).astype(np.float64)


def _locate(cum_n: FloatArray, positions: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Return the block in which each position lies, and which part of the block is before it."""
    block = np.zeros(positions.shape, dtype=np.intp)
    part = np.zeros(positions.shape)
    if cum_n.shape[1] == 1:
        return block, part
    for i in range(len(cum_n)):
        block[i] = np.searchsorted(cum_n[i], positions[i]) - 1
    np.clip(block, 0, cum_n.shape[1] - 2, out=block)
    before = np.take_along_axis(cum_n, block, axis=1)
    width = np.take_along_axis(cum_n, block + 1, axis=1) - before
    np.divide(positions - before, width, out=part, where=width > 0)
    return block, part


def _read(cum: FloatArray, *, at: tuple[NDArray[np.intp], FloatArray]) -> FloatArray:
    """Return a running total at positions found by `_locate`."""
    block, part = at
    if cum.shape[1] == 1:
        return np.zeros(part.shape)
    before = np.take_along_axis(cum, block, axis=1)
    return before + part * (np.take_along_axis(cum, block + 1, axis=1) - before)


def _running(values: FloatArray) -> FloatArray:
    totals = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=totals[:, 1:])
    return totals


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide, with NaN where there is nothing to divide by."""
    quotient: FloatArray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return quotient


def _replicates(ranking: _Ranking, draws: Draws) -> Iterator[tuple[FloatArray, _Curve]]:
    """Yield the group counts and the curve of some replicates at a time."""
    if len(draws.codes) != len(ranking.order):
        raise SettingsError(
            f"The draws are for {len(draws.codes)} rows but there are {len(ranking.order)} labels: "
            "draw the groups of the same rows."
        )
    codes = draws.codes[ranking.order]
    step = max(1, CELLS_AT_ONCE // max(1, len(codes)))
    for first in range(0, len(draws.counts), step):
        counts = draws.counts[first : first + step].astype(np.float64)
        yield counts, ranking.curve(counts[:, codes])


def _curve(y: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None, probability: bool = False) -> _Curve:
    ranking = _ranking(y, score, probability=probability)
    if weight is None:
        return ranking.curve(np.ones((1, len(ranking.order))))
    weights = _array(weight, "weight")
    if len(weights) != len(ranking.order) or not np.all(np.isfinite(weights) & (weights >= 0)):
        raise SettingsError(
            f"There are {len(weights)} weights for {len(ranking.order)} labels, or some are missing or "
            "negative: give one weight of 0 or more for each label."
        )
    return ranking.curve(weights[ranking.order][None, :])


def _ranking(y: ArrayLike, score: ArrayLike, *, probability: bool = False) -> _Ranking:
    labels, scores = _checked(y, score, probability=probability)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    is_start = np.ones(len(order), dtype=bool)
    is_start[1:] = ranked[1:] != ranked[:-1]
    starts = np.flatnonzero(is_start)
    return _Ranking(order, labels[order], ranked[starts], starts, np.cumsum(is_start) - 1)


def _checked(y: ArrayLike, score: ArrayLike, *, probability: bool = False) -> tuple[FloatArray, FloatArray]:
    labels, scores = _array(y, "y"), _array(score, "score")
    problems: dict[str, bool | NDArray[np.bool_]] = {
        f"there are {len(labels)} labels but {len(scores)} scores": len(labels) != len(scores),
        "some labels are neither 0 nor 1 (leave rows without an outcome out)": ~np.isin(labels, (0, 1)),
        "some scores are missing or infinite (leave rows without a score out)": ~np.isfinite(scores),
        "some risks are outside 0 to 1 (give probabilities)": probability & ((scores < 0) | (scores > 1)),
    }
    if found := [problem for problem, where in problems.items() if np.any(where)]:
        raise SettingsError(f"The figures cannot be computed: {'; '.join(found)}.")
    return labels, scores


def _array(values: ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} holds values that are not numbers: {error}.") from error
    if array.ndim != 1:
        raise SettingsError(f"{name} has shape {array.shape}: give one value for each row.")
    return array
