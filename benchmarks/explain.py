"""Measure exact contributions: ours beside LightGBM, shap, WOODELF, FastTreeSHAP, XGBoost and CatBoost.

All explain the same rows in turn, round after round, with the same number of threads; ratios are medians over
the rounds. Rows are drawn from a synthetic table of 30 features (4 of them categories, 13 with missing values);
the models learn from 100,000 others. XGBoost and CatBoost explain models of their own, of the same size.
Slow ones explain fewer rows in each round: their time per row does not depend on it.

    python benchmarks/explain.py [--full] [--rows N] [--rounds N] [--threads N] [--models NAME ...] [--peers NAME ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from accuracy import library_version
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.treeshap import TreeTables, compile_boosters

TRAINING_ROWS = 100_000
CATEGORIES = {0: 3, 1: 8, 2: 15, 3: 40}
"""Column -> number of levels."""
LIBRARIES = (
    "numpy", "numba", "lightgbm", "shap", "woodelf-explainer", "fasttreeshap", "xgboost", "catboost"
)  # fmt: skip
OURS, REFERENCE, PREDICT = "ours", "LightGBM pred_contrib", "LightGBM predict (no reasons)"
TOP = 5

Explain = Callable[[np.ndarray], np.ndarray]
"""From rows to contributions (n, n_features) of the mean score of the boosters, or to scores (n,)."""


@dataclass(frozen=True)
class Model:
    """A bag of boosters, and the table it learned from."""

    boosters: list[lgb.Booster]
    X: np.ndarray
    y: np.ndarray
    categories: tuple[int, ...]
    trees: int
    leaves: int
    depth: int
    tables: TreeTables = field(init=False)
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        texts = [booster.model_to_string() for booster in self.boosters]
        compile_boosters(texts[:1]).warm_up()  # the machine code is measured apart
        start = time.perf_counter()
        tables = compile_boosters(texts, scale=1 / len(texts))
        object.__setattr__(self, "seconds", time.perf_counter() - start)
        object.__setattr__(self, "tables", tables)

    def mean(self, explain: Callable[[lgb.Booster], np.ndarray]) -> np.ndarray:
        """Return the mean over the bag of what `explain` gives for each booster."""
        return np.mean([explain(booster) for booster in self.boosters], axis=0)


def draw(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a table of 30 features and who left."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 30))
    for column, levels in CATEGORIES.items():
        X[:, column] = random.integers(0, levels, n)
    X[:, 4:12] = random.poisson(np.arange(2, 10), (n, 8))
    score = 0.4 * X[:, 12] + 0.3 * X[:, 13] * X[:, 14] + 0.3 * np.abs(X[:, 15]) + 0.08 * X[:, 17:29].sum(axis=1)
    score += 0.5 * (X[:, 3] % 3 == 0) + 0.2 * X[:, 16] * (X[:, 2] > 7) + 0.1 * (X[:, 5] - 3)
    y = random.random(n) < 1 / (1 + np.exp(2.6 - score))
    X[:, 10:23][random.random((n, 13)) < 0.07] = np.nan
    return X, y.astype(int)


def default_model(*, categories: bool) -> Model:
    """Return the bag that our classifier trains with its default settings."""
    X, y = draw(TRAINING_ROWS, seed=0)
    frame = pd.DataFrame(X, columns=[f"x{j:02d}" for j in range(X.shape[1])])
    for column, levels in (CATEGORIES if categories else {}).items():
        codes = frame.iloc[:, column].astype(int)
        frame.isetitem(column, pd.Categorical.from_codes(codes, categories=range(levels)))
    model = DropoutRiskClassifier(n_jobs=-1).fit(frame, y)
    trees = sum(booster.num_trees() for booster in model.boosters_)
    return Model(model.boosters_, X, y, tuple(CATEGORIES) * categories, trees, model.num_leaves, model.max_depth)


def single_model(trees: int, leaves: int, depth: int) -> Model:
    """Return one booster with the categories as numbers, which all peers can explain."""
    X, y = draw(TRAINING_ROWS, seed=0)
    settings = {"objective": "binary", "learning_rate": 0.05, "num_leaves": leaves, "max_depth": depth, "verbose": -1}
    return Model([lgb.train(settings, lgb.Dataset(X, y), trees)], X, y, (), trees, leaves, depth)


MODELS: dict[str, Callable[[], Model]] = {
    "default": lambda: default_model(categories=True),
    "default-numbers": lambda: default_model(categories=False),
    "200x15": lambda: single_model(200, 15, 5),
    "400x31": lambda: single_model(400, 31, -1),
}
"""The default bag with native categories and with the categories as numbers; single boosters, the last one of
unlimited depth."""


def ours(model: Model, threads: int) -> Explain:
    """Return our contributions."""
    return lambda rows: model.tables.contributions(rows, threads=threads)[0]


def ours_top(model: Model, threads: int) -> Explain:
    """Return our scores with the strongest reasons beside them."""
    return lambda rows: model.tables.top(rows, TOP, threads=threads)[2]


def predict(model: Model, threads: int) -> Explain:
    """Return LightGBM's scores without reasons."""
    return lambda rows: model.mean(lambda one: one.predict(rows, raw_score=True, num_threads=threads))


