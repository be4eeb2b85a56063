"""Figures and tables as plain values for JSON: no numpy, no NaN."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def plain(value: Any) -> Any:
    """Return `value` as plain numbers, text, lists and dicts with text for keys, and None for NaN.

    Parameters
    ----------
    value
        A number, text or None, or mappings, lists and tuples of them.

    Examples
    --------
    >>> plain({"auc": np.float64(0.5), "bounds": (float("nan"), 1)})
    {'auc': 0.5, 'bounds': [None, 1]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    own = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(own, float) and math.isnan(own) else own


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a table as dicts in which a missing value, of whatever kind, is None.

    Examples
    --------
    >>> import pandas as pd
    >>> records(pd.DataFrame({"grade": pd.array([7, None], dtype="Int64"), "risk": [0.1, None]}))
    [{'grade': 7, 'risk': 0.1}, {'grade': None, 'risk': None}]
    """
    names = [str(name) for name in frame.columns.tolist()]
    if not names or frame.empty:
        return [{} for _ in range(len(frame))]
    columns = [_cells(column) for _, column in frame.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _cells(column: "pd.Series[Any]") -> list[Any]:
    cells, missing = column.tolist(), column.array.isna()
    if column.dtype == object:
        cells = [plain(cell) for cell in cells]
    if missing.any():
        return [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]
    return cells
