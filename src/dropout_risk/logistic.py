"""The logistic model for small data, written as a sum of one function per feature."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RIDGE = 0.03
"""C of the ridge: among .01, .03, .1 and .3 the one with the least log-loss on held-out groups (mean .258,
against .261, .260 and .268), for samples of 250, 500 and 1,000 rows of the PROGRESA and Kenya data."""


_ARRAYS = ("slope", "offset", "missing", "low", "high")


@dataclass(frozen=True)
class AdditiveLogistic:
    """A logistic model written as one function per feature, which is what exact reasons and JSON need.

    A number `x` adds ``slope * x + offset``, a category its effect, a missing value or an unknown
    category `missing`. A number beyond those of the training rows counts as the nearest of them: a straight
    line knows nothing out there.

    Attributes
    ----------
    base
        Log-odds to which the features add.
    slope, offset, missing
        Arrays of shape (n_features,), in log-odds.
    low, high
        Range of each number in the training rows, arrays of shape (n_features,).
    effects
        Place of a categorical feature -> the effect of each of its levels.
    """

    base: float
    slope: Floats
    offset: Floats
    missing: Floats
    low: Floats
    high: Floats
    effects: dict[int, Floats]

    @classmethod
    def fit(cls, matrix: Floats, event: Flags, weight: Floats, *, levels: dict[int, int], signs: Floats) -> Self:
        """Fit a ridge regression on standardised numbers, on flags of missing values and on levels.

        Parameters
        ----------
        matrix : array of shape (n, n_features)
            Numbers, and the places of levels; NaN is missing.
        event, weight : arrays of shape (n,)
            Whether the student left, and the weight of the row.
        levels : dict of int to int
            Place of each categorical feature -> how many levels it has.
        signs : array of shape (n_features,)
            +1 or -1 where the effect of a number may only go up or down, else 0.

        Examples
        --------
        >>> matrix = np.array([[0.0], [1.0], [2.0], [np.nan]])
        >>> event = np.array([False, False, True, True])
        >>> model = AdditiveLogistic.fit(matrix, event, np.ones(4), levels={}, signs=np.array([1]))
        >>> bool(model.slope[0] > 0)
        True
        """
        empty = np.isnan(matrix)
        numeric = matrix.copy()
        numeric[:, list(levels)] = 0.0  # categories speak through their levels alone
        fill = pd.DataFrame(numeric).median().fillna(0.0).to_numpy()
        filled = np.where(np.isnan(numeric), fill, numeric)
        centre, scale = filled.mean(axis=0), filled.std(axis=0)
        scale[np.ptp(filled, axis=0) == 0] = 1.0  # by the range: rounding gives a constant a tiny deviation
        numbers = (filled - centre) / scale
        shown = [np.equal.outer(matrix[:, place], np.arange(n)) for place, n in levels.items()]
        wrong = np.zeros(len(signs), dtype=bool)
        while True:
            design = np.hstack([np.where(wrong, 0.0, numbers), empty, *shown])
            model = LogisticRegression(C=RIDGE, solver="newton-cholesky").fit(design, event, weight)
            number, gap, *level = np.split(model.coef_[0], np.cumsum([len(signs), len(signs), *levels.values()])[:-1])
            if not (against := signs * number < 0).any():
                break
            wrong |= against  # a number that pulls against its constraint is left out
        slope = number / scale
        offset = -slope * centre
        return cls(
            base=float(model.intercept_[0]),
            slope=slope,
            offset=offset,
            missing=slope * fill + offset + gap,
            low=filled.min(axis=0),
            high=filled.max(axis=0),
            effects=dict(zip(levels, level, strict=True)),
        )

    @classmethod
    def mean(cls, bag: "list[AdditiveLogistic]", matrix: Floats) -> Self:
        """Return the mean of the bag, centred so that each feature adds 0 on average over `matrix`."""
        whole = cls(
            base=float(np.mean([one.base for one in bag])),
            slope=np.mean([one.slope for one in bag], axis=0),
            offset=np.mean([one.offset for one in bag], axis=0),
            missing=np.mean([one.missing for one in bag], axis=0),
            low=np.min([one.low for one in bag], axis=0),
            high=np.max([one.high for one in bag], axis=0),
            effects={place: np.mean([one.effects[place] for one in bag], axis=0) for place in bag[0].effects},
        )
        usual = whole.contributions(matrix)[:, :-1].mean(axis=0)
        return replace(
            whole,
            base=float(whole.base + usual.sum()),
            offset=whole.offset - usual,
            missing=whole.missing - usual,
            effects={place: effect - usual[place] for place, effect in whole.effects.items()},
        )

    def contributions(self, matrix: Floats) -> Floats:
        """Return what each feature adds, and the base as last column: shape (n, n_features + 1)."""
        within = np.clip(matrix, self.low, self.high)
        values = np.where(np.isnan(matrix), self.missing, self.slope * within + self.offset)
        for place, effect in self.effects.items():
            known = ~np.isnan(matrix[:, place])
            values[known, place] = effect[matrix[known, place].astype(int)]
        return np.column_stack([values, np.full(len(matrix), self.base)])

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain lists."""
        return {
            "base": self.base,
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
            "effects": {str(place): effect.tolist() for place, effect in self.effects.items()},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the model that `to_json` described."""
        return cls(
            base=state["base"],
            **{name: np.array(state[name], dtype=float) for name in _ARRAYS},
            effects={int(place): np.array(effect, dtype=float) for place, effect in state["effects"].items()},
        )