def pred_contrib(model: Model, threads: int) -> Explain:
    """Return LightGBM's own contributions."""
    return lambda rows: model.mean(lambda one: one.predict(rows, pred_contrib=True, num_threads=threads)[:, :-1])


def shap(model: Model, threads: int) -> Explain:
    """Return those of shap.TreeExplainer."""
    from shap import TreeExplainer

    explainers = {id(booster): TreeExplainer(booster) for booster in model.boosters}
    return lambda rows: model.mean(lambda one: explainers[id(one)].shap_values(rows))


def woodelf(model: Model, threads: int) -> Explain:
    """Return those of WOODELF, which takes frames."""
    from woodelf import WoodelfExplainer

    explainers = {id(booster): WoodelfExplainer(booster) for booster in model.boosters}
    names = model.boosters[0].feature_name()
    return lambda rows: model.mean(
        lambda one: explainers[id(one)].shap_values(pd.DataFrame(rows, columns=names), verbose=False)
    )


def fasttreeshap(model: Model, threads: int) -> Explain:
    """Return those of FastTreeSHAP."""
    from fasttreeshap import TreeExplainer

    explainers = {id(booster): TreeExplainer(booster, n_jobs=threads) for booster in model.boosters}
    return lambda rows: model.mean(lambda one: explainers[id(one)].shap_values(rows)[1])


def xgboost(model: Model, threads: int) -> Explain:
    """Return those of XGBoost for its own model of the same size."""
    import xgboost as xgb

    settings = {
        "objective": "binary:logistic", "eta": 0.05, "max_leaves": model.leaves, "max_depth": max(model.depth, 0),
        "grow_policy": "lossguide", "tree_method": "hist", "nthread": threads,
    }  # fmt: skip
    booster = xgb.train(settings, xgb.DMatrix(model.X, model.y), model.trees)
    return lambda rows: booster.predict(xgb.DMatrix(rows, nthread=threads), pred_contribs=True)[:, :-1]


def catboost(model: Model, threads: int) -> Explain:
    """Return those of CatBoost for its own model: symmetric trees with about as many leaves."""
    from catboost import CatBoostClassifier, Pool

    depth = round(np.log2(model.leaves + 1))
    own = CatBoostClassifier(
        iterations=model.trees, depth=depth, learning_rate=0.05, verbose=False, thread_count=threads,
        allow_writing_files=False,
    ).fit(model.X, model.y)  # fmt: skip
    return lambda rows: own.get_feature_importance(Pool(rows), type="ShapValues", thread_count=threads)[:, :-1]


PEERS: dict[str, Callable[[Model, int], Explain]] = {
    "shap.TreeExplainer": shap,
    "WOODELF": woodelf,
    "FastTreeSHAP": fasttreeshap,
    "XGBoost, own model": xgboost,
    "CatBoost, own model": catboost,
}
SLOW = {REFERENCE, "shap.TreeExplainer", "FastTreeSHAP", "XGBoost, own model", "CatBoost, own model"}
OWN_MODEL = {"XGBoost, own model", "CatBoost, own model"}
NO_CATEGORIES = {"WOODELF": "refuses categories", "FastTreeSHAP": "fails on categories"}


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    warnings.filterwarnings("ignore", message="LightGBM binary classifier with TreeExplainer")  # once a call
    out = Console(width=max(150, Console().width))
    out.print(header(options))
    rows, _ = draw(options.rows, seed=1)
    results: dict[str, Any] = {}
    with threadpool_limits(options.threads):
        for name in options.models:
            model = MODELS[name]()
            explainers, left_out = prepare(model, options)
            found = measure(explainers, rows, options, name=name)
            single = one_student(model, rows)
            out.print(table(name, model, found, options))
            for peer, reason in left_out.items():
                out.print(f"Not in the table: {peer}. {reason}")
            out.print(
                f"One student: ours {single[OURS] * 1e6:.0f} us, LightGBM pred_contrib "
                f"{single[REFERENCE] * 1e6:.0f} us: {single[REFERENCE] / single[OURS]:.1f} times as long.\n"
            )
            results[name] = {"methods": found, "one_student": single, "compile_seconds": model.seconds}
    cold, warm = start_up()
    out.print(f"A new process until its first answer (200x15): {cold:.1f} s with nothing on disk, then {warm:.1f} s.")
    if options.json:
        report = {"header": header(options), "models": results, "start_up": {"cold": cold, "warm": warm}}
        options.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is not given follows from `--full`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="100,000 rows and 5 rounds, not 20,000 and 3")
    parser.add_argument("--rows", type=int, help="rows of the fast methods")
    parser.add_argument("--slow-rows", type=int, help="rows of the slow methods")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    options.rows = options.rows or (100_000 if options.full else 20_000)
    options.slow_rows = min(options.rows, options.slow_rows or (10_000 if options.full else 2_000))
    options.rounds = options.rounds or (5 if options.full else 3)
    return options


