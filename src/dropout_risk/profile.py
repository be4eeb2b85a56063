"""What the training data looked like, in shares, and how far other data has moved away from it.

A profile holds shares of bins only, never a value of a student; bins are wide enough that none singles one out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

BINS = 10
LEAST_IN_BIN = 10
"""Students in a bin, about: with fewer of them there are fewer bins."""

_LEAST_SHARE = 1e-4
"""Share that stands for an empty bin, whose logarithm would be infinite."""


def profile_of(X: pd.DataFrame, risk: np.ndarray) -> dict[str, Any]:
    """Return the shares of training rows in each bin of each feature, and of their risks.

    Parameters
    ----------
    X
        Features, shape (n, features).
    risk
        Risks of rows like these, shape (m,); NaN counts as none.

    Returns
    -------
    dict
        ``rows``; ``risk`` and, by name, ``features``: each with ``edges`` (numbers) or ``levels`` (categories) and
        ``shares``, the last of which is that of missing values.

    Examples
    --------
    >>> profile = profile_of(pd.DataFrame({"days": [0.0, 1.0, 2.0, np.nan]}), np.array([0.1, 0.2]))
    >>> profile["features"]["days"]["shares"][-1]
    0.25
    """
    known = risk[~np.isnan(risk)]
    return {
        "rows": len(X),
        "risk": _bins_of(pd.Series(known)),
        "features": {str(name): _bins_of(X[name]) for name in X.columns},
    }


def _bins_of(values: pd.Series) -> dict[str, Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        bins: dict[str, Any] = {"levels": [str(level) for level in values.cat.categories]}
    else:
        bins = {"edges": _edges(values.dropna().to_numpy(dtype=np.float64))}
    counts = counts_in(bins, values)
    return {**bins, "shares": (counts / max(counts.sum(), 1)).round(6).tolist()}


def _edges(known: np.ndarray) -> list[float]:
    """Return the bounds of bins with about as many values each; they lie between values, and are nobody's own."""
    distinct = np.unique(known)
    between = distinct[:-1] + np.diff(distinct) / 2
    wanted = np.linspace(0, 1, max(1, min(BINS, len(known) // LEAST_IN_BIN)) + 1)[1:-1]
    if not len(between) or not len(wanted):
        return []
    places = np.searchsorted(between, np.quantile(known, wanted)).clip(max=len(between) - 1)
    return [float(edge) for edge in between[np.unique(places)]]


def counts_in(bins: Mapping[str, Any], values: pd.Series | np.ndarray) -> np.ndarray:
    """Return how many `values` lie in each bin, the missing ones last; a level that is new counts as missing.

    Examples
    --------
    >>> counts_in({"edges": [0.5, 1.5]}, np.array([0.0, 1.0, 1.0, np.nan])).tolist()
    [1, 2, 0, 1]
    """
    at, missing = _levels_at(bins["levels"], values) if "levels" in bins else _numbers_at(bins["edges"], values)
    return np.bincount(at, minlength=missing + 1)


def _levels_at(levels: Sequence[str], values: pd.Series | np.ndarray) -> tuple[np.ndarray, int]:
    """Return the bin of each value, and that of the missing ones."""
    place_of = {level: place for place, level in enumerate(levels)}
    missing = len(place_of)
    found = pd.Series(values).astype(object)
    at = [missing if lost else place_of.get(str(one), missing) for one, lost in zip(found, found.isna(), strict=True)]
    return np.array(at, dtype=np.intp), missing


def _numbers_at(edges: Sequence[float] | np.ndarray, values: pd.Series | np.ndarray) -> tuple[np.ndarray, int]:
    """Return the bin of each value, and that of the missing ones."""
    missing = len(edges) + 1
    numbers = values if isinstance(values, np.ndarray) else values.to_numpy(dtype=np.float64, na_value=np.nan)
    at = np.searchsorted(edges, numbers, side="right")
    at[np.isnan(numbers)] = missing
    return at, missing


def stability_index(expected: np.ndarray, counts: np.ndarray) -> float:
    """Return the population stability index of counts against expected shares.

    Parameters
    ----------
    expected
        Shares in training, shape (bins,).
    counts
        Counts in the data to compare, shape (bins,).

    Returns
    -------
    float
        0 for the same shares; by custom .1 is a small move and .25 a large one. NaN without counts.

    Examples
    --------
    >>> stability_index(np.array([0.5, 0.5]), np.array([10, 10]))
    0.0
    """
    if counts.sum() == 0:
        return float("nan")
    before = np.maximum(expected, _LEAST_SHARE)
    now = np.maximum(counts / counts.sum(), _LEAST_SHARE)
    return float(np.sum((now - before) * np.log(now / before)))
