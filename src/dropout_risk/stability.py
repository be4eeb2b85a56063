"""How much of a list stays when nothing about the children has changed: another fit, one late file.

A list that turns over for such reasons is noise, and the people who work with it notice it first.
"""

import numpy as np
import pandas as pd
from sklearn.base import clone

from dropout_risk.asof import at_risk
from dropout_risk.assessment import kept_share
from dropout_risk.county import County
from dropout_risk.features import build_features
from dropout_risk.judgement import Trial
from dropout_risk.metrics import listing_chance
from dropout_risk.model import DropoutRiskClassifier

LATE_DAYS = 28
"""Calendar days of attendance that the late file holds: four weeks."""


def kept_after_refit(trial: Trial, model: DropoutRiskClassifier, X: pd.DataFrame, *, share: float, seed: int) -> float:
    """Return which part of the list of `X` a second fit with another seed keeps.

    Parameters
    ----------
    trial
        The rows that `model` was fitted to.
    model
        Fitted.
    X : DataFrame (n, n_features)
        The roster.
    share : float
        Size of the list.
    seed : int
        Of the second fit; another one than the model's.
    """
    other = clone(model).set_params(random_state=seed)
    other.fit(trial.X, trial.y, groups=trial.groups, term=trial.term, sample_weight=trial.weight)
    return kept_share(_risk(model, X), _risk(other, X), share=share)


def kept_when_late(
    county: County, day: pd.Timestamp, model: DropoutRiskClassifier, X: pd.DataFrame, *, share: float
) -> dict[str, float | int] | None:
    """Return which part of the list stays when the last four weeks of one school's attendance come late.

    Parameters
    ----------
    county
        The tables from which `X` was built.
    day
        The as-of date.
    model
        Fitted.
    X : DataFrame (n, n_features)
        Features of the roster.
    share : float
        Size of the list.

    Returns
    -------
    dict or None
        `kept` of the county's list, `kept_of_school` of the places that the school has on it, `students` and
        `days` of the file; None where there is no daily attendance. The school is the one with most places.
    """
    attendance = county.tables.get_frame("attendance")
    school_of = at_risk(county.tables, day)["school_id"].reindex(X.index)
    if attendance.empty or school_of.nunique() < 2:
        return None
    before = _risk(model, X)
    places = pd.Series(listing_chance(before, share), X.index)
    school = places.groupby(school_of).sum().sort_index().idxmax()
    members = (school_of == school).to_numpy()
    late = attendance["student_id"].isin(X.index[members]) & (attendance["date"] > day - pd.Timedelta(days=LATE_DAYS))
    after = _risk(model, build_features(county.tables.replace(attendance=attendance[~late]), day).loc[X.index])
    stays = np.minimum(places.to_numpy(), listing_chance(after, share))
    return {
        "kept": kept_share(before, after, share=share),
        "kept_of_school": float(stays[members].sum() / places[members].sum()),
        "students": int(members.sum()),
        "days": LATE_DAYS,
    }


def _risk(model: DropoutRiskClassifier, X: pd.DataFrame) -> np.ndarray:
    return np.asarray(model.predict_proba(X)[:, 1])
