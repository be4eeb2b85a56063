"""The columns of a table as plain arrays: texts as numbers, days as days since 1970.

What is done on every request is done on these: an operation on a small array costs a microsecond where the same one on
a column of a frame costs a hundred. Each array is made once for a table, in the order of its rows, and never changed.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dropout_risk.schema import TABLES, Tables

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]

NO_DAY = int(np.iinfo(np.int64).min)
"""Stands for a day that is not known."""


class Coded(NamedTuple):
    """Texts as numbers.

    Attributes
    ----------
    codes : int32 array (n,)
        The place of each text in `names`; -1 where it is missing.
    names : object array (m,)
        The distinct texts, in the order in which they come.
    """

    codes: Int32s
    names: Texts


def texts(tables: Tables, name: str, column: str) -> Coded:
    """Return a column of text, such as an id.

    Examples
    --------
    >>> texts(Tables({"terms": pd.DataFrame({"term": ["b", None, "a", "b"]})}), "terms", "term")
    Coded(codes=array([ 0, -1,  1,  0], dtype=int32), names=array(['b', 'a'], dtype=object))
    """
    return tables.derived_of(name, ("texts", column), lambda: _coded(_column(tables, name, column)))


def keep_texts(tables: Tables, name: str, columns: Mapping[str, Coded]) -> None:
    """Take over the numbers that whoever made a table knows already, so that `texts` need not find them again."""
    for column in columns:
        tables.derived_of(name, ("texts", column), partial(columns.__getitem__, column))


def labels(tables: Tables, name: str, column: str) -> Int8s:
    """Return a category as the place of each value among those that the schema allows, -1 where it is missing.

    Examples
    --------
    >>> labels(Tables({"attendance": pd.DataFrame({"code": ["P", None, "U"]})}), "attendance", "code").tolist()
    [2, -1, 8]
    """
    return tables.derived_of(name, ("labels", column), lambda: _labels(tables, name, column))


def days(tables: Tables, name: str, column: str) -> Int64s:
    """Return a column of dates as days since 1970, `NO_DAY` where one is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"start": pd.to_datetime(["1970-01-03", None])})
    >>> days(Tables({"terms": frame}), "terms", "start").tolist() == [2, NO_DAY]
    True
    """
    return tables.derived_of(
        name, ("days", column), lambda: _column(tables, name, column).to_numpy("datetime64[D]").view(np.int64)
    )


def numbers(tables: Tables, name: str, column: str) -> Floats:
    """Return a column of numbers, NaN where one is missing."""
    return tables.derived_of(
        name, ("numbers", column), lambda: _column(tables, name, column).to_numpy(np.float64, na_value=np.nan)
    )


def flags(tables: Tables, name: str, column: str) -> Int8s:
    """Return a column of yes and no as 1 and 0, -1 where it is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"boarding": pd.array([True, None, False], dtype="boolean")})
    >>> flags(Tables({"enrolments": frame}), "enrolments", "boarding").tolist()
    [1, -1, 0]
    """
    return tables.derived_of(name, ("flags", column), lambda: _flags(_column(tables, name, column)))


def _column(tables: Tables, name: str, column: str) -> "pd.Series[Any]":
    return tables.get_frame(name)[column]


def _coded(values: "pd.Series[Any]") -> Coded:
    if isinstance(values.dtype, pd.StringDtype):
        cells = pa.chunked_array(values.array.__arrow_array__())
        encoded = pc.dictionary_encode(cells.combine_chunks() if cells.num_chunks != 1 else cells.chunk(0))
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Coded(codes.astype(np.int32, copy=False), encoded.dictionary.to_numpy(zero_copy_only=False))
    codes, names = pd.factorize(values)
    return Coded(codes.astype(np.int32), np.asarray(names, dtype=object))


def _labels(tables: Tables, name: str, column: str) -> Int8s:
    values, allowed = _column(tables, name, column), list(TABLES[name][column].allowed)
    if not isinstance(values.dtype, pd.CategoricalDtype) or list(values.cat.categories) != allowed:
        values = values.astype(pd.CategoricalDtype(allowed))
    return np.asarray(values.cat.codes, dtype=np.int8)


def _flags(values: "pd.Series[Any]") -> Int8s:
    return np.asarray(values.astype("Int8").to_numpy(np.int8, na_value=-1), dtype=np.int8)
