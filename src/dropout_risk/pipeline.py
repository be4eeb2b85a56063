"""The order of things once there is a model: score a roster, look ahead, cut the support list.

Each verb of the command line and each route of the service is one function here; `training` makes the model.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.applicability import Limits, withheld
from dropout_risk.arrays import at_places
from dropout_risk.asof import OnRoll, Terms, at_risk, on_roll, roll, to_day
from dropout_risk.backtest import Backtest
from dropout_risk.bundle import Bundle
from dropout_risk.capacity import Capacity, Place
from dropout_risk.churn import Churn, compare_lists
from dropout_risk.county import County, newest_day
from dropout_risk.descriptions import Lang
from dropout_risk.errors import InputError, SettingsError, TableError
from dropout_risk.explanation import explain, risk_of
from dropout_risk.features import build_features, rule_scores
from dropout_risk.hazards import outlook, rise
from dropout_risk.reasons import Reasons
from dropout_risk.reference import Reference
from dropout_risk.scores import (
    Scores,
    as_frame,
    expiry,
    gaps_of,
    ranks,
    reason_columns,
    refusals,
    refused_rows,
    why_not_scored,
)
from dropout_risk.targets import TargetList, target_list

NOBODY = "No student is at risk on {day}: check the as-of date and the enrolments of its term."


@dataclass(frozen=True, eq=False)
class _Read:
    """A roster on one day: features, the roll, and the row of each student in it."""

    day: pd.Timestamp
    X: pd.DataFrame
    roll: OnRoll
    row: npt.NDArray[np.int32]

    def without(self, students: Collection[str]) -> "_Read":
        """Return the roster without these students."""
        if not students:
            return self
        kept = ~self.X.index.isin(list(students))
        return replace(self, X=self.X[kept], row=self.row[kept])


def _read(
    county: County,
    bundle: Bundle,
    day: pd.Timestamp,
    reference: Reference | None = None,
    features: pd.DataFrame | None = None,
) -> _Read:
    if bundle.kind != "county":
        raise SettingsError("This bundle was trained on a flat table; give it rows with the columns that it learned.")
    if features is not None:
        X = features
    elif reference is not None:
        X = build_features(county.tables, day, reference=reference)
    else:
        X = county.features(day)
    here = on_roll(county.tables, day)
    row = here.places_of(X.index.tolist())
    if strangers := int((row < 0).sum()):
        raise InputError(
            f"{strangers} of the students in features are not on roll on {day.date()}; build those of that day."
        )
    return _Read(day, X, here, row)


def score(
    county: County,
    bundle: Bundle,
    *,
    as_of: str | date | None = None,
    reasons: int = 5,
    lang: Lang = "zh",
    reference: Reference | None = None,
    features: pd.DataFrame | None = None,
    limits: Limits | None = None,
) -> Scores:
    """Return risk, band, rank and reasons of every student at risk, and every row that got none with its cause.

    Parameters
    ----------
    county
        From `load_county` or `check_county`.
    bundle
        A trained model of kind ``county``.
    as_of
        The day whose knowledge counts. None: the end of the newest term in which students are enrolled.
    reasons, lang
        How many reasons per student, and in which language.
    reference
        County-wide values, for a roster that is only a part of the county (as the service gets it).
    features
        Those of the day, where they are built already.
    limits
        What has to be known of a student; who falls short is among the refused. None: everybody gets a score.

    Raises
    ------
    SettingsError
        If the bundle was trained on a flat table, or `as_of` fits no term.
    TableError
        If no student is at risk on that day.
    InputError
        If `features` are of students who are not on roll on that day.

    Returns
    -------
    Scores

    Examples
    --------
    >>> from dropout_risk.county import check_county
    >>> from dropout_risk.synthetic import make_county
    >>> from dropout_risk.training import train
    >>> county = check_county(make_county(400, terms=3, seed=1))
    >>> scores = score(county, train(county, peers={}, thorough=False).bundle, reasons=3, lang="en")
    >>> scores.rows_in == len(scores.frame) + len(scores.refused), scores.frame["rank"].iloc[0].item()
    (True, 1)
    """
    day = newest_day(county) if as_of is None else to_day(as_of)
    read = _read(county, bundle, day, reference, features)
    short = withheld(county.tables, read.X, day, limits) if limits else {}
    read = read.without(short)
    refused = refusals(county, day, scored=read.X.index, lang=lang, withheld=short)
    if read.X.empty and not refused["row"]:
        raise TableError(NOBODY.format(day=day.date()))
    risk, told = _explained(read, bundle, reasons, lang)
    order = np.lexsort((read.row, -risk))  # of equal risks in the order of the roll: by id
    gaps = gaps_of(read.X, lang)
    return Scores(
        students=_students(read, bundle, risk, order=order) | {"rank": ranks(risk[order]).tolist()},
        reasons=told.take(order),
        gaps=[gaps[row] for row in order],
        refusals=refused,
        rows_in=len(risk) + len(refused["row"]),
        as_of=str(day.date()),
        expires=expiry(county.tables, day, bundle.horizon),
        notes=_scoring_notes(bundle, reference, day),
    )


def _explained(read: _Read, bundle: Bundle, reasons: int, lang: Lang) -> tuple[np.ndarray, Reasons]:
    """Return the risk and the reasons of each student."""
    if read.X.empty:
        return np.empty(0), Reasons.of([])
    explanation = explain(bundle.model, read.X)
    return explanation.risk, explanation.reasons(reasons, lang)


def _students(
    read: _Read, bundle: Bundle, risk: np.ndarray, *, order: npt.NDArray[np.intp] | None = None
) -> dict[str, list[Any]]:
    """Return by column a value for each student, in that order: who and where, risk and band."""
    order = np.arange(len(risk)) if order is None else order
    here, row, risk = read.roll, read.row[order], risk[order]
    where = {"school_id": here.school, "county_id": here.county, "class_id": here.school_class}
    return {
        "student_id": here.ids.take(row).tolist(),
        **{name: at_places(place.names, place.codes.take(row), None).tolist() for name, place in where.items()},
        "grade": [None if grade != grade else int(grade) for grade in here.grade.take(row).tolist()],
        "risk": risk.tolist(),
        "band": bundle.band_of(risk).tolist(),
    }


def _placed(county: County, read: _Read, bundle: Bundle) -> pd.DataFrame:
    """Return who and where, risk and band of each student, with the township."""
    return _with_township(county, as_frame(_students(read, bundle, _risk(bundle, read.X))))


def _with_township(county: County, students: pd.DataFrame) -> pd.DataFrame:
    """Return the students with the township of each one's school, beside its county."""
    schools = county.tables["schools"].drop_duplicates("school_id").set_index("school_id")
    placed = students.copy(deep=False)
    placed.insert(
        students.columns.tolist().index("county_id") + 1,
        "township_id",
        students["school_id"].map(schools["township_id"]),
    )
    return placed


