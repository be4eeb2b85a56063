"""The columns of a table as plain arrays: texts as numbers, days as days since 1970.

What is done on every request is done on these: an operation on a small array costs a microsecond where the same one on
a column of a frame costs a hundred. Each array is made once for a table, in the order of its rows, and never changed.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

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
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]

Cells = Any
"""A column as pandas or numpy holds it."""

Get = Callable[[Tables, str], Any]
"""Gives an array of a table."""

T = TypeVar("T")
N = TypeVar("N", bound=np.generic)

NO_DAY = int(np.iinfo(np.int64).min)
"""Stands for a day that is not known."""

ROWS, COLUMNS = ("row_labels", ""), ("columns", "")
"""Under which the labels of the rows and the names of the columns are kept; whoever reads a table knows them."""

_KEYED, _BEFORE = ("keyed", ""), ("before", "")
"""Under which it is kept whether the key is unique, and how to get an array from the table that this one came from."""

_SPAN = "span_of_days"
_LAST_DAY = int(np.iinfo(np.int64).max)


class Coded(NamedTuple):
    """Texts as numbers.

    Attributes
    ----------
    codes : int32 array (n,)
        The place of each text in `names`; -1 where it is missing.
    names : object array (m,)
        The distinct texts, in the order in which they came; those of rows that were left out since are there still.
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
    return _array(texts, tables, name, column, _coded)


def labels(tables: Tables, name: str, column: str) -> Int8s:
    """Return a category as the place of each value among those that the schema allows, -1 where it is missing.

    Examples
    --------
    >>> labels(Tables({"attendance": pd.DataFrame({"code": ["P", None, "U"]})}), "attendance", "code").tolist()
    [2, -1, 8]
    """
    return _array(labels, tables, name, column, partial(_labels, _category(name, column)))


def days(tables: Tables, name: str, column: str) -> Int64s:
    """Return a column of dates as days since 1970, `NO_DAY` where one is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"start": pd.to_datetime(["1970-01-03", None])})
    >>> days(Tables({"terms": frame}), "terms", "start").tolist() == [2, NO_DAY]
    True
    """
    return _array(days, tables, name, column, lambda dates: np.asarray(dates).astype("datetime64[D]").view(np.int64))


def distinct_days(tables: Tables, name: str, column: str) -> tuple[npt.NDArray[np.intp], Int64s]:
    """Return the place of each row's day among the distinct days of a column of dates, and these, the first day first.

    Examples
    --------
    >>> frame = pd.DataFrame({"start": pd.to_datetime(["1970-01-03", "1970-01-02", "1970-01-03"])})
    >>> place, distinct = distinct_days(Tables({"terms": frame}), "terms", "start")
    >>> place.tolist(), distinct.tolist()
    ([1, 0, 1], [1, 2])
    """
    return tables.derived_of(name, ("distinct_days", column), lambda: _distinct_days(tables, name, column))


def _distinct_days(tables: Tables, name: str, column: str) -> tuple[npt.NDArray[np.intp], Int64s]:
    day, first = days(tables, name, column), span_of_days(tables, name, column)[0]
    if first == NO_DAY:
        distinct, place = np.unique(day, return_inverse=True)
        return place, distinct
    place, distinct = numbered(day - first)
    return place, distinct + first


def span_of_days(tables: Tables, name: str, column: str) -> tuple[int, int]:
    """Return the first and the last day of a column of dates.

    The first is `NO_DAY` where any day is missing, the last where all are; without rows the first is after the last.

    Examples
    --------
    >>> frame = pd.DataFrame({"start": pd.to_datetime(["1970-01-03", "1970-01-02"])})
    >>> span_of_days(Tables({"terms": frame}), "terms", "start")
    (1, 2)
    """

    def read() -> tuple[int, int]:
        day = days(tables, name, column)
        return int(day.min(initial=_LAST_DAY)), int(day.max(initial=NO_DAY))

    return tables.derived_of(name, (_SPAN, column), read)


def numbers(tables: Tables, name: str, column: str) -> Floats:
    """Return a column of numbers, NaN where one is missing."""
    return _array(numbers, tables, name, column, _numbers)