def header(options: argparse.Namespace) -> str:
    """Return what the figures depend on."""
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    return f"{os.cpu_count()} cores, {options.threads} thread(s); {libraries}"


def prepare(model: Model, options: argparse.Namespace) -> tuple[dict[str, Explain], dict[str, str]]:
    """Return the methods that work here, and why the others do not."""
    makers = {OURS: ours, f"ours, top {TOP}": ours_top, PREDICT: predict, REFERENCE: pred_contrib}
    explainers = {name: maker(model, options.threads) for name, maker in makers.items()}
    left_out = {}
    few, _ = draw(100, seed=2)
    for name in options.peers:
        if model.categories and name in NO_CATEGORIES:
            left_out[name] = NO_CATEGORIES[name]
            continue
        try:
            explain = PEERS[name](model, options.threads)
            explain(few)
        except Exception as error:  # a peer that does not install or run here is a line of the report
            left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        else:
            explainers[name] = explain
    return explainers, left_out


def measure(
    explainers: dict[str, Explain], rows: np.ndarray, options: argparse.Namespace, *, name: str
) -> dict[str, dict[str, float]]:
    """Return for each method the time per row, its ratio to ours, and the largest difference to the reference."""
    few = rows[: options.slow_rows]
    expected = explainers[REFERENCE](few)
    times: dict[str, list[float]] = {method: [] for method in explainers}
    for _ in track(range(options.rounds), description=name, console=Console(stderr=True)):
        for method, explain in explainers.items():
            own = few if method in SLOW else rows
            start = time.perf_counter()
            explain(own)
            times[method].append((time.perf_counter() - start) / len(own))
    found = {}
    for method, explain in explainers.items():
        ratio = median(its / our for its, our in zip(times[method], times[OURS], strict=True))
        found[method] = {"ratio": ratio, "seconds_per_row": median(times[method])}
        found[method]["rows"] = len(few if method in SLOW else rows)
        if method not in OWN_MODEL and (values := explain(few)).shape == expected.shape:
            found[method]["difference"] = float(np.abs(values - expected).max())
    return found


def one_student(model: Model, rows: np.ndarray, n: int = 200) -> dict[str, float]:
    """Return the median seconds to explain one row, called again and again for different rows."""
    times: dict[str, list[float]] = {OURS: [], REFERENCE: []}
    explainers = {OURS: ours(model, 1), REFERENCE: pred_contrib(model, 1)}
    for k in range(n):
        for method, explain in explainers.items():
            row = rows[k : k + 1]
            start = time.perf_counter()
            explain(row)
            times[method].append(time.perf_counter() - start)
    return {method: median(taken) for method, taken in times.items()}


def start_up() -> tuple[float, float]:
    """Return the seconds of a new process from the text to the first answer, with no machine code and with it."""
    code = (
        "import sys, time; text = open(sys.argv[1]).read(); start = time.perf_counter();"
        "from dropout_risk.treeshap import compile_boosters; compile_boosters([text]).warm_up();"
        "print(time.perf_counter() - start)"
    )
    X, y = draw(5_000, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "booster.txt"
        settings = {"objective": "binary", "num_leaves": 15, "max_depth": 5, "verbose": -1}
        lgb.train(settings, lgb.Dataset(X, y), 200).save_model(path)
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", code, str(path)]
        cold, warm = (
            float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout) for _ in range(2)
        )
    return cold, warm


def table(name: str, model: Model, found: dict[str, dict[str, float]], options: argparse.Namespace) -> Table:
    """Return the table of one model."""
    result = Table(
        title=f"{name}: {model.trees} trees of up to {model.leaves} leaves"
        f"{', native categories' if model.categories else ''}; compiled in {model.seconds:.2f} s to "
        f"{model.tables.nbytes / 2**20:.0f} MiB",
        caption=f"ratio: its time per row divided by ours; medians of {options.rounds} rounds in turn",
    )
    result.add_column("method")
    for column in ("ratio", "us per row", "rows", "max difference to pred_contrib"):
        result.add_column(column, justify="right", no_wrap=True)
    for method, figures in found.items():
        difference = f"{figures['difference']:.1e}" if "difference" in figures else ""
        cells = (f"×{figures['ratio']:.2f}", f"{figures['seconds_per_row'] * 1e6:.2f}", f"{figures['rows']:,.0f}")
        result.add_row(method, *cells, difference)
    return result


if __name__ == "__main__":
    sys.exit(main())
