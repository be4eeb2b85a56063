"""What was known on a given day: terms, the cut at an as-of date, and the students at risk on it.

This is the only module that decides what may be seen. It cuts before any join: a fact passes when it
had happened *and* had been recorded by the as-of date (`recorded_at`, the knowledge date, rules).
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.arrays import (
    NO_DAY,
    Coded,
    Int32s,
    Int64s,
    Texts,
    as_dates,
    as_day,
    as_days,
    as_text,
    at_places,
    coded,
    day_number,
    days,
    first_rows,
    flags,
    is_keyed,
    labels,
    matched,
    numbers,
    places,
    repeated_keys,
    row_labels,
    same_names,
    span_of_days,
    spread,
    take_rows,
    texts,
    with_dates,
)
from dropout_risk.errors import SettingsError, TableError
from dropout_risk.schema import TABLES, Tables

FINAL_GRADE = 9
"""The last grade of compulsory education."""

EXITS = ("dropout", "transfer_out", "suspended", "graduated", "died", "emigrated")
"""Status changes that end a student's presence."""

_CHANGES = tuple(TABLES["status_changes"]["change"].allowed)
_IS_EXIT = np.array([*(change in EXITS for change in _CHANGES), False])  # the last, at -1, stands for no change

_CLOSED = list(TABLES["attendance"]["code"].allowed).index("X")

_LAST_DAY = int(np.iinfo(np.int64).max)


def to_day(value: str | date | pd.Timestamp) -> pd.Timestamp:
    """Return a day given as text, date or timestamp.

    Raises
    ------
    SettingsError
        If `value` is not a day.

    Examples
    --------
    >>> to_day("2020-01-17")
    Timestamp('2020-01-17 00:00:00')
    """
    try:
        day = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{value!r} is not a date; write it as 2020-01-17.") from error
    if pd.isna(day):
        raise SettingsError(f"{value!r} is not a date; write it as 2020-01-17.")
    return day.tz_localize(None).normalize()


@dataclass(frozen=True)
class Terms:
    """The terms of a county in the order of time.

    Attributes
    ----------
    names : list of str
    starts, ends : DatetimeIndex, first and last day of each term

    Examples
    --------
    >>> starts, ends = ["2019-09-01", "2020-02-20"], ["2020-01-17", "2020-07-10"]
    >>> frame = pd.DataFrame({"term": ["2020-1", "2020-2"], "start": starts, "end": ends})
    >>> terms = Terms.of(Tables({"terms": frame}))
    >>> terms.at("2020-02-01"), terms.after("2020-1", 1), terms.ends_school_year("2020-2")
    ('2020-1', ['2020-2'], True)
    """

    names: list[str]
    starts: pd.DatetimeIndex
    ends: pd.DatetimeIndex

    @classmethod
    def of(cls, tables: Tables) -> "Terms":
        """Read the terms of `tables`."""
        return tables.derived_of("terms", "in order", lambda: cls._read(tables))

    @classmethod
    def _read(cls, tables: Tables) -> "Terms":
        term, start, end = texts(tables, "terms", "term"), days(tables, "terms", "start"), days(tables, "terms", "end")
        rows = np.flatnonzero((term.codes >= 0) & (start != NO_DAY) & (end != NO_DAY))
        if not len(rows):
            raise TableError("The table terms has no usable row; give each term its name, start and end.")
        rows = rows[np.argsort(start[rows], kind="stable")]
        names = list(term.names[term.codes[rows]])
        return cls(names, pd.DatetimeIndex(as_dates(start[rows])), pd.DatetimeIndex(as_dates(end[rows])))

    def at(self, as_of: str | date | pd.Timestamp) -> str:
        """Return the term that is running on `as_of`, or the last one before it."""
        position = bisect_right(self._starts, to_day(as_of)) - 1
        if position < 0:
            raise SettingsError(
                f"The as-of date {to_day(as_of).date()} lies before the first term, which starts on "
                f"{self.starts[0].date()}; choose a later date."
            )
        return self.names[position]

    def start(self, term: str) -> pd.Timestamp:
        """Return the first day of `term`."""
        return self._starts[self.names.index(term)]

    def end(self, term: str) -> pd.Timestamp:
        """Return the last day of `term`."""
        return self._ends[self.names.index(term)]

    @cached_property
    def _starts(self) -> list[pd.Timestamp]:
        return list(self.starts)

    @cached_property
    def _ends(self) -> list[pd.Timestamp]:
        return list(self.ends)

    def after(self, term: str, count: int) -> list[str]:
        """Return up to `count` terms that follow `term`."""
        position = self.names.index(term) + 1
        return self.names[position : position + count]

    def before(self, term: str) -> list[str]:
        """Return all terms before `term`, the nearest last."""
        return self.names[: self.names.index(term)]

    def ends_school_year(self, term: str) -> bool:
        """Return whether the summer holiday, and with it the change of grade, follows `term`."""
        return bool(5 <= self.end(term).month <= 8)


