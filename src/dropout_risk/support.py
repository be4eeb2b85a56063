"""Learning from terms in which children were helped: who was, what to do with their rows, what stays fixed.

Once lists are worked with, an outcome is risk and help together. A model that learns from it as if nobody had
been helped learns that the children at the top of the list are safe [1]_. Here is found out who was helped, the
learner is refused or warned where that is not known, and rows get weights from which it can learn all the same.

References
----------
.. [1] Liley et al. 2021, Model updating after interventions paradoxically introduces bias, AISTATS;
   arXiv 2010.11530.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from dropout_risk.asof import Terms, cut, latest, term_ends, to_day
from dropout_risk.descriptions import Lang
from dropout_risk.errors import SettingsError
from dropout_risk.logistic import AdditiveLogistic
from dropout_risk.schema import Tables

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

TREATMENTS: dict[str, dict[Lang, str]] = {
    "exclude": {
        "zh": "不用已获帮扶学生该学期的记录训练",
        "en": "the rows of helped students are not learned from",
    },
    "weight": {
        "zh": "不用已获帮扶学生的记录训练，未获帮扶的相似学生按逆概率加权代表他们",
        "en": "similar students who were not helped stand in for those who were, by inverse-probability weights",
    },
    "audit": {
        "zh": "照常用全部记录训练，帮扶情况只用于核查",
        "en": "all rows are learned from as they are; help is only reported on",
    },
}
"""What may be done with the rows of students who were helped."""

DEFAULT_TREATMENT = "exclude"
"""See the figures in `docs/explanation/learning-from-help.md`."""

MAX_WEIGHT = 10.0
"""Largest inverse-probability weight: beyond a chance of nine in ten of being helped, hardly anyone is left to
stand in for the others, and a single row would speak for many."""

FOLDS = 5


def help_given(
    tables: Tables,
    as_of: str | date | pd.Timestamp,
    window_end: str | date | pd.Timestamp,
    students: pd.Index,
    *,
    known_by: str | date | pd.Timestamp | None = None,
) -> "pd.Series[bool]":
    """Return which of `students` were helped after `as_of`, up to and on `window_end`.

    Parameters
    ----------
    tables
        The canonical tables, not cut.
    as_of, window_end
        The prediction date, and the last day of the outcome window.
    students
        student_id of those asked about, length n.
    known_by
        The day on which the data was exported: help recorded later is not seen. None: all that is recorded.

    Returns
    -------
    Series of bool, indexed by `students`

    Notes
    -----
    Help on or after the day on which the student is recorded to have left is an answer to the leaving, not a
    chance to prevent it, and does not count: else the rows that are left out would be those who left.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> county = make_county(200, terms=3, seed=1, help_from="2020-2021-1")
    >>> helped = help_given(county, "2020-07-10", "2021-01-15", pd.Index(county["students"]["student_id"]))
    >>> int(helped.sum()), int(county["interventions"]["student_id"].nunique())
    (16, 16)
    """
    day, end = to_day(as_of), to_day(window_end)
    records = tables.only("interventions", "status_changes")
    records = latest(records) if known_by is None else cut(records, known_by)
    given = records.get_frame("interventions")
    given = given[(given["date"] > day) & (given["date"] <= end)]
    changes = records.get_frame("status_changes")
    left = changes[(changes["change"] == "dropout") & (changes["date"] > day)].groupby("student_id")["date"].min()
    in_time = ~(given["date"].to_numpy() >= left.reindex(given["student_id"]).to_numpy())
    return pd.Series(students.isin(given.loc[in_time, "student_id"]), index=students)


@dataclass(frozen=True)
class Deployment:
    """Since when lists are worked with, and how the rows that this has touched are learned from.

    Attributes
    ----------
    since : Timestamp or None
        First day on which help may have changed an outcome; None if nobody was helped yet.
    treatment : str
        One of `TREATMENTS`.
    notes : tuple of dict
        Sentences for the reader of the training report, each with zh and en.
    """

    since: pd.Timestamp | None
    treatment: str
    notes: tuple[dict[Lang, str], ...] = ()

    def touched(self, window_end: npt.ArrayLike) -> Flags:
        """Return which rows are post-deployment: their outcome window had not ended before `since`.

        Parameters
        ----------
        window_end : datetime array (n,)
            Last day of each row's outcome window.

        Examples
        --------
        >>> ends = np.array(["2021-01-15", "2021-07-09"], dtype="M8[D]")
        >>> Deployment(pd.Timestamp("2021-02-22"), "exclude").touched(ends).tolist()
        [False, True]
        """
        ends = pd.DatetimeIndex(np.asarray(window_end))
        if self.since is None:
            return np.zeros(len(ends), dtype=bool)
        return np.asarray(ends >= self.since, dtype=bool)


def check_help(
    tables: Tables,
    *,
    horizon: int = 1,
    deployed_on: str | date | pd.Timestamp | None = None,
    treatment: str | None = None,
) -> Deployment:
    """Find out since when children are helped, and refuse to learn where it is not known who was.

    Parameters
    ----------
    tables
        The canonical tables, not cut.
    horizon
        How many terms an outcome window covers.
    deployed_on
        The day on which workers got their first list. None: the day of the first support on record.
    treatment
        One of `TREATMENTS`; None: `DEFAULT_TREATMENT`. ``"audit"`` is the consent to learn from outcomes that
        help may have changed, also where nothing is recorded.

    Returns
    -------
    Deployment

    Raises
    ------
    SettingsError
        For an unknown treatment; and if terms whose outcome window reaches to `deployed_on` or beyond would be
        learned from while no support since that day is on record, unless the treatment is ``"audit"``.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> county = make_county(100, terms=3, seed=1)
    >>> check_help(county, deployed_on="2020-02-24")
    Traceback (most recent call last):
    dropout_risk.errors.SettingsError: The outcomes of 2019-2020-1, 2019-2020-2 fall into the time since 2020-02-24,
    when lists came into use, but the table interventions has no support of that time. Without it a refit takes
    help for low risk. Hand in the support given (student_id, date, kind), leave these terms out, or set
    treatment="audit" to learn from them all the same.
    """
    chosen = DEFAULT_TREATMENT if treatment is None else treatment
    if chosen not in TREATMENTS:
        raise SettingsError(
            f"There is no treatment {chosen!r} of rows after help; choose one of {', '.join(TREATMENTS)}."
        )
    given = tables.get_frame("interventions")["date"].dropna()
    if deployed_on is None:
        since = None if given.empty else given.min()
        return Deployment(since, chosen, () if since is None else (_inferred(since),))
    since = to_day(deployed_on)
    terms = Terms.of(tables)
    touched = {term: end for term, end in outcome_windows(tables, horizon=horizon).items() if end >= since}
    unrecorded = [term for term, end in touched.items() if not given.between(max(since, terms.end(term)), end).any()]
    if touched and len(unrecorded) == len(touched) and chosen != "audit":
        raise SettingsError(
            f"The outcomes of {', '.join(touched)} fall into the time since {since.date()}, when lists came into "
            "use, but the table interventions has no support of that time. Without it a refit takes help for low "
            "risk. Hand in the support given (student_id, date, kind), leave these terms out, or set "
            'treatment="audit" to learn from them all the same.'
        )
    return Deployment(since, chosen, (_unrecorded(unrecorded, since),) if unrecorded else ())


def outcome_windows(tables: Tables, *, horizon: int = 1) -> dict[str, pd.Timestamp]:
    """Return for each term the last day of its outcome window, as far as there are terms with students.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> outcome_windows(make_county(50, terms=2, seed=1))
    {'2019-2020-1': Timestamp('2020-07-10 00:00:00')}
    """
    terms, ends = Terms.of(tables), term_ends(tables)
    following = {terms.at(day): terms.after(terms.at(day), horizon) for day in ends}
    windows = {term: terms.end(window[-1]) for term, window in following.items() if len(window) == horizon}
    return {term: end for term, end in windows.items() if end in ends}


def _inferred(since: pd.Timestamp) -> dict[Lang, str]:
    return {
        "zh": f"未说明名单从何时起用于帮扶，按最早一条帮扶记录（{since.date()}）起算；如有出入请设置 deployed_on。",
        "en": f"No day was given on which lists came into use; the first support on record ({since.date()}) is "
        "taken for it. Set deployed_on if that is not so.",
    }


def _unrecorded(terms: list[str], since: pd.Timestamp) -> dict[Lang, str]:
    return {
        "zh": f"名单自{since.date()}起使用，但以下学期的结果时段内没有任何帮扶记录：{'、'.join(terms)}；"
        "这些学期的风险可能被低估，请核对帮扶台账是否报全。",
        "en": f"Lists are in use since {since.date()}, but no support is on record while the outcomes of "
        f"{', '.join(terms)} came about; risks of these terms may come out too low. Check that all support was "
        "handed in.",
    }


def learning_weights(
    X: pd.DataFrame,
    helped: Flags,
    touched: Flags,
    *,
    treatment: str,
    groups: npt.NDArray[np.str_],
    term: npt.NDArray[np.int64],
    seed: int = 0,
) -> Floats:
    """Return how much each row counts in learning.

    Parameters
    ----------
    X : DataFrame (n, n_features)
        The features, all numbers.
    helped : bool array (n,)
        Whether the student was helped in the outcome window (`help_given`).
    touched : bool array (n,)
        Whether the row is post-deployment (`Deployment.touched`); help before that was the usual care.
    treatment : str
        One of `TREATMENTS`. ``"exclude"``: helped rows count 0, all others 1. ``"weight"``: helped rows count 0,
        post-deployment rows without help ``1 / (1 - p)``, at most `MAX_WEIGHT`, where `p` is the chance of being
        helped given X and the term, all others 1. ``"audit"``: every row counts 1.
    groups : str array (n,)
        Unit that is never in both parts when `p` is estimated: the school.
    term : int array (n,)
        Term of each row; how many are helped may differ from term to term.
    seed : int
        Seed of the dealing of groups.

    Returns
    -------
    ndarray of float, shape (n,)

    Raises
    ------
    SettingsError
        If `p` cannot be estimated because the post-deployment rows are of one group.

    Notes
    -----
    Leaving rows out is enough where the risk depends on nothing else that also steered help: among children
    with the same features those without help show the risk without help. The weights bring back, on top of
    that, the mix of features that there was, at the price of fewer effective rows (`effective_rows`). Neither
    repairs help that was steered by what no table holds. `p` comes from a ridge regression on the other
    groups' rows.

    Examples
    --------
    >>> X = pd.DataFrame({"absent_days": [0.0, 9.0, 8.0, 1.0]})
    >>> helped, touched = np.array([False, True, True, False]), np.array([True, True, False, True])
    >>> learning_weights(
    ...     X, helped, touched, treatment="exclude", groups=np.array([*"ABAB"]), term=np.zeros(4, int)
    ... ).tolist()
    [1.0, 0.0, 1.0, 1.0]
    """
    counted_out = helped & touched
    if treatment == "audit" or not counted_out.any():
        return np.ones(len(X))
    weight = np.where(counted_out, 0.0, 1.0)
    if treatment == "weight":
        chance = chance_of_help(
            X[touched], helped[touched], groups=groups[touched], term=term[touched], seed=seed
        )  # fmt: skip
        weight[touched] *= np.minimum(1 / np.maximum(1 - chance, 1 / MAX_WEIGHT), MAX_WEIGHT)
    return weight


def chance_of_help(
    X: pd.DataFrame,
    helped: Flags,
    *,
    groups: npt.NDArray[np.str_],
    term: npt.NDArray[np.int64],
    seed: int = 0,
) -> Floats:
    """Return each row's chance of being helped, as the rows of other groups show it.

    Parameters
    ----------
    X, helped, groups, term, seed
        As in `learning_weights`, post-deployment rows only.

    Returns
    -------
    ndarray of float, shape (n,)

    Raises
    ------
    SettingsError
        If all rows are of one group.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"absent_days": rng.poisson(4, 600).astype(float)})
    >>> helped = rng.random(600) < X["absent_days"].to_numpy() / 20
    >>> chance = chance_of_help(X, helped, groups=rng.choice([*"ABCDEF"], 600), term=np.zeros(600, int))
    >>> bool(abs(chance.mean() - helped.mean()) < 0.01), bool(np.corrcoef(chance, X["absent_days"])[0, 1] > 0.9)
    (True, True)
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise SettingsError(
            "The chance of being helped is estimated on other schools, but all rows since lists came into use are of "
            'one school. Choose treatment="exclude".'
        )
    names, place = np.unique(term, return_inverse=True)
    matrix = np.column_stack([X.to_numpy(dtype=float), place])
    levels, signs = {matrix.shape[1] - 1: len(names)}, np.zeros(matrix.shape[1])
    chance = np.empty(len(helped))
    folds = GroupKFold(min(FOLDS, n_groups), shuffle=True, random_state=seed)
    for others, own in folds.split(matrix, groups=groups):
        seen = helped[others]
        if seen.all() or not seen.any():
            chance[own] = seen.mean()
            continue
        model = AdditiveLogistic.fit(matrix[others], seen, np.ones(len(others)), levels=levels, signs=signs)
        chance[own] = expit(model.contributions(matrix[own]).sum(axis=1))
    return chance


