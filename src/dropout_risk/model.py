"""The classifier: a cross-fitted bag of boosted trees (or of logistic models), calibrated and additive.

Both kinds have one shape: raw log-odds are a base plus one number per feature, averaged over the bag, and
the calibration is a straight line on top, so that the parts still add up to the risk that is shown.
"""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import asdict
from functools import reduce
from typing import Any, Literal, Self, cast

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from dropout_risk.calibration import Calibration
from dropout_risk.columns import frame_to_matrix, frame_to_numbers, learn_levels
from dropout_risk.errors import BundleError, ColumnsError, InputError, SettingsError
from dropout_risk.logistic import AdditiveLogistic
from dropout_risk.treeshap import TreeTables, compile_boosters

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FORMAT = 2
"""Version of the files that `DropoutRiskClassifier.to_files` writes."""

_COMPILED = "_tables"
"""Attribute that holds the compiled trees once they are needed."""

_USUAL = "_usual"
"""Attribute that holds the usual values side by side once they are needed."""

_DERIVED = (_COMPILED, _USUAL)
"""What is worked out from a fitted model when it is needed, and never saved."""

BOOSTED_ROWS, BOOSTED_EVENTS = 1_000, 100  # fewer: the logistic model takes over
MANY_ROWS = 8_000  # fewer: fewer trees


def _is_number(value: Any, low: float, high: float = np.inf, *, whole: bool = False) -> bool:
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(low <= value <= high)


_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "learning_rate": ("a number above 0, at most 1", lambda v: _is_number(v, np.nextafter(0, 1), 1)),
    "num_leaves": ("a whole number of at least 2", lambda v: _is_number(v, 2, whole=True)),
    "max_depth": ("a whole number; below 1 means no limit", lambda v: _is_number(v, -np.inf, whole=True)),
    "min_child_samples": ("a whole number of at least 1", lambda v: _is_number(v, 1, whole=True)),
    "feature_fraction": ("a number above 0, at most 1", lambda v: _is_number(v, np.nextafter(0, 1), 1)),
    "bagging_fraction": ("a number above 0, at most 1", lambda v: _is_number(v, np.nextafter(0, 1), 1)),
    "lambda_l2": ("a number of at least 0", lambda v: _is_number(v, 0)),
    "n_estimators": (
        '"auto" or a whole number of at least 1', lambda v: v == "auto" or _is_number(v, 1, whole=True)
    ),
    "n_bags": ("a whole number of at least 2", lambda v: _is_number(v, 2, whole=True)),
    "monotone": (
        "None or a mapping from feature name to +1 or -1",
        lambda v: v is None or (isinstance(v, Mapping) and all(sign in (-1, 1) for sign in v.values())),
    ),
    "small_data": ('"auto", "boosted" or "logistic"', lambda v: v in ("auto", "boosted", "logistic")),
    "compare_within": ("None or the name of a feature", lambda v: v is None or isinstance(v, str)),
    "n_jobs": (
        "None, -1 (all cores) or a whole number above 0",
        lambda v: v in (None, -1) or _is_number(v, 1, whole=True),
    ),
}  # fmt: skip
"""Each setting: what it has to be, in words and as a test."""

_LIGHTGBM = list(_SETTINGS)[:7]
"""Settings that go to LightGBM under their own names."""


