"""The order of things for a county: read, check, learn, judge, score, list. The only file that knows it.

Each verb of the command line and each route of the service is one function here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropout_risk.asof import Terms, cut, roll, term_ends, to_day
from dropout_risk.bundle import Bundle, data_digest
from dropout_risk.cohort import Cohorts, cohorts
from dropout_risk.descriptions import FEATURES, Lang
from dropout_risk.errors import SettingsError, TableError
from dropout_risk.evaluation import Evaluation, cross_scores, evaluate
from dropout_risk.explanation import Reason, explain
from dropout_risk.features import MONOTONE, build_features, rule_scores
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import PEERS, Factory
from dropout_risk.reference import Reference, build_reference
from dropout_risk.schema import Tables
from dropout_risk.split import TermSplit
from dropout_risk.tables import read_tables
from dropout_risk.validation import Report, usable, validate

Progress = Callable[[str], None]

BAND_SHARES = {"high": 0.05, "raised": 0.15, "watch": 0.30}
"""Share of students at or above each band in the out-of-time scores from which the cut-offs are taken."""

MIN_FOLDS, MAX_TEST_TERMS = 5, 3

NOT_SCORED: dict[str, dict[Lang, str]] = {
    "graduating": {
        "en": "graduates at the end of this term; nothing follows in compulsory school, no score is needed.",
        "zh": "本学期末毕业，义务教育阶段结束，无需评分。",
    },
    "dropout": {
        "en": "is recorded as having left school; open or follow up the case instead of scoring.",
        "zh": "已登记为辍学；请建立或跟进个案，不再评分。",
    },
    "transfer_out": {
        "en": "has moved to another school, which confirmed the arrival; that school scores the student.",
        "zh": "已转学并经转入学校确认到校，由转入学校评分。",
    },
    "suspended": {
        "en": "has an approved suspension; score again when it ends.",
        "zh": "已批准休学；休学期满后再评分。",
    },
    "graduated": {"en": "has graduated.", "zh": "已毕业。"},
    "died": {"en": "has died.", "zh": "已死亡。"},
    "emigrated": {"en": "has moved abroad.", "zh": "已出国。"},
    "replaced": {
        "en": "is replaced by another record of the same student and term.",
        "zh": "被同一学生同一学期的另一条记录取代。",
    },
    "too_late": {"en": "was recorded after the as-of date.", "zh": "登记时间晚于评分日期。"},
}
"""Why a roster row gets no score though nothing is wrong with it."""


@dataclass(frozen=True, eq=False)
class County:
    """The tables of a county after checking: what can be used, what was refused, and the full report."""

    tables: Tables
    as_read: Tables
    refused: pd.DataFrame
    report: Report


@dataclass(frozen=True, eq=False)
class Training:
    """What a training gives: the bundle to keep, how it was judged, and the rows behind it."""

    bundle: Bundle
    evaluation: Evaluation
    outcomes: pd.DataFrame
    refused: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Scores:
    """The risks of one roster.

    Attributes
    ----------
    frame
        One row per scored student, highest risk first: `student_id`, `school_id`, `county_id`, `class_id`,
        `grade`, `risk`, `band`, `rank` (within the roster).
    reasons
        For each row of `frame` its reasons, strongest first.
    gaps
        For each row of `frame` the labels of the facts that are not recorded.
    refused
        Rows without a score: `table`, `file`, `row`, `student_id`, `column`, `value`, `message`.
    rows_in
        Roster rows that came in; equals ``len(frame) + len(refused)``.
    as_of, expires
        The day whose knowledge counts, and the end of the outcome window, after which the scores mean nothing.
    notes
        Sentences about the whole roster.
    """

    frame: pd.DataFrame
    reasons: list[list[Reason]]
    gaps: list[list[str]]
    refused: pd.DataFrame
    rows_in: int
    as_of: str
    expires: str | None
    notes: tuple[str, ...] = field(default=())

    def to_frame(self) -> pd.DataFrame:
        """Return one flat row per student with its reasons spread over columns, for files."""
        width = max((len(reasons) for reasons in self.reasons), default=0)
        columns: dict[str, list[Any]] = {}
        for place in range(width):
            picked = [reasons[place] if place < len(reasons) else None for reasons in self.reasons]
            columns[f"reason_{place + 1}"] = [reason.text if reason else "" for reason in picked]
            columns[f"changeable_{place + 1}"] = [reason.changeable if reason else None for reason in picked]
            columns[f"measure_{place + 1}"] = [reason.measure if reason else "" for reason in picked]
        flat = pd.concat([self.frame.reset_index(drop=True), pd.DataFrame(columns)], axis=1)
        return flat.assign(data_gaps=["; ".join(gaps) for gaps in self.gaps], as_of=self.as_of, expires=self.expires)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON."""
        students = [
            {**row, "reasons": [reason.to_dict() for reason in reasons], "data_gaps": gaps}
            for row, reasons, gaps in zip(_records(self.frame), self.reasons, self.gaps, strict=True)
        ]
        return {
            "as_of": self.as_of,
            "expires": self.expires,
            "rows_in": self.rows_in,
            "scored": len(self.frame),
            "refused_count": len(self.refused),
            "students": students,
            "refused": _records(self.refused),
            "notes": list(self.notes),
        }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dicts in which a missing value is None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


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


