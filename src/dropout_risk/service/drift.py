"""How far the students that are scored have moved away from those that the model has learned from."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.descriptions import FEATURES
from dropout_risk.profile import counts_in, stability_index

WINDOW = 20_000
"""Students whose distribution counts; older ones fade."""
ENOUGH = 200
"""Students from which an index is told: with fewer, chance alone moves it."""

RISK = "risk"


class Drift:
    """Counts of what was scored, beside the shares of training.

    Parameters
    ----------
    profile
        As `profile.profile_of` makes it; empty for a model that was made without one.

    Examples
    --------
    >>> Drift({}).indices()
    {}
    """

    def __init__(self, profile: Mapping[str, Any]) -> None:
        self._bins: dict[str, Mapping[str, Any]] = dict(profile.get("features", {}))
        self._numeric = {name for name, bins in self._bins.items() if "edges" in bins}
        if profile.get(RISK):
            self._bins[RISK] = profile[RISK]
        self._counts = {name: np.zeros(len(bins["shares"])) for name, bins in self._bins.items()}
        self._students = 0.0
        self._lock = Lock()

    def note(self, X: pd.DataFrame, risk: np.ndarray) -> None:
        """Count the features and the risks of students that were scored."""
        columns = self._columns(X) | {RISK: risk}
        found = {name: counts_in(self._bins[name], values) for name, values in columns.items() if name in self._bins}
        with self._lock:
            fade = min(1.0, max(0.0, (WINDOW - len(X)) / self._students)) if self._students else 1.0
            self._students = self._students * fade + len(X)
            for name, counts in found.items():
                self._counts[name] = self._counts[name] * fade + counts

    def _columns(self, X: pd.DataFrame) -> dict[str, pd.Series | np.ndarray]:
        """Return the features that the profile knows; as plain arrays where all are numbers, which is quicker."""
        present = X.columns.to_list()
        if self._numeric.issuperset(present):
            return dict(zip(present, X.to_numpy(dtype=np.float64, na_value=np.nan).T, strict=True))
        return {name: X[name] for name in present if name in self._bins}

    def indices(self) -> dict[str, float]:
        """Return the largest index of the features of each group, and that of the risks; empty while too few came."""
        with self._lock:
            if self._students < ENOUGH:
                return {}
            by_name = {
                name: stability_index(np.array(self._bins[name]["shares"]), counts)
                for name, counts in self._counts.items()
            }
        groups: dict[str, float] = {}
        for name, index in by_name.items():
            group = FEATURES[name].group if name in FEATURES else name
            groups[group] = max(groups.get(group, 0.0), index)
        return groups