def event_dates(tables: Tables, name: str) -> pd.Series:
    """Return when each fact of table `name` happened: its own date, else the start or end of its term.

    Returns
    -------
    Series of datetimes, index as the table's; NaT where nothing is known.
    """
    return pd.Series(as_dates(_event_days(tables, name)), tables[name].index)


def _event_days(tables: Tables, name: str) -> Int64s:
    table = TABLES[name]
    if table.event is None:
        return np.full(len(row_labels(tables, name)), NO_DAY)
    happened = days(tables, name, table.event)
    unknown = happened == NO_DAY
    if not table.event_fallback or not unknown.any():
        return happened
    terms, term = Terms.of(tables), texts(tables, name, "term")
    bounds = terms.starts if table.event_fallback == "term_start" else terms.ends
    of_term = np.append(as_days(bounds), NO_DAY)[places(term.names, terms.names)]
    return np.where(unknown, spread(term, of_term, NO_DAY), happened)


def cut(tables: Tables, as_of: str | date | pd.Timestamp) -> Tables:
    """Return what was known on `as_of`: facts that had happened and had been recorded by that day.

    Of several records with one key the one recorded last wins; a date that was still to come
    (the end of a poverty status, the confirmation of an arrival) is blanked out.

    Parameters
    ----------
    tables
        The canonical tables.
    as_of
        The last day that may be known, included.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> tables = make_county(200, terms=2, seed=1)
    >>> early = cut(tables, "2019-10-01")
    >>> bool((early["attendance"]["date"] <= "2019-10-01").all())
    True

    Notes
    -----
    A missing `recorded_at` counts as recorded on the day of the event. Terms, schools, birth dates and
    planned school days carry no date of knowledge and pass. A row that is edited in place (a `valid_to`
    filled in later) shows the edit from its day on: hand in corrections as rows with their own date.
    """
    day = day_number(to_day(as_of))
    known = tables
    for name in tables:
        if TABLES[name].has_recorded_at:  # the other tables do not change with time
            known = _known(known, name, day)
    # A status holds on its last day: an end on the day itself is still to come.
    known = _blank_after(known, "households", "valid_to", day - 1)
    return _blank_after(known, "status_changes", "arrival_date", day)


def _known(tables: Tables, name: str, day: int) -> Tables:
    """Return the tables with those rows of `name` that were known on a day, and when each became known."""
    happened, recorded = _event_days(tables, name), days(tables, name, "recorded_at")
    first, last = span_of_days(tables, name, "recorded_at")
    if first == NO_DAY:  # the smallest of all days: what has no day passes
        recorded = happened if last == NO_DAY else np.where(recorded == NO_DAY, happened, recorded)
        tables = with_dates(tables, name, "recorded_at", recorded)
    if max(recorded.max(initial=NO_DAY), happened.max(initial=NO_DAY)) > day:
        tables = take_rows(tables, name, np.flatnonzero((recorded <= day) & (happened <= day)))
    return _without_rivals(tables, name)


def _without_rivals(tables: Tables, name: str) -> Tables:
    if is_keyed(tables, name):
        return tables
    repeated = repeated_keys(tables, name)
    frame = tables[name]
    rivals = frame[repeated].set_axis(np.flatnonzero(repeated))
    lost = np.setdiff1d(rivals.index, latest_records(rivals, TABLES[name].key).index)
    return take_rows(tables, name, np.delete(np.arange(len(frame)), lost))


def attendance_between(tables: Tables, start: pd.Timestamp, end: pd.Timestamp) -> Tables:
    """Return `tables` with the daily attendance of these days only, to spare what follows the long past."""
    if "attendance" not in tables:
        return tables
    day, (first, last) = days(tables, "attendance", "date"), span_of_days(tables, "attendance", "date")
    if first >= day_number(start) and last <= day_number(end):
        return tables
    return take_rows(tables, "attendance", np.flatnonzero((day >= day_number(start)) & (day <= day_number(end))))


def latest(tables: Tables) -> Tables:
    """Return all tables with corrections carried out: of records with one key the one recorded last."""
    for name in tables:
        if TABLES[name].has_recorded_at:
            tables = _known(tables, name, _LAST_DAY)
    return tables


