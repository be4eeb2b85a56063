"""Rank all risks of a run, however many there are, a range of risks at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dropout_risk.bulk.partitions import write_json
from dropout_risk.tables import atomic_path

RANKED_AT_A_TIME = 1_000_000
"""Rows of a range: what bounds the memory. Only a range narrower than `STEP` has more."""
STEP = 2.0**-20
"""Width of the narrowest range of risks; a power of two, so that the edges of the ranges are exact."""


def write_ranks(work: Path, positions: Sequence[int]) -> None:
    """Write the rank of every row, partition after partition; 0 for rows without a risk.

    The rank is 1 more than the number of rows with a higher risk: equal risks share it.
    """
    if (work / "ranks.npy").exists():
        return
    lengths = [len(_risks(work, position)) for position in positions]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    with atomic_path(work / "ranks.npy") as fresh:
        np.lib.format.open_memmap(fresh, mode="w+", dtype=np.int32, shape=(int(starts[-1]),)).flush()
        higher = 0
        for low, high in _ranges(work, positions):
            higher += _rank_range(work, positions, starts, fresh, low, high, higher)
    write_json(work / "starts.json", dict(zip(map(str, positions), starts[:-1].tolist(), strict=True)))


def _risks(work: Path, position: int) -> np.ndarray:
    """Return the risk of each row of a scored partition, NaN where it has none."""
    with pa.memory_map(str(work / f"part-{position:05d}.arrow")) as source:
        parts = [batch.column("risk").to_numpy(zero_copy_only=False) for batch in pa.ipc.open_stream(source)]
        return np.concatenate([np.empty(0), *parts])


def _ranges(work: Path, positions: Sequence[int]) -> Iterator[tuple[float, float]]:
    """Yield ranges ``low <= risk < high`` from the highest risks down, each of few enough rows."""
    counts = np.zeros(round(1 / STEP) + 1, dtype=np.int64)
    for position in positions:
        risk = _risks(work, position)
        counts += np.bincount((risk[~np.isnan(risk)] / STEP).astype(np.int64), minlength=len(counts))
    end = len(counts)
    held = 0
    for step in np.flatnonzero(counts)[::-1]:
        if held and held + counts[step] > RANKED_AT_A_TIME:
            yield (step + 1) * STEP, end * STEP
            end, held = step + 1, 0
        held += counts[step]
    if held:
        yield 0.0, end * STEP


def _rank_range(
    work: Path, positions: Sequence[int], starts: np.ndarray, ranks: Path, low: float, high: float, higher: int
) -> int:
    """Write the ranks of the risks of one range; return how many rows it has."""
    seen = []
    for position in positions:
        risk = _risks(work, position)
        seen.append(np.unique(risk[(risk >= low) & (risk < high)], return_counts=True))
    values, place = np.unique(np.concatenate([one for one, _ in seen]), return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, place, np.concatenate([many for _, many in seen]))
    rank_of = higher + 1 + counts.sum() - counts.cumsum()
    for position, start, stop in zip(positions, starts, starts[1:], strict=False):
        risk = _risks(work, position)
        rows = np.flatnonzero((risk >= low) & (risk < high))
        # Mapped anew for each partition, so that what is written does not stay in this process.
        mapped = np.load(ranks, mmap_mode="r+")
        mapped[start:stop][rows] = rank_of[np.searchsorted(values, risk[rows])]
    return int(counts.sum())
