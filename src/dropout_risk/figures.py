"""Reading the figures of an assessment, any part of which may be missing.

Bundles of every age come by here: those of the first versions hold an evaluation alone, a county of one school has
no held-out places, a logistic model no gains. What is not there is None or empty, and never an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

Figure = tuple[str, float, Mapping[str, Any]]
"""A name, a value, and the mapping that may hold ``low`` and ``high``."""


def part_of(whole: Any, *path: str) -> Any:
    """Return what nested mappings hold at `path`, None where they hold nothing.

    Examples
    --------
    >>> part_of({"evaluation": {"metrics": None}}, "evaluation", "metrics", "ece")
    """
    for name in path:
        whole = whole.get(name) if isinstance(whole, Mapping) else None
    return whole


def number_of(whole: Any, *path: str) -> float | None:
    """Return the number at `path`, None where there is none that counts.

    Examples
    --------
    >>> number_of({"ece": {"value": 0.01, "low": None}}, "ece", "value")
    0.01
    """
    value = part_of(whole, *path)
    return float(value) if is_number(value) else None


def rows_of(whole: Any, *path: str) -> list[Mapping[str, Any]]:
    """Return the mappings in the list at `path`, none where there is no list.

    Examples
    --------
    >>> rows_of({"alarms": [{"kind": "auc"}, None]}, "alarms")
    [{'kind': 'auc'}]
    """
    found = part_of(whole, *path)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def mapping_of(whole: Any, *path: str) -> Mapping[str, Any]:
    """Return the mapping at `path`, an empty one where there is none.

    Examples
    --------
    >>> mapping_of({"held_out": None}, "held_out", "evaluation")
    {}
    """
    found = part_of(whole, *path)
    return found if isinstance(found, Mapping) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number that can be reckoned with; NaN, infinity and absurd sizes are none.

    Examples
    --------
    >>> [is_number(value) for value in (0.5, 3, True, float("nan"), 10**400, "0.5", None)]
    [True, True, False, False, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12


def is_flat(assessment: Any) -> bool:
    """Whether it is the assessment of a flat table: its outcome has no preset of label rules.

    Examples
    --------
    >>> is_flat({"data": {"rows": 900, "preset": None}}), is_flat({})
    (True, False)
    """
    data = mapping_of(assessment, "data")
    return bool(data) and data.get("preset") is None


def headline_percent(evaluation: Any) -> str | None:
    """Return the middle capacity of an evaluation in percent, as it is written in the names of figures.

    Examples
    --------
    >>> headline_percent({"shares": [0.05, 0.1, 0.2]})
    '10'
    """
    shares = part_of(evaluation, "shares")
    middle = shares[len(shares) // 2] if isinstance(shares, Sequence) and shares else None
    return f"{100.0 * middle:g}" if is_number(middle) else None


def figures(metrics: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the figures worth keeping beside a model: name, value, and the mapping that may hold the interval.

    Parameters
    ----------
    metrics : mapping
        An assessment as `Assessment.to_dict` makes it, or figures of any kind, also in mappings of mappings.

    Yields
    ------
    name : str
        Of an assessment: the model's figures by their own names, those of others and of groups under a path such as
        ``differences/absence_rule/recall_at_10``. Of anything else: the path in the mapping.
    value : float
    interval : mapping
        With ``low`` and ``high`` where there are any.

    Examples
    --------
    >>> [name for name, _, _ in figures({"auc": {"value": 0.8, "low": 0.7, "high": 0.9}, "more": {"rows": 3}})]
    ['auc', 'more/rows']
    """
    evaluation = mapping_of(metrics, "evaluation")
    if not evaluation:
        yield from _all(metrics, "")
        return
    yield from _all(mapping_of(evaluation, "metrics"), "")
    yield from _all({name: evaluation.get(name) for name in ("rows", "left_out", "groups", "base_rate")}, "evaluation/")
    compared = ("auc", "average_precision", f"recall_at_{headline_percent(evaluation)}")
    for part in ("rules", "peers", "differences"):
        for name, found in mapping_of(evaluation, part).items():
            yield from _all({metric: part_of(found, metric) for metric in compared}, f"{part}/{name}/")
    yield from _groups(evaluation, f"recall_at_{headline_percent(evaluation)}")
    yield from _all(mapping_of(metrics, "held_out", "evaluation", "metrics"), "held_out/")
    for part in ("data", "oracle", "stability"):
        yield from _all(mapping_of(metrics, part), f"{part}/")
    differences = part_of(metrics, "sensitive", "differences")
    yield from _all({metric: part_of(differences, metric) for metric in compared}, "sensitive/differences/")
    yield from _all({"share": part_of(metrics, "coverage", "share")}, "coverage/")
    yield from _all({"alarms": len(rows_of(metrics, "alarms"))}, "")


def _groups(evaluation: Mapping[str, Any], metric: str) -> Iterator[Figure]:
    """Yield the recall of each group; places are left out, there can be hundreds."""
    for row in rows_of(evaluation, "per_group"):
        if row.get("column") != "county" and (recall := number_of(row, "recall")) is not None:
            interval = {"low": row.get("recall_low"), "high": row.get("recall_high")}
            yield f"groups/{row.get('column')}/{row.get('level')}/{metric}", recall, interval


def _all(entries: Mapping[str, Any], prefix: str) -> Iterator[Figure]:
    """Yield every number in nested mappings under its path."""
    for name, entry in entries.items():
        if isinstance(entry, Mapping) and "value" not in entry:
            yield from _all(entry, f"{prefix}{name}/")
            continue
        interval = entry if isinstance(entry, Mapping) else {}
        value = interval.get("value", entry)
        if is_number(value):
            yield f"{prefix}{name}", value, interval