def flags(tables: Tables, name: str, column: str) -> Int8s:
    """Return a column of yes and no as 1 and 0, -1 where it is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"boarding": pd.array([True, None, False], dtype="boolean")})
    >>> flags(Tables({"enrolments": frame}), "enrolments", "boarding").tolist()
    [1, -1, 0]
    """
    return _array(flags, tables, name, column, _flags)


def row_labels(tables: Tables, name: str) -> pd.Index:
    """Return the index labels of a table's frame, none where there is no such table.

    Examples
    --------
    >>> row_labels(Tables({"terms": pd.DataFrame({"term": ["2020-1"]}, index=[7])}), "terms").tolist()
    [7]
    """
    return _kept(ROWS, tables, name, row_labels, lambda: tables.get_frame(name).index)


def columns_of(tables: Tables, name: str) -> frozenset[str]:
    """Return the names of a table's columns."""
    return tables.derived_of(name, COLUMNS, lambda: frozenset(tables.get_frame(name).columns))


def matched(one: Coded, other: Coded) -> Int32s:
    """Return for each row of `one` the place of its text among the names of `other`, -1 where it is not there.

    Examples
    --------
    >>> matched(Coded(np.array([0, -1, 1]), np.array(["a", "b"])), Coded(np.array([0]), np.array(["b"]))).tolist()
    [-1, -1, 0]
    """
    return one.codes if same_names(one, other) else spread(one, places(one.names, other.names))


def same_names(one: Coded, other: Coded) -> bool:
    """Return whether the numbers of both stand for the same texts, as in tables that list the same students alike."""
    return one.names is other.names or np.array_equal(one.names, other.names)


def places(names: Iterable[str], among: Iterable[str]) -> Int32s:
    """Return the place of each name among others, each there once; -1 where it is not there.

    Examples
    --------
    >>> places(["b", "c"], ["a", "b"]).tolist()
    [1, -1]
    """
    place = {name: at for at, name in enumerate(_listed(among))}
    return np.fromiter(map(place.get, _listed(names), repeat(-1)), dtype=np.int32)


def _listed(names: Iterable[str]) -> Iterable[str]:
    return names.tolist() if isinstance(names, np.ndarray) else names


def spread(coded: Coded, values: npt.NDArray[N], missing: Any = -1) -> npt.NDArray[N]:
    """Return for each row the one of `values`, one for each name, that belongs to its text.

    Examples
    --------
    >>> spread(Coded(np.array([0, -1, 1]), np.array(["a", "b"])), np.array([1.5, 2.5]), np.nan).tolist()
    [1.5, nan, 2.5]
    """
    return at_places(values, coded.codes, missing)


def at_places(values: npt.NDArray[N], place: npt.NDArray[np.integer], missing: Any) -> npt.NDArray[N]:
    """Return the one of `values` that stands at each place, `missing` where the place is -1.

    Examples
    --------
    >>> at_places(np.array([1.5, 2.5]), np.array([1, -1]), np.nan).tolist()
    [2.5, nan]
    """
    padded = np.empty(len(values) + 1, dtype=values.dtype)
    padded[:-1], padded[-1] = values, missing
    return padded.take(place)


def first_rows(coded: Coded) -> Int64s:
    """Return for each name the first row that holds it, -1 where no row does.

    Examples
    --------
    >>> first_rows(Coded(np.array([0, -1, 0, 1]), np.array(["a", "b", "c"]))).tolist()
    [0, 3, -1]
    """
    first = np.full(len(coded.names) + 1, -1)
    first[coded.codes[::-1]] = np.arange(len(coded.codes))[::-1]
    return first[:-1]


def row_keys(tables: Tables, name: str, columns: Sequence[str]) -> Int64s:
    """Return one number from 0 on for each row, equal where all of `columns` are equal; what is missing equals itself.

    Examples
    --------
    >>> frame = pd.DataFrame({"student_id": ["a", "a", "b"], "date": pd.to_datetime(["2020-09-01"] * 3)})
    >>> row_keys(Tables({"attendance": frame}), "attendance", ["student_id", "date"]).tolist()
    [3, 3, 5]
    """
    (keys, size), *parts = (_part(tables, name, column) for column in columns)
    for part, radix in parts:
        if size * radix > _LARGEST:
            keys = np.unique(keys, return_inverse=True)[1]
            size = int(keys.max(initial=0)) + 1
        keys *= radix
        keys += part
        size *= radix
    return keys


