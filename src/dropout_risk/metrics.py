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

CELLS_AT_ONCE = 2**18
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


def bin_chances(risk: ArrayLike, bins: int = 10) -> FloatArray:
    """Return the chance of each student to fall in each bin of equal count, from the lowest risk up.

    Parameters
    ----------
    risk : array, shape (n,)
    bins : int
        Number of bins; their sizes are those of `numpy.array_split`.

    Returns
    -------
    ndarray of float, shape (n, bins)
        Rows sum to 1; more than one bin has a part of a row only where equal risks lie across an edge.

    Raises
    ------
    SettingsError
        When bins < 1 or a risk is missing.

    Notes
    -----
    The bins of `calibration_error`: its value is the mean gap over these bins, weighted by their rows.

    Examples
    --------
    >>> bin_chances([0.1, 0.3, 0.3, 0.3], bins=2).round(2).tolist()
    [[1.0, 0.0], [0.33, 0.67], [0.33, 0.67], [0.33, 0.67]]
    """
    if bins < 1:
        raise SettingsError(f"bins is {bins}: give the number of bins as 1 or more.")
    ranking = _ranking(np.zeros(np.size(risk)), risk)
    n = len(ranking.order)
    edges = n - _bin_edges(np.array([[float(n)]]), bins)[0]
    ends = n - ranking.starts.astype(np.float64)  # of the blocks of equal risk, counted from the lowest risk up
    begins = np.append(ends[1:], 0.0)[: len(ends)]
    overlap = np.minimum.outer(ends, edges[1:]) - np.maximum.outer(begins, edges[:-1])
    chances = np.empty((n, bins))
    chances[ranking.order] = (np.maximum(overlap, 0) / (ends - begins)[:, None])[ranking.blocks]
    return chances


def precision_recall(y: ArrayLike, score: ArrayLike, points: int = 100) -> tuple[FloatArray, FloatArray]:
    """Return what share of the listed left when the list is long enough to find a given share of those who left.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
    score : array, shape (n,)
        Higher means more at risk, on any scale.
    points : int
        The shares to find: 1 to `points` parts of `points`, each rounded up to whole students.

    Returns
    -------
    recall, precision : ndarray of float, shape (at most `points`,)
        Rising recall; empty when nobody left.

    Raises
    ------
    SettingsError
        When lengths differ, or a value is missing or not a label.

    Notes
    -----
    Without ties these are points of scikit-learn's `precision_recall_curve`.

    Examples
    --------
    >>> recall, precision = precision_recall([1, 0, 1, 0], [0.9, 0.7, 0.6, 0.1])
    >>> recall.tolist(), precision.round(2).tolist()
    ([0.5, 1.0], [1.0, 0.67])
    """
    curve = _curve(y, score)
    total = curve.total_events[0]
    hits = np.unique(np.ceil(total * np.arange(1, points + 1) / points - 1e-9))[None, :] if total else np.zeros((1, 0))
    listed = _read(curve.cum_n, at=_locate(curve.cum_events, hits))
    return (hits / total if total else hits)[0], _ratio(hits, listed)[0]


def measure_listed(y: ArrayLike, risk: ArrayLike, chance: ArrayLike) -> dict[str, float]:
    """Return how a subgroup fares under a list that was cut over everybody.

    Parameters
    ----------
    y : array of 0 and 1, shape (n,)
        Outcomes of the members of the subgroup.
    risk : array, shape (n,)
        Their risks.
    chance : array, shape (n,)
        Their chances of being on the list, from `listing_chance` over all students.

    Returns
    -------
    dict of str to float
        ``rows, events, base_rate, mean_risk, calibration_gap`` (mean risk minus base rate), ``listed,
        selection_rate, precision, false_alarm_share`` (share of the listed who stayed),
        ``false_positive_rate`` (share of those who stayed that are listed) and ``recall``; NaN where there
        is nothing to divide by.

    Notes
    -----
    Names as in fairlearn, where it has one: `selection_rate`, `false_positive_rate`.

    Examples
    --------
    >>> found = measure_listed([1, 1, 0, 0], [0.8, 0.3, 0.5, 0.1], chance=[1, 0, 1, 0])
    >>> found["recall"], found["false_alarm_share"], found["false_positive_rate"], found["selection_rate"]
    (0.5, 0.5, 0.5, 0.5)
    """
    labels, risks, chances = _array(y, "y"), _array(risk, "risk"), _array(chance, "chance")
    rows, events, listed, hits = len(labels), labels.sum(), chances.sum(), chances @ labels
    names = ("base_rate", "mean_risk", "selection_rate", "precision", "false_positive_rate", "recall")
    parts = np.array([events, risks.sum(), listed, hits, listed - hits, hits])
    wholes = np.array([rows, rows, rows, listed, rows - events, events], dtype=np.float64)
    ratios = dict(zip(names, _ratio(parts, wholes).tolist(), strict=True))
    return {
        "rows": rows,
        "events": int(events),
        "base_rate": ratios["base_rate"],
        "mean_risk": ratios["mean_risk"],
        "calibration_gap": ratios["mean_risk"] - ratios["base_rate"],
        "listed": float(listed),
        "selection_rate": ratios["selection_rate"],
        "precision": ratios["precision"],
        "false_alarm_share": 1 - ratios["precision"],
        "false_positive_rate": ratios["false_positive_rate"],
        "recall": ratios["recall"],
    }


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


