"""Figures and tables as plain values for JSON: no numpy, no NaN."""

import math
from collections.abc import Mapping, Sequence
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
    columns = columns_of(frame)
    return rows_of(columns) if columns else [{} for _ in range(len(frame))]


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table that is held by column.

    Examples
    --------
    >>> rows_of({"grade": [7, None], "risk": [0.1, 0.2]})
    [{'grade': 7, 'risk': 0.1}, {'grade': None, 'risk': 0.2}]
    """
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of(frame: "pd.DataFrame") -> dict[str, list[Any]]:
    """Return the columns of a table as lists in which a missing value, of whatever kind, is None.

    Examples
    --------
    >>> import pandas as pd
    >>> columns_of(pd.DataFrame({"grade": pd.array([7, None], dtype="Int64"), "risk": [0.1, None]}))
    {'grade': [7, None], 'risk': [0.1, None]}
    """
    return {str(name): _cells(column) for name, column in frame.items()}


def _cells(column: "pd.Series[Any]") -> list[Any]:
    cells, missing = column.tolist(), column.array.isna()
    if column.dtype == object:
        cells = [plain(cell) for cell in cells]
    if missing.any():
        return [None if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]
    return cells