def latest_records(frame: pd.DataFrame, key: tuple[str, ...]) -> pd.DataFrame:
    """Return one row for each `key`: the one recorded last, whatever the order of the rows."""
    repeated = frame.duplicated(list(key), keep=False)
    if not repeated.any():
        return frame
    rivals = frame[repeated]
    order = ["recorded_at", *(c for c in frame.columns if c != "recorded_at")]
    winners = rivals.sort_values(order, na_position="first").drop_duplicates(list(key), keep="last")
    return frame[~repeated | frame.index.isin(winners.index)]


def _blank_after(tables: Tables, name: str, column: str, day: int) -> Tables:
    if name not in tables:
        return tables
    given = days(tables, name, column)
    later = given > day
    return with_dates(tables, name, column, np.where(later, NO_DAY, given)) if later.any() else tables


def roll(tables: Tables, as_of: str | date | pd.Timestamp) -> pd.DataFrame:
    """Return every student on roll in the term of `as_of`, with the reason why one is not at risk.

    Parameters
    ----------
    tables
        The canonical tables; they are cut at `as_of` here.

    Returns
    -------
    DataFrame indexed by student_id: the facts of the enrolment, `county_id`, and `not_at_risk`: missing
    for a student at risk, else ``graduating`` (nothing follows in compulsory school) or the status change
    that ended the presence. A transfer without a confirmed arrival does not end it: that is the classic
    hiding place of a dropout.
    """
    day = to_day(as_of)
    return tables.derived(("roll", day), lambda: _roll(tables, day))


def _roll(tables: Tables, day: pd.Timestamp) -> pd.DataFrame:
    here = on_roll(tables, day)
    enrolments = cut(tables.only("terms", "enrolments"), day).get_frame("enrolments")
    return (
        enrolments.take(here.rows)
        .set_index("student_id")
        .assign(county_id=as_text(here.county), not_at_risk=as_text(here.cause))
    )


@dataclass(frozen=True, eq=False)
class OnRoll:
    """The students of `roll` as arrays, for what is done on every request.

    Attributes
    ----------
    rows, labels : int64 arrays (n,)
        The row of each one's enrolment among those known on the day, and its index label.
    ids : object array (n,)
    school, county, school_class : Coded
    grade : float64 array (n,)
    cause : Coded
        Why a student is not at risk; -1 for those who are.
    """

    rows: Int64s
    labels: Int64s
    ids: Texts
    school: Coded
    county: Coded
    school_class: Coded
    grade: npt.NDArray[np.float64]
    cause: Coded

    def places_of(self, students: Iterable[str]) -> Int32s:
        """Return the place of each of `students` on the roll, -1 for anybody else."""
        return np.fromiter(map(self._place.get, students, repeat(-1)), dtype=np.int32)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {student: place for place, student in enumerate(self.ids.tolist())}


def on_roll(tables: Tables, day: pd.Timestamp, *, known: Tables | None = None) -> OnRoll:
    """Return every student on roll in the term of `day`; order and first arguments are those of `roll`.

    Parameters
    ----------
    known
        The tables as cut on `day`, where they are at hand.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> tables, day = make_county(200, terms=2, seed=1), pd.Timestamp("2020-01-17")
    >>> on_roll(tables, day).ids.tolist() == roll(tables, day).index.tolist()
    True
    """

    def read() -> OnRoll:
        seen = cut(tables.only("terms", "schools", "enrolments", "status_changes"), day) if known is None else known
        return _read_roll(seen, day)

    return tables.derived(("on roll", day), read)


def _read_roll(known: Tables, day: pd.Timestamp) -> OnRoll:
    rows, cause = _on_roll(known, day)
    student, school = texts(known, "enrolments", "student_id"), texts(known, "enrolments", "school_id")
    county, school_class = counties_enrolled(known), texts(known, "enrolments", "class_id")
    return OnRoll(
        rows=rows,
        labels=row_labels(known, "enrolments").to_numpy()[rows],
        ids=student.names[student.codes[rows]],
        school=Coded(school.codes[rows], school.names),
        county=Coded(county.codes[rows], county.names),
        school_class=Coded(school_class.codes[rows], school_class.names),
        grade=numbers(known, "enrolments", "grade")[rows],
        cause=cause,
    )


def counties_enrolled(tables: Tables) -> Coded:
    """Return the county of each row of the enrolments, -1 where it is not known."""
    schools, county = texts(tables, "schools", "school_id"), texts(tables, "schools", "county_id")
    of_school = at_places(county.codes, first_rows(schools), -1)
    return Coded(at_places(of_school, matched(texts(tables, "enrolments", "school_id"), schools), -1), county.names)


