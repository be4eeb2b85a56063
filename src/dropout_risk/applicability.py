"""When a model has nothing to say about a student: better no number than one that means nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dropout_risk.arrays import NO_DAY, Int32s, at_places, day_number, days, span_of_days, texts
from dropout_risk.asof import Terms, on_roll
from dropout_risk.errors import SettingsError
from dropout_risk.schema import Tables


@dataclass(frozen=True)
class Limits:
    """What has to be known of a student for a score.

    Attributes
    ----------
    min_coverage
        Share of the features that are recorded.
    max_attendance_age_days
        How old the newest attendance record of the student's school may be on the as-of date.
    grades
        The grades that the model has learned from; None: not known, any will do.
    """

    min_coverage: float = 0.3
    max_attendance_age_days: int = 60
    grades: Collection[int] | None = None


@dataclass(frozen=True)
class Withheld:
    """Why a student gets no score: the column that it is about, what stands there, and a sentence in each language."""

    column: str | None
    value: str | None
    zh: str
    en: str


LONGEST_HOLIDAY_DAYS = 100
"""Days after the end of a term from which a day belongs to another one, which the table lacks."""


def check_day(tables: Tables, day: pd.Timestamp, *, today: pd.Timestamp, learned_from: str | None = None) -> None:
    """Refuse an as-of date on which a score means nothing.

    Parameters
    ----------
    tables
        The usable tables.
    day
        The as-of date.
    today
        The last day that can be known.
    learned_from
        First day of the first term that the model has learned from; None: not known.

    Raises
    ------
    SettingsError
        If the day is still to come, before the terms that the model knows, or in no term of the table.

    Examples
    --------
    >>> terms = pd.DataFrame({"term": ["2020-1"], "start": ["2020-09-01"], "end": ["2021-01-15"]})
    >>> tables = Tables({"terms": terms.astype({"start": "datetime64[us]", "end": "datetime64[us]"})})
    >>> check_day(tables, pd.Timestamp("2021-09-01"), today=pd.Timestamp("2022-01-01"))
    Traceback (most recent call last):
    dropout_risk.errors.SettingsError: The as-of date 2021-09-01 is in no term: the last one before it, 2020-1, ended
    on 2021-01-15. Add the term of that day to the table terms, or choose an earlier date.
    """
    if day > today:
        raise SettingsError(
            f"The as-of date {day.date()} is still to come, and nothing is known of it; choose today or an earlier day."
        )
    if learned_from is not None and day < pd.Timestamp(learned_from):
        raise SettingsError(
            f"The as-of date {day.date()} lies before the data that the model has learned from, which starts on "
            f"{learned_from}; choose a later date, or a model of that time."
        )
    terms = Terms.of(tables)
    term = terms.at(day)
    if (day - terms.end(term)).days > LONGEST_HOLIDAY_DAYS:
        raise SettingsError(
            f"The as-of date {day.date()} is in no term: the last one before it, {term}, ended on "
            f"{terms.end(term).date()}. Add the term of that day to the table terms, or choose an earlier date."
        )


def withheld(tables: Tables, X: pd.DataFrame, day: pd.Timestamp, limits: Limits) -> dict[str, Withheld]:
    """Return the students of `X` who get no score, each with the reason; the first that holds counts.

    Parameters
    ----------
    tables
        The usable tables.
    X
        Features, one row per student at risk, indexed by student.
    day
        The as-of date.
    limits
        What has to be known.

    Examples
    --------
    >>> from dropout_risk.features import build_features
    >>> from dropout_risk.synthetic import make_county
    >>> tables, day = make_county(100, terms=2, seed=1), pd.Timestamp("2020-01-17")
    >>> X = build_features(tables, day)
    >>> len(withheld(tables, X, day, Limits())), len(withheld(tables, X, day, Limits(grades=()))) == len(X)
    (0, True)
    """
    found: dict[str, Withheld] = {}
    students, values = X.index.tolist(), X.to_numpy(np.float64)
    if limits.grades is not None:
        grade = values[:, X.columns.get_loc("grade")]
        for row in np.flatnonzero(~np.isin(grade, list(limits.grades))):
            found[str(students[row])] = _unsupported_grade(grade[row], sorted(limits.grades))
    for student, last in _stale(tables, students, day, limits.max_attendance_age_days).items():
        found.setdefault(str(student), _stale_attendance(last, day))
    known = (~np.isnan(values)).mean(axis=1)
    for row in np.flatnonzero(known < limits.min_coverage):
        found.setdefault(str(students[row]), _too_little(known[row], limits.min_coverage))
    return found


def _stale(tables: Tables, students: Sequence[str], day: pd.Timestamp, max_days: int) -> dict[str, pd.Timestamp]:
    """Return the newest day of attendance of the student's school where it is too long ago."""
    present, date, today = (
        texts(tables, "attendance", "student_id"),
        days(tables, "attendance", "date"),
        day_number(day),
    )
    here = on_roll(tables, day)
    school_of_name = at_places(here.school.codes, here.places_of(present.names.tolist()), -1)
    if _all_told_lately(tables, school_of_name, len(here.school.names), today, max_days):
        return {}
    newest = np.full(len(present.names) + 1, NO_DAY)
    np.maximum.at(newest, present.codes, np.where(date <= today, date, NO_DAY))
    last = np.full(len(here.school.names) + 1, NO_DAY)
    np.maximum.at(last, school_of_name, newest[:-1])
    last[-1] = NO_DAY  # of who is not on roll
    own = last[at_places(here.school.codes, here.places_of(students), -1)]
    stale = (own != NO_DAY) & (today - own > max_days)
    return {students[row]: pd.Timestamp(int(own[row]), unit="D") for row in np.flatnonzero(stale).tolist()}


def _all_told_lately(tables: Tables, school_of_name: Int32s, schools: int, today: int, max_days: int) -> bool:
    """Return whether each school has a record of the last day that is told of, and that day is not too long ago."""
    last = span_of_days(tables, "attendance", "date")[1]
    if not today - max_days <= last <= today:
        return False
    told = texts(tables, "attendance", "student_id").codes[days(tables, "attendance", "date") == last]
    lately = np.zeros(schools + 1, dtype=bool)  # the last, at -1, is no known school
    lately[at_places(school_of_name, told, -1)] = True
    return bool(lately[:-1].all())


def _unsupported_grade(grade: float, grades: Collection[int]) -> Withheld:
    told = ", ".join(map(str, grades))
    shown = "-" if pd.isna(grade) else f"{grade:.0f}"
    return Withheld(
        "grade",
        shown,
        f"模型没有学过{shown}年级（学过：{told}），不评分；请由人判断。",
        f"the model has not learned grade {shown} (it has: {told}), so there is no score; a person judges.",
    )


def _stale_attendance(last: pd.Timestamp, day: pd.Timestamp) -> Withheld:
    days = (day - last).days
    return Withheld(
        "date",
        str(last.date()),
        f"该校考勤只到{last.date()}，比评分日期早{days}天，不评分；请补充考勤。",
        f"the attendance of this school ends on {last.date()}, {days} days before the as-of date, so there is no "
        "score; send newer attendance.",
    )


def _too_little(share: float, least: float) -> Withheld:
    return Withheld(
        None,
        None,
        f"只有{share:.0%}的特征有记录（至少需要{least:.0%}），不评分；请补充考勤、成绩、距离和家庭情况。",
        f"only {share:.0%} of the features are recorded ({least:.0%} are needed), so there is no score; send "
        "attendance, grades, distance and household facts.",
    )
