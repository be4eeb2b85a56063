"""What became of each student after an as-of date: left, stayed, or not known and why.

The rules are presets, never constants: places count absent days differently, and every label row
stores the name of the preset that made it.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from dropout_risk.asof import (
    FINAL_GRADE,
    Terms,
    at_risk,
    attendance_between,
    cut,
    event_dates,
    in_order,
    is_among,
    latest,
    school_days,
    to_day,
)
from dropout_risk.attendance import UNEXCUSED, attendance_matrix, count_measures, runs
from dropout_risk.errors import SettingsError
from dropout_risk.schema import Tables

MATURITY_DAYS = 30
"""Days after the end of the outcome window by which late records have usually come in."""

REGISTERED_ELSEWHERE = 0.5
"""From this share of a school's students found elsewhere on, a silent school counts as merged."""


@dataclass(frozen=True)
class Preset:
    """The day counts under which absence counts as leaving school.

    Attributes
    ----------
    name
        Stored on every label row.
    absence_run
        School days absent in a row without leave that count as an episode.
    register_by
        School day of the term by which a student must have registered.
    source
        The rule that the counts come from.
    """

    name: str
    absence_run: int
    register_by: int
    source: str


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("default", 20, 10, "project default: four school weeks"),
        Preset("yunnan-2022", 3, 10, "云政办规〔2022〕5号: three days without proper reason are tracked"),
        Preset("guangdong-2009", 6, 10, "粤教基〔2009〕3号: more than five days without leave"),
        Preset("liaoning-2017", 20, 10, "Liaoning 2017: four consecutive weeks truant"),
    )
}
"""The named rule presets."""

EPISODES = ("dropout_recorded", "absence_run", "not_registered", "registered_late")
"""Reasons of label 1."""

CENSORED = ("not_over_yet", "transfer_not_confirmed", "school_not_reported", "attendance_not_reported")
"""Reasons why an outcome is not known."""

_VALID_EXITS = ("graduated", "died", "emigrated", "suspended")


