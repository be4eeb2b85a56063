"""The figures that a report shows, as plain values: what the JSON file holds, and what the pictures are drawn from.

Nothing else is read by the pages, so that file and picture cannot differ.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropout_risk.metrics import capacity_key

Figures = Mapping[str, Any]

LISTING_PARTS = ("verdict", "basis", "confidence", "seed", "overall", "places", "rules", "previous", "notes")
"""What a report takes from a list; its students stay out."""

NAMES_OF_A_CELL = frozenset({"column", "level", "term", "place", "bin", "suppressed"})
"""All that is kept of a suppressed cell."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; the bounds are None where there is none.

    Examples
    --------
    >>> Estimate.of({"value": 0.4, "low": 0.3, "high": None})
    Estimate(value=0.4, low=0.3, high=None)
    >>> Estimate.of({"recall": 0.4, "recall_low": 0.3, "recall_high": 0.5}, "recall").high
    0.5
    >>> Estimate.of({"value": None}) is None
    True
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, record: Figures | None, name: str = "") -> "Estimate | None":
        """Return the figure called `name` of a table's row, or of an interval without a name; None if unknown."""
        record = record or {}
        value = record.get(name or "value")
        if value is None:
            return None
        low, high = (record.get(f"{name}_{end}" if name else end) for end in ("low", "high"))
        return cls(value, low, high)

    @property
    def bounded(self) -> bool:
        """Whether both bounds are known."""
        return self.low is not None and self.high is not None


def report_figures(assessment: Figures, listing: Figures | None = None) -> dict[str, Any]:
    """Return the figures of a report as plain values for JSON.

    Parameters
    ----------
    assessment : mapping
        From `Assessment.to_dict`.
    listing : mapping, optional
        From `TargetList.to_dict`; its students are left out.

    Returns
    -------
    dict
        The assessment and the `listing` (or None). What is not a finite number is None; a suppressed cell
        keeps nothing but its name.

    Examples
    --------
    >>> report_figures({"notes": [], "share": float("nan")}, {"students": [{"student_id": "s1"}], "seed": 7})
    {'notes': [], 'share': None, 'listing': {'seed': 7}}
    """
    chosen = None if listing is None else {part: listing[part] for part in LISTING_PARTS if part in listing}
    plain: dict[str, Any] = _plain({**assessment, "listing": chosen})
    return plain


def rows_with(rows: Sequence[Figures] | None, *names: str) -> list[Figures]:
    """Return the rows in which all these figures are known.

    Examples
    --------
    >>> rows_with([{"share": 0.1, "recall": None}, {"share": 0.2, "recall": 0.6}], "share", "recall")
    [{'share': 0.2, 'recall': 0.6}]
    """
    return [row for row in rows or [] if all(row.get(name) is not None for name in names)]


def headline_key(evaluation: Figures) -> str:
    """Return the headline capacity as it stands in the names of the figures: the middle share, in percent."""
    shares = [share for share in evaluation.get("shares") or [] if share is not None] or [0.10]
    return capacity_key(shares[len(shares) // 2])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = NAMES_OF_A_CELL if value.get("suppressed") is True else value.keys()
        return {str(name): _plain(item) for name, item in value.items() if name in kept}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