def county_model(*, seed: int = 0, threads: int = 1) -> DropoutRiskClassifier:
    """Return the untrained classifier with the county features' directions as constraints."""
    return DropoutRiskClassifier(monotone=MONOTONE, random_state=seed, n_jobs=threads)


def train(
    county: County,
    *,
    horizon: int = 1,
    preset: str = "default",
    known_by: str | date | None = None,
    seed: int = 0,
    threads: int = 1,
    peers: Mapping[str, Factory] = PEERS,
    created: date | None = None,
    progress: Progress | None = None,
) -> Training:
    """Learn from every term whose outcome is known, and judge the model out of time.

    Parameters
    ----------
    county
        From `load_county`.
    horizon, preset, known_by
        The outcome, as in `label_outcomes`.
    seed, threads
        Random seed and number of threads; the result does not depend on the threads.
    peers
        Standard models to judge beside ours, name -> factory.
    created
        Day written into the bundle; None: today.
    progress
        Called with a short text at each step.

    Returns
    -------
    Training

    Raises
    ------
    TableError
        If no outcome is known yet, or there is too little to judge a model.

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> training = train(check_county(make_county(400, terms=3, seed=1)), peers={})
    >>> training.bundle.model.kind_, training.bundle.data["as_of"]
    ('logistic', '2021-01-15')
    """
    tell = progress or silent
    learned = cohorts(county.tables, horizon=horizon, preset=preset, known_by=known_by, progress=tell)
    model = county_model(seed=seed, threads=threads)
    evaluation, risk, validation = judge(learned, model, horizon=horizon, seed=seed, peers=peers, progress=tell)
    tell("final fit")
    model.fit(learned.X, learned.y, groups=learned.groups, term=learned.term)
    last = term_ends(county.tables)[-1]
    bundle = Bundle(
        model=model,
        kind="county",
        created=(created or date.today()).isoformat(),
        preset=preset,
        horizon=horizon,
        bands=band_cutoffs(risk),
        reference=build_reference(county.tables, last).to_dict(),
        metrics={"validation": validation, **evaluation.to_dict()},
        data={
            "rows": len(learned.y),
            "events": int(learned.y.sum()),
            "terms": list(learned.X.index.unique("term")),
            "as_of": str(last.date()),
            "digest": data_digest(learned.X.reset_index(drop=True).assign(label=learned.y)),
        },
    )
    return Training(bundle, evaluation, learned.outcomes, county.refused, _training_notes(learned, model))


