"""The simple and the standard models that ours is measured beside.

Each factory returns an unfitted scikit-learn classifier that takes a DataFrame of numeric, bool and
pandas category columns with NaN, as `DropoutRiskClassifier` does, so that all of them learn from exactly
the same table. They are what a competent team would try first, with the settings that it would start
from; none is weakened, and one of them (`lightgbm_optuna`) is tuned.
"""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from dropout_risk.errors import MissingExtraError

FloatArray = NDArray[np.float64]

Factory = Callable[..., Any]
"""Called as ``factory(n_jobs=1, seed=0)``; returns an unfitted classifier."""


def logistic_regression(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return logistic regression on imputed (median, with indicators), scaled and one-hot columns.

    Parameters
    ----------
    n_jobs, seed : int
        Taken so that all factories are called alike; the fit is one exact optimum on one thread.

    Returns
    -------
    sklearn.pipeline.Pipeline

    Examples
    --------
    >>> X = pd.DataFrame({"absent": [0.0, 9.0, None, 1.0], "poor": pd.Categorical(["no", "yes", "yes", None])})
    >>> logistic_regression().fit(X, [0, 1, 1, 0]).predict(X)
    array([0, 1, 1, 0])
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = make_pipeline(
        _as_floats(),
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    return make_pipeline(_by_kind(numbers), LogisticRegression(max_iter=5000, random_state=seed))


def hist_gradient_boosting(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return scikit-learn's histogram gradient boosting with its defaults.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    HistGradientBoostingPeer

    Examples
    --------
    >>> hist_gradient_boosting(seed=7).seed
    7
    """
    return HistGradientBoostingPeer(n_jobs=n_jobs, seed=seed)


def lightgbm_defaults(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return LightGBM with its defaults, made deterministic.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    lightgbm.LGBMClassifier

    Examples
    --------
    >>> lightgbm_defaults(n_jobs=2).n_jobs
    2
    """
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=n_jobs, random_state=seed, **_LIGHTGBM_QUIET)


def random_forest(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return a random forest of 400 trees with at least 5 rows a leaf, on one-hot categories.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    sklearn.pipeline.Pipeline

    Examples
    --------
    >>> random_forest()[-1].n_estimators
    400
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    forest = RandomForestClassifier(400, min_samples_leaf=5, n_jobs=n_jobs, random_state=seed)
    return make_pipeline(_by_kind(_as_floats()), forest)


def xgboost_defaults(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return XGBoost with its defaults and its own handling of categories.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    xgboost.XGBClassifier

    Raises
    ------
    MissingExtraError
        When xgboost is not installed.

    Examples
    --------
    >>> xgboost_defaults().enable_categorical  # doctest: +SKIP
    True
    """
    xgboost = _library("xgboost", package="xgboost")
    return xgboost.XGBClassifier(enable_categorical=True, n_jobs=n_jobs, random_state=seed)


def catboost_defaults(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return CatBoost with its defaults and its own handling of categories.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    CatBoostPeer

    Raises
    ------
    MissingExtraError
        When catboost is not installed.

    Examples
    --------
    >>> catboost_defaults(seed=3)  # doctest: +SKIP
    CatBoostPeer(seed=3)
    """
    _library("catboost", package="catboost")
    return CatBoostPeer(n_jobs=n_jobs, seed=seed)


def explainable_boosting(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return the explainable boosting machine of `interpret` with its defaults.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    sklearn.pipeline.Pipeline

    Raises
    ------
    MissingExtraError
        When interpret-core is not installed.

    Examples
    --------
    >>> explainable_boosting()[-1].n_jobs  # doctest: +SKIP
    1
    """
    from sklearn.pipeline import make_pipeline

    _library("interpret.glassbox", package="interpret-core")
    return make_pipeline(_filled_columns(), ExplainableBoostingPeer(n_jobs=n_jobs, seed=seed))


def lightgbm_optuna(*, n_jobs: int = 1, seed: int = 0) -> Any:
    """Return LightGBM tuned by 30 trials of Optuna on inner folds that keep groups whole.

    Parameters
    ----------
    n_jobs, seed : int

    Returns
    -------
    TunedLightGBM

    Raises
    ------
    MissingExtraError
        When optuna is not installed.

    Examples
    --------
    >>> lightgbm_optuna().trials  # doctest: +SKIP
    30
    """
    _library("optuna", package="optuna")
    return TunedLightGBM(n_jobs=n_jobs, seed=seed)


PEERS: Mapping[str, Factory] = MappingProxyType(
    {
        "logistic_regression": logistic_regression,
        "hist_gradient_boosting": hist_gradient_boosting,
        "lightgbm_defaults": lightgbm_defaults,
    }
)
"""Peers that need no library beyond those of this package."""

BENCH_PEERS: Mapping[str, Factory] = MappingProxyType(
    {
        "random_forest": random_forest,
        "xgboost_defaults": xgboost_defaults,
        "catboost_defaults": catboost_defaults,
        "explainable_boosting": explainable_boosting,
        "lightgbm_optuna": lightgbm_optuna,
    }
)
"""Further peers, slower or of the ``bench`` extra; a factory whose library is missing raises."""

_LIGHTGBM_QUIET = {"verbose": -1, "deterministic": True, "force_col_wise": True}


class _Wrapped(ClassifierMixin, BaseEstimator):
    """A library's classifier `model_`, and what its frames need done to them first."""

    def __init__(self, n_jobs: int = 1, seed: int = 0) -> None:
        self.n_jobs = n_jobs
        self.seed = seed

    def _prepare(self, X: pd.DataFrame) -> pd.DataFrame:
        return X

    def _keep(self, model: Any) -> Self:
        self.model_ = model
        self.classes_ = np.asarray(model.classes_)
        return self

    def predict_proba(self, X: pd.DataFrame) -> FloatArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame, shape (n, features)

        Returns
        -------
        ndarray of float, shape (n, 2)
        """
        return np.asarray(self.model_.predict_proba(self._prepare(X)), dtype=np.float64)

    def predict(self, X: pd.DataFrame) -> NDArray[np.generic]:
        """Return the likelier class.

        Parameters
        ----------
        X : DataFrame, shape (n, features)

        Returns
        -------
        ndarray, shape (n,)
        """
        likelier: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return likelier


class HistGradientBoostingPeer(_Wrapped):
    """Histogram gradient boosting with its defaults, on as many OpenMP threads as it is told.

    Parameters
    ----------
    n_jobs, seed : int
    """

    def fit(self, X: pd.DataFrame, y: Any) -> Self:
        """Fit on the rows given.

        Parameters
        ----------
        X : DataFrame, shape (n, features)
        y : array of 0 and 1, shape (n,)
        """
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.pipeline import make_pipeline
        from threadpoolctl import threadpool_limits

        boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=self.seed)
        with threadpool_limits(limits=self.n_jobs, user_api="openmp"):
            return self._keep(make_pipeline(_filled_columns(), boosting).fit(X, y))


class CatBoostPeer(_Wrapped):
    """CatBoost with its defaults; categories go in as text, because it takes no missing category.

    Parameters
    ----------
    n_jobs, seed : int
    """

    def _prepare(self, X: pd.DataFrame) -> pd.DataFrame:
        is_category = {column: isinstance(X[column].dtype, pd.CategoricalDtype) for column in X}
        return pd.DataFrame(
            {
                column: X[column].astype("str").fillna("missing") if flag else X[column].astype("float64")
                for column, flag in is_category.items()
            }
        )

    def fit(self, X: pd.DataFrame, y: Any) -> Self:
        """Fit on the rows given.

        Parameters
        ----------
        X : DataFrame, shape (n, features)
        y : array of 0 and 1, shape (n,)
        """
        model = _library("catboost", package="catboost").CatBoostClassifier(
            cat_features=list(X.select_dtypes("category").columns),
            thread_count=self.n_jobs,
            random_seed=self.seed,
            verbose=0,
            allow_writing_files=False,
        )
        return self._keep(model.fit(self._prepare(X), np.asarray(y)))


class ExplainableBoostingPeer(_Wrapped):
    """The explainable boosting machine with its defaults, without its notice about plots of missing values.

    Parameters
    ----------
    n_jobs, seed : int
    """

    def fit(self, X: pd.DataFrame, y: Any) -> Self:
        """Fit on the rows given.

        Parameters
        ----------
        X : DataFrame, shape (n, features)
        y : array of 0 and 1, shape (n,)
        """
        glassbox = _library("interpret.glassbox", package="interpret-core")
        model = glassbox.ExplainableBoostingClassifier(n_jobs=self.n_jobs, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Missing values detected", category=UserWarning)
            return self._keep(model.fit(X, np.asarray(y)))


class TunedLightGBM(_Wrapped):
    """LightGBM whose settings are searched for average precision on inner folds that keep groups whole.

    Parameters
    ----------
    n_jobs, seed : int
    trials : int
        Number of settings tried (the first is the library's own).
    folds : int
        Number of inner folds.
    """

    def __init__(self, n_jobs: int = 1, seed: int = 0, *, trials: int = 30, folds: int = 3) -> None:
        super().__init__(n_jobs, seed)
        self.trials = trials
        self.folds = folds

    def fit(self, X: pd.DataFrame, y: Any, groups: Any = None) -> Self:
        """Search, then fit the best settings on all rows.

        Parameters
        ----------
        X : DataFrame, shape (n, features)
        y : array of 0 and 1, shape (n,)
        groups : array, shape (n,), optional
            Schools or villages, kept whole in the inner folds; rows are dealt singly without it.
        """
        from sklearn.model_selection import StratifiedGroupKFold

        optuna = _library("optuna", package="optuna")
        labels = np.asarray(y)
        units = np.arange(len(labels)) if groups is None else np.asarray(groups)
        dealer = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
        folds = list(dealer.split(X, labels, units))
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
            study.enqueue_trial(_LIGHTGBM_START)
            study.optimize(lambda trial: self._quality(trial, X, labels, folds), n_trials=self.trials)
        finally:
            optuna.logging.set_verbosity(verbosity)
        self.quality_ = float(study.best_value)
        return self._keep(self._booster(study.best_params).fit(X, labels))

    def _quality(self, trial: Any, X: pd.DataFrame, labels: NDArray[Any], folds: list[Any]) -> float:
        from sklearn.metrics import average_precision_score

        settings = {
            "n_estimators": trial.suggest_int("n_estimators", 50, 600, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 64, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 5, 200, log=True),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
        }
        qualities = []
        for train, test in folds:
            booster = self._booster(settings).fit(X.iloc[train], labels[train])
            risk = booster.predict_proba(X.iloc[test])[:, 1]
            qualities.append(average_precision_score(labels[test], risk))
        return float(np.mean(qualities))

    def _booster(self, settings: Mapping[str, Any]) -> Any:
        from lightgbm import LGBMClassifier

        return LGBMClassifier(
            **settings, subsample_freq=1, n_jobs=self.n_jobs, random_state=self.seed, **_LIGHTGBM_QUIET
        )


_LIGHTGBM_START = {
    "n_estimators": 100, "learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20,
    "colsample_bytree": 1.0, "subsample": 1.0, "reg_lambda": 1e-3,
}  # fmt: skip


def _library(module: str, *, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(package, "bench") from error


def _by_kind(numbers: Any) -> Any:
    """Return a step that one-hot encodes the categories and hands the other columns to `numbers`."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_include="category")),
        (numbers, make_column_selector(dtype_exclude="category")),
    )


def _as_floats() -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(_to_floats, feature_names_out="one-to-one")


def _to_floats(X: pd.DataFrame) -> pd.DataFrame:
    return X.astype("float64")


def _filled_columns() -> Any:
    """Return a step that keeps the columns with a value in the rows it is fitted on; some models need one."""
    from sklearn.compose import make_column_transformer

    step = make_column_transformer(("passthrough", _names_of_filled), verbose_feature_names_out=False)
    return step.set_output(transform="pandas")


def _names_of_filled(X: pd.DataFrame) -> list[str]:
    return list(X.columns[X.notna().any()])
