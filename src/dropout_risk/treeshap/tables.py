"""Contributions of LightGBM models from tables that are compiled once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dropout_risk.errors import ColumnsError, InputError, SettingsError
from dropout_risk.treeshap.bins import COLUMN, find_cuts
from dropout_risk.treeshap.parse import Floats, Forest, Ints, read_boosters

if TYPE_CHECKING:
    from dropout_risk.treeshap.build import Factors, Groups, Rules, Steps
    from dropout_risk.treeshap.kernel import Layout

BUDGET = 128 * 2**20
"""Bytes that the tables of a model may take."""

CACHED = 2**20
"""Bytes of the running totals of a block of rows: about half of the second cache of one core."""

LEAST_ROWS, MOST_ROWS = 128, 4_096
"""Rows of a block."""

PRICE = 1 / 2_700
"""What each cell of a table adds to the cost of a look-up, which is 1 while the table stays in the cache."""


LONGEST_GROUP, SEARCH = 32, 2**29
"""Leaves of a group, at most; fewer for huge models, so that finding the groups takes seconds."""


def compile_boosters(
    texts: Sequence[str],
    *,
    scale: float | Sequence[float] = 1.0,
    intercept: float = 0.0,
    budget: int = BUDGET,
) -> "TreeTables":
    """Compile one LightGBM model, or the weighted sum of several, into tables.

    Parameters
    ----------
    texts : sequence of str
        The boosters, as ``Booster.model_to_string()`` writes them; all with the same features. Any objective
        with one score per row will do.
    scale : float or sequence of float
        Factor of all boosters, or of each: ``slope / len(texts)`` for the calibrated mean of a bag.
    intercept : float
        Added to the base.
    budget : int
        Bytes that the tables may take. Leaves for which there is no room are worked out for every row:
        slower, and as exact.

    Returns
    -------
    TreeTables

    Raises
    ------
    SettingsError
        When a booster has linear trees, is a random forest or multiclass, when the boosters differ in their
        features, or when a number makes no sense. All problems are named.
    BundleError
        When a text is damaged.

    Notes
    -----
    The default model (4 boosters of 250 trees with 15 leaves) takes about a second on one x86-64 core, once
    numba's machine code is on disk.

    Examples
    --------
    >>> import lightgbm as lgb
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> rows = lgb.Dataset(X, X[:, 0] + X[:, 1] > 0)
    >>> booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, rows, 10)
    >>> tables = compile_boosters([booster.model_to_string()])
    >>> values, base = tables.contributions(X)
    >>> bool(np.allclose(values, booster.predict(X, pred_contrib=True)[:, :-1], rtol=0, atol=1e-12))
    True
    """
    scales = [float(scale)] * len(texts) if isinstance(scale, (int, float)) else [float(one) for one in scale]
    problems = []
    if not texts:
        problems.append("There are no boosters to compile.")
    if len(scales) != len(texts):
        problems.append(f"There are {len(scales)} scales for {len(texts)} boosters; give one, or one for each.")
    if not np.isfinite([*scales, intercept]).all():
        problems.append("scale and intercept have to be finite numbers.")
    if budget < 0:
        problems.append(f"budget={budget} has to be at least 0 bytes.")
    if problems:
        raise SettingsError(" ".join(problems))
    forest = read_boosters(texts, scales)
    layout, expected = _compile(forest, budget)
    return TreeTables(layout, expected + intercept, forest.n_features)


@dataclass(frozen=True, eq=False)
class TreeTables:
    """A compiled model: exact path-dependent SHAP values of its score, and the score, in one pass.

    Made by `compile_boosters`. All methods take a matrix of shape (n, n_features) of numbers, NaN being
    missing, and read it as LightGBM does. What they return for a row depends neither on the other rows nor on
    the number of threads. They may be called by several threads at once.

    Attributes
    ----------
    base : float
        Score before any feature has spoken: the mean over the training rows.
    n_features : int
        Columns that a matrix must have.

    References
    ----------
    Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees.
    Yang (2021), Fast TreeSHAP: tables of one tree (its second version).
    Bitton, Malach and Tsaban (2022), Linear TreeSHAP: the polynomial whose integral a leaf's value is.
    """

    layout: "Layout"
    base: float
    n_features: int

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        parts = (part if isinstance(part, tuple) else (part,) for part in self.layout)
        return sum(array.nbytes for part in parts for array in part)

    def contributions(self, matrix: npt.ArrayLike, *, threads: int = 1) -> tuple[Floats, float]:
        """Return what each feature adds to the score of each row.

        Parameters
        ----------
        matrix : array-like of shape (n, n_features)
            float64 or float32; everything else is converted to float64.
        threads : int
            Threads; the answer does not depend on it.

        Returns
        -------
        values : ndarray of shape (n, n_features)
        base : float
            ``values.sum(axis=1) + base`` is the score.

        Raises
        ------
        ColumnsError
            When the matrix does not have `n_features` columns.
        InputError
            When it does not hold numbers.
        SettingsError
            When `threads` is below 1.
        """
        rows = self._rows(matrix)
        values = np.empty(rows.shape)

        def keep(block: slice, total: Floats) -> None:
            values[block] = total.T

        self._explain(rows, keep, threads)
        return values, self.base

    def scores(self, matrix: npt.ArrayLike, *, threads: int = 1) -> Floats:
        """Return the score of each row, shape (n,): the sum of its contributions and the base.

        Parameters and errors are those of `contributions`.
        """
        rows = self._rows(matrix)
        scores = np.empty(len(rows))

        def keep(block: slice, total: Floats) -> None:
            scores[block] = total.sum(axis=0) + self.base

        self._explain(rows, keep, threads)
        return scores

    def top(
        self, matrix: npt.ArrayLike, k: int, *, owner: npt.ArrayLike | None = None, threads: int = 1
    ) -> tuple[npt.NDArray[np.uint8 | np.uint16], Floats, Floats]:
        """Return the `k` contributions that raise each row's score most, and the score.

        Parameters
        ----------
        matrix, threads
            As for `contributions`.
        k : int
            How many, from 1 to the number of features (or of groups).
        owner : array-like of int of shape (n_features,), optional
            Number of the group that each feature belongs to, from 0 on without gaps: then the contributions
            of a group are added up first, and groups compete.

        Returns
        -------
        index : ndarray of shape (n, k)
            Column of the feature, or of the one that adds most within the group; uint8, and uint16 for
            more than 256 features. Largest contribution first, equal ones in the order of the columns.
        value : ndarray of shape (n, k)
            Contribution of the feature or of the whole group. One that is not above 0 is no reason.
        scores : ndarray of shape (n,)
            As from `scores`.

        Raises
        ------
        ColumnsError, InputError
            As for `contributions`.
        SettingsError
            When `k`, `owner` or `threads` makes no sense.

        Examples
        --------
        >>> import lightgbm as lgb
        >>> X = np.random.default_rng(0).normal(size=(500, 3))
        >>> rows = lgb.Dataset(X, X[:, 0] + X[:, 1] > 0)
        >>> booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, rows, 10)
        >>> index, value, scores = compile_boosters([booster.model_to_string()]).top([[0.1, 2.0, 0.0]], 2)
        >>> index
        array([[1, 0]], dtype=uint8)
        """
        from dropout_risk.treeshap.kernel import strongest

        rows = self._rows(matrix)
        owners = np.arange(self.n_features) if owner is None else np.asarray(owner)
        groups = np.unique(owners)
        if owners.shape != (self.n_features,) or not np.array_equal(groups, np.arange(len(groups))):
            raise SettingsError(
                f"owner has to number the groups of {self.n_features} features from 0 on, without gaps."
            )
        if not 1 <= k <= len(groups):
            raise SettingsError(f"k={k} has to be between 1 and {len(groups)}.")
        owners = owners.astype(np.int64)
        index, value = np.empty((len(rows), k), np.uint16), np.empty((len(rows), k))
        scores = np.empty(len(rows))

        def keep(block: slice, total: Floats) -> None:
            scores[block] = total.sum(axis=0) + self.base
            strongest(total, owners, len(groups), index[block], value[block])

        self._explain(rows, keep, threads)
        return (index.astype(np.uint8) if self.n_features <= 256 else index), value, scores

    def warm_up(self) -> None:
        """Load or compile the machine code, so that the first row does not wait for it."""
        self.top(np.zeros((1, self.n_features)), 1)

    def _rows(self, matrix: npt.ArrayLike) -> npt.NDArray[Any]:
        try:
            rows = np.asarray(matrix)
            rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"The matrix does not hold numbers: {error}") from error
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ColumnsError(f"The matrix has shape {rows.shape}; the model needs {self.n_features} columns.")
        return rows

    def _explain(self, rows: npt.NDArray[Any], keep: Callable[[slice, Floats], None], threads: int) -> None:
        """Hand the contributions of each block of rows, shape (n_features, length), to `keep`."""
        from dropout_risk.treeshap.kernel import explain

        if threads < 1:
            raise SettingsError(f"threads={threads} has to be at least 1.")
        length = int(np.clip(CACHED // (8 * self.n_features), LEAST_ROWS, MOST_ROWS))
        length = length // 16 * 16 + 8  # an odd number of cache lines, or the totals of a row displace each other
        blocks = [slice(start, start + length) for start in range(0, len(rows), length)]

        def work(block: slice) -> None:
            keep(block, explain(self.layout, np.ascontiguousarray(rows[block], dtype=np.float64)))

        if threads == 1 or len(blocks) == 1:
            for block in blocks:
                work(block)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(work, blocks):
                    pass


def _compile(forest: Forest, budget: int) -> tuple["Layout", float]:
    """Return the tables, which stay within `budget`, and the expected score."""
    from dropout_risk.treeshap.build import describe, fill_groups, list_factors, plan

    cuts, cut_start = find_cuts(forest)
    n_cuts = np.diff(cut_start)
    column_start = _starts(np.where(n_cuts > 0, n_cuts // COLUMN + 1, 0))
    shapes = [describe(tree, *np.unique(tree.feature, return_inverse=True), cuts, cut_start) for tree in forest.trees]
    effort = sum(shape.allowed.size for shape in shapes)
    longest, price = min(LONGEST_GROUP, 1 + SEARCH // max(effort, 1)), PRICE
    while True:
        plans = [plan(shape, price, longest) for shape in shapes]
        if 8 * sum(entries for _, entries in plans) <= budget:
            break
        price *= 2  # smaller tables, and more leaves without one; in the end none has one
    rules = _rules(max((int(shape.on_path.sum(axis=1).max()) for shape in shapes), default=0))
    groups = [fill_groups(shape, *found, column_start, rules) for shape, found in zip(shapes, plans, strict=True)]
    factors = [list_factors(shape, group, column_start) for shape, (group, _) in zip(shapes, plans, strict=True)]
    expected = forest.constant + sum(float(shape.value @ shape.share.prod(axis=1)) for shape in shapes)
    return _layout(groups, factors, cuts, cut_start, column_start, rules), expected


def _rules(most_features: int) -> "Rules":
    """Return the quadrature rules that leaves with up to `most_features` features need."""
    from dropout_risk.treeshap.build import Rules

    found = [np.polynomial.legendre.leggauss(n) for n in range(1, (most_features + 1) // 2 + 1)]
    return Rules(_joined([(point + 1) / 2 for point, _ in found]), _joined([weight / 2 for _, weight in found]))


def _layout(
    groups: Sequence["Groups"],
    factors: Sequence["Factors"],
    cuts: Floats,
    cut_start: Ints,
    column_start: Ints,
    rules: "Rules",
) -> "Layout":
    """Join the tables of all trees."""
    from dropout_risk.treeshap.kernel import Layout

    size = np.concatenate([np.empty((0, 3), np.int64), *(tree.size for tree in groups)])
    return Layout(
        cuts=cuts,
        cut_start=cut_start,
        column_start=column_start,
        group_step_start=_starts(size[:, 0]),
        group_steps=_steps([tree.steps for tree in groups]),
        group_feature_start=_starts(size[:, 1]),
        group_feature=_joined([tree.feature for tree in groups], np.int64).astype(np.uint32),
        entry_start=_starts(size[:, 2]),
        entries=_joined([tree.entries for tree in groups]),
        direct_value=_joined([tree.value for tree in factors]),
        factor_start=_starts(_joined([tree.size for tree in factors], np.int64)),
        factor_feature=_joined([tree.feature for tree in factors], np.int64),
        factor_share=_joined([tree.share for tree in factors]),
        factor_first=_joined([tree.first for tree in factors], np.uint16),
        factor_step_start=_starts(_joined([tree.n_steps for tree in factors], np.int64)),
        factor_steps=_steps([tree.steps for tree in factors]),
        rules=rules,
    )


def _steps(parts: Sequence["Steps"]) -> "Steps":
    from dropout_risk.treeshap.build import Steps

    return Steps(
        _joined([part.column for part in parts], np.uint32),
        _joined([part.cut for part in parts], np.uint8),
        _joined([part.jump for part in parts], np.uint16),
    )


def _joined(parts: Sequence[npt.NDArray[Any]], dtype: type = np.float64) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts])


def _starts(sizes: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