def preset_named(name: str) -> Preset:
    """Return the preset called `name`.

    Raises
    ------
    SettingsError
        If there is none; the text lists those there are.
    """
    if name not in PRESETS:
        raise SettingsError(f"There is no label preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def label_outcomes(
    tables: Tables,
    as_of: str | date | pd.Timestamp,
    horizon: int = 1,
    preset: str = "default",
    *,
    known_by: str | date | pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Return what became of every student at risk on `as_of` by the end of the `horizon`-th term after it.

    Parameters
    ----------
    tables
        The canonical tables, not cut.
    as_of
        The prediction date; usually the last day of a term.
    horizon
        How many terms after the term of `as_of` the outcome window covers.
    preset
        Name of a rule in `PRESETS`.
    known_by
        The day on which the data was exported. Facts recorded later are not seen, and a window that ended
        less than `MATURITY_DAYS` before it is censored. None: the data is taken as complete, and only a
        window that reaches beyond the newest enrolled term is censored.

    Returns
    -------
    DataFrame indexed by student_id
        label : Int8, 1 for an episode of leaving in the window, 0 for none, missing when censored
        censored : bool
        reason : str, one of `EPISODES`, `CENSORED`, ``stayed``, ``transferred`` or another valid exit
        out : boolean, whether the student was still out at the end of the window; missing when censored
        preset : str

    Raises
    ------
    SettingsError
        For an unknown preset or a horizon below 1.

    Notes
    -----
    An episode counts even if the student came back: persuasion would otherwise hide who had needed it.
    A transfer with confirmed arrival, graduation, death, emigration and approved suspension are no
    episodes; the student leaves the risk set. A run of absence is counted within the window and within a
    term: what came before `as_of` is known already and is a feature.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> tables = make_county(300, terms=3, seed=1)
    >>> labels = label_outcomes(tables, "2020-01-17")
    >>> sorted(labels.columns), int(labels["censored"].sum() + labels["label"].notna().sum()) == len(labels)
    (['censored', 'label', 'out', 'preset', 'reason'], True)
    """
    rule = preset_named(preset)
    if horizon < 1:
        raise SettingsError(f"The horizon is counted in terms and must be 1 or more, not {horizon}.")
    day, terms = to_day(as_of), Terms.of(tables)
    students = at_risk(tables, day)
    known = tables.only(
        "terms", "schools", "calendar", "enrolments", "status_changes", "attendance", "attendance_counts"
    )
    window = terms.after(terms.at(day), horizon)
    known = attendance_between(known, day, terms.end(window[-1]) if window else day)
    known = latest(known) if known_by is None else cut(known, known_by)
    is_open = len(window) < horizon or not _is_over(known, terms, window, known_by)
    if is_open:
        outcomes = _Outcomes(students.index)
        outcomes.add(np.ones(len(students), dtype=bool), "not_over_yet")
    else:
        outcomes = _register_outcomes(known, students, day, window=window, rule=rule)
        _add_absence_runs(outcomes, known, students, day, window=window, rule=rule)
    return outcomes.frame(preset)


def register_outcomes(tables: Tables, as_of: str | date | pd.Timestamp, *, rule: Preset) -> pd.DataFrame:
    """Return the outcomes of the next term as the register alone tells them (no attendance is read).

    `tables` must be cut already: this is the form in which a school's past is known on a later as-of date.
    """
    day, terms = to_day(as_of), Terms.of(tables)
    students = at_risk(tables, day)
    outcomes = _register_outcomes(tables, students, day, window=terms.after(terms.at(day), 1), rule=rule)
    return outcomes.frame(rule.name)


def _is_over(known: Tables, terms: Terms, window: list[str], known_by: str | date | pd.Timestamp | None) -> bool:
    if known_by is not None:
        return terms.end(window[-1]) + pd.Timedelta(days=MATURITY_DAYS) <= to_day(known_by)
    return window[-1] in set(known.get_frame("enrolments")["term"])


_PRECEDENCE = (
    "dropout_recorded", *_VALID_EXITS, "transferred", "transfer_not_confirmed", "school_not_reported",
    "not_registered", "registered_late", "absence_run", "attendance_not_reported", "not_over_yet",
)  # fmt: skip


class _Outcomes:
    """What was found of each student; of several findings the first in `_PRECEDENCE` is the reason."""

    def __init__(self, students: pd.Index) -> None:
        self.found = pd.DataFrame(False, index=students, columns=list(_PRECEDENCE))
        self.out = pd.Series(False, students)

    def add(self, who: pd.Series | np.ndarray, reason: str) -> None:
        self.found[reason] |= np.asarray(who, dtype=bool)

    def frame(self, preset: str) -> pd.DataFrame:
        reason = self.found.idxmax(axis=1).where(self.found.any(axis=1), "stayed").astype("str")
        censored = reason.isin(CENSORED)
        label = reason.isin(EPISODES).astype("Int8").mask(censored)
        out = (self.out & ~reason.isin((*_VALID_EXITS, "transferred"))).astype("boolean").mask(censored)
        return pd.DataFrame({"label": label, "censored": censored, "reason": reason, "out": out, "preset": preset})


def _register_outcomes(
    known: Tables, students: pd.DataFrame, day: pd.Timestamp, *, window: list[str], rule: Preset
) -> _Outcomes:
    """Read recorded exits and registrations, term by term."""
    terms = Terms.of(known)
    outcomes = _Outcomes(students.index)
    changes = _changes_after(known, students.index, day, terms.end(window[-1]))
    for change in ("dropout", *_VALID_EXITS):
        who = students.index.isin(changes.loc[changes["change"] == change, "student_id"])
        outcomes.add(who, "dropout_recorded" if change == "dropout" else change)
    registered = _registrations(known, students.index, window)
    moved = changes[changes["change"] == "transfer_out"].drop_duplicates("student_id", keep="last")
    moved = moved.set_index("student_id").reindex(students.index)
    arrived = moved["arrival_date"].notna()
    last = registered["enrolled_on"].groupby("student_id").max().reindex(students.index)
    nowhere = moved["date"].notna() & ~(last > moved["date"])
    outcomes.add(nowhere & arrived, "transferred")
    outcomes.add(nowhere & ~arrived, "transfer_not_confirmed")
    for position, term in enumerate(window):
        current = registered[registered["term"] == term]
        enrolled_on = current["enrolled_on"].groupby("student_id").min().reindex(students.index)
        absent = enrolled_on.isna()
        if position and terms.ends_school_year(window[position - 1]):
            before = registered[registered["term"] == window[position - 1]]
            finished = before.index[before["grade"] >= FINAL_GRADE]
            outcomes.add(absent & students.index.isin(finished), "graduated")
        outcomes.add(absent & _is_silent(known, students, term, registered=~absent), "school_not_reported")
        outcomes.add(absent, "not_registered")
        late = enrolled_on > _register_deadlines(known, students, term, rule=rule)
        outcomes.add(late & ~arrived, "registered_late")
    last_change = changes.drop_duplicates("student_id", keep="last").set_index("student_id").reindex(students.index)
    dropped = (last_change["change"] == "dropout") & ~(last > last_change["date"])
    outcomes.out |= absent | dropped
    return outcomes


def _registrations(known: Tables, students: pd.Index, window: list[str]) -> pd.DataFrame:
    """Return the registrations of `students` in the terms of `window`, indexed by student_id."""
    enrolments = known.get_frame("enrolments")
    rows = enrolments.assign(enrolled_on=event_dates(known, "enrolments"))
    return rows[rows["term"].isin(window) & is_among(rows["student_id"], students)].set_index("student_id")


def _changes_after(known: Tables, students: pd.Index, day: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Return the status changes of `students` by `end` that were not known or not settled on `day`."""
    changes = in_order(known.get_frame("status_changes"))
    changes = changes[is_among(changes["student_id"], students) & (changes["date"] <= end)]
    is_open_transfer = (changes["change"] == "transfer_out") & (
        changes["arrival_date"].isna() | (changes["arrival_date"] > day)
    )
    return changes[(changes["date"] > day) | (changes["recorded_at"] > day) | is_open_transfer]


def _is_silent(known: Tables, students: pd.DataFrame, term: str, *, registered: pd.Series) -> pd.Series:
    """Return whether the student's school handed in no register and was not merged into other schools."""
    enrolments = known.get_frame("enrolments")
    reports = students["school_id"].isin(enrolments.loc[enrolments["term"] == term, "school_id"].unique())
    found = registered.groupby(students["school_id"]).transform("mean")
    return ~reports & (found < REGISTERED_ELSEWHERE)


def _register_deadlines(known: Tables, students: pd.DataFrame, term: str, *, rule: Preset) -> pd.Series:
    """Return the `register_by`-th school day of the term on each student's school calendar."""
    terms = Terms.of(known)
    days, is_open = school_days(known, students["school_id"], start=terms.start(term), end=terms.end(term))
    reached = is_open.cumsum(axis=1) >= rule.register_by
    deadline = pd.Series(days[reached.argmax(axis=1)], students.index)
    return deadline.mask(pd.Series(~reached.any(axis=1), students.index), terms.end(term))


def _add_absence_runs(
    outcomes: _Outcomes, known: Tables, students: pd.DataFrame, day: pd.Timestamp, *, window: list[str], rule: Preset
) -> None:
    """Read runs of absence without leave after `day`; a term in which nothing was reported is unknown."""
    if not len(known.get_frame("attendance")):
        return
    terms = Terms.of(known)
    enrolments = known.get_frame("enrolments")
    for term in [terms.at(day), *window]:
        start = max(terms.start(term), day + pd.Timedelta(days=1))
        if start > terms.end(term):
            continue
        here = enrolments[(enrolments["term"] == term) & is_among(enrolments["student_id"], students.index)]
        here = here.set_index("student_id")
        matrix = attendance_matrix(known, here, start=start, end=terms.end(term))
        longest, current = runs(matrix.has(UNEXCUSED), ~matrix.reported)
        outcomes.add(students.index.isin(here.index[longest >= rule.absence_run]), "absence_run")
        if term == window[-1]:
            outcomes.out |= students.index.isin(here.index[current >= rule.absence_run])
        if term in window:
            unseen = matrix.is_school_day.any(axis=1) & ~matrix.reported.any(axis=1)
            unseen &= count_measures(known, here.index, term)["absence_rate"].isna().to_numpy()
            outcomes.add(students.index.isin(here.index[unseen]), "attendance_not_reported")
