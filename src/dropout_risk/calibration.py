"""Calibration: the straight line from the score of a model to log-odds that can be believed."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CALIBRATION_EVENTS = 30  # fewer: the scores are left as they are
TERM_EVENTS, TERM_ERRORS = 100, 3.0  # what the latest term needs to move the intercept


NO_SIGNAL = 0.01
"""Slope where scores say nothing about rows that the models have not seen."""


@dataclass(frozen=True)
class Calibration:
    """The line from the mean raw score of the bag to the calibrated log-odds.

    Attributes
    ----------
    slope, intercept
        ``log-odds = slope * score + intercept``; the slope is above 0, so the order never changes.

    Examples
    --------
    >>> Calibration(slope=0.5, intercept=-1.0).log_odds(np.array([2.0, 4.0]))
    array([0., 1.])
    """

    slope: float = 1.0
    intercept: float = 0.0

    def log_odds(self, score: Floats) -> Floats:
        """Return calibrated log-odds for raw scores, both of shape (n,)."""
        return self.slope * score + self.intercept

    def then(self, slope: float, intercept: float) -> Self:
        """Return this line followed by another one on its log-odds.

        Examples
        --------
        >>> Calibration(slope=2.0, intercept=1.0).then(0.5, -1.0)
        Calibration(slope=1.0, intercept=-0.5)
        """
        return replace(self, slope=slope * self.slope, intercept=slope * self.intercept + intercept)

    @classmethod
    def fit(cls, score: Floats, event: Flags, weight: Floats) -> Self:
        """Fit the line by maximum likelihood to scores of rows that the scoring models have not seen.

        Parameters
        ----------
        score, event, weight : arrays of shape (n,)
            Raw log-odds, whether the student left, and the weight of the row.

        Returns
        -------
        Calibration
            With too few events, the identity. Where the scores carry no information (slope not above 0),
            nearly the observed rate for everybody: `NO_SIGNAL` keeps the order and claims next to nothing.

        References
        ----------
        Platt (1999), Probabilistic outputs for support vector machines, with his smoothed targets.

        Examples
        --------
        >>> score = np.repeat([-2.0, 2.0], 500)
        >>> event = np.tile([True] + 9 * [False], 100) ^ (score > 0)  # one in ten is against the score
        >>> round(Calibration.fit(score, event, np.ones(1000)).slope, 2)
        1.09
        """
        if min(event.sum(), (~event).sum()) < CALIBRATION_EVENTS:
            return cls()
        ones, zeros = weight[event].sum(), weight[~event].sum()
        target = np.where(event, (ones + 1) / (ones + 2), 1 / (zeros + 2))
        slope = 0.0
        if np.ptp(score) > 0:
            line = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(
                np.tile(score, 2)[:, None],
                np.repeat([True, False], len(score)),
                sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
            )
            slope = line.coef_[0, 0] if line.n_iter_[0] < line.max_iter else 0.0
        if slope > 0:
            return cls(float(slope), float(line.intercept_[0]))
        return cls(NO_SIGNAL, _matching_intercept(NO_SIGNAL * score, event, weight))

    def moved_to(self, score: Floats, event: Flags, weight: Floats) -> Self:
        """Return the line with the intercept of these rows, if they clearly ask for another one.

        Clearly means: at least 100 events, whose number is more than three standard errors off the sum of
        the risks.

        Parameters
        ----------
        score, event, weight : arrays of shape (n,)
            As for `fit`, of the latest term only.

        Returns
        -------
        Calibration
            With the same slope.

        Examples
        --------
        >>> event = np.arange(1000) < 300
        >>> round(Calibration().moved_to(np.zeros(1000), event, np.ones(1000)).intercept, 2)  # logit(0.3)
        -0.85
        """
        risk = expit(self.log_odds(score))
        excess = weight @ (event - risk)
        error = np.sqrt(weight**2 @ (risk * (1 - risk)))
        if event.sum() < TERM_EVENTS or abs(excess) < TERM_ERRORS * error:
            return self
        return replace(self, intercept=_matching_intercept(self.slope * score, event, weight))


def _matching_intercept(score: Floats, event: Flags, weight: Floats) -> float:
    """Return the shift at which the mean risk is the observed rate."""
    rate = np.average(event, weights=weight)
    low, high = logit(rate) - score.max() - 1, logit(rate) - score.min() + 1
    return float(brentq(lambda shift: np.average(expit(score + shift), weights=weight) - rate, low, high))
