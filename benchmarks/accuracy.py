"""Measure our accuracy on real children, beside the simple rule and the models that others would use.

Three public files (see the README of the data folder): PROGRESA and Kenya pooled over held-out folds of
whole villages and schools, EPH trained on 2003-2009 and tested on 2010-2011. All models learn from the
same columns of the same rows; the rule is a baseline and never a feature; nobody's settings know the files.
Differences are paired: the same resampled groups for both models.

    python benchmarks/accuracy.py --data DIR [--peers all|fast|NAME ...] [--files progresa kenya eph] [--json FILE]
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from threadpoolctl import threadpool_limits

from dropout_risk.errors import MissingExtraError
from dropout_risk.evaluation import Evaluation, Interval, cross_scores, evaluate
from dropout_risk.model import DropoutRiskClassifier
from dropout_risk.peers import BENCH_PEERS, PEERS

FILES = ("progresa", "kenya", "eph")
NOT_FEATURES = ("y", "group", "fold", "split", "rule", "year")
OURS = "dropout_risk"
LIBRARIES = ("numpy", "pandas", "scikit-learn", "lightgbm", "xgboost", "catboost", "interpret-core", "optuna")
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    if missing := [name for name in options.files if not (options.data / f"{name}.parquet").is_file()]:
        print(
            f"{options.data} lacks {', '.join(f'{name}.parquet' for name in missing)}: give the folder of the "
            "files with --data or in DROPOUT_RISK_DATA, or choose others with --files.",
            file=sys.stderr,
        )
        return 2
    everyone = {**PEERS, **BENCH_PEERS}
    sets = {"all": list(everyone), "fast": list(PEERS)}
    factories = {name: everyone[name] for given in options.peers for name in sets.get(given, [given])}
    models: dict[str, Any] = {OURS: DropoutRiskClassifier(n_jobs=options.jobs)}
    left_out = {}
    for name, factory in factories.items():
        try:
            models[name] = factory(n_jobs=options.jobs)
        except MissingExtraError as error:
            left_out[name] = str(error)

    out = Console(width=max(150, Console().width))
    out.print(header(options.jobs))
    for name, reason in left_out.items():
        out.print(f"Not in the table: {name}. {reason}")
    results = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        for name in options.files:
            frame = pd.read_parquet(options.data / f"{name}.parquet")
            found, seconds = judge(frame, models, name=name, jobs=options.jobs, progress=progress)
            out.print(table(found, seconds, name=name))
            results[name] = {**found.to_dict(), "seconds": seconds}
    if options.json:
        report = {"header": header(options.jobs), "left_out": left_out, "files": results}
        options.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("DROPOUT_RISK_DATA", str(REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the three files")
    names = ("all", "fast", *PEERS, *BENCH_PEERS)
    parser.add_argument("--peers", nargs="+", choices=names, default=["all"], help="all, fast, or names")
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--jobs", type=int, default=1, help="threads of every model")
    return parser.parse_args(arguments)


def header(jobs: int) -> str:
    """Return what the figures and the times depend on."""
    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    return (
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{jobs} thread(s) a model; {libraries}"
    )


def peak_mib() -> float:
    """Return the most memory that this process has had, on Linux."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    return float(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 2**10


def library_version(name: str) -> str:
    """Return the installed version, or a dash."""
    try:
        return version(name)
    except ImportError:
        return "-"


def splits_of(frame: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the splits that a file prescribes: each fold by the others, or test by train."""
    if "fold" in frame:
        return [((frame["fold"] != k).to_numpy(), (frame["fold"] == k).to_numpy()) for k in range(5)]
    is_test = (frame["split"] == "test").to_numpy()
    return [(~is_test, is_test)]


def judge(
    frame: pd.DataFrame, models: dict[str, Any], *, name: str, jobs: int, progress: Progress
) -> tuple[Evaluation, dict[str, float]]:
    """Return the evaluation of our model beside the others, and the seconds that each took."""
    X = frame.drop(columns=[column for column in NOT_FEATURES if column in frame])
    splits = splits_of(frame)
    risks, seconds = {}, {}
    for model_name, model in models.items():
        with step(progress, f"{name}: {model_name}", total=len(splits)) as advance, threadpool_limits(jobs):
            start = time.perf_counter()
            risks[model_name] = cross_scores(
                model,
                X,
                frame["y"],
                splits,
                groups=frame["group"],
                term=frame.get("year"),  # only our fit takes a term
                progress=lambda done, _: advance(done),
            )
            seconds[model_name] = time.perf_counter() - start
    ours = risks.pop(OURS)
    found = evaluate(frame["y"], ours, groups=frame["group"], rules={"rule": frame["rule"]}, peers=risks)
    return found, seconds


@contextmanager
def step(progress: Progress, description: str, *, total: int) -> Iterator[Any]:
    """Show one line of progress; yield the function that moves it."""
    task = progress.add_task(description, total=total)
    yield lambda done: progress.update(task, completed=done)
    progress.remove_task(task)


def table(found: Evaluation, seconds: dict[str, float], *, name: str) -> Table:
    """Return the table of one file."""
    result = Table(
        title=f"{name}: {found.n_rows:,} children of {found.n_groups:,} groups, {found.base_rate:.1%} left",
        caption="time: fit and score, ratio to ours. Differences: ours minus it [95 %]; "
        "▲ ours is better, ▼ ours is worse by an interval clear of 0.",
    )
    result.add_column("model")
    for column in ("AUC", "AP", "ECE", "log-loss", "recall@10", "time", "AUC difference", "AP difference"):
        result.add_column(column, justify="right", no_wrap=True)
    metrics = ("auc", "average_precision", "ece", "log_loss", "recall_at_10")
    lines = {OURS: found.metrics, **found.peers, **found.rules}
    for model_name, figures in lines.items():
        cells = [f"{figures[metric].value:.3f}" if metric in figures else "" for metric in metrics]
        taken = f"×{seconds[model_name] / seconds[OURS]:.2f}" if model_name in seconds else ""
        differences = ["", ""]
        if model_name == OURS:
            taken = f"{seconds[OURS]:.1f} s"
        else:
            differences = [compared(found, model_name, metric) for metric in metrics[:2]]
        result.add_row(model_name, *cells, taken, *differences)
    return result


def compared(found: Evaluation, name: str, metric: str) -> str:
    """Return the difference to a model with its interval, and a mark where it is clear of zero."""
    difference: Interval = found.differences[name][metric]
    mark = "▲" if found.better_than(name, metric) else "▼" if found.worse_than(name, metric) else " "
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] {mark}"


if __name__ == "__main__":
    sys.exit(main())