def roster_features(county: County, day: pd.Timestamp) -> pd.DataFrame:
    """Return one row per student at risk on `day`: who and where, then the features (`grade` is one of them).

    Parameters
    ----------
    county
        From `load_county` or `check_county`.
    day
        The day whose knowledge counts.

    Returns
    -------
    DataFrame
        Columns `student_id`, `school_id`, `county_id`, `township_id`, `class_id` and those of `build_features`.

    Raises
    ------
    TableError
        If no student is at risk on that day.

    Examples
    --------
    >>> from dropout_risk.county import check_county
    >>> from dropout_risk.synthetic import make_county
    >>> rows = roster_features(check_county(make_county(200, terms=2, seed=1)), pd.Timestamp("2020-01-17"))
    >>> list(rows)[:3], rows["student_id"].is_unique
    (['student_id', 'school_id', 'county_id'], True)
    """
    X = county.features(day)
    if X.empty:
        raise TableError(NOBODY.format(day=day.date()))
    students = _with_township(county, roll(county.tables, day).loc[X.index])
    places = ["school_id", "county_id", "township_id", "class_id"]
    return pd.concat([students[places], X], axis=1).rename_axis("student_id").reset_index()


def _scoring_notes(bundle: Bundle, reference: Reference | None, day: pd.Timestamp) -> tuple[str, ...]:
    notes = []
    if reference is not None and reference.as_of != str(day.date()):
        notes.append(
            f"County reference values are of {reference.as_of}, the scores of {day.date()}; "
            "exams of later terms are compared within this roster only."
        )
    learned_to = bundle.data.get("as_of")
    if learned_to and str(day.date()) < learned_to:
        notes.append(f"The model has learned from terms up to {learned_to}; a score for {day.date()} is a look back.")
    return tuple(notes)


@dataclass(frozen=True, eq=False)
class Listing:
    """A support list, and what has changed since last term.

    Attributes
    ----------
    targets
        The list and its worth. Its frame has reasons, `risk_to_end` (chance of leaving before the end of grade 9),
        `terms_left`, `evidence_terms`, and, where the student had a score last term, `risk_before` and `rise` (in
        log-odds).
    churn
        Who is new on it or gone from it, and why; None where there was no term before.
    rising
        All students with a score in both terms, fastest rise first, as `hazards.rise` gives them.
    refused
        Roster rows without a score, as in `Scores`.
    as_of, expires
        As in `Scores`.
    """

    targets: TargetList
    churn: Churn | None
    rising: pd.DataFrame
    refused: pd.DataFrame
    as_of: str
    expires: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "as_of": self.as_of,
            "expires": self.expires,
            **self.targets.to_dict(),
            "churn": None if self.churn is None else self.churn.to_dict(),
        }


