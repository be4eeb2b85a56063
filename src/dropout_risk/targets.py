"""The support list: students by rank, cut where the support workers' capacity ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dropout_risk.errors import ColumnsError, InputError, SettingsError

Place = Literal["county_id", "school_id"]


@dataclass(frozen=True, eq=False)
class TargetList:
    """Students to support first.

    Attributes
    ----------
    frame
        The listed students, by place and rank: the columns of the scores, `list_place`, and
        `drawn` (whether a tie at the cut was resolved by the recorded draw).
    places
        One row per place: `students`, `capacity`, `listed`, `expected` true cases, `low`, `high`, `ties`.
    seed
        Seed of the draw between equal risks at the cut; the same seed gives the same list.
    """

    frame: pd.DataFrame
    places: pd.DataFrame
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the list and its yield as plain values for JSON."""
        return {
            "seed": self.seed,
            "places": self.places.reset_index(names="place").to_dict("records"),
            "students": self.frame.to_dict("records"),
        }


def target_list(
    scores: pd.DataFrame,
    *,
    capacity: int | Mapping[str, int],
    place: Place = "county_id",
    seed: int = 0,
    confidence: float = 0.95,
) -> TargetList:
    """Return the students with the highest risk in each place, as many as its capacity allows.

    Parameters
    ----------
    scores
        One row per student: `student_id`, `risk` (probability) and the column named by `place`.
    capacity
        Students who can be supported: one number for every place, or a number per place.
    place
        The unit that has the capacity: ``county_id`` or ``school_id``.
    seed
        For the draw between students with equal risk at the cut.
    confidence
        Of the interval for the number of true cases.

    Returns
    -------
    TargetList

    Raises
    ------
    SettingsError
        If a capacity is below 1, or a place has none.

    Notes
    -----
    The expected number of true cases is the sum of the listed risks; its interval is that of a
    Poisson-binomial count, simulated. It takes outcomes as independent given the risks, so what strikes a
    whole school at once makes it wider in truth.

    Examples
    --------
    >>> scores = pd.DataFrame({"student_id": ["a", "b", "c"], "county_id": "x", "risk": [0.1, 0.6, 0.3]})
    >>> chosen = target_list(scores, capacity=2)
    >>> chosen.frame["student_id"].tolist(), round(float(chosen.places.loc["x", "expected"]), 2)
    (['b', 'c'], 0.9)
    """
    _check(scores, place)
    limits = _capacities(scores, capacity, place)
    scores = scores.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    draw = pd.Series(rng.permutation(len(scores)), scores.sort_values("student_id").index)
    ranked = scores.assign(_draw=draw).sort_values([place, "risk", "_draw"], ascending=[True, False, True])
    ranked = ranked.assign(list_place=ranked.groupby(place).cumcount() + 1)
    listed = ranked[ranked["list_place"] <= ranked[place].map(limits)]
    ties = _ties_at_cut(ranked, listed, place)
    frame = listed.assign(drawn=listed.index.isin(ties.index)).drop(columns="_draw")
    rows = {name: _yield_of(rows, confidence, seed) for name, rows in frame.groupby(place)["risk"]}
    places = pd.DataFrame.from_dict(rows, orient="index", columns=["listed", "expected", "low", "high"])
    places.insert(0, "capacity", pd.Series(limits).reindex(places.index))
    places.insert(0, "students", scores.groupby(place).size())
    places["ties"] = ties.groupby(place).size().reindex(places.index, fill_value=0)
    return TargetList(frame.reset_index(drop=True), places, seed)


def _check(scores: pd.DataFrame, place: str) -> None:
    if missing := [name for name in ("student_id", "risk", place) if name not in scores]:
        raise ColumnsError(f"The scores lack the columns {', '.join(missing)}.")
    if scores[place].isna().any():
        raise InputError(f"{scores[place].isna().sum()} students have no {place}; fill it in, or leave them out.")
    if not scores["risk"].between(0, 1).all():
        raise InputError("The column risk holds values that are no probabilities between 0 and 1.")


def _capacities(scores: pd.DataFrame, capacity: int | Mapping[str, int], place: str) -> dict[str, int]:
    places = sorted(scores[place].unique())
    limits = dict(capacity) if isinstance(capacity, Mapping) else dict.fromkeys(places, capacity)
    faults = [f"{name} has no capacity" for name in places if name not in limits]
    faults += [f"the capacity of {name} is {limit}" for name, limit in limits.items() if limit < 1]
    if faults:
        raise SettingsError(f"Give every place a capacity of 1 or more: {'; '.join(faults)}.")
    return limits


def _ties_at_cut(ranked: pd.DataFrame, listed: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return all students whose risk equals that of the last listed one while others with it stayed out."""
    cut = listed.groupby(place)["risk"].min()
    at_cut = ranked[ranked["risk"] == ranked[place].map(cut)]
    left_out = at_cut[~at_cut.index.isin(listed.index)]
    return at_cut[at_cut[place].isin(left_out[place])]


def _yield_of(risk: pd.Series, confidence: float, seed: int) -> tuple[int, float, float, float]:
    rng = np.random.default_rng(seed)
    counts = (rng.random((4000, len(risk))) < risk.to_numpy()).sum(axis=1)
    low, high = np.quantile(counts, [(1 - confidence) / 2, (1 + confidence) / 2])
    return len(risk), float(risk.sum()), float(low), float(high)
