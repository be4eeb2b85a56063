"""Attendance as registers keep it, one line a student: a first day, and one letter for each day from it on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dropout_risk.coercion import Cells, as_series, coerce_column
from dropout_risk.errors import TableError
from dropout_risk.schema import TABLES

LONGEST_LINE = 400
"""Letters of one line: more days than any school year has."""

MAX_DAYS = 20_000_000
"""Letters of all lines of one register, those that make lines of one length included."""

_NO_RECORD = " .-_\N{IDEOGRAPHIC SPACE}"


def days_of_lines(lines: Mapping[str, Cells], rows: pd.Index) -> tuple[dict[str, Cells], pd.Index, int]:
    """Return lines of an attendance register as one row a day.

    Parameters
    ----------
    lines
        Columns ``date`` (the first day) and ``code`` (one letter a day, school day or not; a blank, a point or a
        stroke where there is no record), and any others, which are said of every day.
    rows
        The labels of the lines.

    Returns
    -------
    dict of columns
        ``date`` and ``code``, and the others. A line that cannot be read stays one row, with what stands there; one
        without any record gives none.
    Index
        The label of each day: ``line * labels a line + place``.
    int
        How many labels a line has.

    Raises
    ------
    TableError
        If they are too many.

    Examples
    --------
    >>> lines = {"student_id": pa.array(["a", "b"]), "date": np.array(["2020-09-01"] * 2), "code": ["PA.P", "U"]}
    >>> days, rows, per_line = days_of_lines(lines, pd.RangeIndex(2))
    >>> days["student_id"].to_pylist(), days["date"].astype("M8[D]").astype(str).tolist(), list(days["code"])
    (['a', 'a', 'a', 'b'], ['2020-09-01', '2020-09-02', '2020-09-04', '2020-09-01'], ['P', 'A', 'P', 'U'])
    >>> list(rows), per_line
    ([0, 1, 3, 4], 4)
    """
    codes = _objects(lines["code"])
    readable = np.array([isinstance(text, str) and 0 < len(text) <= LONGEST_LINE for text in codes], dtype=bool)
    first = _first_days(lines["date"])
    readable &= ~np.isnat(first)
    per_line = max(map(len, codes[readable]), default=1)
    if per_line * len(rows) > MAX_DAYS:
        raise TableError(f"attendance: the register has more than {MAX_DAYS:,} days; send fewer students at a time.")
    letters = sorted({"", *"".join(codes[readable])})
    points = np.array([ord(letter or "\0") for letter in letters], dtype=np.uint32)
    place_of = np.zeros((len(rows), per_line), dtype=np.int32)
    place_of[readable] = np.searchsorted(points, _points(codes[readable], per_line))
    told = np.array([letter not in _NO_RECORD for letter in letters], dtype=bool)[place_of]  # "" is in any text
    told[~readable, 0] = True
    line, day = np.nonzero(told)
    days = {name: _repeated(cells, line) for name, cells in lines.items() if name not in ("date", "code")}
    date: Cells = (first[line] + day).astype("datetime64[us]")
    code: Cells = _categories(letters, place_of[told])
    if not readable.all():
        odd = ~readable[line]
        date = np.where(odd, _objects(lines["date"])[line], _objects(date))
        code = np.where(odd, codes[line], _objects(code))
    days |= {"date": date, "code": code}
    return days, pd.Index(rows.to_numpy()[line] * per_line + day), per_line


def _repeated(cells: Cells, line: npt.NDArray[np.int64]) -> Cells:
    """Return the value of each line for each of its days; texts as numbers, which are not compared again."""
    if not (isinstance(cells, pa.Array) and pa.types.is_large_string(cells.type)):
        return cells.take(line)
    encoded = cells.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(pa.array(line)), encoded.dictionary)


def _objects(cells: Cells) -> npt.NDArray[np.object_]:
    return cells.to_numpy(zero_copy_only=False) if isinstance(cells, pa.Array) else np.asarray(cells, dtype=object)


def _first_days(cells: Cells) -> npt.NDArray[np.datetime64]:
    read, _ = coerce_column(as_series(cells, pd.RangeIndex(len(cells))), TABLES["attendance"]["date"])
    return read.to_numpy("datetime64[D]")


def _categories(letters: Sequence[str], places: npt.NDArray[np.int32]) -> Cells:
    """Return the letters at `places`, as the schema's own category where all can be read: it passes as it is."""
    read, faults = coerce_column(pd.Series(letters, dtype="str"), TABLES["attendance"]["code"])
    if faults:
        return pd.Categorical.from_codes(places.tolist(), pd.Index(letters))
    category: Any = read.array  # its places are small numbers already: nobody has to look how small
    return category.from_codes(category.codes[places], dtype=read.dtype, validate=False)


def lines_of_days(days: pd.DataFrame) -> pd.DataFrame:
    """Return an attendance table as lines that `days_of_lines` spreads into the same records.

    Parameters
    ----------
    days : DataFrame
        The canonical table ``attendance``, with a student, a date and a code in every row.

    Returns
    -------
    DataFrame
        Columns ``student_id, date, codes, recorded_at``: a line for each student, and further ones for records that
        were made on another day, stand there twice or lie more than a year apart. `recorded_at` is empty where records
        were made on their own day.

    Examples
    --------
    >>> dates = pd.to_datetime(["2020-09-01", "2020-09-03"])
    >>> days = pd.DataFrame({"student_id": "a", "date": dates, "code": ["P", "U"], "recorded_at": pd.NaT})
    >>> lines_of_days(days)[["student_id", "codes"]].values.tolist()
    [['a', 'P.U']]
    """
    student, students = pd.factorize(days["student_id"])
    day = days["date"].to_numpy("datetime64[D]").view(np.int64)
    late = days["recorded_at"].mask(days["recorded_at"] == days["date"])
    keys = pd.DataFrame({"student": student, "recorded_at": late, "year": day // LONGEST_LINE})
    twice = keys.assign(day=day).groupby([*keys, "day"], dropna=False).cumcount()
    line = keys.assign(twice=twice).groupby([*keys, "twice"], dropna=False, sort=False).ngroup().to_numpy()
    first = pd.Series(day).groupby(line).min().to_numpy()
    letters = np.full((len(first), int((day - first[line]).max(initial=-1)) + 1), _NO_RECORD[1], dtype="U1")
    letters[line, day - first[line]] = days["code"].to_numpy(dtype="U1")
    start = pd.Series(line).drop_duplicates().sort_values().index
    return pd.DataFrame(
        {
            "student_id": students[student[start]],
            "date": first.view("datetime64[D]").astype("datetime64[us]"),
            "codes": ["".join(row).rstrip(_NO_RECORD[1]) for row in letters],
            "recorded_at": late.to_numpy()[start],
        }
    )


def _points(codes: npt.NDArray[np.object_], width: int) -> npt.NDArray[np.uint32]:
    """Return the letters as numbers, (n, width), 0 behind the end of a text."""
    return codes.astype(f"U{width}").view(np.uint32).reshape(len(codes), width)
