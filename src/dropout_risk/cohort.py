"""Cohorts for learning: students at risk on several as-of dates, their features and what became of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.asof import Terms, at_risk, latest, term_ends, to_day
from dropout_risk.audit import audit_columns
from dropout_risk.errors import TableError
from dropout_risk.features import build_features
from dropout_risk.labels import label_outcomes
from dropout_risk.schema import Tables
from dropout_risk.support import help_given


@dataclass(frozen=True)
class Cohorts:
    """Labelled rows of several as-of dates; unpacks as ``X, y, groups, term``.

    Attributes
    ----------
    X : DataFrame (n, n_features), indexed by (term, student_id)
    y : int array (n,), 1 for an episode of leaving in the outcome window
    groups : str array (n,), the first school in which the student was seen: all rows of a student share it
    term : int array (n,), position of the term in the order of time
    schools : DataFrame (n, 2), school_id and county_id of each row, for reports
    outcomes : DataFrame, how many rows each term has by reason, the censored ones included
    audit : DataFrame of ordered categoricals (n, columns), the groups of `audit.AUDIT`; never features
    helped : bool array (n,), whether the student was helped in the outcome window (`support.help_given`)
    window_end : datetime64 array (n,), last day of each row's outcome window
    """

    X: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray
    term: np.ndarray
    schools: pd.DataFrame
    outcomes: pd.DataFrame
    audit: pd.DataFrame
    helped: np.ndarray
    window_end: np.ndarray

    @property
    def term_names(self) -> pd.Categorical:
        """The name of each row's term, (n,), in the order of time."""
        names = self.X.index.get_level_values("term")
        return pd.Categorical(names, categories=list(dict.fromkeys(names)), ordered=True)

    def __iter__(self) -> Iterator[Any]:
        yield from (self.X, self.y, self.groups, self.term)


def cohorts(
    tables: Tables,
    *,
    as_of: Sequence[str | date | pd.Timestamp] | None = None,
    horizon: int = 1,
    preset: str = "default",
    known_by: str | date | pd.Timestamp | None = None,
    progress: Callable[[str], None] | None = None,
) -> Cohorts:
    """Return the labelled rows of every as-of date, one row per student at risk and date.

    Parameters
    ----------
    tables
        The canonical tables of a county (or several), not cut.
    as_of
        Prediction dates. None: the ends of all terms, so that outcome windows of `horizon` 1 do not overlap.
    horizon, preset, known_by
        As in `label_outcomes`.
    progress
        Called with the name of each term when it is done.

    Returns
    -------
    Cohorts
        Rows whose outcome is not known are left out of X and y and counted in `outcomes`.

    Raises
    ------
    TableError
        If no row has a known outcome.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> X, y, groups, term = cohorts(make_county(400, terms=3, seed=1))
    >>> len(X) == len(y) == len(groups) == len(term), sorted(set(term.tolist()))
    (True, [0, 1])
    """
    terms = Terms.of(tables)
    days = [to_day(day) for day in as_of] if as_of is not None else term_ends(tables)
    parts, counts = [], []
    for day in days:
        labels = label_outcomes(tables, day, horizon, preset, known_by=known_by)
        counts.append(labels["reason"].value_counts().rename(terms.at(day)))
        known = labels[~labels["censored"]]
        if len(known):
            features = build_features(tables, day).loc[known.index]
            school = at_risk(tables, day)["school_id"].loc[known.index]
            end = terms.end(terms.after(terms.at(day), horizon)[-1])
            helped = help_given(tables, day, end, known.index, known_by=known_by)
            audit = audit_columns(tables, day, known.index)
            place = terms.names.index(terms.at(day))
            parts.append(_Part(place, terms.at(day), features, known["label"], school, audit, helped, end))
        if progress is not None:
            progress(terms.at(day))
    outcomes = pd.DataFrame(counts).fillna(0).astype(int)
    if not parts:
        raise TableError(
            "No student has a known outcome yet: a term can be learned from once the term after it is over. "
            f"What was found: {outcomes.to_dict('index')}."
        )
    return _stack(parts, tables, outcomes)


@dataclass(frozen=True)
class _Part:
    position: int
    term: str
    X: pd.DataFrame
    label: pd.Series
    school: pd.Series
    audit: pd.DataFrame
    helped: pd.Series
    window_end: pd.Timestamp


def _stack(parts: list[_Part], tables: Tables, outcomes: pd.DataFrame) -> Cohorts:
    X = pd.concat([part.X for part in parts], keys=[part.term for part in parts], names=["term"])
    enrolments = latest(tables)["enrolments"].merge(tables["terms"][["term", "start"]], on="term").sort_values("start")
    first_school = enrolments.drop_duplicates("student_id").set_index("student_id")["school_id"]
    students = X.index.get_level_values("student_id")
    school = pd.concat([part.school for part in parts]).set_axis(X.index)
    sizes = [len(part.X) for part in parts]
    county = tables["schools"].drop_duplicates("school_id").set_index("school_id")["county_id"]
    return Cohorts(
        X=X,
        y=np.concatenate([part.label.to_numpy(dtype=np.int64) for part in parts]),
        groups=first_school.reindex(students).to_numpy(dtype=str),
        term=np.repeat([part.position for part in parts], sizes),
        schools=pd.DataFrame({"school_id": school, "county_id": school.map(county)}),
        outcomes=outcomes,
        audit=_stack_levels([part.audit for part in parts]).set_index(X.index),
        helped=np.concatenate([part.helped.to_numpy(dtype=bool) for part in parts]),
        window_end=np.repeat(pd.DatetimeIndex([part.window_end for part in parts]).to_numpy(), sizes),
    )


def _stack_levels(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return frames of ordered categoricals below each other, with the levels (counties) that any of them has."""
    dtypes = {}
    for name in frames[0]:
        known = [frame[name].cat.categories for frame in frames]
        same = all(levels.equals(known[0]) for levels in known)
        dtypes[name] = pd.CategoricalDtype(known[0] if same else sorted(set().union(*known)), ordered=True)
    return pd.concat([frame.astype(dtypes) for frame in frames])
