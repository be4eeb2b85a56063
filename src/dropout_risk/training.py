"""The order of things when a model is made for a county: who was helped, cohorts, judgement, fit, bundle.

What follows once there is a model, scoring and listing, is in `pipeline`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropout_risk.adaptation import Adaptation, adapt
from dropout_risk.asof import Terms, term_ends
from dropout_risk.assessment import Assessment, assess
from dropout_risk.bundle import Bundle, data_digest
from dropout_risk.cohort import Cohorts, cohorts
from dropout_risk.county import County
from dropout_risk.descriptions import Lang
from dropout_risk.errors import InputError, SettingsError
from dropout_risk.evaluation import Evaluation, evaluate
from dropout_risk.features import MONOTONE, rule_scores
from dropout_risk.hazards import MAX_ROWS, fit_outlook
from dropout_risk.judgement import (
    PLACE_FOLDS,
    Progress,
    Trial,
    judge_across_places,
    judge_beside_oracle,
    judge_without_sensitive,
    out_of_time_splits,
    silent,
)
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import PEERS, Factory
from dropout_risk.profile import profile_of
from dropout_risk.reference import build_reference
from dropout_risk.schema import Tables
from dropout_risk.scores import coverage
from dropout_risk.stability import kept_after_refit, kept_when_late
from dropout_risk.support import Deployment, check_help, effective_rows, frozen_splits, learning_weights

BAND_SHARES = {"high": 0.05, "raised": 0.15, "watch": 0.30}
"""Share of students at or above each band in the out-of-time scores from which the cut-offs are taken."""

QUICK_ROWS = 6_000
"""Rows from which the later terms are learned where time is short."""

Note = dict[Lang, str]


@dataclass(frozen=True, eq=False)
class Training:
    """What a training gives: the bundle to keep, how it was judged, and the rows behind it.

    Attributes
    ----------
    bundle
        What to save, log and score with; its `metrics` are ``assessment.to_dict()``.
    assessment
        Every figure of the judgement; `evaluation` is its main part.
    outcomes
        Rows of each term by what is known of them.
    refused
        Rows of the tables that could not be used.
    """

    bundle: Bundle
    assessment: Assessment
    outcomes: pd.DataFrame
    refused: pd.DataFrame

    @property
    def notes(self) -> list[Note]:
        """Sentences for whoever trains, by language."""
        notes: list[Note] = self.assessment.parts["notes"]
        return notes

    @property
    def evaluation(self) -> Evaluation:
        """The model out of time, beside rules and standard models."""
        return self.assessment.evaluation


def county_model(*, seed: int = 0, threads: int = 1) -> DropoutRiskClassifier:
    """Return the untrained classifier with the county features' directions as constraints."""
    return DropoutRiskClassifier(monotone=MONOTONE, random_state=seed, n_jobs=threads)


