"""Attendance as registers keep it, one line a student: a first day, and one letter for each day from it on."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.coercion import coerce_column
from dropout_risk.errors import TableError
from dropout_risk.schema import TABLES

LONGEST_LINE = 400
"""Letters of one line: more days than any school year has."""

MAX_DAYS = 20_000_000
"""Letters of all lines of one register, those that make lines of one length included."""

_NO_RECORD = " .-_\N{IDEOGRAPHIC SPACE}"


def days_of_lines(lines: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return lines of an attendance register as one row a day.

    Parameters
    ----------
    lines : DataFrame
        Columns ``date`` (the first day) and ``code`` (one letter a day, school day or not; a blank, a point or a
        stroke where there is no record), and any others, which are said of every day.

    Returns
    -------
    DataFrame
        Columns ``date`` and ``code``, and the others; the index label of a day is ``line * labels a line + place``.
        A line that cannot be read stays one row, with what stands there; one without any record gives none.
    int
        How many labels a line has.

    Raises
    ------
    TableError
        If they are too many.

    Examples
    --------
    >>> lines = pd.DataFrame({"student_id": ["a", "b"], "date": "2020-09-01", "code": ["PA.P", "U"]})
    >>> days, per_line = days_of_lines(lines)
    >>> days.astype({"date": "str", "code": "str"}).to_dict("list"), list(days.index), per_line
    ({'student_id': ['a', 'a', 'a', 'b'], 'date': ['2020-09-01', '2020-09-02', '2020-09-04', '2020-09-01'], \
'code': ['P', 'A', 'P', 'U']}, [0, 1, 3, 4], 4)
    """
    codes = lines["code"].to_numpy(dtype=object)
    readable = np.array([isinstance(text, str) and 0 < len(text) <= LONGEST_LINE for text in codes], dtype=bool)
    starts, faults = coerce_column(lines["date"], TABLES["attendance"]["date"])
    readable &= starts.notna().to_numpy()
    per_line = max(map(len, codes[readable]), default=1)
    if per_line * len(lines) > MAX_DAYS:
        raise TableError(f"attendance: the register has more than {MAX_DAYS:,} days; send fewer students at a time.")
    letters = sorted({"", *"".join(codes[readable])})
    points = np.array([ord(letter or "\0") for letter in letters], dtype=np.uint32)
    place_of = np.zeros((len(lines), per_line), dtype=np.int32)
    place_of[readable] = np.searchsorted(points, _points(codes[readable], per_line))
    told = ~np.isin(letters, ["", *_NO_RECORD])[place_of]
    told[~readable, 0] = True
    line, day = np.nonzero(told)
    first = starts.to_numpy("datetime64[D]")
    date = pd.Series((first[line] + day).astype("datetime64[us]"))
    code = pd.Series(pd.Categorical.from_codes(place_of[told], pd.Index(letters)))
    if not readable.all():
        date = date.astype(object).where(readable[line], lines["date"].to_numpy(dtype=object)[line])
        code = code.astype(object).where(readable[line], codes[line])
    days = lines.drop(columns=["date", "code"]).take(line)
    days.index = pd.Index(lines.index.to_numpy()[line] * per_line + day)
    return days.assign(date=date.array, code=code.array), per_line


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