def _on_roll(known: Tables, day: pd.Timestamp) -> tuple[Int64s, Coded]:
    """Return the rows of the enrolments in the term of `day`, by student, and why one is not at risk."""
    terms = Terms.of(known)
    running = terms.at(day)
    student, rows = texts(known, "enrolments", "student_id"), rows_in_term(known, "enrolments", running)
    rows = rows[np.argsort(_rank_of(student)[student.codes[rows]], kind="stable")]
    last = _last_changes(known, Coded(student.codes[rows], student.names))
    ended = at_places(days(known, "status_changes", "date"), last, NO_DAY)
    change = at_places(labels(known, "status_changes", "change"), last, -1)
    arrival = at_places(days(known, "status_changes", "arrival_date"), last, NO_DAY)
    begun = _event_days(known, "enrolments")[rows]
    gone = _IS_EXIT[change] & (ended != NO_DAY) & (begun != NO_DAY) & (ended >= begun)
    gone &= ~((change == _CHANGES.index("transfer_out")) & (arrival == NO_DAY))
    cause = np.where(gone, change, -1)
    if terms.ends_school_year(running):
        cause = np.where(~gone & (numbers(known, "enrolments", "grade")[rows] >= FINAL_GRADE), len(_CHANGES), cause)
    return rows, Coded(cause.astype(np.int32), np.array([*_CHANGES, "graduating"], dtype=object))


def _rank_of(ids: Coded) -> Int64s:
    """Return the rank of each name in the order of the texts, and at the end that of a missing one, the last."""
    names = ids.names.tolist()
    rank = np.full(len(names) + 1, len(names))
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return rank


def _last_changes(known: Tables, students: Coded) -> Int64s:
    """Return the row of the last status change of each of `students`, -1 without any."""
    day, change = days(known, "status_changes", "date"), labels(known, "status_changes", "change")
    comes = ~_IS_EXIT[change]  # of one day, an exit comes before an arrival
    order = np.lexsort((np.where(change < 0, len(_CHANGES), change), comes, np.where(day == NO_DAY, _LAST_DAY, day)))
    student = matched(texts(known, "status_changes", "student_id"), students)[order]
    last = np.full(len(students.names) + 1, -1)
    last[student] = order  # of several the last one stays
    last[-1] = -1
    return last[students.codes]


@dataclass(frozen=True, eq=False)
class Students:
    """Some students, each there once: what is done on every request needs no frame of them.

    Attributes
    ----------
    ids : object array (n,)
    school : Coded, the school of each
    listed : Coded
        `ids` by their numbers in the table from which they come, whose names other tables share as a rule.
    """

    ids: Texts
    school: Coded
    listed: Coded

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Students":
        """Return the students of a frame indexed by student_id with the column `school_id`.

        Raises
        ------
        TableError
            If a student stands twice.
        """
        if not frame.index.is_unique:
            twice = frame.index[frame.index.duplicated()][0]
            raise TableError(f"student_id {twice} stands twice among the students; keep one row for each.")
        return cls.without_table(frame.index.to_numpy(dtype=object), coded(frame["school_id"]))

    @classmethod
    def without_table(cls, ids: Texts, school: Coded) -> "Students":
        """Return students who come from no table."""
        return cls(ids, school, Coded(np.arange(len(ids), dtype=np.int32), ids))

    @classmethod
    def enrolled(cls, tables: Tables, rows: Int64s) -> "Students":
        """Return the students of some rows of the enrolments."""
        student, school = texts(tables, "enrolments", "student_id"), texts(tables, "enrolments", "school_id")
        listed = Coded(student.codes[rows], student.names)
        return cls(student.names[listed.codes], Coded(school.codes[rows], school.names), listed)

    def rows_of(self, ids: Coded) -> Int32s:
        """Return the place of each of `ids` among the students, -1 for anybody else."""
        if same_names(ids, self.listed):
            return spread(ids, self._place)
        return spread(ids, at_places(self._place, places(ids.names, self.listed.names), -1))

    @cached_property
    def _place(self) -> Int32s:
        """Return the place of each name of `listed` among the students."""
        place = np.full(len(self.listed.names), -1, dtype=np.int32)
        place[self.listed.codes] = np.arange(len(self.ids))
        return place


def rows_at_risk(known: Tables, day: pd.Timestamp) -> Int64s:
    """Return the rows of the enrolments of `at_risk`, by student; `known` is cut already."""
    rows, cause = _on_roll(known, day)
    return rows[cause.codes < 0]


def rows_in_term(tables: Tables, name: str, term: str) -> Int64s:
    """Return the rows of a table that are of this term."""
    of_row = texts(tables, name, "term")
    names = of_row.names.tolist()
    return np.flatnonzero(of_row.codes == names.index(term)) if term in names else np.zeros(0, dtype=np.int64)


