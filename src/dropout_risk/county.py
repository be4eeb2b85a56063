"""A county's tables after checking: what can be used, what was refused, and the newest day to score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dropout_risk.arrays import texts
from dropout_risk.asof import Terms
from dropout_risk.errors import TableError
from dropout_risk.features import build_features
from dropout_risk.schema import Problem, Tables
from dropout_risk.tables import read_tables
from dropout_risk.validation import Report, usable, validate


@dataclass(frozen=True, eq=False)
class County:
    """The tables of a county after checking: what can be used, what was refused, and the full report."""

    tables: Tables
    as_read: Tables
    refused: pd.DataFrame
    report: Report

    def features(self, day: pd.Timestamp) -> pd.DataFrame:
        """Return the features of every student at risk on `day`; built once a day, since the tables never change."""
        return self.tables.derived(("features", day), lambda: build_features(self.tables, day))


def check_county(tables: Tables) -> County:
    """Check `tables` and set the rows aside that cannot be used.

    Returns
    -------
    County
        With the usable tables, the tables as read, the refused rows and the full report.

    Raises
    ------
    TableError
        If a whole table is missing or cannot be used; the text holds every such problem.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> county = check_county(make_county(200, terms=2, seed=1))
    >>> county.report.ok, len(county.refused)
    (True, 0)
    """
    report = validate(tables)
    good, refused = usable(tables, report)
    return County(good, tables, refused, report)


def refuse(county: County, problems: Sequence[Problem]) -> County:
    """Return the county with further rows refused, and the rows that point at them.

    Parameters
    ----------
    county
        As checked.
    problems
        Errors with their rows.
    """
    report = Report((*county.report.problems, *problems), county.report.counts)
    good, refused = usable(county.as_read, report)
    return County(good, county.as_read, refused, report)


def load_county(path: str | Path, *, term: str | None = None) -> County:
    """Read a folder of tables and check it.

    Parameters
    ----------
    path
        A folder, a workbook or a single roster, as in `read_tables`.
    term
        The term of a roster that has no term column.

    Raises
    ------
    TableError
        If files or whole tables cannot be used; the text holds every such problem.

    Examples
    --------
    >>> load_county("nowhere")
    Traceback (most recent call last):
    dropout_risk.errors.TableError: nowhere: there is no such file or folder.
    """
    return check_county(read_tables(path, term=term))


def newest_day(county: County) -> pd.Timestamp:
    """Return the end of the newest term on the roster as read, so that refused rows do not move it back."""
    terms, term = Terms.of(county.tables), texts(county.as_read, "enrolments", "term")
    used = set(term.names[np.unique(term.codes[term.codes >= 0])])
    ends = [terms.end(name) for name in terms.names if name in used]
    if not ends:
        raise TableError("No enrolment belongs to a term in the table terms; add the term, or correct the enrolments.")
    return ends[-1]
