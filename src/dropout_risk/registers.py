"""What schools keep with one line a student, as one row a fact, and back.

A line of an attendance register has a first day, and one letter for each day from it on; a line of a mark sheet has an
exam, and one mark for each subject.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dropout_risk.arrays import NO_DAY
from dropout_risk.coercion import ENCODED, Cells, Read, as_arrow, cells_of_values, codes_of, dtype_of, read_cells
from dropout_risk.errors import TableError
from dropout_risk.schema import MISSED_EXAM, TABLES
from dropout_risk.words import fold

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
    >>> lines = {"student_id": np.array(["a", "b"]), "date": np.array(["2020-09-01"] * 2), "code": ["PA.P", "U"]}
    >>> days, rows, per_line = days_of_lines(lines, pd.RangeIndex(2))
    >>> days["student_id"].tolist(), days["date"].astype("M8[D]").astype(str).tolist(), list(days["code"])
    (['a', 'a', 'a', 'b'], ['2020-09-01', '2020-09-02', '2020-09-04', '2020-09-01'], ['P', 'A', 'P', 'U'])
    >>> list(rows), per_line
    ([0, 1, 3, 4], 4)
    """
    texts, readable = _texts(lines["code"])
    first = read_cells(lines["date"], TABLES["attendance"]["date"]).values
    readable &= first != NO_DAY
    if not readable.all():
        texts = pc.if_else(pa.array(readable), texts, _ONE_RECORD)
    points, bounds = _points(texts)
    starts = bounds[:-1]
    per_line = max(int((bounds[1:] - starts).max(initial=0)), 1)
    if per_line * len(rows) > MAX_DAYS:
        raise TableError(f"attendance: the register has more than {MAX_DAYS:,} days; send fewer students at a time.")
    places = _places_of_letters(points).take(points)
    told = np.flatnonzero(places != _NOTHING)
    over_days = partial(np.repeat, repeats=np.diff(np.searchsorted(told, bounds)))
    days = {name: _spread(cells, over_days) for name, cells in lines.items() if name not in ("date", "code")}
    date: Cells = (told + over_days(first - starts)).view("datetime64[D]")
    code: Cells = _letters(points.take(told)) if places.min(initial=0) == _NO_CODE else _codes(places.take(told))
    if not readable.all():
        odd = over_days(~readable)
        date = np.where(odd, over_days(_objects(lines["date"])), _objects(date))
        code = np.where(odd, over_days(_objects(lines["code"])), _objects(code))
    days |= {"date": date, "code": code}
    return days, pd.Index(told + over_days(rows.to_numpy() * per_line - starts), copy=False), per_line


_SEVERAL = "[{"
"""How a list and an object of JSON begin as a text: its letters are no days."""

_ONE_RECORD = "N"
"""Stands for a line that cannot be read, which is one row."""


def _texts(cells: Cells) -> tuple[pa.LargeStringArray, npt.NDArray[np.bool_]]:
    """Return the cells as texts, and which of them are such as a line may be."""
    texts = as_arrow(cells)
    if not isinstance(texts, pa.DictionaryArray):
        values = [_whole(value) if isinstance(value, str) else None for value in _objects(cells)]
        texts = pa.array(values, ENCODED)
    lengths = pc.utf8_length(texts.dictionary).to_numpy()
    may_be_line = (lengths > 0) & (lengths <= LONGEST_LINE)
    for start in _SEVERAL:
        may_be_line &= ~pc.starts_with(texts.dictionary, start).to_numpy(zero_copy_only=False)
    return texts.dictionary_decode(), np.append(may_be_line, False).take(codes_of(texts))


def _whole(text: str) -> str:
    """Return a text without halves of letters, which Arrow does not hold."""
    return text.encode("utf-8", "ignore").decode("utf-8")