def effective_rows(weight: Floats) -> float:
    """Return how many equally weighted rows carry as much as these (Kish 1965): (sum w)^2 / sum w^2.

    Examples
    --------
    >>> effective_rows(np.array([1.0, 1.0, 0.0])), effective_rows(np.array([3.0, 1.0]))
    (2.0, 1.6)
    """
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def frozen_terms(term: npt.NDArray[np.int64], touched: Flags) -> list[int]:
    """Return the terms no row of which is post-deployment, in the order of time.

    Their outcomes show the risk without help and never change again, so every later model can be held against
    the same rows.

    Examples
    --------
    >>> frozen_terms(np.array([0, 0, 1, 2]), np.array([False, False, False, True]))
    [0, 1]
    """
    return [int(name) for name in np.setdiff1d(term, term[touched])]


def frozen_splits(
    term: npt.NDArray[np.int64],
    touched: Flags,
    *,
    groups: npt.NDArray[np.str_],
    n_splits: int = FOLDS,
    seed: int = 0,
) -> list[tuple[Rows, Rows]]:
    """Return splits whose test rows are those of the last frozen term, whatever terms came later.

    Each part of the schools is scored by a model that learned from all terms of the other schools. So no child
    is on both sides, all terms can teach, and a model spoilt by help shows: it is tested where there was none.
    Later terms teach about earlier ones here: the figures compare ways of learning, they forecast nothing.

    Parameters
    ----------
    term, touched, groups, seed
        As in `learning_weights`.
    n_splits : int
        Parts; with fewer groups, as many as there are groups.

    Returns
    -------
    list of (train, test)
        Row positions; empty if every term is post-deployment or there is one group only.

    Examples
    --------
    >>> groups = np.array([*"ABAB"])
    >>> splits = frozen_splits(
    ...     np.array([0, 0, 1, 1]), np.array([False, False, True, True]), groups=groups, n_splits=2
    ... )
    >>> sorted((train.tolist(), test.tolist()) for train, test in splits)
    [([0, 2], [1]), ([1, 3], [0])]
    """
    frozen = frozen_terms(term, touched)
    n_groups = len(np.unique(groups))
    if not frozen or n_groups < 2:
        return []
    tested = term == frozen[-1]
    folds = GroupKFold(min(n_splits, n_groups), shuffle=True, random_state=seed).split(groups, groups=groups)
    return [(train, test[tested[test]]) for train, test in folds if tested[test].any()]
