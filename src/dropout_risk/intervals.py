"""Figures with their intervals: of all students, by term and place, by group, by bin of risk, by capacity.

Each function of `metrics` gives a value and its bootstrap replicates; a `Judge` makes intervals of them and
lays them out as tables. A table with one row a cell hides small cells, see `suppressed`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dropout_risk.metrics import (
    Draws,
    bin_chances,
    bootstrap,
    bootstrap_listed,
    bootstrap_ratio,
    capacity_key,
    list_length,
    listing_chance,
    measure,
    measure_listed,
    precision_recall,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Cells = list[tuple[str, BoolArray]]
"""The values of a column, each with the rows that have it."""

MIN_CELL_ROWS = 10
MIN_CELL_EVENTS = 5
"""A cell with fewer rows or events is suppressed: its figures say little and could point at a child."""

NOT_RECORDED = "not recorded"
"""Level of the students without a value in a column."""

YIELD_SHARES = tuple(k / 100 for k in range(1, 31))
"""Capacities of the yield curve."""

ALL_BINS, LEVEL_BINS = 10, 5
"""Bins of the calibration table: of all students, and of each value of an audit column."""

PER_GROUP = (
    "column", "level", "suppressed", "rows", "events", "base_rate", "mean_risk",
    "calibration_gap", "calibration_gap_low", "calibration_gap_high", "listed", "selection_rate", "precision",
    "false_alarm_share", "false_alarm_share_low", "false_alarm_share_high", "false_positive_rate",
    "recall", "recall_low", "recall_high",
)  # fmt: skip
CALIBRATION = ("column", "level", "bin", "suppressed", "rows", "mean_risk", "observed", "low", "high")
YIELD_CURVE = ("name", "share", "listed", "hits", "precision", "recall", "recall_low", "recall_high")
PRECISION_RECALL = ("name", "recall", "precision")
"""Columns of the tables."""


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
    >>> share = Interval(0.41, 0.36, 0.46)
    >>> f"{share:.3f}, {share.times(100):.0f} %, {share.times(100):+.0f} points"
    '0.410 [0.360–0.460], 41 [36–46] %, +41 [+36, +46] points'
    """

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """Return the interval in another unit, such as percent.

        Parameters
        ----------
        factor : float
            Above 0.

        Returns
        -------
        Interval
        """
        return Interval(factor * self.value, factor * self.low, factor * self.high)

    def __format__(self, form: str) -> str:
        value, low, high = ("?" if np.isnan(x) else format(x, form) for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]" if form.startswith("+") else f"{value} [{low}–{high}]"

    def to_dict(self) -> dict[str, float | None]:
        """Return the three numbers, with None for NaN.

        Returns
        -------
        dict
        """
        return {name: None if np.isnan(number) else number for name, number in vars(self).items()}


@dataclass(frozen=True)
class Found:
    """The figures of one score, and their replicates under the draws that all scores share.

    Attributes
    ----------
    values : dict of str to float
    replicates : dict of str to ndarray of float, shape (n_boot,)
    """

    values: dict[str, float]
    replicates: dict[str, FloatArray]