_LARGEST = 2**62
_ROOM = 8
"""Counts that a row may cost where rows are counted by key."""


def _part(tables: Tables, name: str, column: str) -> tuple[Int64s, int]:
    """Return a column as numbers from 0, which stands for a missing value, and above how large they cannot be."""
    kind = TABLES[name][column].kind
    if kind == "date":
        day, (first, last) = days(tables, name, column), span_of_days(tables, name, column)
        if first != NO_DAY:
            return day - (first - 1), max(last - first, 0) + 2
        first = int(day[day != NO_DAY].min(initial=_LAST_DAY))
        return np.where(day == NO_DAY, 0, day - (first - 1)), max(last - first, 0) + 2
    if kind == "category":
        return np.add(labels(tables, name, column), 1, dtype=np.int64), len(TABLES[name][column].allowed) + 1
    text = texts(tables, name, column)
    return np.add(text.codes, 1, dtype=np.int64), len(text.names) + 1


def numbered(keys: Int64s) -> tuple[Int64s, Int64s]:
    """Return the place of each key, a number from 0 on, among the distinct ones, and these in their order.

    Examples
    --------
    >>> place, distinct = numbered(np.array([7, 3, 7]))
    >>> place.tolist(), distinct.tolist()
    ([1, 0, 1], [3, 7])
    """
    largest = int(keys.max(initial=0))
    if largest > _ROOM * len(keys) + 1000:
        distinct, place = np.unique(keys, return_inverse=True)
        return place, distinct
    stands = np.zeros(largest + 1, dtype=bool)
    stands[keys] = True
    return (np.cumsum(stands) - 1).take(keys), np.flatnonzero(stands)


def repeats(keys: Int64s) -> Bools:
    """Return which keys, numbers from 0 on, stand there more than once.

    Examples
    --------
    >>> repeats(np.array([3, 1, 3])).tolist()
    [True, False, True]
    """
    largest = int(keys.max(initial=0))
    if largest > _ROOM * len(keys) + 1000:
        ordered = np.sort(keys)
        if (ordered[1:] != ordered[:-1]).all():
            return np.zeros(len(keys), dtype=bool)
        return pd.Series(keys).duplicated(keep=False).to_numpy()
    stands = np.zeros(largest + 1, dtype=bool)
    stands[keys] = True
    if np.count_nonzero(stands) == len(keys):
        return np.zeros(len(keys), dtype=bool)
    return np.asarray(np.bincount(keys)[keys] > 1)


def is_keyed(tables: Tables, name: str) -> bool:
    """Return whether no two rows of a table have the same key.

    Examples
    --------
    >>> is_keyed(Tables({"terms": pd.DataFrame({"term": ["a", "b", "a"]})}), "terms")
    False
    """
    return tables.derived_of(name, _KEYED, lambda: not repeated_keys(tables, name).any())


def repeated_keys(tables: Tables, name: str) -> Bools:
    """Return which rows of a table share their key with another."""
    return repeats(row_keys(tables, name, TABLES[name].key))


def as_days(dates: pd.DatetimeIndex) -> Int64s:
    """Return dates as days since 1970."""
    return dates.to_numpy("datetime64[D]").view(np.int64)


def as_dates(day: Int64s) -> npt.NDArray[np.datetime64]:
    """Return days since 1970 as the dates of a frame, NaT for `NO_DAY`.

    Examples
    --------
    >>> as_dates(np.array([1, NO_DAY])).astype(str).tolist()
    ['1970-01-02T00:00:00.000000', 'NaT']
    """
    return day.view("datetime64[D]").astype("datetime64[us]")


def as_int32(day: Int64s) -> Int32s:
    """Return days as smaller numbers, the smallest for `NO_DAY`."""
    return np.maximum(day, np.iinfo(np.int32).min).astype(np.int32)


def as_text(coded: Coded) -> "pd.api.extensions.ExtensionArray":
    """Return texts as a column of a frame."""
    return pd.array(coded.names, dtype="str").take(coded.codes, allow_fill=True)


def day_number(day: pd.Timestamp) -> int:
    """Return the days since 1970.

    Examples
    --------
    >>> day_number(pd.Timestamp("1970-01-03"))
    2
    """
    return int((day - _EPOCH).days)


