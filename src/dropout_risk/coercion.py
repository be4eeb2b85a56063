"""Columns as people write them, read as the schema's types; what cannot be read becomes a problem.

Every distinct value of a column is read once and the result is spread over its rows, so a date that
stands in a million rows costs one look; columns that already have the schema's type pass through.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found]
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype, is_scalar
from pandas.api.types import is_string_dtype as is_text_dtype

from dropout_risk.arrays import COLUMNS, NO_DAY, ROWS, Coded, Texts, as_dates
from dropout_risk.notes import Notes
from dropout_risk.schema import DTYPES, Column, Kind, Problem, Table
from dropout_risk.words import fold, to_text
from dropout_risk.written import (
    ENTRY_YEAR,
    FIRST_DAY,
    FIRST_YEAR,
    LAST_DAY,
    LAST_YEAR,
    LONGEST_NAME,
    UnreadableError,
    are_plain,
    read_value,
    values_by_spelling,
)

# ---------------------------------------------------------------------------------------- one column

_Texts: Any = pd.arrays.ArrowStringArray  # its types leave out what it is made of
_BOOLEAN: Any = pd.BooleanDtype()  # they leave out how it reads Arrow, too
_TEXT = pd.StringDtype(na_value=np.nan)
_DAYS = np.dtype("datetime64[D]")

Typed: TypeAlias = pd.api.extensions.ExtensionArray | NDArray[Any]
"""The values of a column of a frame, without the labels of the rows."""

Cells: TypeAlias = "Typed | pa.DictionaryArray | pa.BooleanArray | pa.NullArray"
"""The values of a column as they come: of any type, or texts, yes and no, or nothing at all, as Arrow has them."""

ENCODED = pa.dictionary(pa.int32(), pa.large_string())
"""How Arrow has texts that are cells: each distinct one once."""

Faults = dict[str, NDArray[np.bool_]]
"""Kind of problem -> which rows have it."""

_FORMS: dict[Kind, str] = {
    "string": "texts",
    "integer": "numbers",
    "number": "numbers",
    "boolean": "flags",
    "date": "days",
    "category": "labels",
}
"""Kind of column -> the function of `arrays` whose form it is read in."""

_NONE: dict[Kind, np.number[Any]] = {
    "integer": np.float64(np.nan),
    "number": np.float64(np.nan),
    "boolean": np.int8(-1),
    "date": np.int64(NO_DAY),
    "category": np.int8(-1),
}
"""Kind of column -> what stands for no value in that form; texts have the number -1."""


def dtype_of(column: Column) -> Any:
    """Return the pandas dtype that `column` has after reading.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> dtype_of(TABLES["terms"]["start"])
    'datetime64[us]'
    """
    return _dtype_of_category(tuple(column.allowed)) if column.kind == "category" else DTYPES[column.kind]


@cache
def _dtype_of_category(allowed: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(allowed))


def cells_of(values: pd.Series) -> Typed:
    """Return the values of a column of a frame, without their labels.

    Examples
    --------
    >>> cells_of(pd.Series([1.0, 2.5]))
    array([1. , 2.5])
    """
    array = values.array
    if not _is_plain(values.dtype):
        return _single_values(array)
    return array.to_numpy() if isinstance(array, pd.arrays.NumpyExtensionArray) else array


def _is_plain(dtype: Any) -> bool:
    """Whether the cells of a column are single values, and pandas knows how to tell them apart."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biufmM"
    if isinstance(dtype, pd.ArrowDtype):
        return not pa.types.is_nested(dtype.pyarrow_dtype)
    return not isinstance(dtype, pd.SparseDtype | pd.PeriodDtype | pd.IntervalDtype)