def bootstrap_listed(
    y: ArrayLike, score: ArrayLike, *, draws: Draws, capacity: float, subgroups: NDArray[np.bool_]
) -> dict[str, FloatArray]:
    """Return how each subgroup fares under one list for all, cut anew in every replicate.

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
    dict of str to ndarray of float, shape (n_boot, m)
        ``recall`` and ``false_alarm_share`` as in `measure_listed`; NaN where there is nothing to divide by.

    Raises
    ------
    SettingsError
        As `bootstrap`.

    Examples
    --------
    >>> girls = np.array([[True], [True], [False], [False]])
    >>> draws = draw_groups(np.arange(4), n_boot=300)
    >>> found = bootstrap_listed([1, 1, 0, 1], [4, 1, 3, 2], draws=draws, capacity=2, subgroups=girls)
    >>> found["recall"].shape, bool(abs(np.nanmean(found["recall"]) - 0.5) < 0.1)
    ((300, 1), True)
    """
    check_capacity(capacity)
    ranking = _ranking(y, score)
    members = np.asarray(subgroups)[ranking.order].astype(np.float64)
    events_of = _group_sums(members * ranking.y[:, None], draws.codes[ranking.order], draws.counts.shape[1])
    chunks: dict[str, list[FloatArray]] = {"recall": [], "false_alarm_share": []}
    for counts, curve in _replicates(ranking, draws):
        block, part = _locate(curve.cum_n, _list_lengths(capacity, curve.total)[:, None])
        top = ranking.blocks <= block.max()  # nobody further down is on the list of any of these replicates
        blocks = ranking.blocks[top]
        chance = (blocks < block) + (blocks == block) * part
        listings = counts[:, draws.codes[ranking.order[top]]] * chance
        listed, hits = listings @ members[top], (listings * ranking.y[top]) @ members[top]
        chunks["recall"].append(_ratio(hits, counts @ events_of))
        chunks["false_alarm_share"].append(_ratio(listed - hits, listed))
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


def bootstrap_ratio(part: ArrayLike, whole: ArrayLike, *, draws: Draws) -> FloatArray:
    """Return ratios of sums over the rows (means, rates) in every replicate.

    Parameters
    ----------
    part, whole : array, shape (n, m)
        What is summed above and below the line.
    draws : Draws
        From `draw_groups`, for the same rows.

    Returns
    -------
    ndarray of float, shape (n_boot, m)
        NaN where the sum below the line is 0.

    Examples
    --------
    >>> draws = draw_groups(["a", "b"], n_boot=50)
    >>> sorted(set(bootstrap_ratio([[1], [0]], [[1], [1]], draws=draws)[:, 0].tolist()))
    [0.0, 0.5, 1.0]
    """
    present, codes = np.unique(draws.codes, return_inverse=True)
    parts, wholes = (_group_sums(np.asarray(values, np.float64), codes, len(present)) for values in (part, whole))
    counts = draws.counts[:, present]
    step = _step(len(present))
    chunks = [counts[first : first + step].astype(np.float64) for first in range(0, len(counts), step)]
    return np.concatenate([_ratio(chunk @ parts, chunk @ wholes) for chunk in chunks])


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
    at = _locate(curve.cum_n, _bin_edges(curve.total[:, None], bins))
    events = np.diff(_read(curve.cum_events, at=at))
    expected = np.diff(_read(_running(curve.n * curve.value), at=at))
    return _ratio(np.abs(events - expected).sum(axis=1), curve.total)


def _bin_edges(total: FloatArray, bins: int) -> FloatArray:
    """Return the edges of the parts of `numpy.array_split` from the lowest score up, as positions from the top."""
    k = np.arange(bins + 1)
    size, rest = np.divmod(total, bins)
    edges: FloatArray = total - (k * size + np.minimum(k, rest))
    return edges


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
    listed = [_list_lengths(capacity, curve.total) for capacity in capacities]
    positions = np.stack(listed, axis=1) if listed else np.zeros((len(curve.total), 0))
    found = _read(curve.cum_events, at=_locate(curve.cum_n, positions))
    for capacity, length, hits in zip(capacities, listed, found.T, strict=True):
        figures[f"precision_at_{capacity_key(capacity)}"] = _ratio(hits, length)
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
    step = _step(len(codes))
    for first in range(0, len(draws.counts), step):
        counts = draws.counts[first : first + step].astype(np.float64)
        yield counts, ranking.curve(counts[:, codes])


def _step(width: int) -> int:
    """Return how many replicates of `width` cells are worked on at once."""
    return max(1, CELLS_AT_ONCE // max(1, width))


def _group_sums(values: FloatArray, codes: NDArray[np.intp], n_groups: int) -> FloatArray:
    """Return the sums over the rows of each group, shape (n_groups, m)."""
    sums = np.zeros((n_groups, values.shape[1]))
    order = np.argsort(codes, kind="stable")
    groups, starts = np.unique(codes[order], return_index=True)
    sums[groups] = np.add.reduceat(values[order], starts, axis=0)
    return sums


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
