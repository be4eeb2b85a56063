"""What the verbs read: counties, flat tables, bundles, capacities; each says what it set aside."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dropout_risk.console import say
from dropout_risk.errors import SettingsError, TableError

if TYPE_CHECKING:
    from dropout_risk.bundle import Bundle
    from dropout_risk.capacity import Capacity
    from dropout_risk.capacity import Place as PlaceColumn
    from dropout_risk.county import County
    from dropout_risk.flat import FlatTable

PLACE_COLUMNS: "dict[str, PlaceColumn]" = {"county": "county_id", "township": "township_id", "school": "school_id"}


def required(data: Path | None) -> Path:
    """Return the folder of tables, or say that one is needed."""
    if data is None:
        raise SettingsError("Give a folder of tables, or --table FILE with --label COLUMN.")
    return data


def is_flat(data: Path | None, table: Path | None) -> bool:
    """Return whether a flat table was given instead of a folder of tables."""
    if data is not None and table is not None:
        raise SettingsError("Give either a folder of tables or --table FILE, not both.")
    return table is not None


def read_day(text: str | None) -> date | None:
    """Return a day written as an ISO date."""
    from dropout_risk.asof import to_day

    return to_day(text).date() if text else None


def read_flat_table(
    table: Path | None,
    label: str | None,
    group: str | None,
    *,
    fold: str | None,
    split: str | None,
    time: str | None,
    baseline: str | None,
    drop: list[str] | None,
) -> "FlatTable":
    """Return a flat table divided by role."""
    from dropout_risk.flat import FlatTable

    if table is None or label is None:
        raise SettingsError("A flat table needs --label COLUMN: the 0/1 column to learn.")
    dropped = [name.strip() for item in drop or [] for name in item.split(",") if name.strip()]
    return FlatTable.of(
        table, label=label, group=group, fold=fold, split=split, time=time, baseline=baseline, drop=dropped
    )


def read_county(data: Path, term: str | None = None) -> "County":
    """Return a county's tables after checking, and say how many rows were set aside."""
    from dropout_risk.county import load_county

    county = load_county(data, term=term)
    warnings = len(county.report.warnings)
    if warnings or len(county.refused):
        say(
            f"{data}: {len(county.refused):,} rows set aside, {warnings:,} kinds of warning; "
            f"see them with: dropout-risk validate {data}"
        )
    return county


def read_bundle(model: str, tracking_uri: str | None) -> "Bundle":
    """Return a bundle from a folder or from the registry."""
    from dropout_risk.registry import load_model

    return load_model(model, tracking_uri=tracking_uri)


def read_capacity(
    students: int | None, workers: int | None, per_worker: int | None, capacities: Path | None
) -> "Capacity":
    """Return the capacity that the options give, each way of saying it at most once."""
    from dropout_risk.capacity import PER_WORKER, Capacity

    size = per_worker or PER_WORKER
    ways = [students is not None, workers is not None, capacities is not None]
    if sum(ways) == 1:
        if students is not None:
            return Capacity(students=students, per_worker=size)
        if workers is not None:
            return Capacity(workers=workers, per_worker=size)
        if capacities is not None:
            kind, counts = _capacities(capacities)
            return Capacity(workers=counts, per_worker=size) if kind == "workers" else Capacity(students=counts)
    raise SettingsError(
        "Give the capacity once: --capacity STUDENTS, --workers N with --per-worker STUDENTS, or --capacities FILE."
    )


def _capacities(path: Path) -> tuple[Literal["workers", "students"], Mapping[str, int]]:
    """Return the number of workers or of students for each place of a file with the columns place and one of them."""
    from dropout_risk.tables import read_flat

    frame = read_flat(path, codes=["place"])
    kinds: list[Literal["workers", "students"]] = [name for name in ("workers", "students") if name in frame]
    if "place" not in frame or len(kinds) != 1:
        raise TableError(f"{path} must have the column place and one of workers and students; it has {list(frame)}.")
    counts = frame[kinds[0]]
    whole = counts.map(lambda count: str(count).removesuffix(".0").isdecimal())
    faults = [f"row {row + 2} holds {counts[row]!r}" for row in frame.index[~whole]]
    faults += [f"row {row + 2} repeats {frame['place'][row]}" for row in frame.index[frame["place"].duplicated()]]
    if faults:
        raise TableError(f"{path}, column {kinds[0]}: give each place one whole number; {'; '.join(faults)}.")
    return kinds[0], dict(zip(frame["place"], counts.astype(float).astype(int).tolist(), strict=True))