def county_of_schools(tables: Tables) -> pd.Series:
    """Return the county of each school, indexed by school_id."""
    return tables.get_frame("schools").drop_duplicates("school_id").set_index("school_id")["county_id"]


def in_order(changes: pd.DataFrame) -> pd.DataFrame:
    """Return status changes in the order of time; of one day, an exit comes before an arrival."""
    comes = ~changes["change"].isin(EXITS)
    return changes.assign(comes=comes).sort_values(["date", "comes", "change"]).drop(columns="comes")


def at_risk(tables: Tables, as_of: str | date | pd.Timestamp) -> pd.DataFrame:
    """Return the students who can leave school after `as_of`: the rows of `roll` without a `not_at_risk`."""
    rows = roll(tables, as_of)
    return rows[rows["not_at_risk"].isna()].drop(columns="not_at_risk")


def is_among(ids: pd.Series, students: pd.Index) -> npt.NDArray[np.bool_]:
    """Return which of `ids` are in `students`, each there once (`isin` reads texts one by one: nine times slower)."""
    return np.asarray(students.get_indexer(pd.Index(ids)) >= 0)


def term_ends(tables: Tables) -> list[pd.Timestamp]:
    """Return the ends of all terms in which students are enrolled, in the order of time.

    These are the default as-of dates: one cohort a term, so that outcome windows do not overlap.
    """
    terms = Terms.of(tables)
    used = set(tables.get_frame("enrolments")["term"].dropna())
    return [terms.end(name) for name in terms.names if name in used]


def school_days(
    tables: Tables, schools: pd.Series, *, start: pd.Timestamp, end: pd.Timestamp
) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Return the days from `start` to `end` and which of them are school days for each row of `schools`.

    Parameters
    ----------
    tables
        Tables already cut. A school's own calendar rows win over the county's (empty `school_id`);
        without any calendar the days with attendance of the school are its school days.
    schools
        school_id of each student, length n.

    Returns
    -------
    days : DatetimeIndex of length d
    is_school_day : bool array (n, d)
    """
    place = coded(schools)
    is_open = open_days(tables, place.names, start=day_number(start), end=day_number(end))
    closed = np.zeros((1, is_open.shape[1]), dtype=bool)
    return pd.date_range(start, end, freq="D", unit="us"), np.concatenate([is_open, closed])[place.codes]


def open_days(tables: Tables, schools: Texts, *, start: int, end: int) -> npt.NDArray[np.bool_]:
    """Return which of the days from `start` to `end`, as numbers since 1970, are school days of each school, (m, d).

    The rules are those of `school_days`.
    """
    is_open = np.zeros((len(schools), max(end - start + 1, 0)), dtype=bool)
    school, at = texts(tables, "calendar", "school_id"), days(tables, "calendar", "date") - start
    row = spread(school, places(school.names, schools))
    for_all = spread(school, school.names == "", True).astype(bool)
    inside = (at >= 0) & (at < is_open.shape[1])
    planned = flags(tables, "calendar", "is_school_day") > 0
    everywhere, here = inside & for_all, inside & ~for_all & (row >= 0)
    is_open[:, at[everywhere]] = planned[everywhere]
    is_open[row[here], at[here]] = planned[here]
    if not everywhere.any():
        unplanned = np.setdiff1d(np.arange(len(schools)), row[here])
        if len(unplanned):
            is_open[unplanned] = _reported_days(tables, schools[unplanned], start=start, end=end)
    return is_open


def _reported_days(tables: Tables, schools: Texts, *, start: int, end: int) -> npt.NDArray[np.bool_]:
    """Return the days on which anybody of each school has a record that does not say closed."""
    is_open = np.zeros((len(schools), max(end - start + 1, 0)), dtype=bool)
    at = days(tables, "attendance", "date") - start
    inside = (at >= 0) & (at < is_open.shape[1]) & (labels(tables, "attendance", "code") != _CLOSED)
    if not inside.any():
        return is_open
    running = rows_in_term(tables, "enrolments", Terms.of(tables).at(as_day(start)))
    student, school = texts(tables, "enrolments", "student_id"), texts(tables, "enrolments", "school_id")
    first = first_rows(Coded(student.codes[running], student.names))
    row = spread(school, places(school.names, schools))[running]
    of_student = at_places(row, first, -1)
    of_record = at_places(of_student, matched(texts(tables, "attendance", "student_id"), student), -1)
    here = inside & (of_record >= 0)
    is_open[of_record[here], at[here]] = True
    return is_open