class DropoutRiskClassifier(ClassifierMixin, BaseEstimator):
    """Estimate each student's risk of leaving, as a calibrated probability whose reasons add up.

    The rows are dealt into `n_bags` folds, whole groups together. Model `k` of the bag learns from all
    rows outside fold `k`, and its scores of fold `k` are what the calibration is fitted to: rows, and
    groups, that the scoring model has not seen. The risk is ``sigmoid(slope * mean score + intercept)``.

    Parameters
    ----------
    learning_rate, num_leaves, max_depth, min_child_samples, feature_fraction, bagging_fraction, lambda_l2
        Passed to LightGBM under the same names (bagging once per tree).
    n_estimators : "auto" or int
        Trees of each model; ``"auto"`` is 250, and 150 under 8,000 rows.
    n_bags : int
        Models in the bag, at least 2; with fewer groups, as many as there are groups.
    monotone : mapping of str to int, optional
        Feature name -> +1 (a higher value never lowers the risk) or -1. Names that are not in `X` are
        ignored, so that one mapping serves many tables.
    small_data : {"auto", "boosted", "logistic"}
        ``"auto"`` takes boosted trees from 1,000 rows and 100 events (of the rarer outcome) on, else a
        regularised logistic model.
    compare_within : str, optional
        Feature within whose values `medians_` and `modes_` are also taken.
    random_state : int, RandomState or None
        Seed of the dealing and of the trees.
    n_jobs : int, optional
        Models of the bag that are trained at the same time, and threads of prediction; the answer does not
        depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The two outcomes; the second one is the event.
    n_features_in_, feature_names_in_
        As in scikit-learn; the names only exist when `X` was a frame with text column names.
    categories_ : dict of str to list
        Levels of each categorical feature that the training rows had.
    kind_, kind_reason_ : str
        ``"boosted"`` or ``"logistic"``, and the sentence that says why.
    boosters_ : list of lightgbm.Booster
        The bag; empty for the logistic kind. Their columns are in sorted order of the names.
    calibration_ : Calibration
        The line from the mean raw score to the log-odds.
    medians_, modes_ : DataFrame
        Usual value of every numeric and of every categorical feature in the training rows: a row for each
        value of `compare_within`, and the row ``"all"``.

    Notes
    -----
    On the three public data sets (PROGRESA and Kenya pooled over held-out folds of villages and schools, EPH
    tested on 2010-11 without its year column), AUC / average precision / log-loss / calibration error are
    .884 / .429 / .193 / .005, .745 / .237 / .274 / .010 and .803 / .219 / .171 / .003: as good as refitting
    on all rows with separate calibration folds, at three fifths of the cost.

    `term`: taking the intercept from the last training term alone did not help on EPH (test 2010-11: log-loss
    .17133 against .17102 and calibration error .006 against .003; single test years: worse for 2008 and 2010,
    equal for 2011, better by .0001 for 2009), because one term holds few events. So all terms count, unless
    the latest one, with at least 100 events, is off by more than three standard errors, as after a change of
    policy: then the intercept is that of the latest term. No year of EPH from 2004 on is.

    On samples of 250 to 1,000 rows of PROGRESA and Kenya the bag of logistic models was as good as one
    fitted to all rows, or better. `benchmarks/learning_curve.py`: from 250 to 8,000 rows of the three files the
    default is nowhere significantly worse than the better of logistic regression and LightGBM in average
    precision or log-loss; it is behind, within the interval, on 1,000 rows of PROGRESA (.304 against .317).

    Tried and left out: giving the calibration a second slope for a logistic model beside the trees. Average
    precision rose to .225 on EPH and .244 on Kenya and stayed on PROGRESA (.429 to .430, log-loss worse by
    .0002), but then the trees alone no longer explain the risk that is shown.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"absent_days": rng.poisson(4, 400), "distance_km": rng.gamma(2, 2, 400)})
    >>> y = rng.random(400) < expit(0.5 * X["absent_days"] - 4)
    >>> model = DropoutRiskClassifier().fit(X, y)
    >>> model.kind_reason_
    'Logistic model: 400 rows with 54 events are fewer than the 1,000 rows and 100 events that trees need.'
    >>> values, base = model.contributions(X)
    >>> np.allclose(values.sum(axis=1) + base, model.decision_function(X))
    True
    """

    def __init__(
        self,
        *,
        learning_rate: float = 0.04,
        num_leaves: int = 15,
        max_depth: int = 5,
        min_child_samples: int = 40,
        feature_fraction: float = 0.6,
        bagging_fraction: float = 0.8,
        lambda_l2: float = 5.0,
        n_estimators: int | Literal["auto"] = "auto",
        n_bags: int = 4,
        monotone: Mapping[str, int] | None = None,
        small_data: Literal["auto", "boosted", "logistic"] = "auto",
        compare_within: str | None = "grade",
        random_state: int | np.random.RandomState | None = 0,
        n_jobs: int | None = 1,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.feature_fraction = feature_fraction
        self.bagging_fraction = bagging_fraction
        self.lambda_l2 = lambda_l2
        self.n_estimators = n_estimators
        self.n_bags = n_bags
        self.monotone = monotone
        self.small_data = small_data
        self.compare_within = compare_within
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, groups: Any = None, term: Any = None, sample_weight: Any = None) -> Self:
        """Learn from past students and what became of them.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_features)
            Numbers, booleans and pandas categories; missing values stay missing.
        y : array-like of shape (n,)
            Two outcomes; the one that sorts last (1, True) is the event.
        groups : array-like of shape (n,), optional
            Unit that must not be in both a training part and its calibration rows, such as the school.
        term : array-like of shape (n,), optional
            Term of each row, in sorted order or as an ordered categorical; see Notes of the class.
        sample_weight : array-like of shape (n,), optional
            Weight of each row; rows of weight 0 are left out.

        Returns
        -------
        DropoutRiskClassifier
            Itself.

        Raises
        ------
        SettingsError
            When settings make no sense; all of them are named.
        ColumnsError
            When columns cannot be used; all of them are named.
        InputError
            When `y`, `groups`, `term` or `sample_weight` cannot be used.
        """
        for name in _DERIVED:
            self.__dict__.pop(name, None)
        self.categories_ = learn_levels(X) if isinstance(X, pd.DataFrame) else {}
        self._check_settings()
        matrix, y = self._validated(X, y=y)
        matrix = matrix[:, self._order]
        self.classes_ = _two_classes(y)
        n = len(y)
        try:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        except ValueError as error:
            raise InputError(str(error)) from error
        group, latest = _group_codes(groups, n), _latest(term, n)
        kept = weight > 0
        event = y == self.classes_[1]
        matrix, event, weight, latest = matrix[kept], event[kept], weight[kept], latest[kept]
        rarer = int(min(event.sum(), (~event).sum()))
        if rarer < 2:
            raise InputError(
                f"y holds {rarer} rows of one class; to learn and to calibrate, both classes need at least 2 "
                "rows with a positive weight. Add earlier terms or more schools."
            )
        random = check_random_state(self.random_state)
        fold = _deal(event, group if group is None else group[kept], n_folds=self.n_bags, random=random)
        self.kind_, self.kind_reason_ = self._choose_kind(len(event), rarer)
        bag, held_out = self._cross_fit(matrix, event, weight, fold=fold, random=random)
        boosted = self.kind_ == "boosted"
        self.boosters_: list[lgb.Booster] = bag if boosted else []
        self.logistic_ = None if boosted else AdditiveLogistic.mean(bag, matrix)
        self.calibration_ = Calibration.fit(held_out, event, weight).moved_to(
            held_out[latest], event[latest], weight[latest]
        )
        self.medians_, self.modes_ = self._usual_values(matrix)
        return self

    def decision_function(self, X: Any) -> Floats:
        """Return the calibrated log-odds of the event.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_features)
            The columns of the training rows, in the same order.

        Returns
        -------
        ndarray of shape (n,)
            Log-odds; above 0 the event is the likelier outcome.

        Raises
        ------
        ColumnsError
            When columns are missing, unknown, in another order or of another kind; all are named.
        InputError
            When the values cannot be used.
        """
        matrix = self._matrix(X)
        return self.calibration_.log_odds(
            reduce(np.add, (self._score(model, matrix) for model in self._bag)) / len(self._bag)
        )

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of both outcomes, in the order of `classes_`: shape (n, 2).

        The risk is the second column. Parameters and errors are those of `decision_function`.
        """
        log_odds = self.decision_function(X)
        return np.column_stack([expit(-log_odds), expit(log_odds)])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likelier outcome of each row, shape (n,).

        Whom to help is better decided by rank and capacity than by this cut at one half.
        Parameters and errors are those of `decision_function`.
        """
        likelier = (self.decision_function(X) > 0).astype(int)
        return cast(npt.NDArray[Any], self.classes_[likelier])

    def contributions(self, X: Any) -> tuple[Floats, float]:
        """Return what each feature adds to the calibrated log-odds (exact path-dependent SHAP values).

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_features)
            The columns of the training rows, in the same order.

        Returns
        -------
        values : ndarray of shape (n, n_features)
            In the order of `feature_names`.
        base : float
            Log-odds before any feature has spoken; ``values.sum(axis=1) + base`` is `decision_function`.

        Raises
        ------
        ColumnsError, InputError
            As for `decision_function`.

        References
        ----------
        Lundberg et al. (2020), From local explanations to global understanding with explainable AI for
        trees, Nature Machine Intelligence 2.
        """
        matrix = self._matrix(X)
        values = np.empty(matrix.shape)
        values[:, self._order], base = self.sorted_contributions(matrix)
        return values, base

    def sorted_contributions(self, matrix: Floats) -> tuple[Floats, float]:
        """Return what `contributions` returns, for a matrix that was checked.

        Parameters
        ----------
        matrix : float64 array of shape (n, n_features)
            Features in sorted order of the names, categories as places among `categories_`; nothing is checked.

        Returns
        -------
        values : ndarray of shape (n, n_features)
            In the same order.
        base : float
        """
        if self.logistic_ is None:
            return self.compiled().contributions(matrix, threads=self._n_threads or os.cpu_count() or 1)
        parts = self.logistic_.contributions(matrix)
        return self.calibration_.slope * parts[:, :-1], float(
            self.calibration_.log_odds(np.array([self.logistic_.base]))[0]
        )

    def compiled(self) -> TreeTables:
        """Return the boosted bag as tables that give reasons faster than LightGBM gives scores.

        They are compiled at the first call, which takes about a second, and kept in memory only: never saved,
        never read from anywhere. Their columns are the features in sorted order of the names.

        Returns
        -------
        TreeTables
            Of the calibrated log-odds.

        Raises
        ------
        SettingsError
            When the model is of the logistic kind, which has no trees.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame({"absent_days": rng.poisson(4, 400), "distance_km": rng.gamma(2, 2, 400)})
        >>> model = DropoutRiskClassifier(small_data="boosted").fit(X, rng.random(400) < expit(X["absent_days"] - 6))
        >>> np.allclose(model.compiled().scores(X), model.decision_function(X))
        True
        """
        check_is_fitted(self)
        if not self.boosters_:
            raise SettingsError("A logistic model has no trees to compile; its contributions are quick as they are.")
        if (tables := self.__dict__.get(_COMPILED)) is None:
            line = self.calibration_
            texts = [booster.model_to_string() for booster in self.boosters_]
            tables = compile_boosters(texts, scale=line.slope / len(texts), intercept=line.intercept)
            setattr(self, _COMPILED, tables)
        return cast(TreeTables, tables)

    def usual_values(self) -> pd.DataFrame:
        """Return `medians_` and `modes_` side by side, columns in the order of `feature_names`.

        Examples
        --------
        >>> model = DropoutRiskClassifier().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> model.usual_values()
              x0
        all  1.5
        """
        check_is_fitted(self)
        if (usual := self.__dict__.get(_USUAL)) is None:
            usual = self.medians_
            if len(self.modes_.columns):
                usual = pd.concat([self.medians_, self.modes_], axis=1)[self.feature_names]
            setattr(self, _USUAL, usual)
        return cast(pd.DataFrame, usual)

    @classmethod
    def from_bag(
        cls,
        boosters: list[str],
        calibration: Calibration,
        sample: pd.DataFrame,
        *,
        categories: Mapping[str, list[Any]],
        reason: str,
        **settings: Any,
    ) -> Self:
        """Return the fitted model of boosters that were trained elsewhere, as on a cluster.

        Parameters
        ----------
        boosters : list of str
            Their texts; columns in sorted order of the names, categories as places among their levels.
        calibration : Calibration
            Fitted to scores of rows that the scoring booster has not seen.
        sample : DataFrame of shape (n, n_features)
            Some of the training rows, from which the usual values are taken.
        categories : mapping of str to list
            Levels of each categorical feature.
        reason : str
            Sentence for `kind_reason_`.
        **settings
            Parameters of the classifier.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame({"absent_days": rng.poisson(4, 400), "distance_km": rng.gamma(2, 2, 400)})
        >>> model = DropoutRiskClassifier(small_data="boosted").fit(X, rng.random(400) < expit(X["absent_days"] - 6))
        >>> texts = [booster.model_to_string() for booster in model.boosters_]
        >>> same = DropoutRiskClassifier.from_bag(texts, model.calibration_, X, categories={}, reason="As before.")
        >>> bool((same.decision_function(X) == model.decision_function(X)).all())
        True
        """
        model = cls(**settings)
        model.categories_ = dict(categories)
        model._check_settings()
        model.feature_names_in_ = np.array(sample.columns, dtype=object)
        model.n_features_in_ = len(sample.columns)
        model.classes_ = np.array([0, 1])
        model.kind_, model.kind_reason_ = "boosted", reason
        model.boosters_ = [lgb.Booster(model_str=text) for text in boosters]
        model.logistic_ = None
        model.calibration_ = calibration
        numbers = frame_to_numbers(sample, model.categories_).to_numpy()
        model.medians_, model.modes_ = model._usual_values(numbers[:, model._order])
        return model

    def recalibrated(self, calibration: Calibration) -> Self:
        """Return a copy with another line from its scores to log-odds; the order of students stays.

        Examples
        --------
        >>> model = DropoutRiskClassifier().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> milder = model.recalibrated(model.calibration_.then(1.0, -1.0))
        >>> milder.decision_function([[3.0]]) - model.decision_function([[3.0]])
        array([-1.])
        """
        check_is_fitted(self)
        other = copy(self)
        other.__dict__.pop(_COMPILED, None)
        other.calibration_ = calibration
        return other

    @property
    def feature_names(self) -> list[str]:
        """Names of the features in the order of the training columns; ``x0, x1, ...`` for an array."""
        return list(getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)]))

    def to_files(self) -> dict[str, str]:
        """Return the fitted model as texts, from which `from_files` restores every bit of its answers.

        Returns
        -------
        dict of str to str
            File name -> text: ``model.json``, and ``booster_0.txt`` ... for the boosted kind.

        Examples
        --------
        >>> model = DropoutRiskClassifier().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> list(model.to_files())
        ['model.json']
        """
        check_is_fitted(self)
        parameters = self.get_params(deep=False)
        if isinstance(self.random_state, np.random.RandomState):
            parameters["random_state"] = None  # a generator is not a setting that can be written down
        boosters = {f"booster_{k}.txt": one.model_to_string() for k, one in enumerate(self.boosters_)}
        state = {
            "format": FORMAT,
            "parameters": parameters,
            "classes": self.classes_.tolist(),
            "feature_names": self.feature_names,
            "named": hasattr(self, "feature_names_in_"),
            "categories": self.categories_,
            "kind": self.kind_,
            "kind_reason": self.kind_reason_,
            "boosters": list(boosters),
            "logistic": self.logistic_ and self.logistic_.to_json(),
            "calibration": asdict(self.calibration_),
            "medians": _table_to_json(self.medians_),
            "modes": _table_to_json(self.modes_),
        }
        text = json.dumps(state, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1, default=_plain)
        return {"model.json": text + "\n", **boosters}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> Self:
        """Return the model that `to_files` wrote.

        Parameters
        ----------
        files : mapping of str to str
            File name -> text.

        Returns
        -------
        DropoutRiskClassifier
            Fitted; its predictions and contributions equal the original's bit for bit.

        Raises
        ------
        BundleError
            When a file is missing or damaged, or was written by a later version.

        Examples
        --------
        >>> model = DropoutRiskClassifier().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> DropoutRiskClassifier.from_files(model.to_files()).predict([[3.0]])
        array([1])
        """
        try:
            state = json.loads(files["model.json"])
            if state["format"] > FORMAT:
                raise BundleError(
                    f"model.json has format {state['format']}, but this version of dropout-risk reads up to "
                    f"{FORMAT}; upgrade dropout-risk."
                )
            return cls(**state["parameters"])._restore(state, files)
        except (KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as error:
            raise BundleError(
                f"The saved model is damaged or incomplete ({type(error).__name__}: {error}); "
                "copy it again from where it was saved."
            ) from error

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        self.classes_ = np.array(state["classes"])
        self.n_features_in_ = len(state["feature_names"])
        if state["named"]:
            self.feature_names_in_ = np.array(state["feature_names"], dtype=object)
        self.categories_ = state["categories"]
        self.kind_, self.kind_reason_ = state["kind"], state["kind_reason"]
        self.boosters_ = [lgb.Booster(model_str=files[name]) for name in state["boosters"]]
        self.logistic_ = state["logistic"] and AdditiveLogistic.from_json(state["logistic"])
        self.calibration_ = Calibration(**state["calibration"])
        self.medians_ = _table_from_json(state["medians"], dtype=np.float64)
        self.modes_ = _table_from_json(state["modes"], dtype=object)
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _DERIVED}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "medians_")  # the last thing that fit learns

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags

    def _check_settings(self) -> None:
        problems = [
            f"{name}={getattr(self, name)!r} has to be {words}."
            for name, (words, fits) in _SETTINGS.items()
            if not fits(getattr(self, name))
        ]
        constrained = self.monotone if isinstance(self.monotone, Mapping) else {}
        if unordered := sorted(set(constrained) & set(self.categories_)):
            problems.append(f"monotone names categories, which have no order: {', '.join(unordered)}.")
        if problems:
            raise SettingsError("DropoutRiskClassifier: " + " ".join(problems))

    def _choose_kind(self, rows: int, events: int) -> tuple[str, str]:
        counts = f"{rows:,} rows with {events:,} events"
        if self.small_data != "auto":
            name = "Boosted trees" if self.small_data == "boosted" else "Logistic model"
            return self.small_data, f'{name}: small_data="{self.small_data}" asked for it ({counts}).'
        needed = f"the {BOOSTED_ROWS:,} rows and {BOOSTED_EVENTS:,} events that trees need"
        if rows < BOOSTED_ROWS or events < BOOSTED_EVENTS:
            return "logistic", f"Logistic model: {counts} are fewer than {needed}."
        return "boosted", f"Boosted trees: {counts} are at least {needed}."

    def _cross_fit(
        self, matrix: Floats, event: Flags, weight: Floats, *, fold: npt.NDArray[np.intp], random: np.random.RandomState
    ) -> tuple[list[Any], Floats]:
        """Return one model per fold, trained on the other folds, and its scores of the fold, shape (n,)."""
        train = self._trainer(len(event))
        folds = range(fold.max() + 1)
        seeds = [random.randint(2**31 - 1) for _ in folds]

        def train_without(k: int) -> Any:
            inside = fold != k
            return train(matrix[inside], event[inside], weight[inside], seeds[k])

        # Matrices of a few hundred rows: threads of BLAS would spend more time waiting for one another than reckoning.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self._n_threads or os.cpu_count()) as pool:
            bag = list(pool.map(train_without, folds))
        held_out = np.empty(len(event))
        for k, model in enumerate(bag):
            held_out[fold == k] = self._score(model, matrix[fold == k])
        return bag, held_out

    def _trainer(self, n_rows: int) -> Callable[[Floats, Flags, Floats, int], Any]:
        """Return the function of rows, events, weights and a seed that trains one model of the bag."""
        names = [self.feature_names[place] for place in self._order]
        signs = [(self.monotone or {}).get(name, 0) for name in names]
        levels = {names.index(name): len(found) for name, found in self.categories_.items()}
        if self.kind_ == "logistic":
            return lambda matrix, event, weight, seed: AdditiveLogistic.fit(
                matrix, event, weight, levels=levels, signs=np.array(signs)
            )
        n_trees, settings = self.lightgbm_settings(n_rows, signs)

        def boost(matrix: Floats, event: Flags, weight: Floats, seed: int) -> lgb.Booster:
            rows = lgb.Dataset(matrix, event, weight=weight, categorical_feature=list(levels))
            booster = lgb.train({**settings, "seed": seed}, rows, num_boost_round=n_trees)
            return lgb.Booster(model_str=booster.model_to_string())  # as it will be when read from a file

        return boost

    def lightgbm_settings(self, n_rows: int, signs: list[int]) -> tuple[int, dict[str, Any]]:
        """Return how many trees each model of the bag has, and the settings with which LightGBM builds them.

        Parameters
        ----------
        n_rows : int
            Rows of the table.
        signs : list of int
            +1, -1 or 0 for each feature, in sorted order of the names.
        """
        n_trees = self.n_estimators if self.n_estimators != "auto" else 250 if n_rows >= MANY_ROWS else 150
        return n_trees, {
            "objective": "binary",
            **{name: getattr(self, name) for name in _LIGHTGBM},
            "bagging_freq": 1,
            "max_cat_to_onehot": 8,
            "monotone_constraints": signs if any(signs) else None,
            "num_threads": 1,  # one model a thread is quicker than several threads a model
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    @property
    def _n_threads(self) -> int:
        return 1 if self.n_jobs is None else max(self.n_jobs, 0)  # 0: LightGBM takes all cores

    @property
    def _order(self) -> npt.NDArray[np.intp]:
        """Places of the columns in the order the models see: by name, whatever order was passed."""
        named = getattr(self, "feature_names_in_", None)
        return np.arange(self.n_features_in_) if named is None else np.argsort(named)

    @property
    def _bag(self) -> list[Any]:
        return self.boosters_ or [self.logistic_]

    def _score(self, model: "lgb.Booster | AdditiveLogistic", matrix: Floats) -> Floats:
        """Return raw log-odds, shape (n,)."""
        if isinstance(model, AdditiveLogistic):
            return cast(Floats, model.contributions(matrix).sum(axis=1))
        return cast(Floats, model.predict(matrix, raw_score=True, num_threads=self._n_threads))

    def _matrix(self, X: Any) -> Floats:
        """Return rows to score as the models see them."""
        check_is_fitted(self)
        return cast(Floats, self._validated(X)[:, self._order])

    def _validated(self, X: Any, **target: Any) -> Any:
        """Return `X` as numbers, and `y` with it when it is passed (then the columns are learned)."""
        fitting = bool(target)
        if isinstance(X, pd.DataFrame):
            named = not fitting and (hasattr(self, "feature_names_in_") or self.categories_)
            if named and len(X):  # all that scikit-learn would look at has been looked at
                return frame_to_matrix(X, self.categories_, expected=self.feature_names)
            X = frame_to_numbers(X, self.categories_, expected=self.feature_names if named else None)
        elif self.categories_:
            raise ColumnsError(
                f"The model has categories ({', '.join(self.categories_)}), which an array cannot carry; "
                "pass a DataFrame with the columns of the training rows."
            )
        try:
            return validate_data(self, X, **target, reset=fitting, dtype=np.float64, ensure_all_finite="allow-nan")
        except ValueError as error:
            raise InputError(str(error)) from error

    def _usual_values(self, matrix: Floats) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return medians of numbers and modes of categories, for each value of `compare_within` and all."""
        frame = pd.DataFrame(matrix[:, np.argsort(self._order)], columns=self.feature_names)
        parts: dict[Any, pd.DataFrame] = {"all": frame}
        if self.compare_within in frame:
            within = str(self.compare_within)
            of_value = {self._label(within, value): part for value, part in frame.groupby(within)}
            parts = {**of_value, **parts}
        index = pd.Index(list(parts), dtype=object)
        numbers = [name for name in self.feature_names if name not in self.categories_]
        medians = pd.DataFrame([part[numbers].median() for part in parts.values()], columns=numbers)
        modes = {
            name: [self._label(name, next(iter(part[name].mode()), np.nan)) for part in parts.values()]
            for name in self.categories_
        }
        return medians.set_index(index), pd.DataFrame(modes, index, dtype=object)

    def _label(self, name: str, value: Any) -> Any:
        """Return what a number of the matrix stands for: itself, or a level, or nothing known."""
        if name not in self.categories_:
            return value
        return None if np.isnan(value) else self.categories_[name][int(value)]


def _two_classes(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the two outcomes in sorted order."""
    check_classification_targets(y)
    kind, classes = type_of_target(y, input_name="y"), np.unique(y)
    if kind != "binary":
        raise InputError(f"Only binary classification is supported. The type of the target is {kind}.")
    if len(classes) < 2:
        raise InputError("y holds 1 class only; a model needs students who left and students who stayed.")
    return classes


def _group_codes(groups: Any, n_rows: int) -> npt.NDArray[np.intp] | None:
    if groups is None:
        return None
    codes = pd.factorize(_one_per_row(groups, "groups", n_rows))[0]
    return cast(npt.NDArray[np.intp], codes)


def _latest(term: Any, n_rows: int) -> Flags:
    """Return which rows are of the last term; none when no terms are given."""
    if term is None:
        return np.zeros(n_rows, dtype=bool)
    labels = _one_per_row(term, "term", n_rows)
    try:
        return np.asarray(labels == labels.max(), dtype=bool)
    except TypeError:
        raise InputError(
            "The terms cannot be put in order; write all as numbers, all as text that sorts, or as an "
            "ordered categorical."
        ) from None


def _one_per_row(values: Any, name: str, n_rows: int) -> "pd.Series[Any]":
    labels = pd.Series(values).reset_index(drop=True)
    if len(labels) != n_rows:
        raise InputError(f"{name} has {len(labels)} values for {n_rows} rows of X; pass one for each row.")
    if (empty := np.flatnonzero(labels.isna())).size:
        raise InputError(
            f"{name} is empty in {empty.size} rows (first: row {empty[0]}, counted from 0); "
            "fill it in or leave these rows out."
        )
    return labels


def _deal(
    event: Flags, group: npt.NDArray[np.intp] | None, *, n_folds: int, random: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """Deal whole groups to folds at random, so that every training part has both outcomes.

    Groups are dealt round the folds in three runs: only stayed, both, only left. The groups with a given
    outcome are neighbours in that order, so two of them never leave a training part without it. Where one
    group holds all of an outcome that cannot be, and rows are dealt instead.
    """
    unit = np.arange(len(event)) if group is None else np.unique(group, return_inverse=True)[1]
    n_units = unit.max() + 1
    left = np.bincount(unit[event], minlength=n_units) > 0
    stayed = np.bincount(unit[~event], minlength=n_units) > 0
    if min(left.sum(), stayed.sum()) < 2:
        return _deal(event, None, n_folds=n_folds, random=random)
    shuffled = random.permutation(n_units)
    dealt = shuffled[np.argsort(left[shuffled].astype(int) - stayed[shuffled], kind="stable")]
    fold = np.empty(n_units, dtype=np.intp)
    fold[dealt] = np.arange(n_units) % min(n_folds, n_units)
    return fold[unit]


def _table_to_json(table: pd.DataFrame) -> dict[str, list[Any]]:
    values = table.astype(object).where(table.notna(), None)
    return {"index": list(table.index), "columns": list(table.columns), "rows": values.to_numpy().tolist()}


def _table_from_json(state: Mapping[str, Any], *, dtype: type) -> pd.DataFrame:
    index = pd.Index(state["index"], dtype=object)
    return pd.DataFrame(state["rows"], index, state["columns"], dtype=dtype)


def _plain(value: Any) -> Any:
    """Return a numpy number or a mapping as json can write it."""
    return dict(value) if isinstance(value, Mapping) else value.item()