def judge(
    learned: Cohorts,
    model: DropoutRiskClassifier,
    *,
    horizon: int = 1,
    seed: int = 0,
    peers: Mapping[str, Factory] = PEERS,
    progress: Progress | None = None,
) -> tuple[Evaluation, np.ndarray, str]:
    """Judge `model` on terms that it has not seen, beside simple rules and standard models (`peers`).

    Returns
    -------
    evaluation : Evaluation
    risk : float array (n,), out-of-time risks, NaN for rows that served for training only
    validation : str, how the rows were split, for the card
    """
    tell = progress or silent
    X, y, groups, term = learned
    splits, validation = out_of_time_splits(X, term, groups=groups, horizon=horizon, seed=seed)
    risk, others = cross_scores_beside(
        model, X, y, splits, groups=groups, term=term, peers=peers, seed=seed, progress=tell
    )
    evaluation = evaluate(y, risk, groups=groups, term=term, rules=rule_scores(X), peers=others, seed=seed)
    return evaluation, risk, validation


def cross_scores_beside(
    model: DropoutRiskClassifier,
    X: pd.DataFrame,
    y: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
    *,
    groups: np.ndarray | None,
    term: np.ndarray | None,
    peers: Mapping[str, Factory],
    seed: int,
    progress: Progress,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the risks of `model` and of each peer for the rows that the splits test."""
    progress("model")
    risk = cross_scores(model, X, y, splits, groups=groups, term=term)
    others = {}
    for name, peer in peers.items():
        progress(name)
        others[name] = cross_scores(peer(n_jobs=model.n_jobs, seed=seed), X, y, splits)
    progress("intervals")
    return risk, others


def out_of_time_splits(
    X: pd.DataFrame, term: np.ndarray, *, groups: np.ndarray, horizon: int = 1, seed: int = 0
) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """Return splits by time, or by group where there is only one term, and a sentence that says which."""
    n_terms = len(np.unique(term))
    if n_terms > horizon:
        n_splits = min(MAX_TEST_TERMS, n_terms - horizon)
        splits = list(TermSplit(n_splits, horizon=horizon).split(X, term=term))
        return splits, f"out of time: each of the last {n_splits} terms scored by models trained on the terms before"
    from sklearn.model_selection import GroupKFold

    n_splits = min(MIN_FOLDS, len(np.unique(groups)))
    if n_splits < 2:
        raise TableError("One term and one school are too little to judge a model; add terms or schools.")
    folds = GroupKFold(n_splits, shuffle=True, random_state=seed)
    return list(folds.split(X, groups=groups)), "out of group, not out of time: only one term has known outcomes"


def band_cutoffs(risk: np.ndarray) -> dict[str, float]:
    """Return the lowest risk of each band, so that `BAND_SHARES` of the out-of-time scores reach it.

    Examples
    --------
    >>> band_cutoffs(np.linspace(0.01, 0.5, 1000))["high"]
    0.4755
    """
    known = risk[~np.isnan(risk)]
    cuts, below = {}, 0.0
    for place, (name, share) in enumerate(reversed(BAND_SHARES.items())):
        room = 0.99 - 0.01 * (len(BAND_SHARES) - place)  # keeps the bands apart where risks are all alike
        cuts[name] = round(min(max(float(np.quantile(known, 1 - share)), below + 0.0001), room), 4)
        below = cuts[name]
    return dict(reversed(cuts.items()))


def _training_notes(learned: Cohorts, model: DropoutRiskClassifier) -> tuple[str, ...]:
    notes = [f"{model.kind_} model: {model.kind_reason_}"] if model.kind_ == "logistic" else []
    censored = int(learned.outcomes.to_numpy().sum()) - len(learned.y)
    if censored:
        notes.append(f"{censored:,} student-terms have no known outcome yet and were left out of learning.")
    return tuple(notes)


def score(
    county: County,
    bundle: Bundle,
    *,
    as_of: str | date | None = None,
    reasons: int = 5,
    lang: Lang = "zh",
    reference: Reference | None = None,
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

    Raises
    ------
    SettingsError
        If the bundle was trained on a flat table, or `as_of` fits no term.
    TableError
        If no student is at risk on that day.

    Returns
    -------
    Scores

    Examples
    --------
    >>> from dropout_risk.synthetic import make_county
    >>> county = check_county(make_county(400, terms=3, seed=1))
    >>> scores = score(county, train(county, peers={}).bundle, reasons=3, lang="en")
    >>> scores.rows_in == len(scores.frame) + len(scores.refused), scores.frame["rank"].iloc[0].item()
    (True, 1)
    """
    if bundle.kind != "county":
        raise SettingsError("This bundle was trained on a flat table; give it rows with the columns that it learned.")
    day = _newest_day(county) if as_of is None else to_day(as_of)
    X = build_features(county.tables, day, reference=reference)
    if X.empty:
        raise TableError(f"No student is at risk on {day.date()}: check the as-of date and the enrolments of its term.")
    explanation = explain(bundle.model, X)
    students = roll(county.tables, day).loc[X.index]
    risk = explanation.risk
    frame = students.reset_index()[["student_id", "school_id", "county_id", "class_id", "grade"]]
    frame = frame.assign(grade=frame["grade"].astype("Int64"), risk=risk, band=bundle.band_of(risk))
    order = np.lexsort((frame["student_id"].to_numpy(dtype=str), -risk))
    texts, gaps = explanation.reasons(reasons, lang), _gaps(X, lang)
    refused = _refused_rows(county, day, scored=X.index, lang=lang)
    return Scores(
        frame=frame.iloc[order].assign(rank=np.arange(1, len(frame) + 1)).reset_index(drop=True),
        reasons=[texts[row] for row in order],
        gaps=[gaps[row] for row in order],
        refused=refused,
        rows_in=len(frame) + len(refused),
        as_of=str(day.date()),
        expires=_expiry(county.tables, day, bundle.horizon),
        notes=_scoring_notes(bundle, reference, day),
    )


def _newest_day(county: County) -> pd.Timestamp:
    """Return the end of the newest term on the roster as read, so that refused rows do not move it back."""
    terms, used = Terms.of(county.tables), set(county.as_read.get_frame("enrolments")["term"].dropna())
    ends = [terms.end(name) for name in terms.names if name in used]
    if not ends:
        raise TableError("No enrolment belongs to a term in the table terms; add the term, or correct the enrolments.")
    return ends[-1]


def _gaps(X: pd.DataFrame, lang: Lang) -> list[list[str]]:
    labels = np.array([FEATURES[name].label(lang) for name in X.columns], dtype=object)
    return [list(labels[row]) for row in X.isna().to_numpy()]


def _expiry(tables: Tables, day: pd.Timestamp, horizon: int) -> str | None:
    """Return the end of the outcome window, None when the next terms are not in the table yet."""
    terms = Terms.of(tables)
    window = terms.after(terms.at(day), horizon)
    return str(terms.end(window[-1]).date()) if len(window) == horizon else None


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


REFUSED_COLUMNS = ["table", "file", "row", "student_id", "column", "value", "message"]


def _refused_rows(county: County, day: pd.Timestamp, *, scored: pd.Index, lang: Lang) -> pd.DataFrame:
    """Return every roster row of the term that got no score, each with one sentence."""
    read, terms = county.as_read.get_frame("enrolments"), Terms.of(county.tables)
    term = terms.at(day)
    roster = read[(read["term"] == term) | ~read["term"].isin(terms.names)]
    known = cut(county.tables.only("terms", "enrolments"), day)["enrolments"]
    winners = known.loc[known["term"] == term, "student_id"]
    cause_of = roll(county.tables, day)["not_at_risk"]
    faults = county.refused[county.refused["table"] == "enrolments"]
    message = "message_zh" if lang == "zh" else "message"
    told = zip(faults["column"], faults["value"], faults[message], strict=True)
    fault_at = dict(zip(zip(faults["file"], faults["row"], strict=True), told, strict=True))
    winning, students = set(winners.index), set(winners)
    refused = []
    for position, student in zip(roster.index, roster["student_id"], strict=True):
        place = county.as_read.locate("enrolments", int(position))
        if place in fault_at:
            refused.append(("enrolments", *place, student, *fault_at[place]))
        elif position not in winning:
            cause = "replaced" if student in students else "too_late"
            refused.append(("enrolments", *place, student, None, None, NOT_SCORED[cause][lang]))
        elif student not in scored:
            refused.append(("enrolments", *place, student, None, None, NOT_SCORED[cause_of[student]][lang]))
    return pd.DataFrame(refused, columns=REFUSED_COLUMNS)


def silent(step: str) -> None:
    """Take a progress message and do nothing."""
