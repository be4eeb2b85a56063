"""Measure how our default does on few rows, beside logistic regression and LightGBM.

Small places have small tables. For each size, whole groups are drawn from the training rows of a file until
the size is reached, several times; ours, logistic regression and LightGBM's defaults learn from the same
rows and are tested on the same held-out fold of villages or schools (PROGRESA, Kenya) or years (EPH).
Differences are paired, with intervals that resample both the draws and the groups tested. "better" is the
peer that does better at this size, chosen after the fact, so that the choice is never in our favour.

    python benchmarks/learning_curve.py --data DIR [--files progresa kenya eph] [--sizes 250 500 ...] [--draws 8]
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy import FILES, NOT_FEATURES, OURS, REPOSITORY, header, splits_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dropout_risk.metrics import bootstrap, draw_groups, measure
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import PEERS

SIZES = (250, 500, 1000, 2000, 4000, 8000)
METRICS = {"average_precision": 1, "log_loss": -1}
"""What is compared, and the sign that makes more the better."""
BESIDE = ("logistic_regression", "lightgbm_defaults")
N_BOOT = 200

Makers = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Point:
    """What one model reached at one size: metric -> value of each draw, and its replicates (draws, N_BOOT)."""

    values: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    makers: Makers = {OURS: DropoutRiskClassifier, **{name: PEERS[name] for name in BESIDE}}
    out = Console(width=max(150, Console().width))
    out.print(header(1))
    results: dict[str, Any] = {}
    for name in options.files:
        frame = pd.read_parquet(options.data / f"{name}.parquet")
        lines = []
        for size in available(frame, options.sizes):
            points = learn(frame, makers, size=size, n_draws=options.draws)
            lines += [line(points, metric, size=size) for metric in METRICS]
        out.print(table(lines, name=name))
        results[name] = lines
    worse = [(name, one["rows"], one["metric"]) for name, lines in results.items() for one in lines if one["worse"]]
    out.print(f"Significantly worse than the better of the two: {worse or 'nowhere'}.")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("DROPOUT_RISK_DATA", str(REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the three files")
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="training rows")
    parser.add_argument("--draws", type=int, default=8, help="training samples of each size")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    return parser.parse_args(arguments)


def available(frame: pd.DataFrame, sizes: Sequence[int]) -> list[int]:
    """Return the sizes that every training part of the file can give."""
    most = min(train.sum() for train, _ in splits_of(frame))
    return [size for size in sizes if size <= most]


def learn(frame: pd.DataFrame, makers: Makers, *, size: int, n_draws: int) -> dict[str, Point]:
    """Return what each model reached after learning from each sample."""
    found: dict[str, list[tuple[dict[str, float], dict[str, np.ndarray]]]] = {name: [] for name in makers}
    for rows, test in track(list(samples(frame, size=size, n_draws=n_draws)), f"{size:,} rows", transient=True):
        draws = draw_groups(frame["group"][test], n_boot=N_BOOT)
        y = frame["y"].to_numpy()
        for name, make in makers.items():
            risk = scores(make(), frame, rows=rows, test=test)
            found[name].append((measure(y[test], risk), bootstrap(y[test], risk, draws=draws)))
    return {
        name: Point(
            values={metric: np.array([values[metric] for values, _ in parts]) for metric in METRICS},
            replicates={metric: np.array([replicates[metric] for _, replicates in parts]) for metric in METRICS},
        )
        for name, parts in found.items()
    }


def samples(frame: pd.DataFrame, *, size: int, n_draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training rows and test rows of each draw; the draws go round the folds."""
    splits = splits_of(frame)
    for draw in range(n_draws):
        train, test = splits[draw % len(splits)]
        groups = np.random.default_rng([size, draw]).permutation(frame["group"][train].unique())
        rows_of = frame["group"][train].value_counts()[groups].cumsum()
        chosen = groups[: int(np.searchsorted(rows_of, size)) + 1]
        yield train & frame["group"].isin(chosen).to_numpy(), test


def scores(model: Any, frame: pd.DataFrame, *, rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the risks of the test rows after learning from `rows`."""
    X = frame.drop(columns=[column for column in NOT_FEATURES if column in frame])
    known: dict[str, Any] = {}
    if isinstance(model, DropoutRiskClassifier):
        known = {"groups": frame["group"][rows], "term": frame["year"][rows] if "year" in frame else None}
    return model.fit(X[rows], frame["y"][rows], **known).predict_proba(X[test])[:, 1]


def line(points: dict[str, Point], metric: str, *, size: int) -> dict[str, Any]:
    """Return one line of the table: values, and differences that are above 0 where ours is better."""
    mean = {name: float(point.values[metric].mean()) for name, point in points.items()}
    better = max(BESIDE, key=lambda name: METRICS[metric] * mean[name])
    differences = {name: difference(points[OURS], points[name], metric) for name in BESIDE}
    worse = differences[better]["high"] < 0
    return {"rows": size, "metric": metric, "mean": mean, "better": better, "differences": differences, "worse": worse}


def difference(ours: Point, peer: Point, metric: str) -> dict[str, float]:
    """Return how much better ours is, with an interval over the draws and over the groups tested."""
    gain = METRICS[metric] * (ours.replicates[metric] - peer.replicates[metric])
    n_draws, n_boot = gain.shape
    drawn = np.random.default_rng(0).integers(n_draws, size=(n_draws, n_boot))
    low, high = np.nanquantile(gain[drawn, np.arange(n_boot)].mean(axis=0), [0.025, 0.975])
    value = METRICS[metric] * (ours.values[metric] - peer.values[metric]).mean()
    return {"value": float(value), "low": float(low), "high": float(high)}


def table(lines: list[dict[str, Any]], *, name: str) -> Table:
    """Return the table of one file."""
    result = Table(
        title=f"{name}: mean over the draws",
        caption="Difference: how much better ours is [95 %]; ▲ better, ▼ worse, clear of 0; * the better of the two.",
    )
    result.add_column("metric")
    for column in ("rows", OURS, *BESIDE, *(f"on {peer}" for peer in BESIDE)):
        result.add_column(column, justify="right", no_wrap=True)
    for one in sorted(lines, key=lambda one: list(METRICS).index(one["metric"])):
        means = [f"{value:.3f}{'*' if peer == one['better'] else ' '}" for peer, value in one["mean"].items()]
        compared = [interval(one["differences"][peer]) for peer in BESIDE]
        result.add_row(one["metric"], f"{one['rows']:,}", *means, *compared)
    return result


def interval(found: dict[str, float]) -> str:
    """Return a difference with its interval, and a mark where it is clear of zero."""
    mark = "▲" if found["low"] > 0 else "▼" if found["high"] < 0 else " "
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}] {mark}"


if __name__ == "__main__":
    sys.exit(main())
