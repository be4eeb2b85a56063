"""The compiled functions of exams: the marks at the points of a grid, and where a mark stands on one."""

import numpy as np
import numpy.typing as npt

from dropout_risk.jit import compiled

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@compiled
def draw_grids(mark: Floats, ends: Int64s, points: Floats, grids: Floats) -> None:
    """Write into each row of `grids` the marks of one exam at `points`, as `numpy.quantile` does.

    The marks of an exam, at least one, go up to its place in `ends`.
    """
    first = 0
    for exam in range(len(ends)):
        own = np.sort(mark[first : ends[exam]])
        last = len(own) - 1
        for point in range(len(points)):
            at = points[point] * last
            below = int(at)
            share = at - below
            low, high = own[below], own[min(below + 1, last)]
            if share < 0.5:
                grids[exam, point] = low + (high - low) * share
            else:
                grids[exam, point] = high - (high - low) * (1 - share)
        first = ends[exam]


@compiled
def place_marks(mark: Floats, row: Int64s, grids: Floats, place: Int64s) -> None:
    """Write into `place` how many points of its row of `grids` are below each mark plus how many are not above it.

    A mark that is not known, or that has no row, is passed over.
    """
    for k in range(len(mark)):
        if row[k] >= 0 and not np.isnan(mark[k]):
            grid = grids[row[k]]
            place[k] = np.searchsorted(grid, mark[k], "left") + np.searchsorted(grid, mark[k], "right")