@dataclass(frozen=True)
class Judge:
    """Judges scores at the same capacities, with intervals of the same confidence.

    Attributes
    ----------
    shares : tuple of float, rising
        Capacities as shares of the students; the middle one is the headline, at which groups are compared.
    confidence : float

    Examples
    --------
    >>> from dropout_risk.metrics import draw_groups
    >>> judge, y, risk = Judge((0.5,), confidence=0.9), np.array([0.0, 1, 0, 1]), np.array([0.1, 0.4, 0.2, 0.3])
    >>> judge.intervals(judge.judge(y, risk, draws=draw_groups(np.arange(4), n_boot=50)))["recall_at_50"].value
    1.0
    """

    shares: tuple[float, ...]
    confidence: float

    @property
    def headline(self) -> float:
        """The middle one of the shares."""
        return self.shares[len(self.shares) // 2]

    def judge(
        self,
        y: FloatArray,
        score: FloatArray,
        *,
        draws: Draws,
        more_shares: Sequence[float] = (),
        probability: bool = True,
    ) -> Found:
        """Return the figures of one score and their replicates.

        Parameters
        ----------
        y : array of 0 and 1, shape (n,)
        score : array, shape (n,)
        draws : Draws
            For the same rows.
        more_shares : sequence of float
            Capacities beside those of the judge.
        probability : bool
            Whether the score is a risk in [0, 1].

        Returns
        -------
        Found
            Replicates are NaN when all rows are of one group: its spread cannot be known. Those of the
            calibration error are moved by the bias that resampling adds.
        """
        capacities = (*self.shares, *more_shares)
        values = measure(y, score, capacities=capacities, probability=probability)
        replicates = bootstrap(y, score, draws=draws, capacities=capacities, probability=probability)
        if probability and not np.isnan(replicates["ece"]).all():
            replicates["ece"] -= np.nanmean(replicates["ece"]) - values["ece"]
        return Found(values, {name: _with_spread(figure, draws) for name, figure in replicates.items()})

    def interval(self, value: float, replicates: FloatArray) -> Interval:
        """Return a value with the percentiles of its replicates, as far as these are defined.

        Parameters
        ----------
        value : float
        replicates : array, shape (n_boot,)

        Returns
        -------
        Interval
        """
        known = replicates[~np.isnan(replicates)]
        if not len(known):
            return Interval(value, np.nan, np.nan)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return Interval(value, float(low), float(high))

    def intervals(self, found: Found) -> dict[str, Interval]:
        """Return the figures of one score at the judge's shares, each with its interval.

        Parameters
        ----------
        found : Found

        Returns
        -------
        dict of str to Interval
        """
        figures = {name: self.interval(found.values[name], found.replicates[name]) for name in self._names(found)}
        if "ece" in figures:
            ece = figures["ece"]
            figures["ece"] = Interval(ece.value, max(0.0, ece.low), ece.high)
        return figures

    def differences(self, ours: Found, other: Found) -> dict[str, Interval]:
        """Return our figures minus those of another score under the same draws.

        Parameters
        ----------
        ours, other : Found

        Returns
        -------
        dict of str to Interval
            The figures that the other score has.
        """
        return {
            name: self.interval(ours.values[name] - other.values[name], ours.replicates[name] - other.replicates[name])
            for name in self._names(other)
        }

    def _names(self, found: Found) -> list[str]:
        """Return the names of the figures, without those at other shares than the judge's."""
        keys = {capacity_key(share) for share in self.shares}
        return [name for name in found.values if "_at_" not in name or name.split("_at_")[1] in keys]

    def level_table(self, name: str, cells: Cells, *, y: FloatArray, risk: FloatArray, draws: Draws) -> pd.DataFrame:
        """Return one row a level, judged with a list of its own: for terms and places.

        Parameters
        ----------
        name : str
            Name of the first column.
        cells : list of (level, rows)
            From `levels`.
        y, risk : array, shape (n,)
        draws : Draws

        Returns
        -------
        DataFrame
            Columns `name`, ``suppressed, rows, events, base_rate`` and the figures with ``_low``, ``_high``.
        """
        rows: list[dict[str, Any]] = []
        for level, members, hidden in _with_hidden(cells, y):
            rows.append({name: level, "suppressed": hidden})
            if hidden:
                continue
            found = self.judge(y[members], risk[members], draws=draws.select(members))
            rows[-1] |= {"rows": int(members.sum()), "events": int(y[members].sum()), "base_rate": y[members].mean()}
            for figure, interval in self.intervals(found).items():
                rows[-1] |= _columns(figure, interval)
        figures = measure([0, 1], [0, 1], capacities=self.shares)
        columns = [f"{figure}{end}" for figure in figures for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=[name, "suppressed", "rows", "events", "base_rate", *columns])

    def group_table(
        self, columns: Mapping[str, Cells], *, y: FloatArray, risk: FloatArray, draws: Draws
    ) -> pd.DataFrame:
        """Return one row a level of each column, under one list for all at the headline share.

        Parameters
        ----------
        columns : mapping of name to cells
        y, risk : array, shape (n,)
        draws : Draws

        Returns
        -------
        DataFrame
            Columns `PER_GROUP`; the figures of `measure_listed`, some with ``_low`` and ``_high``.
        """
        cells = [(column, *cell) for column, found in columns.items() for cell in _with_hidden(found, y)]
        if not cells:
            return pd.DataFrame(columns=PER_GROUP)
        chance = listing_chance(risk, self.headline)
        subgroups = np.column_stack([members for _, _, members, _ in cells])
        replicates = bootstrap_listed(y, risk, draws=draws, capacity=self.headline, subgroups=subgroups)
        replicates["calibration_gap"] = bootstrap_ratio(subgroups * (risk - y)[:, None], subgroups, draws=draws)
        rows: list[dict[str, Any]] = []
        for i, (column, level, members, hidden) in enumerate(cells):
            rows.append({"column": column, "level": level, "suppressed": hidden})
            if hidden:
                continue
            figures = measure_listed(y[members], risk[members], chance[members])
            rows[-1] |= figures
            for name, figure in replicates.items():
                spread = _with_spread(figure[:, i], draws.select(members))
                rows[-1] |= _columns(name, self.interval(figures[name], spread))
        return pd.DataFrame(rows, columns=PER_GROUP)

    def calibration_table(
        self, columns: Mapping[str, Cells], *, y: FloatArray, risk: FloatArray, draws: Draws
    ) -> pd.DataFrame:
        """Return mean risk and observed rate in bins of equal count, for all and for each level.

        Parameters
        ----------
        columns : mapping of name to cells
        y, risk : array, shape (n,)
        draws : Draws

        Returns
        -------
        DataFrame
            Columns `CALIBRATION`; first `ALL_BINS` rows with column and level ``"all"``, then `LEVEL_BINS`
            rows a level. ``low`` and ``high`` are those of the observed rate. All bins of a suppressed level
            are suppressed.
        """
        rows = list(self._bins(y, risk, draws=draws, cell=("all", "all", False), bins=ALL_BINS))
        for column, cells in columns.items():
            for level, members, hidden in _with_hidden(cells, y):
                cell, part = (column, level, hidden), draws.select(members)
                rows += self._bins(y[members], risk[members], draws=part, cell=cell, bins=LEVEL_BINS)
        return pd.DataFrame(rows, columns=CALIBRATION)

    def _bins(
        self, y: FloatArray, risk: FloatArray, *, draws: Draws, cell: tuple[str, str, bool], bins: int
    ) -> Iterator[dict[str, Any]]:
        column, level, hidden = cell
        chances = bin_chances(risk, bins)
        n, events, risks = chances.sum(axis=0), y @ chances, risk @ chances
        is_hidden = suppressed(n, events) | hidden
        replicates = bootstrap_ratio(chances * y[:, None], chances, draws=draws)
        for i in range(bins):
            row = {"column": column, "level": level, "bin": i + 1, "suppressed": bool(is_hidden[i])}
            if not is_hidden[i]:
                spread = _with_spread(replicates[:, i], draws.select(chances[:, i] > 0))
                observed = self.interval(events[i] / n[i], spread)
                row |= {"rows": round(n[i]), "mean_risk": risks[i] / n[i], "observed": observed.value}
                row |= {"low": observed.low, "high": observed.high}
            yield row

    def yield_table(self, found: Mapping[str, Found], n: int) -> pd.DataFrame:
        """Return what lists of `YIELD_SHARES` find.

        Parameters
        ----------
        found : mapping of name to Found
            Judged with `YIELD_SHARES` among the shares.
        n : int
            Number of students.

        Returns
        -------
        DataFrame
            Columns `YIELD_CURVE`; hits and precision are expectations over the order of ties.
        """
        rows = []
        for name, figures in found.items():
            for share in YIELD_SHARES:
                metric = f"recall_at_{capacity_key(share)}"
                precision = figures.values[f"precision_at_{capacity_key(share)}"]
                recall = self.interval(figures.values[metric], figures.replicates[metric])
                listed = list_length(share, n)
                rows.append((name, share, listed, precision * listed, precision, recall.value, recall.low, recall.high))
        return pd.DataFrame(rows, columns=YIELD_CURVE)


def precision_recall_table(scores: Mapping[str, FloatArray], y: FloatArray) -> pd.DataFrame:
    """Return the points of the precision-recall curve of each score.

    Parameters
    ----------
    scores : mapping of name to array, shape (n,)
    y : array of 0 and 1, shape (n,)

    Returns
    -------
    DataFrame
        Columns `PRECISION_RECALL`, at most 100 rows a name.

    Examples
    --------
    >>> precision_recall_table({"rule": np.array([3.0, 2.0, 1.0])}, np.array([1.0, 0.0, 1.0]))["recall"].tolist()
    [0.5, 1.0]
    """
    points = [
        (name, recall, precision)
        for name, score in scores.items()
        for recall, precision in zip(*precision_recall(y, score), strict=True)
    ]
    return pd.DataFrame(points, columns=PRECISION_RECALL)


def suppressed(rows: ArrayLike, events: ArrayLike) -> BoolArray:
    """Return which cells of one column to hide: the small ones, and what would give them away by subtraction.

    Parameters
    ----------
    rows, events : array, shape (m,)
        Of each cell; the cells are the parts of a whole that is known.

    Returns
    -------
    ndarray of bool, shape (m,)
        Besides every small cell, the next smallest ones until at least two are hidden that together are no
        small cell (complementary suppression); or all.

    Examples
    --------
    The one small cell is the total minus the others, so the next smallest is hidden with it:

    >>> suppressed(rows=[500, 8, 60], events=[40, 3, 9]).tolist()
    [False, True, True]
    """
    n, k = np.asarray(rows, dtype=np.float64).round(6), np.asarray(events, dtype=np.float64).round(6)
    hidden: BoolArray = (n < MIN_CELL_ROWS) | (k < MIN_CELL_EVENTS)
    for cell in np.lexsort((k, n)):
        is_safe = n[hidden].sum() >= MIN_CELL_ROWS and k[hidden].sum() >= MIN_CELL_EVENTS  # so never one cell alone
        if is_safe or not hidden.any():
            break
        hidden[cell] = True
    return hidden


def _with_hidden(cells: Cells, y: FloatArray) -> list[tuple[str, BoolArray, bool]]:
    """Return the cells of one column, each with whether it is suppressed."""
    hidden = suppressed([members.sum() for _, members in cells], [y[members].sum() for _, members in cells])
    return [(level, members, bool(is_hidden)) for (level, members), is_hidden in zip(cells, hidden, strict=True)]


def levels(column: "pd.Series[Any]") -> Cells:
    """Return the values of a column in order, as text, with the rows of each; missing comes last.

    Parameters
    ----------
    column : Series, shape (n,)
        A categorical keeps the order of its categories.

    Returns
    -------
    list of (level, bool array of shape (n,))

    Examples
    --------
    >>> [(level, rows.tolist()) for level, rows in levels(pd.Series([1.5, None, 1.5]))]
    [('1.5', [True, False, True]), ('not recorded', [False, True, False])]
    """
    codes, values = pd.factorize(column, sort=True)
    names = [f"{level:g}" if isinstance(level, float) else str(level) for level in values]
    cells = [(name, codes == code) for code, name in enumerate(names)]
    return cells + ([(NOT_RECORDED, codes == -1)] if (codes == -1).any() else [])


def _columns(name: str, figure: Interval) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _with_spread(replicates: FloatArray, draws: Draws) -> FloatArray:
    """Return the replicates, or NaN where all rows are of one group, whose spread cannot be known."""
    return replicates if (draws.codes != draws.codes[0]).any() else np.full_like(replicates, np.nan)
