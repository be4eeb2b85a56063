"""What past lists were worth: compact evidence of the out-of-time backtest, and what it says of a new list.

A bundle keeps, for each term and group of the backtest, how many cases the risks announced and how many came,
on the list and off it, for the model and for the simple rules. No row and no name of a group is kept.

A list cut from new risks then holds as many cases as these announce, times a *level*. Four things make the true
number uncertain, and every draw of `Forecast` contains all four:

1. The level of the past is known from a sample of groups. They are resampled with replacement, each with all its
   terms, since the same schools come back in every term. The level of the list leans on that of the whole roster,
   and this on the risks themselves, each as if `PRIOR_CASES` cases had been seen there.
2. A new term may lie above or below the past ones, for list and rest alike. A backtest has about three terms, and
   three terms drawn with replacement give ten outcomes: too few for an interval. So the spread between terms is
   estimated together with `LEVEL_TERMS` imagined terms that differ by `LEVEL_SD`, and a new term is drawn from
   Student's t with as many degrees of freedom as both have. With one term the imagined ones decide alone. What no
   past term has seen, such as a new law or an epidemic, is in none of this.
3. The students of one school share what happens to it. Their common shock in a term has the spread that the
   backtest's schools show beyond chance and beyond what they have in every term (which is in 1), taken together
   with `SCHOOL_CELLS` imagined schools that differ by `SCHOOL_SD`.
4. Each child leaves or stays by chance.

Without a backtest only the fourth is left, and the interval is too narrow; `Forecast.basis` says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dropout_risk.errors import BundleError, SettingsError
from dropout_risk.metrics import listing_chance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Basis = Literal["backtest", "risks alone"]

SHARES = (0.02, 0.05, 0.10, 0.20, 0.30)
"""Lengths of the past lists, as shares of the roster; a new list is compared with the nearest one."""

LEVEL_SD, LEVEL_TERMS = 0.05, 8
"""Spread of the level between terms that is assumed, in logs, and how many terms the assumption counts for."""

SCHOOL_SD, SCHOOL_CELLS = 0.20, 10
"""Spread of the common shock of a school in a term that is assumed, and how many schools it counts for."""

PRIOR_CASES = 50.0
"""How many past cases the wider evidence is worth; it decides where the backtest saw hardly any."""

MOST_BLOCKS, FEWEST_GROUPS, STUDENT_BLOCKS = 500, 5, 100
"""More groups are dealt into 500 blocks; with fewer than 5 the students are dealt into 100 blocks instead."""

RISK_STEP = 0.01
"""Students whose risks lie in one step share their mean risk when chance is drawn."""

_TINY = 1e-9
_ROSTER = ("rows", "expected", "hits", "chance", "squares")


@dataclass(frozen=True)
class Worth:
    """What lists by the model and by a rule found in the backtest, in cases per 100 listed.

    Attributes
    ----------
    share
        Length of the compared lists, as a share of the roster.
    model, rule, difference
        Cases per 100 listed; model minus rule.
    model_low, model_high, rule_low, rule_high, low, high
        Their intervals; `low` and `high` are those of the difference, from the same resampled terms and groups.
    """

    share: float
    model: float
    model_low: float
    model_high: float
    rule: float
    rule_low: float
    rule_high: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Backtest:
    """Sums over the cells (term × block of groups) of an out-of-time backtest.

    Attributes
    ----------
    shares
        Lengths of the lists as shares of a term's roster.
    unit
        ``group`` or ``student``: what the blocks consist of.
    term, block : int arrays (cells,)
        Anonymous numbers of the term and the block of each cell.
    roster : float array (cells, 5)
        Rows, expected cases, cases, variance by chance, and the sum of the squared expected cases of its groups.
    model : float array (cells, shares, 3)
        Listed, expected cases, cases of the model's list.
    rules : dict of float array (cells, shares, 2)
        Listed and cases of each rule's list. Students tied at the cut count with their chance to be listed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk, school, term = rng.beta(1, 9, 6000), np.arange(6000) % 30, np.arange(6000) // 2000
    >>> backtest = Backtest.of(rng.random(6000) < risk, risk, school, term, {"random": rng.random(6000)})
    >>> worth = backtest.worth(0.10)["random"]
    >>> worth.low > 0, Backtest.from_dict(backtest.to_dict()).worth(0.10)["random"] == worth
    (True, True)
    """

    shares: tuple[float, ...]
    unit: Literal["group", "student"]
    term: Ints
    block: Ints
    roster: Floats
    model: Floats
    rules: dict[str, Floats]

    @classmethod
    def of(
        cls,
        y: ArrayLike,
        risk: ArrayLike,
        groups: ArrayLike | None = None,
        term: ArrayLike | None = None,
        rules: Mapping[str, ArrayLike] | None = None,
        shares: Sequence[float] = SHARES,
        *,
        seed: int = 0,
    ) -> "Backtest":
        """Sum up the out-of-time risks of a model and the scores of simple rules for the same rows.

        Parameters
        ----------
        y : array of 0 and 1, shape (n,)
        risk : array, shape (n,)
            NaN for rows that served for training only; they are left out.
        groups, term : arrays, shape (n,)
            School and term of each row. None: every student for himself; one term.
        rules
            Name -> score of each row, higher is listed first.
        shares
            Lengths of the lists; each is cut over the whole roster of a term.
        seed
            For dealing groups into blocks.

        Raises
        ------
        SettingsError
            If no row has a risk, or lengths differ.
        """
        labels, risks = np.asarray(y, dtype=np.float64), np.asarray(risk, dtype=np.float64)
        columns = {"groups": groups, "term": term, **(rules or {})}
        arrays = {name: np.asarray(column) for name, column in columns.items() if column is not None}
        wrong = [f"{name} has {len(array)} rows" for name, array in arrays.items() if len(array) != len(labels)]
        if wrong or len(risks) != len(labels):
            raise SettingsError(f"y has {len(labels)} rows and risk {len(risks)}; {'; '.join(wrong) or 'align them'}.")
        known = ~np.isnan(risks)
        if not known.any():
            raise SettingsError("No row has an out-of-time risk; there is nothing to look back at.")
        labels, risks = labels[known], risks[known]
        arrays = {name: array[known] for name, array in arrays.items()}
        terms = _codes(arrays.pop("term", np.zeros(len(labels))))
        owners = _codes(arrays.pop("groups", np.arange(len(labels))))
        unit, blocks = _blocks(owners, seed)
        cells, cell = np.unique(np.stack([terms, blocks]), axis=1, return_inverse=True)
        sums = _Sums(cell.ravel(), cells.shape[1])
        if unit == "student":
            owners = np.arange(len(labels))
        lists = {name: _chances(score, terms, shares) for name, score in {"": risks, **arrays}.items()}
        ours = lists.pop("")
        roster = [np.ones(len(labels)), risks, labels, risks * (1 - risks)]
        return cls(
            shares=tuple(shares),
            unit=unit,
            term=cells[0],
            block=cells[1],
            roster=np.stack([*map(sums, roster), sums.squares(risks, owners)], axis=1),
            model=np.stack([sums(ours), sums(ours * risks[:, None]), sums(ours * labels[:, None])], axis=2),
            rules={n: np.stack([sums(list_), sums(list_ * labels[:, None])], axis=2) for n, list_ in lists.items()},
        )

    @property
    def terms(self) -> int:
        """Number of terms."""
        return int(self.term.max()) + 1

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.block.max()) + 1

    def nearest(self, share: float) -> int:
        """Return the position in `shares` of the length most like `share`, by their ratio."""
        return int(np.argmin(np.abs(np.log(self.shares) - np.log(max(share, 1e-9)))))

    def resample(self, values: Floats, n_draws: int, seed: int, *, terms: bool) -> Floats:
        """Return the sums of `values` (cells, k) over blocks drawn with replacement, (n_draws, k).

        With `terms`, the terms are drawn with replacement as well, for all blocks alike (the pigeonhole bootstrap,
        Owen 2007, Annals of Applied Statistics 1). The same seed draws the same, so sums of several values are paired.
        """
        rng = np.random.default_rng(seed)
        of_block = rng.multinomial(self.blocks, np.full(self.blocks, 1 / self.blocks), n_draws)
        of_term = np.ones((n_draws, self.terms), dtype=np.int64)
        if terms:
            of_term = rng.multinomial(self.terms, np.full(self.terms, 1 / self.terms), n_draws)
        sums = np.empty((n_draws, values.shape[1]))
        for first in range(0, n_draws, 200):
            some = slice(first, first + 200)
            sums[some] = (of_term[some][:, self.term] * of_block[some][:, self.block]) @ values
        return sums

    def worth(self, share: float, *, confidence: float = 0.95, n_draws: int = 2000, seed: int = 0) -> dict[str, Worth]:
        """Return for each rule what its list and ours found at the nearest length, with paired intervals.

        Parameters
        ----------
        share
            Length of the list as a share of the roster.
        confidence, n_draws, seed
            Of the intervals.
        """
        at = self.nearest(share)
        names = list(self.rules)
        columns = [self.model[:, at, [0, 2]], *(self.rules[name][:, at] for name in names)]
        value = _per_100(np.concatenate(columns, axis=1).sum(axis=0, keepdims=True))
        draws = _per_100(self.resample(np.concatenate(columns, axis=1), n_draws, seed, terms=True))
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.nanquantile(draws, tails, axis=0)
        gap_low, gap_high = np.nanquantile(draws[:, :1] - draws, tails, axis=0)
        return {
            name: Worth(
                share=self.shares[at],
                model=float(value[0, 0]),
                model_low=float(low[0]),
                model_high=float(high[0]),
                rule=float(value[0, i]),
                rule_low=float(low[i]),
                rule_high=float(high[i]),
                difference=float(value[0, 0] - value[0, i]),
                low=float(gap_low[i]),
                high=float(gap_high[i]),
            )
            for i, name in enumerate(names, start=1)
        }

    def level_spread(self) -> tuple[float, int]:
        """Return the spread of the level between terms, in logs, and its degrees of freedom."""
        by_term = _Sums(self.term, self.terms)
        expected, hits = by_term(self.roster[:, 1]), by_term(self.roster[:, 2])
        level = _level(hits, expected)
        residual = self.roster[:, 2] - level[self.term] * self.roster[:, 1]
        by_chance = by_term(residual**2) / np.maximum(expected, _TINY) ** 2 * self.blocks / max(self.blocks - 1, 1)
        excess = max(0.0, float(((level - level.mean()) ** 2).sum() - (self.terms - 1) * by_chance.mean()))
        freedom = LEVEL_TERMS + self.terms - 1
        return float(np.sqrt((LEVEL_TERMS * LEVEL_SD**2 + excess) / freedom)), freedom

    def school_variance(self) -> float:
        """Return the variance, around 1, of the shock that the students of a school share in one term.

        What a school has in every term alike does not count: it is in the resampled groups.
        """
        _, expected, hits, chance, squares = self.roster.T
        if self.unit == "student" or not hits.any():
            return SCHOOL_SD**2
        by_term, by_block = _Sums(self.term, self.terms), _Sums(self.block, self.blocks)
        level = _level(by_term(hits), by_term(expected))[self.term]
        residual, weight = hits - level * expected, level * np.sqrt(squares)
        beyond = (residual**2 - level * chance).sum() / (weight**2).sum()
        pairs = (by_block(weight) ** 2 - by_block(weight**2)).sum()
        lasting = (by_block(residual) ** 2 - by_block(residual**2)).sum() / pairs if pairs else 0.0
        shock = max(float(beyond - max(lasting, 0.0)), 0.0)
        freedom = max(len(hits) - self.terms, 0)
        return (SCHOOL_CELLS * SCHOOL_SD**2 + freedom * shock) / (SCHOOL_CELLS + freedom)

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain values for JSON; whole numbers without decimals."""
        return {
            "shares": list(self.shares),
            "unit": self.unit,
            "term": self.term.tolist(),
            "block": self.block.tolist(),
            "roster": _plain(self.roster),
            "model": _plain(self.model),
            "rules": {name: _plain(list_) for name, list_ in self.rules.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Backtest":
        """Return the backtest that `to_dict` wrote.

        Raises
        ------
        BundleError
            If a part is missing or the parts do not fit together.
        """
        try:
            found = cls(
                shares=tuple(data["shares"]),
                unit=data["unit"],
                term=np.array(data["term"], dtype=np.int64),
                block=np.array(data["block"], dtype=np.int64),
                roster=np.array(data["roster"], dtype=np.float64),
                model=np.array(data["model"], dtype=np.float64),
                rules={name: np.array(list_, dtype=np.float64) for name, list_ in data["rules"].items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"The backtest of the bundle is damaged ({error}); train again.") from error
        cells, shares = len(found.term), len(found.shares)
        shapes = {found.block.shape: (cells,), found.roster.shape: (cells, len(_ROSTER))}
        shapes |= {found.model.shape: (cells, shares, 3)}
        shapes |= {list_.shape: (cells, shares, 2) for list_ in found.rules.values()}
        if not cells or any(actual != wanted for actual, wanted in shapes.items()):
            raise BundleError("The parts of the bundle's backtest do not fit together; train again.")
        return found


class Forecast:
    """Draws of the number of true cases among new students.

    Parameters
    ----------
    backtest
        What the past says; None: only the chance of each child is drawn.
    n_draws, seed
        Number of draws; the same seed gives the same draws.

    Attributes
    ----------
    basis
        ``backtest`` or ``risks alone``.

    Examples
    --------
    >>> risk, listed = np.array([0.5, 0.4, 0.1, 0.1]), np.array([True, True, False, False])
    >>> expected, cases = Forecast().simulate(risk, listed)
    >>> expected, cases.shape, bool(np.allclose(cases.mean(axis=1), expected, atol=0.05))
    (array([0.9, 0.2]), (2, 2000), True)
    """

    def __init__(self, backtest: Backtest | None = None, *, n_draws: int = 2000, seed: int = 0) -> None:
        self.backtest, self.n_draws = backtest, n_draws
        self.basis: Basis = "risks alone" if backtest is None else "backtest"
        self._seed = seed
        self._school_variance = 0.0 if backtest is None else backtest.school_variance()
        self._levels = np.ones((n_draws, 1, 2)) if backtest is None else self._past_levels(backtest)

    def _past_levels(self, backtest: Backtest) -> Floats:
        """Return cases per case announced for a new term: (draws, shares, on the list or off it)."""
        rng = np.random.default_rng([self._seed, 1])
        everybody, on_list = backtest.roster[:, None, 1:3], backtest.model[:, :, 1:]
        sums = np.concatenate([everybody, on_list, everybody - on_list], axis=1)
        drawn = backtest.resample(sums.reshape(len(sums), -1), self.n_draws, self._seed, terms=False)
        expected, cases = np.moveaxis(drawn.reshape(self.n_draws, *sums.shape[1:]), 2, 0)
        prior = rng.gamma(PRIOR_CASES, size=cases.shape)
        whole = (cases[:, :1] + prior[:, :1]) / (expected[:, :1] + PRIOR_CASES)
        parts = whole * (cases[:, 1:] + prior[:, 1:]) / (whole * expected[:, 1:] + PRIOR_CASES)
        spread, freedom = backtest.level_spread()
        new_term = np.exp(spread * np.sqrt(1 + 1 / backtest.terms) * rng.standard_t(freedom, size=(self.n_draws, 1)))
        levels: Floats = np.stack(np.split(parts * new_term, 2, axis=1), axis=2)
        return levels

    def levels(self, share: float) -> Floats:
        """Return the draws of the level, on the list and off it, for a list of this share: (n_draws, 2)."""
        return self._levels[:, 0 if self.backtest is None else self.backtest.nearest(share)]

    def simulate(
        self,
        risk: Floats,
        listed: NDArray[np.bool_],
        groups: ArrayLike | None = None,
        *,
        part: Ints | None = None,
        parts: int = 2,
        stream: int = 0,
    ) -> tuple[Floats, Floats]:
        """Return draws of the number of true cases on a list and off it, paired.

        Parameters
        ----------
        risk : float array (n,)
        listed : bool array (n,)
        groups : array (n,), optional
            School of each student; None: no shocks are shared.
        part : int array (n,), optional
            Finer parts of the list and of the rest, numbered from 0, each wholly on the list or off it.
            None: the list is part 0, the rest part 1.
        parts
            Number of parts.
        stream
            Other numbers give independent draws of chance and of schools; the level is the same for all.

        Returns
        -------
        expected : float array (parts,), sum of the risks times the mean level
        cases : float array (parts, n_draws)
        """
        part = np.where(listed, 0, 1) if part is None else part
        rng = np.random.default_rng([self._seed, 2, stream])
        level = self.levels(float(listed.mean())).T
        is_listed = np.zeros(parts, dtype=bool)
        is_listed[part[listed]] = True
        factor = np.where(is_listed[:, None], level[0], level[1])
        expected = np.bincount(part, risk, parts) * factor.mean(axis=1)
        if groups is not None and self._school_variance:
            factor = factor * self._shocks(risk, part, _codes(np.asarray(groups)), parts, rng)
        return expected, np.stack([self._chance(risk[part == i], factor[i], rng) for i in range(parts)])

    def _shocks(self, risk: Floats, part: Ints, groups: Ints, n_parts: int, rng: np.random.Generator) -> Floats:
        """Return the mean shock of each part, weighted by expected cases: log-normal, parts share schools."""
        n_groups = int(groups.max()) + 1
        weight = np.bincount(part * n_groups + groups, risk, n_parts * n_groups).reshape(n_parts, n_groups)
        weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
        covariance = np.log1p(self._school_variance * (weight @ weight.T))
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        shocks: Floats = np.exp(root @ rng.standard_normal((n_parts, self.n_draws)) - np.diag(covariance)[:, None] / 2)
        return shocks

    def _chance(self, risk: Floats, factor: Floats, rng: np.random.Generator) -> Floats:
        """Return the cases among children with these risks, each risk times the factor of the draw."""
        steps, step = np.unique(np.floor(risk / RISK_STEP), return_inverse=True)
        size = np.bincount(step, minlength=len(steps))
        mean = np.bincount(step, risk, len(steps)) / size
        cases = np.zeros(self.n_draws)
        for n, p in zip(size, mean, strict=True):
            cases += rng.binomial(n, np.minimum(p * factor, 1.0))
        return cases


@dataclass(frozen=True)
class _Sums:
    """Sums of rows by the cell they belong to."""

    cell: Ints
    n: int

    def __call__(self, values: Floats) -> Floats:
        """Return the sums of values (rows,) or (rows, k) over each cell."""
        if values.ndim == 1:
            return np.bincount(self.cell, values, self.n).astype(np.float64)
        return np.stack([self(column) for column in values.T], axis=1)

    def squares(self, values: Floats, owner: Ints) -> Floats:
        """Return for each cell the sum over its owners of the squared sum of their values."""
        pairs, pair = np.unique(np.stack([self.cell, owner]), axis=1, return_inverse=True)
        totals = np.bincount(pair.ravel(), values)
        return np.bincount(pairs[0], totals**2, self.n).astype(np.float64)


def _level(hits: Floats, expected: Floats) -> Floats:
    """Return cases per case announced; 1 where nothing was announced and nothing came."""
    levels: Floats = (hits + _TINY) / (expected + _TINY)
    return levels


def _codes(values: NDArray[Any]) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64).ravel()


def _blocks(owners: Ints, seed: int) -> tuple[Literal["group", "student"], Ints]:
    """Deal groups at random into blocks; where there are hardly any groups, deal students."""
    rng = np.random.default_rng(seed)
    n_groups = int(owners.max()) + 1
    if n_groups < FEWEST_GROUPS or n_groups == len(owners):
        return "student", rng.permutation(len(owners)) % STUDENT_BLOCKS
    return "group", (rng.permutation(n_groups) % MOST_BLOCKS)[owners]


def _chances(score: NDArray[Any], terms: Ints, shares: Sequence[float]) -> Floats:
    """Return the chance of each row to be on the list of its term, (n, shares)."""
    chances = np.empty((len(score), len(shares)))
    for term in range(int(terms.max()) + 1):
        rows = np.flatnonzero(terms == term)
        chances[rows] = np.stack([listing_chance(score[rows], share) for share in shares], axis=1)
    return chances


def _per_100(sums: Floats) -> Floats:
    """Return cases per 100 listed from sums in pairs of listed and cases; NaN where nobody is listed."""
    listed, cases = sums[:, 0::2], sums[:, 1::2]
    rates: Floats = np.divide(100 * cases, listed, out=np.full(listed.shape, np.nan), where=listed > 0)
    return rates


def _plain(values: Floats) -> list[Any]:
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [int(value) if value == int(value) else value for value in np.round(values, 3).tolist()]