def as_day(number: int) -> pd.Timestamp:
    """Return the day that has this number."""
    return _EPOCH + pd.Timedelta(days=number)


_EPOCH = pd.Timestamp("1970-01-01")


def take_rows(tables: Tables, name: str, rows: npt.NDArray[np.intp]) -> Tables:
    """Return the tables with only the rows of `name` that stand at these positions; arrays are taken when needed."""

    def before(get: Get) -> Any:
        return _taken(get(tables, name), rows)

    known: dict[object, Any] = {_BEFORE: before, COLUMNS: columns_of(tables, name)}
    if tables.known_of(name).get(_KEYED):
        known[_KEYED] = True
    return tables.with_frame(name, lambda: tables[name].take(rows), known)


def with_dates(tables: Tables, name: str, column: str, values: Int64s) -> Tables:
    """Return the tables with other dates in one column of `name`; the arrays of the other columns stay."""

    def before(get: Get) -> Any:
        return get(tables, name)

    known: dict[object, Any] = {_BEFORE: before, COLUMNS: columns_of(tables, name), ("days", column): values}
    known |= {key: span for key, span in tables.known_of(name).items() if key[0] == _SPAN and key[1] != column}
    if _KEYED in tables.known_of(name) and column not in TABLES[name].key:
        known[_KEYED] = is_keyed(tables, name)
    return tables.with_frame(name, lambda: tables[name].assign(**{column: as_dates(values)}), known)


def _taken(value: Any, rows: npt.NDArray[np.intp]) -> Any:
    return Coded(value.codes[rows], value.names) if isinstance(value, Coded) else value[rows]


def _array(array_of: Callable[..., T], tables: Tables, name: str, column: str, make: Callable[[Cells], T]) -> T:
    """Return the array that `make` gives of a column, worked out once under the name of the function `array_of`."""
    key, known = (array_of.__name__, column), tables.known_of(name)
    if key in known:
        kept: T = known[key]
        return kept
    get = partial(array_of, column=column)
    return _kept(key, tables, name, get, lambda: make(_cells(tables, name, column)))


def _kept(key: tuple[str, str], tables: Tables, name: str, get: Get, make: Callable[[], T]) -> T:
    """Return what is made once: from what `get` gives of the table that this one came from, else by `make`."""
    before = tables.known_of(name).get(_BEFORE)
    kept: T = tables.derived_of(name, key, make if before is None else partial(before, get))
    return kept


def _cells(tables: Tables, name: str, column: str) -> Cells:
    return tables.get_frame(name)[column].array


def coded(values: "pd.Series[Any]") -> Coded:
    """Return any column of text as numbers.

    Examples
    --------
    >>> coded(pd.Series(["b", "a", "b"])).codes.tolist()
    [0, 1, 0]
    """
    return _coded(values.array)


def _coded(cells: Cells) -> Coded:
    if isinstance(cells.dtype, pd.StringDtype):
        held = cells.__arrow_array__()
        if isinstance(held, pa.ChunkedArray):
            held = held.chunk(0) if held.num_chunks == 1 else held.combine_chunks()
        encoded = pc.dictionary_encode(held)
        codes = encoded.indices.fill_null(-1) if encoded.indices.null_count else encoded.indices
        return Coded(
            codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False),
            encoded.dictionary.to_numpy(zero_copy_only=False),
        )
    codes, names = pd.factorize(cells)
    return Coded(codes.astype(np.int32), np.asarray(names, dtype=object))


def _labels(dtype: pd.CategoricalDtype, cells: Cells) -> Int8s:
    if not isinstance(cells.dtype, pd.CategoricalDtype) or not cells.dtype.categories.equals(dtype.categories):
        cells = pd.Series(cells).astype(dtype).array
    return np.asarray(cells.codes, dtype=np.int8)


@cache
def _category(name: str, column: str) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(TABLES[name][column].allowed))


def _numbers(cells: Cells) -> Floats:
    if isinstance(cells, np.ndarray):
        return np.asarray(cells, dtype=np.float64)
    return np.asarray(cells.to_numpy(np.float64, na_value=np.nan))


def _flags(cells: Cells) -> Int8s:
    if not isinstance(cells, pd.arrays.BooleanArray):
        cells = pd.Series(cells).astype("boolean").array
    return np.asarray(cells.to_numpy(np.int8, na_value=-1))