def support_list(
    county: County,
    bundle: Bundle,
    *,
    capacity: int | Mapping[str, int] | Capacity,
    place: Place = "county_id",
    floor_per_school: int = 0,
    as_of: str | date | None = None,
    reasons: int = 3,
    lang: Lang = "zh",
    seed: int = 0,
) -> Listing:
    """Return whom to help first, what the list is worth, and what has changed since last term.

    Parameters
    ----------
    county
        From `load_county` or `check_county`.
    bundle
        A trained model of kind ``county``.
    capacity, place, floor_per_school, seed
        As in `target_list`.
    as_of
        The day whose knowledge counts. None: the end of the newest term in which students are enrolled.
    reasons, lang
        How many reasons per student, and in which language.

    Returns
    -------
    Listing
        Last term's list is the one that the same model, capacity and seed give as of the end of that term.

    Raises
    ------
    SettingsError
        If the capacity does not fit, or the bundle was trained on a flat table.
    TableError
        If no student is at risk on that day.

    Examples
    --------
    >>> from dropout_risk.county import check_county
    >>> from dropout_risk.synthetic import make_county
    >>> from dropout_risk.training import train
    >>> county = check_county(make_county(400, terms=4, seed=1))
    >>> listing = support_list(county, train(county, peers={}, thorough=False).bundle, capacity=10)
    >>> len(listing.targets.frame), listing.churn.kept + listing.churn.new
    (10, 10)
    """
    day = newest_day(county) if as_of is None else to_day(as_of)
    now, before = _read(county, bundle, day), _read_last_term(county, bundle, day)
    if now.X.empty:
        raise TableError(NOBODY.format(day=day.date()))
    frame = _placed(county, now, bundle)
    options: dict[str, Any] = {"capacity": capacity, "place": place, "floor_per_school": floor_per_school, "seed": seed}
    earlier = None if before is None else _placed(county, before, bundle)
    previous = None if earlier is None else _listed_then(earlier, frame, options)
    chosen = target_list(
        frame,
        backtest=Backtest.from_dict(bundle.backtest) if bundle.backtest else None,
        rules=rule_scores(now.X),
        previous=previous,
        **options,
    )
    listed = pd.Index(chosen.frame["student_id"])
    explained = explain(bundle.model, now.X.loc[listed])
    told = reason_columns(explained.reasons(reasons, lang))
    ahead = outlook(bundle.model, bundle.outlook, now.X.loc[listed])
    rising = _rising(frame, earlier)
    columns = [
        ahead[["risk_to_end", "terms_left", "evidence_terms"]].reset_index(drop=True),
        rising.reindex(listed)[["risk_before", "rise"]].reset_index(drop=True),
    ]
    churn = None
    if before is not None and earlier is not None and previous is not None:
        churn = _churn(county, bundle, day, (now, frame, listed), (before, earlier, pd.Index(previous)))
    return Listing(
        targets=replace(chosen, frame=pd.concat([chosen.frame, *columns, told], axis=1)),
        churn=churn,
        rising=rising,
        refused=refused_rows(county, day, scored=now.X.index, lang=lang),
        as_of=str(day.date()),
        expires=expiry(county.tables, day, bundle.horizon),
    )


def _risk(bundle: Bundle, X: pd.DataFrame) -> np.ndarray:
    """Return the risks that the reasons add up to."""
    values, base = bundle.model.contributions(X)
    return risk_of(values, base)


def _read_last_term(county: County, bundle: Bundle, day: pd.Timestamp) -> _Read | None:
    """Return the roster at the end of the term before; None where there is none."""
    terms = Terms.of(county.tables)
    earlier = terms.before(terms.at(day))[-1:]
    if not earlier or not (county.tables["enrolments"]["term"] == earlier[0]).any():
        return None
    end = terms.end(earlier[0])
    return None if at_risk(county.tables, end).empty else _read(county, bundle, end)


def _listed_then(earlier: pd.DataFrame, frame: pd.DataFrame, options: Mapping[str, Any]) -> "pd.Series[str] | None":
    """Return whom the capacity of now would have listed last term in the places of now; None if nobody was there.

    A floor that fits the schools of now may not fit those of last term; then it is lowered for these.
    """
    there = earlier[earlier[options["place"]].isin(frame[options["place"]])]
    if there.empty:
        return None
    floor = options["floor_per_school"]
    while True:
        try:
            return target_list(there, **{**options, "floor_per_school": floor}).frame["student_id"]
        except SettingsError:
            if floor <= 0:
                raise
            floor -= 1


def _rising(frame: pd.DataFrame, earlier: pd.DataFrame | None) -> pd.DataFrame:
    """Return whose risk rose fastest, over all students with a score in both terms."""
    now = frame.set_index("student_id")["risk"]
    return rise(now, now.iloc[:0] if earlier is None else earlier.set_index("student_id")["risk"])


def _churn(
    county: County,
    bundle: Bundle,
    day: pd.Timestamp,
    now: tuple[_Read, pd.DataFrame, pd.Index],
    before: tuple[_Read, pd.DataFrame, pd.Index],
) -> Churn:
    """Say why students are new on the list or gone from it; only they are explained."""
    changed = now[2].symmetric_difference(before[2])
    rows = [read.X.loc[read.X.index.intersection(changed)] for read, _, _ in (now, before)]
    explained = [None if own.empty else explain(bundle.model, own) for own in rows]
    this, last = (frame.assign(listed=frame["student_id"].isin(listed)) for _, frame, listed in (now, before))
    return compare_lists(
        this,
        last,
        explained_now=explained[0],
        explained_before=explained[1],
        left=why_not_scored(county, day, changed, scored=now[0].X.index),
    )