def train(
    county: County,
    *,
    horizon: int = 1,
    preset: str = "default",
    known_by: str | date | None = None,
    deployed_on: str | date | None = None,
    treatment: str | None = None,
    seed: int = 0,
    threads: int = 1,
    peers: Mapping[str, Factory] = PEERS,
    thorough: bool = True,
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
    deployed_on, treatment
        Since when lists are worked with, and what to do with the rows of students who were helped; see
        `support.check_help`.
    seed, threads
        Random seed and number of threads; the result does not depend on the threads.
    peers
        Standard models to judge beside ours, name -> factory.
    thorough
        Whether places never seen and the model without sensitive inputs are judged in every tested term; if not,
        in the newest one only and by two parts, in a fifth of the time; later terms are learned from fewer rows.
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
    SettingsError
        If outcomes may have been changed by help that is not on record.

    Examples
    --------
    >>> from dropout_risk.county import check_county
    >>> from dropout_risk.synthetic import make_county
    >>> training = train(check_county(make_county(400, terms=3, seed=1)), peers={}, thorough=False)
    >>> training.bundle.model.kind_, training.bundle.data["as_of"]
    ('logistic', '2021-01-15')
    """
    tell = progress or silent
    deployment = check_help(county.tables, horizon=horizon, deployed_on=deployed_on, treatment=treatment)
    learned = cohorts(county.tables, horizon=horizon, preset=preset, known_by=known_by, progress=tell)
    trial = _trial(learned, deployment, horizon=horizon, seed=seed)
    model = county_model(seed=seed, threads=threads)
    rules = rule_scores(learned.X, seed=seed)
    risk, evaluation = _judge(trial, model, learned, rules, peers=peers, threads=threads, seed=seed, progress=tell)
    further, folds = (trial, PLACE_FOLDS) if thorough else (trial.newest(), 2)
    tell("places never seen")
    held_out = judge_across_places(further, model, county=learned.schools["county_id"], folds=folds, seed=seed)
    tell("without sensitive inputs")
    sensitive = judge_without_sensitive(further, model, risk, seed=seed)
    tell("final fit")
    model.fit(learned.X, learned.y, groups=learned.groups, term=learned.term, sample_weight=trial.weight)
    day = term_ends(county.tables)[-1]
    bands = band_cutoffs(risk)
    data = {"preset": preset, "horizon": horizon, "as_of": str(day.date()), **_in_brief(learned)}
    tell("newest roster")
    roster = county.features(day)
    assessment = assess(
        trial,
        model,
        evaluation=evaluation,
        risk=risk,
        rules=rules,
        sample=learned.X if roster.empty else roster,
        bands=bands,
        data=data,
        held_out=held_out,
        sensitive=sensitive,
        oracle=judge_beside_oracle(trial, risk, _true_risk(county.as_read, learned), seed=seed),
        help=_judge_help(trial, model, risk, learned, deployment, seed=seed),
        stability=_stability(county, day, trial, model, roster, share=evaluation.headline, seed=seed),
        coverage=coverage(county, day, scored=roster.index),
        notes=_training_notes(learned, model, deployment),
    )
    tell("later terms")
    bundle = Bundle(
        model=model,
        kind="county",
        created=(created or date.today()).isoformat(),
        preset=preset,
        horizon=horizon,
        bands=bands,
        reference=build_reference(county.tables, day).to_dict(),
        metrics=assessment.to_dict(),
        data=data
        | {
            "learned_from": _first_day(county, learned),
            "grades": _grades(learned.X),
            "profile": profile_of(learned.X, risk),
        },
        outlook=fit_outlook(learned, model, max_rows=MAX_ROWS if thorough else QUICK_ROWS, seed=seed)
        if horizon == 1
        else None,
        backtest=assessment.backtest.to_dict(),
    )
    return Training(bundle, assessment, learned.outcomes, county.refused)


def _first_day(county: County, learned: Cohorts) -> str:
    """Return the first day of the first term that was learned from."""
    terms, used = Terms.of(county.tables), set(learned.X.index.unique("term"))
    return str(next(terms.start(name) for name in terms.names if name in used).date())


def _grades(X: pd.DataFrame) -> list[int]:
    return sorted(X["grade"].dropna().astype(int).unique().tolist())


def _trial(learned: Cohorts, deployment: Deployment, *, horizon: int, seed: int) -> Trial:
    """Return the rows to learn from and to judge by, weighted where help may have changed outcomes."""
    splits, validation = out_of_time_splits(learned.y, learned.term, groups=learned.groups, horizon=horizon, seed=seed)
    weight = learning_weights(
        learned.X,
        learned.helped,
        deployment.touched(learned.window_end),
        treatment=deployment.treatment,
        groups=learned.groups,
        term=learned.term,
        seed=seed,
    )
    return Trial(
        learned.X,
        learned.y,
        learned.groups,
        learned.term,
        splits,
        validation,
        None if (weight == 1).all() else weight,
    )


def _judge(
    trial: Trial,
    model: DropoutRiskClassifier,
    learned: Cohorts,
    rules: Mapping[str, np.ndarray],
    *,
    peers: Mapping[str, Factory],
    threads: int,
    seed: int,
    progress: Progress,
) -> tuple[np.ndarray, Evaluation]:
    """Return the out-of-time risks, and how they did beside simple rules and standard models."""
    progress("model")
    risk = trial.risks(model)
    others = trial.peers(peers, threads=threads, seed=seed, progress=progress)
    progress("intervals")
    return risk, evaluate(
        learned.y,
        risk,
        groups=learned.groups,
        term=learned.term_names,
        place=learned.schools["county_id"],
        rules=rules,
        peers=others,
        by=learned.audit,
        seed=seed,
    )


def _in_brief(learned: Cohorts) -> dict[str, Any]:
    """Return the training data in brief."""
    return {
        "rows": len(learned.y),
        "events": int(learned.y.sum()),
        "terms": list(learned.X.index.unique("term")),
        "counties": learned.schools["county_id"].nunique(),
        "schools": learned.schools["school_id"].nunique(),
        "digest": data_digest(learned.X.reset_index(drop=True).assign(label=learned.y)),
    }


def _true_risk(tables: Tables, learned: Cohorts) -> np.ndarray:
    """Return the true risk of each row where the tables are synthetic, else NaN."""
    if tables.oracle is None:
        return np.full(len(learned.y), np.nan)
    truth = tables.oracle.set_index(["term", "student_id"])["risk"]
    return truth.reindex(learned.X.index).to_numpy(dtype=np.float64)


def _judge_help(
    trial: Trial,
    model: DropoutRiskClassifier,
    risk: np.ndarray,
    learned: Cohorts,
    deployment: Deployment,
    *,
    seed: int,
) -> dict[str, Any] | None:
    """Return the figures of helped and of other students apart, and those on terms before anybody was helped."""
    if deployment.since is None:
        return None
    touched = deployment.touched(learned.window_end)
    judged = touched & ~np.isnan(risk)
    figures = {
        name: _metrics(learned, risk, members, seed=seed)
        for name, members in (("helped", judged & learned.helped), ("not_helped", judged & ~learned.helped))
    }
    return {
        "treatment": deployment.treatment,
        "since": str(deployment.since.date()),
        "rows": int(touched.sum()),
        "helped": int((touched & learned.helped).sum()),
        "effective_rows": len(trial.y) if trial.weight is None else effective_rows(trial.weight),
        "judged": {"helped": int((judged & learned.helped).sum()), "not_helped": int((judged & ~learned.helped).sum())},
        "figures": figures,
        "frozen": _frozen_benchmark(trial, model, learned, touched, seed=seed),
    }


def _metrics(learned: Cohorts, risk: np.ndarray, members: np.ndarray, *, seed: int) -> dict[str, Any] | None:
    """Return the figures of some rows; None where there is no row."""
    if not members.any():
        return None
    found = evaluate(learned.y[members], risk[members], groups=learned.groups[members], seed=seed)
    metrics: dict[str, Any] = found.to_dict()["metrics"]
    return metrics


def _frozen_benchmark(
    trial: Trial, model: DropoutRiskClassifier, learned: Cohorts, touched: np.ndarray, *, seed: int
) -> dict[str, Any] | None:
    """Judge the way of learning on the last term before help: the same rows for every later model.

    A model spoilt by help keeps its order and loses its level where risks are highest, so that is shown too.
    """
    splits = frozen_splits(learned.term, touched, groups=learned.groups, seed=seed)
    if not splits:
        return None
    try:
        risk = replace(trial, splits=splits).risks(model)
    except InputError:  # some part leaves nobody, or one outcome only, to learn from
        return None
    judged = ~np.isnan(risk)
    top = judged & (risk >= np.quantile(risk[judged], 0.9))
    return {
        "rows": int(judged.sum()),
        "term": learned.term_names[judged][0],
        "metrics": _metrics(learned, risk, judged, seed=seed),
        "top_tenth": {"mean_risk": float(risk[top].mean()), "observed": float(learned.y[top].mean())},
    }


def _stability(
    county: County,
    day: pd.Timestamp,
    trial: Trial,
    model: DropoutRiskClassifier,
    roster: pd.DataFrame,
    *,
    share: float,
    seed: int,
) -> dict[str, Any] | None:
    """Return how much of the newest list another fit keeps, and one late attendance file; None without a roster."""
    if roster.empty:
        return None
    return {
        "share": share,
        "refit": {"kept": kept_after_refit(trial, model, roster, share=share, seed=seed + 1)},
        "late_attendance": kept_when_late(county, day, model, roster, share=share),
    }


def adapt_county(
    county: County,
    bundle: Bundle,
    *,
    preset: str = "default",
    known_by: str | date | None = None,
    created: date | None = None,
) -> Adaptation:
    """Set a bundle trained elsewhere to the outcomes of this county, where there are too few to train on.

    Parameters
    ----------
    county
        From `load_county`.
    bundle
        Of kind ``county``.
    preset, known_by
        The outcome, as in `label_outcomes`; it looks as far ahead as the bundle does.
    created
        Day written into the new bundle; None: today.

    Returns
    -------
    Adaptation

    Raises
    ------
    SettingsError
        If the bundle was trained on a flat table.
    InputError
        If there are fewer than 100 known outcomes.

    Examples
    --------
    >>> from dropout_risk.county import check_county
    >>> from dropout_risk.synthetic import make_county
    >>> elsewhere = train(check_county(make_county(400, terms=3, seed=1)), peers={}, thorough=False).bundle
    >>> adapted = adapt_county(check_county(make_county(200, terms=2, seed=2)), elsewhere)
    >>> adapted.bundle.data["adapted"]["rows"] == adapted.rows
    True
    """
    if bundle.kind != "county":
        raise SettingsError("This bundle was trained on a flat table; a county needs one of kind county.")
    learned = cohorts(county.tables, horizon=bundle.horizon, preset=preset, known_by=known_by)
    adapted = adapt(bundle, learned.X, learned.y, groups=learned.groups, created=created)
    reference = build_reference(county.tables, term_ends(county.tables)[-1]).to_dict()
    return replace(adapted, bundle=replace(adapted.bundle, reference=reference))


def band_cutoffs(risk: npt.NDArray[np.float64]) -> dict[str, float]:
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


def _training_notes(learned: Cohorts, model: DropoutRiskClassifier, deployment: Deployment) -> list[Note]:
    notes = list(deployment.notes)
    if model.kind_ == "logistic":
        notes.append({"en": model.kind_reason_, "zh": "可用于训练的记录或离校人数较少，采用逻辑回归模型。"})
    censored = int(learned.outcomes.to_numpy().sum()) - len(learned.y)
    if censored:
        notes.append(
            {
                "en": f"{censored:,} student-terms have no known outcome yet and were left out of learning.",
                "zh": f"{censored:,} 条学生学期记录的结果尚不可知，未用于训练。",
            }
        )
    return notes