def _single_values(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return values as they are, but for those that are several, such as lists: these are texts, which are refused."""
    values = list(values)
    if not set(map(type, values)) <= _SINGLE:
        values = [value if is_scalar(value) else to_text(value) for value in values]
    return np.fromiter(values, dtype=object, count=len(values))


_SINGLE = {float, int, bool, str, type(None)}
"""Kinds of values that are known to be one, which need not be looked at one by one."""


def cells_of_values(values: Sequence[Any]) -> Cells:
    """Return values as they are: those of one type as a column of that type, which is quicker to read.

    Examples
    --------
    >>> cells_of_values([88, 90.5, None]), cells_of_values([90.5, True])
    (array([88. , 90.5,  nan]), array([90.5, True], dtype=object))
    """
    first = next((value for value in values if value is not None), None)
    if first is None:
        return pa.nulls(len(values))
    try:
        if isinstance(first, str):
            return pa.array(values, ENCODED)
        cells = pa.array(values)
        if isinstance(cells, pa.Int64Array):
            cells = cells.cast(pa.float64())  # refuses what a float cannot hold, such as an ID number
        if isinstance(cells, pa.DoubleArray):
            numbers = cells.to_numpy(zero_copy_only=False)
            if not ((numbers == 0) | (numbers == 1)).any() or bool not in set(map(type, values)):
                return numbers  # Arrow takes yes for 1
        if isinstance(cells, pa.BooleanArray):
            return cells
    except (pa.ArrowException, TypeError, UnicodeError, OverflowError):
        pass
    return _single_values(values)


def as_series(cells: Cells, rows: pd.Index) -> pd.Series:
    """Return `cells` as a column of a frame; what `cells_of` returns stays as it is.

    Examples
    --------
    >>> as_series(pa.array(["b", None], ENCODED), pd.RangeIndex(2)).tolist()
    ['b', nan]
    """
    values = cells
    if isinstance(cells, np.ndarray) and cells.dtype == _DAYS:
        values = as_dates(cells.view(np.int64))
    elif isinstance(cells, pa.BooleanArray):
        values = _BOOLEAN.__from_arrow__(cells)
    elif isinstance(cells, pa.Array):
        values = _Texts(cells.cast(pa.large_string()), dtype=_TEXT)
    return pd.Series(values, index=rows, dtype=values.dtype)


def coerce_column(values: pd.Series, column: Column) -> tuple[pd.Series, Faults]:
    """Return `values` in the dtype of `column`, and which rows could not be read.

    Parameters
    ----------
    values : Series of length n
        Text, or values of any type.
    column
        What they should be.

    Returns
    -------
    Series of length n, missing where a value is missing, unreadable or out of range
    Faults
        Kind of problem -> bool array of length n.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> values, faults = coerce_column(pd.Series(["初二(3)班", "Grade 7", "3班"]), TABLES["enrolments"]["grade"])
    >>> values.tolist(), {kind: rows.tolist() for kind, rows in faults.items()}
    ([8.0, 7.0, nan], {'not_a_grade': [False, False, True]})
    """
    read = read_cells(cells_of(values), column)
    return pd.Series(_typed(read, column), index=values.index), read.faults


class Names:
    """Distinct texts that need no reading, once for all columns that have the same ones in the same order.

    The ids of students stand in most tables of a roster: what they are is found out once, and who looks for the
    students of one table in another sees at once that they are the same.

    Examples
    --------
    >>> names = Names()
    >>> one, other = (pa.array(texts, ENCODED).dictionary for texts in (["a", "b", "a"], ["a", "b"]))
    >>> names.plain(one) is names.plain(other), names.plain(pa.array([" a"], ENCODED).dictionary)
    (True, None)
    """

    def __init__(self) -> None:
        self._of_length: dict[int, list[tuple[pa.Array, Texts | None]]] = {}

    def plain(self, texts: pa.Array) -> Texts | None:
        """Return distinct texts as an array, None where one may have to be read as another."""
        alike = self._of_length.setdefault(len(texts), [])
        for known, names in alike:
            if known.equals(texts):
                return names
        names = texts.to_numpy(zero_copy_only=False)
        names = names if are_plain(names.tolist()) else None
        alike.append((texts, names))
        return names


class Read(NamedTuple):
    """A column as it was read.

    Attributes
    ----------
    values
        In the form in which `arrays` has a column of its kind.
    faults
        Which rows could not be read.
    """

    values: Any
    faults: Faults

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value, neither a good one nor one that could not be read."""
        values = self.values.codes if isinstance(self.values, Coded) else self.values
        missing: NDArray[np.bool_]
        if values.dtype == np.float64:
            missing = np.isnan(values)
        else:
            missing = values == (NO_DAY if values.dtype == np.int64 else -1)
        for wrong in self.faults.values():
            missing = missing & ~wrong
        return missing


def read_cells(cells: Cells, column: Column, names: Names | None = None) -> Read:
    """Return what the cells of a column say, and which could not be read; `names` are those of columns read before.

    Examples
    --------
    >>> from dropout_risk.schema import TABLES
    >>> read_cells(pa.array(["1970年1月3日", None, "soon"], ENCODED), TABLES["terms"]["start"]).faults
    {'not_a_date': array([False, False,  True])}
    """
    cells = as_arrow(cells)
    if isinstance(cells, pa.NullArray):
        return _missing(column, len(cells))
    read = _pass_through(cells, column, names or Names()) or _read_distinct(cells, column)
    if column.minimum is None and column.maximum is None:
        return read
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    outside = (read.values < low) | (read.values > high)
    if not outside.any():
        return read
    return Read(np.where(outside, np.nan, read.values), {**read.faults, "out_of_range": outside})


def _pass_through(cells: Cells, column: Column, names: Names) -> Read | None:
    """Return a copy of a column whose type already fits, or None where the values must be read one by one."""
    if isinstance(cells, pa.Array):
        return _pass_arrow(cells, column, names)
    dtype = cells.dtype
    if column.kind == "date" and is_datetime64_any_dtype(dtype):
        return _pass_days(cells)
    if column.kind in ("integer", "number") and is_numeric_dtype(dtype) and not is_bool_dtype(dtype):
        return _pass_numbers(cells, column)
    if column.kind == "boolean" and is_bool_dtype(dtype):
        return Read(pd.Series(cells).astype("boolean").to_numpy(np.int8, na_value=-1), {})
    if column.kind == "category" and isinstance(cells, pd.Categorical):
        if dtype is dtype_of(column):
            return Read(cells.codes.copy(), {})
        place = {value: place for place, value in enumerate(column.allowed)}
        if place.keys() >= set(cells.categories):
            places = np.array([*map(place.get, cells.categories), -1], dtype=np.int8)
            return Read(places.take(cells.codes), {})
    return None


def _pass_days(cells: Typed) -> Read:
    naive = cells if isinstance(cells.dtype, np.dtype) else pd.Series(cells).dt.tz_localize(None).to_numpy()
    days = np.asarray(naive).astype(_DAYS).view(np.int64)
    if days.min(initial=LAST_YEAR) >= FIRST_YEAR and days.max(initial=FIRST_YEAR) <= LAST_YEAR:
        return Read(days, {})
    beyond = ((days < FIRST_YEAR) | (days > LAST_YEAR)) & (days != NO_DAY)
    if beyond.any():
        return Read(np.where(beyond, NO_DAY, days), {"not_a_date": beyond})
    return Read(days, {})


def _pass_arrow(cells: pa.Array, column: Column, names: Names) -> Read | None:
    if isinstance(cells, pa.BooleanArray):
        return Read(_flags(cells), {}) if column.kind == "boolean" else None
    if column.kind == "date":
        return _plain_days(cells)
    if column.kind == "string":
        plain = names.plain(cells.dictionary)
        return None if plain is None else Read(Coded(codes_of(cells), plain), {})
    if column.kind == "category":
        return _known_words(cells, column)
    return None


def _plain_days(texts: pa.DictionaryArray) -> Read | None:
    """Return the days of a column in which all are written as 2020-09-01, None where one is not."""
    try:
        days = texts.dictionary.cast(pa.date32()).view(pa.int32()).to_numpy()
    except pa.ArrowInvalid:
        return None
    if len(days) and not FIRST_DAY <= days.min() <= days.max() <= LAST_DAY:
        return None
    days = np.append(days, NO_DAY) if texts.null_count else days.astype(np.int64)
    return Read(days.take(codes_of(texts)), {})


def _known_words(texts: pa.DictionaryArray, column: Column) -> Read | None:
    """Return the values of a category where all stand there as in the schema, None where one does not."""
    known = _places_of_words(tuple(column.allowed.items()))
    places = [known.get(word, -1) for word in texts.dictionary.to_pylist()]
    if -1 in places:
        return None
    return Read(np.array([*places, -1], dtype=np.int8).take(codes_of(texts)), {})


@cache
def _places_of_words(allowed: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, int]:
    """Return for each word of the schema the place of its value among those that are allowed."""
    values = values_by_spelling(allowed)
    place = {value: place for place, (value, _) in enumerate(allowed)}
    return {word: place[values[fold(word)]] for value, spellings in allowed for word in (value, *spellings)}


def _flags(cells: pa.BooleanArray) -> NDArray[np.int8]:
    flags: NDArray[np.int8] = (
        cells.cast(pa.int8()).fill_null(-1).to_numpy()
        if cells.null_count
        else cells.to_numpy(zero_copy_only=False).view(np.int8)
    )
    return flags


def _pass_numbers(cells: Typed, column: Column) -> Read:
    numbers = cells if isinstance(cells, np.ndarray) else pd.Series(cells).to_numpy(dtype="float64", na_value=np.nan)
    numbers = numbers.astype("float64")
    faults = {"not_a_number": np.isinf(numbers)}
    if column.kind == "integer":
        faults["not_an_integer"] = (np.floor(numbers) != numbers) & ~np.isnan(numbers)
    faults = {kind: wrong for kind, wrong in faults.items() if wrong.any()}
    for wrong in faults.values():
        numbers[wrong] = np.nan
    return Read(numbers, faults)


def as_arrow(cells: Cells) -> Cells:
    """Return texts as Arrow has them, each distinct one once, and all else as it is."""
    if not isinstance(cells, _Texts):
        return cells
    chunks = pa.chunked_array(cells.__arrow_array__())
    return (chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()).dictionary_encode()


def codes_of(texts: pa.DictionaryArray) -> NDArray[np.int32]:
    """Return for each text its place in the dictionary, -1 where there is none.

    Examples
    --------
    >>> codes_of(pa.array(["b", None, "a", "b"], ENCODED)).tolist()
    [0, -1, 1, 0]
    """
    codes: NDArray[np.int32] = (texts.indices.fill_null(-1) if texts.null_count else texts.indices).to_numpy()
    return codes


def _distinct(cells: Cells) -> tuple[NDArray[Any], NDArray[np.object_]]:
    """Return for each row the place of its value among the distinct ones, -1 where it has none, and these."""
    if isinstance(cells, pa.Array):
        encoded = cells.dictionary_encode()
        return codes_of(encoded), encoded.dictionary.to_numpy(zero_copy_only=False)
    values = pd.Series(cells, dtype=cells.dtype)
    if values.dtype == object:  # lists and the like cannot be hashed
        values = values.map(to_text, na_action="ignore")
    codes, distinct = pd.factorize(values)
    return codes.astype(np.int32), np.array([*distinct, None], dtype=object)[:-1]


def _read_distinct(cells: Cells, column: Column) -> Read:
    codes, values = _distinct(cells)
    results: list[Any] = []
    kinds: list[str] = []
    for value in values:
        try:
            results.append(read_value(value if isinstance(value, str) else to_text(value), column))
            kinds.append("")
        except UnreadableError as error:
            results.append(None)
            kinds.append(str(error))
    kind_of = np.array([*kinds, ""])
    faults = {kind: np.isin(codes, np.flatnonzero(kind_of == kind)) for kind in sorted({*kinds} - {""})}
    return Read(_spread(results, codes, column), faults)


def _spread(results: Sequence[Any], codes: NDArray[Any], column: Column) -> Any:
    """Return for each row what was read: a missing value has code -1, which is the None put last."""
    results = [*results, None]
    if column.kind == "string":
        place = {text: place for place, text in enumerate(dict.fromkeys(text for text in results if text is not None))}
        names = np.array([*place, None], dtype=object)[:-1]
        return Coded(np.array([place.get(text, -1) for text in results], dtype=np.int32).take(codes), names)
    if column.kind == "category":
        place = {value: place for place, value in enumerate(column.allowed)}
        return np.array([place.get(result, -1) for result in results], dtype=np.int8).take(codes)
    none = _NONE[column.kind]
    return np.array([none if result is None else result for result in results], dtype=none.dtype).take(codes)


def _missing(column: Column, length: int) -> Read:
    if column.kind == "string":
        return Read(Coded(np.full(length, -1, dtype=np.int32), np.empty(0, dtype=object)), {})
    return Read(np.full(length, _NONE[column.kind]), {})


def _typed(read: Read, column: Column) -> Typed:
    """Return a column that was read as a frame holds it."""
    if column.kind == "string":
        return _text(read.values)
    if column.kind == "date":
        return as_dates(read.values)
    if column.kind == "boolean":
        return pd.arrays.BooleanArray(read.values == 1, read.values < 0)
    if column.kind == "category":
        return pd.Categorical.from_codes(read.values, dtype=dtype_of(column), validate=False)
    values: Typed = read.values
    return values


def _text(coded: Coded) -> Typed:
    texts = pa.array(coded.names, pa.large_string()).take(pa.array(coded.codes, mask=coded.codes < 0))
    made: Typed = _Texts(texts, dtype=_TEXT)
    return made


# ---------------------------------------------------------------------------------------- one table


def coerce_table(
    table: Table,
    sent: Mapping[str, Cells],
    rows: pd.Index,
    notes: Notes,
    *,
    schools: "Made | None" = None,
    names: Names | None = None,
) -> "Made":
    """Return a table with exactly the columns and dtypes of `table`, and what could not be read.

    Parameters
    ----------
    table
        What the columns should be.
    sent
        Columns named as in the schema, values of any type.
    rows
        The labels of the rows.
    notes
        Writes the problems down.
    schools : Made or None
        The table of schools: with their stages a year of entry (2019级) can be read as a grade.
    names : Names or None
        Those of tables that were read before.

    Examples
    --------
    >>> from dropout_risk.schema import TERMS, Tables
    >>> sent = {"term": np.array(["2020-1"]), "start": np.array(["2020年9月1日"]), "end": np.array([44211])}
    >>> made = coerce_table(TERMS, sent, pd.RangeIndex(1), Notes("terms", Tables({})))
    >>> made.frame().astype(str).to_dict("records"), made.problems
    ([{'term': '2020-1', 'start': '2020-09-01', 'end': '2021-01-15'}], [])
    """
    reads: list[Read | _Later] = []
    problems: list[Problem] = []
    names = names or Names()
    for column in table.columns:
        if column.name not in sent:
            reads.append(_missing(column, len(rows)))
            if column.required:
                kind = "no_term" if column.name == "term" and table.name != "terms" else "missing_column"
                problems.append(notes.whole(kind, column=column.name, name=column.name, zh=column.zh))
            continue
        cells = sent[column.name]
        if column.name == "name" and column.role == "identity":
            # No text is a wrong one, and hardly anybody asks for it.
            reads.append(partial(read_cells, cells, column))
            continue
        if column.name == "grade":
            cells = _grades_from_entry_years(cells, sent, rows, schools)
        read = read_cells(cells, column, names)
        reads.append(read)
        if read.faults:
            problems += _fault_problems(as_series(cells, rows), read.faults, column=column, notes=notes)
        if column.required and (missing := read.missing).any():
            problems += notes.each("missing_value", list(rows[missing]), column=column.name)
    known: dict[Any, Any] = {
        (_FORMS[column.kind], column.name): read.values
        for column, read in zip(table.columns, reads, strict=True)
        if isinstance(read, Read)
    }
    known |= {ROWS: rows, COLUMNS: frozenset(table.names)}
    return Made(partial(_frame, table, reads, rows), known, problems)


class Made(NamedTuple):
    """A table that was read: what makes its frame, what is known of its columns already, and what is wrong with it."""

    frame: Callable[[], pd.DataFrame]
    known: dict[Any, Any]
    problems: list[Problem]


_Later: TypeAlias = Callable[[], Read]
"""Reads a column when it is asked for."""


def _frame(table: Table, reads: Sequence[Read | _Later], rows: pd.Index) -> pd.DataFrame:
    """Return the frame of a table, of blocks that pandas holds as they are: to make its own takes ten times as long."""
    alike: dict[np.dtype[Any], list[tuple[int, Typed]]] = {}
    blocks: list[tuple[Typed, NDArray[np.intp]]] = []
    for place, (column, read) in enumerate(zip(table.columns, reads, strict=True)):
        values = _typed(read if isinstance(read, Read) else read(), column)
        if isinstance(values, np.ndarray):
            alike.setdefault(values.dtype, []).append((place, values))
        else:
            blocks.append((values, np.array([place])))
    for placed in alike.values():
        blocks.append((np.array([values for _, values in placed]), np.array([place for place, _ in placed])))
    frame: pd.DataFrame = create_dataframe_from_blocks(blocks, rows, _labels(tuple(table.names)).view())
    return frame


@cache
def _labels(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def _fault_problems(raw: pd.Series, faults: Faults, *, column: Column, notes: Notes) -> list[Problem]:
    problems: list[Problem] = []
    details: dict[str, Any] = {
        "minimum": column.minimum or 0,
        "maximum": column.maximum or 0,
        "longest": LONGEST_NAME,
        "allowed": ", ".join(column.allowed),
        "allowed_zh": "、".join(spellings[0] if spellings else value for value, spellings in column.allowed.items()),
    }  # fmt: skip
    can_be_empty = {"out_of_range": not column.required, "too_long": column.role == "label"}
    for kind, wrong in faults.items():
        write = notes.grouped if can_be_empty.get(kind, False) else notes.each
        for header, cells in notes.by_header(raw[wrong], column.name).items():
            problems += write(kind, list(cells.index), column=header, values=list(cells), **details)
    return problems


def _grades_from_entry_years(cells: Cells, sent: Mapping[str, Cells], rows: pd.Index, schools: "Made | None") -> Cells:
    """Replace 2019级(2)班 by the grade, where the term and the stage of the school say which it is."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "biufM":
        return cells
    if not isinstance(cells, pa.Array) and cells.dtype != object and not is_text_dtype(cells.dtype):
        return cells
    if "term" not in sent or not any(ENTRY_YEAR.search(fold(str(value))) for value in _distinct(as_arrow(cells))[1]):
        return cells
    grades = as_series(cells, rows)
    parts = _texts_of(grades).map(fold, na_action="ignore").astype("str").str.extract(ENTRY_YEAR)
    found = parts["year"].notna()
    terms = _texts_of(as_series(sent["term"], rows)[found])
    years = terms.str.extract(r"(20\d\d)")[0].astype("float64") - parts.loc[found, "year"].astype("float64") + 1
    base = parts.loc[found, "stage"].map({"小": 0, "初": 6})
    if schools is not None and "school_id" in sent:
        stages = schools.frame().drop_duplicates("school_id").set_index("school_id")["stage"]
        by_school = stages.map({"primary": 0, "teaching_point": 0, "junior": 6}).astype("float64")
        base = base.fillna(_texts_of(as_series(sent["school_id"], rows)[found]).str.strip().map(by_school))
    base = base.mask(base.isna() & years.between(4, 6), 0)  # nobody is in the fourth year of junior school
    read = (years + base).dropna()
    return cells_of(grades.astype("object").where(~grades.index.isin(read.index), read.reindex(grades.index)))


def _texts_of(values: pd.Series) -> pd.Series:
    return values.astype("object").map(to_text, na_action="ignore").astype("str")
