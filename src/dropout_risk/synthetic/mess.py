"""What goes wrong with real registers, put into clean tables on purpose.

The kinds follow what county offices and the register's own manuals report; the rates are assumptions. At
least one row (or school) is hit whenever there is one, so that a small county shows every kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Frames: TypeAlias = dict[str, pd.DataFrame]
Rng: TypeAlias = np.random.Generator


@dataclass(frozen=True)
class Mess:
    """One kind of mess.

    Attributes
    ----------
    rate : float
        Share that is hit.
    of : str
        Share of what.
    what : str
        What is wrong.
    make : callable
        Function of the frames, the rate and a random generator that returns the frames it changed.
    """

    rate: float
    of: str
    what: str
    make: Callable[[Frames, float, Rng], Frames]


def add_mess(frames: Frames, *, kinds: frozenset[str], seed: int) -> Frames:
    """Return the tables with mess of the chosen kinds; each kind has random numbers of its own.

    Parameters
    ----------
    frames : dict of str to DataFrame
        Clean tables; they are left as they are.
    kinds : frozenset of str
        Names in `MESS`.
    seed : int
        Same frames, kinds and seed, same mess.

    Returns
    -------
    dict of str to DataFrame
        The same tables in the same order.

    Examples
    --------
    >>> students = pd.DataFrame({"name": ["王小明", "李芳"]})
    >>> add_mess({"students": students}, kinds=frozenset({"name_dots"}), seed=3)["students"]["name"].to_list()
    ['阿明.王小', '李芳']
    """
    messy = dict(frames)
    for number, (name, mess) in enumerate(MESS.items()):
        if name in kinds:
            messy |= mess.make(messy, mess.rate, np.random.default_rng([seed, 1000, number]))
    return messy


def _choose(rng: Rng, count: int, rate: float) -> NDArray[np.int64]:
    """Return the positions of a share of `count` things, at least one of them."""
    size = min(count, max(1, round(rate * count)))
    return np.sort(rng.choice(count, size, replace=False))


def _edit(frame: pd.DataFrame, column: str, positions: Any, values: Any) -> pd.DataFrame:
    """Return `frame` with `values` at `positions` of `column`."""
    cells = frame[column].copy()
    cells.iloc[positions] = values
    return frame.assign(**{column: cells})


def _edit_text(frame: pd.DataFrame, column: str, positions: Any, edit: Callable[[str], str]) -> pd.DataFrame:
    return _edit(frame, column, positions, [edit(text) for text in frame[column].iloc[positions]])


# --- students -----------------------------------------------------------------------------------------


def _wrong_check_digit(frames: Frames, rate: float, rng: Rng) -> Frames:
    students = frames["students"]

    def spoil(number: str) -> str:
        characters = "0123456789X".replace(number[-1], "")
        return number[:-1] + characters[rng.integers(len(characters))]

    return {"students": _edit_text(students, "id_number", _choose(rng, len(students), rate), spoil)}


def _excel_id_number(frames: Frames, rate: float, rng: Rng) -> Frames:
    students = frames["students"]

    def spoil(number: str) -> str:
        return number[:15] + "000" if rng.random() < 0.5 else f"{number[0]}.{number[1:6]}E+17"

    return {"students": _edit_text(students, "id_number", _choose(rng, len(students), rate), spoil)}


def _name_dots(frames: Frames, rate: float, rng: Rng) -> Frames:
    students = frames["students"]
    dots = ("·", "•", "‧", ".", " · ", "・")

    def spoil(name: str) -> str:
        return f"阿{name[-1]}{dots[rng.integers(len(dots))]}{name[:-1]}"

    return {"students": _edit_text(students, "name", _choose(rng, len(students), rate), spoil)}


def _full_width_digits(frames: Frames, rate: float, rng: Rng) -> Frames:
    widen = str.maketrans("0123456789", "０１２３４５６７８９")
    return {
        table: _edit_text(
            frames[table], column, _choose(rng, len(frames[table]), rate), lambda text: text.translate(widen)
        )
        for table, column in (("students", "id_number"), ("enrolments", "class_id"))
    }


# --- enrolments, households, status changes -----------------------------------------------------------


def _distance_in(factor: float) -> Callable[[Frames, float, Rng], Frames]:
    def make(frames: Frames, rate: float, rng: Rng) -> Frames:
        enrolments = frames["enrolments"]
        known = np.flatnonzero(enrolments["distance_km"].notna())
        rows = known[_choose(rng, len(known), rate)]
        wrong = (enrolments["distance_km"].iloc[rows] * factor).round(1)
        return {"enrolments": _edit(enrolments, "distance_km", rows, wrong)}

    return make


def _undated_poverty(frames: Frames, rate: float, rng: Rng) -> Frames:
    households = frames["households"]
    poor = np.flatnonzero(households["poverty"] != "none")
    rows = poor[_choose(rng, len(poor), rate)]
    return {"households": _edit(households, "valid_from", rows, pd.NaT)}


def _arrival_missing(frames: Frames, rate: float, rng: Rng) -> Frames:
    changes = frames["status_changes"]
    confirmed = np.flatnonzero((changes["change"] == "transfer_out") & changes["arrival_date"].notna())
    rows = confirmed[_choose(rng, len(confirmed), rate)]
    return {"status_changes": _edit(changes, "arrival_date", rows, pd.NaT)}


def _merged_school(frames: Frames, rate: float, rng: Rng) -> Frames:
    schools, enrolments, terms = frames["schools"], frames["enrolments"], frames["terms"]
    after = ~enrolments["term"].isin(terms["term"].iloc[:1])
    for closed in schools.iloc[_choose(rng, len(schools), rate)].itertuples():
        near = schools[(schools["county_id"] == closed.county_id) & (schools["school_id"] != closed.school_id)]
        near = near[near["stage"] == closed.stage] if (near["stage"] == closed.stage).any() else near
        moved = np.flatnonzero(after & (enrolments["school_id"] == closed.school_id))
        if len(near):
            enrolments = _edit(enrolments, "school_id", moved, near["school_id"].iloc[0])
    return {"enrolments": enrolments}


# --- attendance ---------------------------------------------------------------------------------------


def _attendance_of(frames: Frames) -> tuple[str, pd.DataFrame]:
    """Return the attendance table that there is, and the school and term of each of its rows."""
    name = "attendance" if "attendance" in frames else "attendance_counts"
    rows = frames[name]
    if name == "attendance":
        terms = frames["terms"]
        index = np.searchsorted(terms["start"].to_numpy(), rows["date"].to_numpy(), side="right") - 1
        rows = pd.DataFrame({"student_id": rows["student_id"], "term": terms["term"].array.take(index)})
    place = frames["enrolments"][["student_id", "term", "school_id"]].drop_duplicates(["student_id", "term"])
    return name, rows[["student_id", "term"]].merge(place, on=["student_id", "term"], how="left")


def _constant_present(frames: Frames, rate: float, rng: Rng) -> Frames:
    name, place = _attendance_of(frames)
    schools = frames["schools"]["school_id"]
    chosen = schools.iloc[_choose(rng, len(schools), rate)]
    hit = place["school_id"].isin(chosen).to_numpy()
    rows = frames[name].copy()
    if name == "attendance":
        rows.loc[hit, "code"] = "P"
        return {name: rows}
    rows.loc[hit, "days_reported"] += rows.loc[hit, "days_not_reported"]
    empty = ["days_absent", "days_unexcused", "days_late", "days_not_reported", "longest_absence"]
    rows.loc[hit, empty] = 0.0
    return {name: rows}


def _backfilled_month(frames: Frames, rate: float, rng: Rng) -> Frames:
    name, place = _attendance_of(frames)
    rows = frames[name].copy()
    month_end = rows["recorded_at"].dt.normalize() + pd.offsets.MonthEnd(0)
    group = place.assign(month=month_end).groupby(["school_id", "month"], observed=True).ngroup()
    hit = np.isin(group, _choose(rng, group.max() + 1, rate))
    rows.loc[hit, "recorded_at"] = month_end[hit].dt.as_unit("us")
    return {name: rows}


def _wrong_calendar(frames: Frames, rate: float, rng: Rng) -> Frames:
    """Let schools take the October holiday for school days, and mark everybody absent on it."""
    schools, calendar = frames["schools"]["school_id"], frames["calendar"]
    chosen = schools.iloc[_choose(rng, len(schools), rate)]
    holiday = calendar[(calendar["date"].dt.month == 10) & (calendar["reason"] == "节假日")]
    own = [holiday.assign(school_id=school, is_school_day=True, reason=None) for school in chosen]
    changed = {"calendar": _stack([calendar, *(rows.astype(calendar.dtypes) for rows in own)])}
    if "attendance" in frames:
        _, place = _attendance_of(frames)
        rows = frames["attendance"]
        here = rows[place["school_id"].isin(chosen).to_numpy()]
        added = []
        for _, days in holiday["date"].groupby(holiday["date"].dt.year):
            eve = here[here["date"] == here["date"][here["date"] < days.min()].max()]
            added += [eve.assign(date=day, code="U", recorded_at=day).astype(rows.dtypes) for day in days]
        changed["attendance"] = _stack([rows, *added])
    return changed


# --- grades -------------------------------------------------------------------------------------------


def _other_full_mark(frames: Frames, rate: float, rng: Rng) -> Frames:
    """Let schools mark out of 150 in a term."""
    grades = frames["grades"].copy()
    place = frames["enrolments"][["student_id", "term", "school_id"]].drop_duplicates(["student_id", "term"])
    where = grades[["student_id", "term"]].merge(place, on=["student_id", "term"], how="left")
    group = where.groupby(["school_id", "term"]).ngroup().to_numpy()
    hit = np.isin(group, _choose(rng, group.max() + 1, rate))
    score, full_mark = grades["score"][hit], grades["full_mark"][hit]
    grades.loc[hit, "score"] = (score * 300 / full_mark).round() / 2
    grades.loc[hit, "full_mark"] = 150.0
    return {"grades": grades}


def _missed_exam_as_zero(frames: Frames, rate: float, rng: Rng) -> Frames:
    grades = frames["grades"]
    missed = np.flatnonzero(grades["absent"])
    return {"grades": _edit(grades, "score", missed[_choose(rng, len(missed), rate)], 0.0)}


# --- all tables ---------------------------------------------------------------------------------------


def _duplicate_rows(frames: Frames, rate: float, rng: Rng) -> Frames:
    """Repeat rows right after themselves."""
    changed: Frames = {}
    for name, frame in frames.items():
        if name not in ("schools", "terms", "calendar"):
            twice = np.concatenate([np.arange(len(frame)), _choose(rng, len(frame), rate)])
            changed[name] = frame.take(np.sort(twice)).reset_index(drop=True)
    return changed


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


# fmt: off
MESS: dict[str, Mess] = {
    "wrong_check_digit": Mess(.008, "students", "the check digit of the ID number is wrong", _wrong_check_digit),
    "excel_id_number": Mess(.005, "students", "Excel rounded the ID number to 15 digits or wrote 9.9E+17",
                            _excel_id_number),
    "name_dots": Mess(.01, "students", "names with a middle dot in one of its many forms", _name_dots),
    "full_width_digits": Mess(.01, "ID numbers and class names", "digits in full width", _full_width_digits),
    "distance_in_li": Mess(.02, "known distances", "given in 里, half a kilometre", _distance_in(2)),
    "distance_in_metres": Mess(.01, "known distances", "given in metres", _distance_in(1000)),
    "undated_poverty": Mess(.05, "household rows of poor families", "no date from which they are true",
                            _undated_poverty),
    "arrival_missing": Mess(.01, "confirmed transfers", "the arrival is not confirmed any more",
                            _arrival_missing),
    "constant_present": Mess(.04, "schools", "report everybody present every day", _constant_present),
    "backfilled_month": Mess(.05, "months of a school (terms, for counts)",
                             "attendance is written down at the end of the month", _backfilled_month),
    "wrong_calendar": Mess(.02, "schools", "the October holiday counts as school days, all pupils as absent",
                           _wrong_calendar),
    "other_full_mark": Mess(.03, "terms of a school", "exams are marked out of 150", _other_full_mark),
    "missed_exam_as_zero": Mess(.30, "missed exams", "the score is 0 instead of empty", _missed_exam_as_zero),
    "merged_school": Mess(.02, "schools", "from the second term on all pupils are in another school, with no "
                          "change of status", _merged_school),
    "duplicate_rows": Mess(.005, "rows of all tables about students", "written twice", _duplicate_rows),
}
# fmt: on
"""Every kind of mess by the name under which `make_county(mess=...)` switches it on."""
