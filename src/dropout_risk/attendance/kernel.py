"""The compiled functions: find the student of each record, put records into the matrix, measure its rows.

The matrix lies day by day, shape (d, n): records come ordered by date or by student, and in both orders those
that follow each other then fall into neighbouring bytes. A cell holds ``recorded << 4 | code``, where `recorded`
counts days from 1 (0: no record), so that the largest of all records is the one made last and, of those made on
one day, the one of the heaviest code, whatever the order in which they arrive.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dropout_risk.attendance.codes import (
    ABSENT,
    CLOSED,
    CODE,
    CODES,
    LATE,
    MEASURES,
    NOT_REPORTED,
    RECENT_DAYS,
    UNEXCUSED,
)
from dropout_risk.jit import compiled

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

STRANGER, NO_ID = -1, -2
"""Rows of a record whose student is not asked for, and of one without an id."""

NO_DAY = np.iinfo(np.int32).min
BAD = 0x80
"""Mark of a code that is none of `CODES`."""

USED, UNREADABLE, WITHOUT_ID, WITHOUT_DATE, UNKNOWN, OUTSIDE, LATER = range(7)
"""Places of the counts of `scatter`."""

FIRST_REPORTED, FIRST_ABSENT, TRUANT = CLOSED + 1, ABSENT[0], UNEXCUSED[0]
FIRST_LATE, LAST_LATE = LATE[0], LATE[-1]
STIR, SHIFT, HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(29), np.uint64(32)

# Comparisons stand in for look-ups below: what counts alike has to lie side by side in CODES.
if (NOT_REPORTED, CLOSED) != (0, 1) or [*LATE, *ABSENT] != list(range(FIRST_LATE, len(CODES))) or ABSENT[-1] != TRUANT:
    raise AssertionError("attendance.kernel counts on another order of attendance.CODES")


class Keys(NamedTuple):
    """Ids as the bytes of an Arrow column: id `k` is ``text[starts[k]:starts[k + 1]]``.

    ``words[i]`` is the eight bytes of `text` from `i` on as one number: it lets eight bytes be compared at once.
    """

    words: Words
    text: Bytes
    starts: Int32s


class Window(NamedTuple):
    """Which records count, and where: days are numbers since 1970, rows those of the block that is being read."""

    start: int
    end: int
    as_of: int
    base: int  # recorded on this day or before: 1
    first: int
    last: int
    column: Int32s  # of each day from `start` to `end`; -1 where no school is open


@compiled
def hash_of(keys: Keys, k: int) -> np.uint64:
    """Return a hash of id `k` of which all bits are good."""
    first, last = keys.starts[k], keys.starts[k + 1]
    value = np.uint64(last - first) * STIR
    if last - first < 8:
        for i in range(first, last):
            value = (value ^ np.uint64(keys.text[i])) * STIR
            value ^= value >> SHIFT
        return value ^ (value >> HALF)
    for i in range(first, last - 8, 8):
        value = (value ^ keys.words[i]) * STIR
        value ^= value >> SHIFT
    value = (value ^ keys.words[last - 8]) * STIR
    value ^= value >> SHIFT
    mixed: np.uint64 = value * STIR
    mixed ^= mixed >> HALF
    return mixed


@compiled
def is_same(one: Keys, k: int, other: Keys, j: int) -> bool:
    """Return whether two ids are the same, byte for byte."""
    a, b = one.starts[k], other.starts[j]
    length = one.starts[k + 1] - a
    if other.starts[j + 1] - b != length:
        return False
    same = True
    if length < 8:
        for i in range(length):
            same &= one.text[a + i] == other.text[b + i]
        return bool(same)
    same &= one.words[a + length - 8] == other.words[b + length - 8]
    for i in range(0, length - 8, 8):
        same &= one.words[a + i] == other.words[b + i]
    return bool(same)


@compiled
def index_keys(known: Keys, slots: Int64s) -> int:
    """Fill the hash table `slots` (a power of two of -1) with the rows of `known`; return a repeated row, or -1.

    A slot holds 31 bits of the hash beside the row, so that a search reads the bytes of hardly any other id.
    """
    mask = len(slots) - 1
    for row in range(len(known.starts) - 1):
        value = hash_of(known, row)
        mark = np.int64(value >> np.uint64(33)) << 32
        at = np.int64(value & np.uint64(mask))
        while slots[at] >= 0:
            if is_same(known, row, known, slots[at] & 0x7FFFFFFF):
                return row
            at = (at + 1) & mask
        slots[at] = mark | row
    return -1


@compiled
def look_up(ids: Keys, k: int, known: Keys, slots: Int64s) -> int:
    """Return the row of `known` that holds id `k`, or STRANGER."""
    mask = len(slots) - 1
    value = hash_of(ids, k)
    mark = np.int64(value >> np.uint64(33))
    at = np.int64(value & np.uint64(mask))
    while slots[at] >= 0:
        row: int = slots[at] & 0x7FFFFFFF
        if slots[at] >> 32 == mark and is_same(ids, k, known, row):
            return row
        at = (at + 1) & mask
    return STRANGER


@compiled
def find_rows(ids: Keys, known: Keys, slots: Int64s, row: Int32s) -> None:
    """Write into `row` which row of `known` each id is.

    Files are ordered by student or by date; so the row of the record before, or the next one, is tried first.
    """
    last, step, n = -1, 1, len(known.starts) - 1
    for k in range(len(row)):
        guess = last + step
        if 0 <= guess < n and is_same(ids, k, known, guess):
            row[k] = last = guess
            continue
        guess = last + 1 - step
        if 0 <= guess < n and is_same(ids, k, known, guess):
            step = 1 - step
            row[k] = last = guess
            continue
        row[k] = look_up(ids, k, known, slots)
        if row[k] >= 0:
            last = row[k]


@compiled
def scatter(
    cells: Cells,
    row: Int32s,
    day: Int32s,
    recorded: Int32s,
    code: Int32s,
    number: Bytes,
    window: Window,
    counts: Int64s,
) -> None:
    """Put records into the matrix and count what became of them.

    `recorded` is empty where nothing says when a record was made: on its day. ``number[code[k]]`` is the code's
    place in `CODES`; a code that cannot be read counts as not reported.
    """
    dated = len(recorded) > 0
    for k in range(len(row)):
        if row[k] == NO_ID:
            counts[WITHOUT_ID] += 1
            continue
        when = day[k]
        if when < window.start or when > window.end:
            counts[WITHOUT_DATE if when == NO_DAY else OUTSIDE] += 1
            continue
        if row[k] < 0:
            counts[UNKNOWN] += 1
            continue
        column = window.column[when - window.start]
        if dated and recorded[k] != NO_DAY:
            when = recorded[k]
        if when > window.as_of:
            counts[LATER] += 1
            continue
        own = number[code[k]]
        counts[UNREADABLE if own & BAD else USED] += 1
        if column < 0 or row[k] < window.first or row[k] >= window.last:
            continue
        cell = (max(when - window.base, 0) + 1) << 4 | (own & CODE)
        if cell > cells[column, row[k] - window.first]:
            cells[column, row[k] - window.first] = cell


@compiled
def mark_reported(cells: Cells, school: Int32s, is_open: Bytes) -> None:
    """Mark in `is_open`, shape (d, schools), the days of which a school has any record that does not say closed."""
    for day in range(cells.shape[0]):
        for r in range(cells.shape[1]):
            if cells[day, r] > 0 and cells[day, r] & CODE != CLOSED:
                is_open[day, school[r]] = 1


@compiled
def measure(cells: Cells, is_open: Bytes, school: Int32s, on_edge: Bytes, measures: Floats) -> None:
    """Write the measures of each column of `cells` into `measures`, shape (8, n).

    `is_open` has shape (d, schools), or (d, 1) where all schools have the same days.
    """
    for r in range(cells.shape[1]):
        own = school[r] if is_open.shape[1] > 1 else 0
        measure_student(cells[:, r], is_open[:, own], on_edge, measures[:, r])


@compiled
def measure_student(cells: Cells, is_open: Bytes, on_edge: Bytes, measures: Floats) -> None:
    """Write the measures of one student, in the order of `MEASURES`.

    Days are gone through from the last to the first, since the recent ones are counted from the end; a longest run
    is as long backwards. All counts stay in the processor: neighbours in `cells` are in its cache when they come up.
    """
    days, reported, absent, truant, late, known, recent = 0, 0, 0, 0, 0, 0, 0
    longest, now, run, edge, edge_absent, lasts = 0, 0, 0, 0, 0, 1
    for day in range(len(cells) - 1, -1, -1):
        code = cells[day] & CODE
        if not is_open[day] or code == CLOSED:
            continue
        days += 1
        is_reported, is_absent = int(code >= FIRST_REPORTED), int(code >= FIRST_ABSENT)
        is_recent, is_present = int(days <= RECENT_DAYS), is_reported - is_absent
        reported += is_reported
        absent += is_absent
        truant += int(code == TRUANT)
        late += int(FIRST_LATE <= code <= LAST_LATE)
        known += is_reported & is_recent
        recent += is_absent & is_recent
        run = (run + is_absent) * (1 - is_present)
        longest = max(longest, run)
        lasts &= 1 - is_present
        now += is_absent & lasts
        edge += is_reported & on_edge[day]
        edge_absent += is_absent & on_edge[day]
    measures[0] = share(absent, reported)
    measures[1] = share(truant, reported)
    measures[2] = share(late, reported)
    measures[3] = recent if known > 0 else np.nan
    measures[4] = longest if reported > 0 else np.nan
    measures[5] = now if reported > 0 else np.nan
    measures[6] = share(edge_absent, edge) - share(absent - edge_absent, reported - edge)
    measures[7] = 1.0 - share(reported, days)


@compiled
def share(part: int, whole: int) -> float:
    """Return the quotient, NaN where there is nothing to share."""
    return part / whole if whole > 0 else np.nan


@compiled
def count_runs(hit: Bytes, carry: Bytes, longest: Int32s, current: Int32s) -> None:
    """Write the longest and the last run of each column; days of `carry` neither lengthen nor break a run."""
    for day in range(hit.shape[0]):
        for r in range(hit.shape[1]):
            if hit[day, r]:
                current[r] += 1
                longest[r] = max(longest[r], current[r])
            elif not carry[day, r]:
                current[r] = 0


if len(MEASURES) != 8:
    raise AssertionError("attendance.kernel writes eight measures")
