"""Measure training: our default fit beside bare LightGBM building the same trees, and other libraries.

Bare LightGBM gets the rows of each fold and the settings that our classifier gives it, and builds the very same trees
(their texts are compared); what is left is the price of checks, of held-out scores and of calibration. The others
build as many trees of as many leaves in all. All learn the same rows in turn, round after round.

    python benchmarks/train.py [--full] [--rows N ...] [--rounds N] [--threads N] [--peers NAME ...]
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from accuracy import library_version
from explain import CATEGORIES, draw
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from dropout_risk import model as ours
from dropout_risk.model import DropoutRiskClassifier

LIBRARIES = ("numpy", "lightgbm", "scikit-learn", "xgboost", "catboost")
OURS, BARE = "dropout_risk, default fit", "bare LightGBM, the same trees"
LEAVES, DEPTH = 15, 5

Fit = Callable[[pd.DataFrame, np.ndarray], Any]


class Recorded:
    """What our classifier hands to LightGBM in one fit."""

    def __init__(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.calls: list[tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, list[int], int]] = []
        real_train, real_dataset = lgb.train, lgb.Dataset
        rows: dict[int, tuple[Any, ...]] = {}

        def dataset(data: np.ndarray, label: np.ndarray, **options: Any) -> lgb.Dataset:
            made = real_dataset(data, label, **options)
            rows[id(made)] = (data, label, options["weight"], options["categorical_feature"])
            return made

        def train(settings: dict[str, Any], data: lgb.Dataset, num_boost_round: int) -> lgb.Booster:
            self.calls.append((settings, *rows[id(data)], num_boost_round))
            return real_train(settings, data, num_boost_round=num_boost_round)

        ours.lgb.train, ours.lgb.Dataset = train, dataset
        try:
            self.texts = [one.model_to_string() for one in DropoutRiskClassifier().fit(X, y).boosters_]
        finally:
            ours.lgb.train, ours.lgb.Dataset = real_train, real_dataset

    def build(self, threads: int) -> list[str]:
        """Let LightGBM build the trees, as many boosters at a time as there are threads; return their texts."""
        from concurrent.futures import ThreadPoolExecutor

        def one(call: tuple[Any, ...]) -> lgb.Booster:
            settings, data, label, weight, categories, rounds = call
            rows = lgb.Dataset(data, label, weight=weight, categorical_feature=categories)
            return lgb.train(settings, rows, num_boost_round=rounds)

        with ThreadPoolExecutor(threads) as pool:
            return [booster.model_to_string() for booster in pool.map(one, self.calls)]


def hist_gradient_boosting(trees: int, threads: int) -> Fit:
    """Return scikit-learn's."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    settings = {"max_iter": trees, "max_leaf_nodes": LEAVES, "max_depth": DEPTH, "early_stopping": False}
    return lambda X, y: HistGradientBoostingClassifier(**settings, categorical_features="from_dtype").fit(X, y)


def xgboost(trees: int, threads: int) -> Fit:
    """Return XGBoost's."""
    from xgboost import XGBClassifier

    settings = {"n_estimators": trees, "max_leaves": LEAVES, "max_depth": DEPTH, "grow_policy": "lossguide"}
    return lambda X, y: XGBClassifier(**settings, tree_method="hist", n_jobs=threads, enable_categorical=True).fit(X, y)


def catboost(trees: int, threads: int) -> Fit:
    """Return CatBoost's, with categories as numbers."""
    from catboost import CatBoostClassifier

    settings = {"iterations": trees, "depth": 4, "thread_count": threads, "verbose": False}
    return lambda X, y: CatBoostClassifier(**settings, allow_writing_files=False).fit(_numbers(X), y)


PEERS = {"HistGradientBoosting": hist_gradient_boosting, "XGBoost": xgboost, "CatBoost": catboost}


def _numbers(X: pd.DataFrame) -> pd.DataFrame:
    return X.assign(**{name: X[name].cat.codes for name in X.select_dtypes("category")})


def students(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table of 30 features, 4 of them categories, and who left."""
    X, y = draw(n, seed=0)
    frame = pd.DataFrame(X, columns=[f"x{j:02d}" for j in range(X.shape[1])])
    for column, levels in CATEGORIES.items():
        frame.isetitem(column, pd.Categorical.from_codes(frame.iloc[:, column].astype(int), categories=range(levels)))
    return frame, y


def measure(n: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return for each trainer the time and its ratio to bare LightGBM."""
    X, y = students(n)
    recorded = Recorded(X, y)
    trees = sum(call[-1] for call in recorded.calls)
    if [_trees(text) for text in recorded.build(options.threads)] != [_trees(text) for text in recorded.texts]:
        raise SystemExit("Bare LightGBM has built other trees; the comparison would mean nothing.")
    fits: dict[str, Callable[[], Any]] = {
        OURS: lambda: DropoutRiskClassifier(n_jobs=options.threads).fit(X, y),
        BARE: lambda: recorded.build(options.threads),
    }
    for name in options.peers:
        fit = PEERS[name](trees, options.threads)
        fits[name] = lambda fit=fit: fit(X, y)
    times: dict[str, list[float]] = {name: [] for name in fits}
    for _ in track(range(options.rounds), description=f"{n:,} rows", console=Console(stderr=True)):
        for name, fit in fits.items():
            start = time.perf_counter()
            fit()
            times[name].append(time.perf_counter() - start)
    return {
        name: {
            "ratio": median(own / bare for own, bare in zip(each, times[BARE], strict=True)),
            "seconds": median(each),
            "trees": trees,
        }
        for name, each in times.items()
    }


def _trees(text: str) -> str:
    """Return the trees of a model text, without the settings that follow them."""
    return text[text.index("\nTree=") : text.index("\nend of trees")]


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    out = Console(width=max(120, Console().width))
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    out.print(f"{os.cpu_count()} cores, {options.threads} thread(s); {libraries}")
    results = {}
    with threadpool_limits(options.threads):
        for n in options.rows:
            results[n] = measure(n, options)
            out.print(table(n, results[n], options))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def table(n: int, found: dict[str, dict[str, float]], options: argparse.Namespace) -> Table:
    """Return the table of one number of rows."""
    trees = next(iter(found.values()))["trees"]
    result = Table(
        title=f"{n:,} rows, {trees:.0f} trees of up to {LEAVES} leaves in all",
        caption=f"ratio: its time divided by that of bare LightGBM; medians of {options.rounds} rounds in turn",
    )
    result.add_column("trainer")
    for column in ("ratio", "seconds"):
        result.add_column(column, justify="right", no_wrap=True)
    for name, figures in found.items():
        result.add_row(name, f"×{figures['ratio']:.2f}", f"{figures['seconds']:.1f}")
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is not given follows from `--full`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="100,000 and 1 million rows, not 20,000")
    parser.add_argument("--rows", type=int, nargs="+", help="numbers of rows")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    options.rows = options.rows or ([100_000, 1_000_000] if options.full else [20_000])
    options.rounds = options.rounds or (1 if options.full else 3)
    return options


if __name__ == "__main__":
    sys.exit(main())