def _points(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int64]]:
    """Return the letters of all texts, one after another, as numbers, and the bounds between the texts."""
    if not len(texts):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    _, bounds, letters = texts.buffers()
    starts = np.frombuffer(bounds, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    points = np.frombuffer(letters or b"", np.uint8)[starts[0] : starts[-1]]
    if points.max(initial=0) < _BEYOND_ASCII:
        return points, starts - starts[0]
    wide = np.frombuffer("".join(texts.to_pylist()).encode("utf-32-le"), np.uint32)
    return wide, np.append(0, np.cumsum(pc.utf8_length(texts).to_numpy()))


_BEYOND_ASCII = 128
"""The first letter that Arrow, as UTF-8, writes in more than a byte."""


def _spread(cells: Cells, over: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Cells:
    """Return the value of each line for each of its facts; texts as numbers, which are not compared again.

    `over` does this for any array.
    """
    if not isinstance(cells, pa.DictionaryArray):
        return cells.take(over(np.arange(len(cells))))
    codes = over(codes_of(cells))
    own = pa.array(codes, mask=codes < 0 if cells.null_count else None)
    return pa.DictionaryArray.from_arrays(own, cells.dictionary, safe=False)


def _objects(cells: Cells) -> npt.NDArray[np.object_]:
    return cells.to_numpy(zero_copy_only=False) if isinstance(cells, pa.Array) else np.asarray(cells, dtype=object)


_NOTHING, _NO_CODE = -2, -3
"""Stand for a place among the codes: of a letter where there is no record, and of one that is no code."""


def _places_of_letters(points: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int8]:
    """Return for each letter, up to the last of those that stand there, its place among the schema's codes."""
    return _places_of_ascii() if points.dtype == np.uint8 else _read_letters(np.flatnonzero(np.bincount(points)))


@cache
def _places_of_ascii() -> npt.NDArray[np.int8]:
    return _read_letters(np.arange(_BEYOND_ASCII))


def _read_letters(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    read = read_cells(pa.array([chr(point) for point in points], ENCODED), TABLES["attendance"]["code"])
    places = np.full(int(points.max()) + 1, _NO_CODE, dtype=np.int8)
    places[points] = read.values
    for wrong in read.faults.values():
        places[points[wrong]] = _NO_CODE
    places[[point for point in map(ord, _NO_RECORD) if point < len(places)]] = _NOTHING
    return places


def _codes(places: npt.NDArray[np.int8]) -> Cells:
    """Return codes as the schema's own category, which passes as it is."""
    return pd.Categorical.from_codes(places, dtype=dtype_of(TABLES["attendance"]["code"]), validate=False)


def _letters(points: npt.NDArray[np.integer[Any]]) -> Cells:
    """Return letters as they stand there."""
    counts = np.bincount(points)
    letters = [chr(point) for point in np.flatnonzero(counts)]
    place = np.cumsum(counts > 0) - 1
    return pd.Categorical.from_codes(place.take(points), dtype=pd.CategoricalDtype(letters), validate=False)


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
        were made on another day, stand there twice or lie more than `LONGEST_LINE` days after the first. `recorded_at`
        is empty where records were made on their own day.

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
    keys = pd.DataFrame({"student": student, "recorded_at": late})
    first_of_all = keys.assign(day=day).groupby([*keys], dropna=False)["day"].transform("min").to_numpy(np.int64)
    keys["stretch"] = (day - first_of_all) // LONGEST_LINE  # counted from each student's own first day
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


def marks_of_lines(
    lines: Mapping[str, Cells], subjects: Sequence[str], rows: pd.Index
) -> tuple[dict[str, Cells], pd.Index, int]:
    """Return the lines of a mark sheet as one row a mark.

    Parameters
    ----------
    lines
        Columns of marks under the names of the subjects (a word such as 缺考 where the student missed the exam, nothing
        where there is no mark), and any others, which are said of every mark.
    subjects
        Which of the columns are subjects.
    rows
        The labels of the lines.

    Returns
    -------
    dict of columns
        ``subject``, ``score`` and ``absent``, and the others. A mark that cannot be read is there as it stands.
    Index
        The label of each mark: ``line * subjects + place``.
    int
        How many labels a line has.

    Examples
    --------
    >>> lines = {"student_id": np.array(["a", "b"]), "语文": np.array([88.5, np.nan]), "数学": np.array([70, "缺考"])}
    >>> marks, rows, _ = marks_of_lines(lines, ["语文", "数学"], pd.RangeIndex(2))
    >>> marks["subject"].to_pylist(), marks["score"].tolist(), marks["absent"].to_pylist(), list(rows)
    (['语文', '数学', '数学'], [88.5, 70.0, nan], [False, False, True], [0, 1, 3])
    """
    sheet = [_marks_under(lines[subject]) for subject in subjects]
    place_of = np.flatnonzero(np.column_stack([own.told for own in sheet]))
    line, place = np.divmod(place_of, len(subjects))

    def over_marks(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.take(line)

    def told(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.column_stack(columns).ravel().take(place_of)

    score: Cells = told([own.read.values for own in sheet])
    if any(own.read.faults for own in sheet):
        score = np.where(
            told([own.odd for own in sheet]), told([_objects(own.cells) for own in sheet]), _objects(score)
        )
    missed = told([own.missed for own in sheet])
    absent: Cells = pa.array(missed)
    if "absent" in lines:
        absent = np.where(missed, np.array(True, dtype=object), _objects(lines["absent"])[line])
    marks = {name: _spread(own, over_marks) for name, own in lines.items() if name not in subjects}
    subject = pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), pa.array(subjects, pa.large_string()))
    marks |= {"subject": subject, "score": score, "absent": absent}
    return marks, pd.Index(rows.to_numpy().take(line) * len(subjects) + place, copy=False), len(subjects)


class _Marks(NamedTuple):
    """The marks of one subject, one for each line."""

    cells: Cells
    read: Read
    missed: npt.NDArray[np.bool_]

    @property
    def told(self) -> npt.NDArray[np.bool_]:
        """Where anything stands."""
        return ~self.read.missing | self.missed

    @property
    def odd(self) -> npt.NDArray[np.bool_]:
        """Where something stands that is no mark."""
        odd = np.zeros(len(self.missed), dtype=bool)
        for wrong in self.read.faults.values():
            odd |= wrong
        return odd


def _marks_under(cells: "Cells | list[Any]") -> _Marks:
    """Return the marks of a subject, the words that stand for none taken out."""
    missed = np.zeros(len(cells), dtype=bool)
    if isinstance(cells, list) or not (isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf"):
        values = list(cells) if isinstance(cells, list) else _objects(cells).tolist()
        words = {at: value for at, value in enumerate(values) if type(value) is not float and isinstance(value, str)}
        none = {word for word in set(words.values()) if fold(word) in _MISSED}
        for at, word in words.items():
            if word in none:
                missed[at], values[at] = True, None
        cells = cells_of_values(values) if none or isinstance(cells, list) else cells
    return _Marks(cells, read_cells(cells, TABLES["grades"]["score"]), missed)


_MISSED = frozenset(map(fold, MISSED_EXAM))


def lines_of_marks(marks: pd.DataFrame) -> pd.DataFrame:
    """Return a table of grades as lines of a mark sheet that `marks_of_lines` spreads into the same rows.

    Parameters
    ----------
    marks : DataFrame
        The canonical table ``grades``; every row has a subject, and a score if and only if it is not `absent`.

    Returns
    -------
    DataFrame
        A line for each student and exam, and further ones where anything else differs or a mark stands there twice.

    Examples
    --------
    >>> marks = pd.DataFrame({"student_id": "a", "subject": ["语文", "数学"], "score": [88.5, None]})
    >>> lines_of_marks(marks.assign(absent=[False, True])).to_dict("records")
    [{'student_id': 'a', '语文': 88.5, '数学': '缺考'}]
    """
    shared = [name for name in marks if name not in ("subject", "score", "absent")]
    place, subjects = pd.factorize(marks["subject"])
    keys = marks[shared].assign(_place=place)
    twice = keys.groupby(list(keys), dropna=False, observed=True).cumcount()
    keys = marks[shared].assign(_twice=twice)
    line = keys.groupby(list(keys), dropna=False, observed=True, sort=False).ngroup().to_numpy()
    first = np.unique(line, return_index=True)[1]
    lines = marks[shared].iloc[first].reset_index(drop=True)
    score = marks["score"].astype(object).mask(marks["absent"].astype(bool), MISSED_EXAM[0]).to_numpy()
    for at, subject in enumerate(subjects):
        column = np.full(len(lines), None, dtype=object)
        column[line[place == at]] = score[place == at]
        lines[subject] = pd.Series(column).infer_objects()
    return lines
